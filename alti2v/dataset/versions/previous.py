"""What a dataset has decided: which pictures stand in it, on which side, and which are never to come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alti2v.dataset.images.survey import looks_of, read_survey
from alti2v.dataset.manifest import LOST_TABLE, Manifest, read_lasting, read_manifest, read_vocabulary
from alti2v.dataset.plan.near_duplicates import families
from alti2v.dataset.plan.planner import Settled
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
    """A dataset as it stands.

    Attributes:
        outcomes: outcomes.parquet, ascending by id.
        survey: survey.parquet, ascending by id.
        removed: removed.parquet.
    """

    manifest: Manifest
    tags: tuple[Tag, ...]
    outcomes: pa.Table
    survey: pa.Table
    removed: pa.Table

    @property
    def shard_of(self) -> Mapping[int, str]:
        """The shard of each picture."""
        columns = (self.outcomes.column(name).to_pylist() for name in ("id", "outcome", "shard"))
        return {post_id: shard for post_id, outcome, shard in zip(*columns, strict=True) if outcome == STORED}

    @property
    def gone(self) -> Removed:
        """What is never to come back."""
        if not self.removed.num_rows:
            return NONE_REMOVED
        md5s = self.removed.column("source_md5").to_pylist()
        return Removed(self.removed.column("id").to_numpy(), frozenset(md5 for md5 in md5s if md5))


def read_history(dataset: Path) -> History:
    """Read what a dataset has decided.

    Raises:
        UsageError: the directory is no dataset.
        DamagedError: a table cannot be read.
    """
    outcomes = read_lasting(dataset / OUTCOMES_FILE, OUTCOMES)
    return History(
        manifest=read_manifest(dataset),
        tags=read_vocabulary(dataset),
        outcomes=outcomes.combine_chunks(),
        survey=read_survey(dataset),
        removed=read_removed(dataset),
    )


def read_for_new_plan(dataset: Path) -> History:
    """Read what holds for a new plan, too: how pictures look, and what was removed; nothing was decided.

    Raises:
        UsageError: the directory is no dataset.
        DamagedError: the manifest, or what was removed, cannot be read.
    """
    return History(
        manifest=read_manifest(dataset),
        tags=(),
        outcomes=schema(OUTCOMES).empty_table(),
        survey=read_survey(dataset),
        removed=read_removed(dataset),
    )


def read_removed(dataset: Path) -> pa.Table:
    """The rows of removed.parquet; none if there is no such file."""
    try:
        return read_table(dataset / REMOVED_FILE, REMOVED).combine_chunks()
    except FileNotFoundError:
        return schema(REMOVED).empty_table()


def settle(history: History, posts: StorePosts, outcomes: Outcomes) -> tuple[Settled, npt.NDArray[np.int64]]:
    """What no later edition changes, and the families of all posts of the store, in their order.

    Raises:
        DamagedError: survey.parquet lacks a picture of the shards.
    """
    shard_of = history.shard_of
    ids = np.array(sorted(shard_of), np.int64)
    split_of = {name: parse_shard_name(name).split for name in set(shard_of.values())}
    side = np.array([SPLITS.index(split_of[shard_of[post_id]]) for post_id in ids.tolist()], np.int8)
    everything = np.union1d(ids, posts.ids)
    family = families(everything, family_links(posts, outcomes))
    next_shard: dict[str, int] = defaultdict(int)
    for shard in history.manifest.shards:
        next_shard[shard.name.split] = max(next_shard[shard.name.split], shard.name.number + 1)
    settled = Settled(
        ids=ids,
        side=side,
        family=family[np.searchsorted(everything, ids)],
        looks=looks_of(_of_pictures(history.survey, ids)),
        vocabulary=history.tags,
        next_shard=next_shard,
        plan_hash=history.manifest.plan_hash,
    )
    return settled, family[np.searchsorted(everything, posts.ids)]


def family_links(posts: StorePosts, outcomes: Outcomes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs of ids that belong together: children and parents, duplicates and what stands for them."""
    ids, parents, originals = posts.ids, posts.numbers("parent_id"), outcomes.duplicate_of
    return (
        np.concatenate([ids[parents > 0], ids[originals > 0]]),
        np.concatenate([parents[parents > 0], originals[originals > 0]]),
    )


def _of_pictures(survey: pa.Table, ids: npt.NDArray[np.int64]) -> pa.Table:
    known = survey.column("id").to_numpy()
    place = np.searchsorted(known, ids)
    if len(ids) and (not len(known) or place.max() >= len(known) or not np.array_equal(known[place], ids)):
        raise DamagedError(
            f"{SURVEY_FILE} is missing or lacks pictures of the shards that the store has no more: {LOST_TABLE}"
        )
    return survey.take(pa.array(place))
