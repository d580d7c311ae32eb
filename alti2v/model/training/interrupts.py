"""Ctrl-C between two training steps instead of in the middle of one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Record the first SIGINT of the block; a second one acts immediately.

    An interrupt in the middle of a step could change the optimizer without the step being counted. Python
    delivers signals to the main thread only; in any other thread the block changes nothing.

    Yields:
        A function that returns whether there has been one.
    """
    seen = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield seen.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def note(*_: object) -> None:
        seen.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield seen.is_set
    finally:
        signal.signal(signal.SIGINT, before)
