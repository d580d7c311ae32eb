"""A pseudo-random order of pictures that is the same on every machine."""

from __future__ import annotations

import numpy as np

from alti2v.arrays import Int64Array, Uint64Array

_GAMMA = 0x9E3779B97F4A7C15


def random_order(ids: Int64Array, seed: int = 0) -> Uint64Array:
    """Hash each id with the output function of SplitMix64; sorting by the hashes shuffles the ids.

    G. Steele et al., "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    """
    z = ids.astype(np.uint64) + np.uint64((seed + 1) * _GAMMA % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def distinct(numbers: Int64Array) -> Int64Array:
    """Sort numbers in place, and return each once; numpy.unique hashes them, which takes 20 times as long."""
    numbers.sort()
    is_first = np.ones(len(numbers), np.bool_)
    is_first[1:] = numbers[1:] != numbers[:-1]
    return numbers[is_first]
