"""The plan of a dataset: vocabulary, sides, order, shards. A pure function of posts, hashes and options.

Same input, same plan, on any machine and in any process; whatever is random here is a hash of ids.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.dataset.duplicates import Looks, groups
from alti2v.dataset.manifest import ImageRecipe
from alti2v.dataset.split import SPLIT_RULE, assign_splits, shard_bounds, shuffled
from alti2v.dataset.tags import TagLists, TagTable, Vocabulary, VocabularyRule, choose_vocabulary, labels_of
from alti2v.storage.layout import SPLITS, ShardName


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What a user decides about a dataset.

    Attributes:
        vocabulary: which tags the model is to learn.
        test, validation: pictures in these splits.
        shard_samples: pictures in a shard, at most.
    """

    image: ImageRecipe
    vocabulary: VocabularyRule
    test: int
    validation: int
    shard_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The pictures that can be used, in ascending order of id.

    Attributes:
        ids: (n,) int64.
        family: (n,) int64, `duplicates.families`.
        looks: of the n pictures.
        tags: the n tag lists.
        table: what their codes mean.
    """

    ids: npt.NDArray[np.int64]
    family: npt.NDArray[np.int64]
    looks: Looks
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
    group = groups(candidates.ids, candidates.family, candidates.looks)
    side = assign_splits(group, test=options.test, validation=options.validation)
    training = candidates.tags.take(np.flatnonzero(side == SPLITS.index("train")))
    vocabulary = choose_vocabulary(training, candidates.table, options.vocabulary)
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
    facts = json.dumps([SPLIT_RULE, as_json(options), store_digest], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def as_json(options: PlanOptions) -> Any:  # noqa: ANN401 - whatever JSON can say
    """The options as JSON, with sets in order."""
    return json.loads(json.dumps(asdict(options), default=sorted, sort_keys=True))


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
