"""What the page shows of a picture: tags, a prompt, a heat-map, nearest pictures. Pure; Gradio lies above.

A picture goes through the network once. What is kept of it is enough for every later question, so that moving
a slider costs no forward pass.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from alti2v.dataset.images.convert import MAX_PIXELS
from alti2v.errors import DataError
from alti2v.model.arrays import Uint8Array
from alti2v.model.tag import DEFAULT_THRESHOLD
from alti2v.model.tagging.captions import CaptionStyle, caption
from alti2v.model.tagging.heatmap import HeatMap
from alti2v.model.tagging.preprocess import Problem, pixels
from alti2v.model.tagging.selection import (
    Criterion,
    Probabilities,
    ScoredTag,
    Wish,
    group,
    passing,
    ratings,
    select,
)
from alti2v.model.tagging.tagger import Features, Tagger, UntaggedPicture, predictions
from alti2v.model.vocabulary import RATING, OutputTags
from alti2v.report.neighbours import thumbnail
from alti2v.storage.layout import IMAGE_SUFFIX_OF_FORMAT

MEGABYTE = 10**6
_SHOWN_PX = 720
# What image generators read: blanks for underscores, and no parenthesis that they take for emphasis.
_PROMPT = CaptionStyle(spaces=True, escape=True)
_COOL, _WARM = np.array([255, 196, 0]), np.array([214, 0, 64])  # of a weak and of the strongest place
_QUALITY = 88


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be handed in.

    Attributes:
        megabytes: of the file, 10^6 bytes each.
        megapixels: of the decoded picture.
    """

    megabytes: float = 20.0
    megapixels: float = MAX_PIXELS / 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewedPicture:
    """A picture that went through the network.

    Attributes:
        probabilities: (T,) float32.
        features: (F,) float32; None where the model gives no vectors.
        pixels: (S, S, 3) uint8, RGB: what the network saw.
        shown: a JPEG of the whole picture, at most 720 px.
    """

    probabilities: Probabilities
    features: Features | None
    pixels: Uint8Array
    shown: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenTags:
    """What a picture's tags are at certain thresholds.

    Attributes:
        groups: category -> tags that pass, the most probable first; every category of the model but the rating.
        ratings: all of them with their probabilities, the most probable first.
        prompt: the tags as text for an image generator.
    """

    groups: Mapping[str, list[ScoredTag]]
    ratings: tuple[tuple[str, float], ...]
    prompt: str


def look_at(tagger: Tagger, content: bytes, limits: Limits) -> ViewedPicture:
    """Send a picture through the network.

    Raises:
        DataError: it is larger than the limits allow, or no picture.
    """
    _require_small(content, limits)
    (result,) = predictions(tagger, [("picture", content)])
    if isinstance(result, UntaggedPicture):
        raise DataError(f"this file cannot be used: {result.problem.words}")
    square = pixels(content, tagger.preparation)
    assert not isinstance(square, Problem), "it was none a moment ago"
    return ViewedPicture(
        probabilities=result.probabilities,
        features=result.features,
        pixels=square,
        shown=thumbnail(content, side=_SHOWN_PX) or _jpeg(Image.fromarray(square)),
    )


def default_thresholds(tagger: Tagger) -> dict[str, float]:
    """The thresholds of `alti2v tag` without options, for every category of the model but the rating."""
    threshold = DEFAULT_THRESHOLD if tagger.threshold is None else tagger.threshold
    return {name: threshold for name in tagger.vocabulary.members if name != RATING}


def judge(probabilities: Probabilities, vocabulary: OutputTags, thresholds: Mapping[str, float]) -> ChosenTags:
    """Tell the tags of a picture.

    Args:
        probabilities: (T,).
        vocabulary: of the model.
        thresholds: category -> what a tag's probability has to exceed; 1 for a category that is not named.

    Raises:
        UsageError: no such category, or a threshold outside [0, 1].
    """
    criterion = Criterion(threshold=1.0, by_category=thresholds)
    tags = select(probabilities, passing(probabilities[None], vocabulary, criterion)[0], vocabulary, Wish())
    return ChosenTags(
        groups=group(tags, vocabulary),
        ratings=tuple(ratings(probabilities, vocabulary)),
        prompt=caption([tag.name for tag in tags], _PROMPT),
    )


def heat_picture(shown: bytes, heat: HeatMap) -> bytes | None:
    """Lay a heat-map over a picture: a JPEG, or None where no place speaks for the tag.

    The picture turns grey, so that colour means only the tag: from yellow to red at its strongest place. What
    speaks against the tag is not shown.

    Args:
        shown: of `Look`; the map is of the white square around it.
        heat: of the tag.
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
    colour = _COOL + (_WARM - _COOL) * share
    veiled = 64 + 0.65 * grey  # between dark and light, on both of which colour shows
    mixed = veiled + (colour - veiled) * 0.8 * share
    return _jpeg(Image.fromarray(mixed.astype(np.uint8)))


def _require_small(content: bytes, limits: Limits) -> None:
    if len(content) > limits.megabytes * MEGABYTE:
        raise DataError(
            f"this file has {len(content) / MEGABYTE:.1f} MB, and {limits.megabytes:g} MB are allowed: "
            "send a smaller one"
        )
    try:
        with Image.open(io.BytesIO(content), formats=tuple(IMAGE_SUFFIX_OF_FORMAT)) as image:
            count = image.width * image.height
    except Exception:  # noqa: BLE001 - hostile bytes raise nearly anything; the tagger says what is wrong
        return
    if count > limits.megapixels * 10**6:
        raise DataError(
            f"this picture has {count / 10**6:.1f} million pixels, and {limits.megapixels:g} million are "
            "allowed: send a smaller one"
        )


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
