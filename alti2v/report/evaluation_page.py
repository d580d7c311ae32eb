"""Page of an `Evaluation`: one self-contained HTML file. Pure: the date is a parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from alti2v.model.evaluation.bootstrap import Interval
from alti2v.model.evaluation.gallery import GalleryReason
from alti2v.model.evaluation.metrics import Scores, skill
from alti2v.model.evaluation.reliability import Reliability
from alti2v.model.evaluation.result import Evaluation, Group
from alti2v.model.training.log import best_network
from alti2v.numerals import counted
from alti2v.records import Category, Tag
from alti2v.report.charts import Axis, Chart, Series, line_chart, nice_axis, unit_axis
from alti2v.report.model_charts import (
    FEWEST_IN_POINT,
    calibration_chart,
    calibration_points,
    curve_points,
    precision_recall_chart,
)
from alti2v.report.rendering import figure, render, small_figure

_RANKING = 12  # best and worst tags to show
_FEWEST_POINTS = 4  # of a calibration curve
_FEW = 12  # epochs; below this, dots show how few they are, and a single one is visible at all
# Each category has its own colour, so that two reports can be compared.
_ROLES = {category.value: f"c{index}" for index, category in enumerate(Category)}
_LOSSES = {"val_loss": ("validation", "c0"), "loss": ("training", "all")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One of the large figures at the top.

    Attributes:
        name: Name of the metric.
        value: Figure of the model.
        baseline: Figure of the frequencies alone.
        frozen_head: Figure of the head on the frozen backbone; None if there is none.
        interval: 95 % interval; None if unknown.
        meaning: Explanation in one sentence.
    """

    name: str
    value: float
    baseline: float
    frozen_head: float | None
    interval: Interval | None
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationCount:
    """Predictions in a range of probabilities, and how many of them are labels."""

    range: str
    predictions: int
    labels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedTag:
    """Row of the table of all tags; None for undefined figures."""

    tag: Tag
    positives: int
    predicted: int
    correct: int
    precision: float
    recall: float
    f1: float
    average_precision: float | None
    baseline_ap: float | None
    squared_error: float
    own_threshold: float


def render_page(evaluation: Evaluation, *, generated_at: datetime) -> str:
    """Render the report.

    Args:
        evaluation: Evaluation to show.
        generated_at: Time shown on the page, with a time zone.
    """
    rows = tag_rows(evaluation)
    return render(
        "evaluation.html",
        evaluation=evaluation,
        result=evaluation.result,
        overall=evaluation.result.overall,
        headlines=headlines(evaluation),
        summary=summary(evaluation),
        curves=curve_chart(evaluation),
        calibration=reliability_chart(evaluation.result.overall),
        calibration_counts=calibration_counts(evaluation.result.overall.reliability),
        calibrations=category_reliability_chart(evaluation.result.of_kind("category")),
        fewest_in_point=FEWEST_IN_POINT,
        training_charts=training_charts(evaluation.log),
        rows=rows,
        groups=distinct_groups(evaluation.result.groups),
        training_facts=training_facts(evaluation.training),
        ranked=_ranked(rows, evaluation.result.min_positives),
        ranking=_RANKING,
        categories=[group.name for group in evaluation.result.of_kind("category")],
        picks=[
            pick.value for pick in GalleryReason if any(pick in one.picks for one in evaluation.result.pictures)
        ],
        generated_at=generated_at,
    )


# Words ------------------------------------------------------------------------------------------


def summary(evaluation: Evaluation) -> str:
    """Describe the result in words."""
    ours, theirs = evaluation.result.overall.model, evaluation.result.overall.baseline
    unseen = "" if evaluation.split == "train" else " that training never saw"
    head = evaluation.frozen_head
    if ours.headline_ap is None:
        reached, baseline = f"a micro F1 of {figure(ours.f1)}", theirs.f1
        worth = "" if head is None else _worth_of_tuning(ours.f1, head.f1)
    else:
        tags = counted(ours.tags_ranked, "tag")
        reached = f"a mean average precision of {figure(ours.headline_ap)} over {tags}"
        baseline = theirs.headline_ap or 0.0
        worth = "" if head is None else _worth_of_tuning(ours.headline_ap, head.headline_ap)
    return (
        f"On {counted(evaluation.result.images, 'picture')}{unseen}, the tagger reaches {reached}. Knowing how "
        f"frequent each tag is, without seeing a picture, gives {figure(baseline)}.{worth}"
    )


def _worth_of_tuning(tuned: float | None, frozen: float | None) -> str:
    """Compare the tuned network with its frozen head, after a space; "" if either has no figure."""
    if tuned is None or frozen is None:
        return ""
    no_gain = " Fine-tuning did not improve on the frozen head here." if tuned < frozen else ""
    return f" The head alone, before fine-tuning, reaches {figure(frozen)}.{no_gain}"


def distinct_groups(groups: Sequence[Group]) -> list[Group]:
    """Leave out a single category, which repeats the row of all tags."""
    of_categories = [group for group in groups if group.kind == "category"]
    return [group for group in groups if len(of_categories) > 1 or group.kind != "category"]


_FACTS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "parameters": ("parameters", "{:,}".format),
    "precision": ("trained in", str),
    "epochs": ("epochs", "{:,}".format),
    "steps": ("steps", "{:,}".format),
    "patience": ("patience", lambda epochs: counted(epochs, "epoch")),
    "loss": ("training loss", small_figure),
    "best_epoch": ("best network", best_network),
    "validation_map": ("validation mAP, all tags", figure),
    "validation_micro_f1": ("validation micro F1", figure),
    "threshold": ("threshold", figure),
    "seconds": ("training time", lambda seconds: f"{seconds / 60:,.1f} minutes"),
    "samples_per_s": ("training speed", "{:,.0f} pictures/s".format),
    "input_wait": ("waiting for input", "{:.1%}".format),
}


def training_facts(training: Mapping[str, Any]) -> dict[str, str]:
    """Format the figures of a training for readers, by name; those that are unknown are left out."""
    found = {
        label: in_words(value)
        for name, (label, in_words) in _FACTS.items()
        if (value := training.get(name)) is not None
    }
    if training.get("stopped_early"):
        found["epochs"] += ", stopped early"
    if training.get("is_averaged"):
        found["best network"] = best_network(training["best_epoch"], is_averaged=True)
    return found


def headlines(evaluation: Evaluation) -> tuple[Headline, ...]:
    """Return the large figures, each with its baselines."""
    scores, result = evaluation.result.overall.model, evaluation.result
    enough = counted(result.min_positives, "picture")
    ranked = f"{counted(scores.tags_ranked, 'tag')} with at least {enough}"
    found = (
        _headline(
            evaluation,
            "Mean average precision",
            lambda one: one.headline_ap,
            interval="mean_ap",
            meaning=f"How well each tag ranks the pictures; mean over {ranked}.",
        ),
        _headline(
            evaluation,
            "Micro F1",
            lambda one: one.f1,
            interval="f1",
            meaning="Precision and recall of all tags together, with one threshold.",
        ),
        _headline(
            evaluation,
            "Macro F1",
            lambda one: one.macro_f1,
            interval="macro_f1",
            meaning=f"F1 of each tag alone; mean over all {counted(scores.tags_seen, 'tag')} that occur here.",
        ),
        _headline(
            evaluation,
            "Brier skill",
            lambda one: skill(one.squared_error, result.overall.baseline.squared_error),
            interval="skill",
            meaning="Share of the frequencies’ squared error that is removed: "
            f"{small_figure(scores.squared_error)} instead of "
            f"{small_figure(result.overall.baseline.squared_error)}.",
        ),
    )
    return tuple(one for one in found if one is not None)


def _headline(
    evaluation: Evaluation, name: str, of: Callable[[Scores], float | None], *, interval: str, meaning: str
) -> Headline | None:
    """Make a large figure; None if it is undefined for the model. `of` returns the figure of some scores."""
    overall, head = evaluation.result.overall, evaluation.frozen_head
    value = of(overall.model)
    if value is None:
        return None
    return Headline(
        name=name,
        value=value,
        baseline=of(overall.baseline) or 0.0,
        frozen_head=None if head is None else of(head),
        interval=getattr(evaluation.result.intervals, interval, None),
        meaning=meaning,
    )


# Tags -------------------------------------------------------------------------------------------


def tag_rows(evaluation: Evaluation) -> tuple[EvaluatedTag, ...]:
    """Return one row per tag, in the model's order."""
    ours, theirs = evaluation.result.tag_scores, evaluation.result.baseline_scores
    precision, recall, f1 = ours.precision, ours.recall, ours.f1
    return tuple(
        EvaluatedTag(
            tag=tag,
            positives=int(ours.positives[index]),
            predicted=int(ours.predicted[index]),
            correct=int(ours.correct[index]),
            precision=float(precision[index]),
            recall=float(recall[index]),
            f1=float(f1[index]),
            average_precision=_known(ours.average_precision[index]),
            baseline_ap=_known(theirs.average_precision[index]),
            squared_error=float(ours.squared_error[index]),
            own_threshold=float(evaluation.result.thresholds.own[index]),
        )
        for index, tag in enumerate(evaluation.tags)
    )


def _ranked(rows: Sequence[EvaluatedTag], min_positives: int) -> list[EvaluatedTag]:
    """Sort tags with enough pictures for a comparison, best first."""
    enough = [row for row in rows if row.positives >= min_positives and row.average_precision is not None]
    return sorted(enough, key=lambda row: -(row.average_precision or 0.0))


def _known(value: np.floating | float) -> float | None:
    return None if np.isnan(value) else float(value)


# Charts -----------------------------------------------------------------------------------------


def curve_chart(evaluation: Evaluation) -> Chart:
    """Draw precision over recall for the baseline, each category and all tags; the threshold is a marker."""
    baseline = curve_points(evaluation.result.baseline_curve)
    series = [Series(name="frequencies only", points=baseline, role="baseline")]
    categories = evaluation.result.of_kind("category")
    if len(categories) > 1:
        series += [
            Series(name=group.name, points=curve_points(group.curve), role=_ROLES[group.name])
            for group in categories
        ]
    overall = evaluation.result.overall
    series.append(Series(name="all tags", points=curve_points(overall.curve), role="all"))
    return precision_recall_chart(
        series,
        markers=[((overall.model.recall, overall.model.precision), f"F1 {overall.model.f1:.3f}", "all")],
    )


def reliability_chart(group: Group) -> Chart:
    """Draw the share of pictures with a tag over its predicted probability."""
    series = []
    if group.calibrated is not None:
        scaled = calibration_points(group.calibrated)
        series.append(Series(name="after temperature scaling", points=scaled, role="c0"))
    ours = calibration_points(group.reliability)
    return calibration_chart([*series, Series(name="all tags", points=ours, role="all", dots=True)])


def calibration_counts(reliability: Reliability) -> list[CalibrationCount]:
    """Count predictions and labels in fifths of [0, 1], where a chart would have too few points; else none."""
    if np.count_nonzero(reliability.count >= FEWEST_IN_POINT) >= _FEWEST_POINTS:
        return []
    labels = np.nan_to_num(reliability.count * reliability.frequency)
    sums = zip(reliability.count.reshape(5, -1).sum(axis=1), labels.reshape(5, -1).sum(axis=1), strict=True)
    return [
        CalibrationCount(
            range=f"{number / 5:.1f} to {(number + 1) / 5:.1f}",
            predictions=int(count),
            labels=round(float(found)),
        )
        for number, (count, found) in enumerate(sums)
        if count
    ]


def category_reliability_chart(categories: Sequence[Group]) -> Chart | None:
    """Draw the same for each category, before scaling; None for a single category."""
    if len(categories) < 2:
        return None
    series = [
        Series(name=one.name, points=calibration_points(one.reliability), role=_ROLES[one.name], dots=True)
        for one in categories
    ]
    return calibration_chart(series, "The same by category")


def training_charts(log: Sequence[Mapping[str, float]]) -> tuple[Chart, ...]:
    """Draw loss and validation mAP by epoch, as far as the log has them; epoch 0 is the head start."""
    return tuple(
        line_chart(title, series, x=_epoch_axis(series), y=axis, height=280)
        for title, series, axis in training_series(log)
    )


def training_series(log: Sequence[Mapping[str, float]]) -> list[tuple[str, list[Series], Axis]]:
    """Return the title, the series and the vertical axis of each chart of a training."""
    charts = []
    losses = [
        Series(name=name, points=points, role=role, dots=len(points) <= _FEW)
        for column, (name, role) in _LOSSES.items()
        if (points := _by_epoch(log, column))
    ]
    if losses:
        values = [value for one in losses for _, value in one.points]
        charts.append(("Loss", losses, nice_axis("Loss", values)))
    if scores := _by_epoch(log, "val_map"):
        one = Series(name="validation", points=scores, role="c0", dots=len(scores) <= _FEW)
        charts.append(("Mean average precision on validation, all tags", [one], unit_axis("mAP")))
    return charts


def _by_epoch(log: Sequence[Mapping[str, float]], column: str) -> list[tuple[float, float]]:
    return [(row["epoch"], row[column]) for row in log if "epoch" in row and column in row]


def _epoch_axis(series: Sequence[Series]) -> Axis:
    """Return an axis from 0 to the last epoch, which is rarely a round number."""
    last = max(epoch for one in series for epoch, _ in one.points)
    ticks = [tick for tick in nice_axis("", [last]).ticks if tick == round(tick) and tick <= last]
    return Axis(label="Epoch", low=0, high=max(last, 1), ticks=ticks, digits=0)
