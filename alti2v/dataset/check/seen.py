"""Pictures that a check has found in shards: only numbers, so that whole boards fit into memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from alti2v.arrays import Int32Array, Int64Array
from alti2v.dataset.versions.previous import PicturesInShards


class SeenPictures:
    """Pictures found so far, and the last shard in which each was found.

    They are in sorted runs, each at least twice as long as the next, so that looking up and adding cost about
    the logarithm of their number.
    """

    def __init__(self) -> None:
        """Start without pictures."""
        self._names: list[str] = []
        self._runs: list[tuple[Int64Array, Int32Array]] = []

    def add(self, ids: Int64Array, shard: str) -> Mapping[int, str]:
        """Add the pictures of a shard.

        Returns:
            Name of the last shard before, by the position of each picture that has been met.
        """
        order = np.argsort(ids, kind="stable")
        ascending = ids[order]
        last: dict[int, int] = {}
        for known, shards in self._runs:
            row = np.minimum(np.searchsorted(known, ids), len(known) - 1)
            for at in np.flatnonzero(known[row] == ids).tolist():
                last[at] = max(last.get(at, 0), int(shards[row[at]]))
        self._names.append(shard)
        here = len(self._names) - 1
        is_again = ascending[1:] == ascending[:-1]
        last |= dict.fromkeys(order[1:][is_again].tolist(), here)
        if len(ids):
            once = ascending[np.append(np.True_, ~is_again)]
            self._runs.append((once, np.full(len(once), here, np.int32)))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            self._runs[-2:] = [_merged(*self._runs[-2:])]
        return {at: self._names[code] for at, code in last.items()}

    def whole(self) -> PicturesInShards:
        """Return all pictures, each once."""
        while len(self._runs) > 1:
            self._runs[-2:] = [_merged(*self._runs[-2:])]
        ids, shards = self._runs[0] if self._runs else (np.empty(0, np.int64), np.empty(0, np.int32))
        return PicturesInShards(ids=ids, shard=shards, names=tuple(self._names))


def _merged(
    first: tuple[Int64Array, Int32Array], second: tuple[Int64Array, Int32Array]
) -> tuple[Int64Array, Int32Array]:
    """Merge two runs, the second of later shards; of a picture in several shards the last counts."""
    ids, shards = np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])
    order = np.argsort(ids, kind="stable")  # merges sorted runs in one pass
    ids, shards = ids[order], shards[order]
    del order
    is_last = np.append(ids[1:] != ids[:-1], np.True_)
    return (ids, shards) if is_last.all() else (ids[is_last], shards[is_last])
