"""Page of a `Comparison`: one self-contained HTML file with a column for each model. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from alti2v.model.comparison.fair_pictures import listed
from alti2v.model.comparison.result import ComparedGroup, ComparedModel, Comparison
from alti2v.model.evaluation.paired_bootstrap import Difference
from alti2v.numerals import counted
from alti2v.records import Tag
from alti2v.report.charts import Chart, Series
from alti2v.report.model_charts import (
    FEWEST_IN_POINT,
    calibration_chart,
    calibration_points,
    curve_points,
    precision_recall_chart,
)
from alti2v.report.rendering import figure, render, small_figure

_RANKING = 12  # number of tags with the largest gains and losses to show
_ROLES = ("all", "c0", "c1", "c2", "c3", "c4", "c5")  # of the models, in turn


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedTag:
    """A tag with enough pictures for a comparison.

    Attributes:
        positives: Number of pictures with it.
        average_precisions: Average precision of each model.
        margins: Half the widths of the 95 % intervals of the differences from the first model; NaN for itself.
    """

    tag: Tag
    positives: int
    average_precisions: tuple[float, ...]
    margins: tuple[float, ...]

    def difference(self, model: int) -> float:
        """Return the gain of a model over the first."""
        return self.average_precisions[model] - self.average_precisions[0]

    def is_shown(self, model: int) -> bool:
        """Return whether the 95 % interval of that gain excludes 0."""
        return abs(self.difference(model)) > self.margins[model]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRow:
    """One figure of a group of tags.

    Attributes:
        group: Words for the group.
        figure: Name of the figure.
        tags: Number of tags that it is computed over.
        values: Value of each model, formatted.
        verdicts: Words for the difference of each model from the first, "" for the first.
        is_first: True for the first row of a group.
        is_total: True for all tags together.
    """

    group: str
    figure: str
    tags: int
    values: tuple[str, ...]
    verdicts: tuple[str, ...]
    is_first: bool
    is_total: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GainedTags:
    """Tags with the largest differences of one model from the first.

    Attributes:
        name: Name of the model.
        number: Its position among the models, from 0.
        gained: Tags with a better average precision, the largest difference first.
        lost: Tags with a worse one, the largest difference first.
        significant: Number of tags whose 95 % interval excludes 0.
    """

    name: str
    number: int
    gained: tuple[ComparedTag, ...]
    lost: tuple[ComparedTag, ...]
    significant: int


def render_comparison(comparison: Comparison, *, generated_at: datetime) -> str:
    """Render the page.

    Args:
        comparison: Comparison to show.
        generated_at: Time shown on the page, with a time zone.
    """
    rows = tag_rows(comparison)
    return render(
        "comparison.html",
        comparison=comparison,
        summary=summary(comparison),
        figures=figure_rows(comparison),
        has_categories=_has_categories(comparison),
        curves=curve_chart(comparison.models),
        calibration=reliability_chart(comparison.models),
        fewest_in_point=FEWEST_IN_POINT,
        gains=[
            gained_tags(rows, number, model.name) for number, model in enumerate(comparison.models) if number
        ],
        rows=sorted(rows, key=lambda row: -(row.difference(-1) if len(row.margins) > 1 else row.positives)),
        categories=sorted({row.tag.category.value for row in rows}),
        generated_at=generated_at,
    )


# Words and numbers --------------------------------------------------------------------------------


def verdict(one: Difference) -> str:
    """Describe the difference of a model from the first one, with its interval."""
    gap = one.second - one.first
    digits = small_figure if one.figure == "squared error" else figure
    low, high = one.interval.low, one.interval.high
    span = f"{_signed(gap, digits)}, 95 % {_signed(low, digits)} to {_signed(high, digits)}"
    if not one.is_shown:
        return f"may be chance ({span})"
    return f"{'better' if one.second_is_better else 'worse'} ({span})"


def summary(comparison: Comparison) -> str:
    """Describe the result in words."""
    first, *others = comparison.models
    unseen = f"On the same {counted(comparison.images, 'picture')}"
    if comparison.split == "test" and any(model.training_is_known for model in comparison.models):
        unseen += ", new to the models whose training is known"
    name, value = _main_figure(first)
    tags = f"{counted(len(comparison.tags), 'tag')} in common"
    if first.overall.scores.headline_ap is not None and first.overall.scores.tags_ranked < len(comparison.tags):
        tags = f"{first.overall.scores.tags_ranked:,} of the {tags}, those with enough pictures"
    words = [f"{unseen}, “{first.name}” reaches {name} {value} over {tags}."]
    near = []  # models whose difference is not shown
    for model in others:
        one = next(one for one in model.paired.differences if one.kind == "all")
        value = _main_figure(model)[1]
        if not one.is_shown:
            near.append(f"“{model.name}” reaches {value}")
        else:
            better = "better" if one.second_is_better else "worse"
            words.append(f"“{model.name}” is {better} with {value}: more than chance explains.")
    if near:
        differences = "difference" if len(near) == 1 else "differences"
        words.append(f"{listed(near)}: the {differences} may be chance.")
    return " ".join(words)


def _main_figure(model: ComparedModel) -> tuple[str, str]:
    scores = model.overall.scores
    if scores.headline_ap is None:
        return "a micro F1 of", figure(scores.f1)
    return "a mean average precision of", figure(scores.headline_ap)


def figure_rows(comparison: Comparison) -> tuple[ComparedRow, ...]:
    """Return the figures by group, a value for each model."""
    rows: list[ComparedRow] = []
    for place, group in enumerate(comparison.models[0].groups):
        if group.kind == "category" and not _has_categories(comparison):
            continue  # a single one repeats the row of all tags
        groups = [model.groups[place] for model in comparison.models]
        words = {"all": "all tags", "frequency": f"{group.name} in training"}.get(group.kind, group.name)
        for number, (name, tags, value) in enumerate(_figures(group)):
            if value is None:
                continue
            rows.append(
                ComparedRow(
                    group=words,
                    figure=name,
                    tags=tags,
                    values=tuple(_figures(one)[number][2] or "–" for one in groups),
                    verdicts=tuple(_verdict_of(model, group, name) for model in comparison.models),
                    is_first=not rows or rows[-1].group != words,
                    is_total=group.kind == "all",
                )
            )
    return tuple(rows)


def _has_categories(comparison: Comparison) -> bool:
    return sum(group.kind == "category" for group in comparison.models[0].groups) > 1


def _figures(group: ComparedGroup) -> list[tuple[str, int, str | None]]:
    """Return name, number of tags and value of each figure of a group; None if it is undefined."""
    scores = group.scores
    return [
        ("mAP", scores.tags_ranked, None if scores.headline_ap is None else figure(scores.headline_ap)),
        ("micro F1", scores.tags, figure(scores.f1)),
        ("macro F1", scores.tags_seen, None if scores.macro_f1 is None else figure(scores.macro_f1)),
        ("squared error", scores.tags, small_figure(scores.squared_error)),
        ("calibration error", scores.tags, small_figure(scores.calibration_error)),
    ]


def _verdict_of(model: ComparedModel, group: ComparedGroup, name: str) -> str:
    found = [
        verdict(one)
        for one in model.paired.differences
        if (one.kind, one.group, one.figure) == (group.kind, group.name, name)
    ]
    return found[0] if found else ""


def tag_rows(comparison: Comparison) -> tuple[ComparedTag, ...]:
    """Return a row for each tag with enough pictures, in the first model's order."""
    paired = [model.paired for model in comparison.models]
    return tuple(
        ComparedTag(
            tag=comparison.tags[index],
            positives=int(comparison.positives[index]),
            average_precisions=tuple(float(one.average_precision[index]) for one in paired),
            margins=tuple(float(one.margin[index]) for one in paired),
        )
        for index in np.flatnonzero(~np.isnan(paired[0].average_precision))
    )


def gained_tags(rows: Sequence[ComparedTag], number: int, name: str) -> GainedTags:
    """Choose the tags with the largest gains and losses of model `number` over the first."""
    by_gain = sorted(rows, key=lambda row: -row.difference(number))
    return GainedTags(
        name=name,
        number=number,
        gained=tuple(row for row in by_gain if row.difference(number) > 0)[:_RANKING],
        lost=tuple(row for row in reversed(by_gain) if row.difference(number) < 0)[:_RANKING],
        significant=sum(row.is_shown(number) for row in rows),
    )


def _signed(value: float, digits: Callable[[float], str]) -> str:
    return f"{'−' if value < 0 else '+'}{digits(abs(value))}"


# Charts -------------------------------------------------------------------------------------------


def curve_chart(models: Sequence[ComparedModel]) -> Chart:
    """Draw precision over recall for each model; its threshold is a marker."""
    drawn = [
        Series(name=f"{number + 1} {model.name}", points=curve_points(model.overall.curve), role=_role(number))
        for number, model in enumerate(models)
    ]
    markers = [
        ((model.overall.scores.recall, model.overall.scores.precision), f"{number + 1}", _role(number))
        for number, model in enumerate(models)
    ]
    return precision_recall_chart(drawn[::-1], markers=markers)


def reliability_chart(models: Sequence[ComparedModel]) -> Chart:
    """Draw the share of pictures with a tag over its predicted probability, for each model."""
    drawn = [
        Series(
            name=f"{number + 1} {model.name}",
            points=calibration_points(model.overall.reliability),
            role=_role(number),
            dots=True,
        )
        for number, model in enumerate(models)
    ]
    return calibration_chart(drawn[::-1])


def _role(number: int) -> str:
    again = " again" if number >= len(_ROLES) else ""  # a second style sheet class, with other dashes
    return _ROLES[number % len(_ROLES)] + again
