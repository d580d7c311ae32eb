"""The progress of a listing, as the ledger keeps it between runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from alti2v.storage.documents import from_json

# Empty answers in a row after which the board's count is requested.
CONFIRMATIONS = 2


class Ending(StrEnum):
    """End of a listing."""

    COMPLETE = "complete"
    SHORT = "short"  # the board counts more posts than it lists
    WALL = "wall"  # the board refuses to page deeper, and there is no other way


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingState:
    """Progress of one pass over a board, from the newest post down; the ledger stores its fields by name.

    Attributes:
        floor: Id at which the pass ends, because all posts up to it are listed already, or not wanted; 0 for a
            pass over the whole board.
        below: Cursor: only lower ids are still to be listed; None before the first page.
        page: 0-based page within the cursor's search; advances only on pages without a cursor.
        by_page: True if the board ignores the cursor, or lists in an order that makes the cursor skip posts.
        unsorted: True if a page was not in the order of falling ids.
        full: True to request only full pages, also when fewer posts are wanted: page numbers count multiples of
            the limit, so after a shorter page the next one would skip posts.
        top: Highest id seen; the floor of the next pass.
        fresh: Posts that this pass by page number recorded for the first time. If there are any, the pass is
            repeated, because others may have moved across a page border unseen.
        empties: Empty answers in a row; see `CONFIRMATIONS`.
        doubts: Number of times that the board's count contradicted the end; see `cursor.DOUBTS`.
        ending: How the pass ended; None while it is unfinished.
        missing: Posts that the board counts and did not list.
    """

    floor: int = 0
    below: int | None = None
    page: int = 0
    by_page: bool = False
    unsorted: bool = False
    full: bool = False
    top: int = 0
    fresh: int = 0
    empties: int = 0
    doubts: int = 0
    ending: Ending | None = None
    missing: int = 0

    @property
    def needs_count(self) -> bool:
        """True if enough answers were empty that the board's count should confirm the end."""
        return self.ending is None and self.empties >= CONFIRMATIONS

    @property
    def shortfall(self) -> str:
        """Description of what is missing; "" if nothing is."""
        if self.ending is Ending.SHORT:
            return f"the board counts {self.missing} more posts than it lists"
        if self.ending is Ending.WALL:
            return (
                f"the board refuses to list beyond page {self.page} and "
                f"{'does not list by id' if self.unsorted else 'ignores id:<N'} (narrow the search with --tags)"
            )
        return ""


def read_listing(document: Mapping[str, Any]) -> ListingState:
    """Read the state of a listing from its fields in a JSON object, of which some may be missing.

    Raises:
        ValueError: A field has another type.
        TypeError: It is no object.
    """
    known = {field.name: document[field.name] for field in fields(ListingState) if field.name in document}
    ending = known.pop("ending", None)
    return from_json(ListingState, known, ending=None if ending is None else Ending(ending))
