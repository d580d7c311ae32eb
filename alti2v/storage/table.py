"""Parquet files with the columns in `columns`; tables of another kind or format version are refused.

pyarrow takes 0.3 s to load, so it is imported by the functions that need it; see `load`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from alti2v.errors import DamagedError, VersionError
from alti2v.storage.columns import Table
from alti2v.storage.layout import FORMAT_VERSION
from alti2v.storage.publish import publish

if TYPE_CHECKING:
    import pyarrow as pa

_PREFIX = b"alti2v."
_TABLE_KEY = b"alti2v.table"
_VERSION_KEY = b"alti2v.format_version"
# The Hugging Face viewer needs row groups below 300 MB uncompressed; 10,000 posts are about 20 MB.
ROW_GROUP_ROWS = 10_000
_ROWS_AS_OBJECTS = 1_000  # as Python objects, a row takes 8 times its memory in Arrow


def load() -> None:
    """Import pyarrow in advance, while nothing waits for it."""
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401


@functools.cache
def _types() -> Mapping[str, pa.DataType]:
    import pyarrow as pa

    return {
        "bool": pa.bool_(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "string": pa.string(),
        "binary": pa.binary(),
        "timestamp": pa.timestamp("s", tz="UTC"),
        "list<string>": pa.list_(pa.string()),
        "list<int32>": pa.list_(pa.int32()),
    }


def schema(table: Table) -> pa.Schema:
    """Return the Arrow schema of a table, with its name and the format version in the metadata."""
    import pyarrow as pa

    types = _types()
    return pa.schema(
        [pa.field(column.name, types[column.type], column.nullable) for column in table.columns],
        metadata={_TABLE_KEY: table.name.encode(), _VERSION_KEY: str(FORMAT_VERSION).encode()},
    )


def write_table(path: Path, table: Table, rows: Iterable[Mapping[str, Any]]) -> int:
    """Publish a Parquet file from rows, with at most `ROW_GROUP_ROWS` of them in memory.

    Returns:
        The number of rows.

    Raises:
        StorageError: The file system refuses; an existing file is unchanged.
    """
    import pyarrow as pa

    wanted, parts = schema(table), _groups(rows, min(_ROWS_AS_OBJECTS, ROW_GROUP_ROWS))
    return write_batches(path, table, (pa.RecordBatch.from_pylist(list(part), wanted) for part in parts))


def write_batches(path: Path, table: Table, batches: Iterable[pa.RecordBatch]) -> int:
    """Publish a Parquet file from record batches, combined into row groups of about `ROW_GROUP_ROWS` rows.

    Returns:
        The number of rows.

    Raises:
        StorageError: The file system refuses; an existing file is unchanged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted, written = schema(table), 0

    def write(temporary: Path) -> None:
        nonlocal written
        with pq.ParquetWriter(temporary, wanted, compression="zstd") as writer:
            for group in _packed(batches, ROW_GROUP_ROWS):
                writer.write_table(pa.Table.from_batches(group, wanted).combine_chunks())
                written += sum(map(len, group))

    publish(path, write)
    return written


def write_arrow_table(path: Path, table: Table, content: pa.Table) -> None:
    """Publish a Parquet file from an Arrow table, see `write_parts`."""
    write_parts(path, table, [content])


def write_parts(path: Path, table: Table, parts: Iterable[pa.Table]) -> None:
    """Publish a Parquet file from Arrow tables with the columns of `table`, in any order.

    However the rows are divided, the file is the same. Further metadata of the first part whose names begin
    with "alti2v." are written, too.

    Args:
        path: The file.
        table: Contract of the columns.
        parts: At least one table; an iterator keeps them from being in memory together.

    Raises:
        StorageError: The file system refuses; an existing file is unchanged.
    """
    import pyarrow.parquet as pq

    left = iter(parts)
    first = next(left)
    wanted = _with_further_facts(schema(table), first.schema)

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, wanted, compression="zstd") as writer:
            ordered = (part.select(wanted.names).cast(wanted) for part in itertools.chain([first], left))
            for group in _row_groups(ordered, wanted):
                writer.write_table(group, row_group_size=ROW_GROUP_ROWS)

    publish(path, write)


def _row_groups(parts: Iterable[pa.Table], wanted: pa.Schema) -> Iterator[pa.Table]:
    """Divide the rows of tables into row groups of `ROW_GROUP_ROWS`, each column in one piece."""
    import pyarrow as pa

    waiting = wanted.empty_table()
    is_first = True
    for part in parts:
        waiting = pa.concat_tables([waiting, part])
        whole = waiting.num_rows // ROW_GROUP_ROWS * ROW_GROUP_ROWS
        for first in range(0, whole, ROW_GROUP_ROWS):
            is_first = False
            yield waiting.slice(first, ROW_GROUP_ROWS).combine_chunks()
        waiting = waiting.slice(whole)
    if waiting.num_rows or is_first:
        yield waiting.combine_chunks()


def read_table(path: Path, table: Table, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, all columns or some, with the types of `schema`.

    Raises:
        FileNotFoundError: There is no such file.
        VersionError: A program of another format version wrote it.
        DamagedError: It is not a Parquet file, or not this table.
    """
    with path.open("rb") as file:
        return read_open_table(file, table, columns)


def read_parts(path: Path, table: Table, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield a Parquet file one row group at a time, see `read_table`; at least one part, maybe without rows.

    Raises:
        FileNotFoundError: There is no such file.
        VersionError: A program of another format version wrote it.
        DamagedError: It is not a Parquet file, or not this table; perhaps after some parts.
    """
    with path.open("rb") as file:
        yield from _parts(file, table, columns)


def read_open_table(file: BinaryIO, table: Table, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file that is already open, and may have been replaced by a newer one since.

    Columns have the types of `schema`, whatever Parquet stores; the metadata are those of `schema` and further
    ones that were passed to `write_arrow_table`.

    Raises:
        VersionError: A program of another format version wrote it.
        DamagedError: It is not a Parquet file, or not this table.
    """
    import pyarrow as pa

    return pa.concat_tables(_parts(file, table, columns))


def _parts(file: BinaryIO, table: Table, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from alti2v.storage.parquet import row_groups

    path = Path(file.name)
    # Opened again by Arrow: if its threads hold a Python file when the program ends, it aborts or hangs
    # (github.com/apache/arrow/issues/34314 and 50482; one in forty short programs here).
    with _parquet_errors(path), pa.OSFile(f"/proc/self/fd/{file.fileno()}") as ours:
        there = pq.read_schema(ours)
        check_schema(path, table, there)
        names = _present(there.names, columns)
        part = there.empty_table().select(names)
        for part in row_groups(ours, names):
            yield _checked(path, table, part.replace_schema_metadata(there.metadata), columns)
        if not part.num_rows:
            yield _checked(path, table, part.replace_schema_metadata(there.metadata), columns)


@contextlib.contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise DamagedError(
            f"{path} cannot be read as Parquet ({exc!s:.100}): run `alti2v verify` on its folder"
        ) from exc


def _checked(path: Path, table: Table, found: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    """Check the bounds of some rows, add columns that the file lacks, and return the types of `schema`."""
    import pyarrow as pa

    check_bounds(path, table, found)
    wanted = _with_further_facts(schema(table), found.schema)
    for name in _lacking(table, found.column_names):
        found = found.append_column(wanted.field(name), pa.nulls(len(found), wanted.field(name).type))
    fields = [field for field in wanted if columns is None or field.name in columns]
    return found.select([field.name for field in fields]).cast(pa.schema(fields, wanted.metadata))


def row_count(path: Path) -> int:
    """Read the number of rows of a Parquet file, and nothing else.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: It is not a Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as file, _parquet_errors(path), pa.OSFile(f"/proc/self/fd/{file.fileno()}") as ours:
        return int(pq.read_metadata(ours).num_rows)


def check_bounds(path: Path, table: Table, rows: pa.Table) -> None:
    """Check that every number is one that a program writes there, and that no row lacks a value.

    Raises:
        DamagedError: A number is out of bounds, such as a negative offset.
    """
    import pyarrow.compute as pc

    for column in table.columns:
        if column.name not in rows.column_names:
            continue
        values = rows.column(column.name)
        if not column.nullable and values.null_count:
            raise DamagedError(f"{path}: a row has no {column.name}: run `alti2v verify` on its folder")
        if column.least is None and column.most is None:
            continue
        ends = pc.min_max(values).as_py()
        for end, is_outside in (
            (ends["min"], column.least is not None and (ends["min"] or 0) < column.least),
            (ends["max"], column.most is not None and (ends["max"] or 0) > column.most),
        ):
            if end is not None and is_outside:
                raise DamagedError(
                    f"{path}: {column.name} {end} is outside [{column.least}, {column.most}]: "
                    "run `alti2v verify` on its folder"
                )


def give_back_memory() -> None:
    """Return freed memory that Arrow keeps to the system: 0.5 GB after loading a whole board's columns."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def check_schema(path: Path, table: Table, found: pa.Schema) -> None:
    """Compare the schema of a file with the contract.

    Raises:
        VersionError: A program of another format version wrote it.
        DamagedError: It is not this table.
    """
    import pyarrow as pa

    metadata = found.metadata or {}
    version = metadata.get(_VERSION_KEY, b"").decode()
    if version not in ("", str(FORMAT_VERSION)):
        raise VersionError(
            f"{path} has format version {version}; this program reads {FORMAT_VERSION}: use a newer alti2v"
        )
    lacking = _lacking(table, found.names)
    wanted = pa.schema(field for field in _as_read(schema(table)) if field.name not in lacking)
    if metadata.get(_TABLE_KEY, b"").decode() != table.name or not found.equals(wanted):
        raise DamagedError(f"{path} is not a table of kind {table.name!r} with the columns of docs/FORMAT.md")


def _present(names: Sequence[str], columns: Sequence[str] | None) -> Sequence[str]:
    """Return the columns to read from a file with the given ones: at least one, for the number of rows."""
    return names if columns is None else [name for name in names if name in columns] or names[:1]


def _lacking(table: Table, names: Sequence[str]) -> set[str]:
    """Return the columns that a file lacks because it is from before they were added."""
    return {column.name for column in table.columns if column.may_lack} - set(names)


def _with_further_facts(wanted: pa.Schema, found: pa.Schema) -> pa.Schema:
    """Add the metadata of a file whose names begin with "alti2v.", such as the recipe of an index."""
    ours = {key: value for key, value in (found.metadata or {}).items() if key.startswith(_PREFIX)}
    return wanted.with_metadata({**ours, **wanted.metadata})


def _as_read(wanted: pa.Schema) -> pa.Schema:
    """Return a schema as a file stores it: Parquet has no seconds, and stores milliseconds instead.

    Parquet format, LogicalTypes.md, "TIMESTAMP": MILLIS, MICROS or NANOS.
    """
    import pyarrow as pa

    seconds, milliseconds = _types()["timestamp"], pa.timestamp("ms", tz="UTC")
    return pa.schema(
        [field.with_type(milliseconds) if field.type == seconds else field for field in wanted],
        metadata=wanted.metadata,
    )


def _packed(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[list[pa.RecordBatch]]:
    """Group batches until each group has at least `size` rows."""
    group: list[pa.RecordBatch] = []
    for batch in batches:
        group.append(batch)
        if sum(map(len, group)) >= size:
            yield group
            group = []
    if group:
        yield group


def _groups(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[Iterable[Mapping[str, Any]]]:
    """Cut rows lazily into groups of `size`."""
    left = iter(rows)
    for first in left:
        yield itertools.chain([first], itertools.islice(left, size - 1))
