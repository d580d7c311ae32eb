"""The current version of a dataset: its pictures with their splits, and the posts that must not return."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alti2v.dataset.images.appearance import appearances_in, read_index
from alti2v.dataset.manifest import LOST_TABLE, Manifest, read_lasting, read_vocabulary
from alti2v.dataset.plan.near_duplicates import related_groups
from alti2v.dataset.plan.planner import ExistingPictures
from alti2v.dataset.plan.posts import NONE_REMOVED, STORED, Outcomes, Removed, StorePosts
from alti2v.errors import DamagedError
from alti2v.records import Tag
from alti2v.storage.layout import (
    OUTCOMES,
    OUTCOMES_FILE,
    REMOVED,
    REMOVED_FILE,
    SPLITS,
    SURVEY_FILE,
    parse_shard_name,
)
from alti2v.storage.table import read_table, schema


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The current version of a dataset, as far as it binds the next one.

    Attributes:
        tags: Vocabulary.
        outcomes: outcomes.parquet, ascending by id.
        index: survey.parquet, ascending by id.
        removed: removed.parquet.
    """

    manifest: Manifest
    tags: tuple[Tag, ...]
    outcomes: pa.Table
    index: pa.Table
    removed: pa.Table

    @property
    def shard_of(self) -> Mapping[int, str]:
        """Shard name of each picture, by post number."""
        columns = (self.outcomes.column(name).to_pylist() for name in ("id", "outcome", "shard"))
        return {post_id: shard for post_id, outcome, shard in zip(*columns, strict=True) if outcome == STORED}

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        """Post numbers of the pictures in the shards, ascending."""
        return np.array(sorted(self.shard_of), np.int64)

    @property
    def gone(self) -> Removed:
        """Posts that were removed and must not return."""
        if not self.removed.num_rows:
            return NONE_REMOVED
        md5s = self.removed.column("source_md5").to_pylist()
        return Removed(self.removed.column("id").to_numpy(), frozenset(md5 for md5 in md5s if md5))


def read_history(dataset: Path, manifest: Manifest) -> History:
    """Read the tables of the current version.

    Raises:
        DamagedError: A table is missing or damaged.
    """
    outcomes = read_lasting(dataset / OUTCOMES_FILE, OUTCOMES)
    return History(
        manifest=manifest,
        tags=read_vocabulary(dataset),
        outcomes=outcomes.combine_chunks(),
        index=read_index(dataset),
        removed=read_removed(dataset),
    )


def read_for_new_plan(dataset: Path, manifest: Manifest) -> History:
    """Read what also binds a new plan: removed posts; the appearance index saves it work.

    Raises:
        DamagedError: removed.parquet is damaged.
    """
    return History(
        manifest=manifest,
        tags=(),
        outcomes=schema(OUTCOMES).empty_table(),
        index=read_index(dataset),
        removed=read_removed(dataset),
    )


def read_removed(dataset: Path) -> pa.Table:
    """Read removed.parquet; an empty table if there is no such file."""
    try:
        return read_table(dataset / REMOVED_FILE, REMOVED).combine_chunks()
    except FileNotFoundError:
        return schema(REMOVED).empty_table()


def existing_pictures(
    history: History, posts: StorePosts, outcomes: Outcomes
) -> tuple[ExistingPictures, npt.NDArray[np.int64]]:
    """Collect what no later version changes.

    Returns:
        The pictures in the shards, and (n,) the related group of every post of the store.

    Raises:
        DamagedError: survey.parquet lacks a picture of the shards.
    """
    shard_of, ids = history.shard_of, history.ids
    split_of = {name: parse_shard_name(name).split for name in set(shard_of.values())}
    side = np.array([SPLITS.index(split_of[shard_of[post_id]]) for post_id in ids.tolist()], np.int8)
    all_ids = np.union1d(ids, posts.ids)
    related = related_groups(all_ids, related_pairs(posts, outcomes))
    next_shard: dict[str, int] = defaultdict(int)
    for shard in history.manifest.shards:
        next_shard[shard.name.split] = max(next_shard[shard.name.split], shard.name.number + 1)
    existing = ExistingPictures(
        ids=ids,
        side=side,
        related=related[np.searchsorted(all_ids, ids)],
        appearances=appearances_in(_rows_of(history.index, ids)),
        vocabulary=history.tags,
        next_shard=next_shard,
        plan_hash=history.manifest.plan_hash,
    )
    return existing, related[np.searchsorted(all_ids, posts.ids)]


def related_pairs(posts: StorePosts, outcomes: Outcomes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return pairs of ids: each child with its parent, each duplicate with the post that was kept."""
    ids, parents, originals = posts.ids, posts.numbers("parent_id"), outcomes.duplicate_of
    return (
        np.concatenate([ids[parents > 0], ids[originals > 0]]),
        np.concatenate([parents[parents > 0], originals[originals > 0]]),
    )


def _rows_of(index: pa.Table, ids: npt.NDArray[np.int64]) -> pa.Table:
    known = index.column("id").to_numpy()
    row = np.searchsorted(known, ids)
    if len(ids) and (not len(known) or row.max() >= len(known) or not np.array_equal(known[row], ids)):
        raise DamagedError(f"{SURVEY_FILE} is missing, or lacks pictures that the store has lost: {LOST_TABLE}")
    return index.take(pa.array(row))
