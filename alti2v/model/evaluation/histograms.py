"""Histograms of probabilities: all the data of a split that the metrics need.

Pure numpy, without TensorFlow or files. One pass over any number of pictures fills tables of fixed size (tags x
`BINS`). Metrics computed from them hold for the probabilities rounded down to the lower edge of their bin;
metrics at a bin edge are exact, and every multiple of 0.05 is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alti2v.arrays import BoolArray, Float32Array, Float64Array, Int32Array, Int64Array
from alti2v.errors import DataError

_GRID = 1023  # edges above 0 and below the limit, the multiples of 0.05 included
# A logit of -12 is a probability of 6e-6: rarer than the 5000th tag of a board of millions. Above 12, float32
# has 103 numbers up to 1, and each is an edge: a model that is too sure of itself loses nothing.
_LOGIT_LIMIT = 12.0
SLICES = 20  # equal slices of [0, 1] whose borders are bin edges: 0.05, 0.10 ...


def _thresholds() -> Float32Array:
    """Lower edges of the bins: 0, a grid uniform in logits, multiples of 0.05, all float32 near 1.

    Uniform in logits, because the probabilities of rare tags differ by factors, not by hundredths.
    """
    round_values = np.arange(1, SLICES) / SLICES
    logits = np.linspace(-_LOGIT_LIMIT, _LOGIT_LIMIT, _GRID - round_values.size)
    edges = np.concatenate([[0.0], 1 / (1 + np.exp(-logits)), round_values]).astype(np.float32)
    last, one = np.array([edges.max(), 1.0], np.float32).view(np.int32).tolist()
    near_one = np.arange(last + 1, one + 1, dtype=np.int32).view(np.float32)  # its bits count upwards
    return np.unique(np.concatenate([edges, near_one]))


THRESHOLDS = (
    _thresholds()
)  # (BINS,) float32 ascending; a probability p is in bin b or above iff p >= THRESHOLDS[b]
BINS = len(THRESHOLDS)
# Float32 rounds to 1 from half a step below it, so the middle of the last bin is below 1, and its logit finite.
MIDDLES: Float64Array = np.append(
    (THRESHOLDS[1:].astype(np.float64) + THRESHOLDS[:-1]) / 2, 1 - float(np.finfo(np.float32).epsneg) / 4
)


@dataclass(slots=True)
class Histograms:
    """Counts of the probabilities of every tag.

    Attributes:
        positives: (T, BINS) int32, number of pictures that carry the tag, by bin.
        totals: (T, BINS) int32, number of all pictures, by bin.
        squared_error: (T,) float64, sum over pictures of (probability - label)^2, not binned.
    """

    positives: Int32Array
    totals: Int32Array
    squared_error: Float64Array

    @property
    def images(self) -> int:
        """Number of pictures."""
        return int(self.totals[0].sum()) if len(self.totals) else 0


def empty_histograms(tags: int) -> Histograms:
    """Make histograms without pictures; they take 9 kB per tag."""
    return Histograms(
        positives=np.zeros((tags, BINS), np.int32),
        totals=np.zeros((tags, BINS), np.int32),
        squared_error=np.zeros(tags),
    )


def bin_probabilities(probabilities: npt.NDArray[np.floating]) -> Int64Array:
    """Return the bin of each probability, same shape, in [0, BINS).

    Raises:
        DataError: A value is not a number in [0, 1].
    """
    values = np.asarray(probabilities, dtype=np.float32)
    # Written so that NaN, which compares false, fails.
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        wrong = int(values.size - ((values >= 0) & (values <= 1)).sum())
        raise DataError(
            f"{wrong} of {values.size} predictions are not probabilities in [0, 1]: "
            "the training diverged; train again with a lower learning rate"
        )
    return np.searchsorted(THRESHOLDS, values, side="right") - 1


def add_predictions(
    histograms: Histograms, probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> Int64Array:
    """Add a batch to the histograms, in place.

    Args:
        histograms: Histograms of T tags.
        probabilities: (B, T) in [0, 1].
        labels: (B, T), 0 or 1.

    Returns:
        The bins, (B, T) in [0, BINS).

    Raises:
        DataError: A prediction is not a probability.
    """
    bins = bin_probabilities(probabilities)
    cells = bins + np.arange(bins.shape[1]) * BINS  # (B, T), indices into the flattened tables
    # The increment has the table's own type: with a Python int, numpy is 40 times slower.
    np.add.at(histograms.totals.reshape(-1), cells.reshape(-1), np.int32(1))
    np.add.at(histograms.positives.reshape(-1), cells[labels.astype(bool)], np.int32(1))
    histograms.squared_error += np.square(probabilities.astype(np.float64) - labels).sum(axis=0)
    return bins


def constant_histograms(scores: npt.ArrayLike, positives: npt.ArrayLike, images: int) -> Histograms:
    """Make the histograms of a predictor that gives a tag the same probability on every picture.

    With the training frequencies as scores, this is the baseline, which knows how frequent tags are and never
    looks at a picture.

    Args:
        scores: (T,) probability of each tag, in [0, 1].
        positives: (T,) number of pictures that carry each tag.
        images: Number of all pictures.
    """
    constants = np.asarray(scores, dtype=np.float64)
    carried = np.asarray(positives, dtype=np.int64)
    histograms = empty_histograms(constants.size)
    rows, bins = np.arange(constants.size), bin_probabilities(constants)
    histograms.positives[rows, bins] = carried
    histograms.totals[rows, bins] = images
    histograms.squared_error[:] = carried * (1 - constants) ** 2 + (images - carried) * constants**2
    return histograms


def sums_from_above(counts: npt.NDArray[np.integer]) -> Int64Array:
    """Sum of each bin and all above it, along the last axis."""
    sums: Int64Array = np.cumsum(counts[..., ::-1], axis=-1, dtype=np.int64)[..., ::-1]
    return sums


@dataclass(frozen=True, slots=True)
class Pooled:
    """Histograms summed over tags, so that every (picture, tag) pair counts once: (BINS,) int64 each."""

    positives: Int64Array
    totals: Int64Array


def pool(histograms: Histograms, tags: BoolArray | None = None) -> Pooled:
    """Sum histograms over the tags of a mask (T,), or over all tags."""
    chosen = slice(None) if tags is None else tags
    return Pooled(
        positives=histograms.positives[chosen].sum(axis=0, dtype=np.int64),
        totals=histograms.totals[chosen].sum(axis=0, dtype=np.int64),
    )
