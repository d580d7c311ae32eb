"""Files that posts had before the board replaced them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alti2v.crawl.store.sqlite import Database
from alti2v.records import Span
from alti2v.storage.columns import REPLACED

_NAMES = tuple(column.name for column in REPLACED.columns)
_FACTS = ", ".join(_NAMES[2:])  # without id and seen_at


class ReplacedTable:
    """The table `replaced` of a ledger. Pictures that are stored stay in their tar files."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, post_id: int, *, seen_at: int) -> None:
        """Record the file of a post before its row is changed."""
        self._database.execute(
            f"INSERT INTO replaced SELECT id, ?, {_FACTS} FROM posts WHERE id=?",  # noqa: S608 - names of columns
            (seen_at, post_id),
        )

    def add(self, row: Mapping[str, Any]) -> None:
        """Record a row of replaced.parquet."""
        marks = ", ".join("?" * len(_NAMES))
        values = [row[name] for name in _NAMES]
        self._database.execute(f"INSERT INTO replaced VALUES ({marks})", values)  # noqa: S608 - question marks only

    def rows(self) -> Iterator[dict[str, Any]]:
        """Return every row, oldest first."""
        with self._database.errors():
            for row in self._database.execute("SELECT * FROM replaced ORDER BY rowid"):
                yield dict(row)

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._database.select_value("SELECT count(*) FROM replaced"))

    def stored_in(self, tar: int) -> set[tuple[int, int, int, str]]:
        """Return post, offset, size and MD5 of the pictures in a tar file."""
        rows = self._database.select("SELECT id, offset, size, stored_md5 FROM replaced WHERE tar=?", tar)
        return {tuple(row) for row in rows}

    def forget_places(self, tar: int) -> None:
        """Record that the pictures in a tar file are lost, or about to get other places."""
        self._database.execute("UPDATE replaced SET tar=NULL, offset=NULL, size=NULL WHERE tar=?", (tar,))

    def set_place(self, post_id: int, *, md5: str, tar: int, span: Span) -> bool:
        """Record the place of a former picture; return False if no row of its post lacks one."""
        cursor = self._database.execute(
            "UPDATE replaced SET tar=?, offset=?, size=? WHERE rowid=(SELECT min(rowid) FROM replaced "
            "WHERE id=? AND stored_md5=? AND tar IS NULL)",
            (tar, span.offset, span.size, post_id, md5),
        )
        return cursor.rowcount > 0
