"""The report of a crawl."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlReport:
    """Contents of a store after a crawl, and what this run added.

    Attributes:
        store: Folder.
        board: Address of the board.
        dialect: Dialect of the board.
        listed: Posts in the store; the sum of all outcomes.
        stored: Posts whose picture is stored.
        duplicate: Posts whose bytes are stored for another post.
        pending: Posts whose download is not finished: run again.
        skipped, failed: Posts by reason and by kind of failure.
        new: Files that this run stored.
        bytes: Size of all stored pictures.
        seconds: Duration of the run.
        complete: True if a later run could not get anything more.
        missing: Description of what is missing; "" if complete.
    """

    store: Path
    board: str
    dialect: str
    listed: int
    stored: int
    duplicate: int
    pending: int
    skipped: Mapping[str, int]
    failed: Mapping[str, int]
    new: int
    bytes: int
    seconds: float
    complete: bool
    missing: str

    def __post_init__(self) -> None:
        finished = self.stored + self.duplicate + sum(self.skipped.values()) + sum(self.failed.values())
        assert self.listed == finished + self.pending, "the outcomes do not add up to the listed posts"

    @property
    def ending(self) -> str:
        """How the run ended, in words, for the record of the last run."""
        return "complete" if self.complete else f"incomplete: {self.missing}"
