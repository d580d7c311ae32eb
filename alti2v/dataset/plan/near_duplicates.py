"""Near-duplicate groups: pictures with the same bytes, parents and children, and similar pictures.

Pure functions of arrays, with the same result on every machine: all sums are of integers, so their order does
not matter. Groups exist so that a split keeps them whole; no picture is dropped because it resembles another.

Two pictures are near-duplicates if their hashes are close AND their thumbnails correlate. A hash is compared
with the hashes of the other picture as it is, without its margins, mirrored, and both, because cropping a few
per cent changes more bits than any recompression. Hashes of 64 bits also collide by chance, so the thumbnails
decide. docs/BENCHMARKS.md says what is found in the drawn corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from alti2v.arrays import BoolArray, Int64Array, Uint8Array, Uint64Array
from alti2v.dataset.plan.components import components
from alti2v.dataset.plan.near_hashes import near_pairs
from alti2v.dataset.plan.perceptual_hashes import HashView, perceptual_hashes
from alti2v.dataset.plan.thumbnails import NEAR_CORRELATION, Thumbnails, correlations, thumbnails_of
from alti2v.pictures.recipe import LUMINANCE_SIDE_PX

# Raise it with any change to the results of `perceptual_hashes`, `square._luminance` or `thumbnails_of`: the
# next build makes hashes with another number again.
APPEARANCE_VERSION = 3
NEAR_BITS = 8
_COMPARED_AT_ONCE = 400_000  # thumbnails of this many pairs take at most 200 MB
_NO_ROWS = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearances:
    """Appearance of n pictures.

    Attributes:
        hashes: Returns the hash of a view of each picture, (n,) uint64.
        thumbnails: Thumbnails of the n pictures, 16 x 16 luminances each.
    """

    hashes: Callable[[HashView], Uint64Array]
    thumbnails: Thumbnails

    def __len__(self) -> int:
        return len(self.thumbnails)


def appearances_of(pictures: Sequence[bytes]) -> tuple[Uint64Array, Uint8Array]:
    """Hash pictures and shrink them to thumbnails.

    Args:
        pictures: For each picture its 64 x 64 luminances as bytes, row by row.

    Returns:
        (n, 4) hashes and (n, 16, 16) thumbnails, see `Appearances`.
    """
    luminances = np.frombuffer(b"".join(pictures), np.uint8).reshape(-1, LUMINANCE_SIDE_PX, LUMINANCE_SIDE_PX)
    return perceptual_hashes(luminances), thumbnails_of(luminances)


def groups(ids: Int64Array, related: Int64Array, appearances: Appearances) -> Int64Array:
    """Group pictures that are related or similar, transitively.

    Args:
        ids: (n,) distinct, ascending.
        related: (n,) see `related_groups`.
        appearances: Appearance of the n pictures.

    Returns:
        (n,) the smallest id among the pictures of each picture's group.
    """
    alike_first, alike_second = near_duplicate_pairs(appearances)
    _, related_first, related_number = np.unique(related, return_index=True, return_inverse=True)
    first = np.concatenate([np.arange(len(ids)), alike_first])
    second = np.concatenate([related_first[related_number], alike_second])
    return ids[components(len(ids), first, second)]


def near_duplicate_pairs(appearances: Appearances) -> tuple[Int64Array, Int64Array]:
    """Find pairs of similar pictures, as they are or mirrored.

    A row whose hash equals that of an earlier row is compared with the first of these rows and with its
    neighbour; only the first is compared with other hashes.

    Returns:
        Two (p,) arrays of rows: the ends of each pair.
    """
    firsts, seconds = [], []
    whole = appearances.hashes(HashView.WHOLE)
    for view in HashView:
        is_mirrored = view in (HashView.MIRRORED, HashView.MIRRORED_TRIMMED)
        others = whole if view is HashView.WHOLE else appearances.hashes(view)
        first, second = near_pairs(whole, others, near_bits=NEAR_BITS)
        if others is whole:
            same_first, same_second = _equal_pairs(whole)
            first, second = np.concatenate([first, same_first]), np.concatenate([second, same_second])
        for start in range(0, len(first), _COMPARED_AT_ONCE):
            some = slice(start, start + _COMPARED_AT_ONCE)
            agrees = _correlates(appearances.thumbnails, first[some], second[some], is_mirrored=is_mirrored)
            firsts.append(first[some][agrees])
            seconds.append(second[some][agrees])
    return np.concatenate([_NO_ROWS, *firsts]), np.concatenate([_NO_ROWS, *seconds])


def _correlates(
    thumbnails: Thumbnails, first: Int64Array, second: Int64Array, *, is_mirrored: bool
) -> BoolArray:
    rows, at = np.unique(np.concatenate([first, second]), return_inverse=True)
    compact = thumbnails[rows]
    found = correlations(compact, at[: len(first)], at[len(first) :], is_mirrored=is_mirrored)
    is_near: BoolArray = found >= NEAR_CORRELATION
    return is_near


def _equal_pairs(hashes: Uint64Array) -> tuple[Int64Array, Int64Array]:
    order = np.argsort(hashes, kind="stable")
    is_same = hashes[order][1:] == hashes[order][:-1]
    _, first_row, number = np.unique(hashes, return_index=True, return_inverse=True)
    rows = np.arange(len(hashes))
    is_later = first_row[number] != rows
    return (
        np.concatenate([order[:-1][is_same], first_row[number][is_later]]),
        np.concatenate([order[1:][is_same], rows[is_later]]),
    )
