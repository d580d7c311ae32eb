"""Row groups of Parquet files from any source, read with a bound on their unpacked size.

A run of equal numbers, or one long text that a dictionary repeats, lets a file of kilobytes unpack to
gigabytes. So the footer is asked first, and texts are read as their dictionaries (Parquet format, "Dictionary
Encoding"), counted, and only then written out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# Tables of boards unpack to at most 60 times their size; small ones may be all equal.
MOST_TIMES = 300
_ALLOWANCE_BYTES = 1 << 28
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 4}


def row_groups(
    source: pa.NativeFile, columns: Sequence[str] | None = None, *, groups: Sequence[int] | None = None
) -> Iterator[pa.Table]:
    """Yield row groups of a Parquet file, all columns or some.

    Args:
        source: The open file.
        columns: Names of columns; None for all.
        groups: Numbers of row groups, from 0; None for all.

    Raises:
        ValueError: They are larger than `MOST_TIMES` the file, and than 256 MB.
        pyarrow.ArrowException: It is not a Parquet file.
    """
    left = _ALLOWANCE_BYTES + MOST_TIMES * source.size()
    plain = pq.ParquetFile(source)
    wanted = range(plain.num_row_groups) if groups is None else groups
    leaves = [plain.schema.column(number) for number in range(len(plain.schema))]
    chosen = [
        number for number, leaf in enumerate(leaves) if columns is None or leaf.path.split(".")[0] in columns
    ]
    for number in chosen:
        leaf = leaves[number]
        width = _WIDTHS.get(leaf.physical_type, max(leaf.length, 1))
        for group in wanted:
            part = plain.metadata.row_group(group)
            chunk = part.column(number)
            size = max(chunk.num_values, part.num_rows) * width, chunk.total_uncompressed_size
            left = _less(left, max(size))
    texts = [leaves[number].path for number in chosen if leaves[number].physical_type == "BYTE_ARRAY"]
    packed = pq.ParquetFile(source, metadata=plain.metadata, read_dictionary=texts)
    for group in wanted:
        rows = packed.read_row_group(group, None if columns is None else list(columns))
        arrays = []
        for column in rows.columns:
            chunks = []
            for chunk in column.chunks:
                left = _less(left, _text_bytes(chunk))
                chunks.append(_written_out(chunk))
            arrays.append(pa.chunked_array(chunks, _plain_type(column.type)))
        schema = pa.schema(
            [field.with_type(array.type) for field, array in zip(rows.schema, arrays, strict=True)],
            rows.schema.metadata,
        )
        yield pa.Table.from_arrays(arrays, schema=schema)


def _less(left: int, size: int) -> int:
    if not 0 <= size <= left:
        raise ValueError("it unpacks to far more than a table of its size")
    return left - size


def _text_bytes(chunk: pa.Array) -> int:
    """Bytes of the texts of an array, written out."""
    if pa.types.is_list(chunk.type):
        return _text_bytes(chunk.values)
    if not pa.types.is_dictionary(chunk.type):
        return 0
    lengths = pc.binary_length(chunk.dictionary)
    return int(pc.sum(pc.take(lengths.cast(pa.int64()), chunk.indices)).as_py() or 0)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_plain_type(kind.value_type)))
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _written_out(chunk: pa.Array) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Replace dictionaries by their texts."""
    kind = _plain_type(chunk.type)
    if kind == chunk.type:
        return chunk
    if not pa.types.is_list(kind):
        return chunk.cast(kind)
    mask = chunk.is_null() if chunk.null_count else None
    return pa.ListArray.from_arrays(chunk.offsets, _written_out(chunk.values), type=kind, mask=mask)
