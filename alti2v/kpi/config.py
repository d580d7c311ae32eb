"""Options of `kpi`; light, because `--help` shows their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alti2v.option_bounds import require_between


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiConfig:
    """Options of `regress`.

    Attributes:
        dataset: Dataset with the pictures and their splits.
        out: Folder of the report.
        table: CSV file with id, clicks and impressions, or id and `column`; None for the dataset's tables.
        column: Column that holds the KPI.
        vectors: File of `alti2v embed MODEL DATASET` to use as features; None for the board's tags.
        min_count: Minimum number of training pictures of a tag.
        bootstraps: Number of bootstrap samples for the 95 % intervals, > 0.
    """

    dataset: Path
    out: Path
    table: Path | None = None
    column: str = "score"
    vectors: Path | None = None
    min_count: int = 20
    bootstraps: int = 100

    def __post_init__(self) -> None:
        require_between("--min-count", self.min_count, 1)
        require_between("--bootstraps", self.bootstraps, 1)
