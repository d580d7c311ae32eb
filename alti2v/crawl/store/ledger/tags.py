"""Categories and counts of tags, as a tag API gave them."""

from __future__ import annotations

from collections.abc import Iterable

from alti2v.crawl.store.sqlite import Database
from alti2v.records import Category, Tag


class TagCategoryTable:
    """The table `tags` of a ledger: answers of a tag API, requested once and kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, tags: Iterable[Tag], *, counted: bool = True) -> None:
        """Record tags.

        Args:
            tags: Answers of a tag API.
            counted: True if their counts are those of the crawled board.
        """
        self._database.executemany(
            "INSERT OR REPLACE INTO tags VALUES (?,?,?)",
            [(tag.name, tag.category, tag.count if counted else None) for tag in tags],
        )

    def categories(self) -> dict[str, Category]:
        """Return the category of each tag that was requested; UNKNOWN for names that the API did not know."""
        rows = self._database.select("SELECT name, category FROM tags")
        with self._database.believed():
            return {row[0]: Category(row[1]) for row in rows}

    def board_counts(self) -> dict[str, int]:
        """Return the number of posts of the board with each tag, for tags that the board was asked about."""
        rows = self._database.select("SELECT name, board_count FROM tags WHERE board_count IS NOT NULL")
        return {row[0]: row[1] for row in rows}

    def unknown_elsewhere(self) -> set[str]:
        """Return the tags that a site other than the board was asked about and did not know."""
        rows = self._database.select("SELECT name FROM tags WHERE category='unknown' AND board_count IS NULL")
        return {row[0] for row in rows}

    def revision(self) -> str:
        """Return a text that changes whenever something is learned about a tag."""
        (row,) = self._database.select(
            "SELECT count(*), sum(category!='unknown'), count(board_count) FROM tags"
        )
        return " ".join(map(str, row))
