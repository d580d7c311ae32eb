"""Training recipes as plain values, each line with its reason; independent of Keras."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from alti2v.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Random changes to a training picture, applied in this order; the default changes nothing.

    Strengths are drawn uniformly between 0 and the given maximum.

    Attributes:
        flip: Mirror half of the pictures, except those with a tag that names a side.
        rotation: Maximum rotation in either direction, degrees, [0, 180]; corners become white.
        shift: Maximum shift in each direction, as a share of the side, [0, 0.5); the uncovered area becomes
            white.
        crop: Maximum share of the side to cut away; the rest is enlarged again, [0, 0.5).
        kernels: Enlarge with a random kernel (bilinear, bicubic, Lanczos or nearest) instead of always
            bilinear, because other programs resize with any of these. Needs `crop`.
        cutout: Maximum share of the area to cover with a white square, [0, 0.5].
        mixup: Alpha of Beta(alpha, alpha), from which the weight of the picture is drawn when it is blended
            with the next one of its batch, labels likewise (Zhang et al. 2018, arXiv:1710.09412); 0 to
            disable, at most 10.
    """

    flip: bool = False
    rotation: float = 0.0
    shift: float = 0.0
    crop: float = 0.0
    kernels: bool = False
    cutout: float = 0.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("rotation", 180), ("shift", 0.49), ("crop", 0.49), ("cutout", 0.5), ("mixup", 10)):
            if not 0 <= getattr(self, name) <= most:
                raise UsageError(f"augmentation {name}={getattr(self, name)} is not between 0 and {most}")
        if self.kernels and not self.crop:
            raise UsageError("augmentation kernels needs crop, for example kernels,crop=0.13")

    def __str__(self) -> str:
        """Return the command-line form: "flip,crop=0.13", or "none"."""
        steps = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value:
                steps.append(field.name if value is True else f"{field.name}={value:g}")
        return ",".join(steps) or "none"


NO_AUGMENTATION = Augmentation()


def parse_augmentation(text: str) -> Augmentation:
    """Parse the command-line form of an `Augmentation`.

    Raises:
        UsageError: A step is unknown, or its strength is missing, invalid or not allowed.
    """
    if text.strip() == "none":
        return NO_AUGMENTATION
    strengths = {field.name: not isinstance(field.default, bool) for field in fields(Augmentation)}
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, has_value, value = (piece.strip() for piece in part.partition("="))
        if name not in strengths:
            raise UsageError(f"augmentation {name!r} is none of {', '.join(strengths)} and none")
        if strengths[name] != bool(has_value):
            example = f"{name}=0.1" if strengths[name] else name
            raise UsageError(f"augmentation {part.strip()!r}: write {example}")
        try:
            found[name] = float(value) if has_value else True
        except ValueError as exc:
            raise UsageError(f"augmentation {name}={value}: {value!r} is not a number") from exc
    return Augmentation(**found)


class Head(StrEnum):
    """Layers between the backbone's last block and the tags."""

    POOLED = "pooled"  # global average pooling, then a dense feature layer
    LEVELS = "levels"  # the same of the last three blocks of a VGG, each normalised
    FLATTENED = (
        "flattened"  # every position has its own weights: the original's, nine tenths of all its parameters
    )


class Loss(StrEnum):
    """Reduction of the binary cross-entropy over the tags of a picture."""

    SUMMED = "summed"
    MEAN = "mean"
    ASYMMETRIC = "asymmetric"  # summed, with less weight on easy negatives


# Larger batches than any that was published for a network of this size (LAMB: 32,768).
MOST_BATCH_SIZE = 65_536
# In place of a layer's name: the whole backbone is frozen.
HEAD_ONLY = "head"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything about a training except the data and the machine.

    Attributes:
        backbone: Name of a network of keras.applications, in lower case.
        weights: Initial weights of the backbone unless --weights is given: "imagenet" or "none".
        head: Layers between the last block and the tags.
        features: Units of the feature layer, whose output is also the picture's vector.
        dropout: Share of the features that a training step leaves out, in [0, 1).
        train_from: First layer of the backbone that learns, by its Keras name; the layers before it are frozen.
            `HEAD_ONLY` to freeze all of them.
        head_start: True to train the head on stored features of the frozen backbone first, where the weights
            are pretrained (`training.frozen_head`). It takes one pass over the pictures, and replaces
            `frozen_epochs` unless they are given.
        frozen_epochs: Number of initial epochs in which only the head learns.
        small_epochs: Number of epochs after those on pictures of half the side, a quarter of the arithmetic
            (progressive resizing; Tan and Le 2021, "EfficientNetV2", arXiv:2104.00298, section 4).
        frozen_learning_rate: Peak learning rate in those epochs.
        loss: Reduction of the cross-entropy over the tags.
        positive_weight: Exponent of (negatives / positives), the weight of a tag's positives, limited to
            [1/100, 100] (`losses.positive_weights`); 0 weighs all labels equally.
        soft_labels: True to train the 0 of an absent tag towards the probability that heads which have not seen
            the picture give it (`training.soft_labels`), because absent tags may be missing ones. Needs
            pretrained weights.
        prior_bias: True to initialise the last bias to the log-odds of each tag's frequency.
        standardised_start: True to scale a network without pretrained weights so that every channel has mean 0
            and variance 1 on training pictures.
        learning_rate: Peak learning rate.
        warm_up: Share of all steps over which the learning rate rises to its peak.
        cosine: True to lower the learning rate to a hundredth along a half cosine; False to keep it constant.
        weight_decay: Decoupled weight decay of the kernels; 0 makes AdamW plain Adam.
        clip_norm: Maximum norm of the whole gradient; None for no limit.
        augmentation: Random changes to training pictures.
        ema: Momentum of the moving average of the weights that is validated and exported; None for no average.
        accumulate: Number of steps whose gradients are averaged into one update.
        batch_size: Samples per step.
        epochs: Passes over the training samples.
    """

    backbone: str = "vgg16"
    weights: str = "imagenet"
    head: Head
    features: int
    dropout: float
    train_from: str
    head_start: bool = False
    frozen_epochs: int = 0
    small_epochs: int = 0
    frozen_learning_rate: float = 1e-3
    loss: Loss
    positive_weight: float = 0.0
    soft_labels: bool = False
    prior_bias: bool
    standardised_start: bool
    learning_rate: float
    warm_up: float
    cosine: bool
    weight_decay: float
    clip_norm: float | None
    augmentation: Augmentation
    ema: float | None = None  # +.0001 in the only controlled report (Kagami-24k study)
    accumulate: int = 1
    batch_size: int
    epochs: int

    def __post_init__(self) -> None:
        bounds = {
            **dict.fromkeys(("epochs", "accumulate"), (1, math.inf)),
            "batch_size": (1, MOST_BATCH_SIZE),
            "features": (1, 2**20),
            **dict.fromkeys(("frozen_epochs", "small_epochs"), (0, math.inf)),
            **dict.fromkeys(("positive_weight", "ema", "warm_up", "weight_decay"), (0, 1)),
            "dropout": (0, 0.999),
        }
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"{name} {value} is outside [{least}, {most}]")
        for name in ("learning_rate", "frozen_learning_rate", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} {value} is not above 0")


# The original, for comparison: GINK03/alt-i2v @4ebbfb8, alt_i2v_V2.py. It has three advantages here that it did
# not have there: pixels preprocessed as the backbone expects instead of RGB / 255, pictures centred on white
# instead of in the corner of a black square, and He's initialisation if there are no pretrained weights.
SEED = Recipe(
    head=Head.FLATTENED,  # Flatten, BatchNormalization, Dense, Dropout, Dense, as there
    features=5000,  # Dense(5000, relu) for any number of tags
    dropout=0.3,  # Dropout(0.3) between the two dense layers
    train_from="block4_conv2",  # `model.layers[:12]` are frozen; the first of them is the input
    loss=Loss.MEAN,  # Keras' "binary_crossentropy"
    prior_bias=False,  # Keras' default, zero
    standardised_start=False,  # it started from ImageNet's weights
    learning_rate=1e-3,  # Keras' default for "adam"
    warm_up=0.0,  # none there
    cosine=False,  # none there
    weight_decay=0.0,  # none there
    clip_norm=None,  # none there
    augmentation=NO_AUGMENTATION,  # none there
    batch_size=32,  # Keras' default
    epochs=30,  # the original ran until it was stopped by hand
)

MODERN = Recipe(
    head=Head.LEVELS,  # a frozen head gains .07 by it (the idea: Evci et al. 2022, arXiv:2201.03529)
    features=4096,  # the length of illustration2vec's vectors; with 1,024 a frozen head has .010 less mAP
    dropout=0.0,  # 1,280 pooled numbers overfit less than 25,088 flattened ones; .5 gains nothing (.823, .826)
    train_from="block1_conv1",  # a frozen trunk is a smoke test: .438 -> .569 macro-F1 (Kagami-24k study)
    loss=Loss.SUMMED,  # winner of the loss sweep of SW-CV-ModelZoo, asymmetric_loss_sweep.csv
    prior_bias=True,  # otherwise the first epoch only learns that all tags are rare
    standardised_start=True,  # only for random weights: else the loss does not fall for hundreds of steps
    # A random head would destroy pretrained weights: the head first (Kumar et al. 2022, arXiv:2202.10054).
    # In the time of a frozen epoch it reaches validation mAP .61 instead of .54 (head on the last block).
    head_start=True,
    frozen_epochs=1,  # in place of the head start where it is not possible, as on several devices
    learning_rate=1e-4,  # with the average: test mAP .828, .915 on two corpora; 3e-5: .828, .907
    warm_up=0.05,  # VGG16 has no normalisation: Adam's first steps at the full rate break it
    cosine=True,  # JAX-CV's, with warm-up and down to 1 %: no milestones to choose
    weight_decay=5e-3,  # SW-CV-ModelZoo's for LAMB, which is close to AdamW at batch sizes of one GPU
    clip_norm=1.0,  # JAX-CV's: one unusual batch cannot undo many others
    augmentation=Augmentation(flip=True),  # costs nothing; more pays off only when pictures are seen many times
    batch_size=32,  # the original's; more with --batch-size on a GPU, less memory with --accumulate
    epochs=30,  # a guess; --patience stops a training that no longer improves
)

# From random weights, on two cores, in minutes: what `alti2v demo` trains. Tuned on the demo's corpus.
SCRATCH = replace(
    MODERN,
    weights="none",  # the reason for this recipe
    head_start=False,  # a head on a random backbone is no start
    frozen_epochs=0,  # random weights need no protection
    learning_rate=5e-4,  # there are few steps: each has to be larger
    batch_size=16,  # more steps: even so, 1,200 pictures are only 75 steps an epoch
    augmentation=Augmentation(flip=True, shift=0.05),  # 1,200 pictures are soon memorised
    epochs=9,  # 675 steps of the demo's 1,200 pictures: about three minutes on two free cores
)

RECIPES: Mapping[str, Recipe] = {"modern": MODERN, "seed": SEED, "scratch": SCRATCH}
