"""SIGTERM as an exception, so that service managers and batch systems stop a command cleanly."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from alti2v.errors import TerminatedError


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """Let SIGTERM raise `TerminatedError` for the duration of the block, as Ctrl-C raises KeyboardInterrupt.

    By default the signal ends the process immediately, and its worker processes print errors about that. If
    the process ignores the signal, or this is not its main thread, nothing changes.
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
