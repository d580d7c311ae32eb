"""Paired bootstrap: differences between taggers on the same pictures, with intervals.

A hard picture is hard for all, so the difference of two metrics is known far better than either of them. All
models therefore get the same draws (`bootstrap`), and the difference is computed in each draw.

Pure numpy; independent of networks, datasets and reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alti2v.arrays import BoolArray, Float64Array
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
from alti2v.model.evaluation.metrics import TagScores, are_enough, score_tags, summarise

TagGroup = tuple[str, str, BoolArray]  # kind, name and mask (T,), see `scoring.groups_of`


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutcomes:
    """Predictions of one model for the pictures, counted.

    Attributes:
        histograms: Histograms of T tags.
        codes: (N, T) of `bootstrap.encode`; picture n is the same for all models. May be a memory map.
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
        kind: Kind of the group: "all", "category" or "frequency".
        group: "all", a category, or a range of training counts.
        tags: Number of tags that it is computed over.
        first, second: Values of the two models.
        interval: 95 % interval of second - first.
    """

    figure: str
    kind: str
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
class PairedScores:
    """Scores of one model, and their differences from the first model's.

    Attributes:
        scores: Scores of each tag at the threshold of all tags.
        average_precision: (T,) float64; NaN if too few pictures carry the tag.
        margin: (T,) float64, half the width of the 95 % interval of the difference of average precisions; NaN
            if too few pictures carry the tag, and for the first model.
        differences: Differences by group; empty for the first model.
    """

    scores: TagScores
    average_precision: Float64Array
    margin: Float64Array
    differences: tuple[Difference, ...]


def compare_models(
    models: Sequence[ModelOutcomes], *, groups: Sequence[TagGroup], min_positives: int
) -> tuple[PairedScores, ...]:
    """Compare models with the first one on the same pictures.

    Args:
        models: Outcomes of each model on the same pictures, in the same order.
        groups: Groups of tags.
        min_positives: Positive pictures that a tag needs to count in the mean average precision.
    """
    weights = draw_pictures(len(models[0].codes))
    first = _scored(models[0], weights, groups, min_positives)
    nothing = np.full(len(first.ranked), np.nan)
    found = [
        PairedScores(scores=first.scores, average_precision=_ranked_aps(first), margin=nothing, differences=())
    ]
    for model in models[1:]:  # one at a time: the draws of a model take 16 bytes a tag and draw
        other = _scored(model, weights, groups, min_positives)
        drawn = other.resampled.average_precision - first.resampled.average_precision
        halves = nothing.copy()
        halves[first.ranked] = margin(drawn[first.ranked])
        differences = tuple(
            _difference(figure, group, (first, other), row, min_positives)
            for row, group in enumerate(groups)
            for figure in _FIGURES
            if figure != "mAP" or are_enough(int((group[2] & first.ranked).sum()), tags=int(group[2].sum()))
        )
        found.append(
            PairedScores(
                scores=other.scores,
                average_precision=_ranked_aps(other),
                margin=halves,
                differences=differences,
            )
        )
    return tuple(found)


_FIGURES = ("mAP", "micro F1", "macro F1", "squared error")


@dataclass(frozen=True, slots=True)
class _Scored:
    """Scores of one model, on the pictures themselves and in every draw."""

    histograms: Histograms
    scores: TagScores
    ranked: BoolArray
    resampled: Resampled


def _scored(
    side: ModelOutcomes, weights: DrawCounts, groups: Sequence[TagGroup], min_positives: int
) -> _Scored:
    scores = score_tags(side.histograms, threshold=side.threshold)
    ranked = scores.positives >= max(min_positives, 1)
    resampled = resample(
        by_tag(side.codes),
        weights,
        threshold=side.threshold,
        ranked=ranked,
        groups=[mask for _, _, mask in groups],
    )
    return _Scored(histograms=side.histograms, scores=scores, ranked=ranked, resampled=resampled)


def _ranked_aps(side: _Scored) -> Float64Array:
    return np.where(side.ranked, side.scores.average_precision, np.nan)


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
    figure: str, group: TagGroup, sides: Sequence[_Scored], row: int, min_positives: int
) -> Difference:
    kind, name, mask = group
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
        kind=kind,
        group=name,
        tags=tags,
        first=values[0],
        second=values[1],
        interval=Interval(low=float(gap - half), high=float(gap + half)),
    )
