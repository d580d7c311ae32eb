"""Board -> store: the orchestrator of a crawl.

    lister ──▶ ledger ──▶ fetching ──▶ tar files, ledger ──▶ tables

Listing and fetching run side by side. The ledger and the tar files are touched by one thread only; the
tables are written from the ledger, at intervals and at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from alti2v.crawl.boards.known import base_url, board_of, known_dialect
from alti2v.crawl.boards.protocol import Board, Dialect
from alti2v.crawl.cancellation import Stop, StoppedError, signals_caught
from alti2v.crawl.config import CrawlConfig, CrawlReport, check_plan, stored_dialect
from alti2v.crawl.download.interface import DownloadConfig, Downloads, FileRules
from alti2v.crawl.download.pipeline import Fetching
from alti2v.crawl.download.worker.parent import DownloadWorker
from alti2v.crawl.http.config import NetConfig
from alti2v.crawl.http.rate_limit import shared_directory
from alti2v.crawl.http.results import Purpose
from alti2v.crawl.http.retry import HEALABLE, FailKind
from alti2v.crawl.listing.api import Asker
from alti2v.crawl.listing.detect import detect
from alti2v.crawl.listing.stage import Survey
from alti2v.crawl.progress import Display
from alti2v.crawl.run_log import begin_run, end_run, log_failures, open_log
from alti2v.crawl.store.ledger import Ledger, PostCounts
from alti2v.crawl.store.rebuild import tar_numbers
from alti2v.crawl.store.tables import export, sweep
from alti2v.crawl.store.upload import Mirror
from alti2v.crawl.store.walk_state import Ending
from alti2v.crawl.store.writer import Settlement, Shelf
from alti2v.crawl.store.writer_thread import SingleThread
from alti2v.errors import DamagedError, TerminatedError, UsageError
from alti2v.records import Progress, ProgressHook, ignore_progress
from alti2v.storage.directory import DirectoryKind, claim_directory, exclusive, missing_file
from alti2v.storage.layout import CRAWL_LOCK_FILE, LEDGER_FILE, STORE_FILE
from alti2v.storage.remote import open_remote
from alti2v.storage.table import load

__all__ = ["CrawlConfig", "CrawlReport", "crawl_board"]


def crawl_board(config: CrawlConfig, *, progress: ProgressHook = ignore_progress) -> CrawlReport:
    """List a board's posts and fetch their files into a store; run again: resumes, then adds what is new.

    Ctrl-C finishes what is in flight, writes the tables, and raises KeyboardInterrupt; SIGTERM does the same
    and raises TerminatedError, which is one.

    Raises:
        UsageError: the store is something else, of another board or search, or in use; the board
            refuses the search or speaks another dialect.
        RemoteError: the board cannot be reached, and nothing was stored before.
        DataError: no post matches.
        StorageError: the disk or the store's URL refuses a write; what was stored stays, and the same command
            goes on.
        DamagedError: the store is damaged; `verify --repair` mends it, unless its description is lost.
    """
    is_old = claim_directory(config.store, DirectoryKind.STORE)
    with exclusive(config.store, CRAWL_LOCK_FILE):
        sweep(config.store)
        if is_old:
            check_plan(config)
            if not (config.store / LEDGER_FILE).exists():
                raise missing_file(config.store, LEDGER_FILE)
        elif config.retry_failed is not None:
            raise UsageError(f"{config.store} is no store yet: leave out --retry-failed")
        else:
            _forget(config.store)
        with open_log(config.store) as log, Ledger(config.store / LEDGER_FILE) as ledger:
            record = begin_run(ledger, log, config)
            try:
                report = _run(config, ledger, progress, log, stored_before=record.stored_before)
            except BaseException as exc:
                end_run(ledger, log, record, exc)
                raise
            end_run(ledger, log, record, report)
            return report


def _run(
    config: CrawlConfig, ledger: Ledger, progress: ProgressHook, log: logging.Logger, *, stored_before: int
) -> CrawlReport:
    begun_s = time.monotonic()
    run = _Run(config, ledger, progress, log)
    try:
        if not asyncio.run(run.main()):
            raise TerminatedError if run.is_terminated else KeyboardInterrupt
        new = ledger.counts().stored - stored_before
        return run.report(new=new, seconds=time.monotonic() - begun_s)
    finally:
        run.close()


class _Run:
    """One run of a crawl: what its tasks share."""

    def __init__(
        self, config: CrawlConfig, ledger: Ledger, progress: ProgressHook, log: logging.Logger
    ) -> None:
        self._log = log
        self._config = config
        self._wants_files = config.files != "none"
        self._ledger = ledger
        self._progress = progress
        self._display = Display(
            progress,
            log,
            counts=ledger.counts(),
            limit=config.limit,
            wants_files=self._wants_files,
        )
        self._thread = SingleThread()
        self._shelf = Shelf(config.store, ledger, shard_bytes=config.shard_bytes)
        self._rng = Random(config.seed)  # noqa: S311 - jitter
        self._board: Board | None = None
        self._missing: list[str] = []
        self._stop = Stop()
        self._network: Downloads | None = None
        self._fetching: Fetching | None = None
        self._mirror = None if config.url is None else Mirror(config.store, open_remote(config.url))
        self._finished_tars = asyncio.Event()  # set when a tar file may have been sealed
        self._fetched_all = False

    async def main(self) -> bool:
        """Crawl; False if it was interrupted.

        A first Ctrl-C, or a cancellation, finishes what is in flight; a second one does not wait for it.
        """
        work = asyncio.create_task(self._crawl())
        try:
            with signals_caught(self._interrupt, then=work.cancel):
                await asyncio.shield(work)
        except StoppedError:
            pass  # while the board was looked for: there was nothing to finish
        except asyncio.CancelledError:
            if not work.cancelled():
                self._interrupt()
                await work
                raise
        finally:
            self._thread.close()
        return not self._stop.is_wanted

    @property
    def is_terminated(self) -> bool:
        """Whether SIGTERM ended it."""
        return self._stop.is_terminated

    def close(self) -> None:
        """Close the tar file."""
        self._shelf.close()

    @property
    def _elsewhere(self) -> str:
        """What another command does about it: the same one would not."""
        return "" if self._config.retry_failed is None else " (run without --retry-failed)"

    def report(self, *, new: int, seconds: float) -> CrawlReport:
        """What the store holds now."""
        assert self._board is not None
        counts = self._ledger.counts()
        healable = sum(count for kind, count in counts.failed.items() if kind in HEALABLE)
        missing = list(self._missing)
        if counts.pending and self._wants_files:
            missing.append(f"{counts.pending:,} files were not tried to the end{self._elsewhere}")
        if healable:
            missing.append(f"{healable:,} files failed in ways that may pass")
        return CrawlReport(
            store=self._config.store,
            board=self._board.base,
            dialect=self._board.dialect.value,
            listed=counts.listed,
            stored=counts.stored,
            duplicate=counts.duplicate,
            pending=counts.pending,
            skipped=counts.skipped,
            failed=counts.failed,
            new=new,
            bytes=counts.bytes,
            seconds=round(seconds, 3),
            complete=not missing,
            missing="; ".join(missing),
        )

    # The stages -----------------------------------------------------------------------------------

    async def _crawl(self) -> None:
        config = self._config
        async with self._make_network() as network:
            self._network = network
            loading = asyncio.create_task(asyncio.to_thread(load))  # while the other process starts
            if self._stop.is_wanted:
                network.stop()
            asker = Asker(network=network, policy=config.retry, rng=self._rng, sleep=self._stop.sleep)
            self._board = await self._find_board(asker)
            await self._thread.run(self._retry_failed)
            self._fetching = fetching = Fetching(
                config,
                network=network,
                thread=self._thread,
                ledger=self._ledger,
                settle=self._settle,
                stop=self._stop,
                on_batch=self._on_batch,
            )
            heartbeat = asyncio.create_task(self._display.beat())
            try:
                async with asyncio.TaskGroup() as tasks:
                    if config.retry_failed is None:
                        tasks.create_task(self._survey(self._board, asker, fetching))
                    else:
                        fetching.end_of_listing()
                    if self._wants_files:
                        tasks.create_task(self._fetch(fetching))
                    else:
                        self._no_more_tars()
                    if self._mirror is not None:
                        tasks.create_task(self._send_tars(self._mirror))
            except BaseExceptionGroup as group:
                raise _first_cause(group) from None
            finally:
                heartbeat.cancel()
            losses = await network.losses()
            down = {
                why
                for lane, why in losses.hosts_down.items()
                if self._wants_files or lane.endswith(Purpose.API)
            }
            self._missing += sorted(down)
            if losses.was_banned:
                await self._thread.run(self._forgive_refusals)
        await loading
        await self._thread.run(export, config.store, self._ledger)
        if self._mirror is not None:
            await self._thread.run(self._publish, self._mirror)

    def _make_network(self) -> Downloads:
        config = self._config
        net = NetConfig(
            rate=config.rate,
            api_rate=config.api_rate,
            connections=config.connections,
            board=base_url(config.board),
            allow_private=config.allow_private,
            contact=config.contact,
            pace_dir=shared_directory(),
            retry=config.retry,
        )
        rules = FileRules(
            original=config.files == "original",
            max_bytes=config.max_file_bytes,
            memory_bytes=config.memory_bytes,
        )
        settings = DownloadConfig(net=net, rules=rules, seed=config.seed)
        if config.is_network_apart:
            return DownloadWorker(settings, on_pause=self._display.pause, on_notice=self._display.say)
        # It loads the HTTP client, which otherwise the other process alone needs.
        from alti2v.crawl.download.pool import DownloadPool

        return DownloadPool(settings, on_pause=self._display.pause, on_notice=self._display.say)

    async def _fetch(self, fetching: Fetching) -> None:
        await fetching.run()
        self._no_more_tars()

    def _no_more_tars(self) -> None:
        self._fetched_all = True
        self._finished_tars.set()

    async def _send_tars(self, mirror: Mirror) -> None:
        """Send sealed tar files while others are being filled."""
        uploads = SingleThread()
        try:
            while True:
                self._finished_tars.clear()
                for tar in await self._thread.run(mirror.due_tars, self._ledger):
                    self._log.info("sending tar file %d to %s", tar.number, mirror.remote.url)
                    await uploads.run(mirror.upload_tar, tar)
                    await self._thread.run(mirror.settle_tar, self._ledger, tar)
                if self._fetched_all:
                    return
                await self._finished_tars.wait()
        finally:
            uploads.close()

    async def _find_board(self, asker: Asker) -> Board:
        base = base_url(self._config.board)
        dialect = self._config.dialect or known_dialect(base) or stored_dialect(self._config.store)
        if dialect is None:
            dialect = await detect(base, asker)
        return board_of(base, Dialect(dialect))

    async def _survey(self, board: Board, asker: Asker, fetching: Fetching) -> None:
        survey = Survey(
            config=self._config,
            board=board,
            asker=asker,
            thread=self._thread,
            ledger=self._ledger,
            on_page=self._on_page,
            on_progress=self._on_survey,
            say=self._display.say,
        )
        with contextlib.suppress(StoppedError):
            try:
                await survey.tell_api_rules()
                self._display.board_count = await survey.total()
                self._missing += await survey.posts()
            finally:
                self._display.listing_ended = True
                fetching.end_of_listing()
            self._missing += await survey.tags()

    # In the store's thread ------------------------------------------------------------------------

    def _settle(self, batch: Sequence[Settlement]) -> PostCounts:
        self._shelf.settle(batch)
        log_failures(self._log, batch)
        return self._ledger.counts()

    def _publish(self, mirror: Mirror) -> None:
        """Send what is left: the last tar file, however small, then the tables that name it."""
        self._shelf.seal()
        for tar in mirror.due_tars(self._ledger):
            mirror.upload_tar(tar)
            mirror.settle_tar(self._ledger, tar)
        mirror.publish_tables(self._ledger, on_file=lambda name: self._log.info("sending %s", name))

    def _retry_failed(self) -> None:
        """Make pending what is to be tried again: what may heal, or what was asked for."""
        wanted = self._config.retry_failed
        kinds = HEALABLE if wanted is None else FailKind if wanted == "all" else (FailKind(wanted),)
        with self._ledger.transaction():
            self._ledger.retry_failed(kind.value for kind in kinds)
            walk = self._ledger.walk()
        if wanted is not None:
            self._display.listing_ended = True
            if walk is None or walk.ending is not Ending.COMPLETE:
                self._missing.append(f"the listing has not come to its end{self._elsewhere}")

    def _forgive_refusals(self) -> None:
        """While a host shuts us out, its refusals say nothing about single files: they are pending again.

        Not for ever: what was refused in three runs is taken to be refused.
        """
        tries = self._config.retry.tries
        with self._ledger.transaction():
            self._ledger.retry_failed([FailKind.FORBIDDEN.value], below_attempts=3)
            self._ledger.retry_failed([FailKind.NOT_IMAGE.value], below_attempts=3 * tries)

    # What a person sees ---------------------------------------------------------------------------

    def _on_page(self, counts: PostCounts) -> None:
        if self._fetching is not None:
            self._fetching.look_again()
        self._on_batch(counts)
        self._stop.check()

    def _on_batch(self, counts: PostCounts) -> None:
        if self._shelf.sealed:
            self._finished_tars.set()
        self._display.update(counts)

    def _on_survey(self, progress: Progress) -> None:
        self._progress(progress)
        self._stop.check()

    def _interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        self._display.say(
            "interrupted: finishing what is in flight; Ctrl-C again stops at once, and nothing is lost"
        )
        self._stop.is_terminated = number is signal.SIGTERM
        self._stop.want()
        if self._network is not None:
            self._network.stop()
        if self._fetching is not None:
            self._fetching.look_again()


def _first_cause(group: BaseExceptionGroup[Any]) -> BaseException:
    """The exception that made the others stop."""
    first = group.exceptions[0]
    return _first_cause(first) if isinstance(first, BaseExceptionGroup) else first


def _forget(store: Path) -> None:
    """Remove the empty ledger that a first run left behind which never saw a post.

    Raises:
        DamagedError: there are pictures, so it did see posts.
    """
    if tar_numbers(store):
        raise DamagedError(
            f"{store} holds pictures, but {STORE_FILE} is missing: put it back from a copy, or choose another "
            "folder"
        )
    for suffix in ("", "-wal", "-shm"):
        (store / f"{LEDGER_FILE}{suffix}").unlink(missing_ok=True)
