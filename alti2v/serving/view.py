"""Contents of the page: tags, a prompt and a heat map of one picture. Pure, without Gradio.

A picture goes through the network once; moving a slider costs no forward pass.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from alti2v.arrays import Float32Array, Uint8Array
from alti2v.errors import DataError
from alti2v.model.options.choices import RATING
from alti2v.model.options.tagging import CaptionStyle
from alti2v.model.tagging.captions import caption
from alti2v.model.tagging.heatmap import HeatMap
from alti2v.model.tagging.preprocess import Problem, pixels
from alti2v.model.tagging.selection import (
    Criterion,
    RelatingFunction,
    ScoredTag,
    Selection,
    group,
    passing,
    ratings,
    select,
)
from alti2v.model.tagging.tagger import Tagger, UntaggedPicture, predictions
from alti2v.model.vocabulary import OutputTags
from alti2v.pictures.header import PictureRefusal, read_header
from alti2v.report.neighbours import thumbnail
from alti2v.serving.config import UploadLimits
from alti2v.storage.layout import MODEL_DIR

MEGABYTE = 10**6
_SHOWN_PX = 720
# Image generators expect spaces instead of underscores, and take a bare parenthesis for emphasis.
_PROMPT = CaptionStyle(spaces=True, escape=True)
_WEAK, _STRONG = np.array([255, 196, 0]), np.array([214, 0, 64])  # colours of the heat map
_QUALITY = 88


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysedPicture:
    """A picture and the network's output for it.

    Attributes:
        probabilities: (T,) float32.
        features: (F,) float32; None if the model gives no vectors.
        pixels: (S, S, 3) uint8 RGB, the network's input.
        shown: JPEG of the whole picture, at most 720 px.
    """

    probabilities: Float32Array
    features: Float32Array | None
    pixels: Uint8Array
    shown: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedTags:
    """Tags of a picture at given thresholds.

    Attributes:
        groups: Category -> tags that pass, the most probable first; every category of the model but the rating.
        ratings: All ratings with their probabilities, the most probable first.
        prompt: The tags as text for an image generator.
    """

    groups: Mapping[str, list[ScoredTag]]
    ratings: tuple[tuple[str, float], ...]
    prompt: str


def analyse(tagger: Tagger, content: bytes, limits: UploadLimits) -> AnalysedPicture:
    """Send a picture through the network.

    Raises:
        DataError: The file is larger than the limits, or not a usable picture.
    """
    _require_small(content, limits)
    (result,) = predictions(tagger, [("picture", content)])
    if isinstance(result, UntaggedPicture):
        raise DataError(f"this file cannot be used: {result.problem.words}")
    square = pixels(content, tagger.preprocessing)
    assert not isinstance(square, Problem), "the tagger has just decoded it"
    return AnalysedPicture(
        probabilities=result.probabilities,
        features=result.features,
        pixels=square,
        shown=thumbnail(content, side=_SHOWN_PX) or _jpeg(Image.fromarray(square)),
    )


def page_title(model: Path) -> str:
    """Return the title of a model's page: the program, and the folder of the model or of its run."""
    folder = model.resolve()
    return f"alti2v: {(folder.parent if folder.name == MODEL_DIR else folder).name}"


def default_thresholds(tagger: Tagger) -> dict[str, float]:
    """Return the thresholds of `alti2v tag` without options, for every category but the rating.

    Where the tags of a category have thresholds of their own, it is the one in the middle.
    """
    own = tagger.own_thresholds()
    return {
        name: float(str(np.sort(own[members])[len(members) // 2]))
        for name, members in tagger.vocabulary.members.items()
        if name != RATING
    }


def slider_values(thresholds: Mapping[str, float]) -> dict[str, float]:
    """Round thresholds to what a slider shows, at most 3 significant digits."""
    return {category: round(threshold, 3) for category, threshold in thresholds.items()}


def moved_thresholds(sliders: Sequence[float], defaults: Mapping[str, float]) -> dict[str, float]:
    """Return the thresholds of sliders that were moved; untouched sliders keep the model's own."""
    shown = slider_values(defaults)
    return {
        category: value for category, value in zip(defaults, sliders, strict=True) if value != shown[category]
    }


def select_tags(
    probabilities: Float32Array,
    vocabulary: OutputTags,
    thresholds: Mapping[str, float],
    *,
    own: Float32Array | None = None,
    relate: RelatingFunction | None = None,
) -> SelectedTags:
    """Select the tags of a picture.

    Args:
        probabilities: (T,) of the picture.
        vocabulary: Outputs of the model.
        thresholds: Category -> least probability of a tag.
        own: (T,) thresholds of the tags of categories that are not named; None for 1.
        relate: Function that applies relations to the tags that pass; None to apply none.

    Raises:
        UsageError: A category does not exist, or a threshold is not in [0, 1].
    """
    criterion = Criterion(threshold=1.0 if own is None else None, by_category=thresholds, own=own)
    tags = select(
        probabilities,
        passing(probabilities[None], vocabulary, criterion)[0],
        vocabulary,
        Selection(relate=relate),
    )
    return SelectedTags(
        groups=group(tags, vocabulary),
        ratings=tuple(ratings(probabilities, vocabulary)),
        prompt=caption([tag.name for tag in tags], _PROMPT),
    )


def draw_heat_map(shown: bytes, heat: HeatMap) -> bytes | None:
    """Draw a heat map over a picture as a JPEG; None if no part of the picture supports the tag.

    The picture turns grey, and colour shows support for the tag, from yellow to red where it is strongest.
    Evidence against the tag is not shown.

    Args:
        shown: JPEG of `AnalysedPicture.shown`.
        heat: Heat map of the white square around it.
    """
    strongest = float(heat.values.max())
    if strongest <= 0:
        return None
    with Image.open(io.BytesIO(shown)) as image:
        grey = np.asarray(image.convert("L"), np.float32)[..., np.newaxis]
    height, width = grey.shape[:2]
    side = max(width, height)
    square = Image.fromarray((heat.values / strongest).clip(0, 1)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    left, top = (side - width) // 2, (side - height) // 2
    share = np.asarray(square.crop((left, top, left + width, top + height))).clip(0, 1)[..., np.newaxis]
    colour = _WEAK + (_STRONG - _WEAK) * share
    veiled = 64 + 0.65 * grey  # mid-tones, on which the colours stay visible
    mixed = veiled + (colour - veiled) * 0.8 * share
    return _jpeg(Image.fromarray(mixed.astype(np.uint8)))


def _require_small(content: bytes, limits: UploadLimits) -> None:
    if len(content) > limits.megabytes * MEGABYTE:
        raise DataError(
            f"this file has {len(content) / MEGABYTE:.1f} MB, and at most {limits.megabytes:g} MB are allowed: "
            "send a smaller one"
        )
    header = read_header(content)
    if isinstance(header, PictureRefusal):
        return  # the tagger names the problem
    count = header.width * header.height
    if count > limits.megapixels * 10**6:
        raise DataError(
            f"this picture has {count / 10**6:.1f} million pixels, and at most {limits.megapixels:g} million "
            "are allowed: send a smaller one"
        )


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
