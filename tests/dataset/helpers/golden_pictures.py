"""Program that draws the golden pictures: one file of every kind that a store may contain, and its result.

The files in `golden/` were made once by this program and inspected; tests read them and never draw them. To
accept a change, run `python -m tests.dataset.helpers.golden_pictures` and inspect the changes that git shows.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from alti2v.pictures.recipe import ImageRecipe
from alti2v.pictures.square import encoded_pixels
from tests.dataset.helpers.tiny_store import encoded

GOLDEN = Path(__file__).parents[1] / "golden"
RECIPE = ImageRecipe(size=48)
# By the first word of a file's name; the others use RECIPE.
RECIPES = {
    "squash": replace(RECIPE, fit="squash"),
    "crop": replace(RECIPE, fit="crop"),
    "webp": replace(RECIPE, format="WEBP"),
    "chroma444": replace(RECIPE, chroma="4:4:4"),
    "quality20": replace(RECIPE, quality=20),
}
_SUFFIXES = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp"}


def recipe_of(name: str) -> ImageRecipe:
    """Return the recipe that a golden file is prepared with."""
    return RECIPES.get(name.partition("-")[0], RECIPE)


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """Draw a scene that looks wrong when mirrored, rotated, cropped, or with swapped colours."""
    down, across = np.mgrid[0:height, 0:width]
    pixels = np.stack([across * 255 // width, down * 255 // height, 255 - across * 255 // width], axis=2)
    pixels[: height // 3, : width // 4] = (230, 20, 40)
    pixels[-height // 4 :, -width // 3 :] = (20, 150, 60)
    return Image.fromarray(pixels.astype(np.uint8))


def _with_hole() -> Image.Image:
    """Return the scene with a hole, a half transparent stripe, and other colours in invisible pixels."""
    image = scene().convert("RGBA")
    alpha = np.full((64, 96), 255, np.uint8)
    alpha[20:44, 30:60] = 0
    alpha[50:58] = 128
    image.putalpha(Image.fromarray(alpha))
    return image


def _palette() -> Image.Image:
    image = scene().quantize(15)
    image.putpalette([*(image.getpalette() or [])[:45], 90, 0, 90])
    image.paste(15, (30, 20, 60, 44))
    return image


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def _png_of_16_bits() -> bytes:
    """Encode 16-bit colour, which Pillow can read but not write (PNG, 3rd edition, 11.2.1)."""
    wide = np.asarray(scene()).astype(">u2") * 257
    lines = b"".join(b"\0" + line.tobytes() for line in wide)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _png_chunk(b"IHDR", struct.pack(">IIBBBBB", 96, 64, 16, 2, 0, 0, 0))
        + _png_chunk(b"IDAT", zlib.compress(lines))
        + _png_chunk(b"IEND", b"")
    )


def _ycck() -> bytes:
    """Encode inks as YCCK: Pillow's CMYK with another value in the Adobe marker (T.872, 6.5.3)."""
    inks = np.asarray(scene().convert("CMYK"))
    luminance = np.asarray(Image.fromarray(np.ascontiguousarray(inks[..., :3])).convert("YCbCr"))
    # Pillow writes the complement of what it is given.
    stored = np.concatenate([255 - luminance, inks[..., 3:]], axis=2)
    content = encoded(Image.frombytes("CMYK", (96, 64), stored.tobytes()), quality=95)
    transform = content.index(b"Adobe") + 11
    return content[:transform] + b"\2" + content[transform + 1 :]


def _swapped_primaries() -> bytes:
    """Return an sRGB profile with red and green swapped (ICC.1:2022, 9.2: four letters name a primary)."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"tXYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"tXYZ", b"gXYZ", 1)


def _animation(file_format: str) -> bytes:
    later = [Image.new("RGB", (96, 64), colour) for colour in ("blue", "black")]
    return encoded(scene(), file_format, save_all=True, append_images=later, duration=100)


def _turned(orientation: int) -> bytes:
    undone = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = scene() if orientation == 1 else scene().transpose(undone[orientation])
    return encoded(image, quality=95, exif=exif)


def drawn() -> Mapping[str, tuple[str, bytes]]:
    """Draw every file: format and content by name."""

    def of(image: Image.Image, file_format: str = "PNG", **options: Any) -> tuple[str, bytes]:
        return file_format, encoded(image, file_format, **options)

    grey = np.asarray(scene().convert("L")).astype(np.uint16) * 257
    plain = scene()
    return {
        "letterbox-wide": of(plain, "JPEG", quality=95),
        "letterbox-tall": of(scene(64, 96), "JPEG", quality=95),
        "letterbox-large": of(scene(960, 640), "JPEG", quality=85),
        "squash-wide": of(plain),
        "crop-wide": of(plain),
        "crop-tall": of(scene(64, 96)),
        "webp-wide": of(plain),
        "chroma444-wide": of(plain),
        "quality20-wide": of(plain),
        "progressive": of(plain, "JPEG", quality=95, progressive=True),
        **{f"orientation-{number}": ("JPEG", _turned(number)) for number in range(1, 9)},
        "alpha-png": of(_with_hole()),
        "alpha-webp": of(_with_hole(), "WEBP", lossless=True),
        "alpha-grey": of(_with_hole().convert("LA")),
        "alpha-gif": of(_palette(), "GIF", transparency=15),
        "palette": of(scene().quantize(15)),
        "palette-transparency": of(_palette(), transparency=15),
        "palette-alpha": of(_palette(), transparency=bytes([*[255] * 8, *[128] * 7, 0])),
        "grey": of(plain.convert("L"), "JPEG", quality=95),
        "bilevel": of(plain.convert("1")),
        "16-bit-grey": of(Image.fromarray(grey)),
        "16-bit-colour": ("PNG", _png_of_16_bits()),
        "cmyk": of(plain.convert("CMYK"), "JPEG", quality=95),
        "ycck": ("JPEG", _ycck()),
        "icc-jpeg": of(plain, "JPEG", quality=95, icc_profile=_swapped_primaries()),
        "icc-png": of(plain, icc_profile=_swapped_primaries()),
        "animation-gif": ("GIF", _animation("GIF")),
        "animation-png": ("PNG", _animation("PNG")),
        "animation-webp": ("WEBP", _animation("WEBP")),
    }


def main() -> None:
    """Write the files and their results."""
    GOLDEN.mkdir(exist_ok=True)
    for name, (file_format, content) in drawn().items():
        (GOLDEN / f"{name}.{_SUFFIXES[file_format]}").write_bytes(content)
        prepared = encoded_pixels(content, recipe_of(name))
        assert isinstance(prepared, np.ndarray), (name, prepared)
        Image.fromarray(prepared).save(GOLDEN / f"{name}.expected.png", optimize=True)


if __name__ == "__main__":
    main()
