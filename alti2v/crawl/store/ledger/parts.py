"""The Parquet parts of the post table, and which of them are out of date."""

from __future__ import annotations

from alti2v.crawl.store.schema import PART_ROWS
from alti2v.crawl.store.sqlite import Database

_SEQ_END = 1 << 62  # beyond all numbers of posts, with room to add


class PartTable:
    """The table `dirty_parts` of a ledger: parts that differ from the ledger until they are exported again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[int]:
        """Return the parts of the post table that have posts; an edited ledger may leave out billions."""
        parts = list[int]()
        begin = 0
        while begin < _SEQ_END:
            (seq,) = self._database.select_one("SELECT min(seq) FROM posts WHERE seq>=?", begin) or (None,)
            if seq is None:
                break
            parts.append(seq // PART_ROWS)
            begin = (parts[-1] + 1) * PART_ROWS
        return parts

    def dirty(self) -> list[int]:
        """Return the parts that have to be exported again."""
        return [row[0] for row in self._database.select("SELECT part FROM dirty_parts ORDER BY part")]

    def mark_clean(self, part: int) -> None:
        """Record that a part has been exported."""
        self._database.execute("DELETE FROM dirty_parts WHERE part=?", (part,))

    def mark_dirty(self, first_seq: int, last_seq: int) -> None:
        """Mark the parts that hold these posts."""
        self._database.executemany(
            "INSERT OR IGNORE INTO dirty_parts VALUES (?)",
            [(part,) for part in range(first_seq // PART_ROWS, last_seq // PART_ROWS + 1)],
        )

    def mark_all_dirty(self) -> None:
        """Mark every part."""
        self._database.execute(
            f"INSERT OR IGNORE INTO dirty_parts SELECT DISTINCT seq/{PART_ROWS} FROM posts"  # noqa: S608 - a constant
        )
