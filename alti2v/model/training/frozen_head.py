"""A head on the frozen backbone, trained in seconds on stored features, before the backbone is trained.

The fine-tuning starts from it, because gradients of a random head would destroy the pretrained weights; and the
report shows it as the simplest alternative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from alti2v.arrays import BoolArray
from alti2v.dataset.manifest import Shard
from alti2v.model import backend
from alti2v.model.data.read_errors import reading_errors
from alti2v.model.data.shards import ReadFailure
from alti2v.model.evaluation.frozen_head import FrozenHead, write_frozen_head
from alti2v.model.network.build import Network
from alti2v.model.network.cut import cut
from alti2v.model.network.losses import loss_of
from alti2v.model.training.compiled_model import jit_compile
from alti2v.model.training.features.batches import feature_batches
from alti2v.model.training.features.files import compute_features
from alti2v.model.training.job import Job
from alti2v.records import Progress, ProgressHook
from alti2v.storage.layout import SPLITS

# As many epochs as a small dataset needs until the head no longer improves; for a large one this many samples,
# and at least one epoch. docs/RECIPES.md has the measurements.
_MOST_EPOCHS = 20
_SAMPLES = 200_000
_LEARNING_RATE = 1e-3
_FLOOR = 0.01  # final learning rate as a share of the first
_WEIGHT_DECAY = 5e-3  # as in the recipe `modern`
HEAD_BATCH_SIZE = 128


def head_epochs(train_samples: int) -> int:
    """Return the number of passes over the stored features."""
    return max(1, min(_MOST_EPOCHS, _SAMPLES // train_samples))


def train_frozen_head(job: Job, network: Network, *, progress: ProgressHook) -> None:
    """Train the head of a network whose backbone has pretrained weights, and store it in the run.

    Features of all splits are computed first and stored, those of the other splits for the report. The result
    is a function of the dataset, the weights and the seed: after a kill, stored features are kept, and the head
    is trained again.

    Raises:
        DamagedError: A picture cannot be read.
        StorageError: The run cannot be written.
    """
    splits = [split for split in SPLITS if job.manifest.samples(split)]
    computed = compute_head_features(job, network, splits=splits, progress=progress)
    epochs, loss = head_epochs(job.train_samples), 0.0
    for epoch, loss in fit_head(cut(network).head, job, epochs=epochs):
        progress(
            Progress(stage="head", done=epoch + 1, total=epochs, unit="epochs", counts={"loss": round(loss, 4)})
        )
    write_frozen_head(job.run, _weights_of(network))
    progress(
        Progress(
            stage="head",
            done=epochs,
            total=epochs,
            unit="epochs",
            milestone=f"head on the frozen backbone: {epochs} epochs on the features of {job.train_samples:,} "
            f"pictures ({computed:,} computed now), loss {loss:.4g}",
        )
    )


def compute_head_features(job: Job, network: Network, *, splits: Sequence[str], progress: ProgressHook) -> int:
    """Compute the features of a head that are not stored yet, and the stored maps that the training will need.

    Returns:
        Number of pictures whose features this call computed.

    Raises:
        DamagedError: A picture cannot be read.
        StorageError: The features cannot be written.
    """
    has_maps = job.settings.cache_features and job.recipe.head_start
    maps = job.recipe.train_from if has_maps else None
    if maps is not None:  # the features follow from them, with one pass over the pictures for both
        learned_from = [split for split in splits if split != "test"]
        compute_features(job, network, first=maps, splits=learned_from, progress=progress)
    computed, _ = compute_features(job, network, maps=maps, splits=splits, progress=progress)
    return computed


def fit_head(
    model: Any,  # noqa: ANN401 - keras.Model
    job: Job,
    *,
    epochs: int,
    only: Callable[[Shard], BoolArray] | None = None,
) -> Iterator[tuple[int, float]]:
    """Train a head on stored features, and yield each epoch's number, from 0, and its mean loss.

    `only` is that of `feature_batches`.

    Raises:
        DamagedError: A file of features or of soft labels is missing or damaged.
    """
    for epoch in range(epochs):
        failure = ReadFailure()
        with reading_errors(job.dataset, split="train", failure=failure):
            batches = feature_batches(
                job,
                epoch=epoch,
                batch_size=HEAD_BATCH_SIZE,
                only=only,
                failure=failure,
            )
            if epoch == 0:
                compile_head(model, job, steps=epochs * len(batches))
            loss = float(model.fit(batches, epochs=1, verbose=0, shuffle=False).history["loss"][-1])
        yield epoch, loss


def compile_head(model: Any, job: Job, *, steps: int) -> None:  # noqa: ANN401 - keras.Model
    """Compile the head alone, for a number of steps."""
    keras = backend.keras
    optimizer = keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, steps, alpha=_FLOOR),
        weight_decay=_WEIGHT_DECAY,
        global_clipnorm=job.recipe.clip_norm,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer=optimizer, loss=loss_of(job.recipe.loss, None), jit_compile=jit_compile())


def _weights_of(network: Network) -> FrozenHead:
    layers: list[Any] = [network.logits.get_layer(name) for name in ("features", "logits")]
    kernels = [np.asarray(array, np.float32) for layer in layers for array in (layer.kernel, layer.bias)]
    return FrozenHead(
        features_kernel=kernels[0], features_bias=kernels[1], logits_kernel=kernels[2], logits_bias=kernels[3]
    )
