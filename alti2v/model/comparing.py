"""Which of two taggers is better, and how sure that is: paired differences over the same pictures.

A picture that is hard is hard for both, so the difference of two figures is known far better than either of
them. Its standard error comes from the same derivatives as the intervals of one figure (`intervals`), taken of
the difference: the sum over pictures of the squared difference of their influences. It is the paired bootstrap
of pictures to first order, without drawing samples.

Pure numpy; knows neither networks nor datasets nor reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alti2v.model.histograms import BINS, MIDDLES, Floats, Histograms
from alti2v.model.intervals import (
    NORMAL_95,
    Codes,
    Interval,
    Table,
    average_precision_influence,
    tag_f1_influence,
)
from alti2v.model.metrics import Mask, TagScores, category_masks, score_tags, summarise, threshold_bin
from alti2v.records import Tag

_ROWS = 128  # pictures at a time: (rows, T) float64 intermediates of 5 MB at 5000 tags


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one model said about the pictures.

    Attributes:
        histograms: of T tags.
        codes: (N, T), see `intervals.encode`; picture n is the same on both sides. May be a memory map.
        threshold: for all tags.
    """

    histograms: Histograms
    codes: Codes
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One figure of two models.

    Attributes:
        figure: "mAP", "micro F1", "macro F1" or "squared error".
        group: "all" or a category.
        tags: how many tags it is over.
        first, second: of the models.
        interval: 95 %, of second - first.
    """

    figure: str
    group: str
    tags: int
    first: float
    second: float
    interval: Interval

    @property
    def is_shown(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.interval.low <= 0 <= self.interval.high

    @property
    def second_is_better(self) -> bool:
        """Of the values; a squared error is better where it is smaller."""
        return (self.second > self.first) != (self.figure == "squared error")


@dataclass(frozen=True, slots=True, kw_only=True)
class TagDifferences:
    """Average precision tag by tag, (T,) float64 each; NaN where too few pictures carry the tag.

    Attributes:
        margin: half the width of the 95 % interval of second - first.
    """

    first: Floats
    second: Floats
    margin: Floats


def compare_sides(
    first: Side, second: Side, *, tags: Sequence[Tag], min_positives: int
) -> tuple[tuple[Difference, ...], TagDifferences]:
    """Compare two models on the same pictures.

    Args:
        first: what one model said.
        second: what the other said of the same pictures, in the same order.
        tags: T of them.
        min_positives: positive pictures that a tag needs for a place in the mean of average precisions.

    Returns:
        The figures over all tags, then category by category; and the average precision of each tag.
    """
    groups = _groups(tags)
    sides = [_Derivatives(side, groups, min_positives) for side in (first, second)]
    squares = np.zeros((len(_FIGURES), len(groups)))
    tag_squares = np.zeros(len(tags))
    for start in range(0, len(first.codes), _ROWS):
        rows = slice(start, start + _ROWS)
        of_groups, of_tags = zip(*(side.of_pictures(rows) for side in sides), strict=True)
        squares += np.square(of_groups[1] - of_groups[0]).sum(axis=1)
        tag_squares += np.square(of_tags[1].astype(np.float64) - of_tags[0]).sum(axis=0)
    margins = NORMAL_95 * np.sqrt(squares)
    differences = tuple(
        _difference(figure, name, mask, sides, margins[row, column], min_positives)
        for column, (name, mask) in enumerate(groups)
        for row, figure in enumerate(_FIGURES)
        if figure != "mAP" or (mask & sides[0].ranked).any()
    )
    unranked = ~sides[0].ranked
    per_tag = TagDifferences(
        first=np.where(unranked, np.nan, sides[0].scores.average_precision),
        second=np.where(unranked, np.nan, sides[1].scores.average_precision),
        margin=np.where(unranked, np.nan, NORMAL_95 * np.sqrt(tag_squares)),
    )
    return differences, per_tag


# Order of the rows of every (figure, group) array here.
_FIGURES = ("mAP", "micro F1", "macro F1", "squared error")


class _Derivatives:
    """Derivatives of one side's figures by the weight of a picture."""

    def __init__(self, side: Side, groups: Sequence[tuple[str, Mask]], min_positives: int) -> None:
        self.side = side
        self.scores: TagScores = score_tags(side.histograms, threshold=side.threshold)
        self.ranked: Mask = self.scores.positives >= max(min_positives, 1)
        self._precision: Table = average_precision_influence(side.histograms, self.ranked)
        self._f1: Table = tag_f1_influence(self.scores, side.threshold)
        masks = np.array([mask for _, mask in groups])  # (G, T)
        self._members = masks.T.astype(np.float64)
        self._in_map = _shares(masks & self.ranked)
        self._in_macro = _shares(masks & (self.scores.positives > 0))
        self._marks = masks @ (self.scores.predicted + self.scores.positives)  # (G,)
        self._micro = 2 * (masks @ self.scores.correct) / np.maximum(self._marks, 1)
        self._error = masks @ _squared_errors(side.histograms) / self._pairs

    @property
    def _pairs(self) -> Floats:
        pairs: Floats = np.maximum(self._members.sum(axis=0) * self.scores.images, 1)
        return pairs

    def of_pictures(self, rows: slice) -> tuple[Floats, Table]:
        """((figures, B, G), (B, T) of the average precision of each tag)."""
        codes = np.asarray(self.side.codes[rows]).astype(np.int64)
        cells = codes + np.arange(codes.shape[1]) * (2 * BINS)
        labels = codes >= BINS
        passes = codes % BINS >= threshold_bin(self.side.threshold)
        precision: Table = self._precision.reshape(-1)[cells]
        f1 = self._f1.reshape(-1)[cells]
        errors = np.square(MIDDLES[codes % BINS] - labels)
        correct = (passes & labels) @ self._members
        marks = (passes.astype(np.float64) + labels) @ self._members
        micro = (2 * correct - self._micro * marks) / np.maximum(self._marks, 1)
        # The mean over pairs: a heavier picture adds its own error and counts in the divisor.
        error = (errors @ self._members - self._error * self._members.sum(axis=0)) / self._pairs
        return np.stack([precision @ self._in_map, micro, f1 @ self._in_macro, error]), precision


def _difference(
    figure: str,
    group: str,
    mask: Mask,
    sides: Sequence[_Derivatives],
    margin: float,
    min_positives: int,
) -> Difference:
    values, tags = [], 0
    for side in sides:
        scores = summarise(side.side.histograms, side.scores, min_positives=min_positives, tags=mask)
        value, tags = {
            "mAP": (scores.mean_ap or 0.0, scores.tags_ranked),
            "micro F1": (scores.f1, scores.tags),
            "macro F1": (scores.macro_f1 or 0.0, scores.tags_seen),
            "squared error": (scores.squared_error, scores.tags),
        }[figure]
        values.append(value)
    gap = values[1] - values[0]
    return Difference(
        figure=figure,
        group=group,
        tags=tags,
        first=values[0],
        second=values[1],
        interval=Interval(low=float(gap - margin), high=float(gap + margin)),
    )


def _groups(tags: Sequence[Tag]) -> list[tuple[str, Mask]]:
    return [("all", np.ones(len(tags), bool)), *category_masks(tags).items()]


def _shares(masks: Mask) -> Floats:
    """(T, G): what a tag weighs in the mean over the tags of each mask (G, T)."""
    shares: Floats = (masks / np.maximum(masks.sum(axis=1, keepdims=True), 1)).T
    return shares


def _squared_errors(histograms: Histograms) -> Floats:
    """(T,): sums of squared errors of probabilities in the middle of their bins."""
    negatives = histograms.totals - histograms.positives
    errors: Floats = histograms.positives @ np.square(1 - MIDDLES) + negatives @ np.square(MIDDLES)
    return errors
