"""Metrics of probabilities, computed from their histograms.

Pure numpy, without TensorFlow or files. The same rules hold for a model and for the baseline:

- A tag is predicted if its probability is at least the threshold. Equal (or equally binned) probabilities pass
  together, as in scikit-learn.
- A ratio with denominator 0 is 0: precision if nothing is predicted, F1 if nothing is positive either.
- A tag without a positive picture has no average precision and does not count in macro means; the number of
  tags is reported with every mean. Its false positives do count in the micro figures.
- The error due to binning is bounded: the average precision before binning is in `[ap_low, ap_high]` of
  `TagScores`; figures at a threshold that is a bin edge are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alti2v.arrays import BoolArray, Float64Array, Int32Array, Int64Array
from alti2v.model.evaluation.histograms import BINS, THRESHOLDS, Histograms, Pooled, pool, sums_from_above
from alti2v.model.evaluation.reliability import reliability
from alti2v.numerals import counted
from alti2v.records import Category, Tag

_CHUNK = 256  # tags at a time, so that a (tags, BINS) float64 intermediate takes 2 MB


# Pooled over tags: one threshold for all --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision and recall by ascending threshold, (K,) float64 each."""

    thresholds: Float64Array
    precision: Float64Array
    recall: Float64Array


def precision_recall_curve(pooled: Pooled) -> Curve:
    """Compute precision and recall at every bin edge at which anything is predicted."""
    true_positives, predicted = sums_from_above(pooled.positives), sums_from_above(pooled.totals)
    kept = (pooled.totals > 0) & (predicted > 0)  # the edge of an empty bin repeats the next one's point
    return Curve(
        thresholds=THRESHOLDS[kept].astype(np.float64),
        precision=_ratio(true_positives, predicted)[kept],
        recall=_ratio(true_positives, np.full_like(predicted, pooled.positives.sum()))[kept],
    )


def equal_precision_recall_threshold(pooled: Pooled) -> float:
    """Find the threshold at which precision equals recall, as closely as the bins allow.

    They are equal where as many pairs are predicted as are positive. Among equally close edges the one with
    more true positives wins, then the highest. The protocol is that of SmilingWolf's DanbooruModelZoo,
    tools/analyze_metrics.py.

    Returns:
        An element of THRESHOLDS above 0.
    """
    predicted, true_positives = sums_from_above(pooled.totals)[1:], sums_from_above(pooled.positives)[1:]
    distance = np.abs(predicted - pooled.positives.sum())
    best = np.flatnonzero(distance == distance.min())
    best = best[true_positives[best] == true_positives[best].max()]
    return float(THRESHOLDS[1:][best[-1]])


def micro_f1(pooled: Pooled, threshold: float) -> float:
    """F1 over all pairs, for predictions of at least the threshold."""
    predicted = threshold <= THRESHOLDS
    return f1_score(
        correct=int(pooled.positives[predicted].sum()),
        predicted=int(pooled.totals[predicted].sum()),
        positives=int(pooled.positives.sum()),
    )


def f1_score(*, correct: int, predicted: int, positives: int) -> float:
    """Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN); 0 if nothing is predicted or positive."""
    return 2 * correct / (predicted + positives) if predicted + positives else 0.0


# Tag by tag -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TagScores:
    """Scores of single tags at one threshold; (T,) each.

    Attributes:
        images: Number of all pictures.
        positives, predicted, correct: int64, number of pictures that carry the tag, pass the threshold, do
            both.
        predicted_own, correct_own: int64, the same at the tag's own threshold.
        f1_category: F1, float64, at the threshold of the tag's category.
        average_precision: Sum over thresholds of (R_k - R_k-1) P_k, float64 (scikit-learn,
            average_precision_score); NaN without positives.
        ap_low, ap_high: float64, bounds of it for the probabilities before binning; NaN without positives.
        squared_error: Mean of (probability - label)^2, float64, the Brier score.
    """

    images: int
    positives: Int64Array
    predicted: Int64Array
    correct: Int64Array
    predicted_own: Int64Array
    correct_own: Int64Array
    f1_category: Float64Array
    average_precision: Float64Array
    ap_low: Float64Array
    ap_high: Float64Array
    squared_error: Float64Array

    @property
    def precision(self) -> Float64Array:
        """Share of the predicted that is correct."""
        return _ratio(self.correct, self.predicted)

    @property
    def recall(self) -> Float64Array:
        """Share of the positives that is predicted."""
        return _ratio(self.correct, self.positives)

    @property
    def f1(self) -> Float64Array:
        """Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN)."""
        return _ratio(2 * self.correct, self.predicted + self.positives)

    @property
    def f1_own(self) -> Float64Array:
        """F1 at the tag's own threshold."""
        return _ratio(2 * self.correct_own, self.predicted_own + self.positives)


def threshold_bin(thresholds: npt.ArrayLike) -> Int64Array:
    """Return the first bin whose probabilities are all at least the threshold."""
    return np.searchsorted(THRESHOLDS, np.asarray(thresholds, dtype=np.float32), side="left")


def score_tags(
    histograms: Histograms,
    *,
    threshold: float,
    own_thresholds: npt.ArrayLike | None = None,
    category_thresholds: npt.ArrayLike | None = None,
) -> TagScores:
    """Score every tag.

    Args:
        histograms: Histograms of the evaluated split.
        threshold: Threshold of all tags, rounded up to an element of THRESHOLDS.
        own_thresholds: (T,) threshold of each tag; None for `threshold`.
        category_thresholds: (T,) threshold of each tag's category; None for `threshold`.
    """
    tags = len(histograms.totals)
    bins = np.full(tags, threshold_bin(threshold))
    own_bins = bins if own_thresholds is None else threshold_bin(own_thresholds)
    category_bins = bins if category_thresholds is None else threshold_bin(category_thresholds)
    positives = histograms.positives.sum(axis=1, dtype=np.int64)
    average_precision, low, high = average_precisions(histograms)
    return TagScores(
        images=histograms.images,
        positives=positives,
        predicted=_sum_from(histograms.totals, bins),
        correct=_sum_from(histograms.positives, bins),
        predicted_own=_sum_from(histograms.totals, own_bins),
        correct_own=_sum_from(histograms.positives, own_bins),
        f1_category=_ratio(
            2 * _sum_from(histograms.positives, category_bins),
            _sum_from(histograms.totals, category_bins) + positives,
        ),
        average_precision=average_precision,
        ap_low=low,
        ap_high=high,
        squared_error=histograms.squared_error / max(histograms.images, 1),
    )


def average_precisions(histograms: Histograms) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Compute the average precision of each tag, and its bounds for the probabilities before binning.

    Within a bin the order is lost. The j-th of p positives of a bin with n negatives, with a positives and f
    negatives above it, has a precision of at least (a + j) / (a + j + f + n), all negatives before it, and of
    at most (a + p) / (a + p + f), none before it. Both also hold with ties.

    Returns:
        (value, low, high), (T,) float64 each; NaN for tags without positives.
    """
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, histograms.images + 1))])
    parts = [
        _average_precisions(histograms.positives[i : i + _CHUNK], histograms.totals[i : i + _CHUNK], harmonic)
        for i in range(0, len(histograms.totals), _CHUNK)
    ]
    value, low, high = (np.concatenate(column) for column in zip(*parts, strict=True))
    return value, low, high


def _average_precisions(
    positives: Int32Array, totals: Int32Array, harmonic: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array]:
    true_here, all_here = sums_from_above(positives), sums_from_above(totals)  # (t, BINS), this bin included
    true_above, false_above = true_here - positives, all_here - totals - (true_here - positives)
    false_here = all_here - true_here
    count = true_here[:, 0].astype(np.float64)
    count[count == 0] = np.nan
    value = (positives * _ratio(true_here, all_here)).sum(axis=1)
    # Sum over j of (a + j) / (a + j + F) = p - F (H(a + p + F) - H(a + F)), H the harmonic numbers.
    low = positives - false_here * (harmonic[all_here] - harmonic[true_above + false_here])
    high = positives * _ratio(true_here, true_here + false_above)
    return value / count, low.sum(axis=1) / count, high.sum(axis=1) / count


FEW_POSITIVES = 10  # of a tag: with fewer, a single picture moves its average precision by more than 0.1
_FEW_RANKED = 10  # tags below which their mean depends on which tags happen to be common
_FEWEST_FOR_HEADLINE = 5  # tags whose mean says something about a tagger of more tags


# Groups of tags ---------------------------------------------------------------------------------


def category_masks(tags: Sequence[Tag]) -> Mapping[str, BoolArray]:
    """Return the categories that occur, each with the mask (T,) of its tags."""
    masks = {category.value: np.array([tag.category is category for tag in tags]) for category in Category}
    return {name: mask for name, mask in masks.items() if mask.any()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of a group of tags.

    Attributes:
        tags: Number of tags in the group.
        tags_seen: Number of them with at least one positive picture; macro means are over these.
        tags_ranked: Number of them with at least `min_positives`; the mean average precision is over these.
        positives: Number of positive (picture, tag) pairs.
        mean_ap: Mean average precision; None if no tag is ranked.
        mean_ap_low, mean_ap_high: Bounds of it before binning.
        precision, recall, f1: Micro figures, over all pairs at the threshold.
        macro_precision, macro_recall, macro_f1: Means over the tags seen; None if there are none.
        macro_f1_own: Macro F1 at each tag's own threshold.
        macro_f1_category: Macro F1 at the threshold of each tag's category.
        mcc: Matthews correlation coefficient over all pairs (Matthews 1975); 0 if undefined.
        squared_error: Mean over all pairs of (probability - label)^2.
        calibration_error: `Reliability.expected_error` of all pairs.
    """

    tags: int
    tags_seen: int
    tags_ranked: int
    positives: int
    mean_ap: float | None
    mean_ap_low: float | None
    mean_ap_high: float | None
    precision: float
    recall: float
    f1: float
    macro_precision: float | None
    macro_recall: float | None
    macro_f1: float | None
    macro_f1_own: float | None
    macro_f1_category: float | None
    mcc: float
    squared_error: float
    calibration_error: float

    @property
    def headline_ap(self) -> float | None:
        """`mean_ap`; None if it is over too few of the tags to be shown as the figure of the tagger."""
        return self.mean_ap if are_enough(self.tags_ranked, tags=self.tags) else None


def summarise(
    histograms: Histograms, tag_scores: TagScores, *, min_positives: int, tags: BoolArray | None = None
) -> Scores:
    """Summarise the tags of a mask (T,), or all tags.

    Args:
        histograms: Histograms of all tags.
        tag_scores: Scores of all tags.
        min_positives: Positive pictures that a tag needs to count in the mean average precision.
        tags: Mask of the tags; None for all.
    """
    chosen = np.ones(len(tag_scores.positives), bool) if tags is None else tags
    seen = chosen & (tag_scores.positives > 0)
    ranked = chosen & (tag_scores.positives >= max(min_positives, 1))
    correct = int(tag_scores.correct[chosen].sum())
    predicted = int(tag_scores.predicted[chosen].sum())
    positives = int(tag_scores.positives[chosen].sum())
    pairs = int(chosen.sum()) * tag_scores.images
    return Scores(
        tags=int(chosen.sum()),
        tags_seen=int(seen.sum()),
        tags_ranked=int(ranked.sum()),
        positives=positives,
        mean_ap=_mean(tag_scores.average_precision[ranked]),
        mean_ap_low=_mean(tag_scores.ap_low[ranked]),
        mean_ap_high=_mean(tag_scores.ap_high[ranked]),
        precision=correct / predicted if predicted else 0.0,
        recall=correct / positives if positives else 0.0,
        f1=f1_score(correct=correct, predicted=predicted, positives=positives),
        macro_precision=_mean(tag_scores.precision[seen]),
        macro_recall=_mean(tag_scores.recall[seen]),
        macro_f1=_mean(tag_scores.f1[seen]),
        macro_f1_own=_mean(tag_scores.f1_own[seen]),
        macro_f1_category=_mean(tag_scores.f1_category[seen]),
        mcc=matthews(correct=correct, predicted=predicted, positives=positives, pairs=pairs),
        squared_error=float(tag_scores.squared_error[chosen].mean()) if chosen.any() else 0.0,
        calibration_error=reliability(pool(histograms, chosen)).expected_error,
    )


def are_enough(ranked: int, *, tags: int) -> bool:
    """Return whether the mean average precision of `ranked` of some tags says something about all of them."""
    return 0 < ranked >= min(_FEWEST_FOR_HEADLINE, tags)


def fewest_positives(positives: Int64Array, requested: int) -> int:
    """Return the positive pictures that a tag needs to count in the mean average precision.

    Even a few pictures should give a figure: one picture is enough if too few tags have the requested number.

    Args:
        positives: (T,) int64, number of positive pictures of each tag.
        requested: Number of positive pictures that a tag should have, at least 1.
    """
    return requested if are_enough(int((positives >= requested).sum()), tags=len(positives)) else 1


def few_ranked(scores: Scores, *, min_positives: int) -> tuple[str, ...]:
    """Describe why a mean average precision says little: few tags, or few pictures of each.

    Args:
        scores: Scores of all tags.
        min_positives: Positive pictures of a tag that counts.
    """
    if scores.headline_ap is None:
        few = (
            f"Only {counted(scores.tags_ranked, 'tag has', 'tags have')}"
            if scores.tags_ranked
            else "No tag has"
        )
        return (f"{few} {counted(min_positives, 'picture')} or more in this split, so there is no mAP.",)
    notes = []
    if scores.tags_ranked < _FEW_RANKED:
        ranked = f"mAP is the mean over only {counted(scores.tags_ranked, 'tag')}"
        others = counted(scores.tags - scores.tags_ranked, "tag has", "tags have")
        notes.append(
            f"{ranked}: {others} too few pictures in this split."
            if scores.tags > scores.tags_ranked
            else f"{ranked}: it says little about others."
        )
    if min_positives < FEW_POSITIVES:
        notes.append(
            f"mAP includes tags with only {counted(min_positives, 'positive picture')} in this split: "
            "much of it is chance."
        )
    return tuple(notes)


def matthews(*, correct: int, predicted: int, positives: int, pairs: int) -> float:
    """Matthews correlation coefficient; 0 if a margin of the table is empty, as in scikit-learn."""
    # Python integers: the product of the four margins overflows int64 from 10^8 pairs on.
    margins = predicted * positives * (pairs - predicted) * (pairs - positives)
    return (correct * pairs - predicted * positives) / margins**0.5 if margins else 0.0


def skill(squared_error: float, baseline: float) -> float | None:
    """Brier skill score, 1 - error / baseline's error (Murphy 1988); None if the baseline is perfect."""
    return 1 - squared_error / baseline if baseline else None


def _sum_from(counts: Int32Array, bins: Int64Array) -> Int64Array:
    """Per row, the sum of the counts in `bins[row]` and above."""
    sums: Int64Array = np.where(np.arange(BINS) >= bins[:, None], counts, 0).sum(axis=1, dtype=np.int64)
    return sums


def _ratio(numerator: Int64Array, denominator: Int64Array) -> Float64Array:
    """Quotient; 0 where the denominator is 0."""
    quotient: Float64Array = numerator / np.where(denominator == 0, 1, denominator) * (denominator != 0)
    return quotient


def _mean(values: Float64Array) -> float | None:
    return float(values.mean()) if values.size else None
