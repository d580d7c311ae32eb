"""True neighbours of a few pictures among many, found by an exact search of some rows at a time."""

from __future__ import annotations

import numpy as np

from alti2v.arrays import Int64Array
from alti2v.vectors.vector_file import Vectors


class TrueNeighbours:
    """The nearest pictures of some probes, and the cells of an index that they are in.

    Attributes:
        cells: (p, k) cell of each neighbour so far, the nearest first.
    """

    def __init__(self, probes: Vectors, count: int) -> None:
        """Start without neighbours.

        Args:
            probes: (p, width) codes, or numbers of length 1.
            count: Neighbours of each probe to keep, k.
        """
        self._probes = probes
        self._distances = np.full((len(probes), count), np.inf)
        self.cells: Int64Array = np.zeros((len(probes), count), np.int64)

    def add(self, vectors: Vectors, cells: Int64Array) -> None:
        """Search some rows, given with their cells."""
        import faiss

        count = min(self.cells.shape[1], len(vectors))
        if vectors.dtype == np.uint8:
            distances, rows = faiss.knn_hamming(self._probes, vectors, count)
        else:
            distances, rows = faiss.knn(self._probes, vectors, count, faiss.METRIC_INNER_PRODUCT)
            distances = -distances
        found = np.concatenate([self._distances, distances], axis=1)
        where = np.concatenate([self.cells, cells[rows]], axis=1)
        nearest = np.argsort(found, axis=1, kind="stable")[:, : self.cells.shape[1]]
        self._distances = np.take_along_axis(found, nearest, axis=1)
        self.cells = np.take_along_axis(where, nearest, axis=1)
