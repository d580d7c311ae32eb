"""Samples of pictures to show: a pseudo-random choice that is the same everywhere, see `storage.order`."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from alti2v.arrays import Int64Array, Uint64Array
from alti2v.records import Span


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PictureAt:
    """Position of a picture in the dataset."""

    id: int
    shard: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A sample of pictures.

    Attributes:
        tag: Tag that all of them have; "" for any picture.
        total: Number of pictures that were sampled from.
    """

    tag: str
    total: int
    pictures: tuple[PictureAt, ...]


class SampleOfRows:
    """Sample of the pictures with the smallest hashes.

    Args:
        size: Maximum number of pictures.
    """

    def __init__(self, size: int) -> None:
        self.total = 0
        self._size = size
        self._best: list[tuple[int, PictureAt]] = []

    def add(self, shard: str, rows: pa.Table, order: Uint64Array, among: Int64Array) -> None:
        """Consider some rows of a shard: id, offset and size, with the `random_order` of all ids."""
        self.total += len(among)
        first = among[np.argsort(order[among], kind="stable")[: self._size]]
        found = zip(order[first].tolist(), places(shard, rows, first), strict=True)
        self._best = heapq.nsmallest(self._size, [*self._best, *found])

    @property
    def pictures(self) -> tuple[PictureAt, ...]:
        """The sampled pictures."""
        return tuple(picture for _, picture in self._best)


def places(shard: str, rows: pa.Table, which: Int64Array) -> Iterator[PictureAt]:
    """Yield the positions of the pictures in some rows."""
    some = rows.select(["id", "offset", "size"]).take(pa.array(which))
    for row in some.to_pylist():
        yield PictureAt(id=row["id"], shard=shard, span=Span(offset=row["offset"], size=row["size"]))
