"""Which pictures belong together: same bytes, parents and children, and pictures that look alike.

Pure: arrays in, arrays out, exact and the same on every machine (integers only, no floating point).
Groups exist so that a split keeps them whole; nothing is thrown away because it looks like something else.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

HASH_BITS = 64
HASH_SIDE_PX = 32
# Of 92 recompressed, rescaled, recoloured or cropped copies in the drawn corpus 78 are within this distance
# of their original, and of 77,717 pairs of unrelated drawings none. The misses are cropped by several per cent.
NEAR_BITS = 6
_BANDS = 4
_BAND_BITS = HASH_BITS // _BANDS


def perceptual_hash(grey: npt.NDArray[np.uint8]) -> int:
    """Hash the coarse structure of a picture: nearby pictures have hashes that differ in few bits.

    The DCT hash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010),
    section 3.2.1: the signs of the 64 lowest frequencies of the DCT-II relative to their median. Here they
    are taken along anti-diagonals and without the mean, and the cosines are integers, so that rounding is
    the same on every processor.

    Args:
        grey: (32, 32) luminance.

    Returns:
        An unsigned 64-bit number.
    """
    basis, low = _transform()
    frequencies = (basis @ grey.astype(np.int64) @ basis.T).ravel()[low]
    # Twice the median, still an integer: the middle two of 64 sorted values.
    middle = np.sort(frequencies)[HASH_BITS // 2 - 1 : HASH_BITS // 2 + 1].sum()
    return int.from_bytes(np.packbits(2 * frequencies > middle).tobytes(), "big")


def families(
    ids: npt.NDArray[np.int64], links: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
) -> npt.NDArray[np.int64]:
    """Name the family of each post: a number that two posts share iff a chain of links joins them.

    Args:
        ids: (n,) distinct, ascending.
        links: pairs of ids that belong together; they may name posts that are not in `ids`, and siblings
            of a missing parent are still siblings.

    Returns:
        (n,) the smallest id of the family, missing posts included.
    """
    nodes = np.unique(np.concatenate([ids, *links]))
    first, second = (np.searchsorted(nodes, ends) for ends in links)
    return nodes[_components(len(nodes), first, second)][np.searchsorted(nodes, ids)]


def groups(
    ids: npt.NDArray[np.int64],
    family: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    *,
    near_bits: int = NEAR_BITS,
) -> npt.NDArray[np.int64]:
    """Name the group of each picture: its family, and transitively all that look alike.

    Returns:
        (n,) the smallest id among the pictures of the group.
    """
    _, family_first, family_number = np.unique(family, return_index=True, return_inverse=True)
    rows = np.arange(len(ids))
    near_first, near_second = near_pairs(hashes, near_bits=near_bits)
    first = np.concatenate([rows, near_first])
    second = np.concatenate([family_first[family_number], near_second])
    return ids[_components(len(ids), first, second)]


def near_pairs(
    hashes: npt.NDArray[np.uint64], *, near_bits: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Find pairs of rows that join everything within `near_bits` of each other; exact, not approximate.

    Of hashes that differ in at most 7 of 64 bits, one of the four 16-bit bands differs in at most one bit
    (pigeonhole principle), so only rows that agree in a band up to one bit need to be compared. Rows with
    equal hashes are linked as a chain, and only their first row is compared with others.

    Returns:
        Two (p,) arrays: the ends of each pair.
    """
    if not 0 <= near_bits < 2 * _BANDS:
        raise ValueError(f"near_bits {near_bits} is outside [0, {2 * _BANDS})")
    values, first_row, number = np.unique(hashes, return_index=True, return_inverse=True)
    rows = np.arange(len(hashes))
    firsts, seconds = [rows], [first_row[number]]
    for left, right in _candidates(values):
        is_near = np.bitwise_count(values[left] ^ values[right]) <= near_bits
        firsts.append(first_row[left[is_near]])
        seconds.append(first_row[right[is_near]])
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    is_pair = first != second
    return first[is_pair], second[is_pair]


_Rows = npt.NDArray[np.int64]
_PAIRS_AT_ONCE = 1 << 22


def _candidates(values: npt.NDArray[np.uint64]) -> Iterator[tuple[_Rows, _Rows]]:
    for band in range(_BANDS):
        keys = ((values >> np.uint64(band * _BAND_BITS)) & np.uint64((1 << _BAND_BITS) - 1)).astype(np.int64)
        order = np.argsort(keys, kind="stable")
        bounds = np.searchsorted(keys[order], np.arange((1 << _BAND_BITS) + 1))
        for flip in (0, *(1 << bit for bit in range(_BAND_BITS))):
            partner = keys ^ flip
            # Each unordered pair once: of two different keys the smaller looks for the larger; among equal
            # keys a row looks only behind its own place.
            starts = bounds[partner].copy()
            counts = np.where(keys < partner, bounds[partner + 1] - starts, 0)
            if flip == 0:
                place = np.empty(len(keys), np.int64)
                place[order] = np.arange(len(keys))
                starts, counts = place + 1, bounds[keys + 1] - place - 1
            yield from _expand(order, starts, counts)


def _expand(order: _Rows, starts: _Rows, counts: _Rows) -> Iterator[tuple[_Rows, _Rows]]:
    """Row i pairs with `order[starts[i] : starts[i] + counts[i]]`; a bounded number of pairs at a time."""
    ends = np.cumsum(counts)
    row = 0
    while row < len(counts):
        done = ends[row - 1] if row else 0
        stop = max(row + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, side="right")))
        length = counts[row:stop]
        shift = np.repeat(starts[row:stop] - (ends[row:stop] - length - done), length)
        yield np.repeat(np.arange(row, stop), length), order[shift + np.arange(len(shift))]
        row = stop


def _components(nodes: int, first: _Rows, second: _Rows) -> _Rows:
    """The smallest node of each node's connected component, by hooking and pointer jumping.

    Y. Shiloach, U. Vishkin, "An O(log n) parallel connectivity algorithm", J. Algorithms 3 (1982).
    """
    root = np.arange(nodes)
    while True:
        left, right = root[first], root[second]
        is_open = left != right
        if not is_open.any():
            return root
        np.minimum.at(root, np.maximum(left, right)[is_open], np.minimum(left, right)[is_open])
        while not np.array_equal(root, root[root]):
            root = root[root]


@functools.cache
def _transform() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The integer DCT-II rows that the hash needs, and the 64 lowest frequencies without the mean."""
    rows = 11  # anti-diagonals 1 to 10 hold 65 frequencies, one more than the hash has bits
    frequency, position = np.mgrid[0:rows, 0:HASH_SIDE_PX]
    basis = np.rint(np.cos(np.pi * frequency * (2 * position + 1) / (2 * HASH_SIDE_PX)) * 4096)
    down, across = (axis.ravel() for axis in np.mgrid[0:rows, 0:rows])
    low = np.lexsort((down, down + across))[1 : HASH_BITS + 1]
    return basis.astype(np.int64), low
