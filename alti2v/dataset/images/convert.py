"""One picture as it came -> one square picture of the dataset. Pure: bytes in, bytes out.

Pillow opens only the formats that `layout` lists, and nothing that a picture holds can stop the caller:
what cannot be used comes back as a reason.
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

MAX_PIXELS = 50_000_000  # decoded, at 4 bytes each: 200 MB; by the header, before anything is decoded
MIN_SIDE_PX = 16
MAX_ASPECT = 20.0  # a longer strip would be narrower than 12 px in a square of 224
# JPEGs are decoded at 1/2, 1/4 or 1/8 as long as 1.3 times the wanted size is left; then pixels are averaged in
# whole blocks as long as the same is left; a bicubic filter does the rest. docs/DECISIONS.md says what other
# choices cost and lose.
_REDUCING_GAP = 1.3
# Of pictures smaller than itself the luminance wants more pixels than they do: up to so many times theirs.
_MIN_LUMINANCE_GAP = 2
_LUMINANCE_FROM_PX = 128  # the luminance is made of so many pixels at least along a side that has them
_LUMINANCE_REDUCING_GAP = 1.5  # whole blocks first here, too, which is far faster
_STARTS = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG", "GIF": b"GIF8", "WEBP": b"RIFF"}
_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # CIPA DC-008 (Exif 2.32), table 6: what undoes each value of the tag Orientation


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedPicture:
    """A picture of the dataset.

    Attributes:
        content: the square picture as a file, or the bytes as they came if the recipe says so.
        source_width, source_height: of the stored picture as its header says, px.
        luminance: the whole picture, 64 x 64 luminances, row by row.
    """

    content: bytes
    source_width: int
    source_height: int
    luminance: bytes


@dataclass(frozen=True, slots=True)
class Unusable:
    """A picture that the dataset does without.

    Attributes:
        reason: "not_image", "too_large", "too_small", "too_narrow" or "damaged"; from a decoder process also
            "too_slow" or "crashed".
    """

    reason: str


def prepare_picture(content: bytes, recipe: ImageRecipe) -> PreparedPicture | Unusable:
    """Decode, orient, reduce, put on white, and encode.

    Orientation is the EXIF tag's; transparency shows white; colours are sRGB; 16-bit values are scaled; of
    an animation the first frame counts.
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
    """Names how hashes and thumbnails are made: those of two recipes cannot be compared.

    What a JPEG is decoded to depends on the size that is wanted, and a hash may notice.
    """
    return f"{APPEARANCE_VERSION}, {recipe.size} px {recipe.fit}"


def square_pixels(content: bytes, recipe: ImageRecipe) -> npt.NDArray[np.uint8] | Unusable:
    """The same picture before it is encoded: (S, S, 3) uint8, RGB."""
    shaped = _shaped(content, recipe, with_luminance=False)
    return shaped if isinstance(shaped, Unusable) else np.asarray(shaped.square)


def encoded_pixels(content: bytes, recipe: ImageRecipe) -> npt.NDArray[np.uint8] | Unusable:
    """The same picture after it was encoded, as who reads the dataset sees it: (S, S, 3) uint8, RGB."""
    shaped = _shaped(content, recipe, with_luminance=False)
    if isinstance(shaped, Unusable):
        return shaped
    with Image.open(io.BytesIO(_encoded(shaped.square, recipe)), formats=(recipe.format,)) as square:
        return np.asarray(square)


def picture_suffix(content: bytes) -> str:
    """The member suffix of a picture that the dataset holds, by the first bytes of its format."""
    return next(
        IMAGE_SUFFIX_OF_FORMAT[format_] for format_, start in _STARTS.items() if content.startswith(start)
    )


@dataclass(frozen=True, slots=True)
class _Shaped:
    """A picture in its final shape; `look`: grey and small, for comparing it with others."""

    square: Image.Image
    luminance: Image.Image | None
    width: int
    height: int


def _shaped(content: bytes, recipe: ImageRecipe, *, with_luminance: bool) -> _Shaped | Unusable:
    with warnings.catch_warnings():
        # Pillow warns of odd metadata; what matters ends in an exception or in the size check below.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(content), formats=tuple(IMAGE_SUFFIX_OF_FORMAT))
        except UnidentifiedImageError:
            return Unusable("not_image")
        except Image.DecompressionBombError:
            return Unusable("too_large")
        except Exception:  # noqa: BLE001 - decoders fed with hostile bytes raise nearly anything
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
    """The size of the whole picture before it is centred in the square."""
    if recipe.fit == "squash":
        return recipe.size, recipe.size
    scale = recipe.size / (min if recipe.fit == "crop" else max)(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoded:
    """Pixels in a mode that can be resized, and what the file says about how to show them.

    Attributes:
        size: (width, height) of the picture in these pixels; the last ones may lie across its edge.
    """

    pixels: Image.Image
    size: tuple[float, float]
    icc: bytes | None
    orientation: int | None


def _decoded(image: Image.Image, target: tuple[int, int]) -> _Decoded:
    # A square request would make Pillow decode at full size: the draft keeps BOTH sides above what is asked.
    drafted = image.draft(image.mode, (_least(target[0]), _least(target[1])))
    orientation = _orientation(image)
    icc = image.info.get("icc_profile")
    pixels = _in_plain_mode(image)
    # Of an odd side, half a pixel of the draft lies outside the picture: shifted by that, lines luminance soft.
    size = pixels.size if drafted is None else drafted[1][2:]
    return _Decoded(pixels=pixels, size=size, icc=icc, orientation=orientation)


def _least(side: int) -> int:
    """Pixels of a JPEG that are to be left along a side of so many in the end."""
    return max(math.ceil(_REDUCING_GAP * side), min(_MIN_LUMINANCE_GAP * side, _LUMINANCE_FROM_PX))


def _coarse(decoded: _Decoded, target: tuple[int, int]) -> _Decoded:
    """Average whole blocks of pixels, as long as more are left than either use of the picture needs."""
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
    """The whole picture, RGB on white, at a size; its sides are swapped where the orientation says so."""
    small = decoded.pixels.resize(size, resampling, box=(0, 0, *decoded.size))
    rgb = _on_white(small) if small.mode == "RGBa" else _in_srgb(small, decoded.icc)
    return rgb.transpose(_ORIENTATION[decoded.orientation]) if decoded.orientation in _ORIENTATION else rgb


def _luminance(decoded: _Decoded) -> Image.Image:
    """The whole picture, grey and small, for comparing it with others."""
    if decoded.pixels.mode == "RGB" and not decoded.icc:
        decoded = replace(decoded, pixels=decoded.pixels.convert("L"))  # a third of the numbers to average
    across, down = (int(side / LUMINANCE_SIDE_PX / _LUMINANCE_REDUCING_GAP) or 1 for side in decoded.size)
    decoded = _reduced(decoded, across, down)
    return _shown(decoded, (LUMINANCE_SIDE_PX, LUMINANCE_SIDE_PX), Image.Resampling.BOX).convert("L")


def _orientation(image: Image.Image) -> int | None:
    try:
        value: int | None = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - broken EXIF is no reason to lose the picture
        return None
    return value


def _in_plain_mode(image: Image.Image) -> Image.Image:
    """Decode into a mode that can be resized: L, RGB, CMYK, or RGBa where anything is transparent."""
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        # Premultiplied, or the colour of invisible pixels would bleed into visible ones.
        return rgba.convert("RGBa") if rgba.getchannel("A").getextrema() != (255, 255) else rgba.convert("RGB")
    if image.mode.startswith("I"):
        # 16 bits to 8; Pillow's own conversion clips.
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
            pass  # a broken profile, or one for another kind of pixels: show the numbers as they are
        else:
            if converted is not None:
                return converted
    return image.convert("RGB")


@functools.lru_cache(
    maxsize=16
)  # most pictures carry one of a few profiles, and a transform takes 1 ms to make
def _to_srgb(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")


def _centred(image: Image.Image, side: int) -> Image.Image:
    """In the middle of a white square; what is larger than the square is cut."""
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
