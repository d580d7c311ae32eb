"""Values that a store keeps between runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum

from alti2v.crawl.store.listing_state import ListingState, read_listing
from alti2v.crawl.store.post_json import encode
from alti2v.crawl.store.sqlite import Database


class StateKey(StrEnum):
    """Keys of the table `state`; those with "+" in the comment occur once per name."""

    LISTING = "walk"  # JSON of a ListingState; an older name of it, which stores hold
    BOARD_COUNT = "board_count"  # posts that the board counted for this search
    UNCOUNTED = "uncounted"  # recorded posts that the board did not count at the last full refresh
    LAST_RUN = "last_run"  # JSON of a LastRun
    EXPORTED_TAGS = "exported_tags"  # revision of the tags in the exported tables
    TAG_COUNTS = "tag_counts"  # + part: JSON of the posts with each tag, by group, and of the part's file
    TAGS_OUTDATED = "tags_outdated"  # set from the export of a part to that of tags.parquet
    EXPORTED_HISTORY = "exported_history"  # number of changes in the exported history
    EXPORTED_REPLACED = "exported_replaced"  # number of rows in the exported table of replaced files
    WRITTEN = "written"  # + name: SHA-256 of a table of tag relations
    LISTED_TABLE = "listed_table"  # size and time of the table that posts were listed from
    ID_BOARD = "id_board"  # site whose numbers are the ids of imported posts
    PUBLISHED = "published"  # + name: SHA-256 of an uploaded table, size of an uploaded tar file


_MOST_DIGITS = 19  # of a number of posts


class StateTable:
    """The table `state` of a ledger: texts by key, and by name where a key occurs more than once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: StateKey, name: str = "") -> str | None:
        """Return a value, with a sign for bytes that are no text; None if there is none."""
        row = self._database.select_one("SELECT CAST(value AS BLOB) FROM state WHERE key=?", _text(key, name))
        return None if row is None else bytes(row[0]).decode(errors="replace")

    def set(self, key: StateKey, value: str, *, name: str = "") -> None:
        """Record a value."""
        self._database.execute("INSERT OR REPLACE INTO state VALUES (?,?)", (_text(key, name), value))

    def commit(self, key: StateKey, value: str, *, name: str = "") -> None:
        """Record a value in a transaction of its own."""
        with self._database.transaction():
            self.set(key, value, name=name)

    def forget(self, key: StateKey, name: str = "") -> None:
        """Remove a value."""
        self._database.execute("DELETE FROM state WHERE key=?", (_text(key, name),))

    def forget_all(self, key: StateKey) -> None:
        """Remove the values of all names of a key."""
        self._database.execute("DELETE FROM state WHERE key GLOB ?", (f"{key} *",))

    def number(self, key: StateKey) -> int | None:
        """Return a value that is a number; None if there is none, or another value."""
        try:
            return int((self.get(key) or "")[:_MOST_DIGITS])
        except ValueError:
            return None

    def listing(self) -> ListingState | None:
        """Return the state of the listing; None before the first answer.

        Raises:
            DamagedError: It is none that `set_listing` recorded.
        """
        text = self.get(StateKey.LISTING)
        with self._database.believed():
            return None if text is None else read_listing(json.loads(text))

    def set_listing(self, listing: ListingState) -> None:
        """Record the state of the listing."""
        self.set(StateKey.LISTING, encode(asdict(listing)))


def _text(key: StateKey, name: str) -> str:
    return f"{key} {name}" if name else key.value
