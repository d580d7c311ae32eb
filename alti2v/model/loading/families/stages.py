"""Stages of a preparation as imgutils' `preprocess.json` writes them. Pure.

The stages are dghs-imgutils' (imgutils/preprocess/pillow.py): pad_to_size, resize, center_crop, to_tensor,
maybe_to_tensor, normalize. Pixels become values from 0 to 1 before they are normalised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import ImageColor

from alti2v.model.loading.description import Channels
from alti2v.pictures.framing import Framing, FramingStep, StepKind
from alti2v.storage.documents import is_of

_MOST = 1e6  # of a mean or a standard deviation; those of published models are below 256
_NUMBERED_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationStages:
    """Preparation that a list of stages describes.

    Attributes:
        framing: Steps that make the square.
        mean, std: Mean and standard deviation of values from 0 to 1, in the order red, green, blue.
    """

    framing: Framing
    mean: Channels = (0.0, 0.0, 0.0)
    std: Channels = (1.0, 1.0, 1.0)

    @property
    def is_normalised(self) -> bool:
        """True if the values are changed."""
        return any(self.mean) or set(self.std) != {1.0}


def read_stages(stages: object, file: str) -> PreparationStages:
    """Read a list of stages.

    Raises:
        ValueError: A stage is unknown, or they do not end in a square.
    """
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise ValueError(f"{file} holds no list of stages")
    try:
        return _stages(stages, file)
    except ValueError as exc:
        raise ValueError(str(exc) if str(exc).startswith(file) else f"{file}: {exc}") from exc


def _stages(stages: Sequence[Mapping[str, Any]], file: str) -> PreparationStages:
    steps: list[FramingStep] = []
    normalisation: tuple[Channels, Channels] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    for stage in stages:
        kind = stage.get("type")
        if kind == "normalize":
            normalisation = channels(stage.get("mean"), file), deviations(stage.get("std"), file)
        elif kind in ("pad_to_size", "resize", "center_crop"):
            steps += _steps(stage, file)
        elif kind not in ("to_tensor", "maybe_to_tensor", "convert_rgb"):
            raise ValueError(f"{file} has a stage {kind!r:.40}, which is not known")
    return PreparationStages(framing=Framing(steps=tuple(steps)), mean=normalisation[0], std=normalisation[1])


def channels(value: object, file: str) -> Channels:
    """Read three numbers, or one for all channels.

    Raises:
        ValueError: It is neither a list of three numbers nor one number.
    """
    numbers: list[Any] = value if isinstance(value, list) else [value] * 3
    if len(numbers) != 3 or not all(is_of(one, float) and abs(one) <= _MOST for one in numbers):
        raise ValueError(f"{file} has {value!r:.60} instead of a number for each channel")
    red, green, blue = (float(one) for one in numbers)
    return red, green, blue


def deviations(value: object, file: str) -> Channels:
    """Read the standard deviation of each channel, or one for all.

    Raises:
        ValueError: It is something else, or not above 0.
    """
    found = channels(value, file)
    if min(found) <= 0:
        raise ValueError(
            f"{file} has the std {value!r:.60}, and values are divided by it: it has to be above 0"
        )
    return found


def colour(value: object, file: str) -> tuple[int, int, int]:
    """Read a colour: a name, or red, green and blue from 0 to 255.

    Raises:
        ValueError: It is not a colour.
    """
    if isinstance(value, str):
        try:
            found = ImageColor.getrgb(value)[:3]
        except ValueError as exc:
            raise ValueError(f"{file} has {value!r:.60} instead of a colour") from exc
        return found[0], found[1], found[2]
    numbers: list[Any] = value if isinstance(value, list) else [value] * 3
    if len(numbers) != 3 or not all(is_of(one, int) and 0 <= one <= 255 for one in numbers):
        raise ValueError(f"{file} has {value!r:.60} instead of a colour")
    return numbers[0], numbers[1], numbers[2]


def _steps(stage: Mapping[str, Any], file: str) -> list[FramingStep]:
    size, kind = stage.get("size"), stage["type"]
    sides = [size] if isinstance(size, int) else size
    if (
        not isinstance(sides, list)
        or len(sides) not in (1, 2)
        or not all(isinstance(one, int) for one in sides)
    ):
        raise ValueError(f"{file} has the size {size!r:.40} in a stage {kind!r}")
    step = {"width": sides[-1], "height": sides[0]}
    resampling = _resampling(stage.get("interpolation", "bilinear"), file)
    if kind == "center_crop":
        return [FramingStep(kind=StepKind.CROP, **step)]
    if kind == "pad_to_size":
        padding = colour(stage.get("background_color", "white"), file)
        return [FramingStep(kind=StepKind.PAD, **step, resampling=resampling, colour=padding)]
    if len(sides) == 2:
        return [FramingStep(kind=StepKind.STRETCH, **step, resampling=resampling)]
    return [FramingStep(kind=StepKind.SHORTER, **step, resampling=resampling)]


def _resampling(value: object, file: str) -> str:
    name = _NUMBERED_FILTERS.get(value) if isinstance(value, int) else value
    if not isinstance(name, str):
        raise ValueError(f"{file} has the filter {value!r:.40}")  # noqa: TRY004 - a fault of the file
    return name.lower()
