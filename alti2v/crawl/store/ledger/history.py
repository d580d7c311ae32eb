"""Changes of the tags of listed posts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from alti2v.crawl.store.sqlite import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class TagChange:
    """Tags that a post gained and lost between two listings.

    Attributes:
        id: Post.
        seen_at: Time of the later listing, unix seconds.
        added, removed: Names, sorted.
    """

    id: int
    seen_at: int
    added: tuple[str, ...]
    removed: tuple[str, ...]


class HistoryTable:
    """The table `history` of a ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, change: TagChange) -> None:
        """Record a change."""
        self._database.execute(
            "INSERT INTO history VALUES (?,?,?,?)",
            (change.id, change.seen_at, json.dumps(change.added), json.dumps(change.removed)),
        )

    def all(self) -> Iterator[TagChange]:
        """Return every change, oldest first."""
        with self._database.errors():
            for row in self._database.execute("SELECT * FROM history ORDER BY rowid"):
                added, removed = tuple(json.loads(row["added"])), tuple(json.loads(row["removed"]))
                yield TagChange(id=row["id"], seen_at=row["seen_at"], added=added, removed=removed)

    def count(self) -> int:
        """Return the number of changes."""
        return int(self._database.select_value("SELECT count(*) FROM history"))
