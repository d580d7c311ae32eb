"""Tables of the appearance index: sorted, complete, and at most twice in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from alti2v.dataset.images.appearance import by_id
from tests.dataset.helpers.index_rows import SCHEMA, WIDTHS, parts


def test_rows_are_in_order_and_in_one_piece() -> None:
    """In any original order, and with an empty table among the parts."""
    ids = np.random.default_rng(0).permutation(100)
    empty = SCHEMA.empty_table()
    for tables in ([*parts(ids, at_once=7)], [empty, *parts(np.sort(ids), at_once=100)], [empty]):
        ordered = by_id(tables)

        assert ordered.schema.equals(SCHEMA, check_metadata=True)
        assert ordered.to_pylist() == sorted(pa.concat_tables(tables).to_pylist(), key=lambda row: row["id"])
        assert all(column.num_chunks <= 1 for column in ordered.columns)


PEAK = """
import numpy as np, pyarrow as pa
from alti2v.dataset.images.appearance import by_id
from tests.dataset.helpers.index_rows import parts
ordered = by_id(parts(np.random.default_rng(0).permutation(4000), at_once=100))
print(pa.default_memory_pool().max_memory(), ordered.nbytes)
"""


def test_one_column_at_a_time_is_there_twice() -> None:
    """Sorting a board's pictures does not take three times their memory."""
    command = [sys.executable, "-c", PEAK]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], check=True, capture_output=True, text=True)
    peak, kept = map(int, done.stdout.split())

    assert kept > 4000 * sum(WIDTHS.values()) * 0.99
    assert peak < kept + 1.1 * 4000 * WIDTHS["first"]
