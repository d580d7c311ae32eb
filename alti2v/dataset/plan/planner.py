"""The plan of a dataset: vocabulary, sides, order, shards. A pure function of posts, hashes and options.

Same input, same plan, on any machine and in any process; whatever is random here is a hash of ids.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.dataset.manifest import ImageRecipe
from alti2v.dataset.plan.near_duplicates import Appearances, groups
from alti2v.dataset.plan.split import (
    NOWHERE,
    SPLIT_RULE,
    assign_splits,
    extend_splits,
    id_modulo_splits,
    shard_bounds,
    shuffled,
)
from alti2v.dataset.plan.vocabulary import (
    TagLists,
    TagTable,
    Vocabulary,
    VocabularyRule,
    choose_vocabulary,
    grown_vocabulary,
    labels_of,
)
from alti2v.errors import DataError
from alti2v.records import Tag
from alti2v.storage.layout import SPLITS, ShardName


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What a user decides about a dataset.

    Attributes:
        vocabulary: which tags the model is to learn.
        test, validation: pictures in these splits.
        shard_samples: pictures in a shard, at most.
        split: "hash" (`split.SPLIT_RULE`) or "id-modulo" (`split.ID_MODULO_RULE`, which sets the sizes, too).
    """

    image: ImageRecipe
    vocabulary: VocabularyRule
    test: int
    validation: int
    shard_samples: int
    split: str = "hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The pictures that can be used and have no place yet, in ascending order of id.

    Attributes:
        ids: (n,) int64.
        related: (n,) int64, see `near_duplicates.related_groups`.
        appearances: of the n pictures.
        tags: tag lists, of other posts, too.
        rows: (n,) where in them those of the n pictures are.
        table: what their codes mean.
    """

    ids: npt.NDArray[np.int64]
    related: npt.NDArray[np.int64]
    appearances: Appearances
    tags: TagLists
    rows: npt.NDArray[np.int64]
    table: TagTable


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingPictures:
    """What earlier editions of a dataset have decided, and what no later one changes.

    Attributes:
        ids: (n,) int64, the pictures in its shards, ascending.
        side: (n,) int8, positions in `layout.SPLITS`.
        related: (n,) int64, see `near_duplicates.related_groups`.
        appearances: of the n pictures.
        vocabulary: with the counts of now.
        next_shard: the number of the next shard of each split.
        plan_hash: of the dataset's plan.
    """

    ids: npt.NDArray[np.int64]
    side: npt.NDArray[np.int8]
    related: npt.NDArray[np.int64]
    appearances: Appearances
    vocabulary: tuple[Tag, ...]
    next_shard: Mapping[str, int]
    plan_hash: str


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """The pictures of one shard, as rows of `Candidates`, in the order of the tar file."""

    name: ShardName
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a dataset will be, or what its next edition will add.

    Attributes:
        labels: of every candidate, positions in the vocabulary.
        group: of every candidate, (n,) int64: the smallest id of its group, of existing pictures if it has any.
        side: of every candidate, (n,) int8; `split.NOWHERE` for those that stay out because they look like
            pictures of test or validation.
        shards: to be written, in the order of `layout.SPLITS` and number.
        groups: groups of two or more pictures, existing ones included.
        alike: pictures in them.
        astray: pictures in them that stand on another side than the first of their group.
        hash: SHA-256 over the options, the content of the store, the vocabulary and the shards.
    """

    vocabulary: Vocabulary
    labels: TagLists
    group: npt.NDArray[np.int64]
    side: npt.NDArray[np.int8]
    shards: tuple[PlannedShard, ...]
    groups: int
    alike: int
    astray: int
    hash: str


def make_plan(
    candidates: Candidates,
    options: PlanOptions,
    *,
    store_digest: str,
    existing: ExistingPictures | None = None,
    edition: int = 1,
) -> Plan:
    """Plan a dataset, or the growth of one.

    Args:
        candidates: the pictures that can be used.
        options: what the user wants.
        store_digest: `Posts.digest`; titles and scores land in the shards, too.
        existing: what stands already; None for a new dataset.
        edition: that the new shards are for.

    Raises:
        DataError: there are no pictures, or no tag is left.
        UsageError: test and validation leave nothing to train on.
    """
    ids, group, before = _grouped(candidates, existing)
    side = _sides(ids, group, before, options, is_new=existing is None)
    new = slice(len(ids) - len(candidates.ids), None)
    new_side, new_group = side[new], group[new]
    vocabulary = _vocabulary(candidates, new_side, options, existing)
    order = shuffled(candidates.ids)
    shards: list[PlannedShard] = []
    for number, split in enumerate(SPLITS):
        rows = order[new_side[order] == number]
        bounds = shard_bounds(len(rows), options.shard_samples)
        first_number = 0 if existing is None else existing.next_shard.get(split, 0)
        total = first_number + len(bounds) - 1
        shards += (
            PlannedShard(ShardName(split, number, total, edition), rows[first:last])
            for number, (first, last) in enumerate(itertools.pairwise(bounds), first_number)
        )
    is_in = side != NOWHERE
    counts = _alike(group[is_in], side[is_in])
    return Plan(
        vocabulary=vocabulary,
        labels=labels_of(candidates.tags, candidates.rows, vocabulary),
        group=new_group,
        side=new_side,
        shards=tuple(shards),
        groups=counts[0],
        alike=counts[1],
        astray=counts[2],
        hash=_hash(candidates, options, store_digest, vocabulary, shards, existing),
    )


def _grouped(
    candidates: Candidates, existing: ExistingPictures | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int8]]:
    """Ids, groups and sides of all pictures, existing ones first, so that they give groups their names."""
    before = np.full(len(candidates.ids), NOWHERE, np.int8)
    if existing is None:
        return candidates.ids, groups(candidates.ids, candidates.related, candidates.appearances), before
    ids = np.concatenate([existing.ids, candidates.ids])
    appearances = Appearances(
        hashes=np.concatenate([existing.appearances.hashes, candidates.appearances.hashes]),
        thumbnails=np.concatenate([existing.appearances.thumbnails, candidates.appearances.thumbnails]),
    )
    group = groups(ids, np.concatenate([existing.related, candidates.related]), appearances)
    return ids, group, np.concatenate([existing.side, before])


def _sides(
    ids: npt.NDArray[np.int64],
    group: npt.NDArray[np.int64],
    before: npt.NDArray[np.int8],
    options: PlanOptions,
    *,
    is_new: bool,
) -> npt.NDArray[np.int8]:
    if options.split == "id-modulo":
        side = np.where(before == NOWHERE, id_modulo_splits(ids), before)
        if not (side == SPLITS.index("train")).any():
            raise DataError("by their ids, no picture is for training: crawl more, or use --split hash")
        return side
    if is_new:
        return assign_splits(group, test=options.test, validation=options.validation)
    return extend_splits(group, before, test=options.test, validation=options.validation)


def _vocabulary(
    candidates: Candidates, side: npt.NDArray[np.int8], options: PlanOptions, existing: ExistingPictures | None
) -> Vocabulary:
    training = candidates.rows[side == SPLITS.index("train")]
    counts = candidates.tags.counts(training, tags=len(candidates.table.names))
    if existing is None:
        return choose_vocabulary(counts, candidates.table, options.vocabulary)
    return grown_vocabulary(existing.vocabulary, counts, candidates.table)


def _alike(group: npt.NDArray[np.int64], side: npt.NDArray[np.int8]) -> tuple[int, int, int]:
    """Groups of two or more pictures, the pictures in them, and those apart from their group's first."""
    _, first, number, sizes = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    astray = side != side[first][number] if len(group) else np.empty(0, np.bool_)
    return int((sizes > 1).sum()), int(sizes[sizes > 1].sum()), int(astray.sum())


def options_hash(options: PlanOptions, *, store_digest: str) -> str:
    """SHA-256 over what goes into a plan before any picture is opened."""
    facts = json.dumps([SPLIT_RULE, as_json(options), store_digest], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def as_json(options: PlanOptions) -> Any:  # noqa: ANN401 - whatever JSON can say
    """The options as JSON, with sets in order."""
    return json.loads(json.dumps(asdict(options), default=sorted, sort_keys=True))


def _hash(
    candidates: Candidates,
    options: PlanOptions,
    store_digest: str,
    vocabulary: Vocabulary,
    shards: Sequence[PlannedShard],
    existing: ExistingPictures | None,
) -> str:
    digest = hashlib.sha256(options_hash(options, store_digest=store_digest).encode())
    if existing is not None:
        digest.update(f"after {existing.plan_hash}\n".encode())
    digest.update(json.dumps([asdict(tag) for tag in vocabulary.tags]).encode())
    for shard in shards:
        digest.update(f"{shard.name} {len(shard.rows)}\n".encode())
        digest.update(candidates.ids[shard.rows].astype("<i8").tobytes())
    return digest.hexdigest()
