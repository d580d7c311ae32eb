"""Compare models, and write comparison.json, per_tag.csv and comparison.html."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from alti2v.csv_text import csv_table
from alti2v.model.compare import compare
from alti2v.model.comparison.contestant import is_run
from alti2v.model.comparison.result import ComparedModel, Comparison
from alti2v.model.loading.hub import is_hub_name
from alti2v.model.options.evaluation import CompareConfig
from alti2v.numerals import counted
from alti2v.records import ProgressHook, ignore_progress
from alti2v.report.comparison_page import render_comparison, verdict
from alti2v.report.rendering import figure
from alti2v.storage.layout import EVALUATION_DIR, PER_TAG_FILE
from alti2v.storage.publish import publish_bytes, publish_json

COMPARISON_FILE = "comparison.json"
PAGE_FILE = "comparison.html"
DEFAULT_OUT = Path("comparison")
TAG_COLUMNS = ("index", "name", "category", "positives")
MODEL_COLUMNS = ("average_precision", "f1", "difference", "low_95", "high_95")
_MOST_NAME = 100  # characters of a folder's name


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonReport:
    """Result of a comparison, and its files.

    Attributes:
        models: The models, in the order in which they were given.
        split: Split of the pictures.
        images: Number of pictures that all were evaluated on and no run had seen.
        tags: Number of tags in common; `tags_ranked` of them have enough pictures for a mean average precision.
        figures: For each model: name, mean_ap, micro_f1, macro_f1, calibration_error, threshold, and the micro
            F1 at its own thresholds, own_f1.
        differences: For each model but the first, by figure: the 95 % interval of its difference from the first
            over all tags, and whether it excludes 0.
        notes: Warnings for readers.
        seconds: Wall-clock time.
        comparison, per_tag, report: Files written.
    """

    models: tuple[str, ...]
    split: str
    images: int
    tags: int
    tags_ranked: int
    figures: tuple[Mapping[str, str | float | None], ...]
    differences: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...]
    seconds: float
    comparison: Path
    per_tag: Path
    report: Path

    @property
    def table(self) -> Mapping[str, str]:
        """The result for a terminal, in the order of display."""
        tags = f"{counted(self.tags, 'tag')} in common, {self.tags_ranked:,} in mAP"
        rows = {"pictures": f"{self.images:,} of the {self.split} split, {tags}"}
        for model, (figures, differences) in enumerate(zip(self.figures, self.differences, strict=True), 1):
            shown = {name: _shown(figures[name]) for name in ("mean_ap", "micro_f1", "macro_f1", "own_f1")}
            rows[f"model {model}"] = (
                f"{figures['name']}   mAP {shown['mean_ap']}, micro F1 {shown['micro_f1']}, "
                f"macro F1 {shown['macro_f1']}; micro F1 at its own thresholds {shown['own_f1']}"
            )
            rows |= {f"{model}: {name}": words for name, words in differences.items()}
        return {
            **rows,
            **{"note" if not i else f"note {i + 1}": note for i, note in enumerate(self.notes)},
            "report": str(self.report),
        }


def write_comparison(config: CompareConfig, *, progress: ProgressHook = ignore_progress) -> ComparisonReport:
    """Compare models and publish the result into `config.out`, replacing an older one.

    Raises:
        UsageError: A model is not finished or given twice, a dataset or store does not exist or does not fit,
            or no tag is common.
        DamagedError: A model, a dataset or the store is damaged.
        DataError: No picture remains, no picture has a tag, or a model answers NaN.
        RemoteError: The hub does not answer.
        StorageError: The file system refuses; files of an older report are intact.
    """
    out = config.out or default_out(config.models)
    comparison = compare(config, out=out, progress=progress)
    return publish_comparison(comparison, out, generated_at=datetime.now(UTC))


def default_out(models: tuple[Path | str, ...]) -> Path:
    """Return the directory of a report: in the first model's folder if it is a run, else "comparison"."""
    if not is_run(models[0]):
        return DEFAULT_OUT
    others = [
        str(one).rpartition("/")[2] if is_hub_name(one) else Path(one).resolve().name for one in models[1:]
    ]
    name = "-".join(others) or "itself"
    return Path(models[0]) / EVALUATION_DIR / f"against-{name:.{_MOST_NAME}}"


def publish_comparison(comparison: Comparison, out: Path, *, generated_at: datetime) -> ComparisonReport:
    """Write the result, the page last.

    Raises:
        StorageError: The file system refuses.
    """
    publish_json(out / COMPARISON_FILE, comparison_document(comparison))
    publish_bytes(out / PER_TAG_FILE, csv_table(_per_tag(comparison)))
    publish_bytes(out / PAGE_FILE, render_comparison(comparison, generated_at=generated_at).encode())
    return ComparisonReport(
        models=tuple(model.model for model in comparison.models),
        split=comparison.split,
        images=comparison.images,
        tags=len(comparison.tags),
        tags_ranked=comparison.models[0].overall.scores.tags_ranked,
        figures=tuple(_figures(model) for model in comparison.models),
        differences=tuple(
            {one.figure: verdict(one) for one in model.paired.differences if one.kind == "all"}
            for model in comparison.models
        ),
        notes=comparison.notes,
        seconds=comparison.seconds,
        comparison=out / COMPARISON_FILE,
        per_tag=out / PER_TAG_FILE,
        report=out / PAGE_FILE,
    )


def comparison_document(comparison: Comparison) -> dict[str, object]:
    """Make the document of all figures except those of single tags, for programs."""
    return {
        "dataset": str(comparison.dataset),
        "dataset_tags": comparison.dataset_tags,
        "split": comparison.split,
        "images": comparison.images,
        "tags": len(comparison.tags),
        "min_positives": comparison.min_positives,
        "models": [_model_document(model) for model in comparison.models],
        "disputed": [
            {
                "id": picture.id,
                "disputed": picture.disputed,
                "tags": [
                    {
                        "name": comparison.tags[tag.index].name,
                        "is_label": tag.is_label,
                        "probabilities": [round(value, 4) for value in tag.probabilities],
                    }
                    for tag in picture.tags
                ],
            }
            for picture in comparison.disputed
        ],
        "notes": list(comparison.notes),
        "seconds": comparison.seconds,
    }


def _model_document(model: ComparedModel) -> dict[str, object]:
    return {
        "model": model.model,
        "name": model.name,
        "family": model.family,
        "size": model.size,
        "pictures": model.pictures,
        "tags": model.tags,
        "known": model.known,
        "respelt": model.respelt,
        "threshold": model.threshold,
        "threshold_source": model.threshold_source,
        "own_thresholds": asdict(model.own),
        "groups": [
            {
                "kind": group.kind,
                "name": group.name,
                **asdict(group.scores),
                "calibration_error_scaled": None
                if group.calibrated is None
                else group.calibrated.expected_error,
            }
            for group in model.groups
        ],
        "differences": [
            {**asdict(one), "difference": one.second - one.first, "is_shown": one.is_shown}
            for one in model.paired.differences
        ],
    }


def _figures(model: ComparedModel) -> Mapping[str, str | float | None]:
    scores = model.overall.scores
    return {
        "name": model.name,
        "mean_ap": scores.headline_ap,
        "micro_f1": scores.f1,
        "macro_f1": scores.macro_f1,
        "calibration_error": scores.calibration_error,
        "threshold": model.threshold,
        "own_f1": model.own.f1,
    }


def _per_tag(comparison: Comparison) -> Iterator[Iterable[object]]:
    """Yield one line per common tag, in the first model's order; cells without a value are empty.

    The columns of model i end in _i, from 1; differences are from the first model.
    """
    yield (
        *TAG_COLUMNS,
        *(f"{name}_{number}" for number in range(1, len(comparison.models) + 1) for name in MODEL_COLUMNS),
    )
    f1s = [model.paired.scores.f1 for model in comparison.models]
    first = comparison.models[0].paired
    for index, tag in enumerate(comparison.tags):
        cells: list[object] = [index, tag.name, tag.category.value, int(comparison.positives[index])]
        for model, f1 in zip(comparison.models, f1s, strict=True):
            found, margin = model.paired.average_precision[index], model.paired.margin[index]
            gap = found - first.average_precision[index]
            values = (found, f1[index], gap + 0 * margin, gap - margin, gap + margin)
            cells += ["" if np.isnan(value) else f"{value:.6f}" for value in values]
        yield cells


def _shown(value: str | float | None) -> str:
    return value if isinstance(value, str) else figure(value)
