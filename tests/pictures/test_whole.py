"""A file is whole if its pixels are all there: no cut one passes, and no sound one is refused."""

from __future__ import annotations

import base64
import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from alti2v.pictures.decode import _ends_in_grey
from alti2v.pictures.formats.flaws import CUT
from alti2v.pictures.formats.png import SIGNATURE, PngHeader, chunk, chunks
from alti2v.pictures.header import ImageHeader, read_header
from alti2v.pictures.whole import flaw, needs_decoding
from tests.dataset.helpers.tiny_store import drawing, encoded
from tests.pictures.helpers.corpus import is_stored, pixels
from tests.pictures.helpers.files import (
    WIDE_GAMUT,
    matrix_profile,
    png_file,
    with_chunk,
    with_segment,
    with_thumbnail,
    with_wrong_checksum,
)

RGB = drawing(1, width=120, height=90)
JPEG, PNG, GIF, WEBP = (encoded(RGB, form) for form in ("JPEG", "PNG", "GIF", "WEBP"))
PROGRESSIVE = encoded(RGB, progressive=True, quality=95)
PROFILE = matrix_profile(*WIDE_GAMUT)
LONG = bytes(2 << 20)


def flaw_of(content: bytes | memoryview) -> str:
    header = read_header(content)
    assert isinstance(header, ImageHeader), header
    return flaw(header.format, content)


def is_kept(content: bytes, like: bytes) -> bool:
    """Whether a crawl stores a file, and a build uses it: with the pixels of another."""
    found, expected = pixels(content), pixels(like)
    assert expected is not None
    return is_stored(content) and found is not None and np.array_equal(found, expected)


@pytest.mark.parametrize("content", [JPEG, PROGRESSIVE, PNG, GIF, WEBP])
@pytest.mark.parametrize("form", [bytes, memoryview])
def test_a_whole_picture_has_no_flaw(content: bytes, form: type[bytes] | type[memoryview]) -> None:
    """Of every format, in bytes and in a view of shared memory."""
    assert flaw_of(form(content)) == ""


@pytest.mark.parametrize("behind", [b"x", bytes(200_000), os.urandom(100_000).replace(b"\xff", b"")])
@pytest.mark.parametrize("content", [JPEG, PROGRESSIVE, PNG, GIF, WEBP])
def test_whatever_follows_the_end_of_a_picture_is_no_fault(content: bytes, behind: bytes) -> None:
    """More than 64 kB, too."""
    assert is_kept(content + behind, content)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_only_gif_webp_and_jpegs_without_end_need_decoding(kind: str) -> None:
    """So that a crawl decodes next to nothing."""
    content = {"JPEG": JPEG, "PNG": PNG}[kind]

    assert not needs_decoding(kind, content)
    assert needs_decoding("GIF", GIF)
    assert needs_decoding("JPEG", JPEG[:-2])


# Cut files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tenths", range(1, 10))
def test_the_end_marker_of_a_thumbnail_is_not_the_pictures(tenths: int) -> None:
    """A cut JPEG with an EXIF thumbnail does not pass as whole."""
    whole = with_thumbnail(JPEG, encoded(drawing(2, width=30, height=20)))
    cut = whole[: len(whole) * tenths // 10]

    assert is_kept(whole, JPEG)
    assert not is_stored(cut)


@pytest.mark.parametrize("twentieths", range(20))
def test_no_cut_gif_passes_as_whole(twentieths: int) -> None:
    """Wherever it is cut; an animation is cut if one of its images is."""
    frames = [drawing(seed, width=60, height=40) for seed in range(4)]
    animation = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    for whole in (GIF, animation):
        assert is_stored(whole)
        assert not is_stored(whole[: 7 + (len(whole) - 10) * twentieths // 20])


@pytest.mark.parametrize("content", [PROGRESSIVE, JPEG, WEBP, PNG])
def test_no_other_cut_picture_passes_as_whole(content: bytes) -> None:
    """At 60 places."""
    for place in range(1, 61):
        assert not is_stored(content[: len(content) * place // 62])


def test_a_progressive_jpeg_that_ends_between_two_scans_is_cut() -> None:
    """Every scan that it holds is complete, but not every one is there: browsers show a blur."""
    scans = [at for at in range(len(PROGRESSIVE)) if PROGRESSIVE[at : at + 2] == b"\xff\xda"]

    assert flaw_of(PROGRESSIVE[: scans[-1]]) == CUT


# Fewer lines than the header says -----------------------------------------------------------------


def short_png(
    *, lines: int, bits: int, colour: int, is_interlaced: bool = False, is_ended: bool = True
) -> bytes:
    """A PNG of 24 x 20 px with this number of lines of bright pixels; every checksum is right."""
    pixel_bits = PngHeader(1, 1, bits, colour, is_interlaced).pixel_bits
    passes = ((3, 3), (3, 3), (6, 2), (6, 5), (12, 5), (12, 10), (24, 10)) if is_interlaced else ((24, 20),)
    raw = [b"\0" + b"\xc9" * -(-columns * pixel_bits // 8) for columns, height in passes for _ in range(height)]
    packer = zlib.compressobj()
    data = packer.compress(b"".join(raw[:lines])) + packer.flush(
        zlib.Z_FINISH if is_ended else zlib.Z_SYNC_FLUSH
    )
    header = struct.pack(">IIBBBBB", 24, 20, bits, colour, 0, 0, is_interlaced)
    parts = ((b"IHDR", header), (b"PLTE", bytes(range(256)) * 3), (b"IDAT", data), (b"IEND", b""))
    return SIGNATURE + b"".join(chunk(*part) for part in parts if part[0] != b"PLTE" or colour == 3)


PNG_KINDS = [(1, 0), (8, 0), (16, 0), (8, 2), (16, 2), (8, 3), (8, 4), (8, 6), (16, 6)]


@pytest.mark.parametrize(("bits", "colour"), PNG_KINDS)
def test_a_png_with_fewer_lines_than_its_header_says_is_damaged(bits: int, colour: int) -> None:
    """For crawl and build; libpng refuses it, and Pillow gives black lines without a word."""
    for is_interlaced, count in ((False, 20), (True, 38)):
        whole = short_png(lines=count, bits=bits, colour=colour, is_interlaced=is_interlaced)
        assert is_stored(whole)
        assert pixels(whole) is not None
        for lines in (0, count // 2, count - 1):
            for is_ended in (True, False):
                short = short_png(
                    lines=lines, bits=bits, colour=colour, is_interlaced=is_interlaced, is_ended=is_ended
                )
                assert not is_stored(short)
                assert pixels(short) is None


def test_a_png_with_more_data_than_its_header_says_is_kept() -> None:
    """Browsers and libpng pass over what follows the last line."""
    content = short_png(lines=20, bits=8, colour=2)
    data = next(bytes(part.body) for part in chunks(content) if part.kind == b"IDAT")
    more = content.replace(
        chunk(b"IDAT", data), chunk(b"IDAT", zlib.compress(zlib.decompress(data) + b"x" * 999))
    )

    assert more != content
    assert is_kept(more, content)


RESTARTING = encoded(RGB, restart_marker_rows=1)
MPO = encoded(RGB, "MPO", save_all=True, append_images=[RGB.rotate(180)])
# By cjpeg -arithmetic: 17 x 24 px, which end in grey; zeros at the end of the scan are left out (T.81, D.1.8).
ARITHMETIC = base64.b64decode(
    b"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1tdhbWGkJ6jq62rZ4C8"
    b"ybqmx5moq6T/yQALCAAYABEBAREA/8wABgAQEAX/2gAIAQEAAD8A/wALcPuxDymL/gyjaq+Lh5PklkAKut5Q/9k="
)


def higher(jpeg: bytes) -> bytes:
    """The file, whose header says that it has twice as many lines."""
    at = next(jpeg.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in jpeg) + 5
    return jpeg[:at] + struct.pack(">H", 2 * int.from_bytes(jpeg[at : at + 2], "big")) + jpeg[at + 2 :]


@pytest.mark.parametrize(
    "content",
    [
        *(JPEG[: len(JPEG) * part // 8] + b"\xff\xd9" for part in (4, 7)),
        RESTARTING[: RESTARTING.index(b"\xff\xd2")] + b"\xff\xd9",
        PROGRESSIVE[: PROGRESSIVE.index(b"\xff\xda") + 150] + b"\xff\xd9",
        *(MPO[: len(JPEG) * part // 8] + MPO[MPO.index(b"\xff\xd9") :] for part in (4, 7)),
        *map(higher, (JPEG, RESTARTING, PROGRESSIVE, encoded(RGB.convert("L")), encoded(RGB.convert("CMYK")))),
        higher(JPEG) + bytes(100),
    ],
)
def test_a_jpeg_with_fewer_lines_than_its_header_says_is_damaged(content: bytes) -> None:
    """Although it has an end marker: libjpeg warns, and shows grey."""
    assert pixels(content) is None


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_a_jpeg_that_ends_in_grey_is_kept(mode: str, options: dict[str, int | bool]) -> None:
    """If the grey is the picture's own."""
    image = Image.new(mode, (50, 40), 128 if mode == "L" else (128,) * len(mode))
    image.paste(RGB.convert(mode).resize((50, 20)))
    content = encoded(image, "JPEG", quality=95, **options)

    assert _ends_in_grey(Image.open(io.BytesIO(content)))
    assert pixels(content) is not None
    assert pixels(content + bytes(3)) is not None


def test_an_arithmetic_jpeg_that_ends_in_grey_is_kept() -> None:
    """Its coder may leave out zeros at the end, where Huffman codes are padded with ones."""
    image = Image.open(io.BytesIO(ARITHMETIC))

    assert _ends_in_grey(image)
    assert is_kept(ARITHMETIC + bytes(3), ARITHMETIC)
    assert is_kept(ARITHMETIC[:-2], ARITHMETIC)


# Sound pictures that only look damaged -----------------------------------------------------------


@pytest.mark.parametrize(
    "content", [JPEG, PROGRESSIVE, encoded(RGB.convert("L")), encoded(RGB.convert("CMYK"))]
)
def test_a_jpeg_that_lacks_only_its_end_marker_is_kept(content: bytes) -> None:
    """All pixels are there, and browsers show them."""
    assert is_kept(content[:-2], content)
    assert is_kept(content[:-1], content)


@pytest.mark.parametrize("missing", [1, 4, 12, 15, 16, 18, 20])
def test_a_png_that_lacks_only_what_holds_no_pixels_is_kept(missing: int) -> None:
    """The end chunk, and the checksums before it."""
    assert is_kept(PNG[:-missing], PNG)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"iCCP", b"p\0\0" + zlib.compress(matrix_profile(*WIDE_GAMUT, pad=2 << 20))),
        (b"zTXt", b"workflow\0\0" + zlib.compress(LONG)),
        (b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(LONG)),
    ],
)
def test_a_png_with_a_chunk_that_unpacks_to_more_than_a_megabyte_is_kept(kind: bytes, body: bytes) -> None:
    """As scanners and node editors write them."""
    assert is_kept(with_chunk(PNG, kind, body), PNG)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"tEXt", b"a\0b"),
        (b"gAMA", struct.pack(">I", 45455)),
        (b"pHYs", struct.pack(">IIB", 2835, 2835, 1)),
        (b"iCCP", b"p\0\0" + zlib.compress(PROFILE)),
        (b"tRNS", bytes(6)),
        (b"eXIf", b"MM\0*" + bytes(4)),
        (b"acTL", struct.pack(">II", 2, 0)),
    ],
)
def test_a_png_with_a_wrong_checksum_of_a_note_is_kept(kind: bytes, body: bytes) -> None:
    """Browsers and libpng pass over the chunk, with a warning."""
    assert is_kept(with_wrong_checksum(with_chunk(PNG, kind, body), kind), PNG)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"gAMA", b"\0"),
        (b"cHRM", b"\0"),
        (b"sRGB", b""),
        (b"pHYs", b"\0"),
        (b"iCCP", b"p\0\7junk"),
        (b"iCCP", b"p"),
        (b"zTXt", b"a\0\7junk"),
        (b"tRNS", b"\0"),
        (b"acTL", b"\0"),
        (b"fcTL", b"\0"),
    ],
)
@pytest.mark.parametrize("is_behind", [False, True])
def test_a_png_with_malformed_notes_is_kept(kind: bytes, body: bytes, is_behind: bool) -> None:
    """Before the data and behind it."""
    content = with_chunk(PNG, kind, body)
    if is_behind:
        note = content[33 : 33 + 12 + len(body)]
        content = PNG[:-12] + note + PNG[-12:]

    assert is_kept(content, PNG)


@pytest.mark.parametrize(
    ("marker", "body"),
    [
        (0xE0, b"JFIF\0"),
        (0xE0, b"JFIF\0\1"),
        (0xEE, b"Adobe"),
        (0xEE, b"Adobe\0"),
        (0xEE, b"Adobe\0\x64\0\0\0\0"),
        (0xED, b"Photoshop 3.0\x008BIM"),
        (0xED, b"Photoshop 3.0\x008BIM\3\xed\0"),
        (0xED, b"Photoshop 3.0\x008BIM\3\xed\0\0\0\0\0\2ab"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"MPF\0"),
        (0xE1, b"Exif\0\0"),
        (0xFE, b""),
    ],
)
def test_a_jpeg_with_a_short_or_cut_segment_is_kept(marker: int, body: bytes) -> None:
    """By crawl and build alike; libjpeg takes such segments for notes."""
    assert is_kept(with_segment(JPEG, marker, body), JPEG)


# Damaged data ------------------------------------------------------------------------------------


def test_a_png_with_damaged_data_is_refused() -> None:
    """Of 200 one-bit flips, not one changes the pixels of a picture that is kept."""
    image = drawing(7, width=160, height=200)
    whole = encoded(image, "PNG")
    expected, refused = np.asarray(image), 0
    rng = np.random.default_rng(1)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        found = pixels(bytes(damaged))
        refused += found is None
        assert found is None or np.array_equal(found, expected)
        assert (found is None) != is_stored(bytes(damaged))

    assert refused > 190


def test_one_of_the_two_checksums_of_png_data_is_enough() -> None:
    """If only the checksum of a chunk is damaged, its data is right; if that of the data is, too, it is not."""
    interlaced = png_file(np.asarray(RGB), is_interlaced=True)

    for content in (PNG, interlaced):
        assert is_kept(with_wrong_checksum(content, b"IDAT"), content)
        damaged = bytearray(content)
        damaged[content.index(b"IDAT") + 2000] ^= 4
        assert flaw_of(bytes(damaged))
        assert pixels(bytes(damaged)) is None


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (17, 9)])
def test_the_amount_of_png_data_is_known_for_every_kind(mode: str, size: tuple[int, int]) -> None:
    """A picture is whole without its end, and cut if a line is missing."""
    image = Image.new("I", size).convert("I;16") if mode == "I;16" else Image.new("RGB", size).convert(mode)
    content = encoded(image, "PNG")
    start = content.index(b"IDAT")
    lines = zlib.decompress(
        content[start + 4 : start - 4 + 4 + int.from_bytes(content[start - 4 : start], "big") + 4]
    )
    short = zlib.compress(lines[:-1])
    cut = content[: start - 4] + struct.pack(">I", len(short) + 1) + b"IDAT" + short

    assert flaw_of(content[:-12]) == ""
    assert flaw_of(cut) == CUT


def test_an_opened_file_is_never_a_crash() -> None:
    """Headers of all formats with random bytes behind them: a flaw, a refusal, or a picture."""
    rng = np.random.default_rng(3)
    starts = (JPEG[:30], JPEG[:400], PNG[:40], GIF[:13], GIF[:800], WEBP[:12], WEBP[:30])
    for _ in range(2000):
        start = starts[int(rng.integers(len(starts)))]
        content = start[: int(rng.integers(1, len(start) + 1))] + rng.bytes(int(rng.integers(0, 300)))
        header = read_header(content)
        if isinstance(header, ImageHeader):
            assert isinstance(flaw(header.format, content), str)
            needs_decoding(header.format, content)


def test_the_size_of_a_header_is_pillows() -> None:
    """Of every format and kind, odd GIF screens included."""
    lossless, alpha = (
        encoded(RGB, "WEBP", lossless=True),
        encoded(RGB.convert("RGBA"), "WEBP", exif=b"Exif\0\0"),
    )
    small_screen = GIF[:6] + struct.pack("<HH", 10, 200) + GIF[10:]
    for content in (JPEG, PROGRESSIVE, PNG, GIF, WEBP, lossless, alpha, small_screen):
        header = read_header(content)
        with Image.open(io.BytesIO(content)) as image:
            assert header == ImageHeader(str(image.format), *image.size)
