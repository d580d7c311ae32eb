"""The status of a crawl, read from its store's ledger, also while the crawl runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from alti2v.crawl.run_log import LastRun, last_run
from alti2v.crawl.store.ledger import Ledger, require_ledger
from alti2v.crawl.store.ledger.outcomes import PostCounts
from alti2v.crawl.store.ledger.state import StateKey
from alti2v.crawl.store.listing_state import Ending, ListingState
from alti2v.storage.directory import DirectoryKind, holder, read_description
from alti2v.storage.layout import CRAWL_LOCK_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus(PostCounts):
    """Contents of a store, from its ledger.

    Attributes:
        store: Folder.
        plan: Description of the crawl in store.json: board, dialect, tags, files ...
        board_count: Posts that the board counted when the last run began; None if unknown.
        listing: "complete", "not begun", the position of an unfinished listing, or why it is short.
        process: Id of the process that is writing into the store; None if there is no such process.
        last_run: Record of the last run; None before the first.
    """

    store: Path
    plan: Mapping[str, object]
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
        **asdict(counts),
        store=store,
        plan={name: value for name, value in plan.items() if name not in ("kind", "version")},
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
