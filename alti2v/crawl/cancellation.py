"""The wish to stop: what a crawl's tasks share so that Ctrl-C ends them between two steps, never inside one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedError(Exception):
    """The crawl is stopping; what was waited for is left for the next run."""


class Stop:
    """Set once, by Ctrl-C; everything that waits looks here.

    Attributes:
        is_terminated: whether SIGTERM asked for it, which is another exit status.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.is_terminated = False

    @property
    def is_wanted(self) -> bool:
        """Whether nothing new should be begun."""
        return self._event.is_set()

    def want(self) -> None:
        """Finish what is in flight, and begin nothing new."""
        self._event.set()

    def check(self) -> None:
        """Go no further if the crawl is stopping.

        Raises:
            StoppedError: it is.
        """
        if self.is_wanted:
            raise StoppedError

    async def sleep(self, seconds: float) -> None:
        """Wait, but not beyond a stop: whatever waits is not in flight.

        Raises:
            StoppedError: the crawl is stopping.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        self.check()


@contextlib.contextmanager
def signals_caught(first: Callable[[signal.Signals], object], *, then: Callable[[], object]) -> Iterator[None]:
    """Let Ctrl-C or SIGTERM call `first`, and the next one `then`: between two steps of the loop, never inside.

    A signal that this process was told to ignore stays ignored.
    """
    loop = asyncio.get_running_loop()
    is_first = True

    def caught(number: signal.Signals) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            first(number)
        else:
            then()

    wanted = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread():
        wanted = []
    for number in wanted:
        loop.add_signal_handler(number, caught, number)
    try:
        yield
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)
