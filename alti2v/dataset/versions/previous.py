"""The current version of a dataset: its pictures with their splits, and the posts that must not return."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alti2v.arrays import Int32Array, Int64Array
from alti2v.dataset.images.appearance import AppearanceIndex, known_rows, read_index
from alti2v.dataset.manifest import LOST_TABLE, Manifest, read_lasting_parts, read_vocabulary
from alti2v.dataset.plan.components import related_groups
from alti2v.dataset.plan.outcomes import NONE_REMOVED, STORED, Outcomes, Removed, encoded
from alti2v.dataset.plan.planner import ExistingPictures
from alti2v.dataset.plan.posts import StorePosts
from alti2v.errors import DamagedError
from alti2v.records import Tag
from alti2v.storage.columns import OUTCOMES, REMOVED
from alti2v.storage.layout import OUTCOMES_FILE, REMOVED_FILE, SPLITS, SURVEY_FILE, parse_shard_name
from alti2v.storage.table import read_table, schema


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesInShards:
    """Pictures in the shards of a version.

    Attributes:
        ids: (n,) int64 post numbers, ascending.
        shard: (n,) int32 position of each picture's shard in `names`.
        names: Names of shards, distinct.
    """

    ids: Int64Array
    shard: Int32Array
    names: tuple[str, ...]

    def of(self, shard: str) -> Int64Array:
        """Return the post numbers of the pictures in a shard, ascending."""
        return self.ids[self.shard == self.names.index(shard)] if shard in self.names else self.ids[:0]

    def same_as(self, other: PicturesInShards) -> bool:
        """Return whether the same pictures are in the same shards, whatever the order of the names."""
        code = {name: number for number, name in enumerate(other.names)}
        codes = np.array([code.get(name, -1) for name in self.names], np.int32)
        return np.array_equal(self.ids, other.ids) and np.array_equal(codes[self.shard], other.shard)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The parts of the current version of a dataset that the next one has to keep.

    Attributes:
        dataset: Local folder of its tables.
        tags: Vocabulary.
        pictures: Pictures in the shards; none if the shards do not bind the next version.
        index: Rows of survey.parquet.
        removed: Rows of removed.parquet.
    """

    dataset: Path
    manifest: Manifest
    tags: tuple[Tag, ...]
    pictures: PicturesInShards
    index: AppearanceIndex
    removed: pa.Table

    @property
    def ids(self) -> Int64Array:
        """Post numbers of the pictures in the shards, ascending."""
        return self.pictures.ids

    def outcomes(self) -> Iterator[pa.Table]:
        """Yield the rows of outcomes.parquet, some at a time.

        Raises:
            DamagedError: It is missing or damaged.
        """
        return read_lasting_parts(self.dataset / OUTCOMES_FILE, OUTCOMES)

    @property
    def gone(self) -> Removed:
        """Posts that were removed and must not return."""
        if not self.removed.num_rows:
            return NONE_REMOVED
        md5s = self.removed.column("source_md5").to_pylist()
        return Removed(self.removed.column("id").to_numpy(), frozenset(md5 for md5 in md5s if md5))


def read_history(dataset: Path, manifest: Manifest, scratch: Path, *, binds: bool = True) -> History:
    """Read the tables of the current version.

    Args:
        dataset: Local folder of its tables.
        manifest: Its manifest.
        scratch: Folder on whose disk temporary files are.
        binds: False to read only what a new plan also uses: the removed posts, and the appearance index, which
            saves work.

    Raises:
        DamagedError: A table is missing or damaged.
    """
    outcomes = read_lasting_parts(dataset / OUTCOMES_FILE, OUTCOMES) if binds else ()
    return History(
        dataset=dataset,
        manifest=manifest,
        tags=read_vocabulary(dataset) if binds else (),
        pictures=pictures_in_shards(outcomes),
        index=read_index(dataset, scratch),
        removed=read_removed(dataset),
    )


def pictures_in_shards(outcomes: Iterable[pa.Table]) -> PicturesInShards:
    """Collect the pictures in shards from the rows of outcomes.parquet."""
    names: dict[str, int] = {}
    ids, shards = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    for part in outcomes:
        stored = part.filter(pc.equal(part["outcome"], STORED))
        if stored["shard"].null_count:
            raise DamagedError(f"{OUTCOMES_FILE} has stored posts without a shard: {LOST_TABLE}")
        ids.append(stored["id"].to_numpy())
        shards.append(encoded(stored["shard"], names))
    all_ids, all_shards = np.concatenate(ids), np.concatenate(shards)
    if (all_ids[1:] < all_ids[:-1]).any():
        order = np.argsort(all_ids, kind="stable")
        all_ids, all_shards = all_ids[order], all_shards[order]
    return PicturesInShards(ids=all_ids, shard=all_shards, names=tuple(names))


def read_removed(dataset: Path) -> pa.Table:
    """Read removed.parquet; an empty table if there is no such file."""
    try:
        return read_table(dataset / REMOVED_FILE, REMOVED).combine_chunks()
    except FileNotFoundError:
        return schema(REMOVED).empty_table()


def existing_pictures(
    history: History, posts: StorePosts, outcomes: Outcomes
) -> tuple[ExistingPictures, Int64Array]:
    """Collect the pictures whose split, group and shard no later version changes.

    Returns:
        The pictures in the shards, and (n,) the related group of every post of the store.

    Raises:
        DamagedError: survey.parquet lacks a picture of the shards.
    """
    pictures, ids = history.pictures, history.ids
    of_shard = [SPLITS.index(parse_shard_name(name).split) for name in pictures.names]
    side = np.array(of_shard, np.int8)[pictures.shard]
    all_ids = np.union1d(ids, posts.ids)
    related = related_groups(all_ids, related_pairs(posts, outcomes))
    next_shard: dict[str, int] = defaultdict(int)
    for shard in history.manifest.shards:
        next_shard[shard.name.split] = max(next_shard[shard.name.split], shard.name.number + 1)
    existing = ExistingPictures(
        ids=ids,
        side=side,
        related=related[np.searchsorted(all_ids, ids)],
        appearances=history.index.appearances(_rows_of(history.index, ids)),
        vocabulary=history.tags,
        next_shard=next_shard,
        plan_hash=history.manifest.plan_hash,
    )
    return existing, related[np.searchsorted(all_ids, posts.ids)]


def replaced_ids(index: AppearanceIndex, posts: StorePosts, ids: Int64Array) -> Int64Array:
    """Return which of some posts have bytes in the store that differ from those in the index."""
    rows = np.flatnonzero(np.isin(posts.ids, ids))
    _, is_known = known_rows(index, posts, rows)
    return posts.ids[rows[~is_known]]


def related_pairs(posts: StorePosts, outcomes: Outcomes) -> tuple[Int64Array, Int64Array]:
    """Return pairs of ids: each child with its parent, each duplicate with the post that was kept."""
    ids, parents, originals = posts.ids, posts.numbers("parent_id"), outcomes.duplicate_of
    return (
        np.concatenate([ids[parents > 0], ids[originals > 0]]),
        np.concatenate([parents[parents > 0], originals[originals > 0]]),
    )


def _rows_of(index: AppearanceIndex, ids: Int64Array) -> Int64Array:
    known = index.ids
    row = np.searchsorted(known, ids)
    if len(ids) and (not len(known) or row.max() >= len(known) or not np.array_equal(known[row], ids)):
        raise DamagedError(f"{SURVEY_FILE} is missing, or lacks pictures that the store has lost: {LOST_TABLE}")
    return row
