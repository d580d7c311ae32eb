"""From pending posts to stored pictures: a feed, fetchers and one writer, with bounded queues between them.

ledger ──feed──▶ queue ──▶ fetchers ──▶ queue ──▶ writer ──▶ tar files, ledger
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from random import Random

from alti2v.crawl.aside import Aside
from alti2v.crawl.fetcher import fetch
from alti2v.crawl.ledger import Counts, Ledger, Pending
from alti2v.crawl.memory import Memory, Room
from alti2v.crawl.net import Client
from alti2v.crawl.plan import CrawlConfig
from alti2v.crawl.shelf import Settlement
from alti2v.crawl.single_thread import SingleThread
from alti2v.crawl.stopping import Stop, StoppedError
from alti2v.crawl.tables import export

_FEED_ROWS = 256
# Those that wait for another try hold no connection: let others fetch meanwhile.
_FETCHERS_PER_CONNECTION = 4
_BATCH_FILES = 64
_BATCH_BYTES = 16 * 1024 * 1024
_BATCH_S = 0.25  # what a kill may cost at most, in time
_EXPORT_EVERY_S = 600.0


def files_in_flight(connections: int) -> int:
    """How many files a kill can cost at most: asked for, but not promised by the ledger yet.

    One for each fetcher, a batch that is being written, and one that waits; each waits a quarter of a second
    at most, so that a slow crawl loses less.
    """
    return _FETCHERS_PER_CONNECTION * connections + 2 * _BATCH_FILES


class Fetching:
    """Fetches every pending post once, those that are listed meanwhile included.

    Args:
        config: of the crawl.
        client: obeys the hosts.
        thread: the one that touches the store.
        ledger: of the store; used in `thread` only.
        settle: called in `thread` with what was got: makes it durable, and says how the posts stand then.
        stop: once it is wanted, what is in flight is finished and nothing more begun.
        on_batch: told how the posts stand after each batch.
    """

    def __init__(
        self,
        config: CrawlConfig,
        *,
        client: Client,
        thread: SingleThread,
        ledger: Ledger,
        settle: Callable[[Sequence[Settlement]], Counts],
        stop: Stop,
        on_batch: Callable[[Counts], None],
    ) -> None:
        self._config = config
        self._client = client
        self._thread = thread
        self._ledger = ledger
        self._settle = settle
        self._rng = Random(config.seed)  # noqa: S311 - jitter
        self._stop = stop
        self._on_batch = on_batch
        self._news = asyncio.Event()  # set when the feed should look again
        self._listing_ended = False
        self._gave_up = False  # a host of files is down: what is left stays pending
        self._fetchers = _FETCHERS_PER_CONNECTION * config.connections
        self._wanted: asyncio.Queue[Pending | None] = asyncio.Queue(2 * config.connections)
        self._got: asyncio.Queue[tuple[Settlement, Room] | None] = asyncio.Queue(_BATCH_FILES)
        self._memory = Memory(max(config.memory_bytes, config.max_file_bytes))
        self._aside = Aside()
        self._exported_s = time.monotonic()

    async def run(self) -> None:
        """Fetch until the listing has ended and nothing is pending, or until a stop."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._feed())
                tasks.create_task(self._write())
                fetchers = [tasks.create_task(self._fetch()) for _ in range(self._fetchers)]
                tasks.create_task(self._close_queue(fetchers))
        finally:
            self._aside.close()

    def look_again(self) -> None:
        """There may be more pending posts, or a stop is wanted."""
        self._news.set()

    def end_of_listing(self) -> None:
        """No more posts will be listed."""
        self._listing_ended = True
        self._news.set()

    async def _feed(self) -> None:
        """Hand pending posts to the fetchers, in the order of listing."""
        after_seq, tried = -1, self._config.retry_failed is not None
        while not (self._stop.is_wanted or self._gave_up):
            self._news.clear()
            was_last = self._listing_ended
            rows = await self._thread.run(
                self._ledger.pending, after_seq=after_seq, limit=_FEED_ROWS, tried=tried
            )
            for pending in rows:
                await self._wanted.put(pending)
                after_seq = pending.seq
            if not rows and was_last:
                break
            if not rows:
                await self._news.wait()
        for _ in range(self._fetchers):
            await self._wanted.put(None)

    async def _fetch(self) -> None:
        while (pending := await self._wanted.get()) is not None:
            if not (self._stop.is_wanted or self._gave_up):
                with contextlib.suppress(StoppedError):
                    await self._fetch_one(pending)

    # What holds bytes is a function of its own below: a loop's variables would keep them while it waits.

    async def _fetch_one(self, pending: Pending) -> None:
        room = Room(self._memory)
        settlement = await fetch(
            pending,
            original=self._config.files == "original",
            keep_mismatched=self._config.keep_mismatched,
            max_bytes=self._config.max_file_bytes,
            client=self._client,
            policy=self._config.retry,
            rng=self._rng,
            sleep=self._stop.sleep,
            aside=self._aside,
            room=room,
        )
        if settlement is None:
            self._gave_up = True
            self._news.set()
        else:
            await self._got.put((settlement, room))

    async def _close_queue(self, fetchers: list[asyncio.Task[None]]) -> None:
        await asyncio.wait(fetchers)
        await self._got.put(None)

    async def _write(self) -> None:
        while await self._write_batch():
            if time.monotonic() - self._exported_s > _EXPORT_EVERY_S:
                await self._thread.run(export, self._config.store, self._ledger)
                self._exported_s = time.monotonic()

    async def _write_batch(self) -> bool:
        """Make a batch durable; False when nothing more comes."""
        batch, is_open = await self._batch()
        if batch:
            settlements = [settlement for settlement, _ in batch]
            self._on_batch(await self._thread.run(self._settle, settlements))
            for _, room in batch:
                room.leave()
        return is_open

    async def _batch(self) -> tuple[list[tuple[Settlement, Room]], bool]:
        """What has arrived, at least one; False when nothing more comes."""
        batch: list[tuple[Settlement, Room]] = []
        arrival = await self._got.get()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BATCH_S):
                size = 0
                while arrival is not None:
                    batch.append(arrival)
                    size += _size(arrival[0])
                    if len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES:
                        break
                    arrival = await self._got.get()
        return batch, arrival is not None


def _size(settlement: Settlement) -> int:
    return len(getattr(settlement, "content", b""))
