"""The job of one training: the settings that decide its result, its data, and the phases of its epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alti2v.dataset.manifest import Manifest
from alti2v.model.options.choices import PRECISIONS
from alti2v.model.recipes import HEAD_ONLY, RECIPES, Head, Loss, Recipe, parse_augmentation
from alti2v.model.trained_on import located, recorded
from alti2v.model.training.distributed import SINGLE_PROCESS, ProcessGroup
from alti2v.records import Tag
from alti2v.storage.documents import from_json
from alti2v.storage.layout import SOFT_LABELS_DIR

# Fields of a recipe that the command line may replace. A run keeps its own where an option is left out.
RECIPE_OPTIONS = (
    *("backbone", "epochs", "batch_size", "accumulate", "learning_rate", "train_from", "frozen_epochs"),
    *("small_epochs", "head_start", "loss", "positive_weight", "soft_labels", "augmentation", "ema"),
)

# The learning rate after epochs on small pictures, as a share of theirs: the network is no longer a new one.
_RATE_AFTER_SMALL = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Everything that decides the result of a training; config.json stores it.

    Attributes:
        dataset: Directory of the dataset.
        plan_hash: Hash of the dataset's plan.
        recipe_name: Name of the recipe.
        recipe: The recipe with the options of the command line applied.
        weights: Initial weights of the backbone: "imagenet", "none" or a path.
        start: Finished run to start from; None to start from `weights`.
        precision: Number format that layers compute in.
        seed: Random seed.
        cache_features: True if the head trains on stored features while the backbone is frozen.
    """

    dataset: str
    plan_hash: str
    recipe_name: str
    recipe: Recipe
    weights: str
    start: str | None
    precision: str
    seed: int
    cache_features: bool

    def to_json(self, run: Path) -> dict[str, Any]:
        """Return the fields of config.json."""
        return {
            "dataset": recorded(self.dataset, run),
            "plan_hash": self.plan_hash,
            "recipe": self.recipe_name,
            "weights": self.weights,
            "start": None if self.start is None else recorded(self.start, run),
            "precision": self.precision,
            "seed": self.seed,
            "cache_features": self.cache_features,
            "recipe_settings": _recipe_json(self.recipe),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], run: Path) -> RunSettings:
        """Read the fields of config.json.

        Raises:
            KeyError: A field is missing.
            TypeError, ValueError, UsageError: A field has a value that no version wrote.
        """
        if fields["recipe"] not in RECIPES:
            raise ValueError(f"recipe {fields['recipe']!r:.60}")
        # Beside the recipe's own settings, earlier versions wrote the options that replaced some of them.
        replaced = {name: fields[name] for name in RECIPE_OPTIONS if name in fields}
        recipe = {**fields["recipe_settings"], **replaced}
        known = {
            "head": Head(recipe["head"]),
            "loss": Loss(recipe["loss"]),
            "augmentation": parse_augmentation(recipe["augmentation"]),
        }
        names = ("plan_hash", "weights", "precision", "seed", "cache_features")
        settings = from_json(
            cls,
            {name: fields[name] for name in names},
            dataset=located(fields["dataset"], run),
            start=None if fields["start"] is None else located(fields["start"], run),
            recipe_name=fields["recipe"],
            recipe=from_json(Recipe, recipe, **known),
        )
        if settings.precision not in PRECISIONS or settings.seed < 0:
            raise ValueError(f"precision {settings.precision!r:.60}, seed {settings.seed}")
        return settings

    def differences(self, other: RunSettings) -> list[str]:
        """List the options that differ, as "--seed 0, not 1"; epochs and the dataset are not among them.

        The options that replace parts of a recipe are compared only if the recipe is the same.
        """
        replaced = RECIPE_OPTIONS if self.recipe_name == other.recipe_name else ()
        ours, theirs = self._options(replaced), other._options(replaced)
        return [
            _stated(option, value, theirs[option])
            for option, value in ours.items()
            if _comparable(value) != _comparable(theirs[option])
        ]

    def _options(self, replaced: Sequence[str]) -> dict[str, Any]:
        recipe = _recipe_json(self.recipe)
        options = {name: recipe[name] for name in replaced if name != "epochs"}
        names = ("weights", "precision", "seed", "cache_features")
        options |= {"recipe": self.recipe_name, "from": self.start}
        options |= {name: getattr(self, name) for name in names}
        return {f"--{name.replace('_', '-')}": value for name, value in options.items()}


def _stated(option: str, value: object, other: object) -> str:
    """Say which value an option has, and which one it does not have."""
    if value is None or isinstance(value, bool):
        return option if value else f"no {option}"
    return f"{option} {value}" if other is None else f"{option} {value}, not {other}"


def _comparable(value: object) -> object:
    """Return the real path of a file or folder, however it is spelled, and other values as they are."""
    return Path(value).resolve() if isinstance(value, str) and Path(value).exists() else value


def _recipe_json(recipe: Recipe) -> dict[str, Any]:
    return {**asdict(recipe), "augmentation": str(recipe.augmentation)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Consecutive epochs in which the same layers learn, under one schedule of the learning rate.

    Attributes:
        first_epoch, end_epoch: Range of epochs, counted from 0, without the end.
        train_from: First layer of the backbone that learns, or `HEAD_ONLY`.
        learning_rate: Peak learning rate.
        is_small: True if pictures are reduced to half their side.
    """

    first_epoch: int
    end_epoch: int
    train_from: str
    learning_rate: float
    is_small: bool = False

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return self.end_epoch - self.first_epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A training that is ready to begin: its settings, its data, and when it validates, saves and stops.

    Attributes:
        run: Directory of the run.
        settings: Everything that decides the result.
        manifest: Manifest of the dataset.
        tags: Vocabulary of the dataset; output i of the network is tags[i].
        validate_every: Epochs between two validations.
        patience: Validations without improvement after which the training stops; None for no limit.
        checkpoint_s: Seconds between two checkpoints.
        keep: Number of checkpoints to keep.
        tensorboard: True if events for TensorBoard are written.
        processes: The processes that train together.
    """

    run: Path
    settings: RunSettings
    manifest: Manifest
    tags: tuple[Tag, ...]
    validate_every: int
    patience: int | None
    checkpoint_s: float
    keep: int
    tensorboard: bool = False
    processes: ProcessGroup = SINGLE_PROCESS

    @property
    def dataset(self) -> Path:
        """Directory of the dataset."""
        return Path(self.settings.dataset)

    @property
    def recipe(self) -> Recipe:
        """The recipe with the options of the command line applied."""
        return self.settings.recipe

    @property
    def soft_labels(self) -> Path | None:
        """Folder with the soft labels of the training pictures; None if the recipe has none."""
        return self.run / SOFT_LABELS_DIR if self.recipe.soft_labels else None

    @property
    def train_samples(self) -> int:
        """Number of samples in an epoch."""
        return self.manifest.samples("train")

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch; the last one may be smaller."""
        return -(-self.train_samples // self.recipe.batch_size)

    @property
    def steps(self) -> int:
        """Number of steps in the whole training."""
        return self.recipe.epochs * self.steps_per_epoch

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases that have an epoch: first the head alone, then everything from `train_from` on.

        The latter begins with small pictures, if the recipe has epochs of them.
        """
        recipe, frozen = self.recipe, min(self.recipe.frozen_epochs, self.recipe.epochs)
        whole = min(frozen + recipe.small_epochs, recipe.epochs)
        phases = (
            Phase(
                first_epoch=0, end_epoch=frozen, train_from=HEAD_ONLY, learning_rate=recipe.frozen_learning_rate
            ),
            Phase(
                first_epoch=frozen,
                end_epoch=whole,
                train_from=recipe.train_from,
                learning_rate=recipe.learning_rate,
                is_small=True,
            ),
            Phase(
                first_epoch=whole,
                end_epoch=recipe.epochs,
                train_from=recipe.train_from,
                learning_rate=recipe.learning_rate * (_RATE_AFTER_SMALL if recipe.small_epochs else 1),
            ),
        )
        return tuple(phase for phase in phases if phase.epochs)

    def phase_of(self, epoch: int) -> int:
        """Index of the phase that an epoch belongs to."""
        return next(index for index, phase in enumerate(self.phases) if epoch < phase.end_epoch)

    def is_validated(self, epoch: int) -> bool:
        """Return whether a validation follows an epoch."""
        return epoch + 1 == self.recipe.epochs or (epoch + 1) % self.validate_every == 0

    def validations_of(self, phase: Phase) -> int:
        """Return the number of validations in a phase."""
        return sum(map(self.is_validated, range(phase.first_epoch, phase.end_epoch)))
