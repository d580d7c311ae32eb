"""What is in a dataset: counts over its tables, a batch of rows in memory at a time; no picture is opened.

Two passes: the first counts, and picks pictures to show; the second finds the members of the groups that the
first has met.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from alti2v.dataset.explore.duplicate_groups import batches, duplicate_groups
from alti2v.dataset.explore.samples import PictureAt, SampleOfRows, Sheet
from alti2v.dataset.manifest import ImageRecipe, Manifest, read_manifest, read_vocabulary
from alti2v.dataset.plan.vocabulary import CATEGORIES
from alti2v.errors import UsageError
from alti2v.records import Progress, ProgressHook, Tag, ignore_progress
from alti2v.storage.layout import MANIFEST_FILE, SPLITS, TAGS_FILE
from alti2v.storage.location import Address, local_copies, open_location
from alti2v.storage.order import random_order

_MANY = 300  # tags of a picture: what has more is counted here
_TOGETHER = 100  # the most frequent tags are held against each other
_TAG_COLUMNS = tuple(category.tags_column for category in CATEGORIES)
_FACTS = (
    *("id", "offset", "size", "labels", "group_id", "rating", "source", "created_at"),
    *("source_width", "source_height"),
)
# The host of an address, without "www.".
_HOST = r"^https?://(?:www\.)?(?P<host>[^/:?#\s]+)"
ASPECT_EDGES = tuple(step / 8 for step in range(-16, 17))  # log2 of width / height
SIZE_EDGES = tuple(step / 2 for step in range(-12, 15))  # log2 of megapixels

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsConfig:
    """What to look at.

    Attributes:
        dataset: directory of a dataset, or a URL of one that fsspec knows.
        tags: pictures of each are picked, in the vocabulary or not.
        seed: of the picks.
        sheet: pictures to pick of a kind.
        groups: groups of alike pictures to pick.
    """

    dataset: Address
    tags: tuple[str, ...] = ()
    seed: int = 0
    sheet: int = 24
    groups: int = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class TagCount:
    """A tag of the vocabulary, and the pictures of each split that carry it."""

    tag: Tag
    pictures: Mapping[str, int]

    @property
    def total(self) -> int:
        """Pictures of all splits."""
        return sum(self.pictures.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two tags.

    Attributes:
        together: pictures that carry both.
        lift: how many times as many as if the two had nothing to do with each other.
    """

    first: str
    second: str
    together: int
    lift: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetStats:
    """What is in a dataset.

    Attributes:
        image: how pictures were made.
        shards: number of tar files; `bytes` of all of them.
        plan_hash, made_with: as in the manifest.
        pictures: by split.
        tags: the vocabulary, in its order.
        labels_per_picture: position i: pictures with i tags of the vocabulary; the last: so many or more.
        tags_per_picture: the same for all tags, whether in the vocabulary or not.
        sizes: pictures by megapixels before they were reduced, between 2 ** `SIZE_EDGES`.
        aspects: pictures by width / height before they were reduced, between 2 ** `ASPECT_EDGES`.
        enlarged: pictures that were smaller than the dataset's, in both directions.
        ratings, hosts: pictures by each, most frequent first. The hosts are those of `source`.
        years: pictures by year of posting, in order.
        undated, unsourced: pictures without a date, and whose source is no address.
        first_id, last_id: of the board.
        together: [i][j]: pictures that carry both of the tags i and j, of the most frequent ones.
        pairs: of the same tags, by falling lift.
        outcomes: what became of the posts of the store; the sum is their number.
        grouped: pictures that share a group with another one; `group_sizes` groups by number of pictures.
        astray: pictures that stand on another side than some picture of their group, because the dataset grew.
        groups: some of them, each whole.
        sheets: pictures of any kind, then of each tag that was asked for.
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

    @property
    def name(self) -> str:
        """The last part of where it is."""
        return str(self.dataset).rstrip("/").rpartition("/")[2]


def dataset_stats(config: StatsConfig, *, progress: ProgressHook = ignore_progress) -> DatasetStats:
    """Count what is in a dataset, and pick pictures to show.

    Raises:
        UsageError: there is no dataset, or no picture carries a tag that was asked for.
        DamagedError: a table is missing or not what was written.
        StorageError: the URL cannot be read.
    """
    place = open_location(config.dataset)
    with local_copies(place, (MANIFEST_FILE, TAGS_FILE)) as folder:
        manifest = read_manifest(folder)
        vocabulary = read_vocabulary(folder)
    with local_copies(place, [shard.name.metadata for shard in manifest.shards]) as tables:
        return _counted(config, tables, manifest, vocabulary, progress)


def _counted(
    config: StatsConfig, tables: Path, manifest: Manifest, vocabulary: Sequence[Tag], progress: ProgressHook
) -> DatasetStats:
    counts = _Counts.empty(len(vocabulary))
    picks = {tag: SampleOfRows(config.sheet) for tag in ("", *config.tags)}
    columns = (*_FACTS, *_TAG_COLUMNS)
    total, done = manifest.total, 0
    for split, shard, rows in batches(tables, manifest, columns):
        counts.add(split, rows, manifest.image.size)
        order = random_order(rows["id"].to_numpy(), config.seed)
        for tag, pick in picks.items():
            pick.add(shard, rows, order, _carrying(rows, tag) if tag else np.arange(rows.num_rows))
        done += rows.num_rows
        progress(Progress(stage="counting", done=done, total=total, unit="pictures"))
    for tag, pick in picks.items():
        if tag and not pick.total:
            raise UsageError(f"no picture of {config.dataset} carries the tag {tag!r}: look at its spelling")
    sizes, groups = duplicate_groups(
        tables,
        manifest,
        np.unique(np.concatenate([*counts.followers, _NONE])),
        at_most=config.groups,
        seed=config.seed,
    )
    return _result(config, manifest, vocabulary, counts, picks, sizes, groups)


_NONE = np.empty(0, np.int64)


@dataclass(slots=True)
class _Counts:
    """What the first pass adds up."""

    tags: npt.NDArray[np.int64]  # (splits, vocabulary)
    together: npt.NDArray[np.float64]
    labels_per_picture: _Ints
    tags_per_picture: _Ints
    sizes: _Ints
    aspects: _Ints
    enlarged: int
    ratings: Counter[str]
    years: Counter[int]
    hosts: Counter[str]
    ids: tuple[int, int]
    followers: list[_Ints]  # groups of pictures that are not the first of their group

    @classmethod
    def empty(cls, tags: int) -> _Counts:
        top = min(tags, _TOGETHER)
        return cls(
            tags=np.zeros((len(SPLITS), tags), np.int64),
            together=np.zeros((top, top)),
            labels_per_picture=np.zeros(_MANY + 1, np.int64),
            tags_per_picture=np.zeros(_MANY + 1, np.int64),
            sizes=np.zeros(len(SIZE_EDGES) - 1, np.int64),
            aspects=np.zeros(len(ASPECT_EDGES) - 1, np.int64),
            enlarged=0,
            ratings=Counter(),
            years=Counter(),
            hosts=Counter(),
            ids=(np.iinfo(np.int64).max, 0),
            followers=[],
        )

    def add(self, split: str, rows: pa.Table, side_px: int) -> None:
        self._add_labels(split, rows["labels"].combine_chunks())
        self.tags_per_picture += _histogram(np.sum([_lengths(rows[name]) for name in _TAG_COLUMNS], axis=0))
        width, height = (np.maximum(rows[f"source_{name}"].to_numpy(), 1) for name in ("width", "height"))
        self.sizes += _between(np.log2(width.astype(np.float64) * height / 1e6), SIZE_EDGES)
        self.aspects += _between(np.log2(width / height), ASPECT_EDGES)
        self.enlarged += int((np.maximum(width, height) < side_px).sum())
        self.ratings.update(_valued(rows["rating"]))
        self.years.update(_valued(pc.year(rows["created_at"])))
        hosts = pc.extract_regex(pc.utf8_lower(rows["source"]), _HOST)
        self.hosts.update(_valued(pc.struct_field(hosts, "host")))
        ids, groups = rows["id"].to_numpy(), rows["group_id"].to_numpy()
        self.ids = (min(self.ids[0], int(ids.min())), max(self.ids[1], int(ids.max())))
        self.followers.append(groups[groups != ids])

    def _add_labels(self, split: str, labels: pa.ListArray) -> None:
        lengths, flat = _lengths(labels), labels.flatten().to_numpy()
        self.tags[SPLITS.index(split)] += np.bincount(flat, minlength=self.tags.shape[1])
        self.labels_per_picture += _histogram(lengths)
        carries = np.zeros((len(lengths), len(self.together)), np.float32)
        is_top = flat < len(self.together)
        carries[np.repeat(np.arange(len(lengths)), lengths)[is_top], flat[is_top]] = 1
        self.together += carries.T @ carries


def _result(
    config: StatsConfig,
    manifest: Manifest,
    vocabulary: Sequence[Tag],
    counts: _Counts,
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
        enlarged=counts.enlarged,
        ratings=dict(counts.ratings.most_common()),
        years=dict(sorted(counts.years.items())),
        hosts=dict(counts.hosts.most_common()),
        undated=total - counts.years.total(),
        unsourced=total - counts.hosts.total(),
        first_id=counts.ids[0],
        last_id=counts.ids[1],
        together=tuple(tuple(row) for row in counts.together.astype(np.int64).tolist()),
        pairs=_pairs(counts.together, vocabulary, total),
        outcomes=manifest.outcomes,
        grouped=sum(size * number for size, number in group_sizes.items()),
        astray=manifest.astray,
        group_sizes=group_sizes,
        groups=groups,
        sheets=tuple(Sheet(tag=tag, total=pick.total, pictures=pick.pictures) for tag, pick in picks.items()),
    )


def _pairs(together: npt.NDArray[np.float64], tags: Sequence[Tag], pictures: int) -> tuple[Pair, ...]:
    """All pairs of the tags in `together` that occur, by falling lift: P(both) / (P(first) P(second)).

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


# Tables -----------------------------------------------------------------------------------------


def _carrying(rows: pa.Table, tag: str) -> _Ints:
    """The rows whose picture carries a tag, of whatever category."""
    found = []
    for name in _TAG_COLUMNS:
        lists = rows[name].combine_chunks()
        is_tag = pc.equal(lists.flatten(), tag)
        found.append(pc.list_parent_indices(lists).filter(is_tag).to_numpy())
    return np.unique(np.concatenate(found)).astype(np.int64)


def _lengths(lists: pa.Array | pa.ChunkedArray) -> _Ints:
    lengths: _Ints = pc.list_value_length(lists).to_numpy().astype(np.int64)
    return lengths


def _valued(column: pa.ChunkedArray) -> dict[Any, int]:
    """How often each value occurs; nulls are left out."""
    counted = pc.value_counts(column.drop_null())
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


# Numbers ----------------------------------------------------------------------------------------


def _histogram(numbers: _Ints) -> _Ints:
    return np.bincount(np.minimum(numbers, _MANY), minlength=_MANY + 1)


def _between(values: npt.NDArray[np.float64], edges: Sequence[float]) -> _Ints:
    """How many values lie between the edges; those outside count for the outermost bins."""
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]


def _without_tail(counts: _Ints) -> tuple[int, ...]:
    return tuple(counts[: int(np.flatnonzero(counts).max(initial=0)) + 1].tolist())
