"""How a crawl stands, read from its store's ledger, also while the crawl runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alti2v.crawl.run_log import LastRun, last_run
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.walk_state import Ending, Walk
from alti2v.storage.directory import DirectoryKind, holder, missing_file, read_description
from alti2v.storage.layout import CRAWL_LOCK_FILE, LEDGER_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """What a store holds, from its ledger.

    Attributes:
        plan: what store.json says of the crawl: board, dialect, tags, files ...
        listed: every post of the store; the sum of all outcomes.
        pending: posts whose file is not settled.
        skipped, failed: posts by reason and by kind of failure.
        bytes: size of all stored pictures.
        board_count: posts that the board counted for this search when the last run began; None if unknown.
        listing: "complete", "not begun", where an unfinished one stands, or why it is short.
        process: the number of the process that writes into the store now; None if none does.
        last_run: None before the first.
    """

    store: Path
    plan: Mapping[str, object]
    listed: int
    stored: int
    duplicate: int
    pending: int
    skipped: Mapping[str, int]
    failed: Mapping[str, int]
    bytes: int
    board_count: int | None
    listing: str
    process: str | None
    last_run: LastRun | None


def store_status(store: Path) -> StoreStatus:
    """Read how a crawl stands, also while it runs.

    Raises:
        UsageError: it is no store.
        DamagedError: its ledger cannot be read.
    """
    plan = read_description(store, DirectoryKind.STORE)
    if not (store / LEDGER_FILE).exists():
        raise missing_file(store, LEDGER_FILE)
    process = holder(store, CRAWL_LOCK_FILE)
    with Ledger(store / LEDGER_FILE, readonly=True) as ledger:
        counts, walk, run = ledger.counts(), ledger.walk(), last_run(ledger)
        board_count = ledger.state("board_count")
    return StoreStatus(
        store=store,
        plan={name: value for name, value in plan.items() if name not in ("kind", "version")},
        listed=counts.listed,
        stored=counts.stored,
        duplicate=counts.duplicate,
        pending=counts.pending,
        skipped=dict(counts.skipped),
        failed=dict(counts.failed),
        bytes=counts.bytes,
        board_count=None if board_count is None else int(board_count),
        listing=_in_words(walk),
        process=process,
        last_run=run,
    )


def _in_words(walk: Walk | None) -> str:
    if walk is None:
        return "not begun"
    if walk.ending is Ending.COMPLETE:
        return "complete"
    if walk.shortfall:
        return walk.shortfall
    if walk.by_page:
        return f"not at its end: page {walk.page} comes next"
    where = "at the newest post" if walk.below is None else f"below id {walk.below}"
    return f"not at its end: goes on {where}"
