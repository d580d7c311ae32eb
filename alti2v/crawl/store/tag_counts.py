"""Counts of posts with each tag, kept for each part of the post table, so that only changed parts are read."""

from __future__ import annotations

import json
from collections import Counter

from alti2v.crawl.store.arrow import TagCounts, count_tags
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.ledger.state import StateKey
from alti2v.crawl.store.schema import PART_ROWS
from alti2v.records import Category

_GROUPS = frozenset(category.value for category in Category)


def total_counts(ledger: Ledger) -> TagCounts:
    """Return the number of posts with each tag; parts without counts, and those that changed, are read."""
    totals: TagCounts = {}
    changed = set(ledger.parts.dirty())
    for part in ledger.parts.all():
        kept = None if part in changed else _kept(ledger, part)
        for group, counts in (count_tags(ledger, part=part) if kept is None else kept).items():
            totals.setdefault(group, Counter()).update(counts)
    return totals


def keep_counts(ledger: Ledger, part: int, counts: TagCounts) -> None:
    """Record the counts of a part; in the transaction that marks it as exported, so that they are never old."""
    ledger.state.set(StateKey.TAG_COUNTS, json.dumps(counts), name=str(part))


def forget_counts(ledger: Ledger) -> None:
    """Remove the counts of all parts, so that all posts are counted again."""
    with ledger.transaction():
        ledger.state.forget_all(StateKey.TAG_COUNTS)


def _kept(ledger: Ledger, part: int) -> TagCounts | None:
    """Return the counts of a part; None if there are none, or other values than `keep_counts` writes."""
    text = ledger.state.get(StateKey.TAG_COUNTS, str(part))
    try:
        groups = json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
    if not isinstance(groups, dict) or not groups.keys() <= _GROUPS:
        return None
    if not all(map(_are_counts, groups.values())):
        return None
    return {group: Counter(of_group) for group, of_group in groups.items()}


def _are_counts(of_group: object) -> bool:
    return isinstance(of_group, dict) and all(
        type(count) is int and 0 < count <= PART_ROWS for count in of_group.values()
    )
