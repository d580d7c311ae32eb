"""Train a tagger on a dataset into a run; the same call again goes on at the very step where it stopped.

This module settles what is to be done, with files only: which settings, which data, whether it is done
already. `fitting` does it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from alti2v.dataset.check.checksums import check_contents, check_shards
from alti2v.dataset.manifest import Manifest, read_manifest, read_vocabulary
from alti2v.errors import DamagedError, DataError, UsageError
from alti2v.model.network.build import MIN_SIZE, TRUNK_LAYERS
from alti2v.model.network.precision import CHOICES as PRECISION_CHOICES
from alti2v.model.network.precision import choose_precision
from alti2v.model.recipes import HEAD_ONLY, RECIPES, Loss, Recipe, parse_augmentation
from alti2v.model.saved_model import read_training
from alti2v.model.training.distributed import ProcessGroup, join_processes
from alti2v.model.training.estimate import TrainingEstimate, make_plan
from alti2v.model.training.job import Job
from alti2v.model.training.loop import fit
from alti2v.model.training.tensorboard import require_tensorboard
from alti2v.records import ProgressHook, Tag, ignore_progress
from alti2v.storage.directory import (
    DirectoryKind,
    claim_directory,
    exclusive,
    kind_of,
    read_description,
)
from alti2v.storage.layout import CHECKED_FILE, TRAIN_LOCK_FILE

# What a command line may set instead of the recipe; left out, a run goes on with what it was begun with.
_CHOICES = (
    *("backbone", "epochs", "batch_size", "accumulate", "learning_rate", "train_from", "frozen_epochs"),
    *("loss", "positive_weight", "augmentation", "ema"),
)
_STARTS = ("weights", "start", "precision", "seed", "cache_features")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """What to train.

    Attributes:
        dataset: directory of a dataset.
        run: directory of the run; made if missing, continued if it is this training's.
        recipe: "modern", "seed" (the original's) or "scratch" (small, without pretrained weights).
        backbone: a network of keras.applications, such as "resnet50v2", in any case; None for the run's, else
            the recipe's.
        epochs: passes over the training samples, at least 1; None for the run's, else the recipe's.
        batch_size: samples per step, at least 1; None for the run's, else the recipe's.
        accumulate: steps whose gradients make one update, at least 1; None as above.
        learning_rate: at its peak, above 0; None for the run's, else the recipe's.
        train_from: first layer of the backbone that learns, such as "block4_conv1", or "head" for none of them;
            None for the run's, else the recipe's.
        frozen_epochs: epochs at the start in which only the head learns, at least 0; None as above.
        loss: "summed", "mean" or "asymmetric"; None as above.
        positive_weight: exponent of (negatives / positives), by which a tag's positives count, in [0, 1]; None
            as above.
        augmentation: steps as `recipes.parse_augmentation` reads them, such as "flip,crop=0.13"; "none" for
            none; None as above.
        ema: momentum of a moving average of the weights, which then is what is validated and exported, in
            [0, 1); None as above.
        weights: where the backbone starts: "imagenet" (Keras fetches them), "none", or the path of a weights
            file.
        start: a finished run whose network is the start instead; tags that both know go on where they were.
        precision: what layers compute in: "float32", "bfloat16" or "float16" (weights, sigmoid and loss stay in
            float32), or "auto": bfloat16 on a GPU that has it, else float32.
        seed: of order, augmentation, dropout and initial weights; at least 0.
        validate_every: epochs between two looks at the validation split, at least 1; after the last epoch
            there is always one. The network with the best mean average precision is what the run exports.
        patience: looks without a better mean average precision after which the training ends, at least 1; None
            for never.
        checkpoint_s: seconds between two checkpoints, at least 0; there is one at the end in any case.
        keep: checkpoints, the best network not counted, at least 1.
        cache_features: whether the backbone looks at every picture only once while all of it is frozen, and the
            head trains from what it made of them; no picture is augmented then.
        tensorboard: whether to write events for TensorBoard into the run.
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
    loss: str | None = None
    positive_weight: float | None = None
    augmentation: str | None = None
    ema: float | None = None
    weights: str = "imagenet"
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
            ("--positive-weight", self.positive_weight, 0),
            ("--ema", self.ema, 0),
            ("--patience", self.patience, 1),
            ("--keep", self.keep, 1),
            ("--seed", self.seed, 0),
            ("validate_every", self.validate_every, 1),
            ("checkpoint_s", self.checkpoint_s, 0),
        ):
            if value is not None and not value >= least:
                raise UsageError(f"{option} {value} is too small: give at least {least}")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise UsageError(f"--learning-rate {self.learning_rate} is not above 0")
        for option, limited in (("--positive-weight", self.positive_weight), ("--ema", self.ema)):
            if limited is not None and limited > 1:
                raise UsageError(f"{option} {limited} is more than 1")
        # The layers of other backbones only Keras knows.
        layers = (*TRUNK_LAYERS, HEAD_ONLY) if self.backbone is None else (self.train_from,)
        for option, name, names in (
            ("--recipe", self.recipe, tuple(sorted(RECIPES))),
            ("--loss", self.loss, (None, *Loss)),
            ("--precision", self.precision, PRECISION_CHOICES),
            ("--train-from", self.train_from, (None, *layers)),
        ):
            if name not in names:
                raise UsageError(f"{option} {name} is none of {', '.join(filter(None, names))}")
        if self.augmentation is not None:
            parse_augmentation(self.augmentation)
        if not self.weights:
            raise UsageError("--weights is empty: give imagenet, none, or the path of a weights file")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """How the training went.

    Attributes:
        run: its directory.
        recipe: the recipe's name.
        parameters: of the network, frozen ones included.
        precision: what layers computed in.
        epochs, steps: done in all.
        stopped_early: whether patience ended the training before its last epoch.
        train_samples: seen per epoch.
        tags: outputs of the network.
        loss: mean over the last epoch.
        best_epoch: whose network the run exports: the one with the best mean average precision on the
            validation split; the last without such a split.
        validation_map: its mean average precision there; None without one.
        validation_micro_f1: its micro-averaged F1 there, at `threshold`.
        threshold: where precision equals recall on the validation split; None without one.
        seconds: spent training in all, interruptions not counted.
        samples_per_s: training samples per second of training, over all epochs.
        input_wait: share of the training time that was spent waiting for the next batch.
        resumed_from_step: where this call went on; 0 for a new run, `steps` if there was nothing left to do.
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


def train(
    config: TrainConfig,
    *,
    progress: ProgressHook = ignore_progress,
    clock: Callable[[], float] = time.monotonic,
) -> TrainReport:
    """Train, or go on training, or find that it is done.

    Args:
        config: what to train.
        progress: told after every step.
        clock: seconds from any start.

    Raises:
        UsageError: a path is something else, the run has other settings, or weights do not fit.
        RemoteError: ImageNet's weights cannot be fetched.
        DamagedError: a shard is missing or damaged.
        DataError: the dataset has nothing to train on, or the loss is no number any more.
        StorageError: the run's directory cannot be written.
    """
    manifest = read_manifest(config.dataset)
    tags = read_vocabulary(config.dataset)
    _require_trainable(config, manifest, tags=len(tags))
    claim_directory(config.run, DirectoryKind.RUN)
    with (
        join_processes() as processes,
        exclusive(config.run, TRAIN_LOCK_FILE) if processes.is_first else contextlib.nullcontext(),
    ):
        settings = _settle(config, manifest)
        recipe = _recipe(config, settings)
        if recipe.batch_size % processes.devices:
            raise UsageError(
                f"--batch-size {recipe.batch_size} cannot be shared by {processes.devices} devices equally"
            )
        finished = read_training(config.run)
        if finished is not None and _is_enough(finished, epochs=recipe.epochs, patience=config.patience):
            return _report(config, finished, resumed_from_step=finished["steps"])
        job = _job(config, manifest, tags, recipe, processes, settings)
        if processes.is_first:
            shards = (*manifest.split("train"), *manifest.split("validation"))
            check_contents(config.dataset, shards, remembered=config.run / CHECKED_FILE, progress=progress)
        training, resumed_from_step = fit(job, progress=progress, clock=clock)
    return _report(config, training, resumed_from_step=resumed_from_step)


def plan(config: TrainConfig) -> TrainingEstimate:
    """Say what the training would need and how long it would take; writes nothing.

    Raises:
        Alti2vError: as `train`.
    """
    manifest = read_manifest(config.dataset)
    tags = read_vocabulary(config.dataset)
    _require_trainable(config, manifest, tags=len(tags))
    with join_processes() as processes:
        settings = _settle(config, manifest)
        return make_plan(_job(config, manifest, tags, _recipe(config, settings), processes, settings))


def _recipe(config: TrainConfig, settings: Mapping[str, Any]) -> Recipe:
    chosen = {name: settings[name] for name in _CHOICES}
    chosen |= {
        "loss": Loss(settings["loss"]),
        "augmentation": parse_augmentation(settings["augmentation"]),
    }
    return replace(RECIPES[config.recipe], **chosen)


def _job(
    config: TrainConfig,
    manifest: Manifest,
    tags: tuple[Tag, ...],
    recipe: Recipe,
    processes: ProcessGroup,
    settings: Mapping[str, Any],
) -> Job:
    if recipe.batch_size % processes.devices:
        raise UsageError(
            f"--batch-size {recipe.batch_size} cannot be shared by {processes.devices} devices equally"
        )
    if config.cache_features and not (recipe.frozen_epochs or recipe.train_from == HEAD_ONLY):
        raise UsageError("--cache-features needs a frozen backbone: give --train-from head, or --frozen-epochs")
    if config.cache_features and processes.devices > 1:
        raise UsageError(
            f"--cache-features works with one device, and there are {processes.devices}: leave it out"
        )
    if config.tensorboard:
        require_tensorboard()
    check_shards(config.dataset, (*manifest.split("train"), *manifest.split("validation")))
    return Job(
        dataset=config.dataset,
        run=config.run,
        manifest=manifest,
        tags=tags,
        recipe_name=config.recipe,
        recipe=recipe,
        weights=config.weights,
        start=config.start,
        precision=settings["precision"],
        seed=config.seed,
        validate_every=config.validate_every,
        patience=config.patience,
        checkpoint_s=config.checkpoint_s,
        keep=config.keep,
        processes=processes,
        cache_features=config.cache_features,
        tensorboard=config.tensorboard,
        settings=settings,
    )


def _is_enough(finished: Mapping[str, Any], *, epochs: int, patience: int | None) -> bool:
    """Whether a finished run has nothing left to do: its epochs are over, or the same patience is."""
    if finished["epochs"] >= epochs:
        return True
    return finished["patience"] is not None and patience is not None and patience <= finished["patience"]


def _require_trainable(config: TrainConfig, manifest: Manifest, *, tags: int) -> None:
    dataset = config.dataset
    if not manifest.samples("train"):
        raise DataError(f"{dataset} has no training samples: build it with a smaller --test and --validation")
    if not tags:
        raise DataError(f"{dataset} has no tags to learn: build it with --top-tags of at least 1")
    if manifest.image.size < MIN_SIZE and (config.backbone or "vgg16").lower() == "vgg16":
        raise DataError(
            f"{dataset} has pictures of {manifest.image.size} px, and VGG16 needs {MIN_SIZE}: "
            f"build it with --size {MIN_SIZE} or more"
        )


def _settle(config: TrainConfig, manifest: Manifest) -> dict[str, Any]:
    """What config.json shall say; what was not asked for is taken from the run, or else from the recipe.

    Raises:
        UsageError: the run was begun with something else.
    """
    known = read_description(config.run, DirectoryKind.RUN) if kind_of(config.run) is DirectoryKind.RUN else {}
    recipe = asdict(RECIPES[config.recipe])
    recipe["augmentation"] = str(RECIPES[config.recipe].augmentation)
    chosen = {name: getattr(config, name) for name in _CHOICES}
    if config.augmentation is not None:
        chosen["augmentation"] = str(parse_augmentation(config.augmentation))
    chosen["backbone"] = None if config.backbone is None else config.backbone.lower()
    settled = config.precision == "auto" and "precision" in known
    wanted = {
        "dataset": str(config.dataset),
        "plan_hash": manifest.plan_hash,
        "recipe": config.recipe,
        "weights": config.weights,
        "start": None if config.start is None else str(config.start),
        "precision": known["precision"] if settled else choose_precision(config.precision),
        "seed": config.seed,
        "cache_features": config.cache_features,
        **{name: known.get(name, recipe[name]) if value is None else value for name, value in chosen.items()},
    }
    if known:
        _require_same(config.run, known, wanted)
    return {**wanted, "recipe_settings": recipe}


def _require_same(run: Path, known: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    missing = [name for name in wanted if name not in known]
    if missing:
        raise DamagedError(f"{run}/config.json lacks {', '.join(missing)}: train into another folder")
    if known["plan_hash"] != wanted["plan_hash"]:
        raise UsageError(f"{run} was trained on another dataset ({known['dataset']}): choose another folder")
    for name in ("recipe", *(name for name in _CHOICES if name != "epochs"), *_STARTS):
        if known[name] != wanted[name]:
            option = "--from" if name == "start" else f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{run} was begun with {option} {known[name]}, not {wanted[name]}: "
                "give the same, or choose another folder"
            )
    if wanted["epochs"] < known["epochs"]:
        raise UsageError(
            f"{run} was begun with --epochs {known['epochs']}, which can grow but not shrink to "
            f"{wanted['epochs']}: choose another folder"
        )


def _report(config: TrainConfig, training: Mapping[str, Any], *, resumed_from_step: int) -> TrainReport:
    figures = {field.name: training[field.name] for field in fields(TrainReport) if field.name in training}
    return TrainReport(run=config.run, recipe=config.recipe, resumed_from_step=resumed_from_step, **figures)
