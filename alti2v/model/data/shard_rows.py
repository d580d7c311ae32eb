"""Parquet files of a run with one row of lists for each sample of a shard, in the shard's order.

Their schema names the shard by its SHA-256, so that a file of another shard or dataset is not taken for it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alti2v.dataset.manifest import Shard
from alti2v.errors import DamagedError, first_line

_SHARD_KEY = b"alti2v.shard"


def with_shard(schema: pa.Schema, shard: Shard) -> pa.Schema:
    """Return the schema with the name of its shard."""
    return schema.with_metadata({_SHARD_KEY: shard.sha256.encode()})


def is_whole(file: Path, shard: Shard) -> bool:
    """Return whether a file exists, belongs to the shard and has all of its rows."""
    try:
        metadata = pq.read_metadata(file)
    except (OSError, pa.ArrowException):
        return False
    return _shard_of(metadata.schema.to_arrow_schema()) == shard.sha256 and metadata.num_rows == shard.samples


def read_columns(file: Path, shard: Shard, is_known: Callable[[pa.Schema], bool], *, advice: str) -> pa.Schema:
    """Read the columns of the file of a shard.

    Args:
        file: The file.
        shard: Its shard.
        is_known: Whether this program writes files with these columns.
        advice: What to do if the file is damaged, as the end of a sentence.

    Raises:
        DamagedError: It is missing, damaged or of another shard.
    """
    if not file.is_file():
        raise DamagedError(f"{file} is missing: {advice}")
    try:
        metadata = pq.read_metadata(file)
    except (OSError, pa.ArrowException) as exc:
        raise DamagedError(f"{file} is damaged ({first_line(exc):.150}): {advice}") from exc
    schema = metadata.schema.to_arrow_schema()
    if _shard_of(schema) != shard.sha256 or metadata.num_rows != shard.samples:
        raise DamagedError(f"{file} is not of shard {shard.name} of this dataset: {advice}")
    if not is_known(schema):
        raise DamagedError(f"{file} has other columns than this program writes: {advice}")
    return schema


def read_rows(file: Path, shard: Shard, is_known: Callable[[pa.Schema], bool], *, advice: str) -> pa.Table:
    """Read the file of a shard whole; the arguments are those of `read_columns`.

    Raises:
        DamagedError: It is missing, damaged or of another shard, or a value is missing.
    """
    read_columns(file, shard, is_known, advice=advice)
    try:
        table = pq.read_table(file, page_checksum_verification=True).combine_chunks()
    except (OSError, pa.ArrowException) as exc:
        raise DamagedError(f"{file} is damaged ({first_line(exc):.150}): {advice}") from exc
    if any(column.null_count or pc.list_flatten(column).null_count for column in table.columns):
        raise DamagedError(f"{file} lacks a value: {advice}")
    return table


def padded(lists: pa.ListArray, *, with_: float, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Write lists as the rows of a matrix, (N, L) for a longest list of L values; shorter ones are padded."""
    lengths = np.diff(lists.offsets.to_numpy())
    rows = np.full((len(lists), lengths.max(initial=0)), with_, dtype)
    rows[np.arange(rows.shape[1]) < lengths[:, np.newaxis]] = lists.flatten().to_numpy()
    return rows


def _shard_of(schema: pa.Schema) -> str:
    return str((schema.metadata or {}).get(_SHARD_KEY, b"").decode(errors="replace"))
