"""Queries about posts in ranges of ids."""

from __future__ import annotations

from collections.abc import Mapping

from alti2v.crawl.boards.protocol import Skip
from alti2v.crawl.store.sqlite import Database
from alti2v.records import Status


class IdRanges:
    """The table `posts` of a ledger, by ranges of ids."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def counts(self, size: int) -> Mapping[int, tuple[int, int]]:
        """Count listed and stored posts by window: number k has the ids from k * size to (k + 1) * size - 1."""
        rows = self._database.execute(
            "SELECT id / ? AS number, count(*) AS listed, sum(status = ?) AS stored FROM posts "
            "WHERE reason <> ? GROUP BY number",
            (size, Status.STORED.value, Skip.GHOST.value),
        )
        with self._database.errors():
            return {row["number"]: (row["listed"], row["stored"]) for row in rows}

    def highest(self) -> int:
        """Return the highest id; 0 if there is no post."""
        return int(self._database.select_value("SELECT coalesce(max(id), 0) FROM posts") or 0)

    def hidden(self, *, above: int, created_since: int, limit: int) -> list[int]:
        """Return the ids of the newest posts whose file the board did not show when they were listed.

        Args:
            above: Only higher ids, which an index finds.
            created_since: Only posts that were created at this time or later, unix seconds.
            limit: Maximum number of ids.
        """
        rows = self._database.execute(
            "SELECT id FROM posts WHERE id > ? AND reason = ? AND created_at >= ? ORDER BY id DESC LIMIT ?",
            (above, Skip.HIDDEN.value, created_since, limit),
        )
        with self._database.errors():
            return [int(row["id"]) for row in rows]
