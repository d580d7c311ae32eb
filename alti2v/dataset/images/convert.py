"""Conversion of one picture to a square picture of the dataset. Pure: bytes in, bytes out.

Pillow opens only the formats that `layout` lists, and no picture can raise an exception in the caller: an
unusable one is returned as a reason.
"""

from __future__ import annotations

import functools
import io
import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from alti2v.dataset.manifest import ORIGINAL, ImageRecipe
from alti2v.dataset.plan.near_duplicates import APPEARANCE_VERSION, LUMINANCE_SIDE_PX
from alti2v.storage.layout import IMAGE_SUFFIX_OF_FORMAT

MAX_PIXELS = 50_000_000  # according to the header, before decoding; 200 MB at 4 bytes each
MIN_SIDE_PX = 16
MAX_ASPECT = 20.0  # a longer strip would be narrower than 12 px in a square of 224
# JPEGs are decoded at 1/2, 1/4 or 1/8 while 1.3 times the target size is left; then pixels are averaged in
# whole blocks while the same is left; a bicubic filter does the rest. docs/DECISIONS.md says what other
# choices cost and lose.
_REDUCING_GAP = 1.3
# For outputs smaller than the thumbnail's source, decode up to twice the output's side, so that the perceptual
# hash has enough detail.
_MIN_LUMINANCE_GAP = 2
_LUMINANCE_FROM_PX = 128  # minimum side that the luminances are made from, if the picture has as much
_LUMINANCE_REDUCING_GAP = 1.5  # like _REDUCING_GAP; averaging whole blocks first is far faster
_STARTS = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG", "GIF": b"GIF8", "WEBP": b"RIFF"}
_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # CIPA DC-008 (Exif 2.32), table 6: the inverse of each value of the tag Orientation


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


@dataclass(frozen=True, slots=True)
class Unusable:
    """A picture that cannot be used.

    Attributes:
        reason: "not_image", "too_large", "too_small", "too_narrow" or "damaged"; from a decoder process also
            "too_slow" or "crashed".
    """

    reason: str


def prepare_picture(content: bytes, recipe: ImageRecipe) -> PreparedPicture | Unusable:
    """Decode a picture, orient it, shrink it, place it on white, and encode it.

    The EXIF tag gives the orientation; transparency becomes white; colours become sRGB; 16-bit values are
    scaled; an animation contributes its first frame.
    """
    shaped = _shaped(content, recipe, with_luminance=True)
    if isinstance(shaped, Unusable):
        return shaped
    assert shaped.luminance is not None
    return PreparedPicture(
        content=content if recipe.format == ORIGINAL else _encoded(shaped.square, recipe),
        source_width=shaped.width,
        source_height=shaped.height,
        luminance=shaped.luminance.tobytes(),
    )


def appearance_recipe(recipe: ImageRecipe) -> str:
    """Name the recipe of hashes and thumbnails; those of different recipes cannot be compared.

    The decoded pixels of a JPEG depend on the requested size, which may change a hash.
    """
    return f"{APPEARANCE_VERSION}, {recipe.size} px {recipe.fit}"


def square_pixels(content: bytes, recipe: ImageRecipe) -> npt.NDArray[np.uint8] | Unusable:
    """Return the square picture before it is encoded: (S, S, 3) uint8, RGB."""
    shaped = _shaped(content, recipe, with_luminance=False)
    return shaped if isinstance(shaped, Unusable) else np.asarray(shaped.square)


def encoded_pixels(content: bytes, recipe: ImageRecipe) -> npt.NDArray[np.uint8] | Unusable:
    """Return the square picture as readers of the dataset decode it: (S, S, 3) uint8, RGB."""
    shaped = _shaped(content, recipe, with_luminance=False)
    if isinstance(shaped, Unusable):
        return shaped
    with Image.open(io.BytesIO(_encoded(shaped.square, recipe)), formats=(recipe.format,)) as square:
        return np.asarray(square)


def picture_suffix(content: bytes) -> str:
    """Return the member suffix of a picture of the dataset, by the first bytes of its format."""
    return next(
        IMAGE_SUFFIX_OF_FORMAT[format_] for format_, start in _STARTS.items() if content.startswith(start)
    )


@dataclass(frozen=True, slots=True)
class _Shaped:
    """A picture in its final shape.

    Attributes:
        square: The square picture.
        luminance: Grey 64 x 64 picture for hash and thumbnail, if requested.
        width, height: Size of the stored picture, px.
    """

    square: Image.Image
    luminance: Image.Image | None
    width: int
    height: int


def _shaped(content: bytes, recipe: ImageRecipe, *, with_luminance: bool) -> _Shaped | Unusable:
    with warnings.catch_warnings():
        # Pillow warns about odd metadata; serious faults raise an exception or fail the size check below.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(content), formats=tuple(IMAGE_SUFFIX_OF_FORMAT))
        except UnidentifiedImageError:
            return Unusable("not_image")
        except Image.DecompressionBombError:
            return Unusable("too_large")
        except Exception:  # noqa: BLE001 - decoders raise nearly anything on hostile bytes
            return Unusable("damaged")
        with image:
            width, height = image.size
            if reason := _unfit(width, height):
                return Unusable(reason)
            try:
                target = _target(width, height, recipe)
                coarse = _coarse(_decoded(image, target), target)
                small = _shown(coarse, target, Image.Resampling.BICUBIC)
                luminance = _luminance(coarse) if with_luminance else None
            except MemoryError:
                return Unusable("too_large")
            except Exception:  # noqa: BLE001 - as above
                return Unusable("damaged")
    return _Shaped(_centred(small, recipe.size), luminance, width, height)


def _unfit(width: int, height: int) -> str:
    if width * height > MAX_PIXELS:
        return "too_large"
    if min(width, height) < MIN_SIDE_PX:
        return "too_small"
    return "too_narrow" if max(width, height) > MAX_ASPECT * min(width, height) else ""


def _target(width: int, height: int, recipe: ImageRecipe) -> tuple[int, int]:
    """Return the size of the whole picture before it is centred in the square."""
    if recipe.fit == "squash":
        return recipe.size, recipe.size
    scale = recipe.size / (min if recipe.fit == "crop" else max)(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoded:
    """Pixels in a mode that can be resized.

    Attributes:
        size: (width, height) of the picture in these pixels; the last pixels may extend beyond its edge.
        icc: Colour profile, if there is one.
        orientation: Value of the EXIF tag Orientation.
    """

    pixels: Image.Image
    size: tuple[float, float]
    icc: bytes | None
    orientation: int | None


def _decoded(image: Image.Image, target: tuple[int, int]) -> _Decoded:
    # A square request would make Pillow decode at full size, because the draft keeps BOTH sides above it.
    drafted = image.draft(image.mode, (_least(target[0]), _least(target[1])))
    orientation = _orientation(image)
    icc = image.info.get("icc_profile")
    pixels = _in_plain_mode(image)
    # With an odd side, half a pixel of the draft is outside the picture; ignoring it would blur lines.
    size = pixels.size if drafted is None else drafted[1][2:]
    return _Decoded(pixels=pixels, size=size, icc=icc, orientation=orientation)


def _least(side: int) -> int:
    """Return the number of pixels that a JPEG must keep along a side that will have `side` pixels."""
    return max(math.ceil(_REDUCING_GAP * side), min(_MIN_LUMINANCE_GAP * side, _LUMINANCE_FROM_PX))


def _coarse(decoded: _Decoded, target: tuple[int, int]) -> _Decoded:
    """Average whole blocks of pixels while more pixels are left than any use of the picture needs."""
    width, height = decoded.size
    across = int(width / max(target[0], _LUMINANCE_FROM_PX) / _REDUCING_GAP) or 1
    down = int(height / max(target[1], _LUMINANCE_FROM_PX) / _REDUCING_GAP) or 1
    return _reduced(decoded, across, down)


def _reduced(decoded: _Decoded, across: int, down: int) -> _Decoded:
    if across == down == 1:
        return decoded
    width, height = decoded.size
    pixels = decoded.pixels.reduce((across, down))
    return replace(decoded, pixels=pixels, size=(width / across, height / down))


def _shown(decoded: _Decoded, size: tuple[int, int], resampling: Image.Resampling) -> Image.Image:
    """Return the whole picture, RGB on white, in a size; some orientations swap its sides."""
    small = decoded.pixels.resize(size, resampling, box=(0, 0, *decoded.size))
    rgb = _on_white(small) if small.mode == "RGBa" else _in_srgb(small, decoded.icc)
    return rgb.transpose(_ORIENTATION[decoded.orientation]) if decoded.orientation in _ORIENTATION else rgb


def _luminance(decoded: _Decoded) -> Image.Image:
    """Return the whole picture, grey and 64 x 64, for hash and thumbnail."""
    if decoded.pixels.mode == "RGB" and not decoded.icc:
        decoded = replace(decoded, pixels=decoded.pixels.convert("L"))  # a third of the values to average
    across, down = (int(side / LUMINANCE_SIDE_PX / _LUMINANCE_REDUCING_GAP) or 1 for side in decoded.size)
    decoded = _reduced(decoded, across, down)
    return _shown(decoded, (LUMINANCE_SIDE_PX, LUMINANCE_SIDE_PX), Image.Resampling.BOX).convert("L")


def _orientation(image: Image.Image) -> int | None:
    try:
        value: int | None = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - a picture with broken EXIF is still usable
        return None
    return value


def _in_plain_mode(image: Image.Image) -> Image.Image:
    """Decode into a mode that can be resized: L, RGB, CMYK, or RGBa if anything is transparent."""
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        # Premultiplied, so that the colour of invisible pixels does not bleed into visible ones.
        return rgba.convert("RGBa") if rgba.getchannel("A").getextrema() != (255, 255) else rgba.convert("RGB")
    if image.mode.startswith("I"):
        # 16 bits to 8; Pillow's own conversion would clip.
        return Image.fromarray((np.asarray(image, np.int32) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode in ("L", "RGB", "CMYK"):
        image.load()
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _on_white(premultiplied: Image.Image) -> Image.Image:
    pixels = np.asarray(premultiplied, np.uint16)
    return Image.fromarray(np.minimum(pixels[..., :3] + (255 - pixels[..., 3:]), 255).astype(np.uint8))


def _in_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    if icc:
        try:
            converted = ImageCms.applyTransform(image, _to_srgb(icc, image.mode))
        except (ImageCms.PyCMSError, ValueError, OSError):
            pass  # a broken profile, or one for another mode: use the values as they are
        else:
            if converted is not None:
                return converted
    return image.convert("RGB")


@functools.lru_cache(maxsize=16)  # few profiles are common, and creating a transform takes 1 ms
def _to_srgb(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")


def _centred(image: Image.Image, side: int) -> Image.Image:
    """Centre a picture in a white square; what is larger than the square is cut."""
    square = Image.new("RGB", (side, side), "white")
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def _encoded(image: Image.Image, recipe: ImageRecipe) -> bytes:
    file = io.BytesIO()
    if recipe.format == "WEBP":
        image.save(file, "WEBP", quality=recipe.quality)
    else:
        image.save(file, "JPEG", quality=recipe.quality, subsampling=recipe.chroma)
    return file.getvalue()
