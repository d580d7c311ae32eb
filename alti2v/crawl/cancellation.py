"""Cancellation shared by the tasks of a crawl: Ctrl-C ends them between two steps, never inside one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from alti2v.signals import signals_restored

# How long an interrupted crawl waits for files in flight: a stalled server would take up to a minute each.
_GRACE_S = 1.0


class StoppedError(Exception):
    """The crawl is stopping; the work of the waiting task is left for the next run."""


class Stop:
    """A request to stop the crawl, made once.

    Attributes:
        interrupt: Exception of the signal that requested it; None if none did.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._calls: list[Callable[[], object]] = []
        self.interrupt: KeyboardInterrupt | None = None

    @property
    def is_requested(self) -> bool:
        """True if nothing new should be started."""
        return self._event.is_set()

    def request(self, interrupt: KeyboardInterrupt | None = None) -> None:
        """Finish what is in flight, and start nothing new."""
        self.interrupt = interrupt
        self._event.set()
        for call in self._calls:
            call()

    def on_request(self, call: Callable[[], object]) -> None:
        """Call `call` when a stop is requested; at once if one has been."""
        self._calls.append(call)
        if self.is_requested:
            call()

    def raise_interrupt(self) -> None:
        """Raise the exception of the signal that requested the stop, if one did."""
        if self.interrupt is not None:
            raise self.interrupt

    def check(self) -> None:
        """Raise if the crawl is stopping.

        Raises:
            StoppedError: The crawl is stopping.
        """
        if self.is_requested:
            raise StoppedError

    async def sleep(self, seconds: float) -> None:
        """Wait, but not beyond a stop.

        Raises:
            StoppedError: The crawl is stopping.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        self.check()


async def run_until_stopped(
    work: Coroutine[Any, Any, None], *, interrupt: Callable[[signal.Signals], object]
) -> None:
    """Run tasks to their end, or until a signal.

    Args:
        work: Tasks; may raise StoppedError.
        interrupt: Called on the first signal, or if the caller is cancelled; lets `work` finish what is in
            flight. A second after a signal, or at a second signal, `work` is cancelled.
    """
    task = asyncio.create_task(work)

    def first(number: signal.Signals) -> None:
        interrupt(number)
        asyncio.get_running_loop().call_later(_GRACE_S, task.cancel)

    try:
        with signals_caught(first, then=task.cancel):
            await asyncio.shield(task)
    except StoppedError:
        pass  # nothing was in flight
    except asyncio.CancelledError:
        if not task.cancelled():
            interrupt(signal.SIGINT)
            await task
            raise


@contextlib.contextmanager
def signals_caught(first: Callable[[signal.Signals], object], *, then: Callable[[], object]) -> Iterator[None]:
    """Call `first` on Ctrl-C, SIGTERM or SIGHUP, and `then` on later ones, between two steps of the event loop.

    Signals that this process ignores stay ignored.
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

    with signals_restored() as handled:
        for number in handled:
            loop.add_signal_handler(number, caught, number)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)
