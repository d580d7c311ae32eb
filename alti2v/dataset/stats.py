"""Statistics of a dataset from its tables, with a batch of rows in memory at a time; no picture is opened.

Two passes: the first counts, and picks pictures to show; the second finds the members of near-duplicate groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alti2v.arrays import Float64Array, Int64Array
from alti2v.dataset.explore.counts import ASPECTS, COLUMNS, TAG_COLUMNS, Counts
from alti2v.dataset.explore.duplicate_groups import batches, duplicate_groups
from alti2v.dataset.explore.file_names import file_names
from alti2v.dataset.explore.samples import PictureAt, SampleOfRows, Sheet
from alti2v.dataset.manifest import Manifest, check_labels, read_manifest, read_vocabulary
from alti2v.errors import UsageError
from alti2v.pictures.recipe import ImageRecipe
from alti2v.records import Progress, ProgressHook, Tag, composed, ignore_progress, nearest
from alti2v.storage.layout import MANIFEST_FILE, SPLITS, TAGS_FILE, parse_shard_name
from alti2v.storage.location import Address, local_copies, open_location
from alti2v.storage.order import distinct, random_order


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsConfig:
    """Options of `stats`.

    Attributes:
        dataset: Directory of a dataset, or its URL.
        tags: Tags to show a sheet of pictures for, in the vocabulary or not.
        seed: Seed of the samples.
        sheet: Number of pictures per sheet.
        groups: Number of near-duplicate groups to show.
    """

    dataset: Address
    tags: tuple[str, ...] = ()
    seed: int = 0
    sheet: int = 24
    groups: int = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class TagCount:
    """A tag of the vocabulary, and its number of pictures in each split."""

    tag: Tag
    pictures: Mapping[str, int]

    @property
    def total(self) -> int:
        """Number of pictures in all splits."""
        return sum(self.pictures.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two tags that occur together.

    Attributes:
        together: Number of pictures with both.
        lift: Factor by which that exceeds the number expected if the tags were independent.
    """

    first: str
    second: str
    together: int
    lift: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetStats:
    """Statistics of a dataset.

    Attributes:
        dataset: Folder or URL of the dataset.
        image: Recipe of the pictures.
        shards: Number of tar files.
        bytes: Size of all tar files.
        plan_hash, made_with: See `Manifest`.
        pictures: Number of pictures by split.
        tags: The vocabulary, in its order.
        labels_per_picture: Position i: number of pictures with i tags of the vocabulary; the last position:
            with at least as many.
        tags_per_picture: The same for all tags, in the vocabulary or not.
        sizes: Number of pictures by megapixels of the stored picture, between 2 ** `counts.SIZE_EDGES`.
        aspects: Number of pictures by width / height of the stored picture, between 2 ** `counts.ASPECT_EDGES`.
        buckets: Number of pictures of the dataset by the nearest of `counts.ASPECTS`; empty if all are squares.
        enlarged: Number of pictures that were smaller than those of the dataset in both directions.
        ratings, hosts: Number of pictures by rating and by host of `source`, most frequent first.
        years: Number of pictures by year of posting, in order.
        undated: Number of pictures without a date.
        unsourced: Number of pictures whose source is not a URL.
        first_id, last_id: Smallest and largest post number.
        together: [i][j]: number of pictures with both tags i and j, among the most frequent tags.
        pairs: Pairs of these tags, by falling lift.
        outcomes: Number of posts by outcome; their sum is the number of posts in the store.
        grouped: Number of pictures that share a near-duplicate group with another picture.
        astray: Number of pictures in another split than some picture of their group, because the dataset grew.
        group_sizes: Number of groups by number of pictures.
        groups: Some near-duplicate groups, each complete.
        sheets: A sample of all pictures, then one for each requested tag.
        file_names: File names of imported pictures in the groups and sheets, by id.
    """

    dataset: Address
    image: ImageRecipe
    shards: int
    bytes: int
    plan_hash: str
    made_with: Mapping[str, str]
    pictures: Mapping[str, int]
    tags: tuple[TagCount, ...]
    labels_per_picture: tuple[int, ...]
    tags_per_picture: tuple[int, ...]
    sizes: tuple[int, ...]
    aspects: tuple[int, ...]
    buckets: Mapping[str, int]
    enlarged: int
    ratings: Mapping[str, int]
    years: Mapping[int, int]
    hosts: Mapping[str, int]
    undated: int
    unsourced: int
    first_id: int
    last_id: int
    together: tuple[tuple[int, ...], ...]
    pairs: tuple[Pair, ...]
    outcomes: Mapping[str, int]
    grouped: int
    astray: int
    group_sizes: Mapping[int, int]
    groups: tuple[tuple[PictureAt, ...], ...]
    sheets: tuple[Sheet, ...]
    file_names: Mapping[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Last part of the path or URL."""
        return str(self.dataset).rstrip("/").rpartition("/")[2]


def dataset_stats(config: StatsConfig, *, progress: ProgressHook = ignore_progress) -> DatasetStats:
    """Compute the statistics of a dataset, and pick pictures to show.

    Raises:
        UsageError: There is no dataset, or no picture has a requested tag.
        DamagedError: A table is missing or damaged.
        StorageError: The URL cannot be read.
    """
    location = open_location(config.dataset)
    with local_copies(location, (MANIFEST_FILE, TAGS_FILE)) as folder:
        manifest = read_manifest(folder)
        vocabulary = read_vocabulary(folder)
    with local_copies(location, [shard.name.metadata for shard in manifest.shards]) as tables:
        return _counted(config, tables, manifest, vocabulary, progress)


def _counted(
    config: StatsConfig, tables: Path, manifest: Manifest, vocabulary: Sequence[Tag], progress: ProgressHook
) -> DatasetStats:
    counts = Counts(len(vocabulary))
    picks = {tag: SampleOfRows(config.sheet) for tag in ("", *config.tags)}
    total, done = manifest.total, 0
    for split, shard, rows in batches(tables, manifest, ("offset", "size", *COLUMNS)):
        check_labels(tables / parse_shard_name(shard).metadata, rows, tags=len(vocabulary))
        counts.add(split, rows, manifest.image.size)
        order = random_order(rows["id"].to_numpy(), config.seed)
        for tag, pick in picks.items():
            pick.add(shard, rows, order, _carrying(rows, tag) if tag else np.arange(rows.num_rows))
        done += rows.num_rows
        progress(Progress(stage="counting", done=done, total=total, unit="pictures"))
    for tag, pick in picks.items():
        if tag and not pick.total:
            advice = nearest(tag, [known.name for known in vocabulary])
            raise UsageError(f"no picture of {config.dataset} has the tag {tag!r}: {advice}")
    sizes, groups = duplicate_groups(
        tables, manifest, distinct(counts.followed_groups), at_most=config.groups, seed=config.seed
    )
    found = _result(config, manifest, vocabulary, counts, picks, sizes, groups)
    shown = [one for some in (*(sheet.pictures for sheet in found.sheets), *groups) for one in some]
    shards = map(parse_shard_name, sorted({one.shard for one in shown}))
    return replace(found, file_names=file_names(tables, shards, (one.id for one in shown)))


def _buckets(counts: Int64Array) -> Mapping[str, int]:
    names = (f"{width}:{height}" for width, height in ASPECTS)
    return {name: count for name, count in zip(names, counts.tolist(), strict=True) if count}


def _result(
    config: StatsConfig,
    manifest: Manifest,
    vocabulary: Sequence[Tag],
    counts: Counts,
    picks: Mapping[str, SampleOfRows],
    group_sizes: Mapping[int, int],
    groups: tuple[tuple[PictureAt, ...], ...],
) -> DatasetStats:
    pictures = {split: manifest.samples(split) for split in SPLITS if manifest.samples(split)}
    total = sum(pictures.values())
    return DatasetStats(
        dataset=config.dataset,
        image=manifest.image,
        shards=len(manifest.shards),
        bytes=sum(shard.bytes for shard in manifest.shards),
        plan_hash=manifest.plan_hash,
        made_with=manifest.made_with,
        pictures=pictures,
        tags=tuple(
            TagCount(
                tag=tag, pictures={split: int(counts.tags[SPLITS.index(split), index]) for split in pictures}
            )
            for index, tag in enumerate(vocabulary)
        ),
        labels_per_picture=_without_tail(counts.labels_per_picture),
        tags_per_picture=_without_tail(counts.tags_per_picture),
        sizes=tuple(counts.sizes.tolist()),
        aspects=tuple(counts.aspects.tolist()),
        buckets=_buckets(counts.buckets) if manifest.image.keeps_shape else {},
        enlarged=counts.enlarged,
        ratings=dict(counts.ratings.most_common()),
        years=dict(sorted(counts.years.items())),
        hosts=dict(counts.hosts.most_common()),
        undated=total - counts.years.total(),
        unsourced=total - counts.hosts.total(),
        first_id=counts.first_id,
        last_id=counts.last_id,
        together=tuple(tuple(row) for row in counts.together.astype(np.int64).tolist()),
        pairs=_pairs(counts.together, vocabulary, total),
        outcomes=manifest.outcomes,
        grouped=sum(size * number for size, number in group_sizes.items()),
        astray=manifest.astray,
        group_sizes=group_sizes,
        groups=groups,
        sheets=tuple(Sheet(tag=tag, total=pick.total, pictures=pick.pictures) for tag, pick in picks.items()),
    )


def _pairs(together: Float64Array, tags: Sequence[Tag], pictures: int) -> tuple[Pair, ...]:
    """Return all pairs of the tags in `together` that occur, by falling lift: P(both) / (P(first) P(second)).

    S. Brin et al., "Dynamic itemset counting and implication rules for market basket data", SIGMOD 1997, who
    call it interest.
    """
    alone = np.diag(together)
    found = [
        Pair(
            first=tags[i].name,
            second=tags[j].name,
            together=int(together[i, j]),
            lift=float(together[i, j] * pictures / (alone[i] * alone[j])),
        )
        for i, j in zip(*np.nonzero(np.triu(together, 1)), strict=True)
    ]
    return tuple(sorted(found, key=lambda pair: (-pair.lift, pair.first, pair.second)))


def _carrying(rows: pa.Table, tag: str) -> Int64Array:
    """Return the rows whose picture has a tag, of any category."""
    found, wanted = [], composed(tag)
    for column in TAG_COLUMNS:
        lists = rows[column].combine_chunks()
        names = lists.flatten().dictionary_encode()
        # pc.utf8_normalize decomposes instead in PyArrow 25 and before.
        is_tag = pa.array([composed(name) == wanted for name in names.dictionary.to_pylist()], pa.bool_())
        found.append(pc.list_parent_indices(lists).filter(is_tag.take(names.indices)).to_numpy())
    return np.unique(np.concatenate(found)).astype(np.int64)


def _without_tail(counts: Int64Array) -> tuple[int, ...]:
    return tuple(counts[: int(np.flatnonzero(counts).max(initial=0)) + 1].tolist())
