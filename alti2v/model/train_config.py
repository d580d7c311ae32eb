"""Options of a training, completed by the run's own settings and by the recipe's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from alti2v.dataset.manifest import Manifest
from alti2v.errors import DamagedError, UsageError
from alti2v.model.budget import Rates, Samples, plan_for_budget
from alti2v.model.network.build import TRUNK_LAYERS
from alti2v.model.network.precision import CHOICES as PRECISION_CHOICES
from alti2v.model.network.precision import choose_precision
from alti2v.model.recipes import HEAD_ONLY, NO_AUGMENTATION, RECIPES, Augmentation, Head, Loss, Recipe
from alti2v.model.training.feature_cache import is_cut
from alti2v.model.training.frozen_head import head_epochs
from alti2v.model.training.job import RECIPE_OPTIONS, RunSettings
from alti2v.option_bounds import require_between, require_choice
from alti2v.storage.directory import (
    DirectoryKind,
    kind_of,
    read_description,
)
from alti2v.storage.layout import RUN_FILE


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
        budget: Minutes that the training may take: it measures the machine, and chooses the epochs and the part
            of the backbone that learns; None for the recipe's own. A run keeps the plan that it began with.
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
        cache_features: True to run the frozen layers, up to a block of VGG or all of the backbone, only once on
            every picture, and train the rest on the stored output; pictures are not augmented then.
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
    budget: float | None = None
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
        if self.budget is not None and not self.budget > 0:
            raise UsageError(f"--budget {self.budget:g} is not above 0 minutes")
        planned = ("epochs", "train_from", "frozen_epochs")
        taken = next(
            (f"--{name.replace('_', '-')}" for name in planned if getattr(self, name) is not None), None
        )
        if self.budget is not None and (taken or self.cache_features):
            raise UsageError(f"--budget chooses {taken or '--cache-features'} itself: give one of the two")
        require_between("--positive-weight", self.positive_weight, 0, 1)
        require_between("--ema", self.ema, 0, 1)
        require_choice("--recipe", self.recipe, sorted(RECIPES))
        require_choice("--loss", self.loss, Loss)
        require_choice("--precision", self.precision, PRECISION_CHOICES)
        if self.backbone is None:  # only Keras knows the layers of the others
            require_choice("--train-from", self.train_from, (*TRUNK_LAYERS, HEAD_ONLY))
        if self.weights == "":
            raise UsageError("--weights is empty: give imagenet, none, or the path of a weights file")


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
        cache_features=config.cache_features
        or (config.budget is not None and begun is not None and begun.cache_features),
    )
    if begun is not None:
        _require_same_training(config.run, begun, settings)
    return settings


def _read_settings(run: Path) -> RunSettings | None:
    if kind_of(run) is not DirectoryKind.RUN:
        return None
    fields = read_description(run, DirectoryKind.RUN)
    try:
        return RunSettings.from_json(fields)
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
        is_needed = config.cache_features and not is_cut(recipe.train_from)
        is_replaced = recipe.head_start and config.frozen_epochs is None and not is_needed
        return replace(recipe, frozen_epochs=0) if is_replaced else recipe
    if config.head_start:
        raise UsageError(f"--head-start needs {obstacle}: leave it out")
    return replace(recipe, head_start=False)


def within_budget(
    settings: RunSettings, manifest: Manifest, rates: Rates, *, seconds: float
) -> tuple[RunSettings, str]:
    """Plan a new training for a time; return its settings, and the plan in words.

    Raises:
        UsageError: The time is too short.
    """
    recipe, samples = settings.recipe, manifest.samples("train")
    passes = head_epochs(samples)
    found = plan_for_budget(
        rates,
        Samples(
            train=samples,
            validation=manifest.samples("validation"),
            all=manifest.total,
            head=passes * samples,
        ),
        seconds=seconds,
        most_epochs=recipe.epochs,
    )
    start = f"head on stored features, {found.head_s / 60:.1f} min; " if recipe.head_start else ""
    if found.train_from != HEAD_ONLY:
        on = " on stored maps" if found.is_stored else ""
        words = f"{found.epochs:,} epochs from {found.train_from} on{on}, {found.epochs_s / 60:.1f} min"
        recipe = replace(recipe, train_from=found.train_from, epochs=found.epochs)
        if found.is_stored:
            recipe = replace(recipe, augmentation=NO_AUGMENTATION)
        settings = replace(settings, recipe=recipe, cache_features=found.is_stored)
        return settings, f"plan for the budget: {start}{words}"
    recipe = replace(
        recipe,
        train_from=HEAD_ONLY,
        head_start=False,
        frozen_epochs=passes,
        epochs=passes,
        augmentation=NO_AUGMENTATION,
    )
    words = "nothing else, because an epoch of the backbone's last block does not fit"
    return replace(settings, recipe=recipe, cache_features=True), f"plan for the budget: {start}{words}"


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
