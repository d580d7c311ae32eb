"""Thumbnails of pictures, and how well two of them correlate, also if one has lost a margin.

Pure functions of arrays. All numbers are whole and all sums below 2^53; they are stored as floating point
because that multiplies faster, and are exact on every machine.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from alti2v.arrays import Float64Array, Int64Array, Uint8Array, Uint16Array

THUMBNAIL_SIDE_PX = 16
THUMBNAIL_BYTES = THUMBNAIL_SIDE_PX**2
NEAR_CORRELATION = 0.95
# Cuts at the two ends of an axis under which thumbnails are compared, as fractions of the side.
_CUTS = (0.0, 0.025, 0.05)
_WEIGHT = 32  # weight of one source pixel in a resampled one; sums of products stay far below 2^53
_THUMBNAILS_AT_ONCE = 256  # a block that fits into a processor's cache


class Thumbnails(Protocol):
    """Thumbnails of n pictures, in memory or on disk."""

    def __len__(self) -> int:
        """Return n."""

    def __getitem__(self, rows: Int64Array, /) -> Uint8Array:
        """Return some of them: (m,) ascending rows to (m, 16, 16) luminances."""


@dataclass(frozen=True, slots=True)
class JoinedThumbnails:
    """Thumbnails that follow others, in the numbering of rows."""

    first: Thumbnails
    second: Thumbnails

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, rows: Int64Array) -> Uint8Array:
        at = int(np.searchsorted(rows, len(self.first)))
        return np.concatenate([self.first[rows[:at]], self.second[rows[at:] - len(self.first)]])


def thumbnails_of(luminances: Uint8Array) -> Uint8Array:
    """Average (n, 64, 64) pictures to (n, 16, 16), along rows, then along columns, each rounded."""
    halved = luminances.astype(np.uint16)
    while halved.shape[2] > THUMBNAIL_SIDE_PX:  # far faster than sums of eight
        halved = halved[..., ::2] + halved[..., 1::2]
    block = luminances.shape[2] // THUMBNAIL_SIDE_PX
    rows = ((halved + block // 2) // block).reshape(
        len(luminances), THUMBNAIL_SIDE_PX, block, THUMBNAIL_SIDE_PX
    )
    averages: Uint16Array = (rows.sum(2, dtype=np.uint16) + block // 2) // block
    return averages.astype(np.uint8)


def correlations(
    thumbnails: Uint8Array, first: Int64Array, second: Int64Array, *, is_mirrored: bool
) -> Float64Array:
    """Correlate pairs of thumbnails, each with the other under small cuts at its four sides, and take the best.

    A pair that correlates well without a cut, as most do, is not tried with cuts; its first correlation is
    returned.

    Returns:
        (p,) in [-1, 1]; two pictures of uniform brightness correlate fully with each other, and not with
            others.
    """
    best = np.full(len(first), -1.0)
    for rows in _runs(np.arange(len(first))):
        best[rows] = _correlated(*_pixels(thumbnails, first[rows], second[rows], is_mirrored=is_mirrored))
    for rows in _runs(np.flatnonzero(best < NEAR_CORRELATION)):
        ours, theirs = _pixels(thumbnails, first[rows], second[rows], is_mirrored=is_mirrored)
        for still, cut in ((ours, theirs), (theirs, ours)):
            best[rows] = np.maximum(best[rows], _best_under_cuts(still, cut))
    return best


def _runs(rows: Int64Array) -> Iterator[Int64Array]:
    for start in range(0, len(rows), _THUMBNAILS_AT_ONCE):
        yield rows[start : start + _THUMBNAILS_AT_ONCE]


def _pixels(
    thumbnails: Uint8Array, first: Int64Array, second: Int64Array, *, is_mirrored: bool
) -> tuple[Float64Array, Float64Array]:
    ours, theirs = thumbnails[first].astype(np.float64), thumbnails[second].astype(np.float64)
    return ours, theirs[:, :, ::-1] if is_mirrored else theirs


def _correlated(ours: Float64Array, theirs: Float64Array) -> Float64Array:
    """Pearson correlation of each pair of (p, 16, 16) thumbnails of whole numbers."""
    left, right = ours.reshape(-1, THUMBNAIL_BYTES), theirs.reshape(-1, THUMBNAIL_BYTES)
    sums = left.sum(1), right.sum(1)
    return _pearson(sums, ((left * left).sum(1), (right * right).sum(1)), (left * right).sum(1))


def _best_under_cuts(still: Float64Array, cut: Float64Array) -> Float64Array:
    """Best correlation of each pair of (p, 16, 16) thumbnails over all cuts of the second thumbnail.

    With one matrix D for the rows and one A for the columns, a thumbnail under a cut is X = D cut A'. None of
    the 81 is computed: all sums of the correlation are products of A or A'A with something smaller.
    """
    cuts = _cuts()
    rows = cuts @ cut[:, None]  # (p, 9, 16, 16): D cut, for each D
    sums = rows.sum(2) @ cuts.sum(1).T  # (p, 9, 9) for each D and A, as all below
    powers = _flat(rows.transpose(0, 1, 3, 2) @ rows) @ _flat(cuts.transpose(0, 2, 1) @ cuts).T
    products = _flat(still.transpose(0, 2, 1)[:, None] @ rows) @ _flat(cuts).T
    of_still = still.sum((1, 2))[:, None, None], (still * still).sum((1, 2))[:, None, None]
    best: Float64Array = _pearson((of_still[0], sums), (of_still[1], powers), products).max((1, 2))
    return best


def _flat(matrices: Float64Array) -> Float64Array:
    return matrices.reshape(*matrices.shape[:-2], THUMBNAIL_BYTES)


def _pearson(
    sums: tuple[Float64Array, Float64Array], squares: tuple[Float64Array, Float64Array], products: Float64Array
) -> Float64Array:
    """Correlation of thumbnails from the sums of their pixels, of the squares, and of the products."""
    left, right = (THUMBNAIL_BYTES * square - total**2 for square, total in zip(squares, sums, strict=True))
    product = THUMBNAIL_BYTES * products - sums[0] * sums[1]
    correlated: Float64Array = product / np.sqrt(np.maximum(left * right, 1.0))
    return np.where((left == 0) & (right == 0), 1.0, correlated)


@functools.cache
def _cuts() -> Float64Array:
    """(9, 16, 16) matrices that stretch an axis of a thumbnail bilinearly after a cut at its two ends."""
    return np.stack([_stretched(head, tail) for head in _CUTS for tail in _CUTS])


def _stretched(head: float, tail: float) -> Float64Array:
    side = THUMBNAIL_SIDE_PX
    matrix = np.zeros((side, side))
    for row in range(side):
        place = (head + (row + 0.5) / side * (1 - head - tail)) * side - 0.5
        place = min(max(place, 0.0), side - 1.0)
        left = min(int(place), side - 2)
        matrix[row, left + 1] = round((place - left) * _WEIGHT)
        matrix[row, left] = _WEIGHT - matrix[row, left + 1]
    return matrix
