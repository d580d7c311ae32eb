"""Which pictures belong together: same bytes, parents and children, and pictures that look alike.

Pure: arrays in, arrays out, and the same on every machine: sums are of integers, so their order has no say.
Groups exist so that a split keeps them whole; no picture is dropped because it resembles another.

Two pictures look alike if their hashes are near AND their thumbnails agree. A hash is compared with those of
the other picture as it is, with its margins cut, mirrored, and both, because a few per cent less of a picture
change more bits than any recompression; and hashes of so few bits meet by chance, so each pair is looked at.
docs/BENCHMARKS.md says what is found in the drawn corpus.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alti2v.dataset.plan.thumbnails import NEAR_CORRELATION, correlations, thumbnails_of

# What is kept from an earlier build was made by other code where this is another number: raise it with any
# change to what `perceptual_hashes`, `images._look` or `thumbnails_of` come to.
APPEARANCE_VERSION = 3
HASH_BITS = 64
LUMINANCE_SIDE_PX = 64  # of the grey picture that hash and thumbnail are made from
LUMINANCE_BYTES = LUMINANCE_SIDE_PX**2
NEAR_BITS = 8
_BANDS = 3
_CELLS = 32  # in a row and in a column of what is hashed
_MARGIN = 32  # of this many parts of the picture, one is cut at each side for the second hash
_LUMINANCES_AT_ONCE = 32  # 1 MB as floating point stay in a processor's cache

_Rows = npt.NDArray[np.int64]
_Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearances:
    """How pictures look.

    Attributes:
        hashes: (n, 4) uint64: of the whole picture, of the picture without its margins, and of both mirrored.
        thumbnails: (n, 16, 16) uint8 luminance.
    """

    hashes: npt.NDArray[np.uint64]
    thumbnails: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.hashes)


def appearances_of(pictures: Sequence[bytes]) -> Appearances:
    """What is to be compared of pictures, given the 64 x 64 luminances of each, row by row."""
    appearances = np.frombuffer(b"".join(pictures), np.uint8).reshape(-1, LUMINANCE_SIDE_PX, LUMINANCE_SIDE_PX)
    return Appearances(hashes=perceptual_hashes(appearances), thumbnails=thumbnails_of(appearances))


def perceptual_hashes(appearances: npt.NDArray[np.uint8]) -> _Hashes:
    """Hash the coarse structure of pictures: nearby pictures have hashes that differ in few bits.

    The DCT hash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010),
    section 3.2.1: the signs of the 64 lowest frequencies of the DCT-II of 32 x 32 averages relative to their
    median. Here they are taken along anti-diagonals and without the mean.

    Args:
        appearances: (n, 64, 64) luminance.

    Returns:
        (n, 4), as `Appearances.hashes`.
    """
    hashes = np.empty((len(appearances), 4), np.uint64)
    for first in range(0, len(appearances), _LUMINANCES_AT_ONCE):
        some = slice(first, first + _LUMINANCES_AT_ONCE)
        hashes[some] = _hashed(appearances[some])
    return hashes


def _hashed(appearances: npt.NDArray[np.uint8]) -> _Hashes:
    basis, low, mirror = _transform()
    # Whole numbers below 2^53 throughout, so floating point is exact, and the same on every processor. One
    # product per picture is too small for OpenBLAS to take threads, which would spin while they wait.
    half = basis @ appearances[:, None].astype(np.float64)  # (n, 2, 11, 64)
    frequencies = (half @ basis.transpose(0, 2, 1)).reshape(len(appearances), 2, -1)[..., low]  # (n, 2, 64)
    signed = np.concatenate([frequencies, frequencies * mirror], axis=1)
    # Twice the median: the middle two of 64 sorted values.
    middle = np.sort(signed)[..., HASH_BITS // 2 - 1 : HASH_BITS // 2 + 1].sum(axis=-1, keepdims=True)
    bits = np.ascontiguousarray(np.packbits(2 * signed > middle, axis=-1))  # (n, 4, 8)
    return bits.view(">u8")[..., 0].astype(np.uint64)


def related_groups(
    ids: npt.NDArray[np.int64], links: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
) -> npt.NDArray[np.int64]:
    """Name the related of each post: a number that two posts share iff a chain of links joins them.

    Args:
        ids: (n,) distinct, ascending.
        links: pairs of ids that belong together; they may name posts that are not in `ids`, and siblings
            of a missing parent are still siblings.

    Returns:
        (n,) the smallest id of the related, missing posts included.
    """
    nodes = np.unique(np.concatenate([ids, *links]))
    first, second = (np.searchsorted(nodes, ends) for ends in links)
    return nodes[_components(len(nodes), first, second)][np.searchsorted(nodes, ids)]


def groups(
    ids: npt.NDArray[np.int64], related: npt.NDArray[np.int64], appearances: Appearances
) -> npt.NDArray[np.int64]:
    """Name the group of each picture: its related, and transitively all that look alike.

    Returns:
        (n,) the smallest id among the pictures of the group.
    """
    _, related_first, related_number = np.unique(related, return_index=True, return_inverse=True)
    alike_first, alike_second = near_duplicate_pairs(appearances)
    first = np.concatenate([np.arange(len(ids)), alike_first])
    second = np.concatenate([related_first[related_number], alike_second])
    return ids[_components(len(ids), first, second)]


def near_duplicate_pairs(appearances: Appearances) -> tuple[_Rows, _Rows]:
    """Find pairs of rows that look alike, as they are or mirrored.

    Rows with equal hashes are compared with the first of them and with their neighbour; with others only
    the first of them is compared.

    Returns:
        Two (p,) arrays: the ends of each pair.
    """
    firsts, seconds = [], []
    whole, trimmed, mirrored, mirrored_trimmed = appearances.hashes.T
    for others, is_mirrored in ((whole, False), (trimmed, False), (mirrored, True), (mirrored_trimmed, True)):
        first, second = near_pairs(whole, others, near_bits=NEAR_BITS)
        first, second = first[first != second], second[first != second]
        if others is whole:
            same_first, same_second = _equal_pairs(whole)
            first, second = np.concatenate([first, same_first]), np.concatenate([second, same_second])
        agrees = (
            correlations(appearances.thumbnails, first, second, is_mirrored=is_mirrored) >= NEAR_CORRELATION
        )
        firsts.append(first[agrees])
        seconds.append(second[agrees])
    return np.concatenate(firsts), np.concatenate(seconds)


def _equal_pairs(hashes: _Hashes) -> tuple[_Rows, _Rows]:
    order = np.argsort(hashes, kind="stable")
    is_same = hashes[order][1:] == hashes[order][:-1]
    _, first_row, number = np.unique(hashes, return_index=True, return_inverse=True)
    rows = np.arange(len(hashes))
    is_later = first_row[number] != rows
    return (
        np.concatenate([order[:-1][is_same], first_row[number][is_later]]),
        np.concatenate([order[1:][is_same], rows[is_later]]),
    )


def near_pairs(left: _Hashes, right: _Hashes, *, near_bits: int) -> tuple[_Rows, _Rows]:
    """Find all pairs of hashes within `near_bits` of each other; exact, not approximate.

    Cut into three bands, hashes that differ in few bits differ in even fewer in one of them (pigeonhole
    principle; M. Norouzi, A. Punjani, D. Fleet, "Fast Search in Hamming Space with Multi-Index Hashing",
    CVPR 2012), so only hashes that agree in a band up to its share of the bits are compared.

    Args:
        left: (n,) hashes.
        right: (m,) hashes; if it is `left`, each pair is found once, and no row with itself.
        near_bits: at most so many bits differ.

    Returns:
        Two (p,) arrays: rows of `left` and of `right`; of equal hashes the first row stands for all.
    """
    values, left_row = np.unique(left, return_index=True)
    others, right_row = (values, left_row) if right is left else np.unique(right, return_index=True)
    found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    for at, to in _near_in_bands(values, others, near_bits):
        is_wanted = at < to if right is left else slice(None)
        found.append((at[is_wanted], to[is_wanted]))
    at, to = (np.concatenate(ends) for ends in zip(*found, strict=True))
    pairs = np.unique(at * max(len(others), 1) + to)  # a pair may agree in more than one band
    return left_row[pairs // max(len(others), 1)], right_row[pairs % max(len(others), 1)]


# What is at work at one time stays in a processor's cache.
_ROWS_AT_ONCE = 1 << 14
_PAIRS_AT_ONCE = 1 << 16
_FRONTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Band:
    """Hashes in the order of some of their bits, their key.

    Attributes:
        keys: (n,) int64, ascending.
        hashes: (n,), and `rows`, where each was before.
        starts: (keys + 1,) int64: those with key k are `hashes[starts[k] : starts[k + 1]]`.
    """

    keys: npt.NDArray[np.int64]
    hashes: _Hashes
    rows: _Rows
    starts: _Rows

    @property
    def ranks(self) -> _Rows:
        """(n,) how many hashes with the same key stand before each."""
        return np.arange(len(self.keys)) - self.starts[self.keys]


def _band(values: _Hashes, low: int, high: int) -> _Band:
    keys = ((values >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)).astype(np.int64)
    rows = np.argsort(keys, kind="stable")
    counts = np.bincount(keys, minlength=1 << (high - low))
    starts = np.concatenate(([0], np.cumsum(counts)))
    return _Band(keys=keys[rows], hashes=values[rows], rows=rows, starts=starts)


def _near_in_bands(values: _Hashes, others: _Hashes, near_bits: int) -> Iterator[tuple[_Rows, _Rows]]:
    """Rows of near pairs, with repetitions."""
    edges = [HASH_BITS * band // _BANDS for band in range(_BANDS + 1)]
    for number, (low, end) in enumerate(itertools.pairwise(edges)):
        # A few hashes need no table of two million places: fewer bits of a band differ in no more places.
        high = min(end, low + max(8, len(others).bit_length()))
        # Were every band further than its share, they would be further than near_bits together.
        share = (near_bits + 1 + number) // _BANDS - 1
        flips = [
            sum(1 << bit for bit in bits)
            for flipped in range(share + 1)
            for bits in itertools.combinations(range(high - low), flipped)
        ]
        left, right = _band(values, low, high), _band(others, low, high)
        # Most keys have one hash or two: those are met in a plain lookup per row, which is faster than any
        # list of pairs. The few hashes behind them look for their partners themselves.
        ranks = right.ranks
        for front in range(_FRONTS):
            of_front = np.flatnonzero(ranks == front)
            for at, to in _near_firsts(left, right, of_front, flips, near_bits):
                yield left.rows[at], right.rows[to]
        for at, to in _near_all(right, np.flatnonzero(ranks >= _FRONTS), left, flips, near_bits):
            yield left.rows[to], right.rows[at]


def _near_firsts(
    left: _Band, right: _Band, chosen: _Rows, flips: Sequence[int], near_bits: int
) -> Iterator[tuple[_Rows, _Rows]]:
    """Near pairs of all places in `left` and the chosen ones of `right`, which have a key each."""
    place = np.full(len(right.starts) - 1, -1, np.int32)
    place[right.keys[chosen]] = chosen
    front = np.zeros(len(place), np.uint64)
    front[right.keys[chosen]] = right.hashes[chosen]
    for row in range(0, len(left.keys), _ROWS_AT_ONCE):
        keys, hashes = left.keys[row : row + _ROWS_AT_ONCE], left.hashes[row : row + _ROWS_AT_ONCE]
        for flip in flips:
            partners = keys ^ flip
            near = np.flatnonzero(np.bitwise_count(front[partners] ^ hashes) <= near_bits)
            if len(near):
                to = place[partners[near]]
                yield row + near[to >= 0], to[to >= 0]


def _near_all(
    left: _Band, chosen: _Rows, right: _Band, flips: Sequence[int], near_bits: int
) -> Iterator[tuple[_Rows, _Rows]]:
    """Near pairs of the chosen places in `left` and all of `right`."""
    keys, hashes = left.keys[chosen], left.hashes[chosen]
    for flip in flips:
        first, last = right.starts[keys ^ flip], right.starts[1:][keys ^ flip]
        for at, to in _expand(first, last - first):
            near = np.flatnonzero(np.bitwise_count(hashes[at] ^ right.hashes[to]) <= near_bits)
            yield chosen[at[near]], to[near]


def _expand(starts: _Rows, counts: _Rows) -> Iterator[tuple[_Rows, _Rows]]:
    """Position i pairs with `starts[i] ... starts[i] + counts[i] - 1`; a bounded number of pairs at a time."""
    ends = np.cumsum(counts)
    row = 0
    while row < len(counts):
        done = ends[row - 1] if row else 0
        stop = max(row + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, side="right")))
        length = counts[row:stop]
        shift = np.repeat(starts[row:stop] - (ends[row:stop] - length - done), length)
        yield np.repeat(np.arange(row, stop), length), shift + np.arange(len(shift))
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
def _transform() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """What hashes a look: (2, 11, 64) DCT-II rows, 64 frequencies, and their signs in a mirrored picture."""
    rows = 11  # anti-diagonals 1 to 10 hold 65 frequencies, one more than the hash has bits
    frequency, position = np.mgrid[0:rows, 0:_CELLS]
    cosines = np.rint(np.cos(np.pi * frequency * (2 * position + 1) / (2 * _CELLS)) * 4096)
    basis = np.stack([cosines @ _cells(margin_px) for margin_px in (0, LUMINANCE_SIDE_PX // _MARGIN)])
    down, across = (axis.ravel() for axis in np.mgrid[0:rows, 0:rows])
    low = np.lexsort((down, down + across))[1 : HASH_BITS + 1]
    return basis, low, 1 - 2 * (across[low] % 2)


def _cells(margin_px: int) -> npt.NDArray[np.float64]:
    """(32, 64) how much of each pixel each cell covers, in parts of a pixel that make it a whole number."""
    parts = 8
    edges = parts * margin_px + np.arange(_CELLS + 1) * (parts * (LUMINANCE_SIDE_PX - 2 * margin_px) // _CELLS)
    pixels = parts * np.arange(LUMINANCE_SIDE_PX)
    covered = np.minimum(edges[1:, None], pixels + parts) - np.maximum(edges[:-1, None], pixels)
    return covered.clip(0).astype(np.float64)
