"""The plan of a dataset: vocabulary, sides, order, shards. A pure function of posts, hashes and options.

Same input, same plan, on any machine and in any process; whatever is random here is a hash of ids.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Set
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from alti2v.dataset.duplicates import groups
from alti2v.dataset.manifest import ImageRecipe
from alti2v.dataset.split import SPLIT_RULE, assign_splits, shard_bounds, shuffled
from alti2v.dataset.tags import TagLists, TagTable, Vocabulary, choose_vocabulary, labels_of
from alti2v.records import Category
from alti2v.storage.layout import SPLITS, ShardName


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What a user decides about a dataset.

    Attributes:
        top_tags: outputs of the model, at most.
        test, validation: pictures in these splits.
        shard_samples: pictures in a shard, at most.
        left_out: categories that the vocabulary does without.
    """

    image: ImageRecipe
    top_tags: int
    test: int
    validation: int
    shard_samples: int
    left_out: Set[Category]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The pictures that can be used, in ascending order of id.

    Attributes:
        ids: (n,) int64.
        family: (n,) int64, `duplicates.families`.
        hashes: (n,) uint64, `duplicates.perceptual_hash`.
        tags: the n tag lists.
        table: what their codes mean.
    """

    ids: npt.NDArray[np.int64]
    family: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint64]
    tags: TagLists
    table: TagTable


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """The pictures of one shard, as rows of `Candidates`, in the order of the tar file."""

    name: ShardName
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a dataset will be.

    Attributes:
        labels: of every candidate, positions in the vocabulary.
        group: of every candidate, (n,) int64, `duplicates.groups`.
        shards: in the order of `layout.SPLITS` and number.
        alike: pictures that share a group with another picture.
        hash: SHA-256 over the options, the content of the store, the vocabulary and the shards.
    """

    vocabulary: Vocabulary
    labels: TagLists
    group: npt.NDArray[np.int64]
    shards: tuple[PlannedShard, ...]
    alike: int
    hash: str


def make_plan(candidates: Candidates, options: PlanOptions, *, store_digest: str) -> Plan:
    """Plan a dataset.

    Args:
        candidates: the pictures that can be used.
        options: what the user wants.
        store_digest: `Posts.digest`; titles and scores land in the shards, too.

    Raises:
        DataError: there are no pictures, or no tag is left.
        UsageError: test and validation leave nothing to train on.
    """
    group = groups(candidates.ids, candidates.family, candidates.hashes)
    side = assign_splits(group, test=options.test, validation=options.validation)
    training = candidates.tags.take(np.flatnonzero(side == SPLITS.index("train")))
    vocabulary = choose_vocabulary(training, candidates.table, size=options.top_tags, left_out=options.left_out)
    order = shuffled(candidates.ids)
    shards = tuple(
        shard
        for number, split in enumerate(SPLITS)
        for shard in _cut(split, order[side[order] == number], options.shard_samples)
    )
    _, sizes = np.unique(group, return_counts=True)
    return Plan(
        vocabulary=vocabulary,
        labels=labels_of(candidates.tags, vocabulary),
        group=group,
        shards=shards,
        alike=int(sizes[sizes > 1].sum()),
        hash=_hash(candidates, options, store_digest, vocabulary, shards),
    )


def options_hash(options: PlanOptions, *, store_digest: str) -> str:
    """SHA-256 over what goes into a plan before any picture is opened."""
    fields = {**asdict(options), "left_out": sorted(options.left_out)}
    return hashlib.sha256(json.dumps([SPLIT_RULE, fields, store_digest], sort_keys=True).encode()).hexdigest()


def _cut(split: str, rows: npt.NDArray[np.int64], shard_samples: int) -> list[PlannedShard]:
    bounds = shard_bounds(len(rows), shard_samples)
    return [
        PlannedShard(ShardName(split, number, len(bounds) - 1), rows[first:last])
        for number, (first, last) in enumerate(itertools.pairwise(bounds))
    ]


def _hash(
    candidates: Candidates,
    options: PlanOptions,
    store_digest: str,
    vocabulary: Vocabulary,
    shards: tuple[PlannedShard, ...],
) -> str:
    digest = hashlib.sha256(options_hash(options, store_digest=store_digest).encode())
    digest.update(json.dumps([asdict(tag) for tag in vocabulary.tags]).encode())
    for shard in shards:
        digest.update(f"{shard.name} {len(shard.rows)}\n".encode())
        digest.update(candidates.ids[shard.rows].astype("<i8").tobytes())
    return digest.hexdigest()
