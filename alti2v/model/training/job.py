"""What a training has settled before it begins: the job, and the stages that its epochs fall into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alti2v.dataset.manifest import Manifest
from alti2v.model.recipes import HEAD_ONLY, Recipe
from alti2v.model.training.distributed import SINGLE_PROCESS, ProcessGroup
from alti2v.records import Tag


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Epochs with one set of learning layers and one run of the learning rate.

    Attributes:
        first_epoch, end_epoch: counted from 0; the end is not part of it.
        train_from: the first layer that learns, or `HEAD_ONLY`.
        learning_rate: at its peak.
    """

    first_epoch: int
    end_epoch: int
    train_from: str
    learning_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A settled training: the attributes of `TrainConfig`, completed, and what config.json says."""

    dataset: Path
    run: Path
    manifest: Manifest
    tags: tuple[Tag, ...]
    recipe_name: str
    recipe: Recipe
    weights: str
    start: Path | None
    precision: str
    seed: int
    validate_every: int
    patience: int | None
    checkpoint_s: float
    keep: int
    processes: ProcessGroup = SINGLE_PROCESS
    cache_features: bool = False
    tensorboard: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

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

    @property
    def stages(self) -> tuple[Phase, ...]:
        """First the head alone, if the recipe says so, then everything from `train_from` on."""
        recipe, frozen = self.recipe, min(self.recipe.frozen_epochs, self.recipe.epochs)
        stages = (
            Phase(
                first_epoch=0, end_epoch=frozen, train_from=HEAD_ONLY, learning_rate=recipe.frozen_learning_rate
            ),
            Phase(
                first_epoch=frozen,
                end_epoch=recipe.epochs,
                train_from=recipe.train_from,
                learning_rate=recipe.learning_rate,
            ),
        )
        return tuple(stage for stage in stages if stage.first_epoch < stage.end_epoch)

    def stage_of(self, epoch: int) -> int:
        """The number of the stage that an epoch belongs to."""
        return next(number for number, stage in enumerate(self.stages) if epoch < stage.end_epoch)
