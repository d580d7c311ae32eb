"""Search for hashes that differ in few bits; exact, not approximate.

Cut into three bands, hashes that differ in few bits differ in even fewer in one of the bands (pigeonhole
principle; M. Norouzi, A. Punjani, D. Fleet, "Fast Search in Hamming Space with Multi-Index Hashing", CVPR
2012), so only hashes that are close in a band are compared.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from alti2v.arrays import Int32Array, Int64Array, Uint64Array
from alti2v.dataset.plan.perceptual_hashes import HASH_BITS
from alti2v.storage.order import distinct

_BANDS = 3
# Block sizes that fit into a processor's cache.
_ROWS_AT_ONCE = 1 << 15
_PAIRS_AT_ONCE = 1 << 16
_SMALL_FLIP_BITS = 3
# Looking a key up in a table costs a quarter of listing one pair.
_FRONT_SHARE = 0.25
_NO_ROWS = np.empty(0, np.int64)


def near_pairs(left: Uint64Array, right: Uint64Array, *, near_bits: int) -> tuple[Int64Array, Int64Array]:
    """Find all pairs of hashes that differ in at most `near_bits` bits.

    Args:
        left: (n,) hashes.
        right: (m,) hashes; row i of both is of the same picture, which is not paired with itself. If it is
            `left`, each pair is found once.
        near_bits: Maximum number of different bits.

    Returns:
        Two (p,) arrays: rows of `left` and of `right`; the first row represents all rows with the same hash.
    """
    ours = _distinct_hashes(left)
    theirs = ours if right is left else _distinct_hashes(right)
    found = _NO_ROWS
    for at, to in _near_in_bands(ours, theirs, near_bits):
        # A pair may agree in more than one band.
        found = distinct(np.concatenate([found, at.astype(np.int64) * len(right) + to]))
    return found // max(len(right), 1), found % max(len(right), 1)


def _distinct_hashes(hashes: Uint64Array) -> tuple[Uint64Array, Int32Array]:
    """Return the distinct hashes, ascending, and the first row of each."""
    rows = np.argsort(hashes, kind="stable").astype(np.int32)
    values = hashes[rows]
    is_first = np.ones(len(values), np.bool_)
    is_first[1:] = values[1:] != values[:-1]
    return values[is_first], rows[is_first]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Band:
    """Hashes sorted by some of their bits, the key.

    Attributes:
        keys: (n,) int32, ascending.
        hashes: (n,) uint64, in the order of the keys.
        rows: (n,) int32 row of each hash.
        starts: (keys + 1,) int32: the hashes with key k are `hashes[starts[k] : starts[k + 1]]`.
    """

    keys: Int32Array
    hashes: Uint64Array
    rows: Int32Array
    starts: Int32Array

    @property
    def ranks(self) -> Int32Array:
        """(n,) number of hashes with the same key before each."""
        return np.arange(len(self.keys), dtype=np.int32) - self.starts[self.keys]


def _band(values: Uint64Array, rows: Int32Array, low: int, high: int) -> _Band:
    keys = ((values >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)).astype(np.int32)
    order = np.argsort(keys, kind="stable").astype(np.int32)
    counts = np.bincount(keys, minlength=1 << (high - low))
    starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    return _Band(keys=keys[order], hashes=values[order], rows=rows[order], starts=starts)


def _near_in_bands(
    ours: tuple[Uint64Array, Int32Array], theirs: tuple[Uint64Array, Int32Array], near_bits: int
) -> Iterator[tuple[Int32Array, Int32Array]]:
    """Yield rows of near pairs, with repetitions, band by band."""
    edges = [HASH_BITS * band // _BANDS for band in range(_BANDS + 1)]
    for number, (low, end) in enumerate(itertools.pairwise(edges)):
        # Few hashes need no table of two million keys: a shorter band still finds every pair.
        high = min(end, low + max(8, len(theirs[0]).bit_length()))
        # If every band exceeded its share, the hashes would differ in more than near_bits bits.
        share = (near_bits + 1 + number) // _BANDS - 1
        flips = sorted(
            sum(1 << bit for bit in bits)
            for flipped in range(share + 1)
            for bits in itertools.combinations(range(high - low), flipped)
        )
        left = _band(*ours, low, high)
        right = left if theirs is ours else _band(*theirs, low, high)
        found = [(_NO_ROWS.astype(np.int32), _NO_ROWS.astype(np.int32))]
        rows_of = functools.partial(_rows_of, left, right)
        found += _near_in_band(left, right, flips, near_bits, rows_of)
        firsts, seconds = (np.concatenate(ends) for ends in zip(*found, strict=True))
        yield firsts, seconds


def _rows_of(left: _Band, right: _Band, at: Int64Array, to: Int64Array) -> tuple[Int32Array, Int32Array]:
    """Return the rows of pairs of positions; no picture with itself, and pairs within a band in one order."""
    if right is left:
        is_ordered = left.hashes[at] < right.hashes[to]
        at, to = np.where(is_ordered, at, to), np.where(is_ordered, to, at)
        is_wanted = at != to
    else:
        is_wanted = left.rows[at] != right.rows[to]
    return left.rows[at[is_wanted]], right.rows[to[is_wanted]]


def _near_in_band(
    left: _Band,
    right: _Band,
    flips: Sequence[int],
    near_bits: int,
    rows_of: Callable[[Int64Array, Int64Array], tuple[Int32Array, Int32Array]],
) -> Iterator[tuple[Int32Array, Int32Array]]:
    """Yield what `rows_of` makes of the positions of near pairs in `left` and `right`."""
    # Each pair of hashes of one band is looked up once: from the key without the highest bit that differs.
    ours, theirs = (0, 1) if right is left else (None, None)

    def in_front(table: tuple[Uint64Array, Int32Array], row: int) -> list[tuple[Int32Array, Int32Array]]:
        part = np.arange(row, min(row + _ROWS_AT_ONCE, len(left.keys)))
        return [
            rows_of(at, to)
            for chosen, some in _questions(left, part, flips, bit=ours)
            for at, to in _near_in_front(left, chosen, table, some, near_bits)
        ]

    def among_all(part: Int64Array) -> list[tuple[Int32Array, Int32Array]]:
        return [
            rows_of(at, to)
            for chosen, some in _questions(right, part, flips, bit=theirs)
            for to, at in _near_all(right, chosen, left, some, near_bits)
        ]

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


def _questions(
    band: _Band, part: Int64Array, flips: Sequence[int], *, bit: int | None
) -> Iterator[tuple[Int64Array, Sequence[int]]]:
    """Yield some positions of a part of a band, and the flips of their keys to look up.

    Args:
        band: Band to look up in another one.
        part: Positions in it, ascending.
        flips: Differences of keys, ascending.
        bit: Value of a flip's highest bit in the keys for which it is looked up; None for all keys. The few
            small flips are looked up for all keys, because that is faster than selecting keys.
    """
    if bit is None:
        yield part, flips
        return
    keys = band.keys[part]
    for length, some in itertools.groupby(flips, lambda flip: max(flip.bit_length(), _SMALL_FLIP_BITS)):
        first, last = int(keys[0]) >> (length - 1), int(keys[-1]) >> (length - 1)
        if length == _SMALL_FLIP_BITS or (first == last and first & 1 == bit):
            yield part, list(some)
        elif first != last:
            yield part[np.flatnonzero((keys >> (length - 1)) & 1 == bit)], list(some)


def _front(right: _Band, chosen: Int64Array) -> tuple[Uint64Array, Int32Array]:
    """Return each key's hash among the chosen, and its position: 0 and -1 if it has none."""
    front, place = np.zeros(len(right.starts) - 1, np.uint64), np.full(len(right.starts) - 1, -1, np.int32)
    front[right.keys[chosen]] = right.hashes[chosen]
    place[right.keys[chosen]] = chosen
    return front, place


def _near_in_front(
    left: _Band, chosen: Int64Array, table: tuple[Uint64Array, Int32Array], flips: Sequence[int], near_bits: int
) -> Iterator[tuple[Int64Array, Int64Array]]:
    """Yield near pairs of the chosen positions in `left`, and of hashes with distinct keys."""
    front, place = table
    keys, hashes = left.keys[chosen], left.hashes[chosen]
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
            yield chosen[near[to >= 0]], to[to >= 0]


def _near_all(
    left: _Band, chosen: Int64Array, right: _Band, flips: Sequence[int], near_bits: int
) -> Iterator[tuple[Int64Array, Int64Array]]:
    """Yield near pairs of the chosen positions in `left` and all of `right`."""
    keys, hashes = left.keys[chosen], left.hashes[chosen]
    for flip in flips:
        first, last = (right.starts[(keys ^ flip) + after].astype(np.int64) for after in (0, 1))
        for at, to in _expand(first, last - first):
            near = np.flatnonzero(np.bitwise_count(hashes[at] ^ right.hashes[to]) <= near_bits)
            yield chosen[at[near]], to[near]


def _expand(starts: Int64Array, counts: Int64Array) -> Iterator[tuple[Int64Array, Int64Array]]:
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
