"""The losses: textbook values, no overflow, and the factor between sum and mean."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss

from alti2v.model import backend
from alti2v.model.losses import mean_cross_entropy, summed_cross_entropy

pytestmark = pytest.mark.tf


def drawn(shape=(5, 7)):
    rng = np.random.default_rng(0)
    return (rng.random(shape) < 0.3).astype(np.float32), rng.normal(0, 3, shape).astype(np.float32)


def test_sum_over_tags_is_the_textbook_value():
    """The loss of a sample is the sum of its tags' binary cross-entropies."""
    labels, logits = drawn()
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = [
        sum(log_loss([y], [p], labels=[0, 1]) for y, p in zip(*row, strict=True))
        for row in zip(labels, probabilities, strict=True)
    ]

    actual = np.asarray(summed_cross_entropy(labels, logits))

    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_mean_is_keras_own():
    """The mean loss is what Keras calls binary cross-entropy, and the sum is T times that."""
    labels, logits = drawn()
    expected = backend.keras.losses.binary_crossentropy(labels, logits, from_logits=True)

    np.testing.assert_allclose(np.asarray(mean_cross_entropy(labels, logits)), expected, rtol=1e-5)
    np.testing.assert_allclose(
        np.asarray(summed_cross_entropy(labels, logits)), 7 * np.asarray(expected), rtol=1e-5
    )


def test_extreme_logits_stay_finite():
    """A logit of 1000 costs 1000 where it is wrong and nothing where it is right."""
    labels = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    logits = np.array([[1000.0, -1000.0], [1000.0, -1000.0]], np.float32)

    np.testing.assert_allclose(np.asarray(summed_cross_entropy(labels, logits)), [0.0, 2000.0])


def test_half_precision_is_computed_in_float32():
    """Mixed precision does not reach the loss."""
    labels, logits = drawn()

    assert backend.keras.ops.dtype(summed_cross_entropy(labels, logits.astype(np.float16))) == "float32"
