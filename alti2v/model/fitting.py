"""The training loop: Keras' `fit`, an epoch at a time, between checkpoints that hold all it depends on."""

from __future__ import annotations

import contextlib
import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.dataset.manifest import Manifest
from alti2v.errors import DataError
from alti2v.model import backend
from alti2v.model.bundle import Bundle, save_bundle
from alti2v.model.checkpoints import load_newest, prune, save_checkpoint
from alti2v.model.histograms import add_predictions, empty_histograms
from alti2v.model.input import Augmentation, evaluation_batches, reading_errors, training_batches
from alti2v.model.losses import mean_cross_entropy, summed_cross_entropy
from alti2v.model.metrics import average_precisions, equal_precision_recall_threshold, pool
from alti2v.model.network import (
    UNIT_VARIANCE,
    Architecture,
    Network,
    build_network,
    freeze_before,
    load_trunk,
    set_prior,
    standardise,
)
from alti2v.model.recipes import Loss, Recipe
from alti2v.records import Progress, ProgressHook, Tag
from alti2v.storage.layout import CHECKPOINTS_DIR, LOG_FILE, MODEL_DIR
from alti2v.storage.publish import publish_bytes

_LOG_COLUMNS = (
    *("epoch", "step", "loss", "val_loss", "val_map"),
    *("learning_rate", "samples_per_s", "seconds"),
)
_COSINE_FLOOR = 0.01  # of the peak, where the cosine ends (JAX-CV: cosine to 1 %)
# Enough for the mean and variance of a channel, and little memory at 224 px.
_START_PICTURES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A training whose settings are settled; the attributes are those of `TrainConfig`, completed."""

    dataset: Path
    run: Path
    manifest: Manifest
    tags: tuple[Tag, ...]
    recipe_name: str
    recipe: Recipe
    weights: str
    seed: int
    validate_every: int
    checkpoint_s: float

    @property
    def train_samples(self) -> int:
        """Samples of an epoch."""
        return self.manifest.samples("train")

    @property
    def steps_per_epoch(self) -> int:
        """The last batch of an epoch has what is left."""
        return -(-self.train_samples // self.recipe.batch_size)

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return self.recipe.epochs * self.steps_per_epoch


@dataclass(slots=True)
class Position:
    """Where a training stands, beside the variables; what a checkpoint holds as JSON.

    Attributes:
        step: steps done.
        seconds: spent, waiting for the data, validating and saving included.
        train_seconds: of these, spent in steps.
        loss_sum: over the samples seen in the epoch that `step` lies in.
        log: the rows of log.csv so far.
    """

    step: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    loss_sum: float = 0.0
    log: list[dict[str, float | int | None]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Validation:
    """What the validation split says: loss per sample, mean average precision, and where P = R."""

    loss: float
    mean_ap: float | None
    threshold: float


def fit(job: Job, *, progress: ProgressHook, clock: Callable[[], float]) -> tuple[Mapping[str, Any], int]:
    """Train from the newest checkpoint to the end, and write the model.

    Returns:
        The fields of a `TrainReport` that the training decides, and the step that it went on from.

    Raises:
        RemoteError: ImageNet's weights cannot be fetched.
        UsageError: the weights do not fit.
        DamagedError: a picture cannot be read.
        DataError: the loss is no number any more.
        StorageError: a checkpoint or the model cannot be written.
    """
    network = _compiled(job)
    model = network.logits
    variables = [*model.variables, *model.optimizer.variables]
    found = load_newest(job.run / CHECKPOINTS_DIR, variables)
    position = Position() if found is None else Position(**found)
    if found is None:
        _start(job, network)
    resumed_from_step = position.step
    loop = _Loop(job, network, variables, position, progress, clock)
    for epoch in range(position.step // job.steps_per_epoch, job.recipe.epochs):
        loop.train_epoch(epoch)
    validation = loop.validation or validate(job, network)
    figures = {
        "parameters": model.count_params(),
        "epochs": job.recipe.epochs,
        "steps": position.step,
        "train_samples": job.train_samples,
        "tags": len(job.tags),
        "loss": position.log[-1]["loss"],
        "validation_map": None if validation is None else validation.mean_ap,
        "threshold": None if validation is None else validation.threshold,
        "seconds": round(position.seconds, 1),
        "samples_per_s": round(job.recipe.epochs * job.train_samples / max(position.train_seconds, 1e-9), 1),
    }
    save_bundle(job.run / MODEL_DIR, _bundle(job, network, figures))
    prune(job.run / CHECKPOINTS_DIR, keep=1)
    return figures, resumed_from_step


def _start(job: Job, network: Network) -> None:
    """Give a network that has not taken a step the weights to start from."""
    if job.weights != "none":
        load_trunk(network, job.weights)
    elif job.recipe.standardised_start:
        batches = training_batches(job.dataset, batch_size=_START_PICTURES, seed=job.seed)
        standardise(network, next(iter(batches))[0].numpy())


def validate(job: Job, network: Network) -> Validation | None:
    """Judge the network on the validation split; None if there is none."""
    if not job.manifest.samples("validation"):
        return None
    histograms = empty_histograms(len(job.tags))
    loss, count = 0.0, 0
    for batch in evaluation_batches(job.dataset, split="validation", batch_size=job.recipe.batch_size):
        predicted = network.tagger.predict_on_batch(batch.images)["probabilities"][: batch.count]
        labels = batch.labels[: batch.count]
        add_predictions(histograms, predicted, labels)
        loss += _cross_entropy(predicted, labels, job.recipe.loss)
        count += batch.count
    precisions = average_precisions(histograms)[0]
    return Validation(
        loss=loss / count,
        mean_ap=None if np.isnan(precisions).all() else float(np.nanmean(precisions)),
        threshold=equal_precision_recall_threshold(pool(histograms)),
    )


def _cross_entropy(predicted: npt.NDArray[np.floating], labels: npt.NDArray[np.uint8], loss: Loss) -> float:
    """The training's loss, summed over the samples. (B, T) each."""
    p = np.clip(predicted.astype(np.float64), 1e-7, 1 - 1e-7)  # Keras' epsilon
    entropy = -(labels * np.log(p) + (1 - labels) * np.log1p(-p)).sum()
    return float(entropy if loss is Loss.SUMMED else entropy / labels.shape[1])


def _compiled(job: Job) -> Network:
    """The network as it is before the first step, pretrained weights aside."""
    keras, recipe = backend.keras, job.recipe
    architecture = Architecture(
        size=job.manifest.image.size,
        tags=len(job.tags),
        head=recipe.head,
        features=recipe.features,
        dropout=recipe.dropout,
        pixel_scale=UNIT_VARIANCE if job.weights == "none" else 1.0,
    )
    network = build_network(architecture, seed=job.seed)
    freeze_before(network, recipe.train_from)
    if recipe.prior_bias:
        # Laplace's rule keeps tags that no or every training sample carries at finite odds.
        set_prior(network, [(tag.count + 1) / (job.train_samples + 2) for tag in job.tags])
    optimizer = keras.optimizers.Adam(
        learning_rate=_schedule(job),
        weight_decay=recipe.weight_decay or None,  # decoupled, as in AdamW; a decay of 0 would cost as much
        global_clipnorm=recipe.clip_norm,
    )
    # Decay pulls kernels towards zero; a bias at the log-odds of a rare tag has to stay far from it.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model = network.logits
    model.compile(
        optimizer=optimizer,
        loss=summed_cross_entropy if recipe.loss is Loss.SUMMED else mean_cross_entropy,
        jit_compile=_jit_compile(),
    )
    optimizer.build(model.trainable_variables)
    return network


def _jit_compile() -> bool | str:
    """Keras' own choice, but for TensorFlow without a GPU.

    There XLA's convolutions take four times as long as oneDNN's (Keras 3.15, TensorFlow 2.21, VGG16 at 32 px in
    batches of 16 on two cores: 1,064 ms a step against 262 ms).
    """
    on_cpu = backend.keras.backend.backend() == "tensorflow" and not backend.tf.config.list_physical_devices(
        "GPU"
    )
    return False if on_cpu else "auto"


def _schedule(job: Job) -> Any:  # noqa: ANN401 - a float or a Keras schedule
    recipe = job.recipe
    if not recipe.cosine:
        return recipe.learning_rate
    warm_up = round(recipe.warm_up * job.steps)
    return backend.keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=recipe.learning_rate / 100 if warm_up else recipe.learning_rate,
        warmup_target=recipe.learning_rate if warm_up else None,
        warmup_steps=warm_up,
        decay_steps=max(1, job.steps - warm_up),
        alpha=_COSINE_FLOOR,
    )


def _bundle(job: Job, network: Network, figures: Mapping[str, Any]) -> Bundle:
    return Bundle(
        network=network.tagger,
        architecture=network.architecture,
        tags=job.tags,
        dataset=str(job.dataset),
        plan_hash=job.manifest.plan_hash,
        train_samples=job.train_samples,
        recipe=job.recipe_name,
        threshold=figures["threshold"],
        training=figures,
    )


class _Loop:
    """A running training: the position moves with every step; checkpoints and the log follow it."""

    def __init__(
        self,
        job: Job,
        network: Network,
        variables: Sequence[Any],
        position: Position,
        progress: ProgressHook,
        clock: Callable[[], float],
    ) -> None:
        self.validation: Validation | None = None
        self._job = job
        self._network = network
        self._variables = variables
        self._position = position
        self._progress = progress
        self._clock = clock
        self._now_s = self._saved_s = clock()

    def train_epoch(self, epoch: int) -> None:
        """Train what is left of an epoch; then, where it is time, validate, log and save."""
        job, position, model = self._job, self._position, self._network.logits
        skipped = position.step - epoch * job.steps_per_epoch
        batches = training_batches(
            job.dataset,
            batch_size=job.recipe.batch_size,
            seed=job.seed,
            epoch=epoch,
            skip_batches=skipped,
            augmentation=Augmentation(flip=job.recipe.flip, shift=job.recipe.shift),
        )
        seen_before = skipped * job.recipe.batch_size
        loss_before = position.loss_sum

        def after_step(_: int, logs: Mapping[str, Any]) -> None:
            position.step += 1
            seen = min((position.step - epoch * job.steps_per_epoch) * job.recipe.batch_size, job.train_samples)
            # Keras reports the mean over the samples since `fit` began.
            position.loss_sum = loss_before + float(logs["loss"]) * (seen - seen_before)
            self._after_step(loss=position.loss_sum / seen)

        callback = backend.keras.callbacks.LambdaCallback(on_train_batch_end=after_step)
        self._tick()
        with reading_errors(job.dataset), self._saved_on_interrupt():
            model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=[callback])
        self._after_epoch(epoch)

    def _after_step(self, *, loss: float) -> None:
        job, position = self._job, self._position
        if not math.isfinite(loss):
            raise DataError(
                f"the loss is no number any more at step {position.step}: train into another folder "
                f"with a learning rate below {job.recipe.learning_rate:g}"
            )
        position.train_seconds += self._tick()
        speed = position.step * job.train_samples / job.steps_per_epoch / max(position.train_seconds, 1e-9)
        self._progress(
            Progress(
                stage="training",
                done=position.step,
                total=job.steps,
                unit="steps",
                counts={
                    "epoch": f"{(position.step - 1) // job.steps_per_epoch + 1}/{job.recipe.epochs}",
                    "loss": round(loss, 4),
                    "samples/s": round(speed, 1),
                },
            )
        )
        # At the end of an epoch the log comes first.
        if position.step % job.steps_per_epoch:
            self._save_if_due()

    def _after_epoch(self, epoch: int) -> None:
        job, position = self._job, self._position
        is_last = epoch + 1 == job.recipe.epochs
        is_looked_at = is_last or (epoch + 1) % job.validate_every == 0
        validation = self.validation = validate(job, self._network) if is_looked_at else None
        self._tick()
        position.log.append(
            {
                "epoch": epoch + 1,
                "step": position.step,
                "loss": position.loss_sum / job.train_samples,
                "val_loss": None if validation is None else validation.loss,
                "val_map": None if validation is None else validation.mean_ap,
                "learning_rate": float(self._network.logits.optimizer.learning_rate),
                "samples_per_s": (epoch + 1) * job.train_samples / max(position.train_seconds, 1e-9),
                "seconds": position.seconds,
            }
        )
        position.loss_sum = 0.0
        publish_bytes(job.run / LOG_FILE, _log_csv(position.log))
        if is_last:
            self._save()
        else:
            self._save_if_due()

    def _tick(self) -> float:
        """Count the time since the last tick as spent; returns it, in seconds."""
        passed_s = self._clock() - self._now_s
        self._now_s += passed_s
        self._position.seconds += passed_s
        return passed_s

    def _save_if_due(self) -> None:
        if self._clock() - self._saved_s >= self._job.checkpoint_s:
            self._save()

    def _save(self) -> None:
        save_checkpoint(
            self._job.run / CHECKPOINTS_DIR,
            self._position.step,
            variables=self._variables,
            position=asdict(self._position),
        )
        self._saved_s = self._clock()

    @contextlib.contextmanager
    def _saved_on_interrupt(self) -> Iterator[None]:
        """Save on Ctrl-C, so that nothing is done twice."""
        try:
            yield
        except KeyboardInterrupt:
            # It may have come between a step and its callback; the optimizer knows how many were done.
            self._position.step = int(self._network.logits.optimizer.iterations)
            if self._position.step % self._job.steps_per_epoch:
                self._save()
            raise


def _log_csv(log: Sequence[Mapping[str, float | int | None]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_LOG_COLUMNS)
    for row in log:
        writer.writerow("" if row[column] is None else f"{row[column]:.6g}" for column in _LOG_COLUMNS)
    return text.getvalue().encode()
