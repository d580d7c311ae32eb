"""Train a tagger on a dataset; calling it again resumes at the step where the training stopped.

`training.settings` resolves the options, this module checks the files, and `training.loop` trains.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alti2v.dataset.check.checksums import check_contents, check_shards
from alti2v.dataset.manifest import Manifest, read_manifest, read_vocabulary
from alti2v.errors import DataError, UsageError
from alti2v.model.network.build import MIN_SIZE
from alti2v.model.network.cut import is_cut
from alti2v.model.options.training import TrainConfig
from alti2v.model.recipes import HEAD_ONLY, RECIPES
from alti2v.model.saved_model import read_training
from alti2v.model.training.cost.budget import BudgetPlan, Rates, measuring_s, plan_for_budget, require_time
from alti2v.model.training.cost.estimate import (
    MEASUREMENTS,
    Measurements,
    TrainingEstimate,
    estimate_for_budget,
    estimate_training,
    measure_rates,
)
from alti2v.model.training.distributed import ProcessGroup, join_processes
from alti2v.model.training.features.files import require_storable
from alti2v.model.training.initial_weights import require_initial_weights
from alti2v.model.training.job import Job, RunSettings
from alti2v.model.training.loop import fit
from alti2v.model.training.settings import resolve_settings, samples_of, within_budget
from alti2v.model.training.tensorboard import require_tensorboard
from alti2v.model.training.validation import too_few_to_choose
from alti2v.records import Progress, ProgressHook, Tag, ignore_progress
from alti2v.storage.directory import (
    DirectoryKind,
    claim_directory,
    cleared_if_refused,
    exclusive,
    kind_of,
    names_in,
)
from alti2v.storage.layout import CHECKED_FILE, TRAIN_LOCK_FILE

__all__ = ["TrainConfig", "TrainReport", "plan", "train"]


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
        best_epoch: Epoch of the exported network, by mean average precision on the validation split, or by
            micro F1 if fewer than half of the tags have ten pictures there; 0 for the head start; the last one
            without such a split.
        is_averaged: True if the exported network is the average of that one and the head start, or of the last
            epoch and the head start where no epoch was better than it.
        validation_map: Mean average precision of the exported network on the validation split; None without.
        validation_micro_f1: Micro F1 of the exported network there, at `threshold`.
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
    is_averaged: bool
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
        figures = {"is_averaged": False, **training}  # runs of earlier programs do not say
        del figures["patience"]
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
    with contextlib.ExitStack() as stack:
        processes = stack.enter_context(join_processes())
        request = _Request(config, manifest, tags, processes)
        settings = request.settings_of_new_run()
        found = names_in(config.run)
        claim_directory(config.run, DirectoryKind.RUN)
        if processes.is_first:
            stack.enter_context(exclusive(config.run, TRAIN_LOCK_FILE))
            stack.enter_context(cleared_if_refused(config.run, found))
        if settings is None or kind_of(config.run) is DirectoryKind.RUN:
            settings = resolve_settings(config, manifest, devices=processes.devices)
        finished = read_training(config.run)
        if finished is not None and _is_done(finished, epochs=settings.recipe.epochs, patience=config.patience):
            line = "this training is finished: more --epochs continue it, another RUN starts a new one"
            progress(Progress(stage="start", done=1, total=1, unit="network", milestone=line))
            return TrainReport.from_training(config, finished, resumed_from_step=finished["steps"])
        if request.is_to_be_planned:
            settings, _, _ = request.planned_for_budget(settings, progress, clock)
        job = request.job(settings)
        if processes.is_first:
            shards = (*manifest.split("train"), *manifest.split("validation"))
            check_contents(config.dataset, shards, remembered=config.run / CHECKED_FILE, progress=progress)
            train_samples, validation = map(manifest.samples, ("train", "validation"))
            if line := too_few_to_choose(tags, train=train_samples, validation=validation):
                progress(Progress(stage="start", done=1, total=1, unit="network", milestone=line))
        training, resumed_from_step = fit(job, progress=progress, clock=clock)
    return TrainReport.from_training(config, training, resumed_from_step=resumed_from_step)


def plan(
    config: TrainConfig,
    *,
    progress: ProgressHook = ignore_progress,
    measurements: Measurements = MEASUREMENTS,
    clock: Callable[[], float] = time.monotonic,
) -> TrainingEstimate:
    """Estimate the memory and time that the training needs, with the plan of a budget; writes nothing.

    Args:
        config: Options of the training.
        progress: Called before and after measuring.
        measurements: How to measure this machine, without a budget.
        clock: Monotonic clock, in seconds.

    Raises:
        Alti2vError: As `train`.
    """
    manifest, tags = _open_dataset(config)
    with join_processes() as processes:
        request = _Request(config, manifest, tags, processes)
        settings = resolve_settings(config, manifest, devices=processes.devices)
        if request.is_to_be_planned:
            settings, rates, found = request.planned_for_budget(settings, progress, clock)
            return estimate_for_budget(request.job(settings), rates, found)
        _announce(progress, "measuring this machine")
        return estimate_training(request.job(settings), measurements)


def _announce(progress: ProgressHook, line: str) -> None:
    progress(Progress(stage="plan", done=0, total=1, unit="plan", milestone=line))


def _open_dataset(config: TrainConfig) -> tuple[Manifest, tuple[Tag, ...]]:
    """Read the manifest and the vocabulary of a dataset that can be trained on."""
    dataset = config.dataset
    manifest, tags = read_manifest(dataset), read_vocabulary(dataset)
    if not manifest.samples("train"):
        raise DataError(f"{dataset} has no training pictures: build it with a smaller --test and --validation")
    if not tags:
        raise DataError(f"{dataset} has no tags to learn: build it with --top-tags of at least 1")
    backbone = config.backbone or RECIPES[config.recipe].backbone
    if manifest.image.size < MIN_SIZE and backbone.lower() == "vgg16":
        raise DataError(
            f"{dataset} has pictures of {manifest.image.size} px, and VGG16 needs {MIN_SIZE}: "
            f"build it with --size {MIN_SIZE} or more"
        )
    return manifest, tags


@dataclass(frozen=True, slots=True)
class _Request:
    """A training that is asked for: its options, its data, and the processes that share it."""

    config: TrainConfig
    manifest: Manifest
    tags: tuple[Tag, ...]
    processes: ProcessGroup

    def settings_of_new_run(self) -> RunSettings | None:
        """Resolve and check the options of a run before its folder is made; None if it has begun already.

        Raises:
            Alti2vError: As `train`.
        """
        if kind_of(self.config.run) is DirectoryKind.RUN:
            return None
        settings = resolve_settings(self.config, self.manifest, devices=self.processes.devices)
        self.job(settings)
        require_initial_weights(settings)
        return settings

    @property
    def is_to_be_planned(self) -> bool:
        """True if a budget is given, and no run has a plan yet."""
        return self.config.budget is not None and kind_of(self.config.run) is not DirectoryKind.RUN

    def planned_for_budget(
        self, settings: RunSettings, progress: ProgressHook, clock: Callable[[], float]
    ) -> tuple[RunSettings, Rates, BudgetPlan]:
        """Measure this machine; return the settings of a new run that fit its budget, and their reasons.

        Raises:
            Alti2vError: As `train`.
        """
        assert self.config.budget is not None
        begun_s, seconds = clock(), 60 * self.config.budget
        samples = samples_of(self.manifest, soft_labels=settings.recipe.soft_labels)
        allowed_s = measuring_s(seconds)

        def require(rates: Rates) -> None:
            require_time(rates, samples, seconds=seconds, measured_s=clock() - begun_s)

        _announce(progress, f"measuring this machine, to plan a training of {self.config.budget:g} minutes")
        rates = measure_rates(self.job(settings), allowed_s=allowed_s, require_time=require)
        found = plan_for_budget(
            rates,
            samples,
            seconds=seconds,
            measured_s=clock() - begun_s,
            most_epochs=settings.recipe.epochs,
        )
        _announce(progress, str(found))
        return within_budget(settings, found, batch_size=self.config.batch_size), rates, found

    def job(self, settings: RunSettings) -> Job:
        """Make the job, after checks of everything that can be refused.

        Raises:
            Alti2vError: As `train`.
        """
        recipe, devices = settings.recipe, self.processes.devices
        if recipe.batch_size % devices:
            raise UsageError(
                f"--batch-size {recipe.batch_size} cannot be divided equally among {devices} devices"
            )
        is_cached = settings.cache_features
        if is_cached and not (recipe.frozen_epochs or is_cut(recipe.train_from)):
            raise UsageError("--cache-features needs frozen layers: give --train-from head, or --frozen-epochs")
        if is_cached and devices > 1:
            raise UsageError(f"--cache-features works with one device, and there are {devices}: omit it")
        if self.config.tensorboard:
            require_tensorboard()
        check_shards(self.config.dataset, (*self.manifest.split("train"), *self.manifest.split("validation")))
        job = Job(
            run=self.config.run,
            settings=settings,
            manifest=self.manifest,
            tags=self.tags,
            validate_every=self.config.validate_every,
            patience=self.config.patience,
            checkpoint_s=self.config.checkpoint_s,
            keep=self.config.keep,
            tensorboard=self.config.tensorboard,
            processes=self.processes,
        )
        if is_cached and recipe.train_from != HEAD_ONLY and is_cut(recipe.train_from):
            require_storable(job, recipe.train_from)
        return job


def _is_done(finished: Mapping[str, Any], *, epochs: int, patience: int | None) -> bool:
    """Return whether a finished run has done its epochs, or has stopped early under the same patience."""
    if finished["epochs"] >= epochs:
        return True
    return finished["patience"] is not None and patience is not None and patience <= finished["patience"]
