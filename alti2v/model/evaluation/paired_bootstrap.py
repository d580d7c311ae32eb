"""Paired bootstrap: differences between two taggers on the same pictures, with intervals.

A hard picture is hard for both, so the difference of two metrics is known far better than either of them. Both
models therefore get the same draws (`bootstrap`), and the difference is computed in each draw.

Pure numpy; independent of networks, datasets and reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alti2v.model.arrays import BoolArray, Float64Array
from alti2v.model.evaluation.bootstrap import (
    Codes,
    DrawCounts,
    Interval,
    Resampled,
    by_tag,
    draw_pictures,
    macro_f1s,
    margin,
    mean_aps,
    micro_f1s,
    resample,
)
from alti2v.model.evaluation.histograms import Histograms
from alti2v.model.evaluation.metrics import TagScores, category_masks, score_tags, summarise
from alti2v.records import Tag


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutcomes:
    """Predictions of one model for the pictures, counted.

    Attributes:
        histograms: Histograms of T tags.
        codes: (N, T) of `bootstrap.encode`; picture n is the same for both models. May be a memory map.
        threshold: Threshold of all tags.
    """

    histograms: Histograms
    codes: Codes
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One metric of two models.

    Attributes:
        figure: "mAP", "micro F1", "macro F1" or "squared error".
        group: "all" or a category.
        tags: Number of tags that it is computed over.
        first, second: Values of the two models.
        interval: 95 % interval of second - first.
    """

    figure: str
    group: str
    tags: int
    first: float
    second: float
    interval: Interval

    @property
    def is_shown(self) -> bool:
        """True if the interval does not contain 0."""
        return not self.interval.low <= 0 <= self.interval.high

    @property
    def second_is_better(self) -> bool:
        """True if the second value is better; a squared error is better if it is smaller."""
        return (self.second > self.first) != (self.figure == "squared error")


@dataclass(frozen=True, slots=True, kw_only=True)
class TagDifferences:
    """Average precision of each tag, (T,) float64 each; NaN if too few pictures carry the tag.

    Attributes:
        first, second: Values of the two models.
        margin: Half the width of the 95 % interval of second - first.
    """

    first: Float64Array
    second: Float64Array
    margin: Float64Array


def compare_sides(
    first: ModelOutcomes, second: ModelOutcomes, *, tags: Sequence[Tag], min_positives: int
) -> tuple[tuple[Difference, ...], TagDifferences]:
    """Compare two models on the same pictures.

    Args:
        first: Outcomes of one model.
        second: Outcomes of the other on the same pictures, in the same order.
        tags: The T tags.
        min_positives: Positive pictures that a tag needs to count in the mean average precision.

    Returns:
        The differences over all tags, then for each category; and the average precision of each tag.
    """
    groups = [("all", np.ones(len(tags), bool)), *category_masks(tags).items()]
    weights = draw_pictures(len(first.codes))
    sides = [_scored(side, weights, groups, min_positives) for side in (first, second)]
    differences = tuple(
        _difference(figure, name, mask, sides, row, min_positives)
        for row, (name, mask) in enumerate(groups)
        for figure in _FIGURES
        if figure != "mAP" or (mask & sides[0].ranked).any()
    )
    drawn = sides[1].resampled.average_precision - sides[0].resampled.average_precision
    unranked = ~sides[0].ranked
    halves = np.full(len(tags), np.nan)
    halves[sides[0].ranked] = margin(drawn[sides[0].ranked])
    return differences, TagDifferences(
        first=np.where(unranked, np.nan, sides[0].scores.average_precision),
        second=np.where(unranked, np.nan, sides[1].scores.average_precision),
        margin=halves,
    )


_FIGURES = ("mAP", "micro F1", "macro F1", "squared error")


@dataclass(frozen=True, slots=True)
class _Scored:
    """Scores of one model, on the pictures themselves and in every draw."""

    histograms: Histograms
    scores: TagScores
    ranked: BoolArray
    resampled: Resampled


def _scored(
    side: ModelOutcomes, weights: DrawCounts, groups: Sequence[tuple[str, BoolArray]], min_positives: int
) -> _Scored:
    scores = score_tags(side.histograms, threshold=side.threshold)
    ranked = scores.positives >= max(min_positives, 1)
    resampled = resample(
        by_tag(side.codes),
        weights,
        threshold=side.threshold,
        ranked=ranked,
        groups=[mask for _, mask in groups],
    )
    return _Scored(histograms=side.histograms, scores=scores, ranked=ranked, resampled=resampled)


def _drawn(figure: str, side: _Scored, mask: BoolArray, row: int) -> Float64Array:
    """A metric of a group of tags, the `row`-th of the resampled ones, in each draw: (R,)."""
    if figure == "mAP":
        drawn = mean_aps(side.resampled, side.ranked & mask)
        assert drawn is not None, "called only if a tag is ranked"
        return drawn
    if figure == "micro F1":
        return micro_f1s(side.resampled, mask)
    if figure == "macro F1":
        return macro_f1s(side.resampled, mask)
    errors: Float64Array = side.resampled.errors[row] / (side.resampled.images * max(int(mask.sum()), 1))
    return errors


def _difference(
    figure: str,
    group: str,
    mask: BoolArray,
    sides: Sequence[_Scored],
    row: int,
    min_positives: int,
) -> Difference:
    values, tags = [], 0
    for side in sides:
        scores = summarise(side.histograms, side.scores, min_positives=min_positives, tags=mask)
        value, tags = {
            "mAP": (scores.mean_ap or 0.0, scores.tags_ranked),
            "micro F1": (scores.f1, scores.tags),
            "macro F1": (scores.macro_f1 or 0.0, scores.tags_seen),
            "squared error": (scores.squared_error, scores.tags),
        }[figure]
        values.append(value)
    gap = values[1] - values[0]
    drawn = _drawn(figure, sides[1], mask, row) - _drawn(figure, sides[0], mask, row)
    half = float(margin(drawn)) if (~np.isnan(drawn)).any() else 0.0
    return Difference(
        figure=figure,
        group=group,
        tags=tags,
        first=values[0],
        second=values[1],
        interval=Interval(low=float(gap - half), high=float(gap + half)),
    )
