"""The report of a crawl."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alti2v.crawl.store.ledger.outcomes import PostCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlReport(PostCounts):
    """Contents of a store after a crawl, and what this run added.

    Attributes:
        store: Folder.
        board: Address of the board.
        dialect: Dialect of the board.
        new: Files that this run stored.
        seconds: Duration of the run.
        complete: True if a later run could not get anything more.
        missing: Description of what is missing; "" if complete.
    """

    store: Path
    board: str
    dialect: str
    new: int
    seconds: float
    complete: bool
    missing: str

    @property
    def ending(self) -> str:
        """How the run ended, in words, for the record of the last run."""
        return "complete" if self.complete else f"incomplete: {self.missing}"
