"""A few pictures of many, to be looked at: where they lie, and which ones.

They look random and are the same everywhere: those with the smallest hashes of (seed, id).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alti2v.records import Span


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PictureAt:
    """Where a picture of the dataset lies."""

    id: int
    shard: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Some pictures of many.

    Attributes:
        tag: that all of them carry; "" for any.
        total: pictures that do.
    """

    tag: str
    total: int
    pictures: tuple[PictureAt, ...]


class SampleOfRows:
    """A few of many: those whose numbers are smallest."""

    def __init__(self, size: int) -> None:
        self.total = 0
        self._size = size
        self._best: list[tuple[int, PictureAt]] = []

    def add(
        self, shard: str, rows: pa.Table, order: npt.NDArray[np.uint64], among: npt.NDArray[np.int64]
    ) -> None:
        """Look at more.

        Args:
            shard: that they lie in.
            rows: columns id, offset and size.
            order: `random_order` of the ids.
            among: which rows are meant.
        """
        self.total += len(among)
        first = among[np.argsort(order[among], kind="stable")[: self._size]]
        found = zip(order[first].tolist(), places(shard, rows, first), strict=True)
        self._best = heapq.nsmallest(self._size, [*self._best, *found])

    @property
    def pictures(self) -> tuple[PictureAt, ...]:
        """Those picked."""
        return tuple(picture for _, picture in self._best)


def places(shard: str, rows: pa.Table, which: npt.NDArray[np.int64]) -> Iterator[PictureAt]:
    """Where the pictures of some rows lie."""
    some = rows.select(["id", "offset", "size"]).take(pa.array(which))
    for row in some.to_pylist():
        yield PictureAt(id=row["id"], shard=shard, span=Span(offset=row["offset"], size=row["size"]))
