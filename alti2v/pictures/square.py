"""One picture of a dataset, usually a square, from the bytes of a file. Pure: bytes in, bytes out."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from alti2v.arrays import Uint8Array
from alti2v.pictures.decode import DecodedPicture, DecodeFunction, Unusable, decodable, decode, shown
from alti2v.pictures.header import ImageHeader
from alti2v.pictures.limits import MAX_ASPECT, MIN_SIDE_PX
from alti2v.pictures.recipe import LUMINANCE_SIDE_PX, ORIGINAL, ImageRecipe

# JPEGs are decoded at 1/2, 1/4 or 1/8 while 1.3 times the target size is left; then pixels are averaged in
# whole blocks while the same is left; a bicubic filter does the rest. docs/DECISIONS.md says what other
# choices cost and lose.
_REDUCING_GAP = 1.3
# For outputs smaller than the thumbnail's source, decode up to twice the output's side, so that the perceptual
# hash has enough detail.
_MIN_LUMINANCE_GAP = 2
_LUMINANCE_FROM_PX = 128  # minimum side that the luminances are made from, if the picture has as much
_LUMINANCE_REDUCING_GAP = 1.5  # like _REDUCING_GAP; averaging whole blocks first is far faster
_PREVIEW_QUALITY = 88


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedPicture:
    """A picture of the dataset.

    Attributes:
        content: File of the square picture, or the stored bytes if the recipe says so.
        source_width, source_height: Size of the stored picture according to its header, px.
        luminance: 64 x 64 luminances of the whole picture, row by row.
    """

    content: bytes
    source_width: int
    source_height: int
    luminance: bytes


def prepare_picture(content: bytes, recipe: ImageRecipe) -> PreparedPicture | Unusable:
    """Decode a picture, orient it, shrink it, place it on white, and encode it.

    The EXIF tag gives the orientation; transparency becomes white; colours become sRGB; 16-bit values are
    scaled; an animation contributes its first frame.
    """
    coarse = coarse_picture(content, lambda width, height: _target(width, height, recipe))
    if isinstance(coarse, Unusable):
        return coarse
    return PreparedPicture(
        content=content if recipe.format == ORIGINAL else _encoded(_square(coarse, recipe), recipe),
        source_width=coarse.header.width,
        source_height=coarse.header.height,
        luminance=_luminance(coarse.decoded).tobytes(),
    )


def encoded_pixels(
    content: bytes, recipe: ImageRecipe, *, decoded_by: DecodeFunction = decode
) -> Uint8Array | Unusable:
    """Return the square picture as readers of the dataset decode it: (S, S, 3) uint8, RGB."""
    coarse = coarse_picture(
        content, lambda width, height: _target(width, height, recipe), decoded_by=decoded_by
    )
    if isinstance(coarse, Unusable):
        return coarse
    square = _square(coarse, recipe)
    with Image.open(io.BytesIO(_encoded(square, recipe)), formats=(recipe.format,)) as image:
        return np.asarray(image)


def dataset_pixels(
    content: bytes, recipe: ImageRecipe, *, decoded_by: DecodeFunction = decode
) -> Uint8Array | Unusable | None:
    """Return the pixels of a JPEG that is a picture of a dataset of this recipe already; None if it is not."""
    header = decodable(content)
    if header != ImageHeader("JPEG", recipe.size, recipe.size):
        return None
    decoded = decoded_by(content, header)
    if isinstance(decoded, Unusable):
        return decoded
    return np.asarray(decoded.pixels) if decoded.pixels.mode == "RGB" else None


def preview(content: bytes, side: int) -> bytes | Unusable:
    """Return a JPEG of the whole picture as it is to be shown, on white, its longer side at most `side` px."""
    header = decodable(content)
    if isinstance(header, Unusable):
        return header
    decoded = decode(content, header, at_least=(side, side))
    if isinstance(decoded, Unusable):
        return decoded
    scale = min(1.0, side / max(header.width, header.height))
    size = max(1, round(header.width * scale)), max(1, round(header.height * scale))
    return _saved(shown(decoded, size, Image.Resampling.BICUBIC), "JPEG", quality=_PREVIEW_QUALITY)


@dataclass(frozen=True, slots=True)
class CoarsePicture:
    """A picture with few more pixels than are needed.

    Attributes:
        decoded: The pixels.
        header: Header of the file.
        target: (width, height) to resize it to, px, before it is turned as its orientation says.
    """

    decoded: DecodedPicture
    header: ImageHeader
    target: tuple[int, int]


def coarse_picture(
    content: bytes,
    target_of: Callable[[int, int], tuple[int, int]],
    *,
    gap: float = _REDUCING_GAP,
    decoded_by: DecodeFunction = decode,
) -> CoarsePicture | Unusable:
    """Decode, then average blocks of pixels while both uses of the picture still have more than they need.

    Args:
        content: The file.
        target_of: Maps (width, height) of the picture to the size that it is resized to, px.
        gap: Pixels to keep along a side, as a multiple of the resized side.
        decoded_by: Function that decodes the file.
    """
    header = decodable(content)
    if isinstance(header, Unusable):
        return header
    if reason := _unfit(header):
        return Unusable(reason)
    target = target_of(header.width, header.height)
    decoded = decoded_by(content, header, at_least=(_least(target[0], gap), _least(target[1], gap)))
    if isinstance(decoded, Unusable):
        return decoded
    width, height = decoded.size
    across = int(width / max(target[0], _LUMINANCE_FROM_PX) / gap) or 1
    down = int(height / max(target[1], _LUMINANCE_FROM_PX) / gap) or 1
    return CoarsePicture(_reduced(decoded, across, down), header, target)


def _unfit(header: ImageHeader) -> str:
    shorter, longer = sorted((header.width, header.height))
    if shorter < MIN_SIDE_PX:
        return "too_small"
    return "too_narrow" if longer > MAX_ASPECT * shorter else ""


def _target(width: int, height: int, recipe: ImageRecipe) -> tuple[int, int]:
    """Size of the whole picture before it is centred in the square."""
    if recipe.fit == "squash":
        return recipe.size, recipe.size
    if recipe.fit == "area":
        scale = min(1.0, recipe.size / math.sqrt(width * height))
        return max(1, math.floor(width * scale)), max(1, math.floor(height * scale))
    if recipe.fit == "within":
        scale = min(1.0, recipe.size / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))
    scale = recipe.size / (min if recipe.fit == "crop" else max)(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _least(side: int, gap: float) -> int:
    """Pixels of a JPEG to keep along a side that will have `side` of them."""
    return max(math.ceil(gap * side), min(_MIN_LUMINANCE_GAP * side, _LUMINANCE_FROM_PX))


def _reduced(decoded: DecodedPicture, across: int, down: int) -> DecodedPicture:
    if across == down == 1:
        return decoded
    width, height = decoded.size
    pixels = decoded.pixels.reduce((across, down))
    return replace(decoded, pixels=pixels, size=(width / across, height / down))


def _luminance(decoded: DecodedPicture) -> Image.Image:
    """The whole picture, grey and small, to compare it with others."""
    if decoded.pixels.mode == "RGB" and not decoded.icc:
        decoded = replace(decoded, pixels=decoded.pixels.convert("L"))  # a third of the numbers to average
    across, down = (int(side / LUMINANCE_SIDE_PX / _LUMINANCE_REDUCING_GAP) or 1 for side in decoded.size)
    decoded = _reduced(decoded, across, down)
    return shown(decoded, (LUMINANCE_SIDE_PX, LUMINANCE_SIDE_PX), Image.Resampling.BOX).convert("L")


def _square(coarse: CoarsePicture, recipe: ImageRecipe) -> Image.Image:
    """The picture in the middle of a white square, cut where it is larger; or alone, if it keeps its shape."""
    image = shown(coarse.decoded, coarse.target, Image.Resampling.BICUBIC)
    if recipe.keeps_shape:
        return image
    square = Image.new("RGB", (recipe.size, recipe.size), "white")
    square.paste(image, ((recipe.size - image.width) // 2, (recipe.size - image.height) // 2))
    return square


def _encoded(square: Image.Image, recipe: ImageRecipe) -> bytes:
    if recipe.format == "WEBP":
        return _saved(square, "WEBP", quality=recipe.quality)
    return _saved(square, "JPEG", quality=recipe.quality, subsampling=recipe.chroma)


def _saved(image: Image.Image, image_format: str, **options: int | str) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()
