"""Options of `export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alti2v.model.options.choices import Format
from alti2v.option_bounds import require_choice

RATINGS_FROM = ("training", "uniform")
COPYRIGHTS_AS = ("general", "nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """Options of `export`.

    Attributes:
        run: Folder of a finished run.
        out: Folder of the export; created if missing, rewritten if it is an export of the same format.
        format: One of `Format`.
        dataset: Folder of the training dataset; None if it has not moved since training.
        ratings: "training" for constant ratings that are their shares of the training pictures, or "uniform".
        copyrights: "general" to export copyright tags as general in the WD formats, "nothing" to drop them.
        placeholder_character: True to add a character that is never predicted if the WD formats have none.
        license: Licence for the card, spelled as in https://huggingface.co/docs/hub/repositories-licenses.
        store: Store of the dataset: what clients do is then compared on original pictures; None for those of
            the dataset, which are smaller.
    """

    run: Path
    out: Path
    format: str = "wd"
    dataset: Path | None = None
    ratings: str = "training"
    copyrights: str = "general"
    placeholder_character: bool = False
    license: str = "other"
    store: Path | None = None

    def __post_init__(self) -> None:
        require_choice("--format", self.format, Format)
        require_choice("--ratings", self.ratings, RATINGS_FROM)
        require_choice("--copyrights", self.copyrights, COPYRIGHTS_AS)
