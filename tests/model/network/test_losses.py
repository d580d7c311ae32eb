"""The losses: textbook values, no overflow, and the factor between sum and mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss

from alti2v.model import backend
from alti2v.model.network.losses import (
    asymmetric_loss,
    loss_of,
    mean_cross_entropy,
    positive_weights,
    summed_cross_entropy,
)
from alti2v.model.recipes import Loss

pytestmark = pytest.mark.tf


def drawn(shape: Any = (5, 7)) -> Any:
    rng = np.random.default_rng(0)
    return (rng.random(shape) < 0.3).astype(np.float32), rng.normal(0, 3, shape).astype(np.float32)


def test_sum_over_tags_is_the_textbook_value() -> None:
    """The loss of a sample is the sum of its tags' binary cross-entropies."""
    labels, logits = drawn()
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = [
        sum(log_loss([y], [p], labels=[0, 1]) for y, p in zip(*row, strict=True))
        for row in zip(labels, probabilities, strict=True)
    ]

    actual = np.asarray(summed_cross_entropy(labels, logits))

    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_mean_is_keras_own() -> None:
    """The mean loss equals Keras' binary cross-entropy, and the sum is T times that."""
    labels, logits = drawn()
    expected = backend.keras.losses.binary_crossentropy(labels, logits, from_logits=True)

    np.testing.assert_allclose(np.asarray(mean_cross_entropy(labels, logits)), expected, rtol=1e-5)
    np.testing.assert_allclose(
        np.asarray(summed_cross_entropy(labels, logits)), 7 * np.asarray(expected), rtol=1e-5
    )


def test_extreme_logits_stay_finite() -> None:
    """A logit of 1000 costs 1000 if it is wrong and nothing if it is right."""
    labels = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    logits = np.array([[1000.0, -1000.0], [1000.0, -1000.0]], np.float32)

    np.testing.assert_allclose(np.asarray(summed_cross_entropy(labels, logits)), [0.0, 2000.0])


def test_half_precision_is_computed_in_float32() -> None:
    """The loss is computed in float32 under mixed precision."""
    labels, logits = drawn()

    assert backend.keras.ops.dtype(summed_cross_entropy(labels, logits.astype(np.float16))) == "float32"


def test_asymmetric_loss_is_the_papers() -> None:
    """Positives count fully; a negative is weighted by q^4, and by 0 below the margin."""
    labels, logits = drawn()
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    q = np.maximum(p - 0.05, 0)
    expected = -(labels * np.log(p) + (1 - labels) * q**4 * np.log(1 - q)).sum(axis=1)

    np.testing.assert_allclose(np.asarray(asymmetric_loss(labels, logits)), expected, rtol=1e-4)
    assert np.asarray(asymmetric_loss(np.zeros((1, 2)), np.array([[-3.0, -80.0]])))[0] == 0


@pytest.mark.parametrize("kind", list(Loss))
def test_weights_count_positives_only(kind: Any) -> None:
    """A weight of 3 triples the loss of a tag's positives and does not change its negatives."""
    labels, logits = np.array([[1.0, 0.0]]), np.array([[0.5, 1.5]])
    weighted, plain = loss_of(kind, np.array([3.0, 3.0], np.float32)), loss_of(kind, None)
    positive = np.asarray(plain(labels[:, :1], logits[:, :1]))[0]
    difference = np.asarray(weighted(labels, logits))[0] - np.asarray(plain(labels, logits))[0]

    assert difference == pytest.approx(2 * positive / (2 if kind is Loss.MEAN else 1), rel=1e-5)


def test_positive_weights_follow_the_odds() -> None:
    """Weights are (negatives / positives) to the power, at most 100, also for a tag without positives."""
    weights = positive_weights([98, 48, 0], samples=98 + 98, exponent=0.5)

    np.testing.assert_allclose(weights[:2], [(99 / 99) ** 0.5, (149 / 49) ** 0.5], rtol=1e-6)
    assert positive_weights([0], samples=10**6, exponent=1.0)[0] == 100
