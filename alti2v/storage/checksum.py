"""Checksums of files and of tables."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from alti2v.storage.columns import Table
from alti2v.storage.table import schema

if TYPE_CHECKING:
    import pyarrow as pa


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def content_sha256(table: Table, rows: pa.Table) -> str:
    """SHA-256 over the values of a table, independent of how Arrow and Parquet pack them.

    For each column: its name, a validity bit per value, and the values as 64-bit numbers, lowest byte first;
    for strings and lists first the lengths, with null as empty, then their content.

    Args:
        table: Contract of the columns.
        rows: All of these columns, in any order.
    """
    digest = hashlib.sha256()
    wanted = schema(table)
    for field in wanted:
        digest.update(field.name.encode())
        _digest(rows.column(field.name).cast(field.type).combine_chunks(), digest)
    return digest.hexdigest()


def _digest(values: pa.Array, digest: hashlib._Hash) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    def numbers(column: pa.Array) -> bytes:
        found: bytes = pc.fill_null(column.cast(pa.int64()), 0).to_numpy().astype("<i8").tobytes()
        return found

    digest.update(np.packbits(pc.is_valid(values).to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_list(values.type):
        digest.update(numbers(pc.list_value_length(values)))
        _digest(values.flatten(), digest)
    elif pa.types.is_string(values.type) or pa.types.is_binary(values.type):
        digest.update(numbers(pc.binary_length(values)))
        filled = values.fill_null(b"" if pa.types.is_binary(values.type) else "")
        _, offsets, content = filled.buffers()
        bounds = np.frombuffer(offsets, np.int32)[filled.offset : filled.offset + len(filled) + 1]
        if content and len(filled):
            digest.update(memoryview(content)[bounds[0] : bounds[-1]])
    else:
        digest.update(numbers(values))
