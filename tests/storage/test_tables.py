"""Parquet tables have exactly the columns of the contract, and carry their name and version."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, cast

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alti2v.errors import DamagedError, VersionError
from alti2v.storage import table as tables
from alti2v.storage.checksum import content_sha256
from alti2v.storage.columns import TABLES, Column, Table
from alti2v.storage.table import read_open_table, read_parts, read_table, schema, write_arrow_table, write_table

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int32": INT32,
    "int64": INT64,
    "string": st.text(),
    "binary": st.binary(max_size=8),
    "timestamp": st.integers(0, 4_000_000_000).map(lambda s: datetime.fromtimestamp(s, UTC)),
    "list<string>": st.lists(st.text(), max_size=4),
    "list<int32>": st.lists(INT32, max_size=4),
}
SMALL = Table("small", (Column("id", "int64", "x"), Column("note", "string", "x", nullable=True)))


def rows_of(table: Table) -> st.SearchStrategy[list[dict[str, Any]]]:
    columns = {
        column.name: st.none() | _values_of(column) if column.nullable else _values_of(column)
        for column in table.columns
    }
    return st.lists(st.fixed_dictionaries(columns), max_size=3)


def _values_of(column: Column) -> st.SearchStrategy[Any]:
    if column.least is None:
        return VALUES[column.type]
    return st.integers(column.least, column.most or 2 ** (31 if column.type == "int32" else 63) - 1)


def test_an_open_file_is_read_without_python(tmp_path: Path) -> None:
    """Arrow's threads must not hold a Python file: that aborts one program in forty when it ends."""
    rows: list[dict[str, Any]] = [{"id": 1, "note": "a"}, {"id": 2, "note": None}]
    write_table(tmp_path / "a.parquet", SMALL, rows)
    with (tmp_path / "a.parquet").open("rb") as file:
        (tmp_path / "a.parquet").unlink()  # an open file stays readable after its name is gone
        unreadable = SimpleNamespace(name=file.name, fileno=file.fileno)

        assert read_open_table(cast("BinaryIO", unreadable), SMALL).to_pylist() == rows


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_rows_come_back_as_they_went(
    table: Table, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """All values that the contract allows, hostile strings and nulls included, are read back unchanged."""
    path = tmp_path_factory.mktemp("table") / "a.parquet"
    rows = data.draw(rows_of(table))

    written = write_table(path, table, rows)

    assert written == len(rows)
    assert read_table(path, table).to_pylist() == rows
    found = read_table(path, table)
    assert found.schema.equals(schema(table), check_metadata=True)
    in_pieces = pa.concat_tables([found.slice(at, 1) for at in range(len(rows))] or [found])
    assert content_sha256(table, in_pieces) == content_sha256(table, pa.Table.from_pylist(rows, schema(table)))


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(rows_of(TABLES[0]), min_size=2, max_size=2, unique_by=repr))
def test_other_values_have_another_hash(rows: list[list[dict[str, Any]]]) -> None:
    """Different tables have different hashes: adjacent values do not merge, and null is not empty."""
    one, other = (content_sha256(TABLES[0], pa.Table.from_pylist(some, schema(TABLES[0]))) for some in rows)

    assert one != other


def test_the_hash_of_a_table_is_as_documented() -> None:
    """Computed here by hand, so that another program can do the same."""
    rows = [{"id": 258, "note": None}, {"id": -1, "note": "ä"}]
    by_hand = b"".join(
        [
            *(b"id", b"\xc0", (258).to_bytes(8, "little"), b"\xff" * 8),
            *(b"note", b"\x40", (0).to_bytes(8, "little"), (2).to_bytes(8, "little"), "ä".encode()),
        ]
    )

    assert (
        content_sha256(SMALL, pa.Table.from_pylist(rows, schema(SMALL))) == hashlib.sha256(by_hand).hexdigest()
    )


def test_equal_rows_are_equal_bytes(tmp_path: Path) -> None:
    """Single rows, or an Arrow table with its columns in another order, give the same file."""
    rows: list[dict[str, Any]] = [{"id": 1, "note": "a"}, {"id": 2, "note": None}]
    write_table(tmp_path / "a", SMALL, rows)
    write_table(tmp_path / "b", SMALL, iter(rows))
    content = pa.table({"note": ["a", None], "id": pa.array([1, 2], pa.int64())})
    write_arrow_table(tmp_path / "c", SMALL, content)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


def test_row_groups_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long table is written in row groups, by either function."""
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 4)
    rows = [{"id": number, "note": None} for number in range(10)]
    write_table(tmp_path / "a", SMALL, rows)
    write_arrow_table(tmp_path / "b", SMALL, pa.Table.from_pylist(rows, schema(SMALL)))

    for name in ("a", "b"):
        assert pq.ParquetFile(tmp_path / name).metadata.num_row_groups == 3


def test_other_programs_read_it(tmp_path: Path) -> None:
    """pandas and DuckDB read the file without any help."""
    path = tmp_path / "a.parquet"
    write_table(path, SMALL, [{"id": 1, "note": "x"}, {"id": 5, "note": None}])

    assert pd.read_parquet(path)["id"].tolist() == [1, 5]
    query = f"select sum(id), count(note) from '{path}'"
    assert duckdb.execute(query).fetchall() == [(6, 1)]


def test_a_null_where_the_contract_forbids_it(tmp_path: Path) -> None:
    """A missing value in a required column is never written."""
    with pytest.raises((pa.ArrowInvalid, ValueError)):
        write_arrow_table(tmp_path / "a", SMALL, pa.table({"id": pa.array([None], pa.int64()), "note": ["a"]}))
    assert list(tmp_path.iterdir()) == []


def write_foreign(path: Path, table: Table, version: bytes, columns: pa.Schema) -> None:
    metadata = {b"alti2v.table": table.name.encode(), b"alti2v.format_version": version}
    pq.write_table(columns.with_metadata(metadata).empty_table(), path)


def test_another_version_is_refused_by_name(tmp_path: Path) -> None:
    """A table of a newer format is refused because of its version, before anything else is checked."""
    path = tmp_path / "a.parquet"
    write_foreign(path, SMALL, b"2", pa.schema([("other", pa.int8())]))

    with pytest.raises(VersionError, match="has format version 2; this program reads 1"):
        read_table(path, SMALL)


@pytest.mark.parametrize(
    "columns",
    [
        pa.schema([("id", pa.int64())]),
        pa.schema([("id", pa.int32()), ("note", pa.string())]),
        pa.schema([("note", pa.string()), ("id", pa.int64())]),
        schema(SMALL).append(pa.field("more", pa.int8())),
    ],
)
def test_other_columns_are_damage(tmp_path: Path, columns: pa.Schema) -> None:
    """A missing, retyped, moved or added column is refused."""
    path = tmp_path / "a.parquet"
    write_foreign(path, SMALL, b"1", columns)

    with pytest.raises(DamagedError, match="is not a table of kind 'small'"):
        read_table(path, SMALL)


@pytest.mark.parametrize("columns", [None, ["id"], ["id", "sum"], ["sum"]])
@pytest.mark.parametrize("rows", [[], [{"id": 3, "note": "n"}]])
def test_a_file_from_before_a_column_was_added(
    tmp_path: Path, rows: list[dict[str, Any]], columns: list[str] | None
) -> None:
    """A store is days of downloading: a column that is added later makes no file unreadable, and is null."""
    path = tmp_path / "a.parquet"
    write_table(path, SMALL, rows)
    grown = Table("small", (*SMALL.columns, Column("sum", "int64", "x", nullable=True, may_lack=True)))

    whole, parts = read_table(path, grown, columns), list(read_parts(path, grown, columns))

    wanted = ["id", "note", "sum"] if columns is None else columns
    assert whole.column_names == wanted
    assert whole.to_pylist() == [{name: row.get(name) for name in wanted} for row in rows]
    assert pa.concat_tables(parts).equals(whole)


def test_another_kind_of_table_is_damage(tmp_path: Path) -> None:
    """A table of another kind is not accepted."""
    path = tmp_path / "a.parquet"
    write_table(path, Table("big", SMALL.columns), [])

    with pytest.raises(DamagedError, match="is not a table of kind 'small'"):
        read_table(path, SMALL)


def test_bytes_that_are_no_table(tmp_path: Path) -> None:
    """A truncated or foreign file is damage; a missing one is FileNotFoundError."""
    path = tmp_path / "a.parquet"
    write_table(path, SMALL, [{"id": 1, "note": "x"}] * 100)
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(DamagedError, match="cannot be read as Parquet"):
        read_table(path, SMALL)
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.parquet", SMALL)
