"""Validation: figures of a network in training on the validation split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alti2v.model.data.pipeline import Batch, evaluation_batches
from alti2v.model.evaluation.histograms import Histograms, add_predictions, empty_histograms, pool
from alti2v.model.evaluation.metrics import average_precisions, equal_precision_recall_threshold, micro_f1
from alti2v.model.network.build import Network
from alti2v.model.recipes import Loss
from alti2v.model.training.job import Job


@dataclass(frozen=True, slots=True)
class Validation:
    """Figures of one validation.

    Attributes:
        loss: Unweighted cross-entropy per sample, summed or averaged over the tags as in the recipe's loss.
        mean_ap: Mean average precision over the tags that occur; None if no tag occurs.
        micro_f1: Micro F1 at `threshold`.
        threshold: Threshold at which precision equals recall.
        histograms: Histograms of every tag, for tuning the tags' own thresholds.
    """

    loss: float
    mean_ap: float | None
    micro_f1: float
    threshold: float
    histograms: Histograms


def validate(job: Job, network: Network) -> Validation | None:
    """Evaluate the network on the validation split; None if the dataset has none."""
    if not job.manifest.samples("validation"):
        return None
    batches = evaluation_batches(job.dataset, split="validation", batch_size=job.recipe.batch_size)
    return score_network(network, batches, tags=len(job.tags), loss=job.recipe.loss)


def score_network(network: Network, batches: Iterable[Batch], *, tags: int, loss: Loss) -> Validation:
    """Evaluate the network on batches, at least one."""
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
        micro_f1=micro_f1(pooled, threshold),
        threshold=threshold,
        histograms=histograms,
    )


def _cross_entropy(predicted: npt.NDArray[np.floating], labels: npt.NDArray[np.uint8], loss: Loss) -> float:
    """Sum over the samples; predictions and labels are (B, T)."""
    p = np.clip(predicted.astype(np.float64), 1e-7, 1 - 1e-7)  # Keras' epsilon
    entropy = -(labels * np.log(p) + (1 - labels) * np.log1p(-p)).sum()
    return float(entropy / labels.shape[1] if loss is Loss.MEAN else entropy)
