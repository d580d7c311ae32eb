"""Train a tagger on a dataset into a run; the same call again goes on at the very step where it stopped.

This module settles what is to be done, with files only: which settings, which data, whether it is done
already. `fitting` does it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from alti2v.dataset.manifest import Manifest, read_manifest, read_vocabulary
from alti2v.errors import DamagedError, DataError, UsageError
from alti2v.model.bundle import read_training
from alti2v.model.fitting import Job, fit
from alti2v.model.input import check_shards
from alti2v.model.network import MIN_SIZE, TRUNK_LAYERS
from alti2v.model.recipes import RECIPES
from alti2v.records import ProgressHook, ignore_progress
from alti2v.storage.directory import (
    Kind,
    claim_directory,
    exclusive,
    kind_of,
    read_description,
    write_description,
)

_LOCK_FILE = "train.lock"
# What a command line may set instead of the recipe; left out, a run goes on with what it was begun with.
_CHOICES = ("epochs", "batch_size", "learning_rate", "train_from")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """What to train.

    Attributes:
        dataset: directory of a dataset.
        run: directory of the run; made if missing, continued if it is this training's.
        recipe: "modern", "seed" (the original's) or "scratch" (small, without pretrained weights).
        epochs: passes over the training samples, at least 1; None for the run's, else the recipe's.
        batch_size: samples per step, at least 1; None for the run's, else the recipe's.
        learning_rate: at its peak, above 0; None for the run's, else the recipe's.
        train_from: first layer of VGG16 that learns, such as "block4_conv1"; None for the run's, else the
            recipe's.
        weights: where VGG16 starts: "imagenet" (Keras fetches them), "none", or the path of a weights file.
        seed: of order, augmentation, dropout and initial weights; at least 0.
        validate_every: epochs between two looks at the validation split, at least 1; after the last epoch
            there is always one.
        checkpoint_s: seconds between two checkpoints, at least 0; there is one at the end in any case.
    """

    dataset: Path
    run: Path
    recipe: str = "modern"
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    train_from: str | None = None
    weights: str = "imagenet"
    seed: int = 0
    validate_every: int = 1
    checkpoint_s: float = 300.0

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise UsageError(f"--recipe {self.recipe} is none of {', '.join(sorted(RECIPES))}")
        for option, value, least in (
            ("--epochs", self.epochs, 1),
            ("--batch-size", self.batch_size, 1),
            ("--seed", self.seed, 0),
            ("validate_every", self.validate_every, 1),
            ("checkpoint_s", self.checkpoint_s, 0),
        ):
            if value is not None and not value >= least:
                raise UsageError(f"{option} {value} is too small: give at least {least}")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise UsageError(f"--learning-rate {self.learning_rate} is not above 0")
        if self.train_from is not None and self.train_from not in TRUNK_LAYERS:
            raise UsageError(f"--train-from {self.train_from} is none of {', '.join(TRUNK_LAYERS)}")
        if not self.weights:
            raise UsageError("--weights is empty: give imagenet, none, or the path of a weights file")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """How the training went.

    Attributes:
        run: its directory.
        recipe: the recipe's name.
        parameters: of the network, frozen ones included.
        epochs, steps: done in all.
        train_samples: seen per epoch.
        tags: outputs of the network.
        loss: mean over the last epoch.
        validation_map: mean average precision on the validation split; None without one.
        threshold: where precision equals recall on the validation split; None without one.
        seconds: spent training in all, interruptions not counted.
        samples_per_s: training samples per second of training, over all epochs.
        resumed_from_step: where this call went on; 0 for a new run, `steps` if there was nothing left to do.
    """

    run: Path
    recipe: str
    parameters: int
    epochs: int
    steps: int
    train_samples: int
    tags: int
    loss: float
    validation_map: float | None
    threshold: float | None
    seconds: float
    samples_per_s: float
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
    _require_trainable(config.dataset, manifest, tags=len(tags))
    claim_directory(config.run, Kind.RUN)
    with exclusive(config.run, _LOCK_FILE):
        settings = _settle(config, manifest)
        recipe = replace(RECIPES[config.recipe], **{name: settings[name] for name in _CHOICES})
        finished = read_training(config.run)
        if finished is not None and finished["epochs"] >= recipe.epochs:
            return _report(config, finished, resumed_from_step=finished["steps"])
        check_shards(config.dataset, (*manifest.split("train"), *manifest.split("validation")))
        # Only now, when nothing is left that could refuse, does the directory become this run.
        write_description(config.run, Kind.RUN, settings)
        job = Job(
            dataset=config.dataset,
            run=config.run,
            manifest=manifest,
            tags=tags,
            recipe_name=config.recipe,
            recipe=recipe,
            weights=config.weights,
            seed=config.seed,
            validate_every=config.validate_every,
            checkpoint_s=config.checkpoint_s,
        )
        training, resumed_from_step = fit(job, progress=progress, clock=clock)
    return _report(config, training, resumed_from_step=resumed_from_step)


def _require_trainable(dataset: Path, manifest: Manifest, *, tags: int) -> None:
    if not manifest.samples("train"):
        raise DataError(f"{dataset} has no training samples: build it with a smaller --test and --validation")
    if not tags:
        raise DataError(f"{dataset} has no tags to learn: build it with --top-tags of at least 1")
    if manifest.image.size < MIN_SIZE:
        raise DataError(
            f"{dataset} has pictures of {manifest.image.size} px, and VGG16 needs {MIN_SIZE}: "
            f"build it with --size {MIN_SIZE} or more"
        )


def _settle(config: TrainConfig, manifest: Manifest) -> dict[str, Any]:
    """What config.json shall say; what was not asked for is taken from the run, or else from the recipe.

    Raises:
        UsageError: the run was begun with something else.
    """
    known = read_description(config.run, Kind.RUN) if kind_of(config.run) is Kind.RUN else {}
    recipe = asdict(RECIPES[config.recipe])
    chosen = {name: getattr(config, name) for name in _CHOICES}
    wanted = {
        "dataset": str(config.dataset),
        "plan_hash": manifest.plan_hash,
        "recipe": config.recipe,
        "weights": config.weights,
        "seed": config.seed,
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
    for name in ("recipe", "batch_size", "learning_rate", "train_from", "weights", "seed"):
        if known[name] != wanted[name]:
            option = f"--{name.replace('_', '-')}"
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
    return TrainReport(run=config.run, recipe=config.recipe, resumed_from_step=resumed_from_step, **training)
