"""Temperatures: one number per category that calibrates probabilities.

Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2): divide the logit
by T > 0. This changes no ranking and no average precision; thresholds move with it. Temperatures are fitted on
the validation split and evaluated on another. Pure numpy, from histograms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from alti2v.arrays import BoolArray, Float64Array
from alti2v.model.evaluation.histograms import MIDDLES, Histograms, Pooled, pool
from alti2v.model.evaluation.reliability import Reliability, slice_up

_ENOUGH = 50  # positive pairs; fewer are too weak evidence for a temperature
_LIMITS = (0.05, 20.0)
_STEPS = 50


def scaled(probabilities: Float64Array, temperature: float) -> Float64Array:
    """Return sigmoid(logit(p) / temperature), same shape; 0 and 1 are unchanged."""
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities) - np.log1p(-probabilities)
        result: Float64Array = 1 / (1 + np.exp(-logits / temperature))
    return result


def fit_temperature(pooled: Pooled) -> float | None:
    """Fit the temperature with the smallest negative log-likelihood; None if there are too few pairs.

    The negative log-likelihood is convex in 1 / T, so Newton's method within the limits finds the one minimum.
    """
    positives, negatives = pooled.positives, pooled.totals - pooled.positives
    if positives.sum() < _ENOUGH or negatives.sum() < _ENOUGH:
        return None
    logits = np.log(MIDDLES) - np.log1p(-MIDDLES)
    slope = 1.0
    for _ in range(_STEPS):
        said = 1 / (1 + np.exp(-logits * slope))
        gradient = float((logits * (pooled.totals * said - positives)).sum())
        curvature = float((logits**2 * pooled.totals * said * (1 - said)).sum())
        step = gradient / curvature if curvature else 0.0
        before, slope = slope, float(np.clip(slope - step, 1 / _LIMITS[1], 1 / _LIMITS[0]))
        if abs(slope - before) < 1e-9 * slope:
            break
    return 1 / slope


def fit_temperatures(histograms: Histograms, masks: Mapping[str, BoolArray]) -> Mapping[str, float]:
    """Fit a temperature to each group of tags that has enough pairs."""
    fitted = {name: fit_temperature(pool(histograms, mask)) for name, mask in masks.items()}
    return {name: value for name, value in fitted.items() if value is not None}


def scaled_reliability(pooled: Sequence[Pooled], temperatures: Sequence[float]) -> Reliability:
    """Compute one reliability diagram of several groups, each with its own temperature; 1 changes nothing."""
    return slice_up(
        positives=np.concatenate([one.positives for one in pooled]),
        totals=np.concatenate([one.totals for one in pooled]),
        said=np.concatenate([scaled(MIDDLES, temperature) for temperature in temperatures]),
    )
