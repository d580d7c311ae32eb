"""How far a listing has got: the state that the ledger keeps between runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

# Empty answers in a row that make an end.
CONFIRMATIONS = 2


class Ending(StrEnum):
    """How a walk ended."""

    COMPLETE = "complete"
    SHORT = "short"  # the board counts more than it lists
    WALL = "wall"  # the board refuses to page deeper, and has no other way


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Where a listing stands; everything below `floor` was listed by an earlier walk, or is not wanted.

    Attributes:
        floor: the walk ends at this id; 0 for a walk to the very end.
        below: the cursor: only ids below it are still to be listed; None before the first page.
        page: 0-based page within the cursor's search; counts on only past pages without a cursor.
        by_page: the board ignores the cursor, or its order makes the cursor pass posts over.
        unsorted: a page came in another order than that of falling ids.
        full: ask for full pages only, because page numbers mean multiples of the limit.
        top: the highest id seen, the next walk's floor.
        fresh: posts that this walk by page number met for the first time.
        empties: empty answers in a row.
        doubts: how often the count contradicted the end.
        ending: None while the walk goes on.
        missing: posts that the board counts and did not list.
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
    def wants_count(self) -> bool:
        """Whether the board said "end" often enough for its count to be asked for."""
        return self.ending is None and self.empties >= CONFIRMATIONS

    @property
    def shortfall(self) -> str:
        """What is missing, in words; empty if nothing is."""
        if self.ending is Ending.SHORT:
            return f"the board counts {self.missing} more posts than it lists"
        if self.ending is Ending.WALL:
            return (
                f"the board refuses to list deeper than page {self.page} and "
                f"{'does not list by id' if self.unsorted else 'ignores id:<N'} (narrow the search with --tags)"
            )
        return ""


def walk_document(walk: Walk) -> dict[str, Any]:
    """A walk as JSON."""
    return asdict(walk)


def read_walk(document: Mapping[str, Any]) -> Walk:
    """Invert `walk_document`."""
    known = {field.name: document[field.name] for field in fields(Walk) if field.name in document}
    ending = known.get("ending")
    return Walk(**{**known, "ending": None if ending is None else Ending(ending)})
