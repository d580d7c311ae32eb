"""From pending posts to stored pictures: a feed, the network, and one writer.

ledger ──feed──▶ network ──batches──▶ examining ──what is good──▶ tar files, ledger
                    ▲───what is not───────┘

A batch is examined in one thread while the one before it is stored in another; neither holds Python's lock for
most of its time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from random import Random

from alti2v.crawl.cancellation import Stop
from alti2v.crawl.config import CrawlConfig
from alti2v.crawl.download.interface import BATCH_FILES, FETCHERS_PER_CONNECTION, Downloads
from alti2v.crawl.download.validate import judge
from alti2v.crawl.store.ledger import Ledger, Outcome, Pending, PostCounts
from alti2v.crawl.store.post_json import Arrived, Wanted
from alti2v.crawl.store.tables import export
from alti2v.crawl.store.writer import Settlement
from alti2v.crawl.store.writer_thread import SingleThread

_FEED_ROWS = 256  # ... are read at once, so often that the network never waits for them
_EXPORT_EVERY_S = 600.0


def files_in_flight(connections: int) -> int:
    """How many files a kill can cost at most: asked for, but not promised by the ledger yet.

    One for each fetcher, a batch that is being written, one that is examined or waits for that, one that is
    handed over, and one that is gathered: for a quarter of a second at most, so that a slow crawl loses less.
    """
    return FETCHERS_PER_CONNECTION * connections + 4 * BATCH_FILES


class Fetching:
    """Fetches every pending post once, those that are listed meanwhile included.

    Args:
        config: of the crawl.
        network: obeys the hosts; nobody else asks it for files.
        thread: the one that touches the store.
        ledger: of the store; used in `thread` only.
        settle: called in `thread` with what was got: makes it durable, and says how the posts stand then.
        stop: once it is wanted, nothing more is asked for; the network is told by whoever wants it.
        on_batch: told how the posts stand after each batch.
    """

    def __init__(
        self,
        config: CrawlConfig,
        *,
        network: Downloads,
        thread: SingleThread,
        ledger: Ledger,
        settle: Callable[[Sequence[Settlement]], PostCounts],
        stop: Stop,
        on_batch: Callable[[PostCounts], None],
    ) -> None:
        self._config = config
        self._network = network
        self._thread = thread
        self._ledger = ledger
        self._settle = settle
        self._stop = stop
        self._on_batch = on_batch
        self._rng = Random(config.seed)  # noqa: S311 - jitter
        self._news = asyncio.Event()  # set when the feed should look again
        self._listing_ended = False
        self._has_ended = False  # the network gives no more
        self._under_way: dict[int, Pending] = {}
        # Enough for every fetcher, while as many are on their way to them.
        self._most = max(2 * _FEED_ROWS, 2 * files_in_flight(config.connections))
        self._exported_s = time.monotonic()

    async def run(self) -> None:
        """Fetch until the listing has ended and nothing is pending, or until a stop."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._feed())
            tasks.create_task(self._examine(tasks))

    def look_again(self) -> None:
        """There may be more pending posts, or a stop is wanted."""
        self._news.set()

    def end_of_listing(self) -> None:
        """No more posts will be listed."""
        self._listing_ended = True
        self._news.set()

    async def _feed(self) -> None:
        """Hand pending posts to the network, in the order of listing."""
        after_seq, tried = -1, self._config.retry_failed is not None
        while not (self._stop.is_wanted or self._has_ended):
            self._news.clear()
            if len(self._under_way) + _FEED_ROWS > self._most:
                await self._news.wait()
                continue
            was_last = self._listing_ended
            rows = await self._thread.run(
                self._ledger.pending, after_seq=after_seq, limit=_FEED_ROWS, tried=tried
            )
            if rows:
                after_seq = rows[-1].wanted.seq
                self._under_way |= {row.wanted.seq: row for row in rows}
                self._network.want([row.wanted for row in rows])
            elif was_last and not self._under_way:  # what is under way may be wanted again
                break
            else:
                await self._news.wait()
        self._network.want_no_more()

    async def _examine(self, tasks: asyncio.TaskGroup) -> None:
        """Look at each batch while the one before it is written."""
        writing: asyncio.Task[None] | None = None
        while (batch := await self._network.batch()) is not None:
            arrived = [(self._under_way[seq], result) for seq, result in batch.results.items()]
            good, again = await asyncio.to_thread(self._judge, arrived)
            self._network.want(again)  # it has been under way all the time
            if writing is not None:
                await writing
            writing = tasks.create_task(self._write(good, batch.settled))
        if writing is not None:
            await writing
        self._has_ended = True
        self._news.set()

    def _judge(
        self, arrived: Sequence[tuple[Pending, Arrived | Outcome]]
    ) -> tuple[Sequence[Settlement], Sequence[Wanted]]:
        """In a thread of its own: what is to be written, and what is to be fetched again."""
        good, again = list[Settlement](), list[Wanted]()
        for pending, result in arrived:
            judged = judge(
                pending,
                result,
                keep_mismatched=self._config.keep_mismatched,
                policy=self._config.retry,
                rng=self._rng,
            )
            if isinstance(judged, Wanted):
                again.append(judged)
            else:
                good.append(judged)
        return good, again

    async def _write(self, batch: Sequence[Settlement], settled: Callable[[], None]) -> None:
        """Make a batch durable."""
        counts = await self._thread.run(self._settle, batch)
        settled()
        for settlement in batch:
            del self._under_way[settlement.pending.wanted.seq]
        self._news.set()
        self._on_batch(counts)
        if time.monotonic() - self._exported_s > _EXPORT_EVERY_S:
            await self._thread.run(export, self._config.store, self._ledger)
            self._exported_s = time.monotonic()
