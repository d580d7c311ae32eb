"""Near-duplicate groups: pictures with the same bytes, parents and children, and similar pictures.

Pure functions of arrays, with the same result on every machine: all sums are of integers, so their order does
not matter. Groups exist so that a split keeps them whole; no picture is dropped because it resembles another.

Two pictures are near-duplicates if their hashes are close AND their thumbnails correlate. A hash is compared
with the hashes of the other picture as it is, without its margins, mirrored, and both, because cropping a few
per cent changes more bits than any recompression. Hashes of 64 bits also collide by chance, so the thumbnails
decide. docs/BENCHMARKS.md says what is found in the drawn corpus.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alti2v.dataset.plan.thumbnails import NEAR_CORRELATION, Thumbnails, correlations, thumbnails_of
from alti2v.pictures.recipe import LUMINANCE_SIDE_PX
from alti2v.storage.order import distinct

# Raise it with any change to the results of `perceptual_hashes`, `square._luminance` or `thumbnails_of`: the
# next build makes hashes with another number again.
APPEARANCE_VERSION = 3
HASH_BITS = 64
NEAR_BITS = 8
_BANDS = 3
_CELLS = 32  # per row and column of the hashed picture
_MARGIN = 32  # the second hash leaves out 1/32 of the picture at each side
_LUMINANCES_AT_ONCE = 32  # 1 MB as floating point, which fits into a processor's cache

_Rows = npt.NDArray[np.int64]
_Places = npt.NDArray[np.int32]
_Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearances:
    """Appearance of n pictures.

    Attributes:
        hashes: Returns one of the four hashes of each picture, (n,) uint64, by its number in 0 to 3: of the
            whole picture, of the picture without its margins, and of both mirrored.
        thumbnails: Thumbnails of the n pictures, 16 x 16 luminances each.
    """

    hashes: Callable[[int], npt.NDArray[np.uint64]]
    thumbnails: Thumbnails

    def __len__(self) -> int:
        return len(self.thumbnails)


def appearances_of(pictures: Sequence[bytes]) -> tuple[_Hashes, npt.NDArray[np.uint8]]:
    """Hash pictures and shrink them to thumbnails.

    Args:
        pictures: For each picture its 64 x 64 luminances as bytes, row by row.

    Returns:
        (n, 4) hashes and (n, 16, 16) thumbnails, see `Appearances`.
    """
    luminances = np.frombuffer(b"".join(pictures), np.uint8).reshape(-1, LUMINANCE_SIDE_PX, LUMINANCE_SIDE_PX)
    return perceptual_hashes(luminances), thumbnails_of(luminances)


def perceptual_hashes(luminances: npt.NDArray[np.uint8]) -> _Hashes:
    """Hash the coarse structure of pictures: the hashes of similar pictures differ in few bits.

    The DCT hash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010),
    section 3.2.1: the signs of the 64 lowest frequencies of the DCT-II of 32 x 32 averages relative to their
    median. Here they are taken along anti-diagonals and without the mean.

    Args:
        luminances: (n, 64, 64) uint8.

    Returns:
        (n, 4), in the order of `Appearances.hashes`.
    """
    hashes = np.empty((len(luminances), 4), np.uint64)
    for first in range(0, len(luminances), _LUMINANCES_AT_ONCE):
        some = slice(first, first + _LUMINANCES_AT_ONCE)
        hashes[some] = _hashed(luminances[some])
    return hashes


def _hashed(luminances: npt.NDArray[np.uint8]) -> _Hashes:
    basis, low, mirror = _transform()
    # Whole numbers below 2^53 throughout, so floating point is exact on every processor. One product per
    # picture is too small for OpenBLAS to start threads, which would spin while they wait.
    half = basis @ luminances[:, None].astype(np.float64)  # (n, 2, 11, 64)
    frequencies = (half @ basis.transpose(0, 2, 1)).reshape(len(luminances), 2, -1)[..., low]  # (n, 2, 64)
    signed = np.concatenate([frequencies, frequencies * mirror], axis=1)
    # Twice the median: the middle two of 64 sorted values.
    middle = np.sort(signed)[..., HASH_BITS // 2 - 1 : HASH_BITS // 2 + 1].sum(axis=-1, keepdims=True)
    bits = np.ascontiguousarray(np.packbits(2 * signed > middle, axis=-1))  # (n, 4, 8)
    return bits.view(">u8")[..., 0].astype(np.uint64)


def related_groups(
    ids: npt.NDArray[np.int64], pairs: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
) -> npt.NDArray[np.int64]:
    """Group posts that are connected by a chain of pairs.

    Args:
        ids: (n,) distinct, ascending.
        pairs: Pairs of related ids. They may contain posts that are not in `ids`: siblings of a missing parent
            are still related.

    Returns:
        (n,) the smallest id of each post's group, missing posts included.
    """
    nodes = distinct(np.concatenate([ids, *pairs]))
    first, second = (np.searchsorted(nodes, ends) for ends in pairs)
    return nodes[_components(len(nodes), first, second)][np.searchsorted(nodes, ids)]


def groups(
    ids: npt.NDArray[np.int64], related: npt.NDArray[np.int64], appearances: Appearances
) -> npt.NDArray[np.int64]:
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
    return ids[_components(len(ids), first, second)]


def near_duplicate_pairs(appearances: Appearances) -> tuple[_Rows, _Rows]:
    """Find pairs of similar pictures, as they are or mirrored.

    A row whose hash equals that of an earlier row is compared with the first of these rows and with its
    neighbour; only the first is compared with other hashes.

    Returns:
        Two (p,) arrays of rows: the ends of each pair.
    """
    firsts, seconds = [], []
    whole = appearances.hashes(0)
    for number, is_mirrored in enumerate((False, False, True, True)):
        others = whole if number == 0 else appearances.hashes(number)
        first, second = near_pairs(whole, others, near_bits=NEAR_BITS, is_same=True)
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
    thumbnails: Thumbnails, first: _Rows, second: _Rows, *, is_mirrored: bool
) -> npt.NDArray[np.bool_]:
    rows, at = np.unique(np.concatenate([first, second]), return_inverse=True)
    compact = thumbnails[rows]
    found = correlations(compact, at[: len(first)], at[len(first) :], is_mirrored=is_mirrored)
    is_near: npt.NDArray[np.bool_] = found >= NEAR_CORRELATION
    return is_near


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


def near_pairs(left: _Hashes, right: _Hashes, *, near_bits: int, is_same: bool = False) -> tuple[_Rows, _Rows]:
    """Find all pairs of hashes that differ in at most `near_bits` bits; exact, not approximate.

    Cut into three bands, hashes that differ in few bits differ in even fewer in one of the bands (pigeonhole
    principle; M. Norouzi, A. Punjani, D. Fleet, "Fast Search in Hamming Space with Multi-Index Hashing", CVPR
    2012), so only hashes that are close in a band are compared.

    Args:
        left: (n,) hashes.
        right: (m,) hashes; if it is `left`, each pair is found once.
        near_bits: Maximum number of different bits.
        is_same: True if row i of both is the same picture, which is not paired with itself.

    Returns:
        Two (p,) arrays: rows of `left` and of `right`; the first row represents all rows with the same hash.
    """
    ours = _distinct_hashes(left)
    theirs = ours if right is left else _distinct_hashes(right)
    found = _NO_ROWS
    for at, to in _near_in_bands(ours, theirs, near_bits, is_same=is_same):
        # A pair may agree in more than one band.
        found = distinct(np.concatenate([found, at.astype(np.int64) * len(right) + to]))
    return found // max(len(right), 1), found % max(len(right), 1)


def _distinct_hashes(hashes: _Hashes) -> tuple[_Hashes, _Places]:
    """Return the distinct hashes, ascending, and the first row of each."""
    rows = np.argsort(hashes, kind="stable").astype(np.int32)
    values = hashes[rows]
    is_first = np.ones(len(values), np.bool_)
    is_first[1:] = values[1:] != values[:-1]
    return values[is_first], rows[is_first]


# Block sizes that fit into a processor's cache.
_ROWS_AT_ONCE = 1 << 15
_PAIRS_AT_ONCE = 1 << 16
# Looking a key up in a table costs a quarter of listing one pair.
_FRONT_SHARE = 0.25
_COMPARED_AT_ONCE = 400_000  # thumbnails of this many pairs take at most 200 MB
_NO_ROWS = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Band:
    """Hashes sorted by some of their bits, the key.

    Attributes:
        keys: (n,) int32, ascending.
        hashes: (n,) uint64, in the order of the keys.
        rows: (n,) int32 row of each hash.
        starts: (keys + 1,) int32: the hashes with key k are `hashes[starts[k] : starts[k + 1]]`.
    """

    keys: _Places
    hashes: _Hashes
    rows: _Places
    starts: _Places

    @property
    def ranks(self) -> _Places:
        """(n,) number of hashes with the same key before each."""
        return np.arange(len(self.keys), dtype=np.int32) - self.starts[self.keys]


def _band(values: _Hashes, rows: _Places, low: int, high: int) -> _Band:
    keys = ((values >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)).astype(np.int32)
    order = np.argsort(keys, kind="stable").astype(np.int32)
    counts = np.bincount(keys, minlength=1 << (high - low))
    starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    return _Band(keys=keys[order], hashes=values[order], rows=rows[order], starts=starts)


def _near_in_bands(
    ours: tuple[_Hashes, _Places], theirs: tuple[_Hashes, _Places], near_bits: int, *, is_same: bool
) -> Iterator[tuple[_Places, _Places]]:
    """Yield rows of near pairs, with repetitions, band by band."""
    edges = [HASH_BITS * band // _BANDS for band in range(_BANDS + 1)]
    for number, (low, end) in enumerate(itertools.pairwise(edges)):
        # Few hashes need no table of two million keys: a shorter band still finds every pair.
        high = min(end, low + max(8, len(theirs[0]).bit_length()))
        # If every band exceeded its share, the hashes would differ in more than near_bits bits.
        share = (near_bits + 1 + number) // _BANDS - 1
        flips = [
            sum(1 << bit for bit in bits)
            for flipped in range(share + 1)
            for bits in itertools.combinations(range(high - low), flipped)
        ]
        left = _band(*ours, low, high)
        right = left if theirs is ours else _band(*theirs, low, high)
        found = [(_NO_ROWS.astype(np.int32), _NO_ROWS.astype(np.int32))]
        rows_of = functools.partial(_rows_of, left, right, is_same=is_same)
        found += _near_in_band(left, right, flips, near_bits, rows_of)
        firsts, seconds = (np.concatenate(ends) for ends in zip(*found, strict=True))
        yield firsts, seconds


def _rows_of(left: _Band, right: _Band, at: _Rows, to: _Rows, *, is_same: bool) -> tuple[_Places, _Places]:
    """Return the rows of pairs of positions, each pair once, and no picture with itself."""
    if right is left:
        is_wanted = left.hashes[at] < right.hashes[to]
    elif is_same:
        is_wanted = left.rows[at] != right.rows[to]
    else:
        return left.rows[at], right.rows[to]
    return left.rows[at[is_wanted]], right.rows[to[is_wanted]]


def _near_in_band(
    left: _Band,
    right: _Band,
    flips: Sequence[int],
    near_bits: int,
    rows_of: Callable[[_Rows, _Rows], tuple[_Places, _Places]],
) -> Iterator[tuple[_Places, _Places]]:
    """Yield what `rows_of` makes of the positions of near pairs in `left` and `right`."""

    def in_front(table: tuple[_Hashes, _Places], row: int) -> list[tuple[_Places, _Places]]:
        return [rows_of(at, to) for at, to in _near_in_front(left, table, flips, near_bits, row)]

    def among_all(part: _Rows) -> list[tuple[_Places, _Places]]:
        return [rows_of(at, to) for to, at in _near_all(right, part, left, flips, near_bits)]

    # Keys with few hashes are fastest looked up in a table of the first, then of the second, and so on; the
    # further hashes of the others search for their partners themselves.
    ranks = right.ranks
    filled = np.bincount(ranks) / (len(right.starts) - 1)
    fronts = int((filled >= _FRONT_SHARE).sum())
    # NumPy lets other threads run while it computes.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for rank in range(fronts):
            front = _front(right, np.flatnonzero(ranks == rank))
            for found in pool.map(functools.partial(in_front, front), range(0, len(left.keys), _ROWS_AT_ONCE)):
                yield from found
        rest = np.flatnonzero(ranks >= fronts)
        parts = [rest[first : first + _ROWS_AT_ONCE] for first in range(0, len(rest), _ROWS_AT_ONCE)]
        for found in pool.map(among_all, parts):
            yield from found


def _front(right: _Band, chosen: _Rows) -> tuple[_Hashes, _Places]:
    """Return each key's hash among the chosen, and its position: 0 and -1 if it has none."""
    front, place = np.zeros(len(right.starts) - 1, np.uint64), np.full(len(right.starts) - 1, -1, np.int32)
    front[right.keys[chosen]] = right.hashes[chosen]
    place[right.keys[chosen]] = chosen
    return front, place


def _near_in_front(
    left: _Band, table: tuple[_Hashes, _Places], flips: Sequence[int], near_bits: int, row: int
) -> Iterator[tuple[_Rows, _Rows]]:
    """Yield near pairs of some positions in `left`, from `row` on, and of hashes with distinct keys."""
    front, place = table
    keys, hashes = left.keys[row : row + _ROWS_AT_ONCE], left.hashes[row : row + _ROWS_AT_ONCE]
    partners, others = np.empty_like(keys), np.empty_like(hashes)
    bits, is_near = np.empty(len(keys), np.uint8), np.empty(len(keys), np.bool_)
    for flip in flips:
        np.bitwise_xor(keys, np.int32(flip), out=partners)
        np.take(front, partners, out=others, mode="clip")  # unlike "raise", without a copy
        np.bitwise_xor(others, hashes, out=others)
        np.less_equal(np.bitwise_count(others, out=bits), near_bits, out=is_near)
        if is_near.any():
            near = np.flatnonzero(is_near)
            to = place[partners[near]].astype(np.int64)
            yield row + near[to >= 0], to[to >= 0]


def _near_all(
    left: _Band, chosen: _Rows, right: _Band, flips: Sequence[int], near_bits: int
) -> Iterator[tuple[_Rows, _Rows]]:
    """Yield near pairs of the chosen positions in `left` and all of `right`."""
    keys, hashes = left.keys[chosen], left.hashes[chosen]
    for flip in flips:
        first, last = (right.starts[(keys ^ flip) + after].astype(np.int64) for after in (0, 1))
        for at, to in _expand(first, last - first):
            near = np.flatnonzero(np.bitwise_count(hashes[at] ^ right.hashes[to]) <= near_bits)
            yield chosen[at[near]], to[near]


def _expand(starts: _Rows, counts: _Rows) -> Iterator[tuple[_Rows, _Rows]]:
    """Pair position i with `starts[i] ... starts[i] + counts[i] - 1`; a bounded number of pairs at a time."""
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
    """Return the smallest node of each node's connected component, by hooking and pointer jumping.

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
    """Return the transform of the hash.

    Returns:
        (2, 11, 64) DCT-II rows, (64,) frequencies, and (64,) their signs in a mirrored picture.
    """
    rows = 11  # anti-diagonals 1 to 10 hold 65 frequencies, one more than the hash has bits
    frequency, position = np.mgrid[0:rows, 0:_CELLS]
    cosines = np.rint(np.cos(np.pi * frequency * (2 * position + 1) / (2 * _CELLS)) * 4096)
    basis = np.stack([cosines @ _cells(margin_px) for margin_px in (0, LUMINANCE_SIDE_PX // _MARGIN)])
    down, across = (axis.ravel() for axis in np.mgrid[0:rows, 0:rows])
    low = np.lexsort((down, down + across))[1 : HASH_BITS + 1]
    return basis, low, 1 - 2 * (across[low] % 2)


def _cells(margin_px: int) -> npt.NDArray[np.float64]:
    """(32, 64) share of each pixel that each cell covers, in units that make it a whole number."""
    parts = 8
    edges = parts * margin_px + np.arange(_CELLS + 1) * (parts * (LUMINANCE_SIDE_PX - 2 * margin_px) // _CELLS)
    pixels = parts * np.arange(LUMINANCE_SIDE_PX)
    covered = np.minimum(edges[1:, None], pixels + parts) - np.maximum(edges[:-1, None], pixels)
    return covered.clip(0).astype(np.float64)
