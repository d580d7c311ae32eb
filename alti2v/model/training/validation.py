"""Validation: figures of a network in training on the validation split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alti2v.arrays import Float32Array, Int64Array, Uint8Array, sigmoid
from alti2v.errors import DamagedError
from alti2v.model.data.pipeline import evaluation_batches
from alti2v.model.evaluation.frozen_head import stored_features
from alti2v.model.evaluation.histograms import Histograms, add_predictions, empty_histograms, pool
from alti2v.model.evaluation.metrics import (
    FEW_POSITIVES,
    average_precisions,
    equal_precision_recall_threshold,
    fewest_positives,
    micro_f1,
)
from alti2v.model.network.build import Network
from alti2v.model.network.cut import cut
from alti2v.model.recipes import Loss
from alti2v.model.training.features.files import feature_file
from alti2v.model.training.job import Job
from alti2v.numerals import counted
from alti2v.records import Tag


@dataclass(frozen=True, slots=True)
class Validation:
    """Figures of one validation.

    Attributes:
        loss: Unweighted cross-entropy per sample, summed or averaged over the tags as in the recipe's loss.
        mean_ap: Mean average precision over the tags that occur; None if no tag occurs.
        micro_f1: Micro F1 at `threshold`.
        score: Figure by which networks are compared: `mean_ap`, or `micro_f1` if fewer than half of the tags
            have ten pictures, because the mean is mostly chance then; None if no tag occurs.
        threshold: Threshold at which precision equals recall.
        histograms: Histograms of every tag, for tuning the tags' own thresholds.
    """

    loss: float
    mean_ap: float | None
    micro_f1: float
    score: float | None
    threshold: float
    histograms: Histograms


def too_few_to_choose(tags: Sequence[Tag], *, train: int, validation: int) -> str:
    """Say that the validation split is too small to tell which epoch is the best; "" if it is not, or is empty.

    Args:
        tags: The vocabulary. The validation pictures of a tag are estimated from its training pictures.
        train: Number of training pictures, at least 1.
        validation: Number of validation pictures.
    """
    expected = np.array([tag.count for tag in tags]) * validation // train
    if not validation or fewest_positives(expected, FEW_POSITIVES) == FEW_POSITIVES:
        return ""
    enough = counted(int((expected >= FEW_POSITIVES).sum()), "tag")
    return (
        f"{counted(validation, 'validation picture')} can hardly tell which epoch is the best "
        f"({FEW_POSITIVES} or more for about {enough} of {len(tags):,}): "
        "a larger --validation of `alti2v build-shards` is safer"
    )


def _is_chance(positives: Int64Array) -> bool:
    """Return whether a mean average precision over tags with these numbers of pictures is mostly chance.

    It is if fewer than half of the tags have enough: the other ones decide with the rank of a few pictures.
    """
    return 2 * int((positives >= FEW_POSITIVES).sum()) < len(positives)


def validate(job: Job, network: Network, *, stored: str | None = None) -> Validation | None:
    """Evaluate the network on the validation split; None if the dataset has none.

    Args:
        job: The training.
        network: Its network.
        stored: Layer in front of which the network's output for this split is stored, or `HEAD_ONLY`; None to
            read the pictures.

    Raises:
        DamagedError: A picture or a file of stored features is missing or damaged.
    """
    if not job.manifest.samples("validation"):
        return None
    predictions = _from_pictures(job, network) if stored is None else _from_features(job, network, stored)
    return score_predictions(predictions, tags=len(job.tags), loss=job.recipe.loss)


def _from_pictures(job: Job, network: Network) -> Iterator[tuple[Float32Array, Uint8Array]]:
    for batch in evaluation_batches(job.dataset, split="validation", batch_size=job.recipe.batch_size):
        predicted = np.asarray(network.tagger.predict_on_batch(batch.images)["probabilities"])
        yield predicted[: batch.count], batch.labels[: batch.count]


def _from_features(job: Job, network: Network, first: str) -> Iterator[tuple[Float32Array, Uint8Array]]:
    model = cut(network, first).head
    for shard in job.manifest.split("validation"):
        file = feature_file(job, shard, first)
        try:
            # Feature maps are large, and the layers behind them need memory for each row.
            for features, labels in stored_features(
                file, rows=shard.samples, tags=len(job.tags), batch_size=job.recipe.batch_size
            ):
                logits = np.asarray(model.predict_on_batch(features), np.float32)
                yield sigmoid(logits), labels
        except DamagedError as exc:
            raise DamagedError(f"{exc}: remove it, and run the same command again") from exc


def score_predictions(
    predictions: Iterable[tuple[Float32Array, Uint8Array]], *, tags: int, loss: Loss
) -> Validation:
    """Score predicted probabilities (B, T) with their labels (B, T), at least one batch."""
    histograms = empty_histograms(tags)
    loss_sum, count = 0.0, 0
    for predicted, labels in predictions:
        add_predictions(histograms, predicted, labels)
        loss_sum += _cross_entropy(predicted, labels, loss)
        count += len(labels)
    precisions = average_precisions(histograms)[0]
    pooled = pool(histograms)
    threshold = equal_precision_recall_threshold(pooled)
    mean_ap = None if np.isnan(precisions).all() else float(np.nanmean(precisions))
    f1 = micro_f1(pooled, threshold)
    is_chance = _is_chance(histograms.positives.sum(axis=1))
    return Validation(
        loss=loss_sum / count,
        mean_ap=mean_ap,
        micro_f1=f1,
        score=f1 if is_chance and mean_ap is not None else mean_ap,
        threshold=threshold,
        histograms=histograms,
    )


def _cross_entropy(predicted: npt.NDArray[np.floating], labels: Uint8Array, loss: Loss) -> float:
    """Sum over the samples; predictions and labels are (B, T)."""
    p = np.clip(predicted.astype(np.float64), 1e-7, 1 - 1e-7)  # Keras' epsilon
    entropy = -(labels * np.log(p) + (1 - labels) * np.log1p(-p)).sum()
    return float(entropy / labels.shape[1] if loss is Loss.MEAN else entropy)
