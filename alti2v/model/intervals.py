"""How sure a figure is: standard errors over pictures, without drawing samples.

The infinitesimal jackknife (Efron 1982, "The Jackknife, the Bootstrap and Other Resampling Plans", chapter 6):
the variance of a figure is the sum over pictures of its squared derivative by the picture's weight. It is the
bootstrap of pictures to first order, deterministic, and one pass instead of hundreds. Every figure here depends
on a picture only through the bin and the label of each of its tags, so its derivative is the sum over tags of
a table of (tag, label, bin): the influence table.

Pure numpy. What a picture contributed is remembered as 2 bytes a tag, a code: bin + BINS * label.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alti2v.model.histograms import BINS, MIDDLES, Floats, Histograms
from alti2v.model.metrics import Mask, Scores, TagScores, threshold_bin

Codes = npt.NDArray[np.uint16]
Table = npt.NDArray[np.float32]  # (T, 2 * BINS), column = code

NORMAL_95 = 1.959964  # 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a figure would lie in 95 of 100 draws of as many pictures, to first order."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """95 % intervals of the headline figures; they know of the choice of test pictures, not of training."""

    mean_ap: Interval
    f1: Interval
    macro_f1: Interval
    skill: Interval


def encode(bins: npt.NDArray[np.int64], labels: npt.NDArray[np.integer]) -> Codes:
    """Codes of a batch, (B, T)."""
    codes: Codes = (bins + BINS * labels.astype(np.int64)).astype(np.uint16)
    return codes


def average_precision_influence(histograms: Histograms, ranked: Mask) -> Table:
    """Derivative of each ranked tag's average precision by the weight of a picture; 0 for other tags.

    With P positives, and TP_b positives among N_b pictures in bin b and above, AP = 1/P sum_b pos_b TP_b / N_b.
    A picture in bin c adds to TP_b and N_b of all b <= c; the rest is the product rule.
    """
    table = np.zeros((len(histograms.totals), 2 * BINS), np.float32)
    for row in np.flatnonzero(ranked):  # a tag at a time: float64 intermediates of 8 kB stay in the cache
        positives = histograms.positives[row].astype(np.float64)
        true_positives = np.cumsum(positives[::-1])[::-1]
        predicted = np.maximum(np.cumsum(histograms.totals[row][::-1], dtype=np.int64)[::-1], 1)
        precision, count = true_positives / predicted, true_positives[0]
        average_precision = (positives * precision).sum() / count
        gained = np.cumsum(positives / predicted)
        diluted = np.cumsum(positives * precision / predicted)
        table[row, :BINS] = -diluted
        table[row, BINS:] = precision - average_precision + gained - diluted
        table[row] /= count
    return table


def mean_ap_influence(histograms: Histograms, ranked: Mask) -> Table:
    """Derivative of the mean average precision over the ranked tags by the weight of a picture."""
    table = average_precision_influence(histograms, ranked)
    table /= max(int(ranked.sum()), 1)
    return table


def f1_influence(tag_scores: TagScores, threshold: float, *, f1: float) -> Table:
    """Derivative of micro F1 = 2 TP / (predicted + positives) by the weight of a picture."""
    correct, marks = _at_threshold(threshold)
    total = max(int((tag_scores.predicted + tag_scores.positives).sum()), 1)
    row: Table = ((2 * correct - f1 * marks) / total).astype(np.float32)
    return np.tile(row, (len(tag_scores.positives), 1))


def tag_f1_influence(tag_scores: TagScores, threshold: float) -> Table:
    """Derivative of each tag's F1 by the weight of a picture; 0 for tags that no picture carries."""
    correct, marks = _at_threshold(threshold)
    total = (tag_scores.predicted + tag_scores.positives)[:, None]
    derivative: Floats = (2 * correct - tag_scores.f1[:, None] * marks) / np.maximum(total, 1)
    table: Table = np.where(tag_scores.positives[:, None] > 0, derivative, 0).astype(np.float32)
    return table


def macro_f1_influence(tag_scores: TagScores, threshold: float) -> Table:
    """Derivative of the mean F1 of the tags seen by the weight of a picture."""
    table = tag_f1_influence(tag_scores, threshold)
    table /= max(int((tag_scores.positives > 0).sum()), 1)
    return table


def skill_influence(frequencies: Floats, *, error: float, baseline: float) -> Table:
    """Derivative of 1 - error / baseline by the weight of a picture.

    Args:
        frequencies: (T,) what the baseline says.
        error: sum over all pairs of the model's squared errors.
        baseline: the same of the baseline's.
    """
    labels = np.repeat([0.0, 1.0], BINS)
    own = np.square(np.tile(MIDDLES, 2) - labels)
    theirs = np.square(frequencies[:, None] - labels)
    table: Table = ((theirs * error / baseline - own) / baseline).astype(np.float32)
    return table


def standard_errors(codes: Iterable[Codes], tables: Iterable[Table]) -> Floats:
    """Standard error of each figure from the codes of all pictures and the figure's influence table.

    Args:
        codes: (B, T) each, the pictures of the split, any number at a time.
        tables: M influence tables.

    Returns:
        (M,) standard errors.
    """
    stacked = [table.reshape(-1) for table in tables]
    variances = np.zeros(len(stacked))
    for batch in codes:
        cells = batch + np.arange(batch.shape[1]) * (2 * BINS)
        for index, table in enumerate(stacked):
            derivatives = table[cells].sum(axis=1, dtype=np.float64)  # (B,)
            variances[index] += np.square(derivatives).sum()
    return np.sqrt(variances)


def headline_intervals(
    codes: Iterable[Codes],
    histograms: Histograms,
    *,
    scores: Scores,
    tag_scores: TagScores,
    min_positives: int,
    threshold: float,
    frequencies: Floats,
) -> Intervals | None:
    """95 % intervals of the headline figures.

    Args:
        codes: of all pictures of the split.
        histograms: of the split.
        scores: over all tags.
        tag_scores: of all tags.
        min_positives: of the tags that the mean average precision is over.
        threshold: that `tag_scores` is at.
        frequencies: (T,) what the baseline says.

    Returns:
        None where there is too little to say: fewer than two pictures, no ranked tag, a perfect baseline.
    """
    images, positives = histograms.images, tag_scores.positives
    baseline_error = float((positives * (1 - frequencies) ** 2 + (images - positives) * frequencies**2).sum())
    if images < 2 or scores.mean_ap is None or scores.macro_f1 is None or not baseline_error:
        return None
    error = float(histograms.squared_error.sum())
    tables = (
        mean_ap_influence(histograms, positives >= min_positives),
        f1_influence(tag_scores, threshold, f1=scores.f1),
        macro_f1_influence(tag_scores, threshold),
        skill_influence(frequencies, error=error, baseline=baseline_error),
    )
    margins = NORMAL_95 * standard_errors(codes, tables)
    values = (scores.mean_ap, scores.f1, scores.macro_f1, 1 - error / baseline_error)
    lowest = (0.0, 0.0, 0.0, -np.inf)
    mean_ap, f1, macro_f1, skill = (
        Interval(low=float(max(value - margin, least)), high=float(min(value + margin, 1.0)))
        for value, margin, least in zip(values, margins, lowest, strict=True)
    )
    return Intervals(mean_ap=mean_ap, f1=f1, macro_f1=macro_f1, skill=skill)


def _at_threshold(threshold: float) -> tuple[Floats, Floats]:
    """Per code: whether the pair is a true positive, and how often it counts in predicted + positives."""
    labels = np.repeat([0.0, 1.0], BINS)
    passes = np.tile(np.arange(BINS) >= threshold_bin(threshold), 2).astype(np.float64)
    return passes * labels, passes + labels
