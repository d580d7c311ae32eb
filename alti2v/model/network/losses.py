"""Losses on logits: labels (B, T), 0 or 1, and logits (B, T), before the sigmoid, to (B,) float32 in nats.

The optional weights are those of the labels that are 1, (T,); None for 1. Keras averages over the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alti2v.arrays import Float32Array
from alti2v.model import backend
from alti2v.model.recipes import Loss

# Ridnik et al. 2021, "Asymmetric Loss For Multi-Label Classification", section 4: gamma- = 4, gamma+ = 0,
# m = 0.05 are the values of its experiments on MS-COCO.
_NEGATIVE_FOCUS = 4.0
_MARGIN = 0.05
_GREATEST_WEIGHT = 100.0


def loss_of(kind: Loss, weights: Float32Array | None) -> Callable[[Any, Any], Any]:
    """Make the loss function that Keras calls with labels and logits, (B, T) each; it returns (B,) float32.

    Args:
        kind: Kind of loss.
        weights: (T,) weights of positive labels; None for 1.
    """
    function = {
        Loss.SUMMED: summed_cross_entropy,
        Loss.MEAN: mean_cross_entropy,
        Loss.ASYMMETRIC: asymmetric_loss,
    }[kind]
    if weights is None:
        return function

    def weighted(labels: Any, logits: Any) -> Any:  # noqa: ANN401 - tensors of any Keras backend
        return function(labels, logits, weights)

    return weighted


def positive_weights(counts: Sequence[int], *, samples: int, exponent: float) -> Float32Array:
    """Compute (negatives / positives) ** exponent for every tag, (T,), limited to [1/100, 100].

    With exponent 1 the positives and the negatives of a tag have the same total weight; with 0 every picture
    has the same weight. Laplace's rule gives finite odds to tags that no sample, or every sample, carries.
    """
    positives = np.asarray(counts, np.float64) + 1
    weights = ((samples + 2 - positives) / positives) ** exponent
    return np.clip(weights, 1 / _GREATEST_WEIGHT, _GREATEST_WEIGHT).astype(np.float32)


def summed_cross_entropy(labels: Any, logits: Any, weights: Any = None) -> Any:  # noqa: ANN401 - tensors
    """Binary cross-entropy, summed over the tags, so that each tag has the gradient that it would have alone.

    Keras' own BinaryCrossentropy averages over the last axis, which divides every tag's gradient by the
    number of tags (DeepDanbooru issue 34 compensated with a learning rate of 5.0).
    """
    return backend.keras.ops.sum(_cross_entropy(labels, logits, weights), axis=-1)


def mean_cross_entropy(labels: Any, logits: Any, weights: Any = None) -> Any:  # noqa: ANN401 - tensors
    """Binary cross-entropy, averaged over the tags, as in `keras.losses.binary_crossentropy`."""
    return backend.keras.ops.mean(_cross_entropy(labels, logits, weights), axis=-1)


def asymmetric_loss(labels: Any, logits: Any, weights: Any = None) -> Any:  # noqa: ANN401 - tensors
    """Cross-entropy, summed over the tags, in which confident negatives count less.

    Ridnik et al. 2021, equation 8: positives -log(p), negatives -q^4 log(1 - q) with q = max(p - 0.05, 0). A
    negative below 5 % does not count, which is lenient on missing labels.
    """
    ops = backend.keras.ops
    logits = ops.cast(logits, "float32")
    labels = ops.cast(labels, "float32")
    shifted = ops.maximum(ops.sigmoid(logits) - _MARGIN, 0.0)  # (B, T), in [0, 0.95]
    negative = -(shifted**_NEGATIVE_FOCUS) * ops.log1p(-shifted)
    positive = ops.softplus(-logits) * (1.0 if weights is None else weights)
    return ops.sum(labels * positive + (1.0 - labels) * negative, axis=-1)


def _cross_entropy(labels: Any, logits: Any, weights: Any) -> Any:  # noqa: ANN401 - tensors of any Keras backend
    # max(x, 0) - x z + log(1 + exp(-|x|)): TensorFlow API, tf.nn.sigmoid_cross_entropy_with_logits. Neither
    # the exponential nor the logarithm overflows for any logit.
    ops = backend.keras.ops
    logits = ops.cast(logits, "float32")  # mixed precision: (B, T)
    labels = ops.cast(labels, "float32")
    entropy = ops.maximum(logits, 0.0) - logits * labels + ops.log1p(ops.exp(-ops.abs(logits)))
    return entropy if weights is None else entropy * (1.0 + labels * (weights - 1.0))
