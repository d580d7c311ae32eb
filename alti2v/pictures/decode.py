"""Decoding of a file to pixels that can be resized, with the file's own settings for display.

Pillow opens only the formats that `header` knows, strictly: what it refuses is refused. Before that, it is
spared what other programs pass over with a warning (notes that are damaged or too long, a missing end marker).
"""

from __future__ import annotations

import functools
import hashlib
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile

from alti2v.arrays import BoolArray, Int32Array, Uint8Array
from alti2v.pictures.formats import jpeg, png
from alti2v.pictures.header import ImageHeader, NoPicture, PictureRefusal, read_header
from alti2v.pictures.limits import MAX_PIXELS
from alti2v.pictures.png_lines import decode_quickly
from alti2v.pictures.webp_pixels import still_pixels
from alti2v.pictures.whole import flaw

_REASONS = {
    NoPicture.NOT_IMAGE: "not_image",
    NoPicture.UNSUPPORTED_FORMAT: "not_image",
    NoPicture.TOO_MANY_PIXELS: "too_large",
    NoPicture.DAMAGED: "damaged",
}
_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # CIPA DC-008 (Exif 2.32), table 6: what undoes each value of the tag Orientation
# Formats whose pixels Pillow copies from memory, in pieces of 64 kB unless told otherwise.
_COPIED = frozenset({"WEBP", "AVIF"})
_WHOLE = 1 << 30
_JPEGS = frozenset({"JPEG", "MPO"})  # a JPEG with others behind it is MPO for Pillow
# What is put behind a scan to see whether it is complete: if not, it is decoded. Several, because the missing
# bits may be those of one of them, or close enough to give the same pixels. Restart markers (ITU T.81, B.1.1.3)
# are in them, because a scan that should go on with one takes nothing else.
_FILLINGS = tuple(
    bits + b"".join(bytes((0xFF, marker)) + bits for marker in range(0xD0, 0xD8))
    for bits in (bytes(128), *(bytes([byte, 255 - byte]) * 64 for byte in range(7, 255, 31)))
)
_ZEROS = bytes(
    8
)  # more than coders of arithmetic scans leave out at the end: decoders read zeros there (D.1.8)
_GREY = frozenset({127, 128})  # values of a pixel of any colours that libjpeg found no data for (jdhuff.c)


@dataclass(frozen=True, slots=True)
class Unusable:
    """A picture that cannot be used.

    Attributes:
        reason: "not_image", "too_large", "too_small", "too_narrow" or "damaged"; from a decoder process also
            "too_slow" or "crashed".
    """

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedPicture:
    """Pixels in a mode that can be resized, with the file's settings for display.

    Attributes:
        pixels: L, RGB, CMYK, or RGBa (premultiplied) where anything is transparent.
        size: (width, height) of the picture in these pixels; the last ones may extend across its edge.
        icc: Colour profile of the pixels; None where they are sRGB.
        orientation: Value of the EXIF tag.
    """

    pixels: Image.Image
    size: tuple[float, float]
    icc: bytes | None
    orientation: int | None


def decodable(content: bytes) -> ImageHeader | Unusable:
    """Read the header of a picture that may be decoded."""
    header = read_header(content)
    if isinstance(header, PictureRefusal):
        return Unusable(_REASONS[header.kind])
    return Unusable("too_large") if header.width * header.height > MAX_PIXELS else header


def decode(
    content: bytes, header: ImageHeader, *, at_least: tuple[int, int] | None = None
) -> DecodedPicture | Unusable:
    """Decode a picture; of an animation, the first frame.

    Args:
        content: Content of the file.
        header: What `decodable` reads in it.
        at_least: (width, height) in px that are enough: a JPEG is then decoded at a fraction of its size. None
            for all of it.
    """
    if header.format != "GIF" and flaw(header.format, content):  # of a GIF, one whole frame is enough
        return Unusable("damaged")
    profile = png.colour_profile(content) if header.format == "PNG" else None  # Pillow unpacks 1 MB at most
    spared = {"PNG": png.plain, "JPEG": _plain_jpeg}.get(header.format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata
        try:
            decoded = _decoded(content, header.format, at_least, profile)
            if decoded is None and spared is not None:
                decoded = _decoded(content, header.format, at_least, profile, spared)
        except MemoryError:
            return Unusable("too_large")
    return decoded or Unusable("damaged")


class DecodeFunction(Protocol):
    """Form of `decode`."""

    def __call__(
        self, content: bytes, header: ImageHeader, *, at_least: tuple[int, int] | None = None
    ) -> DecodedPicture | Unusable:
        """Decode a file, as `decode` does."""


def decode_once() -> DecodeFunction:
    """Make a function like `decode` for one picture that is needed in several sizes.

    It decodes again only where `decode` would give other pixels: a JPEG at another fraction of its size.
    """
    found: dict[int, DecodedPicture | Unusable] = {}

    def decoded_once(
        content: bytes, header: ImageHeader, *, at_least: tuple[int, int] | None = None
    ) -> DecodedPicture | Unusable:
        fraction = 1 if at_least is None else _jpeg_fraction(header, at_least)
        if fraction not in found:
            found[fraction] = decode(content, header, at_least=at_least)
        return found[fraction]

    return decoded_once


def _jpeg_fraction(header: ImageHeader, at_least: tuple[int, int]) -> int:
    """Return 1, 2, 4 or 8: what Pillow divides the sides of a JPEG by (JpegImageFile.draft); 1 for others."""
    if header.format != "JPEG":
        return 1
    spare = min(header.width // at_least[0], header.height // at_least[1])
    return next((fraction for fraction in (8, 4, 2) if spare >= fraction), 1)


def _plain_jpeg(content: bytes) -> bytes:
    plain = jpeg.plain(content)
    return plain if jpeg.has_end(content) else _ended(plain)


def _ended(content: bytes, fillings: Sequence[bytes] = _FILLINGS) -> bytes:
    """Add an end marker to a JPEG without one.

    Raises:
        ValueError: The last scan is not complete: of what follows it, a filling is decoded to other pixels.
    """
    scans = content.rstrip(b"\xff")
    ended = scans + jpeg.EOI
    if (frame := jpeg.frame(content)) is not None and frame.is_arithmetic:
        scans += _ZEROS
    pixels = _digest(ended)
    if any(_digest(scans + filling + jpeg.EOI) != pixels for filling in fillings):
        raise ValueError("the end of the last scan is missing")
    return ended


def _digest(content: bytes) -> bytes:
    """Decode a JPEG, and hash its pixels: two of the largest do not fit into the memory of a decoder."""
    with _opened(content, "JPEG") as image:
        return hashlib.blake2b(image.tobytes()).digest()


def _opened(content: bytes, image_format: str) -> ImageFile.ImageFile:
    image = Image.open(io.BytesIO(content), formats=(image_format,))
    assert isinstance(image, ImageFile.ImageFile)
    return image


def _decoded(
    content: bytes,
    image_format: str,
    at_least: tuple[int, int] | None,
    profile: bytes | None,
    spared: Callable[[bytes], bytes] = bytes,
) -> DecodedPicture | None:
    """Decode what `spared` leaves of a file; None if Pillow refuses it."""
    try:
        content = spared(content)
        with _opened(content, image_format) as image:
            # A square request would make Pillow decode at full size: the draft keeps BOTH sides above it.
            drafted = None if at_least is None else image.draft(image.mode, at_least)
            # Before the orientation is read: that decodes, too, and swallows what is wrong.
            loaded = _loaded(image, content)
            transparent = _with_alpha(loaded, content) if loaded.has_transparency_data else loaded
            pixels, icc = _in_plain_mode(transparent, loaded.info.get("icc_profile") or profile)
            # Of an odd side, half a pixel of the draft is outside the picture: so shifted, lines look soft.
            size = pixels.size if drafted is None else drafted[1][2:]
            return DecodedPicture(pixels=pixels, size=size, icc=icc, orientation=_orientation(loaded))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - decoders fed with hostile bytes raise nearly anything
        return None


def _loaded(image: ImageFile.ImageFile, content: bytes) -> Image.Image:
    """Decode all pixels of an opened picture.

    Raises:
        Exception: Nearly any, if it is damaged.
    """
    has_all_lines = image.format != "PNG" or decode_quickly(image, content)
    if image.format == "WEBP" and (still := still_pixels(image, content)) is not None:
        return still
    if image.format in _COPIED:
        image.decodermaxblock = _WHOLE
    image.load()
    if not has_all_lines and _may_be_short(image) and not png.has_all_lines(content):
        raise ValueError("lines are missing, which Pillow leaves black")
    if image.format in _JPEGS and _ends_in_grey(image):
        _ended(content[: jpeg.end_of_scans(content)], _FILLINGS[:3])
    return image


def _may_be_short(image: Image.Image) -> bool:
    """Return whether the last line of a PNG is all zeros, as Pillow leaves missing ones; True if interlaced."""
    last = image.crop((0, image.height - 1, *image.size))
    return bool(image.info.get("interlace")) or not any(last.tobytes())


def _ends_in_grey(image: Image.Image) -> bool:
    """Return whether the last pixel of a JPEG is that of blocks that are not in the file."""
    last = image.getpixel((image.width - 1, image.height - 1))
    return set(last if isinstance(last, tuple) else (last,)) <= _GREY


def _orientation(image: Image.Image) -> int | None:
    try:
        value: int | None = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - broken EXIF is no reason to lose the picture
        return None
    return value


def _in_plain_mode(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, bytes | None]:
    """Convert loaded pixels into L, RGB, CMYK, or RGBa where anything is transparent; also their profile."""
    if image.mode in ("LA", "RGBA"):
        if image.getchannel("A").getextrema() != (255, 255):
            # Premultiplied, or the colour of invisible pixels would bleed into visible ones.
            return (in_srgb(image, icc) if icc else image.convert("RGBA")).convert("RGBa"), None
        return image.convert("L" if icc and image.mode == "LA" else "RGB"), icc
    if image.mode.startswith("I"):
        return _eight_bits(np.asarray(image, np.int32)), icc
    if image.mode in ("L", "RGB", "CMYK"):
        return image, icc
    return image.convert("L" if image.mode == "1" else "RGB"), icc


def _with_alpha(image: Image.Image, content: bytes) -> Image.Image:
    """Convert into LA or RGBA; a transparent colour is compared in the bits that the file has."""
    colour = image.info.get("transparency")
    if image.mode.startswith("I"):
        values = np.asarray(image, np.int32)
        return _masked(_eight_bits(values), values == colour)
    bits = content[24] if image.format == "PNG" else 8
    if image.mode == "RGB" and bits == 16 and colour is not None:
        values = np.asarray(image, np.int32) << 8 | _low_bytes(content)
        return _masked(image, (values == colour).all(axis=2))
    if image.mode == "L" and isinstance(colour, int):
        highest = (1 << bits) - 1
        image.info["transparency"] = (colour & highest) * 255 // highest
    return image if image.mode == "LA" else image.convert("LA" if image.mode in ("1", "L") else "RGBA")


def _eight_bits(values: Int32Array) -> Image.Image:
    """Scale 16 bits to 8; Pillow's own conversion clips."""
    return Image.fromarray((values >> 8).clip(0, 255).astype(np.uint8))


def _low_bytes(content: bytes) -> Uint8Array:
    """Decode to the half of each 16-bit value that Pillow drops: as if its bytes were swapped."""
    with _opened(content, "PNG") as image:
        image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
        return np.asarray(image)


def _masked(image: Image.Image, is_transparent: BoolArray) -> Image.Image:
    masked = image.convert("RGBA" if image.mode == "RGB" else "LA")
    masked.putalpha(Image.fromarray(np.where(is_transparent, 0, 255).astype(np.uint8)))
    return masked


def shown(decoded: DecodedPicture, size: tuple[int, int], resampling: Image.Resampling) -> Image.Image:
    """Resize the whole picture, and show it: RGB, on white; sides are swapped where the orientation says so."""
    small = decoded.pixels.resize(size, resampling, box=(0, 0, *decoded.size))
    rgb = _on_white(small) if small.mode == "RGBa" else in_srgb(small, decoded.icc)
    return rgb.transpose(_ORIENTATION[decoded.orientation]) if decoded.orientation in _ORIENTATION else rgb


def _on_white(premultiplied: Image.Image) -> Image.Image:
    pixels = np.asarray(premultiplied, np.uint16)
    return Image.fromarray(np.minimum(pixels[..., :3] + (255 - pixels[..., 3:]), 255).astype(np.uint8))


def in_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Convert L, RGB or CMYK into RGB, and LA or RGBA into RGBA, with the colours of sRGB."""
    if image.mode in ("LA", "RGBA"):
        colours = in_srgb(image.convert(image.mode[:-1]), icc)
        colours.putalpha(image.getchannel("A"))
        return colours
    if icc:
        try:
            converted = ImageCms.applyTransform(image, _to_srgb(icc, image.mode))
        except (ImageCms.PyCMSError, ValueError, OSError):
            pass  # a broken profile, or one for another kind of pixels: show the numbers as they are
        else:
            if converted is not None:
                return converted
    return image if image.mode == "RGB" else image.convert("RGB")


@functools.lru_cache(maxsize=16)  # most pictures carry one of a few profiles; to make a transform takes 1 ms
def _to_srgb(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
