"""Progress of a crawl for users: counts of posts, speed, pauses and messages.

Messages and pauses are also written to the log of the store.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from alti2v.crawl.store.ledger.outcomes import PostCounts
from alti2v.records import Progress, ProgressHook

_SPEED_S = 10.0
_BEAT_S = 1.0


class Display:
    """Progress of a crawl, passed to a progress hook whenever it changes.

    Args:
        progress: Hook.
        log: Log of the store.
        counts: Counts of posts at the begin of the run.
        limit: Maximum number of posts in the store; None for all.
        wants_files: True if a post is done when its file is; False if it is done when listed.
        clock: Monotonic time, s.

    Attributes:
        board_count: Posts that the board counts; None if unknown.
        listing_ended: True if no more posts will be listed.
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
        self._pause = ("", 0.0)  # reason and end
        self._speed = _Speed(counts.bytes, now=clock())

    def update(self, counts: PostCounts) -> None:
        """Show new post counts."""
        self._counts = counts
        self._show()

    def pause(self, why: str, seconds: float) -> None:
        """Show and log a pause of a host."""
        self._pause = (why, self._clock() + seconds)
        self._log.info("pause: %s for %.1f s", why, seconds)
        self._show()

    def say(self, what: str) -> None:
        """Show and log a message."""
        self._log.info("note: %s", what)
        self._progress(replace(self._current(), milestone=what))

    async def beat(self) -> None:
        """Show progress every second, also while nothing happens: a board may ask for a pause of an hour."""
        while True:
            await asyncio.sleep(_BEAT_S)
            self._show()

    def _show(self) -> None:
        self._progress(self._current())

    def _current(self) -> Progress:
        counts, now = self._counts, self._clock()
        why, until = self._pause
        shown: dict[str, int | float | str] = {"listed": counts.listed, "queued": counts.pending}
        shown["stored"] = counts.stored
        shown |= {"duplicate": counts.duplicate} if counts.duplicate else {}
        shown |= {"skipped": sum(counts.skipped.values())} if counts.skipped else {}
        shown |= {f"failed {kind}": count for kind, count in counts.failed.items()}
        shown["MB"] = round(counts.bytes / 1e6, 1)
        shown["MB/s"] = round(self._speed.per_s(counts.bytes, now=now) / 1e6, 2)
        return Progress(
            stage="crawling",
            done=counts.finished if self._wants_files else counts.listed,
            total=self._expected(),
            unit="posts",
            counts=shown,
            note=f"{why}: {until - now:.0f} s left" if until > now else "",
        )

    def _expected(self) -> int | None:
        listed = self._counts.listed
        if self.listing_ended:
            return listed
        known = [value for value in (self.board_count, self._limit) if value is not None]
        return max(min(known), listed) if known else None


class _Speed:
    """Recent growth of a number."""

    def __init__(self, value: float, *, now: float) -> None:
        self._samples = deque([(now, value)])

    def per_s(self, value: float, *, now: float) -> float:
        """Add a value; return the growth per second over the last 10 s."""
        self._samples.append((now, value))
        while len(self._samples) > 2 and self._samples[1][0] <= now - _SPEED_S:
            self._samples.popleft()
        then, former = self._samples[0]
        return max(0.0, value - former) / (now - then) if now > then else 0.0
