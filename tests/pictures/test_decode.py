"""Pixels are those of a reference rendering, within 2 of 255."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from alti2v.pictures.decode import DecodedPicture, Unusable, shown
from tests.dataset.helpers.tiny_store import drawing, encoded
from tests.pictures.helpers.corpus import decoded_of
from tests.pictures.helpers.files import WIDE_GAMUT, matrix_profile, png_file, with_chunk

SIZE = (64, 48)
RGB = drawing(1, width=SIZE[0], height=SIZE[1])
PROFILE = matrix_profile(*WIDE_GAMUT)


def rendered(content: bytes) -> np.ndarray:
    """A whole picture as a dataset shows it, at its own size."""
    decoded = decoded_of(content)
    assert isinstance(decoded, DecodedPicture), decoded
    width, height = map(int, decoded.size)
    return np.asarray(shown(decoded, (width, height), Image.Resampling.BICUBIC)).astype(int)


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The reference: each pixel mixed with white by its alpha."""
    share = alpha.astype(float)[..., None] / 255
    return colours * share + 255 * (1 - share)


def in_srgb(colours: np.ndarray, profile: bytes = PROFILE) -> np.ndarray:
    """The reference: every colour through the profile, whatever its transparency."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    image = Image.fromarray(colours.astype(np.uint8))
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    return np.asarray(converted).astype(int)


def is_close(content: bytes, expected: np.ndarray) -> bool:
    difference = np.abs(rendered(content) - expected)
    return bool(difference.max() <= 2)


def alpha_of(seed: int = 4) -> np.ndarray:
    alpha = np.asarray(drawing(seed, width=SIZE[0], height=SIZE[1]).convert("L")).copy()
    alpha[:10], alpha[-10:] = 0, 255
    return alpha


def rgba() -> Image.Image:
    image = RGB.convert("RGBA")
    image.putalpha(Image.fromarray(alpha_of()))
    return image


def ramp() -> np.ndarray:
    return np.linspace(0, 65535, SIZE[0] * SIZE[1]).reshape(SIZE[::-1]).astype(np.uint16)


@pytest.mark.parametrize("transparent", [0, 1, 255, 256, 30_000, 65_535])
def test_grey_of_16_bits_with_a_transparent_value(transparent: int) -> None:
    """All other values keep their grey; only this very one is white."""
    values = ramp()
    values[5, 5] = transparent
    grey = np.repeat((values.astype(int) * 255 / 65535)[..., None], 3, axis=2)
    expected = on_white(grey, np.where(values == transparent, 0, 255))

    assert is_close(png_file(values, [(b"tRNS", struct.pack(">H", transparent))]), expected)


@pytest.mark.parametrize("is_interlaced", [False, True])
def test_colour_of_16_bits_with_a_transparent_colour(is_interlaced: bool) -> None:
    """Compared in all 16 bits: a colour that differs in the last one is not transparent."""
    values = np.asarray(RGB).astype(np.uint16) * 257
    values[4:8] = (1000, 2000, 3000)
    values[20:24] = (1000, 2000, 3001)
    alpha = np.full(values.shape[:2], 255)
    alpha[4:8] = 0
    content = png_file(values, [(b"tRNS", struct.pack(">HHH", 1000, 2000, 3000))], is_interlaced=is_interlaced)

    assert is_close(content, on_white(values / 257, alpha))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_of_few_bits_with_a_transparent_value(bits: int) -> None:
    """The value that is named is meant before it is scaled."""
    highest = (1 << bits) - 1
    values = np.random.default_rng(1).integers(0, highest + 1, SIZE[::-1], dtype=np.uint8)
    for transparent in {0, 1, highest}:
        grey = np.repeat((values.astype(int) * 255 // highest)[..., None], 3, axis=2)
        expected = on_white(grey, np.where(values == transparent, 0, 255))

        assert is_close(png_file(values, [(b"tRNS", struct.pack(">H", transparent))], bits=bits), expected)


@pytest.mark.parametrize(("file_format", "saving"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_a_profile_counts_where_something_is_transparent(file_format: str, saving: dict[str, Any]) -> None:
    """Colours are converted before they are mixed with white."""
    expected = on_white(in_srgb(np.asarray(RGB)), alpha_of())

    assert is_close(encoded(rgba(), file_format, icc_profile=PROFILE, **saving), expected)


def test_a_profile_counts_in_a_palette_with_transparency() -> None:
    """Whether entries have alphas or one colour is transparent."""
    palette = RGB.quantize(16)
    colours, indices = np.asarray(palette.convert("RGB")), np.asarray(palette)
    alphas = np.array([0, 128, *[255] * 14])
    content = encoded(palette, "PNG", transparency=bytes(alphas.tolist()), icc_profile=PROFILE)

    assert is_close(content, on_white(in_srgb(colours), alphas[indices]))
    content = encoded(palette, "PNG", transparency=3, icc_profile=PROFILE)
    assert is_close(content, on_white(in_srgb(colours), np.where(indices == 3, 0, 255)))


def test_a_profile_of_more_than_a_megabyte_counts() -> None:
    """Pillow alone unpacks no more than one."""
    large = matrix_profile(*WIDE_GAMUT, pad=2 << 20)
    content = with_chunk(encoded(RGB, "PNG"), b"iCCP", b"p\0\0" + zlib.compress(large))

    assert is_close(content, in_srgb(np.asarray(RGB)))


@pytest.mark.parametrize("alpha", [None, alpha_of()])
def test_a_grey_profile_counts_with_alpha_and_without(alpha: np.ndarray | None) -> None:
    """A grey picture with a profile for greys, of another gamma."""
    profile = grey_profile(1.0)
    grey = RGB.convert("L")
    expected = in_srgb(np.asarray(grey), profile)
    if alpha is not None:
        expected = on_white(expected, alpha)
        grey = grey.convert("LA")
        grey.putalpha(Image.fromarray(alpha))

    assert is_close(encoded(grey, "PNG", icc_profile=profile), expected)


def grey_profile(gamma: float) -> bytes:
    """A minimal ICC profile for greys."""
    white = b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in (0.9642, 1.0, 0.8249))
    tags = [
        (b"desc", b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79)),
        (b"wtpt", white),
        (b"kTRC", b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)),
    ]
    start, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags:
        padded = data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", start + len(body), len(padded))
        body += padded
    head = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    return head + bytes(12) + b"acsp" + bytes(28) + white[8:] + bytes(48) + table + body


@pytest.mark.parametrize("seed", range(3))
def test_ordinary_kinds_are_their_own_pixels(seed: int) -> None:
    """Colour, grey, palette, black and white, CMYK, premultiplied on white."""
    image = drawing(seed, width=SIZE[0], height=SIZE[1])
    for form, expected in (
        (image, image),
        (image.convert("L"), image.convert("L").convert("RGB")),
        (image.quantize(20), image.quantize(20).convert("RGB")),
        (image.convert("1"), image.convert("1").convert("RGB")),
    ):
        assert is_close(encoded(form, "PNG"), np.asarray(expected).astype(int))
    content = encoded(image.convert("CMYK"), "JPEG", quality=95)
    assert is_close(content, np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int))
    assert is_close(encoded(rgba(), "PNG"), on_white(np.asarray(RGB).astype(int), alpha_of()))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_undone(orientation: int) -> None:
    """As Pillow's own reading of the tag undoes it."""
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(RGB, "PNG", exif=exif)
    decoded = decoded_of(content)
    assert isinstance(decoded, DecodedPicture)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))

    assert np.array_equal(rendered(content), np.asarray(upright))


def test_nothing_is_said_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """Pillow's warnings of odd metadata are no concern of the user."""
    odd = with_chunk(encoded(RGB, "PNG"), b"acTL", struct.pack(">II", 0, 0))
    palette = encoded(RGB.quantize(16), "PNG", transparency=bytes(range(16)))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for content in (odd, palette, encoded(Image.new("1", (12_000, 12_000)), "PNG")):
            decoded_of(content)

    assert capfd.readouterr() == ("", "")


def test_what_is_too_large_is_not_decoded() -> None:
    """By the header alone, in any format."""
    assert decoded_of(encoded(Image.new("1", (8_000, 7_000)), "PNG")) == Unusable("too_large")
