"""The wish to stop: what a crawl's tasks share so that Ctrl-C ends them between two steps, never inside one."""

from __future__ import annotations

import asyncio
import contextlib


class StoppedError(Exception):
    """The crawl is stopping; what was waited for is left for the next run."""


class Stop:
    """Set once, by Ctrl-C; everything that waits looks here."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

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
