"""Reliability of probabilities: how often tags are present that were predicted with a probability. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alti2v.arrays import Float64Array, Int64Array
from alti2v.model.evaluation.histograms import MIDDLES, SLICES, Pooled


@dataclass(frozen=True, slots=True)
class Reliability:
    """Reliability diagram: predicted and observed frequencies in SLICES equal slices of [0, 1].

    Attributes:
        count: (R,) int64, number of (picture, tag) pairs.
        confidence: (R,) float64, mean probability; NaN for empty slices. Computed from the middles of the bins,
            so off by at most half a bin: 0.003 at p = 0.5, less elsewhere.
        frequency: (R,) float64, share of the pairs that are positive; NaN for empty slices.
    """

    count: Int64Array
    confidence: Float64Array
    frequency: Float64Array

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean |frequency - confidence| over pairs (Guo et al. 2017, eq. 3)."""
        if not self.count.sum():
            return 0.0
        gaps = np.nan_to_num(np.abs(self.frequency - self.confidence))
        return float((self.count * gaps).sum() / self.count.sum())


def reliability(pooled: Pooled) -> Reliability:
    """Group the bins into equal slices of [0, 1]; the slices' borders are bin edges."""
    return slice_up(positives=pooled.positives, totals=pooled.totals, said=MIDDLES)


def slice_up(*, positives: Int64Array, totals: Int64Array, said: Float64Array) -> Reliability:
    """Group bins into equal slices of [0, 1] by the probability of each bin.

    Args:
        positives: (K,) number of positive pairs in each bin.
        totals: (K,) number of all pairs in each bin.
        said: (K,) probability of each bin.
    """
    slices = np.minimum((said * SLICES).astype(np.int64), SLICES - 1)
    count, positive, confidence = (
        np.bincount(slices, weights=weights, minlength=SLICES) for weights in (totals, positives, totals * said)
    )
    divisor = np.where(count == 0, np.nan, count)
    return Reliability(
        count=count.astype(np.int64), confidence=confidence / divisor, frequency=positive / divisor
    )
