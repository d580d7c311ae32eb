"""The Parquet tables of a store, written from its ledger: posts/ in parts, and tags.parquet."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alti2v.crawl.store.arrow import TagCounts, count_tags, post_batches
from alti2v.crawl.store.ledger import Ledger
from alti2v.records import Category, tag_names
from alti2v.storage.layout import (
    HISTORY,
    HISTORY_FILE,
    IMAGES_DIR,
    POSTS,
    POSTS_DIR,
    STORE_TAGS,
    TAGS_FILE,
    posts_table,
)
from alti2v.storage.publish import make_directory, sweep_temporary_files
from alti2v.storage.table import give_back_memory, write_batches, write_table

_UNKNOWN = Category.UNKNOWN.value


def export(store: Path, ledger: Ledger) -> None:
    """Write the tables that no longer say what the ledger says."""
    categories = known_categories(ledger)
    edition = ledger.tags_edition()
    if ledger.state("exported_tags") != edition:
        with ledger.transaction():
            ledger.set_all_dirty()
    dirty = ledger.dirty_parts()
    counts: TagCounts | None = {} if dirty == ledger.parts() else None  # every post is read anyway
    for part in dirty:
        export_part(store, ledger, part, categories, counts=counts)
    if dirty or not (store / TAGS_FILE).exists():
        export_tags(store, ledger, categories, counts=counts)
    changes = str(ledger.changes())
    if changes != "0" and ledger.state("exported_history") != changes:
        export_history(store, ledger)
    with ledger.transaction():
        ledger.set_state("exported_tags", edition)
        ledger.set_state("exported_history", changes)


def export_part(
    store: Path,
    ledger: Ledger,
    part: int,
    categories: Mapping[str, Category],
    *,
    counts: TagCounts | None = None,
) -> int:
    """Write one part of the post table again, and count its tags in `counts`; returns its rows."""
    make_directory(store / POSTS_DIR)
    rows = write_batches(
        store / posts_table(part), POSTS, post_batches(ledger, part, categories, counts=counts)
    )
    give_back_memory()  # else it keeps what a part happened to need, and grows with their number
    with ledger.transaction():
        ledger.set_clean(part)
    return rows


def export_tags(
    store: Path, ledger: Ledger, categories: Mapping[str, Category], *, counts: TagCounts | None = None
) -> int:
    """Write tags.parquet again, from what was counted, if it was; returns its rows."""
    return write_table(store / TAGS_FILE, STORE_TAGS, tag_rows(ledger, categories, counts=counts))


def tag_rows(
    ledger: Ledger, categories: Mapping[str, Category], *, counts: TagCounts | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of tags.parquet, the most frequent tag first."""
    board_counts = ledger.board_counts()
    totals: Counter[str] = Counter()
    grouped = dict(categories)
    for group, of_group in (count_tags(ledger) if counts is None else counts).items():
        totals.update(of_group)
        if group != _UNKNOWN:
            grouped.update(dict.fromkeys(of_group, Category(group)))
    for name, count in sorted(totals.items(), key=lambda item: (-item[1], item[0])):
        yield {
            "name": name,
            "category": grouped.get(name, Category.UNKNOWN).value,
            "count": count,
            "board_count": board_counts.get(name),
        }


def export_history(store: Path, ledger: Ledger) -> int:
    """Write history.parquet again; returns its rows."""
    return write_table(store / HISTORY_FILE, HISTORY, history_rows(ledger))


def history_rows(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """The rows of the history."""
    for change in ledger.history():
        yield {
            "id": change.id,
            "seen_at": change.seen_at,
            "tags_added": list(change.added),
            "tags_removed": list(change.removed),
        }


def known_categories(ledger: Ledger) -> dict[str, Category]:
    """The categories that the tag API gave."""
    return ledger.known_tags()


def sweep(store: Path) -> None:
    """Remove what killed exports left behind; call it only while holding the store's lock."""
    for directory in (store, store / POSTS_DIR, store / IMAGES_DIR):
        sweep_temporary_files(directory)


def post_rows(ledger: Ledger, part: int, categories: Mapping[str, Category]) -> Iterator[dict[str, Any]]:
    """The rows of one part of the post table."""
    return (post_row(row, categories) for row in ledger.rows(part))


def post_row(row: sqlite3.Row, categories: Mapping[str, Category]) -> dict[str, Any]:
    """A ledger row as a row of the post table."""
    groups = regroup({group: tag_names(row[column]) for column, group in _TAG_COLUMNS.items()}, categories)
    return {
        **{name: row[name] for name in _PLAIN_COLUMNS},
        **{column: groups[group] for column, group in _TAG_COLUMNS.items()},
    }


def regroup(
    tags: Mapping[str, Sequence[str]], categories: Mapping[str, Category]
) -> Mapping[str, Sequence[str]]:
    """Move a post's tags of unknown category to the category that the tag API gave them, sorted as before.

    Args:
        tags: by group, every group.
        categories: by name.
    """
    unknown = tags[_UNKNOWN]
    if not (unknown and categories):
        return tags
    # A Category is its value to a dictionary.
    groups: dict[str, list[str]] = {group: list(names) for group, names in tags.items() if group != _UNKNOWN}
    groups[_UNKNOWN] = []
    for name in unknown:
        groups[categories.get(name, _UNKNOWN)].append(name)
    return {group: sorted(set(names)) for group, names in groups.items()}


_TAG_COLUMNS = {category.tags_column: category.value for category in Category}
_PLAIN_COLUMNS = tuple(column.name for column in POSTS.columns if column.name not in _TAG_COLUMNS)
