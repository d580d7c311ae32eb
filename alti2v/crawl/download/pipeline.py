"""Pipeline from pending posts to stored pictures.

ledger ──feed──▶ downloads ──batches──▶ validation ──good files──▶ tar files, ledger
                    ▲─────── retries ───────┘

A batch is validated in one thread while the one before it is written in another; neither holds Python's lock
for most of the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from random import Random

from alti2v.crawl.cancellation import Stop
from alti2v.crawl.config import CrawlConfig
from alti2v.crawl.download.interface import BATCH_FILES, FETCHERS_PER_CONNECTION, Downloads
from alti2v.crawl.download.validate import validate
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.ledger.outcomes import Outcome, Pending, PostCounts
from alti2v.crawl.store.post_json import FileRequest, ReceivedFile
from alti2v.crawl.store.tables import export
from alti2v.crawl.store.writer import FetchedFile, FileResult
from alti2v.crawl.store.writer_thread import StoreThread

_FEED_ROWS = 256  # posts read at a time
_EXPORT_EVERY_S = 600.0


def files_in_flight(connections: int) -> int:
    """Return the upper bound on files lost to a kill: requested but not yet committed to the ledger.

    One for each fetcher, and four batches: one that is written, one that is validated or waits for it, one that
    is handed over, and one that is filled, for at most a quarter of a second.
    """
    return FETCHERS_PER_CONNECTION * connections + 4 * BATCH_FILES


class DownloadPipeline:
    """Downloads every pending post once, including those that are listed meanwhile.

    Args:
        config: Configuration of the crawl.
        downloads: Downloads files; used for files by nothing else.
        thread: Thread that works on the store.
        ledger: Ledger of the store; used only in `thread`.
        commit: Called in `thread` with results; makes them durable, and returns the counts of posts.
        stop: Stop of the crawl; `downloads` is stopped by the caller.
        on_batch: Called with the counts of posts after each batch.

    Attributes:
        avif_replaced: Number of originals in AVIF of which the board's JPEG was stored.
    """

    def __init__(
        self,
        config: CrawlConfig,
        *,
        downloads: Downloads,
        thread: StoreThread,
        ledger: Ledger,
        commit: Callable[[Sequence[FileResult]], PostCounts],
        stop: Stop,
        on_batch: Callable[[PostCounts], None],
    ) -> None:
        self.avif_replaced = 0
        self._config = config
        self._downloads = downloads
        self._thread = thread
        self._ledger = ledger
        self._commit = commit
        self._stop = stop
        self._on_batch = on_batch
        self._rng = Random(config.seed)  # noqa: S311 - jitter
        self._woken = asyncio.Event()  # set when the feed should continue
        self._listing_ended = False
        self._downloads_ended = False
        self._in_flight: dict[int, Pending] = {}  # by the `seq` of the request
        # Enough for every fetcher while as many are on their way to them.
        self._max_in_flight = max(2 * _FEED_ROWS, 2 * files_in_flight(config.connections))
        self._exported_s = time.monotonic()
        stop.on_request(self.wake)

    async def run(self) -> None:
        """Download until the listing has ended and no post is pending, or until a stop."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._feed())
            tasks.create_task(self._validate_batches(tasks))

    def wake(self) -> None:
        """Make the pipeline look for pending posts, or for a stop, immediately."""
        self._woken.set()

    def end_listing(self) -> None:
        """Declare that no more posts will be listed."""
        self._listing_ended = True
        self._woken.set()

    async def _feed(self) -> None:
        """Request the files of pending posts, in the order of listing."""
        after_seq, tried = -1, self._config.retry_failed is not None
        while not (self._stop.is_requested or self._downloads_ended):
            self._woken.clear()
            if len(self._in_flight) + _FEED_ROWS > self._max_in_flight:
                await self._woken.wait()
                continue
            listing_had_ended = self._listing_ended
            rows = await self._thread.run(
                self._ledger.posts.pending, after_seq=after_seq, limit=_FEED_ROWS, tried=tried
            )
            if rows:
                after_seq = rows[-1].request.seq
                self._in_flight |= {row.request.seq: row for row in rows}
                self._downloads.request([row.request for row in rows])
            elif not listing_had_ended or self._in_flight:  # files in flight may be requested again
                await self._woken.wait()
            elif after_seq >= 0:
                after_seq = -1  # the board may have replaced files of posts before this one
            else:
                break
        self._downloads.end_requests()

    async def _validate_batches(self, tasks: asyncio.TaskGroup) -> None:
        """Validate each batch while the one before it is written."""
        writing: asyncio.Task[None] | None = None
        while (batch := await self._downloads.next_batch()) is not None:
            received = [(self._in_flight[seq], result) for seq, result in batch.results.items()]
            results, retries = await asyncio.to_thread(self._validate, received)
            self._downloads.request(retries)  # these have been in flight all the time
            if writing is not None:
                await writing
            writing = tasks.create_task(self._write(results, batch.release))
        if writing is not None:
            await writing
        self._downloads_ended = True
        self._woken.set()

    def _validate(
        self, received: Sequence[tuple[Pending, ReceivedFile | Outcome]]
    ) -> tuple[Sequence[FileResult], Sequence[FileRequest]]:
        """Return results to write and files to request again. Runs in its own thread."""
        results, retries = list[FileResult](), list[FileRequest]()
        for pending, file in received:
            result = validate(
                pending,
                file,
                keep_mismatched=self._config.keep_mismatched,
                policy=self._config.retry,
                rng=self._rng,
            )
            if isinstance(result, FileRequest):
                retries.append(result)
            else:
                results.append(result)
        return results, retries

    async def _write(self, results: Sequence[FileResult], release: Callable[[], None]) -> None:
        """Make a batch durable."""
        counts = await self._thread.run(self._commit, results)
        release()
        for result in results:
            del self._in_flight[result.pending.request.seq]
            self.avif_replaced += self._config.files == "original" and _is_jpeg_of_avif(result)
        self._woken.set()
        self._on_batch(counts)
        if time.monotonic() - self._exported_s > _EXPORT_EVERY_S:
            await self._thread.run(export, self._config.store, self._ledger)
            self._exported_s = time.monotonic()


def _is_jpeg_of_avif(result: FileResult) -> bool:
    return (
        isinstance(result, FetchedFile)
        and result.pending.post.file_ext == "avif"
        and result.stored.format == "JPEG"
    )
