"""Predictions of several models for the pictures of a split, counted batch by batch.

Memory depends on the number of tags, not of pictures: the codes of all predictions are in a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

import numpy as np

from alti2v.arrays import Float32Array, Int64Array, Uint8Array
from alti2v.errors import DataError
from alti2v.model.comparison.contestant import Contestant
from alti2v.model.comparison.feeding import FedBatch
from alti2v.model.evaluation.bootstrap import Codes, encode
from alti2v.model.evaluation.histograms import Histograms, add_predictions, empty_histograms


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Predictions of one model.

    Attributes:
        histograms: Histograms of T tags.
        codes: (N, T) of `bootstrap.encode`, in a file; row n is the n-th kept post. Empty if none are kept.
        own_thresholds: (T,) float32, thresholds that come with the model.
        own_predicted, own_correct: (T,) int64, number of pictures that pass them, and of these
            those that carry the tag.
    """

    histograms: Histograms
    codes: Codes
    own_thresholds: Float32Array
    own_predicted: Int64Array
    own_correct: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A model, and the positions of the common tags among its outputs.

    Attributes:
        contestant: The model.
        outputs: (T,) indices of the common tags among its outputs.
        labels: (T,) indices of the common tags among the labels of its dataset.
        codes: Empty file on a disk, for 2 bytes per picture and tag; None to keep none.
    """

    contestant: Contestant
    outputs: Int64Array
    labels: Int64Array
    codes: IO[bytes] | None = field(default=None)


def count(judged: Sequence[Judged], batches: Iterator[FedBatch], kept: Int64Array) -> tuple[Counted, ...]:
    """Count the predictions of models for the same pictures.

    Args:
        judged: The models.
        batches: Pictures, prepared for each of them.
        kept: Posts of the codes' rows, ascending: those of the batches.

    Raises:
        DataError: A model answers NaN.
    """
    counted = [_empty(one, len(kept)) for one in judged]
    for batch in batches:
        rows = np.searchsorted(kept, batch.ids)
        for one, found, pixels in zip(judged, counted, batch.pixels, strict=True):
            labels = batch.labels[:, one.labels]
            probabilities = _probabilities(one, pixels)
            bins = add_predictions(found.histograms, probabilities, labels)
            passes = probabilities >= found.own_thresholds
            np.add(found.own_predicted, passes.sum(axis=0), out=found.own_predicted)
            np.add(found.own_correct, (passes & labels.astype(bool)).sum(axis=0), out=found.own_correct)
            if len(found.codes):
                found.codes[rows] = encode(bins, labels)
    return tuple(counted)


def _empty(one: Judged, pictures: int) -> Counted:
    tags = len(one.outputs)
    codes: Codes = (
        np.empty((0, tags), np.uint16)
        if one.codes is None
        else np.memmap(one.codes, np.uint16, "w+", shape=(pictures, tags))
    )
    return Counted(
        histograms=empty_histograms(tags),
        codes=codes,
        own_thresholds=one.contestant.tagger.own_thresholds()[one.outputs],
        own_predicted=np.zeros(tags, np.int64),
        own_correct=np.zeros(tags, np.int64),
    )


def _probabilities(one: Judged, pixels: Uint8Array) -> Float32Array:
    """Return the probabilities of the common tags, (B, T)."""
    probabilities = one.contestant.tagger.forward(pixels)[0][:, one.outputs]
    if not np.isfinite(probabilities).all():
        raise DataError(
            f"{one.contestant.model} gives NaN or infinity: leave it out, or train or export it again"
        )
    return probabilities
