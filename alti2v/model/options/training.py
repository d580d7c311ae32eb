"""Options of `train`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from alti2v.errors import UsageError
from alti2v.model.options.choices import PRECISION_CHOICES, TRUNK_LAYERS
from alti2v.model.recipes import HEAD_ONLY, MOST_BATCH_SIZE, RECIPES, Augmentation, Loss
from alti2v.option_bounds import require_between, require_choice


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Options of a training. Fields that may be None fall back to the run's own value, then to the recipe's.

    Attributes:
        dataset: Directory of a dataset.
        run: Directory of the run; created if missing, continued if it belongs to this training.
        recipe: "modern", "seed" (as in alt-i2v of 2017) or "scratch" (small, without pretrained weights).
        backbone: Name of a network of keras.applications, such as "resnet50v2"; case does not matter.
        epochs: Passes over the training samples, at least 1.
        batch_size: Samples per step, 1 to `MOST_BATCH_SIZE`.
        accumulate: Number of steps whose gradients make one update, at least 1.
        learning_rate: Peak learning rate, above 0.
        train_from: First layer of the backbone that learns, such as "block4_conv1"; "head" to freeze all of it.
        budget: Minutes that the training may take: it measures the machine, and chooses the epochs and the part
            of the backbone that learns; None for the recipe's own. A run keeps the plan that it began with.
        frozen_epochs: Number of initial epochs in which only the head learns, at least 0.
        small_epochs: Number of epochs after those on pictures of half the side, at least 0; needs a pooled
            head, pictures of at least 64 px, and one device.
        head_start: True to train the head on stored features of the frozen backbone before anything else
            learns; needs pretrained weights and one device.
        loss: "summed", "mean" or "asymmetric".
        positive_weight: Exponent of (negatives / positives), the weight of a tag's positives, in [0, 1].
        soft_labels: True for tags that are incomplete (`recipes.Recipe`); needs pretrained weights and one
            device.
        augmentation: Random changes to training pictures.
        ema: Momentum of a moving average of the weights, in [0, 1). The average is validated and exported.
        weights: Initial weights of the backbone: "imagenet" (Keras downloads them), "none", or the path of a
            weights file.
        start: A finished run to start from instead. Tags that both vocabularies know keep their weights.
        precision: Number format that layers compute in: "float32", "bfloat16" or "float16" (weights, sigmoid
            and loss stay in float32), or "auto": bfloat16 where this machine is faster in it, else float32.
        seed: Seed of the order, augmentation, dropout and initial weights, at least 0.
        validate_every: Epochs between two validations, at least 1; the last epoch is always validated. The run
            exports the best network (`validation.Validation.score`).
        patience: Validations without a better network after which training stops, at least 1; None for no
            limit.
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
    small_epochs: int | None = None
    head_start: bool | None = None
    loss: str | None = None
    positive_weight: float | None = None
    soft_labels: bool | None = None
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
            ("--accumulate", self.accumulate, 1),
            ("--frozen-epochs", self.frozen_epochs, 0),
            ("--small-epochs", self.small_epochs, 0),
            ("--patience", self.patience, 1),
            ("--keep", self.keep, 1),
            ("--seed", self.seed, 0),
            ("validate_every", self.validate_every, 1),
            ("checkpoint_s", self.checkpoint_s, 0),
        ):
            require_between(option, value, least)
        require_between("--batch-size", self.batch_size, 1, MOST_BATCH_SIZE)
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise UsageError(f"--learning-rate {self.learning_rate} is not above 0")
        if self.budget is not None and not 0 < self.budget < math.inf:
            raise UsageError(f"--budget {self.budget:g} is not a number of minutes above 0")
        planned = ("epochs", "train_from", "frozen_epochs", "small_epochs")
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
        if (self.backbone or "vgg16").lower() == "vgg16":  # only Keras knows the layers of the others
            require_choice("--train-from", self.train_from, (*TRUNK_LAYERS, HEAD_ONLY))
        if self.weights == "":
            raise UsageError("--weights is empty: give imagenet, none, or the path of a weights file")
