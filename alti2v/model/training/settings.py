"""Settings of a training: its options, completed by the settings of a run that has begun and by the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from alti2v.dataset.manifest import Manifest
from alti2v.errors import DamagedError, UsageError
from alti2v.model.network.build import LEVELS, MIN_SIZE
from alti2v.model.network.cut import is_cut
from alti2v.model.network.precision import choose_precision
from alti2v.model.options.training import TrainConfig
from alti2v.model.recipes import HEAD_ONLY, NO_AUGMENTATION, RECIPES, Head, Loss, Recipe
from alti2v.model.trained_on import change_since
from alti2v.model.training.cost.budget import BudgetPlan, Samples
from alti2v.model.training.frozen_head import HEAD_BATCH_SIZE, head_epochs
from alti2v.model.training.job import RECIPE_OPTIONS, RunSettings
from alti2v.model.training.soft_labels import fold_passes
from alti2v.storage.directory import DirectoryKind, kind_of, read_description
from alti2v.storage.documents import fault_in_words
from alti2v.storage.layout import RUN_FILE


def resolve_settings(config: TrainConfig, manifest: Manifest, *, devices: int) -> RunSettings:
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
        if recipe.small_epochs:
            _require_small_pictures(config, recipe, manifest, devices=devices)
        if recipe.soft_labels:
            _require_soft_labels(config, recipe, manifest, weights=weights, devices=devices)
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
            else choose_precision(config.precision, devices=devices)
        ),
        seed=config.seed,
        # Also where it is left out: a budget may have chosen it, and a flag cannot be taken back.
        cache_features=config.cache_features or (begun is not None and begun.cache_features),
    )
    if begun is not None:
        _require_same_training(config.run, begun, settings, manifest)
    return settings


def _read_settings(run: Path) -> RunSettings | None:
    if kind_of(run) is not DirectoryKind.RUN:
        return None
    fields = read_description(run, DirectoryKind.RUN)
    try:
        return RunSettings.from_json(fields, run)
    except (AttributeError, KeyError, TypeError, ValueError, UsageError) as exc:
        reason = str(exc) if isinstance(exc, UsageError) else fault_in_words(exc)
        raise DamagedError(
            f"{run / RUN_FILE} is incomplete ({reason:.120}): train into another folder"
        ) from exc


def _resolve_recipe(config: TrainConfig, begun: RunSettings | None) -> Recipe:
    given = {name: getattr(config, name) for name in RECIPE_OPTIONS if getattr(config, name) is not None}
    if config.backbone is not None:
        given["backbone"] = config.backbone.lower()
    if config.loss is not None:
        given["loss"] = Loss(config.loss)
    recipe = RECIPES[config.recipe] if begun is None or begun.recipe_name != config.recipe else begun.recipe
    try:
        recipe = replace(recipe, **given)
    except ValueError as exc:
        raise UsageError(f"{exc}: give another value") from exc
    if recipe.head is Head.LEVELS and recipe.backbone not in LEVELS:
        return replace(recipe, head=Head.POOLED)
    return recipe


def _with_head_start(config: TrainConfig, recipe: Recipe, *, weights: str, devices: int) -> Recipe:
    """Decide between a head start and frozen epochs, if the recipe has both.

    Raises:
        UsageError: A head start is requested that is not possible.
    """
    obstacles = {
        "pretrained weights, and --weights is none": weights == "none" and config.start is None,
        "the backbone of --weights, and --from brings a head": config.start is not None,
        f"one device, and there are {devices}": devices > 1,
        f"a pooled head, and recipe {config.recipe} flattens": recipe.head is Head.FLATTENED,
        "a backbone that learns, and --train-from is head": recipe.train_from == HEAD_ONLY,
    }
    obstacle = _first_of(obstacles)
    if obstacle is None:
        is_needed = config.cache_features and not is_cut(recipe.train_from)
        is_replaced = recipe.head_start and config.frozen_epochs is None and not is_needed
        return replace(recipe, frozen_epochs=0) if is_replaced else recipe
    if config.head_start:
        raise UsageError(f"--head-start needs {obstacle}: leave it out")
    is_chosen = any(value is not None for value in (config.frozen_epochs, config.learning_rate, config.start))
    if recipe.frozen_epochs and recipe.train_from == HEAD_ONLY and not is_chosen:
        recipe = replace(recipe, frozen_epochs=recipe.epochs)  # a new head learns at its own rate to the end
    return replace(recipe, head_start=False)


def _require_soft_labels(
    config: TrainConfig, recipe: Recipe, manifest: Manifest, *, weights: str, devices: int
) -> None:
    """Check that soft labels can be estimated from features of the frozen backbone.

    Raises:
        UsageError: They cannot.
    """
    obstacles = {
        "pretrained weights, and --weights is none": weights == "none" and config.start is None,
        f"one device, and there are {devices}": devices > 1,
        f"a pooled head, and recipe {config.recipe} flattens": recipe.head is Head.FLATTENED,
        "two training pictures or more": manifest.samples("train") < 2,
    }
    if obstacle := _first_of(obstacles):
        raise UsageError(f"--soft-labels needs {obstacle}: leave it out")


def _require_small_pictures(config: TrainConfig, recipe: Recipe, manifest: Manifest, *, devices: int) -> None:
    """Check that a network can learn from pictures of half the side.

    Raises:
        UsageError: It cannot.
    """
    obstacles = {
        f"pictures of {2 * MIN_SIZE} px or more": manifest.image.size < 2 * MIN_SIZE,
        f"one device, and there are {devices}": devices > 1,
        f"a pooled head, and recipe {config.recipe} flattens": recipe.head is Head.FLATTENED,
        "a backbone that learns, and --train-from is head": recipe.train_from == HEAD_ONLY,
        "pictures, and --cache-features replaces them": config.cache_features,
    }
    if obstacle := _first_of(obstacles):
        raise UsageError(f"--small-epochs needs {obstacle}: leave it out")


def _first_of(obstacles: Mapping[str, bool]) -> str | None:
    """Return the words for the first obstacle that is there; None if none is."""
    return next((words for words, is_there in obstacles.items() if is_there), None)


def samples_of(manifest: Manifest, *, soft_labels: bool) -> Samples:
    """Return how many samples each part of a training on a dataset sees."""
    train = manifest.samples("train")
    return Samples(
        train=train,
        validation=manifest.samples("validation"),
        all=manifest.total,
        head_passes=head_epochs(train),
        fold_passes=fold_passes(train) if soft_labels else 0,
    )


def within_budget(settings: RunSettings, found: BudgetPlan, *, batch_size: int | None) -> RunSettings:
    """Return the settings of a new run that follow from the plan of its budget, and the batch size given."""
    if found.train_from == HEAD_ONLY:
        recipe = replace(
            settings.recipe,
            head_start=False,
            frozen_epochs=found.epochs,
            epochs=found.epochs,
            batch_size=batch_size or HEAD_BATCH_SIZE,
        )
    else:
        recipe = replace(settings.recipe, epochs=found.epochs, small_epochs=found.small_epochs)
    recipe = replace(recipe, train_from=found.train_from)
    if found.is_stored:
        recipe = replace(recipe, augmentation=NO_AUGMENTATION)
    return replace(settings, recipe=recipe, cache_features=found.is_stored)


def _require_same_training(run: Path, begun: RunSettings, settings: RunSettings, manifest: Manifest) -> None:
    if begun.plan_hash != settings.plan_hash:
        dataset = Path(settings.dataset)
        change = change_since(dataset, manifest, plan_hash=begun.plan_hash, run=run)
        if change is not None:
            raise UsageError(
                f"{run} was trained before {change} {dataset}, which is now version {manifest.edition}: "
                f"choose another folder (--from {run} starts from what it learnt)"
            )
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
