"""Import of existing pictures into a store: the orchestrator.

    reader of the form ──items──▶ threads that read and check pictures ──batches──▶ tar files, ledger ──▶ tables

Batches are committed as in a crawl, in the order of the source, so an import that was killed and is run again
does what is missing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from alti2v.crawl.http.retry import HEALABLE
from alti2v.crawl.importing.addresses import with_addresses
from alti2v.crawl.importing.config import ImportConfig
from alti2v.crawl.importing.item_writer import ItemWriter
from alti2v.crawl.importing.reading import read_batches
from alti2v.crawl.importing.report import ImportReport
from alti2v.crawl.importing.sources.detect import MEANING, SourceForm, recognise
from alti2v.crawl.importing.sources.facts import without_overfull
from alti2v.crawl.importing.sources.folder import folder_items
from alti2v.crawl.importing.sources.item import Item, ItemOutcome
from alti2v.crawl.importing.sources.table import check_table, table_items
from alti2v.crawl.importing.sources.webdataset import webdataset_items
from alti2v.crawl.importing.tag_categories import check_tag_table, learn_categories
from alti2v.crawl.run_log import begin_run, end_run, open_log
from alti2v.crawl.store.ledger import Ledger, require_ledger
from alti2v.crawl.store.linked import LinkedTars
from alti2v.crawl.store.rebuild import remove_unused_ledger
from alti2v.crawl.store.tables import export, sweep
from alti2v.crawl.store.writer import StoreWriter
from alti2v.errors import DataError, UsageError
from alti2v.numerals import counted
from alti2v.records import Progress, ProgressHook, ignore_progress
from alti2v.storage.directory import (
    DirectoryKind,
    claim_directory,
    exclusive,
    read_description,
    write_description,
)
from alti2v.storage.layout import CRAWL_LOCK_FILE, IMPORTED, LEDGER_FILE, STORE_FILE
from alti2v.storage.table import load

__all__ = ["ImportConfig", "ImportReport", "import_pictures"]


_OF_TABLES = frozenset({SourceForm.DANBOORU, SourceForm.TABLE, SourceForm.TARS})
_WITHOUT_TARS = frozenset({SourceForm.FOLDER, SourceForm.GALLERY_DL})


def import_pictures(config: ImportConfig, *, progress: ProgressHook = ignore_progress) -> ImportReport:
    """Import pictures and their tags into a store; a repeated import adds what is new.

    Raises:
        UsageError: The folder is not a store, or one of a crawl, or in use; or a source is not recognised.
        DataError: No picture could be imported, or a table has no tags or cannot be read.
        StorageError: The disk refuses a write; what was stored stays, and the same command continues.
        DamagedError: The store is damaged; `verify --repair` repairs it, unless its description is lost.
    """
    if config.tag_categories is not None:
        check_tag_table(config.tag_categories)
    forms = {source: config.form or recognise(source, store=config.store) for source in config.sources}
    for source, form in forms.items():
        if form in _OF_TABLES and source.is_file():
            check_table(source)
    if config.by_reference and (
        lacking := [str(path) for path, form in forms.items() if form in _WITHOUT_TARS]
    ):
        raise UsageError(
            f"{lacking[0]} has no tar files: leave out --by-reference, which is for pictures in tar files"
        )
    is_old = claim_directory(config.store, DirectoryKind.STORE)
    with exclusive(config.store, CRAWL_LOCK_FILE):
        sweep(config.store)
        if is_old:
            _check_plan(config.store)
            require_ledger(config.store)
        else:
            remove_unused_ledger(config.store)
        with open_log(config.store) as log, Ledger(config.store / LEDGER_FILE) as ledger:
            record = begin_run(ledger, log, config)
            try:
                report = _run(config, forms, ledger, progress, log)
            except BaseException as exc:
                end_run(ledger, log, record, exc)
                raise
            end_run(ledger, log, record, report.ending)
            return report


def _check_plan(store: Path) -> None:
    board = read_description(store, DirectoryKind.STORE).get("board")
    if board != IMPORTED:
        raise UsageError(f"{store} was crawled from {board}: choose another folder for the import")


def _run(
    config: ImportConfig,
    forms: Mapping[Path, SourceForm],
    ledger: Ledger,
    progress: ProgressHook,
    log: logging.Logger,
) -> ImportReport:
    begun_s = time.monotonic()
    writer = StoreWriter(config.store, ledger, shard_bytes=config.shard_bytes)
    loading = threading.Thread(target=load)  # while the disk is read
    loading.start()
    try:
        link = LinkedTars(config.store, ledger).number_of if config.by_reference else None
        work = ItemWriter(ledger, writer, log, link=link)
        for source, form in forms.items():
            said = f"{source}: {MEANING[form]} (--form {form})"
            log.info("note: %s", said)
            progress(_progress(work.outcomes, milestone=said))
            for _ in _committed(config, _items(config, source, form), work):
                progress(_progress(work.outcomes))
        missing = list(_fetched(config, work, writer, log, progress)) if config.is_online else []
    finally:
        writer.close()
        loading.join()
    for said in work.remarks():
        progress(_progress(work.outcomes, milestone=said))
    if config.tag_categories is not None:
        learned = learn_categories(ledger, config.tag_categories)
        said = f"{config.tag_categories}: categories of {counted(learned, 'tag')}"
        progress(_progress(work.outcomes, milestone=said))
    export(config.store, ledger)
    progress(_progress(work.outcomes, total=work.outcomes.total()))
    seconds = time.monotonic() - begun_s
    return _report(config.store, forms, work, missing=missing, seconds=seconds)


def _committed(config: ImportConfig, items: Iterator[Item], work: ItemWriter) -> Iterator[None]:
    """Read and commit the items of a source; yield after each batch."""
    for batch in read_batches(
        items,
        wanted=work.wanted,
        most_bytes=config.max_file_bytes,
        keep_mismatched=config.keep_mismatched,
        by_reference=config.by_reference,
    ):
        if not (config.store / STORE_FILE).exists():
            write_description(config.store, DirectoryKind.STORE, {"board": IMPORTED, "files": "original"})
        work.commit(batch)
        yield


def _fetched(
    config: ImportConfig, work: ItemWriter, writer: StoreWriter, log: logging.Logger, progress: ProgressHook
) -> Iterator[str]:
    """Fetch the pending pictures, and count the outcomes; return what is still missing, in words."""
    from alti2v.crawl.importing.fetching import fetch_missing  # with it come the modules of a crawl

    before = work.ledger.posts.counts()
    yield from fetch_missing(config, work.ledger, writer, log, progress)
    if config.pictures_url is None:
        return
    after = work.ledger.posts.counts()
    work.count_fetched(before, after)
    if after.pending:
        yield counted(after.pending, "picture is not fetched", "pictures are not fetched")
    if healable := sum(count for kind, count in after.failed.items() if kind in HEALABLE):
        yield f"{counted(healable, 'picture')} failed in ways that may pass"


def _progress(
    outcomes: Counter[tuple[ItemOutcome, str]], *, total: int | None = None, milestone: str = ""
) -> Progress:
    counts = {" ".join(filter(None, outcome)): count for outcome, count in sorted(outcomes.items())}
    done = outcomes.total()
    return Progress(stage="importing", done=done, total=total, unit="items", counts=counts, milestone=milestone)


def _items(config: ImportConfig, source: Path, form: SourceForm) -> Iterator[Item]:
    """Read a source in its form, and find addresses for pictures that are missing and to be fetched."""
    if form in _WITHOUT_TARS:
        items = folder_items(source, store=config.store)
    elif form is SourceForm.WEBDATASET:
        items = webdataset_items(source, store=config.store)
    else:
        base = config.pictures_url or ""
        items = table_items(source, pictures=config.pictures, store=config.store, base=base)
    sound = without_overfull(items)
    return sound if config.pictures_url is None else with_addresses(sound, config.pictures_url)


def _report(
    store: Path,
    forms: Mapping[Path, SourceForm],
    work: ItemWriter,
    *,
    missing: Sequence[str],
    seconds: float,
) -> ImportReport:
    counts = work.ledger.posts.counts()
    of: dict[str, dict[str, int]] = {outcome: {} for outcome in ItemOutcome}
    for (status, reason), count in sorted(work.outcomes.items()):
        of[status][reason] = count
    report = ImportReport(
        store=store,
        forms={str(source): form.value for source, form in forms.items()},
        items=work.outcomes.total(),
        new=of["new"].get("", 0),
        known=of["known"].get("", 0),
        duplicate=of["duplicate"].get("", 0),
        skipped=of["skipped"],
        failed=of["failed"],
        pending=of["queued"].get("", 0),
        missing="; ".join(missing),
        untagged=work.untagged,
        listed=counts.listed,
        stored=counts.stored,
        bytes=counts.bytes,
        seconds=round(seconds, 3),
    )
    if not report.listed:
        why = ", ".join(f"{count:,} {reason}" for reason, count in {**of["skipped"], **of["failed"]}.items())
        raise DataError(f"no picture was imported: {why or 'the source is empty'}: see docs/IMPORT.md")
    return report
