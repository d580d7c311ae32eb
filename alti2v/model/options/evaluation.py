"""Options of `eval`, for one run and for a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alti2v.model.options.choices import PRECISION_CHOICES
from alti2v.option_bounds import require_between, require_choice
from alti2v.storage.layout import EVALUATION_DIR, SPLITS


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """Options of an evaluation.

    Attributes:
        run: Directory of a finished run.
        dataset: Directory of the dataset, whose tags are matched by name; None for the one of the training.
        split: Split to evaluate on, one of `SPLITS`.
        out: Directory of the report; None for RUN/eval.
        batch_size: Pictures at a time, at least 1.
        min_positives: Positive pictures that a tag needs to count in the mean average precision, at least 1.
        precision: Number format that layers compute in, or "auto" (`network.precision.choose_precision`).
        gallery: Number of pictures to show for each `gallery.GalleryReason`, and of suggested tags.
    """

    run: Path
    dataset: Path | None = None
    split: str = "test"
    out: Path | None = None
    batch_size: int = 64
    min_positives: int = 10
    precision: str = "auto"
    gallery: int = 9

    def __post_init__(self) -> None:
        require_choice("--split", self.split, SPLITS)
        require_between("--batch-size", self.batch_size, 1)
        require_between("--min-positives", self.min_positives, 1)
        require_between("--gallery", self.gallery, 1)
        require_choice("--precision", self.precision, PRECISION_CHOICES)

    @property
    def report_dir(self) -> Path:
        """Directory of the report."""
        if self.out is not None:
            return self.out
        folder = self.run / EVALUATION_DIR
        # Another split never takes the place of the test split's report.
        return folder if self.split == "test" else folder / self.split


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareConfig:
    """Options of a comparison.

    Attributes:
        models: Directories of finished runs, folders of exports and of other taggers, and names on the hub
            ("hf:owner/name"); the others are compared with the first.
        dataset: Directory of a dataset for all; None for each run's own, with pictures matched by post.
        split: Split to evaluate on, one of `SPLITS`.
        store: Store that the dataset was built from, for models that take larger pictures than the dataset has,
            and for other names of tags; None for the dataset's pictures.
        out: Directory of the report; None for FIRST/eval/against-OTHERS if the first model is a run, and for
            the folder "comparison" if not.
        batch_size: Pictures at a time, at least 1.
        min_positives: Positive pictures that a tag needs to count in the mean average precision, at least 1.
        precision: Number format that the layers of runs compute in, or "auto": float32 beside other models,
            else see `network.precision.choose_precision`.
        gallery: Number of pictures to show on which the models differ, at least 1.
    """

    models: tuple[Path | str, ...]
    dataset: Path | None = None
    split: str = "test"
    store: Path | None = None
    out: Path | None = None
    batch_size: int = 32
    min_positives: int = 10
    precision: str = "auto"
    gallery: int = 9

    def __post_init__(self) -> None:
        require_choice("--split", self.split, SPLITS)
        require_between("number of models", len(self.models), 1)
        require_between("--batch-size", self.batch_size, 1)
        require_between("--min-positives", self.min_positives, 1)
        require_between("--gallery", self.gallery, 1)
        require_choice("--precision", self.precision, PRECISION_CHOICES)
