"""Tables on disk: complete, in order of id, with little in memory, and gone with the process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alti2v.storage import disk_table as disk
from alti2v.storage.disk_table import disk_table, divided, in_order_of_id, nameless_file, sorted_disk_table

SCHEMA = pa.schema(
    [("id", pa.int64()), ("text", pa.string()), ("codes", pa.list_(pa.int32())), ("flag", pa.bool_())]
)


def rows_of(ids: list[int]) -> pa.Table:
    """Return rows whose values follow from the id and the position, nulls and empty lists among them."""
    return pa.table(
        {
            "id": ids,
            "text": [None if number % 5 == 0 else f"{number}:{at}" for at, number in enumerate(ids)],
            "codes": [list(range(number % 4)) for number in ids],
            "flag": [number % 3 == 0 for number in ids],
        },
        schema=SCHEMA,
    )


PARTS = st.lists(st.lists(st.integers(0, 60), max_size=25).map(rows_of), max_size=6)


@settings(deadline=None, max_examples=25)
@given(PARTS, st.integers(1, 9), st.data())
def test_rows_are_complete_and_in_order(parts: list[pa.Table], size: int, data: st.DataObject) -> None:
    """Sorted by id whatever the parts, repeated ids too; blocks and runs of any size; any rows can be taken."""
    whole = pa.concat_tables([SCHEMA.empty_table(), *parts])
    expected = sorted(whole.to_pylist(), key=lambda row: row["id"])
    chosen = data.draw(st.lists(st.integers(0, len(expected) - 1), max_size=8) if expected else st.just([]))
    with pytest.MonkeyPatch.context() as patch:
        for name, rows in (("_BATCH_ROWS", size), ("_RUN_ROWS", 3 * size), ("_RUN_BATCH_ROWS", 2)):
            patch.setattr(disk, name, rows)
        table = sorted_disk_table(iter(parts), SCHEMA, Path())
        merged = pa.concat_tables(in_order_of_id(iter(parts), SCHEMA, Path())).to_pylist()
        blocks = list(table.blocks())
        taken = table.take(np.array(chosen, np.int64), ["codes", "text"]).to_pylist()
        ids = table.numbers("id").tolist()

    assert len(table) == len(expected)
    assert pa.concat_tables(blocks).to_pylist() == expected == merged
    assert all(column.num_chunks <= 1 for block in blocks for column in block.columns)
    assert ids == [row["id"] for row in expected]
    assert taken == [{name: expected[row][name] for name in ("codes", "text")} for row in chosen]


@settings(deadline=None, max_examples=25)
@given(PARTS, st.integers(1, 9), st.data())
def test_a_table_is_divided_among_others(parts: list[pa.Table], size: int, data: st.DataObject) -> None:
    """Each gets its rows, in their order; rows of no table are left out, and so are columns."""
    whole = pa.concat_tables([SCHEMA.empty_table(), *parts])
    numbers = data.draw(st.lists(st.integers(-1, 3), min_size=len(whole), max_size=len(whole)))
    into = np.array(numbers, np.int32)
    with pytest.MonkeyPatch.context() as patch:
        for name, rows in (("_BATCH_ROWS", size), ("_PART_ROWS", 2)):
            patch.setattr(disk, name, rows)
        tables = divided(disk_table(iter(parts), SCHEMA, Path()), into, Path(), ["text", "codes"])
        found = [table.take(np.arange(len(table))) for table in tables]

    assert len(tables) == into.max(initial=-1) + 1
    for number, table in enumerate(found):
        assert table.equals(whole.filter(pa.array(into == number)).select(["text", "codes"]).combine_chunks())


def test_rows_keep_the_order_in_which_they_are_written() -> None:
    """A table that is not to be sorted is the concatenation of its parts."""
    parts = [rows_of([5, 3]), rows_of([9])]

    assert pa.concat_tables(disk_table(parts, SCHEMA, Path()).blocks()).equals(pa.concat_tables(parts))


def test_nothing_is_left_of_a_temporary_file(tmp_path: Path) -> None:
    """It has no name, also in a folder that does not exist yet, so a killed process leaves nothing."""
    file = nameless_file(tmp_path / "a" / "b")
    Path(file.path).write_bytes(b"content")

    assert Path(file.path).read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, sys
from pathlib import Path
import pyarrow as pa
from alti2v.errors import StorageError
from alti2v.storage.disk_table import sorted_disk_table
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
part = pa.table({"id": list(range(3000)), "text": ["x" * 90] * 3000})
try:
    sorted_disk_table([part] * 40, part.schema, Path(sys.argv[1]))
except StorageError as exc:
    print(exc)
"""


def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    """A write that the system refuses becomes one error with the folder, and nothing is left."""
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)

    assert done.stdout.startswith(f"cannot write {tmp_path}: ")
    assert done.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


PEAK = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa
from alti2v.storage import disk_table as disk
disk._RUN_ROWS, disk._BATCH_ROWS, disk._RUN_BATCH_ROWS = 1 << 11, 1 << 10, 1 << 7
order = np.random.default_rng(0).permutation(64_000)
parts = (
    pa.table({"id": some, "text": pa.array(["x" * 900] * 1000)}) for some in order.reshape(-1, 1000)
)
table = disk.sorted_disk_table(parts, pa.schema([("id", pa.int64()), ("text", pa.string())]), Path(sys.argv[1]))
print(len(table), pa.default_memory_pool().max_memory())
"""


def test_sorting_needs_little_memory(tmp_path: Path) -> None:
    """58 MB of rows in the worst order are sorted in less than 16 MB."""
    command = [sys.executable, "-c", PEAK, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows, peak = map(int, done.stdout.split())

    assert rows == 64_000
    assert peak < 16_000_000


def test_an_error_of_the_source_is_not_one_of_the_disk(tmp_path: Path) -> None:
    """Only writes are translated; what goes wrong while the parts are made keeps its own error."""

    def failing() -> Iterator[pa.Table]:
        yield rows_of([1])
        raise FileNotFoundError("a part is gone")

    with pytest.raises(FileNotFoundError, match="a part is gone"):
        sorted_disk_table(failing(), SCHEMA, tmp_path)
