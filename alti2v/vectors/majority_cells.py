"""Cells of an index of codes, found without turning the codes into numbers.

k-means with the Hamming distance: each centre becomes the majority of its codes, bit by bit (C. Grana et al.,
"A Fast Approach for Integrating ORB Descriptors in the Bag of Words Model", SPIE 8667, 2013, who call it
k-majority). faiss would turn the codes into floats, 32 times as many bytes.
"""

from __future__ import annotations

import numpy as np

from alti2v.arrays import Uint8Array


def majority_cells(codes: Uint8Array, *, cells: int, rounds: int) -> Uint8Array:
    """Return the centres of cells of codes.

    Args:
        codes: (n, width) in random order, n >= cells.
        cells: Number of cells.
        rounds: Number of rounds of assignment and majority.

    Returns:
        (cells, width) uint8.
    """
    import faiss

    centres = codes[:cells].copy()
    for _ in range(rounds):
        distances, nearest = faiss.knn_hamming(codes, centres, 1)
        owner = nearest[:, 0]
        order, sizes = np.argsort(owner, kind="stable"), np.bincount(owner, minlength=cells)
        ends = np.cumsum(sizes)
        for cell in np.flatnonzero(sizes).tolist():
            members = codes[order[ends[cell] - sizes[cell] : ends[cell]]]
            ones = np.unpackbits(members, axis=1).sum(axis=0, dtype=np.int64)
            centres[cell] = np.packbits(2 * ones > len(members))
        empty = np.flatnonzero(sizes == 0)
        farthest = np.argsort(-distances[:, 0].astype(np.int64), kind="stable")[: len(empty)]
        centres[empty] = codes[farthest]
    return centres
