"""Crawl a board into a store: the orchestrator.

    lister ──▶ ledger ──▶ downloads ──▶ tar files, ledger ──▶ tables

Listing and downloading run at the same time. Only one thread touches the ledger and the tar files; the tables
are exported from the ledger, at intervals and at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from alti2v.crawl.boards.danbooru import Danbooru
from alti2v.crawl.boards.known import base_url, board_of, known_dialect
from alti2v.crawl.boards.protocol import Board, Dialect
from alti2v.crawl.cancellation import Stop, StoppedError, run_until_stopped
from alti2v.crawl.config import CrawlConfig, check_plan, stored_dialect
from alti2v.crawl.download.factory import make_downloads, net_config
from alti2v.crawl.download.interface import Downloads
from alti2v.crawl.download.pipeline import DownloadPipeline
from alti2v.crawl.http.config import NetConfig
from alti2v.crawl.http.results import Purpose
from alti2v.crawl.http.retry import HEALABLE, FailKind
from alti2v.crawl.importing.listed_table import list_table
from alti2v.crawl.listing.api import Api
from alti2v.crawl.listing.detect import detect, with_term_limit
from alti2v.crawl.listing.pages import Pager
from alti2v.crawl.listing.requests import ApiRequests
from alti2v.crawl.listing.stage import list_all_posts, read_board_count, read_tags, report_api_rules
from alti2v.crawl.progress import Display
from alti2v.crawl.report import CrawlReport
from alti2v.crawl.run_log import begin_run, end_run, log_failures, open_log
from alti2v.crawl.store.ledger import Ledger, require_ledger
from alti2v.crawl.store.ledger.outcomes import PostCounts
from alti2v.crawl.store.listing_state import Ending
from alti2v.crawl.store.rebuild import remove_unused_ledger
from alti2v.crawl.store.tables import export, sweep
from alti2v.crawl.store.upload import StoreUpload, TarUploads
from alti2v.crawl.store.writer import FileResult, StoreWriter
from alti2v.crawl.store.writer_thread import StoreThread
from alti2v.errors import UsageError
from alti2v.numerals import counted
from alti2v.records import Progress, ProgressHook, ignore_progress
from alti2v.signals import interrupt_of
from alti2v.storage.directory import DirectoryKind, claim_directory, exclusive, kind_of
from alti2v.storage.layout import CRAWL_LOCK_FILE, LEDGER_FILE
from alti2v.storage.remote import open_remote
from alti2v.storage.table import load

__all__ = ["CrawlConfig", "CrawlReport", "crawl_board"]


def crawl_board(config: CrawlConfig, *, progress: ProgressHook = ignore_progress) -> CrawlReport:
    """List a board's posts and download their files into a store; a later run resumes, then adds new posts.

    Ctrl-C finishes what comes within a second, and raises KeyboardInterrupt; SIGTERM and SIGHUP do the same and
    raise TerminatedError and HungUpError, which are such.

    Raises:
        UsageError: The folder is not a store, or belongs to another board or search, or is in use; or the
            board refuses the search, or speaks another dialect, or wants an API key.
        RemoteError: The board cannot be reached, and nothing was stored before.
        DataError: No post matches.
        StorageError: The disk or the store's URL refuses a write; what was stored stays, and the same command
            continues.
        DamagedError: The store is damaged; `verify --repair` repairs it, unless its description is lost.
    """
    net = net_config(config)
    if config.retry_failed is not None and kind_of(config.store) is None:
        raise UsageError(f"{config.store} is not a store yet: leave out --retry-failed")
    is_old = claim_directory(config.store, DirectoryKind.STORE)
    with exclusive(config.store, CRAWL_LOCK_FILE):
        sweep(config.store)
        was_only_listed = False
        if is_old:
            was_only_listed = check_plan(config)
            require_ledger(config.store)
        else:
            remove_unused_ledger(config.store)
        with open_log(config.store) as log, Ledger(config.store / LEDGER_FILE) as ledger:
            if was_only_listed and config.files == "original":
                with ledger.transaction():
                    ledger.posts.skip_unread()
            record = begin_run(ledger, log, config)
            try:
                report = _run(config, net, ledger, progress, log, stored_before=record.stored_before)
            except BaseException as exc:
                end_run(ledger, log, record, exc)
                raise
            end_run(ledger, log, record, report.ending)
            return report


def _run(
    config: CrawlConfig,
    net: NetConfig,
    ledger: Ledger,
    progress: ProgressHook,
    log: logging.Logger,
    *,
    stored_before: int,
) -> CrawlReport:
    begun_s = time.monotonic()
    run = _Run(config, net, ledger, progress, log)
    try:
        asyncio.run(run.main())
        run.stop.raise_interrupt()
        new = ledger.posts.counts().stored - stored_before
        return run.report(new=new, seconds=time.monotonic() - begun_s)
    finally:
        run.close()


class _Run:
    """One run of a crawl: the state that its tasks share."""

    def __init__(
        self,
        config: CrawlConfig,
        net: NetConfig,
        ledger: Ledger,
        progress: ProgressHook,
        log: logging.Logger,
    ) -> None:
        self._log = log
        self._config = config
        self._net = net
        self._wants_files = config.files != "none"
        self._ledger = ledger
        self._progress = progress
        self._display = Display(
            progress,
            log,
            counts=ledger.posts.counts(),
            limit=config.limit,
            wants_files=self._wants_files,
        )
        self._thread = StoreThread()
        self._writer = StoreWriter(config.store, ledger, shard_bytes=config.shard_bytes)
        self._board: Board | None = None
        self._missing: list[str] = []
        self.stop = Stop()
        self._pipeline: DownloadPipeline | None = None
        self._upload = None if config.url is None else StoreUpload(config.store, open_remote(config.url))
        self._tar_uploads: TarUploads | None = None

    async def main(self) -> None:
        """Run the whole crawl.

        A first Ctrl-C, or a cancellation, finishes what is in flight and comes soon; a second does not wait.
        """
        try:
            await run_until_stopped(self._crawl(), interrupt=self._interrupt)
        finally:
            self._thread.close()

    def close(self) -> None:
        """Close the open tar file."""
        self._writer.close()

    def report(self, *, new: int, seconds: float) -> CrawlReport:
        """Report the contents of the store."""
        assert self._board is not None
        counts = self._ledger.posts.counts()
        healable = sum(count for kind, count in counts.failed.items() if kind in HEALABLE)
        missing = list(self._missing)
        if counts.pending and self._wants_files:
            missing.append(
                f"{counted(counts.pending, 'download is', 'downloads are')} not finished{self._advice}"
            )
        if healable:
            missing.append(f"{counted(healable, 'file')} failed in ways that may pass")
        return CrawlReport(
            **asdict(counts),
            store=self._config.store,
            board=self._board.base,
            dialect=self._board.dialect.value,
            new=new,
            seconds=round(seconds, 3),
            complete=not missing,
            missing="; ".join(_without_repetition(missing)),
        )

    @property
    def _advice(self) -> str:
        """Advice for what the same command would not complete."""
        return "" if self._config.retry_failed is None else " (run without --retry-failed)"

    # Stages ---------------------------------------------------------------------------------------

    async def _crawl(self) -> None:
        config, display = self._config, self._display
        async with make_downloads(
            config, self._net, on_pause=display.pause, on_notice=display.say
        ) as downloads:
            self.stop.on_request(downloads.stop)
            loading = asyncio.create_task(asyncio.to_thread(load))  # while the worker process starts
            try:
                await self._list_and_download(downloads)
                self._report_avif()
                await self._record_host_failures(downloads)
            finally:
                await loading
        await self._thread.run(export, config.store, self._ledger)
        if self._upload is not None:
            await self._thread.run(self._upload_rest, self._upload)

    async def _list_and_download(self, downloads: Downloads) -> None:
        config = self._config
        api = await self._open_api(downloads)
        self._board = api.board
        await self._thread.run(self._retry_failed)
        self._pipeline = pipeline = DownloadPipeline(
            config,
            downloads=downloads,
            thread=self._thread,
            ledger=self._ledger,
            commit=self._commit,
            stop=self.stop,
            on_batch=self._on_batch,
        )
        heartbeat = asyncio.create_task(self._display.beat())
        try:
            async with asyncio.TaskGroup() as tasks:
                if config.retry_failed is None:
                    tasks.create_task(self._list(api, pipeline))
                else:
                    pipeline.end_listing()
                if self._upload is not None:
                    self._tar_uploads = TarUploads(
                        self._upload, ledger=self._ledger, thread=self._thread, log=self._log
                    )
                    tasks.create_task(self._tar_uploads.run())
                tasks.create_task(self._download(pipeline))
        except BaseExceptionGroup as group:
            raise _first_cause(group) from None
        finally:
            heartbeat.cancel()

    async def _open_api(self, downloads: Downloads) -> Api:
        config = self._config
        requests = ApiRequests(config, downloads, self.stop.sleep, self._net.key)
        base = base_url(config.board)
        dialect = config.dialect or known_dialect(base) or stored_dialect(config.store)
        if dialect is None:
            dialect = await detect(base, requests)
        board = board_of(base, Dialect(dialect))
        if isinstance(board, Danbooru) and self._net.key is not None:
            board = await with_term_limit(board, requests)
        say = self._display.say
        if self._net.api_rate < config.api_rate:
            say(f"{base} allows {self._net.api_rate:g} API requests/s: keeping to them")
        return Api(
            board=board,
            requests=requests,
            pager=Pager(board, requests, say),
            ledger=self._ledger,
            thread=self._thread,
            say=say,
        )

    async def _list(self, api: Api, pipeline: DownloadPipeline) -> None:
        config = self._config
        with contextlib.suppress(StoppedError):
            try:
                await self._list_posts(api)
            finally:
                self._display.listing_ended = True
                pipeline.end_listing()
            self._missing += await read_tags(api, config, on_progress=self._on_progress)

    async def _list_posts(self, api: Api) -> None:
        config = self._config
        if config.list_from is not None:
            await list_table(api, config, on_page=self._on_page)
            return
        await report_api_rules(api)
        self._display.board_count = await read_board_count(api, config)
        self._missing += await list_all_posts(api, config, on_page=self._on_page, on_progress=self._on_progress)

    def _report_avif(self) -> None:
        if self._pipeline is not None and (count := self._pipeline.avif_replaced):
            originals = counted(count, "original is", "originals are")
            self._display.say(
                f"{originals} AVIF, which this installation of Pillow does not read: "
                "the board's JPEG is stored in their place"
            )

    async def _download(self, pipeline: DownloadPipeline) -> None:
        if self._wants_files:
            await pipeline.run()
        if self._tar_uploads is not None:
            self._tar_uploads.end()

    async def _record_host_failures(self, downloads: Downloads) -> None:
        failures = await downloads.host_failures()
        reasons = {
            reason
            for host, reason in failures.hosts_down.items()
            if self._wants_files or host.endswith(Purpose.API)
        }
        self._missing += sorted(reasons)
        if failures.was_banned:
            await self._thread.run(self._retry_refused)

    # In the store's thread ------------------------------------------------------------------------

    def _commit(self, batch: Sequence[FileResult]) -> PostCounts:
        self._writer.commit(batch)
        log_failures(self._log, batch)
        return self._ledger.posts.counts()

    def _upload_rest(self, upload: StoreUpload) -> None:
        self._writer.seal()  # whatever its size: the tables name its pictures
        upload.upload_rest(self._ledger, on_file=lambda name: self._log.info("uploading %s", name))

    def _retry_failed(self) -> None:
        """Make failed posts pending: those that --retry-failed selects, else those that may succeed now."""
        selected = self._config.retry_failed
        kinds = HEALABLE if selected is None else FailKind if selected == "all" else (FailKind(selected),)
        with self._ledger.transaction():
            self._ledger.posts.retry_failed(kind.value for kind in kinds)
            listing = self._ledger.state.listing()
        if selected is not None:
            self._display.listing_ended = True
            if listing is None or listing.ending is not Ending.COMPLETE:
                self._missing.append(f"the listing has not come to its end{self._advice}")

    def _retry_refused(self) -> None:
        """Make refused posts pending: while a host bans us, its refusals say nothing about single files.

        Files that were refused in three runs are accepted as refused.
        """
        tries = self._config.retry.tries
        with self._ledger.transaction():
            self._ledger.posts.retry_failed([FailKind.FORBIDDEN.value], below_attempts=3)
            self._ledger.posts.retry_failed([FailKind.NOT_IMAGE.value], below_attempts=3 * tries)

    # Progress -------------------------------------------------------------------------------------

    def _on_page(self, counts: PostCounts) -> None:
        if self._pipeline is not None:
            self._pipeline.wake()
        self._on_batch(counts)
        self.stop.check()

    def _on_batch(self, counts: PostCounts) -> None:
        if self._writer.sealed and self._tar_uploads is not None:
            self._tar_uploads.wake()
        self._display.update(counts)

    def _on_progress(self, progress: Progress) -> None:
        self._progress(progress)
        self.stop.check()

    def _interrupt(self, number: signal.Signals) -> None:
        self._display.say(
            "interrupted: finishing what is in flight; Ctrl-C again stops at once, and nothing is lost"
        )
        self.stop.request(interrupt_of(number))


def _first_cause(group: BaseExceptionGroup[Any]) -> BaseException:
    """Return the exception that made the other tasks stop."""
    first = group.exceptions[0]
    return _first_cause(first) if isinstance(first, BaseExceptionGroup) else first


def _without_repetition(reasons: Sequence[str]) -> list[str]:
    """Leave out reasons that another one contains, such as why a host is down and where the listing stopped."""
    distinct = list(dict.fromkeys(reasons))
    return [one for one in distinct if not any(one in other for other in distinct if other != one)]
