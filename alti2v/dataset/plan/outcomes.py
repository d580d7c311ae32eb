"""Outcomes of posts (stored, duplicate, dropped or failed, and why) as numbers, which fit into memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alti2v.arrays import Int8Array, Int32Array, Int64Array
from alti2v.dataset.plan.posts import StorePosts
from alti2v.records import Status
from alti2v.storage.columns import OUTCOMES
from alti2v.storage.table import give_back_memory, schema

STORED, DUPLICATE, DROPPED, FAILED = OUTCOME_NAMES = ("stored", "duplicate", "dropped", "failed")
_STORED, _DUPLICATE, _DROPPED, _FAILED = range(len(OUTCOME_NAMES))
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Outcome of every post, in the order of `StorePosts`.

    Attributes:
        outcome: (n,) int8 positions in `OUTCOME_NAMES`.
        reason: (n,) int32 positions in `reasons`.
        reasons: Reasons of outcomes, distinct; the first is "", that of a stored post.
        duplicate_of: (n,) the stored post with the same bytes; 0 if there is none.
    """

    outcome: Int8Array
    reason: Int32Array
    reasons: tuple[str, ...]
    duplicate_of: Int64Array

    def dropped(self, rows: Int64Array, reasons: Iterable[str]) -> Outcomes:
        """Return the same outcomes with some posts dropped."""
        outcome, reason = self.outcome.copy(), self.reason.copy()
        words = {word: code for code, word in enumerate(self.reasons)}
        outcome[rows] = _DROPPED
        reason[rows] = [words.setdefault(word, len(words)) for word in reasons]
        return replace(self, outcome=outcome, reason=reason, reasons=tuple(words))

    @property
    def usable(self) -> Int64Array:
        """Rows of the posts that are stored, or will be."""
        return np.flatnonzero(self.outcome == _STORED)

    def counts(self) -> dict[str, int]:
        """Count posts by outcome and reason, e.g. {"stored": 90, "dropped damaged": 2}; most frequent first."""
        kinds, numbers = np.unique(
            self.outcome.astype(np.int64) * len(self.reasons) + self.reason, return_counts=True
        )
        outcome, reason = np.divmod(kinds, len(self.reasons))
        return _named(
            (OUTCOME_NAMES[first], self.reasons[second], count)
            for first, second, count in zip(outcome.tolist(), reason.tolist(), numbers.tolist(), strict=True)
        )


def encoded(column: pa.ChunkedArray, words: dict[str, int]) -> Int32Array:
    """Encode a column with few distinct words by order of first occurrence; extends `words`."""
    found = column.combine_chunks().dictionary_encode()
    codes = [words.setdefault(word, len(words)) for word in found.dictionary.to_pylist()]
    numbers: Int32Array = np.array(codes, np.int32)[found.indices.to_numpy()]
    return numbers


def count_outcomes(parts: Iterable[pa.Table]) -> dict[str, int]:
    """Count the rows of outcomes.parquet, as `Outcomes.counts` does."""
    counts: Counter[tuple[str, str]] = Counter()
    for part in parts:
        grouped = (
            part.select(["outcome", "reason"]).group_by(["outcome", "reason"]).aggregate([([], "count_all")])
        )
        for row in grouped.to_pylist():
            counts[row["outcome"], row["reason"]] += row["count_all"]
    return _named((*kind, count) for kind, count in counts.items())


def _named(kinds: Iterable[tuple[str, str, int]]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for outcome, reason, count in kinds:
        counts[f"{outcome} {reason}" if outcome in (DROPPED, FAILED) and reason else outcome] += count
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


_OUTCOME_OF_STATUS: Mapping[str, int] = {
    Status.STORED: _STORED,
    Status.DUPLICATE: _DUPLICATE,
    Status.SKIPPED: _DROPPED,
    Status.FAILED: _FAILED,
    Status.PENDING: _FAILED,
}


@dataclass(frozen=True, slots=True)
class Removed:
    """Posts that must not return, and the MD5s of their stored bytes."""

    ids: Int64Array
    md5s: Set[str]


NONE_REMOVED = Removed(np.empty(0, np.int64), frozenset())
_NO_IDS = np.empty(0, np.int64)


def first_outcomes(
    posts: StorePosts,
    *,
    existing: Int64Array = _NO_IDS,
    replaced: Int64Array = _NO_IDS,
    removed: Removed = NONE_REMOVED,
) -> Outcomes:
    """Derive outcomes from the tables alone: crawl failures, posts without tags, pictures with the same bytes.

    Args:
        posts: Posts of the store.
        existing: Ids of pictures in shards; they are stored, whatever the store says now.
        replaced: Those of them whose bytes in the store are others now: nothing is a copy of these.
        removed: Posts that were removed from the dataset.
    """
    statuses: dict[str, int] = {}
    words = {"": 0, "not_fetched": 1, "untagged": 2, "removed": 3}
    duplicate_of = posts.numbers("duplicate_of")
    status, reason = (np.empty(len(posts.ids), np.int32) for _ in range(2))
    gone = np.isin(posts.ids, removed.ids) | np.isin(duplicate_of, removed.ids)
    md5s = pa.array(sorted(removed.md5s), pa.string())
    first = 0
    for block in posts.facts.blocks(["status", "reason", "stored_md5"]):
        some = slice(first, first + block.num_rows)
        first = some.stop
        status[some], reason[some] = encoded(block["status"], statuses), encoded(block["reason"], words)
        has_removed_bytes = pc.is_in(block["stored_md5"], value_set=md5s, skip_nulls=True)
        gone[some] |= has_removed_bytes.to_numpy()
    outcome = np.array([_OUTCOME_OF_STATUS.get(word, _FAILED) for word in statuses], np.int8)[status]
    reason[status == statuses.get(Status.PENDING, -1)] = words["not_fetched"]
    reason[outcome == _STORED] = 0
    untagged = (outcome == _STORED) & (posts.tags.lengths == 0)
    outcome[untagged], reason[untagged] = _DROPPED, words["untagged"]
    reason[outcome == _DUPLICATE] = 0
    outcome[gone], reason[gone], duplicate_of[gone] = _DROPPED, words["removed"], 0
    is_existing = np.isin(posts.ids, existing)
    outcome[is_existing], reason[is_existing], duplicate_of[is_existing] = _STORED, 0, 0
    stored = np.flatnonzero((outcome == _STORED) & ~np.isin(posts.ids, replaced))
    # An existing picture keeps its outcome if an earlier post with the same bytes is found.
    candidates = stored[np.argsort(~is_existing[stored], kind="stable")]
    repeated, original = posts.md5s().repeated(candidates)
    rows, originals = candidates[repeated], candidates[original]
    rows, originals = rows[~is_existing[rows]], originals[~is_existing[rows]]
    outcome[rows] = _DUPLICATE
    duplicate_of[rows] = posts.ids[originals]
    give_back_memory()
    return Outcomes(outcome=outcome, reason=reason, reasons=tuple(words), duplicate_of=duplicate_of)


def outcome_tables(
    posts: StorePosts, outcomes: Outcomes, shard: Int32Array, shard_names: Sequence[str]
) -> Iterator[pa.Table]:
    """Yield the rows of outcomes.parquet, some at a time.

    Args:
        posts: Posts of the store.
        outcomes: Their outcomes.
        shard: (n,) position of each post's shard in `shard_names`, -1 for none.
        shard_names: Names of shards.
    """
    names = pa.array(shard_names, pa.string())
    kinds, reasons = pa.array(OUTCOME_NAMES), pa.array(outcomes.reasons, pa.string())
    for first in range(0, len(posts.ids), _ROWS_AT_ONCE):
        some = slice(first, first + _ROWS_AT_ONCE)
        duplicate_of, at = outcomes.duplicate_of[some], shard[some]
        columns = {
            "id": pa.array(posts.ids[some]),
            "outcome": kinds.take(pa.array(outcomes.outcome[some])),
            "reason": reasons.take(pa.array(outcomes.reason[some])),
            "duplicate_of": pa.array(duplicate_of, mask=duplicate_of <= 0),
            "shard": names.take(pa.array(at, mask=at < 0)),
        }
        yield pa.table(columns, schema=schema(OUTCOMES))
