"""The report of an import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alti2v.numerals import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """Outcomes of the items of an import, and the contents of the store afterwards.

    Attributes:
        store: Folder.
        forms: Recognised form of each source.
        items: Items of the sources; the sum of the next six.
        new: Items whose picture this run stored.
        known: Items whose picture the store had already.
        duplicate: Items whose bytes are stored for another post.
        skipped, failed: Items without a stored picture, by reason.
        pending: Items whose picture is still to be fetched.
        untagged: Items without tags among the new, known, duplicate and pending ones: their captions are empty.
        missing: What could not be requested, in words; "" if nothing is missing.
        listed, stored, bytes: Posts of the store, those of them with a picture, and the size of the pictures.
        seconds: Duration of the run.
    """

    store: Path
    forms: Mapping[str, str]
    items: int
    new: int
    known: int
    duplicate: int
    skipped: Mapping[str, int]
    failed: Mapping[str, int]
    pending: int = 0
    untagged: int = 0
    missing: str = ""
    listed: int
    stored: int
    bytes: int
    seconds: float

    def __post_init__(self) -> None:
        ended = self.new + self.known + self.duplicate + self.pending
        ended += sum(self.skipped.values()) + sum(self.failed.values())
        assert self.items == ended, "the outcomes do not add up to the items"

    @property
    def ending(self) -> str:
        """Describe the end of the run in words."""
        failed = sum(self.failed.values())
        if self.missing:
            return f"incomplete: {self.missing}"
        return f"complete, {counted(failed, 'item')} failed" if failed else "complete"
