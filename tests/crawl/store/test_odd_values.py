"""A ledger with values that no crawl writes is one line, and `verify --repair` makes a sound one of it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from alti2v.crawl.verify import verify_store
from tests.crawl.importing.helpers.sources import picture, run, write
from tests.foreign.helpers.commands import exit_status

ODD = (
    *(-1, 2**62, 0.5, float("inf"), "", "x", "\x1b[31m", b"\xff\xfe", "[", "{}", "null", "9" * 5_000),
    *('{"a": 1}', "[" * 10**5, "NaN", '{"\\ud800": 1}', '{"page": "x"}', '{"begun_at": 1e999}'),
)
Place = tuple[str, str, int]  # table, column, row
EVERY = [97, pytest.param(3, marks=pytest.mark.slow)]  # `make proof` tries every third, `make test` every 97th


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two imported pictures, and a row in every table."""
    folder = tmp_path_factory.mktemp("sound")
    write(folder / "pictures", {f"{name}.png": picture(number) for number, name in enumerate("ab")})
    write(folder / "pictures", {f"{name}.txt": "solo, smile" for name in "ab"})
    run(folder / "store", folder / "pictures")
    with closing(sqlite3.connect(folder / "store" / "crawl.sqlite")) as ledger, ledger:
        ledger.execute("INSERT INTO state VALUES ('walk', '{\"page\": 3}'), ('board_count', '2')")
        ledger.execute("INSERT INTO tags VALUES ('solo', 'general', 3)")
    return folder


def places(ledger: sqlite3.Connection) -> Iterator[Place]:
    """Every cell of the tables, and of the first two posts."""
    for (table,) in ledger.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall():
        row = "rowid" if table != "items" else "1"
        rows = [number for (number,) in ledger.execute(f"SELECT {row} FROM {table}")]
        columns = [name for (_, name, *_) in ledger.execute(f"PRAGMA table_info({table})")]
        yield from ((table, column, number) for number in rows for column in columns)


@pytest.mark.parametrize("every", EVERY)
def test_an_odd_value_is_a_line_and_can_be_repaired(sound: Path, tmp_path: Path, every: int) -> None:
    """Numbers, texts, bytes and JSON of all kinds, in each cell; also text that is no UTF-8."""
    with closing(sqlite3.connect(sound / "store" / "crawl.sqlite")) as ledger:
        cells = list(places(ledger))
    tried = 0
    for number, ((table, column, row), value) in enumerate(
        (cell, value) for cell in cells for value in (*ODD, None)
    ):
        if number % every:
            continue
        store = shutil.copytree(sound / "store", tmp_path / str(number))
        with closing(sqlite3.connect(store / "crawl.sqlite")) as ledger, ledger:
            given = "CAST(? AS TEXT)" if number % 2 and isinstance(value, bytes) else "?"
            where = "WHERE rowid=?" if table != "items" else "WHERE 1=?"
            try:
                ledger.execute(f"UPDATE {table} SET {column}={given} {where}", (value, row))
            except sqlite3.Error:
                continue  # SQLite itself refuses it
        what = f"{table}.{column} is {value!r:.60}"
        again = ("import", store, sound / "pictures")
        for command in (("status", store), ("verify", store), again):
            assert exit_status(*command) in (0, 1, 4), (what, command)
        assert exit_status("verify", store, "--repair") == 0, what
        assert verify_store(store).findings == (), what
        assert exit_status(*again) == 0, what
        shutil.rmtree(store)
        tried += 1
    assert tried > 5
