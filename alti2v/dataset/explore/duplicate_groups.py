"""Groups of alike pictures in a dataset, found in its tables: how many there are, and some to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from alti2v.dataset.explore.samples import PictureAt, places
from alti2v.dataset.manifest import Manifest
from alti2v.errors import DamagedError
from alti2v.storage.directory import missing_file
from alti2v.storage.layout import METADATA, SPLITS
from alti2v.storage.order import random_order
from alti2v.storage.table import check_schema

_ROWS_AT_ONCE = 10_000

_Ints = npt.NDArray[np.int64]


def batches(dataset: Path, manifest: Manifest, columns: Sequence[str]) -> Iterator[tuple[str, str, pa.Table]]:
    """The rows of all shards: (split, name of the shard, some rows).

    Raises:
        DamagedError: a table is missing or damaged.
    """
    for shard in manifest.shards:
        path = dataset / shard.name.metadata
        try:
            with pq.ParquetFile(path) as file:
                check_schema(path, METADATA, file.schema_arrow)
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=list(columns)):
                    yield shard.name.split, str(shard.name), pa.Table.from_batches([batch])
        except FileNotFoundError as exc:
            raise missing_file(dataset, shard.name.metadata) from exc
        except (pa.ArrowException, OSError) as exc:
            raise DamagedError(f"{path} cannot be read as Parquet: run `alti2v verify {dataset}`") from exc


def duplicate_groups(
    tables: Path, manifest: Manifest, met: _Ints, *, at_most: int, seed: int
) -> tuple[Mapping[int, int], tuple[tuple[PictureAt, ...], ...]]:
    """How many groups have how many pictures, and some groups: those on several sides of the split first.

    Args:
        tables: the folder with the tables of the shards.
        manifest: of the dataset.
        met: groups with a picture that is not the first one, ascending. A group may have lost all others.
        at_most: groups to pick.
        seed: other groups for another number.
    """
    if not len(met):
        return {}, ()
    sizes = np.zeros(len(met), np.int64)
    picked = np.zeros(len(met), np.bool_)
    is_astray = _astray(tables, manifest, met) if manifest.astray else picked
    picked[np.lexsort((random_order(met, seed), ~is_astray))[:at_most]] = True
    members: dict[int, list[PictureAt]] = {}
    for _, shard, rows in batches(tables, manifest, ("id", "offset", "size", "group_id")):
        groups = rows["group_id"].to_numpy()
        at, is_met = _places(met, groups)
        sizes += np.bincount(at[is_met], minlength=len(met))
        wanted = np.flatnonzero(is_met & picked[at])
        for row, place in zip(wanted, places(shard, rows, wanted), strict=True):
            members.setdefault(int(groups[row]), []).append(place)
    by_size = Counter(sizes[sizes > 1].tolist())
    shown = (tuple(sorted(group)) for _, group in sorted(members.items()) if len(group) > 1)
    return dict(sorted(by_size.items())), tuple(shown)


def _astray(tables: Path, manifest: Manifest, met: _Ints) -> npt.NDArray[np.bool_]:
    """Which groups have pictures on several sides."""
    sides = np.zeros(len(met), np.int64)
    for split, _, rows in batches(tables, manifest, ("group_id",)):
        at, is_met = _places(met, rows["group_id"].to_numpy())
        np.bitwise_or.at(sides, at[is_met], 1 << SPLITS.index(split))
    return np.bitwise_count(sides) > 1


def _places(met: _Ints, groups: _Ints) -> tuple[_Ints, npt.NDArray[np.bool_]]:
    """Where in `met`, ascending, the groups of some pictures are, and whether they are there."""
    at = np.minimum(np.searchsorted(met, groups), len(met) - 1)
    return at, met[at] == groups
