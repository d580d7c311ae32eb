"""Histograms of probabilities: exact at their edges, and independent of the order of pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alti2v.errors import DataError
from alti2v.model.evaluation.histograms import (
    BINS,
    MIDDLES,
    SLICES,
    THRESHOLDS,
    Histograms,
    add_predictions,
    bin_probabilities,
    constant_histograms,
    empty_histograms,
)

probabilities = st.floats(0, 1, width=32)


@st.composite
def splits(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and labels of up to 12 pictures and 4 tags."""
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 4)))
    return (
        draw(hnp.arrays(np.float32, shape, elements=probabilities)),
        draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 1))),
    )


def histograms_of(scores: np.ndarray, labels: np.ndarray) -> Histograms:
    histograms = empty_histograms(scores.shape[1])
    add_predictions(histograms, scores, labels)
    return histograms


def assert_equal(left: Histograms, right: Histograms) -> None:
    np.testing.assert_array_equal(left.positives, right.positives)
    np.testing.assert_array_equal(left.totals, right.totals)
    np.testing.assert_allclose(left.squared_error, right.squared_error, atol=1e-12)


def test_thresholds_are_ascending_and_hold_the_round_values() -> None:
    """There are BINS distinct float32 edges from 0 on, including every multiple of 0.05."""
    assert THRESHOLDS.shape == (BINS,)
    assert THRESHOLDS[0] == 0
    assert (np.diff(THRESHOLDS) > 0).all()
    assert np.isin((np.arange(SLICES) / SLICES).astype(np.float32), THRESHOLDS).all()


def test_float32_near_1_is_not_rounded() -> None:
    """From a logit of 12 to 1, every float32 number has a bin of its own."""
    number = np.float32(1 / (1 + np.exp(-12.0)))
    numbers = [number]
    while number < 1:
        number = np.nextafter(number, np.float32(1))
        numbers.append(number)

    assert len(np.unique(bin_probabilities(np.array(numbers)))) == len(numbers) == 104
    assert (np.diff(MIDDLES) > 0).all()
    assert MIDDLES[-1] < 1


@given(probabilities, st.integers(0, BINS - 1))
def test_a_bin_decides_like_its_edge(probability: float, edge: int) -> None:
    """A probability is at least an edge if and only if it is in the edge's bin or a higher one."""
    found = int(bin_probabilities(np.array([probability]))[0])

    assert (np.float32(probability) >= THRESHOLDS[edge]) == (found >= edge)


@given(splits(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_pictures_is_forgotten(split: tuple[np.ndarray, np.ndarray], random: Any) -> None:
    """A shuffled split has the same histograms."""
    scores, labels = split
    order = list(range(len(scores)))
    random.shuffle(order)

    assert_equal(histograms_of(scores, labels), histograms_of(scores[order], labels[order]))


@given(splits())
@settings(deadline=None)
def test_counts_are_complete(split: tuple[np.ndarray, np.ndarray]) -> None:
    """Every picture is counted once per tag, every label once, and squared errors are not binned."""
    scores, labels = split
    histograms = histograms_of(scores, labels)

    assert histograms.images == len(scores)
    np.testing.assert_array_equal(histograms.totals.sum(axis=1), len(scores))
    np.testing.assert_array_equal(histograms.positives.sum(axis=1), labels.sum(axis=0))
    np.testing.assert_allclose(histograms.squared_error, ((scores.astype(float) - labels) ** 2).sum(axis=0))


@given(splits())
@settings(deadline=None)
def test_constant_histograms_are_those_of_constant_predictions(split: tuple[np.ndarray, np.ndarray]) -> None:
    """The shortcut for a constant predictor equals counting it picture by picture."""
    scores, labels = split
    constant = np.broadcast_to(scores[:1], scores.shape)

    assert_equal(
        histograms_of(constant, labels), constant_histograms(scores[0], labels.sum(axis=0), len(scores))
    )


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.1, 1.5])
def test_what_is_no_probability_is_refused_with_its_count(wrong: float) -> None:
    """Predictions that are not probabilities are refused."""
    with pytest.raises(DataError, match="1 of 2 predictions are not probabilities"):
        bin_probabilities(np.array([0.5, wrong]))
