"""Tables that do not have to fit into memory: rows in a temporary Arrow file, read in blocks, sorted by id.

The file has no name, so nothing of it is left when the process ends, however it ends. It is read with plain
reads, not mapped into memory, so that the memory of a process is bounded however it is counted.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from alti2v.arrays import Int32Array, Int64Array
from alti2v.storage.publish import storage_errors

_BATCH_ROWS = 1 << 13  # what is read at once; about 3 MB of posts
_RUN_ROWS = 1 << 16  # what is sorted in memory; about 30 MB of posts
# Parts of a run, which is read in many places if its ids are spread over the whole table.
_RUN_BATCH_ROWS = 1 << 10
_PART_ROWS = 1 << 9  # rows of each part that wait while a table is divided


class NamelessFile:
    """An open file without a name; it is closed, and its space is free, when nothing refers to it any more.

    Attributes:
        path: Path under which this process can open it.
    """

    def __init__(self, descriptor: int) -> None:
        """Take over an open file."""
        self.path = f"/proc/self/fd/{descriptor}"
        weakref.finalize(self, os.close, descriptor)


@dataclass(frozen=True, slots=True)
class DiskTable:
    """Rows of a table in a temporary file.

    Attributes:
        schema: Columns.
        file: The file, in Arrow's IPC file format.
        batches: (b,) number of each record batch in the file, in the order of the rows.
        starts: (b + 1,) first row of each batch in this order, then the number of rows.
    """

    schema: pa.Schema
    file: NamelessFile
    batches: Int64Array
    starts: Int64Array

    def __len__(self) -> int:
        return int(self.starts[-1])

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield all rows in order, some at a time, each column in one piece; an empty table as one block."""
        names = self.schema.names if columns is None else list(columns)
        with self._reader(names) as reader:
            if not len(self.batches):
                yield _selected(self.schema, names).empty_table()
            for batch in self.batches.tolist():
                yield pa.Table.from_batches([reader.get_batch(batch)]).select(names)

    def take(self, rows: Int64Array, columns: Sequence[str] | None = None) -> pa.Table:
        """Return some rows, in the given order, each column in one piece."""
        names = self.schema.names if columns is None else list(columns)
        order = np.argsort(rows, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        wanted = _selected(self.schema, names)
        found = pa.concat_tables([wanted.empty_table(), *self.picked(rows[order], names)])
        columns = []
        for _ in names:  # one column at a time is in memory three times
            column = found.column(0).combine_chunks()
            found = found.remove_column(0)
            columns.append(column if _is_ascending(order) else column.take(pa.array(place)))
        return pa.table(columns, schema=wanted)

    def picked(self, rows: Int64Array, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield some rows, which are given in ascending order, some at a time."""
        names = self.schema.names if columns is None else list(columns)
        bounds = np.searchsorted(rows, self.starts)
        with self._reader(names) as reader:
            for at in np.flatnonzero(np.diff(bounds)).tolist():
                batch = pa.Table.from_batches([reader.get_batch(int(self.batches[at]))]).select(names)
                yield batch.take(pa.array(rows[bounds[at] : bounds[at + 1]] - self.starts[at]))

    def numbers(self, column: str) -> Int64Array:
        """Return a column of numbers, (n,) int64, with 0 for null."""
        values = np.empty(len(self), np.int64)
        first = 0
        for block in self.blocks([column]):
            found = block.column(0).cast(pa.int64()).fill_null(0).to_numpy()
            values[first : first + len(found)] = found
            first += len(found)
        return values

    @contextlib.contextmanager
    def _reader(self, names: Sequence[str]) -> Iterator[pa.RecordBatchFileReader]:
        fields = sorted(self.schema.get_field_index(name) for name in names)
        options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
        with pa.OSFile(self.file.path) as source, pa.ipc.open_file(source, options=options) as reader:
            yield reader


def disk_table(parts: Iterable[pa.Table], schema: pa.Schema, folder: Path) -> DiskTable:
    """Write tables one after the other into a temporary file on the disk of a folder, see `nameless_file`.

    Raises:
        StorageError: The disk is full.
    """
    written = _written(parts, schema, folder, _BATCH_ROWS)
    return DiskTable(schema, written.file, np.arange(len(written.lengths)), _starts(written.lengths))


def sorted_disk_table(parts: Iterable[pa.Table], schema: pa.Schema, folder: Path) -> DiskTable:
    """Write tables into a temporary file, all their rows in ascending order of the column `id`.

    Raises:
        StorageError: The disk is full.
    """
    runs = _written(_runs(parts, schema), schema, folder, _RUN_BATCH_ROWS)
    order = np.argsort(runs.firsts, kind="stable")
    if (runs.lasts[order][:-1] < runs.firsts[order][1:]).all():
        return DiskTable(schema, runs.file, order, _starts(runs.lengths[order]))
    return disk_table(_merged(runs, schema), schema, folder)


def divided(
    table: DiskTable, into: Int32Array, folder: Path, columns: Sequence[str] | None = None
) -> list[DiskTable]:
    """Divide the rows of a table among tables in one temporary file, each in the order of the rows.

    Args:
        table: Table to divide; it is read once.
        into: (n,) number of the table that each row goes to, from 0; -1 leaves it out.
        folder: Folder on whose disk the file is.
        columns: Columns to keep; None for all.

    Raises:
        StorageError: The disk is full.
    """
    names = table.schema.names if columns is None else list(columns)
    owners: list[int] = []
    parts = _parts_of_owners(table.blocks(names), into, owners)
    written = _written(parts, _selected(table.schema, names), folder, 2 * _BATCH_ROWS)
    owner = np.array(owners, np.int64)
    of_each = (np.flatnonzero(owner == number) for number in range(int(into.max(initial=-1)) + 1))
    return [
        DiskTable(_selected(table.schema, names), written.file, batches, _starts(written.lengths[batches]))
        for batches in of_each
    ]


def _parts_of_owners(blocks: Iterable[pa.Table], into: Int32Array, owners: list[int]) -> Iterator[pa.Table]:
    """Yield rows of one number at a time, less than two blocks of them, and append the number to `owners`."""
    waiting: dict[int, list[pa.Table]] = {}
    first = 0
    for block in filter(len, blocks):
        numbers = into[first : first + block.num_rows]
        first += block.num_rows
        order = np.argsort(numbers, kind="stable")
        together = block.take(pa.array(order))
        present, starts = np.unique(numbers[order], return_index=True)
        ends = [*starts[1:].tolist(), block.num_rows]
        for number, start, end in zip(present.tolist(), starts.tolist(), ends, strict=True):
            if number < 0:
                continue
            waiting.setdefault(number, []).append(together.slice(start, end - start))
            if sum(map(len, waiting[number])) >= _PART_ROWS:
                owners.append(number)
                yield pa.concat_tables(waiting.pop(number))
    for number, parts in waiting.items():
        owners.append(number)
        yield pa.concat_tables(parts)


def in_order_of_id(parts: Iterable[pa.Table], schema: pa.Schema, folder: Path) -> Iterator[pa.Table]:
    """Yield the rows of tables in ascending order of the column `id`, some at a time; equal ids together.

    Raises:
        StorageError: The disk is full.
    """
    yield from _merged(_written(_runs(parts, schema), schema, folder, _RUN_BATCH_ROWS), schema)


def nameless_file(folder: Path) -> NamelessFile:
    """Open a temporary file without a name on the disk of a folder, whether or not the folder exists yet.

    If this program may not write there, the file is where the system keeps temporary files.

    Raises:
        StorageError: It cannot be created.
    """
    near = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    with contextlib.suppress(OSError):
        return _nameless_file(near)
    with storage_errors(Path(tempfile.gettempdir())):
        return _nameless_file(None)


def _nameless_file(folder: Path | None) -> NamelessFile:
    with tempfile.TemporaryFile(dir=folder) as file:
        return NamelessFile(os.dup(file.fileno()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """Record batches in a file.

    Attributes:
        lengths, firsts, lasts: (b,) number of rows, first and last id of each batch.
    """

    file: NamelessFile
    lengths: Int64Array
    firsts: Int64Array
    lasts: Int64Array


def _written(parts: Iterable[pa.Table], schema: pa.Schema, folder: Path, batch_rows: int) -> _Written:
    facts: list[tuple[int, int, int]] = []
    file = nameless_file(folder)
    with storage_errors(folder):
        sink = pa.OSFile(file.path, "wb")
    with contextlib.closing(sink):
        writer = pa.ipc.new_file(sink, schema)
        for part in parts:
            ordered = part.select(schema.names).cast(schema).combine_chunks()
            for batch in ordered.to_batches(max_chunksize=batch_rows):
                ids = batch.column("id").to_numpy() if "id" in schema.names else np.zeros(1, np.int64)
                facts.append((batch.num_rows, int(ids[0]), int(ids[-1])))
                with storage_errors(folder):
                    writer.write_batch(batch)
        with storage_errors(folder):
            writer.close()
    lengths, firsts, lasts = np.array(facts, np.int64).reshape(-1, 3).T
    return _Written(file=file, lengths=lengths, firsts=firsts, lasts=lasts)


def _runs(parts: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Join tables until they have enough rows, and sort these."""
    waiting: list[pa.Table] = []
    for part in parts:
        waiting.append(part.select(schema.names).cast(schema))
        if sum(table.num_rows for table in waiting) >= _RUN_ROWS:
            yield _sorted(pa.concat_tables(waiting))
            waiting.clear()
    if waiting:
        yield _sorted(pa.concat_tables(waiting))


def _sorted(table: pa.Table) -> pa.Table:
    joined = table.combine_chunks()
    order = np.argsort(joined.column("id").to_numpy(), kind="stable")
    return joined if _is_ascending(order) else joined.take(pa.array(order))


def _merged(runs: _Written, schema: pa.Schema) -> Iterator[pa.Table]:
    """Merge sorted runs range by range of ids: a range is read from all batches that have a part of it."""
    table = DiskTable(schema, runs.file, np.arange(len(runs.lengths)), _starts(runs.lengths))
    if not len(table):
        yield schema.empty_table()
        return
    edges = np.unique(np.sort(table.numbers("id"))[::_BATCH_ROWS])
    with table._reader(schema.names) as reader:
        for low, high in zip(edges.tolist(), [*edges[1:].tolist(), None], strict=True):
            is_here = runs.lasts >= low
            if high is not None:
                is_here &= runs.firsts < high
            parts = (reader.get_batch(batch) for batch in np.flatnonzero(is_here).tolist())
            yield _sorted(pa.Table.from_batches([_between(part, low, high) for part in parts]))


def _between(batch: pa.RecordBatch, low: int, high: int | None) -> pa.RecordBatch:
    ids = batch.column("id").to_numpy()
    first = int(np.searchsorted(ids, low))
    last = len(ids) if high is None else int(np.searchsorted(ids, high))
    return batch.slice(first, last - first)


def _selected(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    return pa.schema([schema.field(name) for name in names], schema.metadata)


def _starts(lengths: Int64Array) -> Int64Array:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def _is_ascending(order: Int64Array) -> bool:
    return bool((order[1:] > order[:-1]).all())
