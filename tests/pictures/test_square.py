"""Every kind of picture becomes one square JPEG as a person expects it, or a reason."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from alti2v.pictures.decode import Unusable
from alti2v.pictures.recipe import ImageRecipe
from alti2v.pictures.square import PreparedPicture, prepare_picture
from tests.dataset.helpers.tiny_store import drawing, encoded

RECIPE = ImageRecipe(size=64)
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def pixels(content: bytes, recipe: ImageRecipe = RECIPE) -> np.ndarray:
    """Return the prepared picture, (side, side, 3)."""
    picture = prepare_picture(content, recipe)
    assert isinstance(picture, PreparedPicture), picture
    with Image.open(io.BytesIO(picture.content)) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (recipe.size, recipe.size))
        return np.asarray(image).astype(int)


def close(pixel: np.ndarray, colour: tuple[int, int, int], tolerance: int = 12) -> bool:
    return bool(np.abs(pixel - colour).max() <= tolerance)


def halves(left: tuple[int, ...], right: tuple[int, ...], mode: str = "RGB", side: int = 96) -> Image.Image:
    image = Image.new(mode, (side, side), left)
    image.paste(right, (side // 2, 0, side, side))
    return image


@pytest.mark.parametrize(("width", "height"), [(400, 200), (200, 400), (300, 300), (40, 20), (999, 333)])
def test_the_whole_picture_stands_centred_on_white(width: int, height: int) -> None:
    """Proportions are kept, with equal white margins; small pictures are enlarged."""
    content = encoded(Image.new("RGB", (width, height), BLUE), "PNG")
    prepared = pixels(content)
    is_blue = np.abs(prepared - BLUE).max(axis=2) < 60
    rows, columns = np.flatnonzero(is_blue.any(axis=1)), np.flatnonzero(is_blue.any(axis=0))
    expected = (round(64 * width / max(width, height)), round(64 * height / max(width, height)))

    assert abs(len(columns) - expected[0]) <= 1
    assert abs(len(rows) - expected[1]) <= 1
    for found in (rows, columns):
        assert abs(found[0] - (63 - found[-1])) <= 1
    outside = prepared[np.setdiff1d(range(64), range(max(rows[0] - 2, 0), rows[-1] + 3))]
    assert outside.size == 0 or np.abs(outside - 255).max() <= 12


def test_a_large_jpeg_looks_as_if_it_had_been_decoded_whole() -> None:
    """Scaled decoding of JPEGs costs almost no quality."""
    image = drawing(1, width=1000, height=1000)
    fast = pixels(encoded(image, quality=95), ImageRecipe(size=128))
    slow = np.asarray(image.resize((128, 128), Image.Resampling.LANCZOS)).astype(int)

    assert np.abs(fast - slow).mean() < 1.5


@pytest.mark.parametrize(("width", "height"), [(1000, 1000), (813, 1001), (1001, 607), (515, 515), (675, 701)])
def test_scaled_decoding_shifts_nothing(width: int, height: int) -> None:
    """Fine lines keep position and width, even if a side is not a multiple of the decoder's divisor.

    The last size is decoded at 1/4, which leaves little more than the filter needs.
    """
    down, across = np.mgrid[0:height, 0:width]
    waves = 127 + 60 * np.sin(across * 80 / max(width, height)) + 60 * np.sin(down * 80 / max(width, height))
    image = Image.fromarray(waves.astype(np.uint8)).convert("RGB")
    fast = pixels(encoded(image, quality=98), ImageRecipe(size=128, fit="squash", quality=98))
    slow = np.asarray(image.resize((128, 128), Image.Resampling.BICUBIC)).astype(int)

    assert np.abs(fast - slow).mean() < 1  # 0.3 to 0.6; 2.2 to 4.3 where half a pixel is not counted


def corner_marked(size: tuple[int, int] = (96, 64)) -> Image.Image:
    image = Image.new("RGB", size, BLUE)
    image.paste(RED, (0, 0, size[0] // 2, size[1] // 2))
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_f23_exif_orientation_is_undone(orientation: int, file_format: str) -> None:
    """All eight orientations give the upright picture, as CIPA DC-008 defines them."""
    upright = corner_marked()
    stored = {
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(Image.Transpose.ROTATE_180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    prepared = pixels(encoded(stored, file_format, exif=exif, quality=95))

    assert close(prepared[20, 10], RED, 20)  # the picture is 64 x 43, from row 10
    assert close(prepared[20, 50], BLUE, 20)
    assert close(prepared[45, 10], BLUE, 20)
    assert close(prepared[2, 32], WHITE)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "GIF"])
def test_f23_transparency_shows_white(file_format: str) -> None:
    """Invisible pixels become white whatever their colour, also along the edge."""
    image = halves((0, 0, 0, 0), (*BLUE, 255), "RGBA")
    prepared = pixels(encoded(image, file_format, **({"lossless": True} if file_format == "WEBP" else {})))

    assert close(prepared[32, 10], WHITE)
    assert close(prepared[32, 55], BLUE)
    # Without premultiplied colours, the hidden black would appear as a dark line.
    luminance = prepared[32, 20:33].sum(axis=1) / 3
    assert luminance.min() > 60


def test_f23_half_transparency_is_mixed_with_white() -> None:
    """An alpha of one half gives the colour half way to white."""
    prepared = pixels(encoded(Image.new("RGBA", (96, 96), (0, 0, 255, 128)), "PNG"))

    assert close(prepared[32, 32], (127, 127, 255))


def test_f23_grey_with_alpha_and_palette_with_alpha() -> None:
    """LA, and P with a transparent entry or an alpha per entry, also become white."""
    grey = halves((0, 0), (100, 255), "LA")
    palette = Image.new("P", (96, 96), 0)
    palette.putpalette([10, 20, 30, *BLUE])
    palette.paste(1, (48, 0, 96, 96))

    for content, colour in (
        (encoded(grey, "PNG"), (100, 100, 100)),
        (encoded(palette, "PNG", transparency=0), BLUE),
        (encoded(palette, "PNG", transparency=bytes([0, 255])), BLUE),
    ):
        prepared = pixels(content)
        assert close(prepared[32, 8], WHITE)
        assert close(prepared[32, 56], colour)


def test_f23_rgb_png_with_a_transparent_colour() -> None:
    """The transparent colour of tRNS becomes white."""
    prepared = pixels(encoded(halves(RED, BLUE), "PNG", transparency=RED))

    assert close(prepared[32, 8], WHITE)
    assert close(prepared[32, 56], BLUE)


def test_f23_16_bit_grey_is_scaled() -> None:
    """A 16-bit grey PNG keeps its greys; clipping would make everything white."""
    ramp = np.linspace(0, 65535, 96).astype(np.uint16)
    prepared = pixels(encoded(Image.fromarray(np.tile(ramp, (96, 1))), "PNG"))

    assert np.allclose(prepared[32, ::8, 0], np.linspace(0, 255, 64)[::8], atol=6)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def test_f23_16_bit_colour_is_scaled() -> None:
    """A 16-bit colour PNG keeps its colours."""
    line = b"\0" + struct.pack(">HHH", 0x8000, 0x4000, 0xFFFF) * 32
    content = (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0))
        + png_chunk(b"IDAT", zlib.compress(line * 32))
        + png_chunk(b"IEND", b"")
    )

    assert close(pixels(content)[32, 32], (128, 64, 255))


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_f23_other_modes_become_rgb(mode: str) -> None:
    """Grey, black and white, palettes and CMYK become RGB and look the same."""
    image = halves((0, 0, 0), WHITE).convert(mode)
    prepared = pixels(encoded(image, "JPEG" if mode == "CMYK" else "PNG"))

    assert close(prepared[32, 8], (0, 0, 0), 20)
    assert close(prepared[32, 56], WHITE)


def test_f23_an_icc_profile_is_honoured() -> None:
    """A picture whose profile swaps two primaries gets them swapped back."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # In an ICC file a matrix profile's primaries are named by four letters; swapping two names swaps colours.
    swapped = srgb.replace(b"rXYZ", b"tXYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"tXYZ", b"gXYZ", 1)
    image = Image.new("RGB", (96, 96), RED)

    assert close(pixels(encoded(image, "PNG", icc_profile=srgb))[32, 32], RED)
    assert close(pixels(encoded(image, "PNG", icc_profile=swapped))[32, 32], (0, 255, 0), 20)
    for useless in (lab, b"nonsense" * 40):
        assert close(pixels(encoded(image, "PNG", icc_profile=useless))[32, 32], RED)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG"])
def test_f23_of_an_animation_the_first_frame_counts(file_format: str) -> None:
    """GIF, WebP and APNG animations give their first frame."""
    frames = [Image.new("RGB", (96, 96), RED), Image.new("RGB", (96, 96), BLUE)]
    content = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], duration=100)

    assert close(pixels(content)[32, 32], RED)


WHOLE = encoded(drawing(5, width=200, height=150), quality=90)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not_image"),
        (b"<html>404</html>", "not_image"),
        (b"BM" + bytes(100), "not_image"),
        (encoded(drawing(1), "BMP"), "not_image"),
        (encoded(drawing(1), "TIFF"), "not_image"),
        (WHOLE[: len(WHOLE) // 2], "damaged"),
        (encoded(drawing(1), "PNG")[:-2000], "damaged"),
        (encoded(drawing(1), "GIF")[:1500], "damaged"),
        (encoded(drawing(1), "WEBP")[:300], "damaged"),
        (encoded(Image.new("RGB", (15, 300)), "PNG"), "too_small"),
        (encoded(Image.new("RGB", (20, 401)), "PNG"), "too_narrow"),
        (encoded(Image.new("1", (20_000, 20_000)), "PNG"), "too_large"),
        (encoded(Image.new("1", (8_000, 7_000)), "PNG"), "too_large"),
    ],
)
def test_what_cannot_be_used_has_a_reason(content: bytes, reason: str) -> None:
    """Foreign, truncated, tiny, very long and huge pictures give a reason, never an exception."""
    assert prepare_picture(content, RECIPE) == Unusable(reason)


def test_a_longest_strip_that_is_allowed() -> None:
    """A picture just inside the limits of shape is used."""
    assert isinstance(prepare_picture(encoded(Image.new("RGB", (20, 400)), "PNG"), RECIPE), PreparedPicture)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP"])
def test_mutated_pictures_never_raise(file_format: str) -> None:
    """Flipped bytes, cuts and spliced headers give a picture or a reason."""
    rng = random.Random(file_format)
    whole = encoded(drawing(3, width=60, height=80), file_format)
    outcomes = set()
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            content[rng.randrange(len(content) if rng.random() < 0.5 else 64)] = rng.randrange(256)
        cut = bytes(content[: rng.randrange(1, len(content) + 1)] if rng.random() < 0.3 else content)
        outcomes.add(type(prepare_picture(cut, RECIPE)))

    # Every byte of a PNG is under a checksum.
    assert outcomes == ({Unusable} if file_format == "PNG" else {PreparedPicture, Unusable})


def test_equal_input_gives_equal_bytes() -> None:
    """The same picture and recipe give the same JPEG; quality and size change it."""
    first, second = prepare_picture(WHOLE, RECIPE), prepare_picture(WHOLE, RECIPE)
    other = prepare_picture(WHOLE, ImageRecipe(size=64, quality=50))

    assert first == second
    assert isinstance(first, PreparedPicture)
    assert isinstance(other, PreparedPicture)
    assert len(other.content) < len(first.content)
    assert (first.source_width, first.source_height) == (200, 150)


@pytest.mark.parametrize(("width", "height"), [(400, 200), (200, 400)])
def test_other_fits_fill_the_square(width: int, height: int) -> None:
    """Squash stretches the whole picture, crop takes the centre; neither leaves white."""
    image = Image.new("RGB", (width, height), BLUE)
    middle = (width // 2 - 50, height // 2 - 50, width // 2 + 50, height // 2 + 50)
    image.paste(RED, middle)
    content = encoded(image, "PNG")
    squashed = np.abs(pixels(content, ImageRecipe(size=64, fit="squash")) - RED).max(axis=2) < 60
    cropped = np.abs(pixels(content, ImageRecipe(size=64, fit="crop")) - RED).max(axis=2) < 60

    assert squashed.any(axis=1).sum() == pytest.approx(64 * 100 / height, abs=2)
    assert squashed.any(axis=0).sum() == pytest.approx(64 * 100 / width, abs=2)
    assert cropped.any(axis=1).sum() == pytest.approx(32, abs=2)
    assert cropped.any(axis=0).sum() == pytest.approx(32, abs=2)
    for fit in ("squash", "crop"):
        assert pixels(content, ImageRecipe(size=64, fit=fit)).sum(axis=2).max() < 600


def test_the_sampling_of_colours_is_the_one_asked_for() -> None:
    """The JPEG's header says 4:4:4 or 4:2:0."""
    for chroma, factors in (("4:4:4", 0x11), ("4:2:0", 0x22)):
        picture = prepare_picture(WHOLE, ImageRecipe(size=64, chroma=chroma))
        assert isinstance(picture, PreparedPicture)
        frame = picture.content.index(b"\xff\xc0")  # SOF0; ITU T.81, B.2.2: the first component's factors at 11
        assert picture.content[frame + 11] == factors
