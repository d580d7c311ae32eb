"""Near-duplicate groups of a dataset, from its tables: their sizes, and some to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from alti2v.arrays import BoolArray, Int64Array
from alti2v.dataset.explore.samples import PictureAt, places
from alti2v.dataset.manifest import Manifest, read_metadata
from alti2v.storage.layout import SPLITS
from alti2v.storage.order import random_order

_ROWS_AT_ONCE = 10_000


def batches(dataset: Path, manifest: Manifest, columns: Sequence[str]) -> Iterator[tuple[str, str, pa.Table]]:
    """Yield the rows of all shards: (split, name of the shard, some rows).

    Raises:
        DamagedError: A table is missing or damaged.
    """
    for shard in manifest.shards:
        for batch in read_metadata(dataset, shard, columns).to_batches(_ROWS_AT_ONCE):
            yield shard.name.split, str(shard.name), pa.Table.from_batches([batch])


def duplicate_groups(
    tables: Path, manifest: Manifest, candidates: Int64Array, *, at_most: int, seed: int
) -> tuple[Mapping[int, int], tuple[tuple[PictureAt, ...], ...]]:
    """Count groups by size, and pick some to show, those that cross splits first.

    Args:
        tables: Folder with the tables of the shards.
        manifest: Manifest of the dataset.
        candidates: Groups with a picture that is not their first, ascending; removals may have left it alone.
        at_most: Number of groups to pick.
        seed: Seed of the choice.

    Returns:
        Number of groups by size, and the pictures of the picked groups.
    """
    if not len(candidates):
        return {}, ()
    sizes = np.zeros(len(candidates), np.int64)
    picked = np.zeros(len(candidates), np.bool_)
    is_astray = _astray(tables, manifest, candidates) if manifest.astray else picked
    picked[np.lexsort((random_order(candidates, seed), ~is_astray))[:at_most]] = True
    members: dict[int, list[PictureAt]] = {}
    for _, shard, rows in batches(tables, manifest, ("id", "offset", "size", "group_id")):
        groups = rows["group_id"].to_numpy()
        at, is_candidate = _places(candidates, groups)
        sizes += np.bincount(at[is_candidate], minlength=len(candidates))
        wanted = np.flatnonzero(is_candidate & picked[at])
        for row, place in zip(wanted, places(shard, rows, wanted), strict=True):
            members.setdefault(int(groups[row]), []).append(place)
    by_size = Counter(sizes[sizes > 1].tolist())
    shown = (tuple(sorted(group)) for _, group in sorted(members.items()) if len(group) > 1)
    return dict(sorted(by_size.items())), tuple(shown)


def _astray(tables: Path, manifest: Manifest, candidates: Int64Array) -> BoolArray:
    """Return for each group whether its pictures are in several splits."""
    sides = np.zeros(len(candidates), np.int64)
    for split, _, rows in batches(tables, manifest, ("group_id",)):
        at, is_candidate = _places(candidates, rows["group_id"].to_numpy())
        np.bitwise_or.at(sides, at[is_candidate], 1 << SPLITS.index(split))
    return np.bitwise_count(sides) > 1


def _places(candidates: Int64Array, groups: Int64Array) -> tuple[Int64Array, BoolArray]:
    """Return the position of each picture's group in `candidates`, and whether it is there."""
    at = np.minimum(np.searchsorted(candidates, groups), len(candidates) - 1)
    return at, candidates[at] == groups
