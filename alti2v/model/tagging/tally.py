"""Running counts of a command that works through many pictures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from alti2v.model.tagging.preprocess import Problem
from alti2v.records import Progress, ProgressHook, ignore_progress


@dataclass(slots=True)
class Tally:
    """Running counts, reported as progress.

    Attributes:
        stage: Name of the stage, a gerund.
        total: Number of pictures; None if it is not known.
        hook: Called after each picture.
        finished: Number of pictures that are done by this run.
        skipped: Number of pictures that were done before.
        failed: Kind of problem -> number of pictures.
        unread: Suffix -> number of pictures left out because their format is not read.
    """

    stage: str
    total: int | None
    hook: ProgressHook = ignore_progress
    finished: int = 0
    skipped: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        """Number of pictures with an outcome."""
        return self.finished + self.skipped + self.failed.total()

    def finish(self) -> None:
        """Count a picture that is done."""
        self.finished += 1
        self.tell()

    def skip(self) -> None:
        """Count a picture that was done before."""
        self.skipped += 1
        self.tell()

    def fail(self, problem: Problem) -> None:
        """Count a picture that cannot be used."""
        self.failed[problem.kind] += 1
        self.tell()

    def tell(self) -> None:
        """Report the counts."""
        counts = {"skipped": self.skipped, "failed": self.failed.total()}
        shown = {name: count for name, count in counts.items() if count}
        self.hook(Progress(stage=self.stage, done=self.done, total=self.total, unit="pictures", counts=shown))
