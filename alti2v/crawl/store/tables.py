"""The Parquet tables of a store, exported from its ledger: posts/ in parts, tags.parquet, history.parquet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alti2v.crawl.store.arrow import TagCounts, post_batches
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.ledger.history import HistoryTable
from alti2v.crawl.store.ledger.replaced import ReplacedTable
from alti2v.crawl.store.ledger.state import StateKey
from alti2v.crawl.store.tag_counts import keep_counts, total_counts
from alti2v.records import Category
from alti2v.storage.columns import HISTORY, POSTS, REPLACED, STORE_TAGS, Table
from alti2v.storage.layout import HISTORY_FILE, IMAGES_DIR, POSTS_DIR, REPLACED_FILE, TAGS_FILE, posts_table
from alti2v.storage.publish import make_directory, sweep_temporary_files
from alti2v.storage.table import give_back_memory, write_batches, write_table

_UNKNOWN = Category.UNKNOWN.value


@dataclass(frozen=True, slots=True)
class GrowingTable:
    """A table that only grows, and is written once it has rows.

    Attributes:
        file: Name of its file.
        columns: Contract of its columns.
        exported: Key of the number of rows that were exported.
        of: Function that returns the table of the ledger with its rows.
    """

    file: str
    columns: Table
    exported: StateKey
    of: Callable[[Ledger], HistoryTable | ReplacedTable]

    def export(self, store: Path, ledger: Ledger) -> None:
        """Write the table."""
        write_table(store / self.file, self.columns, self.of(ledger).rows())


GROWING_TABLES = (
    GrowingTable(HISTORY_FILE, HISTORY, StateKey.EXPORTED_HISTORY, lambda ledger: ledger.history),
    GrowingTable(REPLACED_FILE, REPLACED, StateKey.EXPORTED_REPLACED, lambda ledger: ledger.replaced),
)


def export(store: Path, ledger: Ledger) -> None:
    """Write the tables that differ from the ledger.

    Raises:
        DamagedError: The ledger has a value that no table takes.
        StorageError: A table cannot be written.
    """
    with ledger.believed():
        _export(store, ledger)


def _export(store: Path, ledger: Ledger) -> None:
    categories = ledger.tags.categories()
    revision = ledger.tags.revision()
    if ledger.state.get(StateKey.EXPORTED_TAGS) != revision:
        with ledger.transaction():
            ledger.parts.mark_all_dirty()
    dirty = ledger.parts.dirty()
    for part in dirty:
        export_part(store, ledger, part, categories)
    if ledger.state.get(StateKey.TAGS_OUTDATED) or not (store / TAGS_FILE).exists():
        export_tags(store, ledger, categories)
    rows = {table: str(table.of(ledger).count()) for table in GROWING_TABLES}
    for table, count in rows.items():
        if count not in ("0", ledger.state.get(table.exported)):
            table.export(store, ledger)
    with ledger.transaction():
        ledger.state.set(StateKey.EXPORTED_TAGS, revision)
        for table, count in rows.items():
            ledger.state.set(table.exported, count)


def export_part(store: Path, ledger: Ledger, part: int, categories: Mapping[str, Category]) -> None:
    """Write one part of the post table, and keep the counts of its tags."""
    make_directory(store / POSTS_DIR)
    counts: TagCounts = {}
    write_batches(store / posts_table(part), POSTS, post_batches(ledger, part, categories, counts=counts))
    give_back_memory()  # else Arrow keeps what each part needed, and memory grows with the number of parts
    with ledger.transaction():
        ledger.parts.mark_clean(part)
        keep_counts(ledger, part, counts)
        ledger.state.set(StateKey.TAGS_OUTDATED, "yes")


def export_tags(store: Path, ledger: Ledger, categories: Mapping[str, Category]) -> None:
    """Write tags.parquet."""
    write_table(store / TAGS_FILE, STORE_TAGS, tag_rows(ledger, categories, total_counts(ledger)))
    with ledger.transaction():
        ledger.state.forget(StateKey.TAGS_OUTDATED)


def tag_rows(ledger: Ledger, categories: Mapping[str, Category], counts: TagCounts) -> Iterator[dict[str, Any]]:
    """Return the rows of tags.parquet, the most frequent tag first."""
    board_counts = ledger.tags.board_counts()
    totals: Counter[str] = Counter()
    category_of = dict(categories)
    for group, of_group in counts.items():
        totals.update(of_group)
        if group != _UNKNOWN:
            category_of.update(dict.fromkeys(of_group, Category(group)))
    for name, count in sorted(totals.items(), key=lambda item: (-item[1], item[0])):
        yield {
            "name": name,
            "category": category_of.get(name, Category.UNKNOWN).value,
            "count": count,
            "board_count": board_counts.get(name),
        }


def sweep(store: Path) -> None:
    """Remove temporary files that killed exports left; the caller holds the store's lock."""
    for directory in (store, store / POSTS_DIR, store / IMAGES_DIR):
        sweep_temporary_files(directory)
