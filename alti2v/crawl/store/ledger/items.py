"""Imported files that came without an id, and the posts that hold their bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alti2v.crawl.store.sqlite import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownItem:
    """A file that an earlier batch has imported.

    Attributes:
        name: Source and path in it, as a relative URL reference.
        id: Post with its bytes.
        version: Text that changes with the file.
        is_first: False if another item with the same bytes was imported before.
    """

    name: str
    id: int
    version: str
    is_first: bool


class ItemTable:
    """The table `items` of a ledger: a cache, without which every file of a source is read again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, items: Iterable[KnownItem]) -> None:
        """Record items; inside a transaction."""
        self._database.executemany(
            "INSERT OR REPLACE INTO items VALUES (?,?,?,?)",
            [(item.name, item.id, item.version, int(item.is_first)) for item in items],
        )

    def known(self, names: Sequence[str]) -> dict[str, KnownItem]:
        """Return the recorded ones among some items, by name."""
        rows = self._database.select(
            "SELECT name, id, CAST(version AS BLOB), is_first FROM items"
            " WHERE name IN (SELECT value FROM json_each(?)) AND typeof(id)='integer'",
            json.dumps(names),
        )
        return {
            row[0]: KnownItem(
                name=row[0], id=row[1], version=row[2].decode(errors="replace"), is_first=bool(row[3])
            )
            for row in rows
        }
