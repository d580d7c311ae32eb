"""The plan of a dataset (vocabulary, splits, order, shards) as a pure function of posts, hashes and options.

The same input gives the same plan on any machine and in any process; pseudo-random choices are hashes of ids.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from alti2v.arrays import Int8Array, Int64Array
from alti2v.dataset.plan.filters import NO_FILTERS, Filters
from alti2v.dataset.plan.near_duplicates import Appearances, groups
from alti2v.dataset.plan.posts import StoredTags
from alti2v.dataset.plan.split import (
    NOWHERE,
    SPLIT_RULE,
    assign_splits,
    extend_splits,
    id_modulo_splits,
    shard_bounds,
    shuffled,
)
from alti2v.dataset.plan.split_by import SplitFacts, extend_by_date, joined_by_artist, splits_by_date
from alti2v.dataset.plan.thumbnails import JoinedThumbnails
from alti2v.dataset.plan.vocabulary import (
    StoreTagTable,
    Vocabulary,
    VocabularyRule,
    choose_vocabulary,
    grown_vocabulary,
)
from alti2v.errors import DataError
from alti2v.pictures.recipe import ImageRecipe
from alti2v.records import Tag
from alti2v.storage.layout import SPLITS, ShardName


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """Options that determine the content of a dataset.

    Attributes:
        image: Recipe of the pictures.
        vocabulary: Rule for the choice of tags.
        test, validation: Requested number of pictures in these splits.
        shard_samples: Maximum number of pictures in a shard.
        split: "hash" (`split.SPLIT_RULE`), "id-modulo" (`split.ID_MODULO_RULE`, which also determines the
            sizes), "artist" (`split_by.ARTIST_RULE`) or "date" (`split_by.DATE_RULE`).
        filters: Conditions on posts.
    """

    image: ImageRecipe
    vocabulary: VocabularyRule
    test: int
    validation: int
    shard_samples: int
    split: str = "hash"
    filters: Filters = NO_FILTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Usable pictures without a shard, in ascending order of id.

    Attributes:
        ids: (n,) int64.
        related: (n,) int64, see `near_duplicates.related_groups`.
        appearances: Appearance of the n pictures.
        tags: Tag lists of all posts.
        rows: (n,) row of each picture in `tags`.
        table: Tags that the codes in `tags` refer to.
    """

    ids: Int64Array
    related: Int64Array
    appearances: Appearances
    tags: StoredTags
    rows: Int64Array
    table: StoreTagTable


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingPictures:
    """Pictures in shards of earlier versions; no later version changes their split, group or vocabulary.

    Attributes:
        ids: (n,) int64, ascending.
        side: (n,) int8, positions in `layout.SPLITS`.
        related: (n,) int64, see `near_duplicates.related_groups`.
        appearances: Appearance of the n pictures.
        vocabulary: Tags with their current counts.
        next_shard: Number of the next shard of each split.
        plan_hash: Hash of the dataset's plan.
    """

    ids: Int64Array
    side: Int8Array
    related: Int64Array
    appearances: Appearances
    vocabulary: tuple[Tag, ...]
    next_shard: Mapping[str, int]
    plan_hash: str


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """Name of a shard and its pictures, as rows of `Candidates` in the order of the tar file."""

    name: ShardName
    rows: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Plan of a new dataset, or of the pictures that a version adds.

    Attributes:
        group: (n,) int64: smallest id of every candidate's near-duplicate group, of an existing picture if it
            has one.
        side: (n,) int8: split of every candidate; `split.NOWHERE` for those that stay out as near-duplicates of
            pictures in test or validation.
        shards: Shards to write, in the order of `layout.SPLITS` and number.
        groups: Number of groups of two or more pictures, existing ones included.
        alike: Number of pictures in these groups.
        astray: Number of these pictures in another split than the first of their group.
        hash: SHA-256 over the options, the content of the store, the vocabulary and the shards.
    """

    vocabulary: Vocabulary
    group: Int64Array
    side: Int8Array
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
    facts: SplitFacts | None = None,
) -> Plan:
    """Plan a dataset, or the growth of one.

    Args:
        candidates: Usable pictures without a shard.
        options: Options of the dataset.
        store_digest: `StorePosts.digest`; the shards also hold sources and scores.
        existing: Pictures of earlier versions; None for a new dataset.
        edition: Version that the new shards belong to.
        facts: Facts for a split by artist or by date.

    Raises:
        DataError: There are no pictures, or no tag is left.
        UsageError: Test and validation leave nothing to train on.
    """
    ids, group, before = _grouped(candidates, existing)
    side = _sides(ids, group, before, options, facts, is_new=existing is None)
    new = slice(len(ids) - len(candidates.ids), None)
    new_side, new_group = side[new], group[new]
    vocabulary = _vocabulary(candidates, new_side, options, existing)
    next_shard = {} if existing is None else existing.next_shard
    shards = list(_shards(candidates.ids, new_side, options.shard_samples, next_shard, edition))
    is_in = side != NOWHERE
    counts = _alike(group[is_in], side[is_in])
    return Plan(
        vocabulary=vocabulary,
        group=new_group,
        side=new_side,
        shards=tuple(shards),
        groups=counts[0],
        alike=counts[1],
        astray=counts[2],
        hash=_hash(candidates, options, store_digest, vocabulary, shards, existing),
    )


def _shards(
    ids: Int64Array, side: Int8Array, samples: int, next_shard: Mapping[str, int], edition: int
) -> Iterator[PlannedShard]:
    order = shuffled(ids)
    for code, split in enumerate(SPLITS):
        rows = order[side[order] == code]
        bounds = shard_bounds(len(rows), samples)
        first_number = next_shard.get(split, 0)
        total = first_number + len(bounds) - 1
        for number, (first, last) in enumerate(itertools.pairwise(bounds), first_number):
            yield PlannedShard(ShardName(split, number, total, edition), rows[first:last])


def _grouped(
    candidates: Candidates, existing: ExistingPictures | None
) -> tuple[Int64Array, Int64Array, Int8Array]:
    """Return ids, groups and splits of all pictures; existing ones come first, so that they name the groups."""
    before = np.full(len(candidates.ids), NOWHERE, np.int8)
    if existing is None:
        return candidates.ids, groups(candidates.ids, candidates.related, candidates.appearances), before
    ids = np.concatenate([existing.ids, candidates.ids])
    appearances = Appearances(
        hashes=lambda view: np.concatenate(
            [existing.appearances.hashes(view), candidates.appearances.hashes(view)]
        ),
        thumbnails=JoinedThumbnails(existing.appearances.thumbnails, candidates.appearances.thumbnails),
    )
    group = groups(ids, np.concatenate([existing.related, candidates.related]), appearances)
    return ids, group, np.concatenate([existing.side, before])


def _sides(
    ids: Int64Array,
    group: Int64Array,
    before: Int8Array,
    options: PlanOptions,
    facts: SplitFacts | None,
    *,
    is_new: bool,
) -> Int8Array:
    if options.split == "date":
        assert facts is not None, "a split by date needs the dates"
        if not is_new:
            return extend_by_date(ids, group, before, facts)
        return splits_by_date(ids, group, facts, test=options.test, validation=options.validation)
    if options.split == "id-modulo":
        side = np.where(before == NOWHERE, id_modulo_splits(ids), before)
        if not (side == SPLITS.index("train")).any():
            raise DataError("by id, no picture falls into the training split: crawl more, or use --split hash")
        return side
    if options.split == "artist":
        assert facts is not None, "a split by artist needs the artists"
        group = joined_by_artist(group, facts)
    if is_new:
        return assign_splits(group, test=options.test, validation=options.validation)
    return extend_splits(group, before, test=options.test, validation=options.validation)


def _vocabulary(
    candidates: Candidates, side: Int8Array, options: PlanOptions, existing: ExistingPictures | None
) -> Vocabulary:
    training = candidates.rows[side == SPLITS.index("train")]
    counts = candidates.tags.counts(training, tags=len(candidates.table.names))
    if existing is None:
        return choose_vocabulary(counts, candidates.table, options.vocabulary)
    return grown_vocabulary(existing.vocabulary, counts, candidates.table)


def _alike(group: Int64Array, side: Int8Array) -> tuple[int, int, int]:
    """Count groups of two or more pictures, their pictures, and those in another split than the first."""
    _, first, number, sizes = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    astray = side != side[first][number] if len(group) else np.empty(0, np.bool_)
    return int((sizes > 1).sum()), int(sizes[sizes > 1].sum()), int(astray.sum())


def options_hash(options: PlanOptions, *, store_digest: str) -> str:
    """SHA-256 over everything in a plan that is known before any picture is opened."""
    facts = json.dumps([SPLIT_RULE, as_json(options), store_digest], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def as_json(options: PlanOptions) -> Any:  # noqa: ANN401 - whatever JSON can say
    """Convert the options to JSON, with sets in order; filters only if there are any."""
    document = asdict(replace(options, filters=NO_FILTERS))
    del document["filters"]
    if options.filters != NO_FILTERS:
        document["filters"] = options.filters.document
    return json.loads(json.dumps(document, default=sorted, sort_keys=True))


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
