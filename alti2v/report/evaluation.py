"""Evaluate a run, and write metrics, tables and reports."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alti2v.csv_text import csv_table
from alti2v.model.evaluate import evaluate
from alti2v.model.evaluation.bootstrap import Interval, Intervals
from alti2v.model.evaluation.metrics import Curve
from alti2v.model.evaluation.reliability import Reliability
from alti2v.model.evaluation.result import Evaluation, Group
from alti2v.model.options.evaluation import EvalConfig
from alti2v.numerals import counted
from alti2v.records import ProgressHook, ignore_progress
from alti2v.report.evaluation_page import render_page, tag_rows
from alti2v.report.markdown import render_markdown
from alti2v.report.rendering import figure, small_figure
from alti2v.storage.layout import METRICS_FILE, PER_TAG_FILE, SUGGESTIONS_FILE
from alti2v.storage.publish import publish_bytes

MARKDOWN_FILE = "report.md"
REPORT_FILE = "report.html"
# The columns of DanbooruModelZoo's make_report.py; imgutils reads name, category and best_threshold.
PER_TAG_COLUMNS = (
    *("index", "name", "category", "train_count", "positives", "predicted", "correct"),
    *("actual_frequency", "predicted_frequency", "precision", "recall", "f1"),
    *("average_precision", "baseline_average_precision", "squared_error", "best_threshold"),
)
SUGGESTION_COLUMNS = ("id", "name", "category", "probability")
_CURVE_POINTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """Headline figures, each with those of the two baselines, and the files written.

    Attributes:
        split: Split of the pictures.
        images: Number of pictures.
        tags: Number of tags. `tags_seen` of them occur in the split and count in `macro_f1`; `tags_ranked` have
            at least `min_positives` pictures there and count in `map`.
        map: Mean average precision; None if too few tags count. Figures ending in `_baseline` are of the
            frequencies alone, those ending in `_frozen_head` of the head on the frozen backbone, None if there
            is no such head.
        micro_f1, macro_f1: F1 at `threshold`.
        mse: Mean squared error over all pairs of picture and tag.
        skill: Share of the baseline's squared error that the model removes; None if the baseline has none.
        intervals: 95 % intervals; None if there is too little data.
        seconds: Wall-clock time of the evaluation.
        notes: Warnings for readers.
    """

    split: str
    images: int
    tags: int
    tags_seen: int
    tags_ranked: int
    min_positives: int
    map: float | None
    map_baseline: float | None
    map_frozen_head: float | None
    micro_f1: float
    micro_f1_baseline: float
    micro_f1_frozen_head: float | None
    macro_f1: float
    macro_f1_baseline: float
    macro_f1_frozen_head: float | None
    mse: float
    mse_baseline: float
    skill: float | None
    intervals: Intervals | None
    threshold: float
    seconds: float
    notes: tuple[str, ...]
    metrics: Path
    per_tag: Path
    suggestions: Path
    markdown: Path
    report: Path

    @property
    def table(self) -> Mapping[str, str]:
        """The result for a terminal, in the order of display."""

        def beside(name: str, value: float, baseline: float | None, frozen_head: float | None) -> str:
            interval: Interval | None = getattr(self.intervals, name, None)
            span = f"95 %: {figure(interval.low)} to {figure(interval.high)}; " if interval else ""
            head = "" if frozen_head is None else f"frozen head: {figure(frozen_head)}; "
            return f"{figure(value)}   ({span}{head}frequencies only: {figure(baseline)})"

        errors = f"{small_figure(self.mse)}   (frequencies only: {small_figure(self.mse_baseline)})"
        return {
            "pictures": f"{self.images:,} of the {self.split} split",
            "tags": f"{self.tags:,}: {self.tags_ranked:,} with at least "
            f"{counted(self.min_positives, 'picture')} count in mAP, {self.tags_seen:,} that occur in macro F1",
            **(
                {"mAP": beside("mean_ap", self.map, self.map_baseline, self.map_frozen_head)}
                if self.map is not None
                else {}
            ),
            "micro F1": beside("f1", self.micro_f1, self.micro_f1_baseline, self.micro_f1_frozen_head),
            "macro F1": beside("macro_f1", self.macro_f1, self.macro_f1_baseline, self.macro_f1_frozen_head),
            "squared error": errors,
            "threshold": figure(self.threshold),
            **{"note" if not i else f"note {i + 1}": note for i, note in enumerate(self.notes)},
            "report": str(self.report),
        }


def write_evaluation(config: EvalConfig, *, progress: ProgressHook = ignore_progress) -> EvaluationReport:
    """Evaluate a run and publish the result in `config.report_dir`, replacing an older one.

    Raises:
        UsageError: The run is not finished, or the dataset does not exist or does not fit the model.
        DamagedError: The run or the dataset is damaged.
        DataError: The split is empty or has no known tags, or the model's outputs are not probabilities.
        StorageError: The file system refuses; files of an older report are intact.
    """
    evaluation = evaluate(config, progress=progress)
    return publish_evaluation(evaluation, config.report_dir, generated_at=datetime.now(UTC))


def publish_evaluation(evaluation: Evaluation, out: Path, *, generated_at: datetime) -> EvaluationReport:
    """Write the result, the page last, so that a page always has its tables.

    Raises:
        StorageError: The file system refuses.
    """
    publish_bytes(out / METRICS_FILE, metrics_json(evaluation))
    publish_bytes(out / PER_TAG_FILE, per_tag_csv(evaluation))
    publish_bytes(out / SUGGESTIONS_FILE, suggestions_csv(evaluation))
    publish_bytes(out / MARKDOWN_FILE, render_markdown(evaluation, generated_at=generated_at).encode())
    publish_bytes(out / REPORT_FILE, render_page(evaluation, generated_at=generated_at).encode())
    ours, theirs = evaluation.result.overall.model, evaluation.result.overall.baseline
    frozen_head = evaluation.frozen_head
    return EvaluationReport(
        split=evaluation.split,
        images=evaluation.result.images,
        tags=ours.tags,
        tags_seen=ours.tags_seen,
        tags_ranked=ours.tags_ranked,
        min_positives=evaluation.result.min_positives,
        map=ours.headline_ap,
        map_baseline=theirs.headline_ap,
        map_frozen_head=None if frozen_head is None else frozen_head.headline_ap,
        micro_f1=ours.f1,
        micro_f1_baseline=theirs.f1,
        micro_f1_frozen_head=None if frozen_head is None else frozen_head.f1,
        macro_f1=ours.macro_f1 or 0.0,
        macro_f1_baseline=theirs.macro_f1 or 0.0,
        macro_f1_frozen_head=None if frozen_head is None else frozen_head.macro_f1,
        mse=ours.squared_error,
        mse_baseline=theirs.squared_error,
        skill=evaluation.result.overall.skill,
        intervals=evaluation.result.intervals,
        threshold=evaluation.result.thresholds.model,
        seconds=evaluation.seconds,
        notes=evaluation.notes,
        metrics=out / METRICS_FILE,
        per_tag=out / PER_TAG_FILE,
        suggestions=out / SUGGESTIONS_FILE,
        markdown=out / MARKDOWN_FILE,
        report=out / REPORT_FILE,
    )


def metrics_document(evaluation: Evaluation) -> dict[str, Any]:
    """Make the document of all figures except those of single tags, for programs.

    Headline figures come first, long lists last. There is no NaN, so that all JSON readers accept it.
    """
    result = evaluation.result
    ours, theirs, thresholds = result.overall.model, result.overall.baseline, result.thresholds
    return {
        "split": evaluation.split,
        "images": result.images,
        "tags": len(evaluation.tags),
        "positives_per_image": ours.positives / result.images,
        "map": ours.headline_ap,
        "map_baseline": theirs.headline_ap,
        "micro_f1": ours.f1,
        "micro_f1_baseline": theirs.f1,
        "macro_f1": ours.macro_f1,
        "macro_f1_baseline": theirs.macro_f1,
        "mse": ours.squared_error,
        "mse_baseline": theirs.squared_error,
        "skill": result.overall.skill,
        "intervals_95": None if result.intervals is None else asdict(result.intervals),
        "threshold": thresholds.model,
        "threshold_baseline": thresholds.baseline,
        "threshold_source": thresholds.source,
        "min_positives": result.min_positives,
        "frozen_head": None if evaluation.frozen_head is None else asdict(evaluation.frozen_head),
        "notes": list(evaluation.notes),
        "provenance": dict(evaluation.provenance),
        "training": dict(evaluation.training),
        "seconds": evaluation.seconds,
        "recall_at_10": result.recall_at_10,
        "category_thresholds": dict(thresholds.categories),
        "temperatures": dict(thresholds.temperatures),
        "groups": [_group_document(group) for group in result.groups],
        "reliability": [
            {"kind": group.kind, "name": group.name, "slices": _reliability_document(group.reliability)}
            for group in result.groups
        ],
        "curves": [
            {"kind": "baseline", "name": "all", **_curve_document(result.baseline_curve)},
            *(
                {"kind": group.kind, "name": group.name, **_curve_document(group.curve)}
                for group in result.groups
            ),
        ],
    }


def metrics_json(evaluation: Evaluation) -> bytes:
    """Write the document with one line per entry and per element of a list of objects, for people too."""
    lines = []
    for name, value in metrics_document(evaluation).items():
        many = isinstance(value, list) and value and isinstance(value[0], dict)
        text = ",\n  ".join(map(_json, value)) if many else _json(value)
        lines.append(f" {_json(name)}: [\n  {text}\n ]" if many else f" {_json(name)}: {text}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def per_tag_csv(evaluation: Evaluation) -> bytes:
    """Write one line per tag, in the model's order; RFC 4180 quoting, empty cells for missing values."""
    rows: list[Iterable[object]] = [PER_TAG_COLUMNS]
    images = evaluation.result.images
    for index, row in enumerate(tag_rows(evaluation)):
        frequencies = (row.positives / images, row.predicted / images)
        figures = (*frequencies, row.precision, row.recall, row.f1, row.average_precision, row.baseline_ap)
        rows.append(
            [
                *(index, row.tag.name, row.tag.category.value, row.tag.count),
                *(row.positives, row.predicted, row.correct),
                *("" if value is None else f"{value:.6f}" for value in figures),
                f"{row.squared_error:.9f}",  # a few millionths for a rare tag
                # All digits: rounded up, it would exclude probabilities equal to it.
                row.own_threshold,
            ]
        )
    return csv_table(rows)


def suggestions_csv(evaluation: Evaluation) -> bytes:
    """Write tags that the board may have missed, the most confident first; additions only, never removals."""
    rows: list[Iterable[object]] = [SUGGESTION_COLUMNS]
    for one in evaluation.result.additions:
        tag = evaluation.tags[one.index]
        rows.append([one.id, tag.name, tag.category.value, f"{one.probability:.6f}"])
    return csv_table(rows)


def _json(value: Any) -> str:  # noqa: ANN401 - whatever json can write
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _group_document(group: Group) -> dict[str, Any]:
    return {
        "kind": group.kind,
        "name": group.name,
        "skill": group.skill,
        "map": group.model.headline_ap,
        "map_baseline": group.baseline.headline_ap,
        "model": asdict(group.model),
        "baseline": asdict(group.baseline),
        "intervals_95": None if group.intervals is None else asdict(group.intervals),
        "calibration_error_scaled": None if group.calibrated is None else group.calibrated.expected_error,
    }


def _reliability_document(reliability: Reliability) -> list[dict[str, float]]:
    """List the slices that are not empty."""
    return [
        {"count": int(count), "stated": round(float(stated), 6), "found": round(float(found), 6)}
        for count, stated, found in zip(
            reliability.count, reliability.confidence, reliability.frequency, strict=True
        )
        if count
    ]


def _curve_document(curve: Curve) -> dict[str, list[float]]:
    """Reduce a curve to at most _CURVE_POINTS points, including both ends."""
    every = max(1, -(-len(curve.thresholds) // (_CURVE_POINTS - 1)))
    kept = sorted({*range(0, len(curve.thresholds), every), len(curve.thresholds) - 1} - {-1})
    return {
        "thresholds": curve.thresholds[kept].round(9).tolist(),
        "precision": curve.precision[kept].round(6).tolist(),
        "recall": curve.recall[kept].round(6).tolist(),
    }
