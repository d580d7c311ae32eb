"""The tar files of a store."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index

from alti2v.crawl.store.sqlite import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class TarState:
    """One tar file of a store.

    Attributes:
        number: Number in the file's name.
        size: Committed bytes; the file may be longer after a kill.
        sealed: True once nothing is appended any more.
    """

    number: int
    size: int
    sealed: bool


class TarTable:
    """The table `tars` of a ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[TarState]:
        """Return the tar files in order; at most the last one is not sealed.

        Raises:
            DamagedError: A number is none, by which a file would be cut.
        """
        rows = self._database.select("SELECT number, size, sealed FROM tars ORDER BY number")
        with self._database.believed():
            return [TarState(number=index(row[0]), size=index(row[1]), sealed=bool(row[2])) for row in rows]

    def set(self, tar: TarState) -> None:
        """Record the committed length of a tar file."""
        self._database.execute(
            "INSERT OR REPLACE INTO tars VALUES (?,?,?)", (tar.number, tar.size, int(tar.sealed))
        )

    def forget(self, number: int) -> None:
        """Remove the row of a tar file that no longer exists."""
        self._database.execute("DELETE FROM tars WHERE number=?", (number,))
