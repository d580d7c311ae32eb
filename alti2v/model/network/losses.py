"""Losses on logits; each returns one number per sample, (B,) float32, and Keras averages over the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.model import backend
from alti2v.model.recipes import Loss

# Ridnik et al. 2021, "Asymmetric Loss For Multi-Label Classification", section 4: gamma- = 4, gamma+ = 0,
# m = 0.05 are the values of its experiments on MS-COCO.
_NEGATIVE_FOCUS = 4.0
_MARGIN = 0.05
_GREATEST_WEIGHT = 100.0


def loss_of(kind: Loss, weights: npt.NDArray[np.float32] | None) -> Callable[[Any, Any], Any]:
    """Make the function that Keras calls with labels and logits, (B, T) each; it returns (B,) float32.

    Args:
        kind: which loss.
        weights: (T,) of the positive labels; None for 1.
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


def positive_weights(counts: Sequence[int], *, samples: int, exponent: float) -> npt.NDArray[np.float32]:
    """(negatives / positives) ** exponent for every tag, (T,), between 1 / 100 and 100.

    With exponent 1 both sides of a tag pull equally hard, with 0 every picture does. A tag that no or every
    sample carries has finite odds by Laplace's rule.
    """
    positives = np.asarray(counts, np.float64) + 1
    weights = ((samples + 2 - positives) / positives) ** exponent
    return np.clip(weights, 1 / _GREATEST_WEIGHT, _GREATEST_WEIGHT).astype(np.float32)


def summed_cross_entropy(labels: Any, logits: Any, weights: Any = None) -> Any:  # noqa: ANN401 - tensors
    """Binary cross-entropy, summed over the tags: each tag pulls as hard as it would alone.

    Keras' own BinaryCrossentropy averages over the last axis, which divides every tag's gradient by the
    number of tags (DeepDanbooru issue 34 made up for it with a learning rate of 5.0).

    Args:
        labels: (B, T), 0 or 1.
        logits: (B, T), before the sigmoid.
        weights: (T,) of the labels that are 1; None for 1.

    Returns:
        (B,) float32, in nats.
    """
    return backend.keras.ops.sum(_cross_entropy(labels, logits, weights), axis=-1)


def mean_cross_entropy(labels: Any, logits: Any, weights: Any = None) -> Any:  # noqa: ANN401 - tensors
    """Binary cross-entropy, averaged over the tags, as `keras.losses.binary_crossentropy` has it.

    Args:
        labels: (B, T), 0 or 1.
        logits: (B, T), before the sigmoid.
        weights: (T,) of the labels that are 1; None for 1.

    Returns:
        (B,) float32, in nats.
    """
    return backend.keras.ops.mean(_cross_entropy(labels, logits, weights), axis=-1)


def asymmetric_loss(labels: Any, logits: Any, weights: Any = None) -> Any:  # noqa: ANN401 - tensors
    """Cross-entropy whose negatives count by how likely they are taken for positives; summed over the tags.

    Ridnik et al. 2021, equation 8: positives -log(p), negatives -q^4 log(1 - q) with q = max(p - 0.05, 0). A
    negative below 5 % counts nothing, which spares labels that are only missing.

    Args:
        labels: (B, T), 0 or 1.
        logits: (B, T), before the sigmoid.
        weights: (T,) of the labels that are 1; None for 1.

    Returns:
        (B,) float32.
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
    # exponential nor logarithm overflows, whatever the logit.
    ops = backend.keras.ops
    logits = ops.cast(logits, "float32")  # mixed precision: (B, T)
    labels = ops.cast(labels, "float32")
    entropy = ops.maximum(logits, 0.0) - logits * labels + ops.log1p(ops.exp(-ops.abs(logits)))
    return entropy if weights is None else entropy * (1.0 + labels * (weights - 1.0))
