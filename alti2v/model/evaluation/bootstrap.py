"""Bootstrap intervals of the metrics, over the choice of pictures.

From N pictures, N are drawn with replacement, a few hundred times, and every metric is computed for each draw
(Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 6). Its standard deviation over the
draws is the standard error, and the 95 % interval is 1.96 standard errors to either side. Two models are given
the same draws, so that differences are paired.

Pure numpy. The contribution of a picture is stored in 2 bytes per tag, a code: bin + BINS * label. A draw is
represented by how often it contains each picture, so all draws of a tag are sums of rows of one table.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alti2v.arrays import BoolArray, Float32Array, Float64Array, Int32Array, Int64Array, Uint16Array
from alti2v.model.evaluation.histograms import BINS, MIDDLES
from alti2v.model.evaluation.metrics import threshold_bin

Codes = Uint16Array
DrawCounts = npt.NDArray[np.unsignedinteger]  # (N, R), how often each draw contains each picture

NORMAL_95 = 1.959964  # 97.5 % quantile of the standard normal distribution
# The standard error from R draws has a relative error of 1 / sqrt(2 R), 3.5 % at 400.
_DRAWS, _LEAST_DRAWS = 400, 50
_MOST_WEIGHTS = 2**27  # limits memory to 540 MB: fewer draws for splits of 336,000 pictures and more
TAGS_AT_ONCE = 128  # 5 MB of codes at 20,000 pictures
_ROWS_AT_ONCE = 4096  # of weights, which fit into a processor's cache
_ERRORS: Float64Array = np.square(np.tile(MIDDLES, 2) - np.repeat([0.0, 1.0], BINS))  # by code


@dataclass(frozen=True, slots=True)
class Interval:
    """95 % confidence interval over the choice of pictures."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """95 % intervals of the metrics of some tags; they cover the choice of pictures, not the training.

    Attributes:
        draws: Number of bootstrap draws.
        mean_ap: Interval of the mean average precision; None if no tag is ranked.
        f1: Interval of the micro F1.
        macro_f1: Interval of the macro F1.
        skill: Interval of the Brier skill score; None if the baseline makes no error.
    """

    draws: int
    mean_ap: Interval | None
    f1: Interval
    macro_f1: Interval
    skill: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampled:
    """Counts from which the metrics are computed, in each of R draws.

    Attributes:
        images: N, number of pictures in each draw.
        average_precision: (T, R) float32; NaN for tags that are not ranked, and in draws without a positive.
        correct, predicted, positives: (T, R) int32, at the threshold.
        errors: (G, R) float64, sums of squared errors over the tags of each group.
    """

    images: int
    average_precision: Float32Array
    correct: Int32Array
    predicted: Int32Array
    positives: Int32Array
    errors: Float64Array

    @property
    def draws(self) -> int:
        """Number R of draws."""
        return int(self.correct.shape[1])


def encode(bins: Int64Array, labels: npt.NDArray[np.integer]) -> Codes:
    """Encode the bins and labels of a batch, (B, T)."""
    codes: Codes = (bins + BINS * labels.astype(np.int64)).astype(np.uint16)
    return codes


def draw_pictures(images: int) -> DrawCounts:
    """Draw N pictures out of N, R times, always the same ones: (N, R)."""
    draws = min(_DRAWS, max(_LEAST_DRAWS, _MOST_WEIGHTS // images))
    rng = np.random.default_rng(0)
    # No sum over a draw exceeds N, so this type holds all sums, and adding needs no conversion.
    weights = np.empty((images, draws), np.uint16 if images < 2**16 else np.uint32)
    for draw in range(draws):
        weights[:, draw] = np.bincount(rng.integers(0, images, images), minlength=images)
    return weights


def by_tag(codes: Codes) -> Iterator[Codes]:
    """Yield a table of codes, (N, T), for a few tags at a time, (K, N)."""
    for first in range(0, codes.shape[1], TAGS_AT_ONCE):
        yield np.ascontiguousarray(codes[:, first : first + TAGS_AT_ONCE].T)


def resample(
    codes: Iterable[Codes],
    weights: DrawCounts,
    *,
    threshold: float,
    ranked: BoolArray,
    groups: Sequence[BoolArray],
) -> Resampled:
    """Score every tag in every draw.

    Args:
        codes: Codes of a few tags at a time, (K, N), in the order of the tags.
        weights: (N, R) of `draw_pictures`.
        threshold: Threshold of all tags.
        ranked: (T,), True for tags whose average precision is needed; each needs a positive picture.
        groups: Masks (T,) of the groups whose squared errors are summed.
    """
    shape = (len(ranked), weights.shape[1])
    found = Resampled(
        images=len(weights),
        average_precision=np.full(shape, np.nan, np.float32),
        correct=np.zeros(shape, np.int32),
        predicted=np.zeros(shape, np.int32),
        positives=np.zeros(shape, np.int32),
        errors=np.zeros((len(groups), shape[1])),
    )
    of_pictures = np.zeros((len(groups), len(weights)))
    least = threshold_bin(threshold)

    def score(tag: int, column: Codes) -> None:
        bins, labels = column % BINS, column >= BINS
        passes = bins >= least
        for table, mask in ((found.correct, passes & labels), (found.predicted, passes)):
            table[tag] = _sums(weights, np.flatnonzero(mask))
        found.positives[tag] = _sums(weights, np.flatnonzero(labels))
        if ranked[tag]:
            found.average_precision[tag] = _average_precision(bins, labels, weights)

    first = 0
    # NumPy lets other threads run while it computes.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for block in codes:
            list(pool.map(score, range(first, first + len(block)), block))
            for tag, column in enumerate(block, first):
                of_pictures[[group[tag] for group in groups]] += _ERRORS[column]
            first += len(block)
    for row, group in enumerate(of_pictures):
        for start in range(0, len(weights), _ROWS_AT_ONCE):
            some = slice(start, start + _ROWS_AT_ONCE)
            found.errors[row] += group[some] @ weights[some]
    return found


def _sums(weights: DrawCounts, rows: Int64Array) -> DrawCounts:
    """Number of the given pictures in each draw, (R,)."""
    sums: DrawCounts = np.zeros(weights.shape[1], weights.dtype)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        sums += weights[rows[start : start + _ROWS_AT_ONCE]].sum(axis=0, dtype=weights.dtype)
    return sums


def _average_precision(bins: Uint16Array, labels: BoolArray, weights: DrawCounts) -> Float64Array:
    """Average precision in each draw, (R,): sum of (R_k - R_k-1) P_k; NaN in draws without a positive.

    Pictures below the lowest positive have no influence and are left out.
    """
    rows = np.flatnonzero(bins >= bins[labels].min())
    rows = rows[np.argsort(BINS - bins[rows], kind="stable")]  # a radix sort for 16 bits
    falling, positive = BINS - bins[rows], rows[labels[rows]]
    steps = BINS - bins[positive]
    ends_of_positives = np.append(np.flatnonzero(np.diff(steps)) + 1, len(steps))
    ends = np.searchsorted(falling, steps[ends_of_positives - 1], side="right")
    hits = _block_sums(weights, positive, ends_of_positives)
    true, predicted = hits.cumsum(axis=0), _block_sums(weights, rows, ends).cumsum(axis=0)
    gained = (hits * (true / np.maximum(predicted, 1))).sum(axis=0)
    precision: Float64Array = np.where(true[-1] > 0, gained / np.maximum(true[-1], 1), np.nan)
    return precision


def _block_sums(weights: DrawCounts, rows: Int64Array, ends: Int64Array) -> Float64Array:
    """Sums over the blocks of `rows` that end before each of `ends`, (K, R)."""
    begins = [0, *ends[:-1].tolist()]
    # Not `add.reduceat`, which iterates down the columns and takes ten times as long.
    blocks = [_sums(weights, rows[begin:end]) for begin, end in zip(begins, ends.tolist(), strict=True)]
    return np.stack(blocks).astype(np.float64)


# Metrics of a group of tags in each draw: (R,) ------------------------------------------------------


def mean_aps(resampled: Resampled, ranked: BoolArray) -> Float64Array | None:
    """Mean average precision over the ranked tags with a positive in the draw; None if no tag is ranked."""
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
    """Mean F1 over the tags with a positive in the draw."""
    positives = resampled.positives[tags]
    f1 = (2 * resampled.correct[tags] / np.maximum(resampled.predicted[tags] + positives, 1)).astype(np.float32)
    return _means(np.where(positives > 0, f1, np.nan))


def skills(
    resampled: Resampled, tags: BoolArray, *, group: int, frequencies: Float64Array
) -> Float64Array | None:
    """Brier skill score against a predictor of constant frequencies; None if that makes no error.

    Args:
        resampled: The draws.
        tags: (T,) mask of the group.
        group: Row of the group in `Resampled.errors`.
        frequencies: (T,) probabilities of the baseline.
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
    """Compute the 95 % intervals of a group of tags.

    Args:
        resampled: The draws.
        tags: (T,) mask of the group.
        ranked: (T,), True for the ranked ones among all tags.
        group: Row of the group in `Resampled.errors`.
        frequencies: (T,) probabilities of the baseline.
        values: Mean average precision, micro F1, macro F1 and skill on the pictures themselves.

    Returns:
        The intervals; None if there is a single picture, or no picture with a tag of the group.
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
    """Make the interval around a metric with values in [low, 1]."""
    half = float(margin(drawn))
    return Interval(low=max(value - half, low), high=min(value + half, 1.0))


def margin(drawn: npt.NDArray[np.floating]) -> Float64Array:
    """Half the width of the 95 % interval of a metric over the draws, (..., R) to (...)."""
    halves: Float64Array = NORMAL_95 * np.nanstd(drawn, axis=-1)
    return halves


def _around(value: float | None, drawn: Float64Array | None, *, low: float) -> Interval | None:
    return None if value is None or drawn is None else around(value, drawn, low=low)


def _means(values: npt.NDArray[np.floating]) -> Float64Array:
    """Means over the rows of (K, R), ignoring NaN; NaN where all rows are."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    sums = np.where(known, values, 0).sum(axis=0, dtype=np.float64)
    means: Float64Array = np.where(count > 0, sums / np.maximum(count, 1), np.nan)
    return means
