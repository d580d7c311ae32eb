"""Rows of an untrusted table: Parquet, CSV or JSON lines, a few in memory at a time.

A Parquet file of a few kB can unpack to terabytes: texts are read as dictionaries, so that repeated ones are in
memory once, and row groups that claim to be larger than any table of posts are refused.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from alti2v.crawl.importing.sources.files import SIDECAR_BYTES, parse_object, printable, unreadable
from alti2v.crawl.importing.sources.item import Fault, ItemFault
from alti2v.crawl.importing.sources.tar_members import open_regular

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

TableRow = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ColumnBatch:
    """Some rows of a table, as lists of values by column; all have the same length."""

    columns: Mapping[str, Sequence[Any]]

    def rows(self) -> Iterator[TableRow]:
        """Return the rows."""
        return (dict(zip(self.columns, row, strict=True)) for row in zip(*self.columns.values(), strict=True))


_BATCH_ROWS = 2_000
_LOOKED_AT = 100  # rows, for one that is sound
_MOST_GROUP_BYTES = 2 << 30  # unpacked; those of the index of 6.8 million posts have 0.3 GB
_MOST_VALUES = 10_000  # of a row in a column of lists: the most tags that a post may have
_MOST_ARRAY_BYTES = 256 << 20  # of a JSON file that is one array, which is read as a whole


def table_rows(path: Path, *, columns: Sequence[str] | None = None) -> Iterator[TableRow | Fault]:
    """Yield the rows of a table, or a fault for a row that cannot be read; a fault may also end the table.

    Args:
        path: Table, with the suffix of its kind.
        columns: Columns to read; others may be left out. None for all.
    """
    for batch in table_batches(path, columns=columns):
        yield from batch.rows() if isinstance(batch, ColumnBatch) else (batch,)


def table_batches(
    path: Path, *, columns: Sequence[str] | None = None
) -> Iterator[ColumnBatch | TableRow | Fault]:
    """Yield rows like `table_rows`, or many rows at a time as columns if the table is stored in columns."""
    kind = path.suffix.lower()
    read = _parquet if kind == ".parquet" else _csv if kind == ".csv" else _json
    try:
        yield from read(path, columns)
    except OSError as exc:
        yield unreadable(path, exc)
    except _EndlessLineError as exc:
        yield Fault(ItemFault.BAD_METADATA, f"{printable(path)}: {exc}: the rest is not read")


def table_columns(path: Path) -> frozenset[str]:
    """Return the names of a table's columns, or the keys of its first sound row; () if it has none."""
    first = itertools.islice(table_rows(path), _LOOKED_AT)
    return next((frozenset(row) for row in first if not isinstance(row, Fault)), frozenset())


def _parquet(path: Path, columns: Sequence[str] | None) -> Iterator[ColumnBatch | Fault]:
    import pyarrow as pa

    name = printable(path)
    with open_regular(path) as file:
        try:
            with pa.OSFile(f"/proc/self/fd/{file.fileno()}") as ours:
                yield from _row_groups(name, ours, columns)
        except (pa.ArrowException, ValueError) as exc:
            yield Fault(ItemFault.BAD_METADATA, f"{name} is damaged or not Parquet ({exc!s:.100})")


def _row_groups(name: str, file: pa.NativeFile, columns: Sequence[str] | None) -> Iterator[ColumnBatch | Fault]:
    import pyarrow.parquet as pq

    footer = pq.read_metadata(file)
    if (fault := _repeated(name, footer.schema.to_arrow_schema().names)) is not None:
        yield fault
        return
    all_columns = map(footer.schema.column, range(footer.num_columns))
    texts = [column.path for column in all_columns if column.physical_type == "BYTE_ARRAY"]
    parquet = pq.ParquetFile(file, metadata=footer, read_dictionary=texts)
    names = [column for column in parquet.schema_arrow.names if columns is None or column in columns]
    for number in range(footer.num_row_groups):
        if not _is_bounded(footer.row_group(number)):
            yield Fault(ItemFault.BAD_METADATA, f"{name}: row group {number} is too large")
            continue
        for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[number], columns=names):
            yield ColumnBatch(dict(zip(names, map(_values, batch.columns), strict=True)))


def _is_bounded(group: pq.RowGroupMetaData) -> bool:
    columns = [group.column(number) for number in range(group.num_columns)]
    return sum(column.total_uncompressed_size for column in columns) <= _MOST_GROUP_BYTES and all(
        column.num_values <= _MOST_VALUES * max(1, group.num_rows) for column in columns
    )


def _values(column: pa.Array) -> list[Any]:
    """Return the values of a column; equal texts are one object."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        texts = _values(column.dictionary)
        return [None if index is None else texts[index] for index in column.indices.to_pylist()]
    if pa.types.is_list(column.type) and pa.types.is_dictionary(column.type.value_type):
        flat, offsets = _values(column.values), column.offsets.to_pylist()
        present = column.is_valid().to_pylist()
        spans = zip(offsets[:-1], offsets[1:], present, strict=True)
        return [flat[begin:end] if is_there else None for begin, end, is_there in spans]
    if pa.types.is_floating(column.type):  # pandas makes floats of whole numbers if one is missing
        numbers = column.to_pylist()
        return [int(one) if one is not None and one.is_integer() else one for one in numbers]
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except (OverflowError, ValueError):  # a time outside the years 1 to 9999, or a text that is not UTF-8
        return list(map(_value_or_none, column))


def _value_or_none(value: pa.Scalar) -> object:
    try:
        python_value: object = value.as_py()
    except (OverflowError, ValueError):
        return None
    return python_value


def _csv(path: Path, columns: Sequence[str] | None) -> Iterator[TableRow | Fault]:
    """Read UTF-8, or UTF-16 with a byte order mark, with commas, semicolons or tabs between the values."""
    del columns
    with open_regular(path) as file:
        encoding = "utf-16" if file.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        text = io.TextIOWrapper(file, encoding=encoding, errors="surrogateescape", newline="")
        try:
            yield from _csv_rows(printable(path), text)
        except UnicodeError:
            yield Fault(ItemFault.BAD_METADATA, f"{printable(path)} is damaged UTF-16 text")
        except csv.Error as exc:
            yield Fault(ItemFault.BAD_METADATA, f"{printable(path)}: {exc}: the rest is not read")


def _csv_rows(name: str, text: TextIO) -> Iterator[TableRow | Fault]:
    """Yield the rows of a CSV file; bytes that are not UTF-8 are lone surrogates in its text."""
    lines = _Lines(text)
    header = next(lines, None)
    if header is None:
        return
    delimiter = max(",;\t", key=header.count)  # the first of them if no other is more frequent
    reader = csv.reader(itertools.chain([header], lines), delimiter=delimiter)
    names: list[str] | None = None
    while True:
        begin = reader.line_num + 1
        where = f"{name}, line {begin}"
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            yield Fault(ItemFault.BAD_METADATA, f"{where}: {exc}")
            continue
        if lines.is_at_end:  # the reader asks for another line only inside quotes
            yield Fault(ItemFault.BAD_METADATA, f"{where}: a quote that begins in this row is not closed")
        elif not values:
            continue
        elif names is None:
            names = [value.strip().lower() for value in values]
            if (fault := _repeated(name, names)) is not None:
                yield fault
                return
        else:
            yield _csv_row(where, names, values)


def _csv_row(where: str, names: Sequence[str], values: Sequence[str]) -> TableRow | Fault:
    if len(values) > len(names):
        return Fault(ItemFault.BAD_METADATA, f"{where}: too many columns")
    if not _is_unicode(values):
        return Fault(ItemFault.BAD_METADATA, f"{where} is not UTF-8 text: save the table as UTF-8")
    return dict(zip(names, values, strict=False))


class _EndlessLineError(Exception):
    """A line has more than 256 MiB, as in a file that is no text."""


@dataclass(slots=True)
class _Lines:
    """Lines of a text, and whether a line after the last one was asked for."""

    text: TextIO
    is_at_end: bool = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.text.readline(SIDECAR_BYTES)
        if not line:
            self.is_at_end = True
            raise StopIteration
        if len(line) == SIDECAR_BYTES and not _is_ended(line):
            _skip_line(self.text)
            raise csv.Error("a line of more than 1 MiB")
        return line


def _is_ended(line: str | bytes) -> bool:
    return line.endswith(("\n", "\r")) if isinstance(line, str) else line.endswith(b"\n")


def _is_unicode(values: Sequence[str]) -> bool:
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        return False
    return True


def _repeated(name: str, columns: Sequence[str]) -> Fault | None:
    """Return the fault of a table with two columns of one name; columns without a name may be several."""
    column, count = next(iter(Counter(filter(None, columns)).most_common(1)), ("", 0))
    if count < 2:
        return None
    return Fault(ItemFault.BAD_METADATA, f"{name} has two columns named {column!a:.100}: rename or remove one")


def _json(path: Path, columns: Sequence[str] | None) -> Iterator[TableRow | Fault]:
    """Read an object in each line, or one array of objects."""
    del columns
    with open_regular(path) as file:
        if file.peek(1)[:1] == b"[":
            yield from _array(path, file.read(_MOST_ARRAY_BYTES + 1))
            return
        number = 0
        while line := file.readline(SIDECAR_BYTES):
            number += 1
            where = f"{printable(path)}, line {number}"
            if len(line) == SIDECAR_BYTES and not _is_ended(line):
                _skip_line(file)
                yield Fault(ItemFault.BAD_METADATA, f"{where} has more than 1 MiB")
            elif line.strip():
                yield parse_object(line, where)


def _skip_line(file: BinaryIO | TextIO) -> None:
    """Skip the rest of a line.

    Raises:
        _EndlessLineError: It goes on.
    """
    for _ in range(_MOST_ARRAY_BYTES // SIDECAR_BYTES):
        rest = file.readline(SIDECAR_BYTES)
        if not rest or _is_ended(rest):
            return
    raise _EndlessLineError("a line of more than 256 MiB")


def _array(path: Path, content: bytes) -> Iterator[TableRow | Fault]:
    try:
        rows = json.loads(content) if len(content) <= _MOST_ARRAY_BYTES else None
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list):
        yield Fault(ItemFault.BAD_METADATA, f"{printable(path)} is not a JSON array of at most 256 MiB")
        return
    for number, row in enumerate(rows):
        is_row = isinstance(row, dict)
        yield (
            row
            if is_row
            else Fault(ItemFault.BAD_METADATA, f"{printable(path)}: entry {number} is not an object")
        )
