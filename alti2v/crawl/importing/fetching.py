"""Requests of an import: missing pictures, and categories of tags from a Danbooru site.

They are those of a crawl, with its rates, its retries, robots.txt and the guard against private addresses.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence
from dataclasses import replace

from alti2v.crawl.boards.danbooru import Danbooru
from alti2v.crawl.boards.danbooru_tags import TagSite
from alti2v.crawl.boards.known import base_url
from alti2v.crawl.cancellation import Stop, run_until_stopped
from alti2v.crawl.config import CrawlConfig
from alti2v.crawl.download.factory import make_downloads, net_config
from alti2v.crawl.download.interface import Downloads
from alti2v.crawl.download.pipeline import DownloadPipeline
from alti2v.crawl.importing.addresses import origin_of_pictures
from alti2v.crawl.importing.config import ImportConfig
from alti2v.crawl.listing.api import Api
from alti2v.crawl.listing.pages import Pager
from alti2v.crawl.listing.requests import ApiRequests
from alti2v.crawl.listing.tag_categories import read_tag_categories
from alti2v.crawl.progress import Display
from alti2v.crawl.run_log import log_failures
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.ledger.outcomes import PostCounts
from alti2v.crawl.store.writer import FileResult, StoreWriter
from alti2v.crawl.store.writer_thread import StoreThread
from alti2v.records import Progress, ProgressHook
from alti2v.signals import interrupt_of


def fetch_missing(
    config: ImportConfig, ledger: Ledger, writer: StoreWriter, log: logging.Logger, progress: ProgressHook
) -> tuple[str, ...]:
    """Fetch the files of pending posts and the categories of tags, if the import names addresses of them.

    Returns:
        Descriptions of what is missing; the same import continues.

    Raises:
        KeyboardInterrupt: A signal ended the requests.
    """
    run = _Requests(config, ledger, writer, log, progress)
    asyncio.run(run.main())
    run.stop.raise_interrupt()
    return tuple(run.missing)


class _Requests:
    """The requests of one import: the state that its tasks share."""

    def __init__(
        self,
        config: ImportConfig,
        ledger: Ledger,
        writer: StoreWriter,
        log: logging.Logger,
        progress: ProgressHook,
    ) -> None:
        site = config.tag_site
        self.missing: list[str] = []
        self.stop = Stop()
        self._pictures, self._site = config.pictures_url, None if site is None else TagSite(base_url(site))
        self._crawl = CrawlConfig(
            store=config.store,
            board=origin_of_pictures(config.pictures_url) if config.pictures_url else base_url(site or ""),
            files="original",
            rate=config.rate,
            contact=config.contact,
            allow_private=config.allow_private,
            keep_mismatched=config.keep_mismatched,
            shard_bytes=config.shard_bytes,
            max_file_bytes=config.max_file_bytes,
            retry=config.retry,
        )
        self._ledger, self._writer, self._log = ledger, writer, log
        self._progress = progress
        counts = ledger.posts.counts()
        self._display = Display(self._show, log, counts=counts, limit=None, wants_files=True)
        self._display.listing_ended = True
        self._thread = StoreThread()

    async def main(self) -> None:
        """Send the requests; a first signal finishes what is in flight."""
        try:
            await run_until_stopped(self._run(), interrupt=self._interrupt)
        finally:
            self._thread.close()

    async def _run(self) -> None:
        async with make_downloads(
            self._crawl,
            net_config(self._crawl),
            on_pause=self._display.pause,
            on_notice=self._display.say,
        ) as downloads:
            self.stop.on_request(downloads.stop)
            heartbeat = asyncio.create_task(self._display.beat())
            try:
                if self._pictures is not None:
                    await self._fetch(downloads)
                if self._site is not None:
                    await self._ask(downloads, self._site)
                failures = await downloads.host_failures()
                self.missing += sorted(set(failures.hosts_down.values()))
            finally:
                heartbeat.cancel()

    async def _fetch(self, downloads: Downloads) -> None:
        pipeline = DownloadPipeline(
            self._crawl,
            downloads=downloads,
            thread=self._thread,
            ledger=self._ledger,
            commit=self._commit,
            stop=self.stop,
            on_batch=self._display.update,
        )
        pipeline.end_listing()
        await pipeline.run()

    async def _ask(self, downloads: Downloads, site: TagSite) -> None:
        requests = ApiRequests(self._crawl, downloads, self.stop.sleep)
        board = Danbooru(site.base)
        api = Api(
            board=board,
            requests=requests,
            pager=Pager(board, requests, self._display.say),
            ledger=self._ledger,
            thread=self._thread,
            say=self._display.say,
        )
        missing = await read_tag_categories(api, site, min_count=1, on_progress=self._on_tags)
        self.missing += [missing] if missing else []

    def _commit(self, batch: Sequence[FileResult]) -> PostCounts:
        self._writer.commit(batch)
        log_failures(self._log, batch)
        return self._ledger.posts.counts()

    def _on_tags(self, done: int, total: int) -> None:
        self._progress(Progress(stage="tag categories", done=done, total=total, unit="tags"))
        self.stop.check()

    def _show(self, progress: Progress) -> None:
        self._progress(replace(progress, stage="fetching"))

    def _interrupt(self, number: signal.Signals) -> None:
        self._display.say("interrupted: finishing what is in flight; Ctrl-C again stops at once")
        self.stop.request(interrupt_of(number))
