"""SIGTERM, by which service managers and batch systems stop a program, as a stop that leaves no mess."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from alti2v.errors import TerminatedError


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """Let SIGTERM raise `TerminatedError` for the length of the block, as Ctrl-C raises KeyboardInterrupt.

    Otherwise it ends the process on the spot, and what runs beside it complains about that on the terminal. If
    this process was told to ignore the signal, or this is not its main thread, nothing changes.
    """
    before = signal.getsignal(signal.SIGTERM)
    if before is not signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminated(*_: object) -> None:
        raise TerminatedError

    signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
