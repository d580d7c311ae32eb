"""How to train: the recipes, as plain values, one reason a line. Knows no Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from alti2v.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What is changed at random about a training picture; the default changes nothing.

    In this order; strengths are drawn evenly between nothing and the figure.

    Attributes:
        flip: mirror every second picture, but for those with a tag that names a side.
        rotation: turn by up to so many degrees either way, [0, 180]; white corners.
        shift: move by up to this share of the side in each direction, [0, 0.5); white comes in.
        crop: cut away up to this share of the side, anywhere, and enlarge the rest again, [0, 0.5).
        kernels: enlarge with a kernel drawn from bilinear, bicubic, Lanczos and nearest, not always bilinear:
            other people's programs resize in all these ways. Needs `crop`.
        cutout: cover a square of up to this share of the area with white, [0, 0.5].
        mixup: alpha of Beta(alpha, alpha), from which the share of the picture is drawn that stays when it is
            laid over the next one of its batch, its labels likewise (Zhang et al. 2018, arXiv:1710.09412);
            0 for none, at most 10.
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
            raise UsageError("augmentation kernels needs crop, such as kernels,crop=0.13")

    def __str__(self) -> str:
        """As on the command line: "flip,crop=0.13", or "none"."""
        steps = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value:
                steps.append(field.name if value is True else f"{field.name}={value:g}")
        return ",".join(steps) or "none"


NO_AUGMENTATION = Augmentation()


def parse_augmentation(text: str) -> Augmentation:
    """Read what `str` of an `Augmentation` writes.

    Raises:
        UsageError: it names no step, or a strength that the step does not take.
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
            raise UsageError(f"augmentation {name}={value}: {value!r} is no number") from exc
    return Augmentation(**found)


class Head(StrEnum):
    """What stands on the backbone's last block, between it and the tags."""

    POOLED = "pooled"  # global average pooling, then a dense feature layer
    FLATTENED = "flattened"  # every position by itself: the original's, nine tenths of all its parameters


class Loss(StrEnum):
    """Binary cross-entropy over the tags of one picture."""

    SUMMED = "summed"
    MEAN = "mean"
    ASYMMETRIC = "asymmetric"  # summed, and easy negatives count little


# Instead of a layer's name: the whole trunk keeps its weights.
HEAD_ONLY = "head"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything about training that is neither the data nor the machine.

    Attributes:
        backbone: name of a network of keras.applications, in lower case.
        head: between the last block and the tags.
        features: units of the feature layer, which is also the picture's vector.
        dropout: share of features that a training step leaves out, in [0, 1).
        train_from: the first layer of the backbone that learns, by its name in Keras; those before keep their
            start. `HEAD_ONLY` for none.
        frozen_epochs: epochs at the start in which only the head learns.
        frozen_learning_rate: in those epochs, at its peak.
        loss: cross-entropy, summed or averaged over the tags, or asymmetric.
        positive_weight: exponent of (negatives / positives), the weight of a tag's positives, at most 100
            (`losses.positive_weights`); 0 for none.
        prior_bias: whether the last bias starts at the log-odds of each tag's frequency.
        standardised_start: whether a network without pretrained weights starts with every channel at mean 0 and
            variance 1 on training pictures.
        learning_rate: at its peak.
        warm_up: share of all steps over which the rate rises to its peak.
        cosine: whether the rate falls to a hundredth along a half cosine, or stays.
        weight_decay: decoupled, on kernels; 0 makes AdamW plain Adam.
        clip_norm: bound on the norm of the whole gradient; None for none.
        augmentation: what is changed at random about training pictures.
        ema: momentum of the moving average of the weights that is validated and exported; None for none.
        accumulate: steps whose gradients are averaged into one update.
        batch_size: samples per step.
        epochs: passes over the training samples.
    """

    backbone: str = "vgg16"
    head: Head
    features: int
    dropout: float
    train_from: str
    frozen_epochs: int = 0
    frozen_learning_rate: float = 1e-3
    loss: Loss
    positive_weight: float = 0.0
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


# The original, so that it can be compared: GINK03/alt-i2v @4ebbfb8, alt_i2v_V2.py. What it gets better here
# than there: pixels as the backbone wants them instead of RGB / 255, pictures centred on white instead of in
# the corner of a black square, and without pretrained weights He's start.
SEED = Recipe(
    head=Head.FLATTENED,  # Flatten, BatchNormalization, Dense, Dropout, Dense, as there
    features=5000,  # Dense(5000, relu) whatever the number of tags
    dropout=0.3,  # Dropout(0.3) between the two dense layers
    train_from="block4_conv2",  # `model.layers[:12]` are frozen; the first of them is the input
    loss=Loss.MEAN,  # Keras' "binary_crossentropy"
    prior_bias=False,  # Keras' default, zero
    standardised_start=False,  # it began from ImageNet's weights
    learning_rate=1e-3,  # Keras' default for "adam"
    warm_up=0.0,  # none there
    cosine=False,  # none there
    weight_decay=0.0,  # none there
    clip_norm=None,  # none there
    augmentation=NO_AUGMENTATION,  # none there
    batch_size=32,  # Keras' default
    epochs=30,  # the original went on until it was stopped
)

MODERN = Recipe(
    head=Head.POOLED,  # 2.6 M parameters at 5000 tags instead of 125 M; every tagger since uses it
    features=4096,  # the length of illustration2vec's vectors
    dropout=0.0,  # 512 pooled numbers leave less to learn by heart than 25,088 flattened ones
    train_from="block1_conv1",  # a frozen trunk is a smoke test: .438 -> .569 macro-F1 (Kagami-24k study)
    loss=Loss.SUMMED,  # winner of the loss sweep of SW-CV-ModelZoo, asymmetric_loss_sweep.csv
    prior_bias=True,  # otherwise the first epoch learns that everything is rare
    standardised_start=True,  # without it the loss stands still for hundreds of steps (network.standardise)
    frozen_epochs=1,  # a head that is still random would tear up the pretrained weights
    learning_rate=1e-4,  # with the line above: test mAP .810 on real drawings, where 3e-4 without it gave .659
    warm_up=0.05,  # VGG16 has no normalisation: the first steps of Adam at full rate break it
    cosine=True,  # JAX-CV's, with warm-up and to 1 %: no dates of steps to choose
    weight_decay=5e-3,  # SW-CV-ModelZoo's with LAMB, which in batches of one GPU is about AdamW
    clip_norm=1.0,  # JAX-CV's: one odd batch cannot undo many
    augmentation=Augmentation(flip=True),  # costs nothing; more of it pays only where pictures are seen often
    batch_size=32,  # as the original's; a GPU takes more with --batch-size, less memory with --accumulate
    epochs=30,  # a guess; --patience ends what gets no better
)

# From nothing, on two cores, in minutes: what `alti2v demo` trains. Tuned on the demo's corpus.
SCRATCH = replace(
    MODERN,
    frozen_epochs=0,  # random weights hold nothing to protect
    learning_rate=5e-4,  # few steps: each has to go further
    batch_size=16,  # more steps: 1,200 pictures give only 75 of them in an epoch
    augmentation=Augmentation(flip=True, shift=0.05),  # 1,200 pictures are soon known by heart
    epochs=9,  # 675 steps of the demo's 1,200 pictures: about three minutes on two free cores
)

RECIPES: Mapping[str, Recipe] = {"modern": MODERN, "seed": SEED, "scratch": SCRATCH}
