"""What the validation split says about a network in training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alti2v.model.data.pipeline import Batch, evaluation_batches
from alti2v.model.evaluation.histograms import THRESHOLDS, Histograms, add_predictions, empty_histograms
from alti2v.model.evaluation.metrics import (
    Pooled,
    average_precisions,
    equal_precision_recall_threshold,
    pool,
)
from alti2v.model.network.build import Network
from alti2v.model.recipes import Loss
from alti2v.model.training.job import Job


@dataclass(frozen=True, slots=True)
class Validation:
    """What was found.

    Attributes:
        loss: cross-entropy per sample, summed or averaged over the tags as the recipe says; without the weights
            of a loss that has some.
        mean_ap: mean average precision over the tags that occur; None if none does.
        micro_f1: at `threshold`.
        threshold: where precision equals recall.
        histograms: of every tag, for the thresholds of the single tags.
    """

    loss: float
    mean_ap: float | None
    micro_f1: float
    threshold: float
    histograms: Histograms


def validate(job: Job, network: Network) -> Validation | None:
    """Judge the network on the validation split; None if there is none."""
    if not job.manifest.samples("validation"):
        return None
    batches = evaluation_batches(job.dataset, split="validation", batch_size=job.recipe.batch_size)
    return score_network(network, batches, tags=len(job.tags), loss=job.recipe.loss)


def score_network(network: Network, batches: Iterable[Batch], *, tags: int, loss: Loss) -> Validation:
    """Judge the network on some batches, at least one."""
    histograms = empty_histograms(tags)
    loss_sum, count = 0.0, 0
    for batch in batches:
        predicted = np.asarray(network.tagger.predict_on_batch(batch.images)["probabilities"])[: batch.count]
        labels = batch.labels[: batch.count]
        add_predictions(histograms, predicted, labels)
        loss_sum += _cross_entropy(predicted, labels, loss)
        count += batch.count
    precisions = average_precisions(histograms)[0]
    pooled = pool(histograms)
    threshold = equal_precision_recall_threshold(pooled)
    return Validation(
        loss=loss_sum / count,
        mean_ap=None if np.isnan(precisions).all() else float(np.nanmean(precisions)),
        micro_f1=_micro_f1(pooled, threshold),
        threshold=threshold,
        histograms=histograms,
    )


def _micro_f1(pooled: Pooled, threshold: float) -> float:
    above = threshold <= THRESHOLDS
    divisor = pooled.totals[above].sum() + pooled.positives.sum()
    return float(2 * pooled.positives[above].sum() / divisor) if divisor else 0.0


def _cross_entropy(predicted: npt.NDArray[np.floating], labels: npt.NDArray[np.uint8], loss: Loss) -> float:
    """Summed over the samples. (B, T) each."""
    p = np.clip(predicted.astype(np.float64), 1e-7, 1 - 1e-7)  # Keras' epsilon
    entropy = -(labels * np.log(p) + (1 - labels) * np.log1p(-p)).sum()
    return float(entropy / labels.shape[1] if loss is Loss.MEAN else entropy)
