"""Soft labels for incomplete tags, estimated before a training from the features of the frozen backbone.

A picture without a tag may show what the tag names. Heads that have not seen the picture say how probable that
is, and the training then aims at this probability instead of 0; a head that has seen it would repeat the 0.
Reed et al. 2014 ("Training deep neural networks on noisy labels with bootstrapping", arXiv:1412.6596) take the
predictions of the network in training itself. docs/RECIPES.md has the measurements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from alti2v.arrays import BoolArray, Float32Array, Int64Array, sigmoid
from alti2v.dataset.manifest import Shard
from alti2v.model.data.shard_rows import is_whole
from alti2v.model.data.soft_labels import read_soft_labels, soft_labels_file, write_soft_labels
from alti2v.model.network.build import Network
from alti2v.model.network.cut import cut
from alti2v.model.training.compiled_model import build_for
from alti2v.model.training.features.batches import features_of, read_features
from alti2v.model.training.frozen_head import compute_head_features, fit_head, head_epochs
from alti2v.model.training.job import Job
from alti2v.records import Progress, ProgressHook
from alti2v.storage.publish import make_directory

# Each head learns from the other folds, in fewer passes than the final head: it has to be calibrated rather
# than to fit every label.
FOLDS = 3
_SHARE_OF_EPOCHS = 0.4
_STREAM = 0x50F7  # separates the folds from other draws of the same seed
_ROWS_AT_ONCE = 1_024


def fold_epochs(train_samples: int) -> int:
    """Return the number of passes of each fold's head over its features."""
    return max(1, round(_SHARE_OF_EPOCHS * head_epochs(train_samples)))


def fold_passes(train_samples: int) -> int:
    """Return the number of passes over all training samples that the heads of all folds take together."""
    return (FOLDS - 1) * fold_epochs(train_samples)  # each head leaves out its own fold


def folds_of(job: Job, shard: Shard) -> Int64Array:
    """Return the fold of each row of a shard, (N,) in [0, FOLDS): a function of the seed and the shard.

    Folds are of equal size, so that two pictures are enough for a head to have one to learn from.
    """
    draws = np.random.default_rng([job.settings.seed, _STREAM, shard.name.number])
    return draws.permutation((np.arange(shard.samples) + shard.name.number) % FOLDS)


def compute_soft_labels(job: Job, network: Network, *, progress: ProgressHook) -> None:
    """Compute the soft labels of the training pictures, unless they are stored, and store them in the run.

    The result is a function of the dataset, the weights and the seed.

    Args:
        job: The training.
        network: Its network, with its initial weights.
        progress: Called after each epoch of each fold's head.

    Raises:
        DamagedError: A picture cannot be read.
        StorageError: The run cannot be written.
    """
    folder = job.soft_labels
    assert folder is not None
    shards = job.manifest.split("train")
    if all(is_whole(soft_labels_file(folder, shard), shard) for shard in shards):
        return
    compute_head_features(job, network, splits=("train",), progress=progress)
    epochs = fold_epochs(job.train_samples)
    heads = []
    for fold in range(FOLDS):
        # Built anew: the head of `network` keeps its initial weights.
        model = cut(build_for(job)).head

        def learned_from(shard: Shard, fold: int = fold) -> BoolArray:
            is_other: BoolArray = folds_of(job, shard) != fold
            return is_other

        for epoch, loss in fit_head(model, job, epochs=epochs, only=learned_from):
            done = fold * epochs + epoch + 1
            progress(
                Progress(
                    stage="soft labels",
                    done=done,
                    total=FOLDS * epochs,
                    unit="epochs",
                    counts={"loss": round(loss, 4)},
                )
            )
        heads.append(model)
    make_directory(folder)
    likely = 0
    for shard in shards:
        write_soft_labels(folder, shard, _soft_labels_of(job, shard, heads))
        written = read_soft_labels(folder, shard, None, tags=len(job.tags))
        likely += int((written.probabilities >= 0.5).sum())
    total = FOLDS * epochs
    line = (
        f"soft labels of {job.train_samples:,} pictures: "
        f"{likely:,} absent tags have a probability of 0.5 or more"
    )
    progress(Progress(stage="soft labels", done=total, total=total, unit="epochs", milestone=line))


def _soft_labels_of(job: Job, shard: Shard, heads: Sequence[Any]) -> Iterator[Float32Array]:
    """Yield the soft labels of consecutive rows of a shard, (N, T): 0 where a picture carries the tag."""
    table, folds = read_features(job, shard), folds_of(job, shard)
    for first in range(0, len(table), _ROWS_AT_ONCE):
        part, own = table.slice(first, _ROWS_AT_ONCE), folds[first : first + _ROWS_AT_ONCE]
        features = features_of(part)
        probabilities = np.zeros((len(part), len(job.tags)), np.float32)
        for fold, head in enumerate(heads):
            if (own == fold).any():
                logits = np.asarray(head.predict_on_batch(features[own == fold]), np.float32)
                probabilities[own == fold] = sigmoid(logits)
        labels = part.column("labels").combine_chunks()
        rows = np.repeat(np.arange(len(part)), np.diff(labels.offsets.to_numpy()))
        probabilities[rows, labels.flatten().to_numpy()] = 0.0
        yield probabilities
