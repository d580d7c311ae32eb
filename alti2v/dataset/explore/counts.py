"""Counts over all pictures of a dataset, from the rows of its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alti2v.arrays import Float64Array, Int64Array
from alti2v.dataset.plan.vocabulary import CATEGORIES
from alti2v.storage.layout import SPLITS

_MANY = 300  # last bin of the histogram of tags per picture: this number or more
_TOGETHER = 100  # number of most frequent tags whose pairs are counted
TAG_COLUMNS = tuple(category.tags_column for category in CATEGORIES)
COLUMNS = (
    *("id", "labels", "group_id", "rating", "source", "created_at"),
    *("width", "height", "source_width", "source_height"),
    *TAG_COLUMNS,
)
# Host of a URL, without "www.".
_HOST = r"^https?://(?:www\.)?(?P<host>[^/:?#\s]+)"
ASPECT_EDGES = tuple(step / 8 for step in range(-16, 17))  # log2 of width / height
# Usual aspects (width, height), narrow to wide.
ASPECTS = (
    *((1, 3), (1, 2), (9, 16), (2, 3), (3, 4), (4, 5)),
    (1, 1),
    *((5, 4), (4, 3), (3, 2), (16, 9), (2, 1), (3, 1)),
)
_LOG_ASPECTS = np.log([width / height for width, height in ASPECTS])
SIZE_EDGES = tuple(step / 2 for step in range(-12, 15))  # log2 of megapixels


class Counts:
    """Counts over the pictures so far.

    Args:
        tags: Number of tags in the vocabulary.

    Attributes: See `DatasetStats`; [split][i] of `tags` is the number of pictures with tag i of the vocabulary.
    """

    def __init__(self, tags: int) -> None:
        top = min(tags, _TOGETHER)
        self.tags = np.zeros((len(SPLITS), tags), np.int64)
        self.together = np.zeros((top, top))
        self.labels_per_picture = np.zeros(_MANY + 1, np.int64)
        self.tags_per_picture = np.zeros(_MANY + 1, np.int64)
        self.sizes = np.zeros(len(SIZE_EDGES) - 1, np.int64)
        self.aspects = np.zeros(len(ASPECT_EDGES) - 1, np.int64)
        self.buckets = np.zeros(len(ASPECTS), np.int64)
        self.enlarged = 0
        self.ratings: Counter[str] = Counter()
        self.years: Counter[int] = Counter()
        self.hosts: Counter[str] = Counter()
        self.first_id, self.last_id = np.iinfo(np.int64).max, 0
        self._followers = [np.empty(0, np.int64)]

    @property
    def followed_groups(self) -> Int64Array:
        """Group of each picture that is not the first of its group."""
        return np.concatenate(self._followers)

    def add(self, split: str, rows: pa.Table, side_px: int) -> None:
        """Count some pictures of a split: rows with `COLUMNS`, and the side of the dataset's pictures."""
        self._add_labels(split, rows["labels"].combine_chunks())
        self.tags_per_picture += _histogram(np.sum([_lengths(rows[name]) for name in TAG_COLUMNS], axis=0))
        width, height = (np.maximum(rows[f"source_{name}"].to_numpy(), 1) for name in ("width", "height"))
        self.sizes += _between(np.log2(width.astype(np.float64) * height / 1e6), SIZE_EDGES)
        self.aspects += _between(np.log2(width / height), ASPECT_EDGES)
        shape = rows["width"].to_numpy() / np.maximum(rows["height"].to_numpy(), 1)
        nearest = np.abs(np.log(np.maximum(shape, 1e-6))[:, np.newaxis] - _LOG_ASPECTS).argmin(axis=1)
        self.buckets += np.bincount(nearest, minlength=len(ASPECTS))
        self.enlarged += int((np.maximum(width, height) < side_px).sum())
        self.ratings.update(_valued(rows["rating"]))
        self.years.update(_valued(pc.year(rows["created_at"])))
        hosts = pc.extract_regex(pc.utf8_lower(rows["source"]), _HOST)
        self.hosts.update(_valued(pc.struct_field(hosts, "host")))
        ids, groups = rows["id"].to_numpy(), rows["group_id"].to_numpy()
        self.first_id, self.last_id = min(self.first_id, int(ids.min())), max(self.last_id, int(ids.max()))
        self._followers.append(groups[groups != ids])

    def _add_labels(self, split: str, labels: pa.ListArray) -> None:
        lengths, flat = _lengths(labels), labels.flatten().to_numpy()
        self.tags[SPLITS.index(split)] += np.bincount(flat, minlength=self.tags.shape[1])
        self.labels_per_picture += _histogram(lengths)
        carries = np.zeros((len(self.together), len(lengths)), np.bool_)
        is_top = flat < len(self.together)
        carries[flat[is_top], np.repeat(np.arange(len(lengths)), lengths)[is_top]] = True
        # Not as a product of matrices: BLAS would spread it over threads, which wait for one another.
        bits = np.packbits(carries, axis=1)
        for tag, of_tag in enumerate(bits):
            self.together[tag] += np.bitwise_count(bits & of_tag).sum(1, dtype=np.int64)


def _lengths(lists: pa.Array | pa.ChunkedArray) -> Int64Array:
    lengths: Int64Array = pc.list_value_length(lists).to_numpy().astype(np.int64)
    return lengths


def _valued(column: pa.ChunkedArray) -> dict[Any, int]:
    """Count the values of a column, without nulls."""
    counted = pc.value_counts(column.drop_null())
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def _histogram(numbers: Int64Array) -> Int64Array:
    return np.bincount(np.minimum(numbers, _MANY), minlength=_MANY + 1)


def _between(values: Float64Array, edges: Sequence[float]) -> Int64Array:
    """Count the values between the edges; values outside count for the outermost bins."""
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
