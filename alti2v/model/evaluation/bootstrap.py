"""How sure a figure is: the bootstrap of pictures.

As many pictures as there are are drawn from them with replacement, some hundred times, and every figure is
computed again for each draw (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 6). Its
standard deviation over the draws is the figure's standard error, and 1.96 of it to either side are the 95 %
interval. Two models are given the same draws, so that differences are paired.

Pure numpy. What a picture contributed is remembered as 2 bytes a tag, a code: bin + BINS * label. A draw is not
made of pictures but of how often each of them is in it, so all draws of a tag are sums of rows of one table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alti2v.model.arrays import BoolArray, Float64Array, Int64Array
from alti2v.model.evaluation.histograms import BINS, MIDDLES
from alti2v.model.evaluation.metrics import threshold_bin

Codes = npt.NDArray[np.uint16]
DrawCounts = npt.NDArray[np.unsignedinteger]  # (N, R), how often each picture is in each draw

NORMAL_95 = 1.959964  # 97.5 % quantile of the standard normal distribution
# The standard error of 400 draws is itself sure to 3.5 %: 1 / sqrt(2 R).
_DRAWS, _LEAST_DRAWS = 400, 50
_MOST_WEIGHTS = 2**24  # beyond, memory allows fewer draws: splits of 42,000 pictures and more
_TAGS = 128  # columns at a time: 5 MB of codes at 20,000 pictures
_ERRORS: Float64Array = np.square(np.tile(MIDDLES, 2) - np.repeat([0.0, 1.0], BINS))  # by code


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a figure would lie in 95 of 100 other choices of as many pictures."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """95 % intervals of some tags' figures; they know of the choice of pictures, not of training.

    Attributes:
        draws: of the bootstrap.
        mean_ap: None if no tag is ranked; `skill` where the baseline makes no error.
    """

    draws: int
    mean_ap: Interval | None
    f1: Interval
    macro_f1: Interval
    skill: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampled:
    """Everything that the figures need, in each of R draws.

    Attributes:
        images: N, pictures in each draw.
        average_precision: (T, R) float32; NaN for tags that are not ranked, and in draws without a positive.
        correct, predicted, positives: (T, R) int32, at the threshold.
        errors: (G, R) float64, sums of squared errors over the tags of each group.
    """

    images: int
    average_precision: npt.NDArray[np.float32]
    correct: npt.NDArray[np.int32]
    predicted: npt.NDArray[np.int32]
    positives: npt.NDArray[np.int32]
    errors: Float64Array

    @property
    def draws(self) -> int:
        """R."""
        return int(self.correct.shape[1])


def encode(bins: Int64Array, labels: npt.NDArray[np.integer]) -> Codes:
    """Codes of a batch, (B, T)."""
    codes: Codes = (bins + BINS * labels.astype(np.int64)).astype(np.uint16)
    return codes


def draw_pictures(images: int) -> DrawCounts:
    """Draw N pictures of N, R times: (N, R), always the same ones."""
    draws = min(_DRAWS, max(_LEAST_DRAWS, _MOST_WEIGHTS // images))
    rng = np.random.default_rng(0)
    # No sum over a draw exceeds N, so this type holds all of them, and adding it needs no conversion.
    weights = np.empty((draws, images), np.uint16 if images < 2**16 else np.uint32)
    for row in weights:
        row[:] = np.bincount(rng.integers(0, images, images), minlength=images)
    return np.ascontiguousarray(weights.T)


def resample(
    codes: Codes, weights: DrawCounts, *, threshold: float, ranked: BoolArray, groups: Sequence[BoolArray]
) -> Resampled:
    """Judge every tag in every draw.

    Args:
        codes: (N, T); may be a memory map, some columns are read at a time.
        weights: (N, R) of `draw_pictures`.
        threshold: for all tags.
        ranked: (T,), the tags whose average precision is wanted; each has a positive picture.
        groups: masks (T,) of the tags whose squared errors are summed.
    """
    shape = (codes.shape[1], weights.shape[1])
    found = Resampled(
        images=len(codes),
        average_precision=np.full(shape, np.nan, np.float32),
        correct=np.zeros(shape, np.int32),
        predicted=np.zeros(shape, np.int32),
        positives=np.zeros(shape, np.int32),
        errors=np.zeros((len(groups), shape[1])),
    )
    of_pictures = np.zeros((len(groups), len(codes)))
    least = threshold_bin(threshold)
    for start in range(0, shape[0], _TAGS):
        for tag, column in enumerate(np.ascontiguousarray(codes[:, start : start + _TAGS].T), start):
            bins, labels = column % BINS, column >= BINS
            passes = bins >= least
            for table, mask in ((found.correct, passes & labels), (found.predicted, passes)):
                table[tag] = _sums(weights, np.flatnonzero(mask))
            found.positives[tag] = _sums(weights, np.flatnonzero(labels))
            if ranked[tag]:
                found.average_precision[tag] = _average_precision(bins, labels, weights)
            of_pictures[[group[tag] for group in groups]] += _ERRORS[column]
    for row, group in enumerate(of_pictures):
        found.errors[row] = group @ weights
    return found


def _sums(weights: DrawCounts, rows: npt.NDArray[np.int64]) -> DrawCounts:
    """(R,): how many of some pictures are in each draw."""
    sums: DrawCounts = weights[rows].sum(axis=0, dtype=weights.dtype)
    return sums


def _average_precision(bins: npt.NDArray[np.uint16], labels: BoolArray, weights: DrawCounts) -> Float64Array:
    """(R,): sum over the bins with positives of (R_k - R_k-1) P_k; NaN in draws without a positive.

    Of the pictures below the last positive nothing depends.
    """
    rows = np.flatnonzero(bins >= bins[labels].min())
    rows = rows[np.argsort(BINS - bins[rows], kind="stable")]  # 16 bits are sorted by counting
    falling, positive = BINS - bins[rows], rows[labels[rows]]
    steps = BINS - bins[positive]
    ends_of_positives = np.append(np.flatnonzero(np.diff(steps)) + 1, len(steps))
    ends = np.searchsorted(falling, steps[ends_of_positives - 1], side="right")
    hits = _block_sums(weights, positive, ends_of_positives)
    true, predicted = hits.cumsum(axis=0), _block_sums(weights, rows, ends).cumsum(axis=0)
    gained = (hits * (true / np.maximum(predicted, 1))).sum(axis=0)
    precision: Float64Array = np.where(true[-1] > 0, gained / np.maximum(true[-1], 1), np.nan)
    return precision


def _block_sums(weights: DrawCounts, rows: npt.NDArray[np.int64], ends: Int64Array) -> Float64Array:
    """(K, R): sums over the blocks of `rows` that end before each of `ends`."""
    taken, begins = weights[rows], [0, *ends[:-1].tolist()]
    # Not `add.reduceat`, which walks down the columns and takes ten times as long.
    blocks = [
        taken[begin:end].sum(axis=0, dtype=weights.dtype)
        for begin, end in zip(begins, ends.tolist(), strict=True)
    ]
    return np.stack(blocks).astype(np.float64)


# Figures of a group of tags in each draw: (R,) ------------------------------------------------------


def mean_aps(resampled: Resampled, ranked: BoolArray) -> Float64Array | None:
    """Mean average precision over the ranked tags that the draw has a picture of; None if none is ranked."""
    return _means(resampled.average_precision[ranked]) if ranked.any() else None


def micro_f1s(resampled: Resampled, tags: BoolArray) -> Float64Array:
    """Micro F1, 2 TP / (predicted + positives)."""
    correct, predicted, positives = (
        table[tags].sum(axis=0, dtype=np.int64)
        for table in (resampled.correct, resampled.predicted, resampled.positives)
    )
    f1: Float64Array = 2 * correct / np.maximum(predicted + positives, 1)
    return f1


def macro_f1s(resampled: Resampled, tags: BoolArray) -> Float64Array:
    """Mean F1 over the tags that the draw has a picture of."""
    positives = resampled.positives[tags]
    f1 = (2 * resampled.correct[tags] / np.maximum(resampled.predicted[tags] + positives, 1)).astype(np.float32)
    return _means(np.where(positives > 0, f1, np.nan))


def skills(
    resampled: Resampled, tags: BoolArray, *, group: int, frequencies: Float64Array
) -> Float64Array | None:
    """Brier skill over a predictor that always says the frequencies; None where that makes no error.

    Args:
        resampled: the draws.
        tags: (T,) of the group.
        group: its row in `Resampled.errors`.
        frequencies: (T,) what the baseline says.
    """
    said = frequencies[tags]
    # sum of (f - label)^2 over N pictures = N f^2 + positives (1 - 2 f)
    baseline = resampled.images * np.square(said).sum() + (1 - 2 * said) @ resampled.positives[tags]
    if not baseline.all():
        return None
    skill: Float64Array = 1 - resampled.errors[group] / baseline
    return skill


def group_intervals(
    resampled: Resampled,
    *,
    tags: BoolArray,
    ranked: BoolArray,
    group: int,
    frequencies: Float64Array,
    values: tuple[float | None, float, float | None, float | None],
) -> Intervals | None:
    """95 % intervals of the figures of a group of tags.

    Args:
        resampled: the draws.
        tags: (T,) of the group.
        ranked: (T,), those of all tags that are ranked.
        group: the group's row in `Resampled.errors`.
        frequencies: (T,) what the baseline says.
        values: mean average precision, micro and macro F1, skill of the pictures themselves.

    Returns:
        None where nothing can be said about spread: a single picture, or no tag that any picture carries.
    """
    mean_ap, f1, macro_f1, skill = values
    if resampled.images < 2 or macro_f1 is None:
        return None
    drawn_skills = skills(resampled, tags, group=group, frequencies=frequencies)
    return Intervals(
        draws=resampled.draws,
        mean_ap=_around(mean_ap, mean_aps(resampled, ranked & tags), low=0.0),
        f1=around(f1, micro_f1s(resampled, tags), low=0.0),
        macro_f1=around(macro_f1, macro_f1s(resampled, tags), low=0.0),
        skill=_around(skill, drawn_skills, low=-np.inf),
    )


def around(value: float, drawn: Float64Array, *, low: float) -> Interval:
    """The interval of a figure that is at least `low` and at most 1."""
    half = float(margin(drawn))
    return Interval(low=max(value - half, low), high=min(value + half, 1.0))


def margin(drawn: npt.NDArray[np.floating]) -> Float64Array:
    """Half the width of the 95 % interval of figures that were computed for each draw, (..., R) to (...)."""
    halves: Float64Array = NORMAL_95 * np.nanstd(drawn, axis=-1)
    return halves


def _around(value: float | None, drawn: Float64Array | None, *, low: float) -> Interval | None:
    return None if value is None or drawn is None else around(value, drawn, low=low)


def _means(values: npt.NDArray[np.floating]) -> Float64Array:
    """Means over the rows (K, R) of what is a number; NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    sums = np.where(known, values, 0).sum(axis=0, dtype=np.float64)
    means: Float64Array = np.where(count > 0, sums / np.maximum(count, 1), np.nan)
    return means
