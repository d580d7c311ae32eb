"""Train a tagger on a dataset; the same call again resumes at the step where the training stopped.

This module resolves the options and checks the files; `training.loop` trains.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alti2v.dataset.check.checksums import check_contents, check_shards
from alti2v.dataset.manifest import Manifest, read_manifest, read_vocabulary
from alti2v.errors import DamagedError, DataError, UsageError
from alti2v.model.network.build import MIN_SIZE, TRUNK_LAYERS
from alti2v.model.network.precision import CHOICES as PRECISION_CHOICES
from alti2v.model.network.precision import choose_precision
from alti2v.model.recipes import HEAD_ONLY, RECIPES, Augmentation, Head, Loss, Recipe
from alti2v.model.saved_model import read_training
from alti2v.model.training.distributed import ProcessGroup, join_processes
from alti2v.model.training.estimate import MEASUREMENTS, Measurements, TrainingEstimate, estimate_training
from alti2v.model.training.job import RECIPE_OPTIONS, Job, RunSettings
from alti2v.model.training.loop import fit
from alti2v.model.training.tensorboard import require_tensorboard
from alti2v.option_bounds import require_between, require_choice
from alti2v.records import ProgressHook, Tag, ignore_progress
from alti2v.storage.directory import (
    DirectoryKind,
    claim_directory,
    exclusive,
    kind_of,
    read_description,
)
from alti2v.storage.layout import CHECKED_FILE, RUN_FILE, TRAIN_LOCK_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Options of a training. Fields that may be None fall back to the run's own value, then to the recipe's.

    Attributes:
        dataset: Directory of a dataset.
        run: Directory of the run; created if missing, continued if it belongs to this training.
        recipe: "modern", "seed" (the original of 2017) or "scratch" (small, without pretrained weights).
        backbone: Name of a network of keras.applications, such as "resnet50v2"; case does not matter.
        epochs: Passes over the training samples, at least 1.
        batch_size: Samples per step, at least 1.
        accumulate: Number of steps whose gradients make one update, at least 1.
        learning_rate: Peak learning rate, above 0.
        train_from: First layer of the backbone that learns, such as "block4_conv1"; "head" to freeze all of it.
        frozen_epochs: Number of initial epochs in which only the head learns, at least 0.
        head_start: True to train the head on stored features of the frozen backbone before anything else
            learns; needs pretrained weights and one device.
        loss: "summed", "mean" or "asymmetric".
        positive_weight: Exponent of (negatives / positives), the weight of a tag's positives, in [0, 1].
        augmentation: Random changes to training pictures.
        ema: Momentum of a moving average of the weights, in [0, 1). The average is validated and exported.
        weights: Initial weights of the backbone: "imagenet" (Keras downloads them), "none", or the path of a
            weights file.
        start: A finished run to start from instead. Tags that both vocabularies know keep their weights.
        precision: Number format that layers compute in: "float32", "bfloat16" or "float16" (weights, sigmoid
            and loss stay in float32), or "auto": bfloat16 where this machine is faster in it, else float32.
        seed: Seed of the order, augmentation, dropout and initial weights, at least 0.
        validate_every: Epochs between two validations, at least 1; the last epoch is always validated. The run
            exports the network with the best mean average precision.
        patience: Validations without a better mean average precision after which training stops, at least 1;
            None for no limit.
        checkpoint_s: Seconds between two checkpoints, at least 0; one is always written at the end.
        keep: Number of checkpoints to keep besides the best network, at least 1.
        cache_features: True to run the backbone only once on every picture while it is frozen, and train the
            head on the stored features; pictures are not augmented then.
        tensorboard: True to write events for TensorBoard into the run.
    """

    dataset: Path
    run: Path
    recipe: str = "modern"
    backbone: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    accumulate: int | None = None
    learning_rate: float | None = None
    train_from: str | None = None
    frozen_epochs: int | None = None
    head_start: bool | None = None
    loss: str | None = None
    positive_weight: float | None = None
    augmentation: Augmentation | None = None
    ema: float | None = None
    weights: str | None = None
    start: Path | None = None
    precision: str = "auto"
    seed: int = 0
    validate_every: int = 1
    patience: int | None = None
    checkpoint_s: float = 300.0
    keep: int = 2
    cache_features: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for option, value, least in (
            ("--epochs", self.epochs, 1),
            ("--batch-size", self.batch_size, 1),
            ("--accumulate", self.accumulate, 1),
            ("--frozen-epochs", self.frozen_epochs, 0),
            ("--patience", self.patience, 1),
            ("--keep", self.keep, 1),
            ("--seed", self.seed, 0),
            ("validate_every", self.validate_every, 1),
            ("checkpoint_s", self.checkpoint_s, 0),
        ):
            require_between(option, value, least)
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise UsageError(f"--learning-rate {self.learning_rate} is not above 0")
        require_between("--positive-weight", self.positive_weight, 0, 1)
        require_between("--ema", self.ema, 0, 1)
        require_choice("--recipe", self.recipe, sorted(RECIPES))
        require_choice("--loss", self.loss, Loss)
        require_choice("--precision", self.precision, PRECISION_CHOICES)
        if self.backbone is None:  # only Keras knows the layers of the others
            require_choice("--train-from", self.train_from, (*TRUNK_LAYERS, HEAD_ONLY))
        if self.weights == "":
            raise UsageError("--weights is empty: give imagenet, none, or the path of a weights file")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """Result of a training.

    Attributes:
        run: Directory of the run.
        recipe: Name of the recipe.
        parameters: Number of the network's parameters, frozen ones included.
        precision: Number format that layers computed in.
        epochs, steps: Epochs and steps done in all.
        stopped_early: True if patience ended the training before its last epoch.
        train_samples: Number of samples in an epoch.
        tags: Number of outputs.
        loss: Mean loss of the last epoch.
        best_epoch: Epoch of the exported network: the one with the best mean average precision on the
            validation split; the last one without such a split.
        validation_map: Mean average precision of that network on the validation split; None without one.
        validation_micro_f1: Micro F1 of that network there, at `threshold`.
        threshold: Threshold at which precision equals recall on the validation split; None without one.
        seconds: Training time in all, interruptions not counted.
        samples_per_s: Training samples per second of training, over all epochs.
        input_wait: Share of the training time that was spent waiting for the next batch.
        resumed_from_step: Step at which this call resumed: 0 for a new run, `steps` for a finished one.
    """

    run: Path
    recipe: str
    parameters: int
    precision: str
    epochs: int
    steps: int
    stopped_early: bool
    train_samples: int
    tags: int
    loss: float
    best_epoch: int
    validation_map: float | None
    validation_micro_f1: float | None
    threshold: float | None
    seconds: float
    samples_per_s: float
    input_wait: float
    resumed_from_step: int

    @classmethod
    def from_training(
        cls, config: TrainConfig, training: Mapping[str, Any], *, resumed_from_step: int
    ) -> TrainReport:
        """Make a report of the figures of a training, as `training.finish.figures` returns them."""
        figures = {name: value for name, value in training.items() if name != "patience"}
        return cls(run=config.run, recipe=config.recipe, resumed_from_step=resumed_from_step, **figures)


def train(
    config: TrainConfig,
    *,
    progress: ProgressHook = ignore_progress,
    clock: Callable[[], float] = time.monotonic,
) -> TrainReport:
    """Start or resume a training; a finished run is only reported.

    Args:
        config: Options of the training.
        progress: Called after every step.
        clock: Monotonic clock, in seconds.

    Raises:
        UsageError: A path is something else, the run was started with other settings, or weights do not fit.
        RemoteError: ImageNet's weights cannot be downloaded.
        DamagedError: A shard is missing or damaged.
        DataError: The dataset has nothing to train on, or the loss is not a number.
        StorageError: The run's directory cannot be written.
    """
    manifest, tags = _open_dataset(config)
    claim_directory(config.run, DirectoryKind.RUN)
    with (
        join_processes() as processes,
        exclusive(config.run, TRAIN_LOCK_FILE) if processes.is_first else contextlib.nullcontext(),
    ):
        settings = _resolve_settings(config, manifest, devices=processes.devices)
        finished = read_training(config.run)
        if finished is not None and _is_done(finished, epochs=settings.recipe.epochs, patience=config.patience):
            return TrainReport.from_training(config, finished, resumed_from_step=finished["steps"])
        job = _make_job(config, settings, manifest, tags, processes)
        if processes.is_first:
            shards = (*manifest.split("train"), *manifest.split("validation"))
            check_contents(config.dataset, shards, remembered=config.run / CHECKED_FILE, progress=progress)
        training, resumed_from_step = fit(job, progress=progress, clock=clock)
    return TrainReport.from_training(config, training, resumed_from_step=resumed_from_step)


def plan(config: TrainConfig, *, measurements: Measurements = MEASUREMENTS) -> TrainingEstimate:
    """Estimate the memory and time that the training needs; writes nothing.

    Args:
        config: Options of the training.
        measurements: How to measure this machine.

    Raises:
        Alti2vError: As `train`.
    """
    manifest, tags = _open_dataset(config)
    with join_processes() as processes:
        settings = _resolve_settings(config, manifest, devices=processes.devices)
        job = _make_job(config, settings, manifest, tags, processes)
        return estimate_training(job, measurements)


def _open_dataset(config: TrainConfig) -> tuple[Manifest, tuple[Tag, ...]]:
    """Read the manifest and the vocabulary of a dataset that can be trained on."""
    dataset = config.dataset
    manifest, tags = read_manifest(dataset), read_vocabulary(dataset)
    if not manifest.samples("train"):
        raise DataError(f"{dataset} has no training samples: build it with a smaller --test and --validation")
    if not tags:
        raise DataError(f"{dataset} has no tags to learn: build it with --top-tags of at least 1")
    backbone = config.backbone or RECIPES[config.recipe].backbone
    if manifest.image.size < MIN_SIZE and backbone.lower() == "vgg16":
        raise DataError(
            f"{dataset} has pictures of {manifest.image.size} px, and VGG16 needs {MIN_SIZE}: "
            f"build it with --size {MIN_SIZE} or more"
        )
    return manifest, tags


def _make_job(
    config: TrainConfig,
    settings: RunSettings,
    manifest: Manifest,
    tags: tuple[Tag, ...],
    processes: ProcessGroup,
) -> Job:
    recipe = settings.recipe
    if recipe.batch_size % processes.devices:
        raise UsageError(
            f"--batch-size {recipe.batch_size} cannot be divided equally among {processes.devices} devices"
        )
    if config.cache_features and not (recipe.frozen_epochs or recipe.train_from == HEAD_ONLY):
        raise UsageError("--cache-features needs a frozen backbone: give --train-from head, or --frozen-epochs")
    if config.cache_features and processes.devices > 1:
        raise UsageError(f"--cache-features works with one device, and there are {processes.devices}: omit it")
    if config.tensorboard:
        require_tensorboard()
    check_shards(config.dataset, (*manifest.split("train"), *manifest.split("validation")))
    return Job(
        run=config.run,
        settings=settings,
        manifest=manifest,
        tags=tags,
        validate_every=config.validate_every,
        patience=config.patience,
        checkpoint_s=config.checkpoint_s,
        keep=config.keep,
        tensorboard=config.tensorboard,
        processes=processes,
    )


def _is_done(finished: Mapping[str, Any], *, epochs: int, patience: int | None) -> bool:
    """Return whether a finished run has done its epochs, or has stopped early under the same patience."""
    if finished["epochs"] >= epochs:
        return True
    return finished["patience"] is not None and patience is not None and patience <= finished["patience"]


def _resolve_settings(config: TrainConfig, manifest: Manifest, *, devices: int) -> RunSettings:
    """Complete the options with the run's own settings, if it has started, and with the recipe's.

    Raises:
        UsageError: The run was started with other settings.
        DamagedError: The run's settings cannot be read.
    """
    begun = _read_settings(config.run)
    recipe = _resolve_recipe(config, begun)
    weights = config.weights or (recipe.weights if begun is None else begun.weights)
    if begun is None:
        recipe = _with_head_start(config, recipe, weights=weights, devices=devices)
    settings = RunSettings(
        dataset=str(config.dataset),
        plan_hash=manifest.plan_hash,
        recipe_name=config.recipe,
        recipe=recipe,
        weights=weights,
        start=None if config.start is None else str(config.start),
        precision=(
            begun.precision
            if begun is not None and config.precision == "auto"
            else choose_precision(config.precision)
        ),
        seed=config.seed,
        cache_features=config.cache_features,
    )
    if begun is not None:
        _require_same_training(config.run, begun, settings)
    return settings


def _read_settings(run: Path) -> RunSettings | None:
    if kind_of(run) is not DirectoryKind.RUN:
        return None
    try:
        return RunSettings.from_json(read_description(run, DirectoryKind.RUN))
    except (AttributeError, KeyError, TypeError, ValueError, UsageError) as exc:
        raise DamagedError(f"{run / RUN_FILE} is incomplete ({exc!r}): train into another folder") from exc


def _resolve_recipe(config: TrainConfig, begun: RunSettings | None) -> Recipe:
    given = {name: getattr(config, name) for name in RECIPE_OPTIONS if getattr(config, name) is not None}
    if config.backbone is not None:
        given["backbone"] = config.backbone.lower()
    if config.loss is not None:
        given["loss"] = Loss(config.loss)
    inherited = {} if begun is None else {name: getattr(begun.recipe, name) for name in RECIPE_OPTIONS}
    return replace(RECIPES[config.recipe], **inherited | given)


def _with_head_start(config: TrainConfig, recipe: Recipe, *, weights: str, devices: int) -> Recipe:
    """Decide between a head start and frozen epochs, where the recipe has both.

    Raises:
        UsageError: A head start is requested that is not possible.
    """
    obstacles = {
        "pretrained weights, and --weights is none": weights == "none" and config.start is None,
        "the backbone of --weights, and --from brings a head": config.start is not None,
        f"one device, and there are {devices}": devices > 1,
        f"a pooled head, and recipe {config.recipe} flattens": recipe.head is not Head.POOLED,
        "a backbone that learns, and --train-from is head": recipe.train_from == HEAD_ONLY,
    }
    obstacle = next((words for words, is_there in obstacles.items() if is_there), None)
    if obstacle is None:
        is_replaced = recipe.head_start and config.frozen_epochs is None
        return replace(recipe, frozen_epochs=0) if is_replaced else recipe
    if config.head_start:
        raise UsageError(f"--head-start needs {obstacle}: leave it out")
    return replace(recipe, head_start=False)


def _require_same_training(run: Path, begun: RunSettings, settings: RunSettings) -> None:
    if begun.plan_hash != settings.plan_hash:
        raise UsageError(f"{run} was trained on another dataset ({begun.dataset}): choose another folder")
    if differences := begun.differences(settings):
        raise UsageError(
            f"{run} was started with {'; '.join(differences)}: give the same, or choose another folder"
        )
    if settings.recipe.epochs < begun.recipe.epochs:
        raise UsageError(
            f"{run} was started with --epochs {begun.recipe.epochs}, which can grow but not shrink to "
            f"{settings.recipe.epochs}: choose another folder"
        )
