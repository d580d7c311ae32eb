"""Temperatures: known ones are recovered, and the fit is the minimum that SciPy finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from alti2v.model.evaluation.calibration import fit_temperature, fit_temperatures, scaled, scaled_reliability
from alti2v.model.evaluation.histograms import MIDDLES, add_predictions, empty_histograms, pool
from alti2v.model.evaluation.reliability import reliability
from alti2v.model.evaluation.scoring import recalls_at


def histograms_of(temperature: float, *, images: int = 4000, tags: int = 4, seed: int = 0) -> Any:
    """Labels drawn from calibrated probabilities, and predictions with logits `temperature` times too large."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 1, (images, tags))
    labels = (rng.random((images, tags)) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    found = empty_histograms(tags)
    add_predictions(found, (1 / (1 + np.exp(-logits * temperature))).astype(np.float32), labels)
    return found


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(temperature: float) -> None:
    """The temperature is recovered within 5 %, and the scaled predictions are calibrated."""
    pooled = pool(histograms_of(temperature))
    found = fit_temperature(pooled)

    assert found is not None
    assert found == pytest.approx(temperature, rel=0.05)
    assert scaled_reliability([pooled], [found]).expected_error < 0.01
    if temperature != 1:
        assert reliability(pooled).expected_error > 0.03


@given(st.integers(0, 100), st.floats(0.2, 5))
@settings(max_examples=15, deadline=None)
def test_no_temperature_is_more_likely(seed: int, temperature: float) -> None:
    """The fit is SciPy's minimum of the negative log-likelihood."""
    pooled = pool(histograms_of(temperature, images=300, seed=seed))

    def loss(log_temperature: float) -> float:
        said = np.clip(scaled(MIDDLES, np.exp(log_temperature)), 1e-12, 1 - 1e-12)
        negatives = pooled.totals - pooled.positives
        return -float(pooled.positives @ np.log(said) + negatives @ np.log1p(-said))

    best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-8})
    assert fit_temperature(pooled) == pytest.approx(np.exp(best.x), rel=1e-4)


def test_too_few_positives_give_no_temperature() -> None:
    """A category with few positive pairs gets no temperature."""
    histograms = histograms_of(2.0, images=30, tags=2)
    masks = {"general": np.array([True, False]), "character": np.array([False, True])}

    assert fit_temperatures(histograms, masks) == {}


def test_groups_keep_their_own_temperatures() -> None:
    """A combined diagram counts every pair once, and a temperature of 1 changes nothing."""
    one, other = pool(histograms_of(2.0)), pool(histograms_of(0.5, seed=1))

    assert scaled_reliability([one, other], [2.0, 0.5]).count.sum() == one.totals.sum() + other.totals.sum()
    np.testing.assert_array_equal(scaled_reliability([one], [1.0]).count, reliability(one).count)


def test_scaling_keeps_the_order_and_the_ends() -> None:
    """0, 1/2 and 1 stay, everything between moves without overtaking."""
    values = scaled(np.array([0.0, 0.1, 0.5, 0.9, 1.0]), 3.0)

    assert values.tolist() == sorted(values.tolist())
    assert values[[0, 2, 4]].tolist() == [0, 0.5, 1]


def test_recall_counts_the_most_probable() -> None:
    """Recall counts the tags among the k most probable; a picture without tags does not count."""
    probabilities = np.array([[0.9, 0.8, 0.1, 0.7], [0.1, 0.2, 0.3, 0.4]], np.float32)
    labels = np.array([[1, 1, 1, 0], [0, 0, 0, 0]], np.uint8)
    found = recalls_at(probabilities, labels, k=2)

    assert found[0] == pytest.approx(2 / 3)
    assert np.isnan(found[1])
    assert recalls_at(probabilities, labels, k=10)[0] == 1
