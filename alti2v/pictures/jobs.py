"""Jobs of a decoder process: each runs in the child, and its answer is read in the parent.

Between them go JSON and bytes, nothing else.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from alti2v.arrays import Uint8Array
from alti2v.pictures.decode import DecodeFunction, Unusable, decodable, decode, decode_once
from alti2v.pictures.framing import Framing, FramingStep, framed_pixels
from alti2v.pictures.recipe import LUMINANCE_BYTES, ImageRecipe
from alti2v.pictures.square import (
    PreparedPicture,
    dataset_pixels,
    encoded_pixels,
    prepare_picture,
    preview,
)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class JobAnswer:
    """Answer of the child: facts as JSON, and bytes."""

    facts: Mapping[str, Any]
    body: bytes = b""


class DecoderJob(ABC, Generic[_T]):
    """A job with its settings, which JSON can hold."""

    @abstractmethod
    def run(self, content: bytes) -> JobAnswer | Unusable:
        """Do the job, in the child."""

    @abstractmethod
    def result(self, answer: JobAnswer, content: bytes | memoryview) -> _T:
        """Read the answer, in the parent."""


@dataclass(frozen=True)
class PrepareJob(DecoderJob[PreparedPicture]):
    """Make a picture of a dataset: `square.prepare_picture`."""

    recipe: ImageRecipe

    def run(self, content: bytes) -> JobAnswer | Unusable:
        """See `DecoderJob`."""
        picture = prepare_picture(content, self.recipe)
        if isinstance(picture, Unusable):
            return picture
        facts = {"source_width": picture.source_width, "source_height": picture.source_height}
        prepared = b"" if picture.content is content else picture.content  # the parent has it
        return JobAnswer(facts, picture.luminance + prepared)

    def result(self, answer: JobAnswer, content: bytes | memoryview) -> PreparedPicture:
        """See `DecoderJob`."""
        luminance, prepared = answer.body[:LUMINANCE_BYTES], answer.body[LUMINANCE_BYTES:]
        return PreparedPicture(content=prepared or bytes(content), luminance=luminance, **answer.facts)


@dataclass(frozen=True)
class PixelsJob(DecoderJob[Uint8Array]):
    """Make the pixels that a network trained on a dataset gets, (S, S, 3) uint8, RGB.

    They go through the dataset's JPEG, as the pictures of the training did.

    Attributes:
        recipe: Size and shape.
        is_square: True for pictures of a dataset, which have gone through it already if they have this size.
    """

    recipe: ImageRecipe
    is_square: bool = False

    def run(self, content: bytes) -> JobAnswer | Unusable:
        """See `DecoderJob`."""
        pixels = self.pixels(content, decode)
        return pixels if isinstance(pixels, Unusable) else JobAnswer({}, pixels.tobytes())

    def pixels(self, content: bytes, decoded_by: DecodeFunction) -> Uint8Array | Unusable:
        """Make the pixels, in the child."""
        prepared = dataset_pixels(content, self.recipe, decoded_by=decoded_by) if self.is_square else None
        return encoded_pixels(content, self.recipe, decoded_by=decoded_by) if prepared is None else prepared

    @property
    def shape(self) -> tuple[int, int, int]:
        """Lengths of the result."""
        return self.recipe.size, self.recipe.size, 3

    def result(self, answer: JobAnswer, content: bytes | memoryview) -> Uint8Array:
        """See `DecoderJob`."""
        del content
        return np.frombuffer(answer.body, np.uint8).reshape(self.shape)


@dataclass(frozen=True)
class FramedJob(DecoderJob[Uint8Array]):
    """Make the pixels that a published tagger gets: `framing.framed_pixels`."""

    framing: Framing

    def run(self, content: bytes) -> JobAnswer | Unusable:
        """See `DecoderJob`."""
        pixels = self.pixels(content, decode)
        return pixels if isinstance(pixels, Unusable) else JobAnswer({}, pixels.tobytes())

    def pixels(self, content: bytes, decoded_by: DecodeFunction) -> Uint8Array | Unusable:
        """Make the pixels, in the child."""
        return framed_pixels(content, self.framing, decoded_by=decoded_by)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the pixels: height, width and channels."""
        return self.framing.size, self.framing.size, self.framing.channels

    def result(self, answer: JobAnswer, content: bytes | memoryview) -> Uint8Array:
        """See `DecoderJob`."""
        del content
        return np.frombuffer(answer.body, np.uint8).reshape(self.shape)


@dataclass(frozen=True)
class SeveralPixelsJob(DecoderJob[tuple[Uint8Array, ...]]):
    """Give the pixels that several networks see of one picture, decoded once where the sizes allow it."""

    jobs: tuple[PixelsJob | FramedJob, ...]

    def run(self, content: bytes) -> JobAnswer | Unusable:
        """See `DecoderJob`."""
        decoded_by, parts = decode_once(), list[bytes]()
        for job in self.jobs:
            pixels = job.pixels(content, decoded_by)
            if isinstance(pixels, Unusable):
                return pixels
            parts.append(pixels.tobytes())
        return JobAnswer({}, b"".join(parts))

    def result(self, answer: JobAnswer, content: bytes | memoryview) -> tuple[Uint8Array, ...]:
        """See `DecoderJob`."""
        del content
        found, start = [], 0
        for job in self.jobs:
            count = math.prod(job.shape)
            found.append(np.frombuffer(answer.body, np.uint8, count, start).reshape(job.shape))
            start += count
        return tuple(found)


@dataclass(frozen=True)
class PreviewJob(DecoderJob[bytes]):
    """Make a JPEG to look at, its longer side at most `side` px: `square.preview`."""

    side: int

    def run(self, content: bytes) -> JobAnswer | Unusable:
        """See `DecoderJob`."""
        jpeg = preview(content, self.side)
        return jpeg if isinstance(jpeg, Unusable) else JobAnswer({}, jpeg)

    def result(self, answer: JobAnswer, content: bytes | memoryview) -> bytes:
        """See `DecoderJob`."""
        del content
        return answer.body


@dataclass(frozen=True)
class CheckJob(DecoderJob[None]):
    """Check that a picture can be decoded."""

    def run(self, content: bytes) -> JobAnswer | Unusable:
        """See `DecoderJob`."""
        header = decodable(content)
        decoded = header if isinstance(header, Unusable) else decode(content, header)
        return decoded if isinstance(decoded, Unusable) else JobAnswer({})

    def result(self, answer: JobAnswer, content: bytes | memoryview) -> None:
        """See `DecoderJob`."""


Jobs = Mapping[str, type[DecoderJob[Any]]]
JOBS: Jobs = {
    job.__name__: job for job in (PrepareJob, PixelsJob, FramedJob, SeveralPixelsJob, PreviewJob, CheckJob)
}


def as_request(job: DecoderJob[Any]) -> Mapping[str, Any]:
    """Return a job as JSON can hold it."""
    if isinstance(job, SeveralPixelsJob):
        return {"job": type(job).__name__, "jobs": [as_request(one) for one in job.jobs]}
    assert isinstance(job, PrepareJob | PixelsJob | FramedJob | PreviewJob | CheckJob)
    return {"job": type(job).__name__, **asdict(job)}


def job_of(request: Mapping[str, Any], jobs: Jobs = JOBS) -> DecoderJob[Any]:
    """Return the job that a request names."""
    settings = {**request}
    make = jobs[settings.pop("job")]
    if "jobs" in settings:
        settings["jobs"] = tuple(job_of(one, jobs) for one in settings["jobs"])
    if "recipe" in settings:
        settings["recipe"] = ImageRecipe(**settings["recipe"])
    if "framing" in settings:
        steps = tuple(
            FramingStep(**{**step, "colour": tuple(step["colour"])}) for step in settings["framing"]["steps"]
        )
        settings["framing"] = Framing(**{**settings["framing"], "steps": steps})
    return make(**settings)
