"""Parquet files of others unpack to no more than a file of their size can honestly hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alti2v.storage.parquet import row_groups

TEXTS = st.none() | st.sampled_from(["", "a", "ü" * 40]) | st.text()
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": TEXTS,
            "bytes": st.none() | st.binary(max_size=4),
            "texts": st.none() | st.lists(TEXTS, max_size=3),
            "number": st.none() | st.integers(-(2**63), 2**63 - 1),
            "numbers": st.lists(st.integers(0, 9), max_size=3),
        }
    ),
    max_size=8,
)
SCHEMA = pa.schema(
    [
        pa.field("text", pa.string()),
        pa.field("bytes", pa.binary()),
        pa.field("texts", pa.list_(pa.string())),
        pa.field("number", pa.int64()),
        pa.field("numbers", pa.list_(pa.int32()), nullable=False),
    ],
    metadata={"facts": "kept"},
)


def _read(path: Path, columns: list[str] | None = None) -> Any:
    with pa.OSFile(str(path)) as file:
        return pa.concat_tables(row_groups(file, columns))


@given(rows=ROWS, group=st.integers(1, 4))
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], group: int
) -> None:
    """Whatever Parquet packs as a dictionary: values, types and metadata are as Arrow reads them."""
    path = tmp_path_factory.mktemp("tables") / "table.parquet"
    written = pa.Table.from_pylist(rows, SCHEMA)
    pq.write_table(written, path, row_group_size=group)

    assert _read(path).equals(pq.read_table(path), check_metadata=True)
    some = _read(path, ["texts", "number"])
    assert some.to_pylist() == [{name: row[name] for name in ("texts", "number")} for row in rows]


def _long_texts() -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * 5_000, pa.int32()), pa.array(["x" * 1_000_000]))


BOMBS: dict[str, Callable[[], pa.Array]] = {
    "one long text in every row": _long_texts,
    "one list of long texts": lambda: pa.ListArray.from_arrays(pa.array([0, 5_000], pa.int32()), _long_texts()),
    "equal numbers": lambda: pa.repeat(pa.scalar(7, pa.int64()), 60_000_000),
    "nothing at all": lambda: pa.nulls(60_000_000, pa.int64()),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused(tmp_path: Path, bomb: str) -> None:
    """A file of some hundred kilobytes that unpacks to gigabytes is not unpacked."""
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"bomb": BOMBS[bomb]()}), path, compression="zstd", row_group_size=1 << 30)
    assert path.stat().st_size < 1_000_000
    before = pa.total_allocated_bytes()

    with pytest.raises(ValueError, match="unpacks to far more"):
        _read(path)
    with pytest.raises(ValueError, match="unpacks to far more"), pa.OSFile(str(path)) as file:
        next(row_groups(file))
    assert pa.total_allocated_bytes() - before < 100_000_000
