"""Perceptual hashes of pictures: those of similar pictures differ in few of 64 bits.

Pure functions of arrays, with the same result on every machine: all sums are of integers.
"""

from __future__ import annotations

import functools
from enum import IntEnum

import numpy as np

from alti2v.arrays import Float64Array, Int64Array, Uint8Array, Uint64Array
from alti2v.pictures.recipe import LUMINANCE_SIDE_PX

HASH_BITS = 64
_CELLS = 32  # per row and column of the hashed picture
_MARGIN = 32  # the second hash leaves out 1/32 of the picture at each side
_LUMINANCES_AT_ONCE = 32  # 1 MB as floating point, which fits into a processor's cache


class HashView(IntEnum):
    """What of a picture a hash is made of; its number is the column of the hash."""

    WHOLE = 0
    TRIMMED = 1  # without the margins
    MIRRORED = 2
    MIRRORED_TRIMMED = 3


def perceptual_hashes(luminances: Uint8Array) -> Uint64Array:
    """Hash the coarse structure of pictures: the hashes of similar pictures differ in few bits.

    The DCT hash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010),
    section 3.2.1: the signs of the 64 lowest frequencies of the DCT-II of 32 x 32 averages relative to their
    median. Here they are taken along anti-diagonals and without the mean.

    Args:
        luminances: (n, 64, 64) uint8.

    Returns:
        (n, 4), a column for each `HashView`.
    """
    hashes = np.empty((len(luminances), len(HashView)), np.uint64)
    for first in range(0, len(luminances), _LUMINANCES_AT_ONCE):
        some = slice(first, first + _LUMINANCES_AT_ONCE)
        hashes[some] = _hashed(luminances[some])
    return hashes


def _hashed(luminances: Uint8Array) -> Uint64Array:
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


@functools.cache
def _transform() -> tuple[Float64Array, Int64Array, Int64Array]:
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


def _cells(margin_px: int) -> Float64Array:
    """(32, 64) share of each pixel that each cell covers, in units that make it a whole number."""
    parts = 8
    edges = parts * margin_px + np.arange(_CELLS + 1) * (parts * (LUMINANCE_SIDE_PX - 2 * margin_px) // _CELLS)
    pixels = parts * np.arange(LUMINANCE_SIDE_PX)
    covered = np.minimum(edges[1:, None], pixels + parts) - np.maximum(edges[:-1, None], pixels)
    return covered.clip(0).astype(np.float64)
