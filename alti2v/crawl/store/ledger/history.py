"""Changes of the tags of listed posts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from alti2v.crawl.store.sqlite import Database


class HistoryTable:
    """The table `history` of a ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, row: Mapping[str, Any]) -> None:
        """Record a row of history.parquet."""
        added, removed = json.dumps(row["tags_added"]), json.dumps(row["tags_removed"])
        self._database.execute(
            "INSERT INTO history VALUES (?,?,?,?)", (row["id"], row["seen_at"], added, removed)
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Return every row, oldest first."""
        with self._database.errors():
            for post_id, seen_at, *tags in self._database.execute("SELECT * FROM history ORDER BY rowid"):
                added, removed = map(json.loads, tags)
                yield {"id": post_id, "seen_at": seen_at, "tags_added": added, "tags_removed": removed}

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._database.select_value("SELECT count(*) FROM history"))
