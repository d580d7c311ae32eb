"""Pictures as published taggers take them: a few steps from any size to a square. Pure.

The kinds of steps, and how each of them rounds, are those of imgutils' `preprocess.json`
(imgutils/preprocess/pillow.py and imgutils/data/pad.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image

from alti2v.arrays import Uint8Array
from alti2v.pictures.decode import DecodeFunction, Unusable, decode, shown
from alti2v.pictures.square import coarse_picture

MAX_SIDE_PX = 4096  # of a step; the numbers may come from an untrusted folder
WHITE = (255, 255, 255)
_GAP = 3.0  # other clients decode whole pictures: from Pillow's `reducing_gap` of 3 on, none can be told apart


class StepKind(StrEnum):
    """Kind of a step."""

    PAD = "pad"  # the whole picture, resized to fit, in the middle of a coloured rectangle
    STRETCH = "stretch"  # the whole picture, stretched to a rectangle
    SHORTER = "shorter"  # resized so that the shorter side has `width` pixels
    CROP = "crop"  # the middle of the picture; black where it is smaller


@dataclass(frozen=True, slots=True, kw_only=True)
class FramingStep:
    """Step of a framing: a resize, a crop or a padding.

    Attributes:
        kind: One of `StepKind`.
        width, height: Size of the result, px; `StepKind.SHORTER` uses the width only.
        resampling: Name of Pillow's filter in lower case; without effect on a crop.
        colour: Red, green and blue of the padding, 0 to 255.
    """

    kind: str
    width: int
    height: int
    resampling: str = "bicubic"
    colour: tuple[int, int, int] = WHITE

    def __post_init__(self) -> None:
        if self.kind not in list(StepKind) or self.resampling.upper() not in Image.Resampling.__members__:
            raise ValueError(f"a step {str(self.kind)!r} with the filter {self.resampling!r} is unknown")
        if not all(0 < side <= MAX_SIDE_PX for side in (self.width, self.height)):
            raise ValueError(f"a step makes {self.width} x {self.height} px, of {MAX_SIDE_PX} at most")
        if self.width != self.height and self.kind != StepKind.CROP:
            raise ValueError(f"a step makes {self.width} x {self.height} px, which is not square")
        if not all(0 <= value <= 255 for value in self.colour):
            raise ValueError(f"a step has the colour {self.colour}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """Steps that make the square picture of a network.

    Attributes:
        steps: At least one; the last one makes a square.
        with_mask: True to add a fourth channel: 0 in the padding, 255 in the picture.
    """

    steps: tuple[FramingStep, ...]
    with_mask: bool = False

    def __post_init__(self) -> None:
        last = self.steps[-1] if self.steps else None
        if last is None or last.kind == StepKind.SHORTER or last.width != last.height:
            raise ValueError("the steps of the preparation do not end in a square")

    @property
    def size(self) -> int:
        """Side of the square, px."""
        return self.steps[-1].width

    @property
    def channels(self) -> int:
        """Number of channels of the result."""
        return 4 if self.with_mask else 3


def letterbox(size: int, *, resampling: str = "bicubic", colour: tuple[int, int, int] = WHITE) -> FramingStep:
    """Make the step that nearly all taggers use: the whole picture, centred in a square."""
    return FramingStep(kind=StepKind.PAD, width=size, height=size, resampling=resampling, colour=colour)


def framed_pixels(
    content: bytes, framing: Framing, *, decoded_by: DecodeFunction = decode
) -> Uint8Array | Unusable:
    """Return the picture as the network takes it: (S, S, 3) uint8 RGB, or (S, S, 4) with its mask.

    Transparency becomes white, as in imgutils' `load_image`.
    """
    first = framing.steps[0]
    coarse = coarse_picture(
        content, lambda width, height: _resized(first, width, height), gap=_GAP, decoded_by=decoded_by
    )
    if isinstance(coarse, Unusable):
        return coarse
    image = shown(coarse.decoded, coarse.target, _filter(first))
    mask = Image.new("L", image.size, 255) if framing.with_mask else None
    image, mask = _placed(image, mask, first)
    for step in framing.steps[1:]:
        size = _resized(step, *image.size)
        image = image.resize(size, _filter(step)) if size != image.size else image
        mask = mask.resize(size, Image.Resampling.NEAREST) if mask is not None else None
        image, mask = _placed(image, mask, step)
    pixels = np.asarray(image)
    return pixels if mask is None else np.dstack([pixels, np.asarray(mask)])


def _filter(step: FramingStep) -> Image.Resampling:
    return Image.Resampling[step.resampling.upper()]


def _resized(step: FramingStep, width: int, height: int) -> tuple[int, int]:
    """Return the size that a step resizes the whole picture to."""
    if step.kind == StepKind.STRETCH:
        return step.width, step.height
    if step.kind == StepKind.CROP:
        return width, height
    if step.kind == StepKind.SHORTER:
        shorter = min(width, height)
        return step.width * width // shorter, step.width * height // shorter
    scale = min(step.width / width, step.height / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _placed(
    image: Image.Image, mask: Image.Image | None, step: FramingStep
) -> tuple[Image.Image, Image.Image | None]:
    """Centre the resized picture, and its mask, in the rectangle of a step; cut off the rest."""
    if step.kind == StepKind.SHORTER or image.size == (step.width, step.height):
        return image, mask
    colour = step.colour if step.kind == StepKind.PAD else (0, 0, 0)
    return _centred(image, step, colour), None if mask is None else _centred(mask, step, 0)


def _centred(image: Image.Image, step: FramingStep, colour: tuple[int, int, int] | int) -> Image.Image:
    canvas = Image.new(image.mode, (step.width, step.height), colour)
    canvas.paste(image, ((step.width - image.width) // 2, (step.height - image.height) // 2))
    return canvas
