"""The status of a crawl, read from its store's ledger, also while the crawl runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alti2v.crawl.run_log import LastRun, last_run
from alti2v.crawl.store.ledger import Ledger, require_ledger
from alti2v.crawl.store.ledger.state import StateKey
from alti2v.crawl.store.listing_state import Ending, ListingState
from alti2v.storage.directory import DirectoryKind, holder, read_description
from alti2v.storage.layout import CRAWL_LOCK_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """Contents of a store, from its ledger.

    Attributes:
        store: Folder.
        plan: Description of the crawl in store.json: board, dialect, tags, files ...
        listed: Posts in the store; the sum of all outcomes.
        stored: Posts whose picture is stored.
        duplicate: Posts whose bytes are stored for another post.
        pending: Posts whose download is not finished.
        skipped, failed: Posts by reason and by kind of failure.
        bytes: Size of all stored pictures.
        board_count: Posts that the board counted when the last run began; None if unknown.
        listing: "complete", "not begun", the position of an unfinished listing, or why it is short.
        process: Id of the process that is writing into the store; None if there is no such process.
        last_run: Record of the last run; None before the first.
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
    """Read the status of a crawl, also while it runs.

    Raises:
        UsageError: The folder is not a store.
        DamagedError: Its ledger cannot be read.
    """
    plan = read_description(store, DirectoryKind.STORE)
    process = holder(store, CRAWL_LOCK_FILE)
    with Ledger(require_ledger(store), readonly=True) as ledger:
        counts, listing, run = ledger.posts.counts(), ledger.state.listing(), last_run(ledger)
        board_count = ledger.state.number(StateKey.BOARD_COUNT)
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
        board_count=board_count,
        listing=_describe(listing, run),
        process=process,
        last_run=run,
    )


def _describe(listing: ListingState | None, run: LastRun | None) -> str:
    if listing is None:
        return "not begun"
    if listing.ending is Ending.COMPLETE:
        return "complete"
    if listing.shortfall:
        return listing.shortfall
    if run is not None and run.limit is not None and run.ending == "complete":
        return f"stopped at --limit {run.limit:,}"
    if listing.by_page:
        return f"not at its end: page {listing.page} comes next"
    where = "at the newest post" if listing.below is None else f"below id {listing.below}"
    return f"not at its end: continues {where}"
