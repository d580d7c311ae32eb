"""Counts of posts with each tag, kept for each part of the post table, so that only changed parts are read.

They belong to the part's Parquet file of that size and time: after a program that does not know them has
written the file, or a copy without times, its posts are counted again. So they are if the counts are odd.
"""

from __future__ import annotations

import json
from collections import Counter

from alti2v.crawl.store.arrow import TagCounts, count_tags
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.ledger.state import StateKey
from alti2v.crawl.store.schema import PART_ROWS
from alti2v.records import Category
from alti2v.storage.layout import posts_table

_GROUPS = frozenset(category.value for category in Category)


def total_counts(ledger: Ledger) -> TagCounts:
    """Return the number of posts with each tag; parts without counts, and those that changed, are read."""
    totals: TagCounts = {}
    changed = set(ledger.parts.dirty())
    for part in ledger.parts.all():
        counts = None if part in changed else _kept(ledger, part)
        if counts is None:
            counts = count_tags(ledger, part=part)
            if part not in changed:
                with ledger.transaction():
                    keep_counts(ledger, part, counts)
        for group, of_group in counts.items():
            totals.setdefault(group, Counter()).update(of_group)
    return totals


def keep_counts(ledger: Ledger, part: int, counts: TagCounts) -> None:
    """Record the counts of a part; in the transaction that marks it as exported, so that they are never old."""
    kept = json.dumps({"file": _file(ledger, part), "counts": counts})
    ledger.state.set(StateKey.TAG_COUNTS, kept, name=str(part))


def forget_counts(ledger: Ledger) -> None:
    """Remove the counts of all parts, so that all posts are counted again."""
    with ledger.transaction():
        ledger.state.forget_all(StateKey.TAG_COUNTS)


def _file(ledger: Ledger, part: int) -> list[int] | None:
    """Return size and time of a part's file; None if there is none."""
    try:
        found = (ledger.folder / posts_table(part)).lstat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _kept(ledger: Ledger, part: int) -> TagCounts | None:
    """Return the counts of a part; None if they are not those of its file, or not what `keep_counts` writes."""
    try:
        kept = json.loads(ledger.state.get(StateKey.TAG_COUNTS, str(part)) or "null")
        if not isinstance(kept, dict) or kept.keys() != {"file", "counts"}:
            return None
        groups = kept["counts"]
        are_counts = (
            isinstance(groups, dict) and groups.keys() <= _GROUPS and all(map(_are_counts, groups.values()))
        )
        is_of_file = kept["file"] is not None and kept["file"] == _file(ledger, part)
    except (ValueError, RecursionError):
        return None
    return (
        {group: Counter(of_group) for group, of_group in groups.items()} if are_counts and is_of_file else None
    )


def _are_counts(of_group: object) -> bool:
    """Return whether an object has tags and numbers of posts.

    Raises:
        UnicodeEncodeError: A tag has half a character, which no table can hold.
    """
    if not isinstance(of_group, dict):
        return False
    "".join(of_group).encode()
    return all(type(count) is int and 0 < count <= PART_ROWS for count in of_group.values())
