"""What a person sees of a crawl while it runs: how the posts stand, how fast it goes, what it waits for.

What is told once goes to the log of the store, too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from alti2v.crawl.store.ledger import PostCounts
from alti2v.records import Progress, ProgressHook

_SPEED_S = 10.0
_BEAT_S = 1.0


class Display:
    """How a crawl stands, handed to a progress hook whenever that changes.

    Args:
        progress: the hook.
        log: of the store.
        counts: when the run begins.
        limit: posts that the store shall list in all, None for all.
        wants_files: whether a post is done when its file is settled; else when it is listed.
        clock: seconds that never go back.

    Attributes:
        board_count: posts that the board counts, None if it has not said.
        listing_ended: whether no more posts will be listed.
    """

    def __init__(
        self,
        progress: ProgressHook,
        log: logging.Logger,
        *,
        counts: PostCounts,
        limit: int | None,
        wants_files: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.board_count: int | None = None
        self.listing_ended = False
        self._progress = progress
        self._log = log
        self._counts = counts
        self._limit = limit
        self._wants_files = wants_files
        self._clock = clock
        self._pause = ("", 0.0)  # why, and until when
        self._speed = _Speed(counts.bytes, now=clock())

    def update(self, counts: PostCounts) -> None:
        """The posts stand otherwise."""
        self._counts = counts
        self._show()

    def pause(self, why: str, seconds: float) -> None:
        """A host is left alone for so long."""
        self._pause = (why, self._clock() + seconds)
        self._log.info("pause: %s for %.1f s", why, seconds)
        self._show()

    def say(self, what: str) -> None:
        """Tell what a person should know, once, on the display and in the log."""
        self._log.info("note: %s", what)
        self._progress(replace(self._seen(), milestone=what))

    async def beat(self) -> None:
        """Show how things stand while nothing happens: a board may ask for an hour of silence."""
        while True:
            await asyncio.sleep(_BEAT_S)
            self._show()

    def _show(self) -> None:
        self._progress(self._seen())

    def _seen(self) -> Progress:
        counts, now = self._counts, self._clock()
        why, until = self._pause
        seen: dict[str, int | float | str] = {"listed": counts.listed, "queued": counts.pending}
        seen["stored"] = counts.stored
        seen |= {"duplicate": counts.duplicate} if counts.duplicate else {}
        seen |= {"skipped": sum(counts.skipped.values())} if counts.skipped else {}
        seen |= {f"failed {kind}": count for kind, count in counts.failed.items()}
        seen["MB"] = round(counts.bytes / 1e6, 1)
        seen["MB/s"] = round(self._speed.per_s(counts.bytes, now=now) / 1e6, 2)
        return Progress(
            stage="crawling",
            done=counts.settled if self._wants_files else counts.listed,
            total=self._expected(),
            unit="posts",
            counts=seen,
            note=f"{why}: {until - now:.0f} s left" if until > now else "",
        )

    def _expected(self) -> int | None:
        listed = self._counts.listed
        if self.listing_ended:
            return listed
        known = [value for value in (self.board_count, self._limit) if value is not None]
        return max(min(known), listed) if known else None


class _Speed:
    """How fast a number has grown lately."""

    def __init__(self, value: float, *, now: float) -> None:
        self._seen = deque([(now, value)])

    def per_s(self, value: float, *, now: float) -> float:
        """Its growth per second over the last 10 s."""
        self._seen.append((now, value))
        while len(self._seen) > 2 and self._seen[1][0] <= now - _SPEED_S:
            self._seen.popleft()
        then, former = self._seen[0]
        return max(0.0, value - former) / (now - then) if now > then else 0.0
