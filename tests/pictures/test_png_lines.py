"""Lines of a PNG that Pillow is given are those that it would unpack, and damaged ones are left to it."""

from __future__ import annotations

import random
import struct
import zlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alti2v.pictures.formats.png import SIGNATURE, chunk, chunks
from alti2v.pictures.png_lines import decode_quickly
from tests.dataset.helpers.golden_pictures import GOLDEN
from tests.dataset.helpers.tiny_store import drawing, encoded
from tests.pictures.helpers.corpus import KINDS, decoded_of
from tests.pictures.helpers.files import png_file, with_chunk
from tests.pictures.helpers.pillow import by_pillow, opened

# Samples of a pixel by colour type, and bits of a sample, of the pictures that are decoded quickly.
QUICK = [
    (0, 1, 1),
    (0, 1, 2),
    (0, 1, 4),
    (0, 1, 8),
    (2, 3, 8),
    (3, 1, 1),
    (3, 1, 4),
    (3, 1, 8),
    (4, 2, 16),
    (6, 4, 8),
]

LEFT = {
    "PNG 16 bit",
    "PNG interlaced",
    "16-bit-colour.png",
    "16-bit-grey.png",
    "alpha-grey.png",
    "animation-png.png",
}


def quick(content: bytes) -> Image.Image | None:
    """The picture with lines that were given to Pillow; None if they were left to it."""
    image = opened(content, "PNG")
    if not decode_quickly(image, content):
        return None
    image.load()
    return image


def facts(image: Image.Image | None) -> object:
    """All that a picture is."""
    assert image is not None
    return image.mode, image.size, image.getpalette(), image.info, dict(image.getexif()), image.tobytes()


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """PNG files of any kind, with any filters and any pixels."""
    colour, samples, bits = draw(st.sampled_from(QUICK))
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 40))
    line = (width * samples * bits + 7) // 8
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    values = rng.integers(0, draw(st.sampled_from((4, 256))), (height, 1 + line), dtype=np.uint8)
    values[:, 0] = rng.integers(0, 5, height)
    data = zlib.compress(values.tobytes(), draw(st.sampled_from((0, 1, 9))))
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))]
    if colour == 3:
        parts.append(chunk(b"PLTE", rng.bytes(3 * int(rng.integers(1, 1 + (1 << bits))))))
    if colour != 4 and colour != 6 and draw(st.booleans()):
        parts.append(chunk(b"tRNS", {0: bytes(2), 2: bytes(6), 3: b"\0\x80"}[colour]))
    at = draw(st.integers(0, len(data)))
    parts += [chunk(b"IDAT", data[:at]), chunk(b"IDAT", data[at:])]
    if draw(st.booleans()):
        parts.append(chunk(b"tEXt", b"Comment\0behind the data"))
    return SIGNATURE + b"".join((*parts, chunk(b"IEND", b"")))


@settings(max_examples=200, deadline=None)
@given(content=files())
def test_a_sound_file_is_what_pillow_decodes(content: bytes) -> None:
    """Mode, pixels, palette and notes, of every kind, filter, size and compression."""
    assert facts(quick(content)) == facts(by_pillow(content, "PNG"))


@settings(max_examples=300, deadline=None)
@given(content=files(), rng=st.randoms(use_true_random=False))
def test_what_is_damaged_is_left_to_pillow(content: bytes, rng: random.Random) -> None:
    """Bits flip or bytes are missing, and the checksums of the chunks are right all the same."""
    parts = list(chunks(content))
    data = bytearray(b"".join(part.body for part in parts if part.kind == b"IDAT"))
    if rng.random() < 0.3:
        del data[-rng.randint(1, len(data)) :]
    else:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    others = [chunk(part.kind, bytes(part.body)) for part in parts if part.kind not in (b"IDAT", b"IEND")]
    damaged = SIGNATURE + b"".join((*others, chunk(b"IDAT", bytes(data)), chunk(b"IEND", b"")))
    found = quick(damaged)

    # A bit that only fills up a byte of the data may be another.
    assert found is None or facts(found) == facts(by_pillow(content, "PNG")) == facts(by_pillow(damaged, "PNG"))


def ordinary() -> dict[str, bytes]:
    """PNG files of the corpus and of the golden pictures."""
    found = {name: KINDS[name](1) for name in KINDS if name.startswith("PNG")}
    golden = (path for path in GOLDEN.glob("*.png") if ".expected" not in path.name)
    return found | {path.name: path.read_bytes() for path in golden}


def test_ordinary_pictures_are_what_pillow_decodes() -> None:
    """A few kinds are left to Pillow."""
    pictures = ordinary()
    found = {name: quick(content) for name, content in pictures.items()}

    assert {name for name, image in found.items() if image is None} == LEFT
    for name in pictures.keys() - LEFT:
        assert facts(found[name]) == facts(by_pillow(pictures[name], "PNG")), name


def idats(content: bytes, *between: bytes) -> bytes:
    """The file with its image data in two chunks, and others between them."""
    first, *rest = (part for part in chunks(content) if part.kind == b"IDAT")
    assert not rest
    body, whole = bytes(first.body), chunk(b"IDAT", bytes(first.body))
    return content.replace(whole, b"".join((chunk(b"IDAT", body[:20]), *between, chunk(b"IDAT", body[20:]))))


def test_unusual_files_are_left_to_pillow() -> None:
    """Cut files, a second header, divided data, animations, and lines of other lengths than the header says."""
    content = png_file(np.asarray(drawing(1, width=40, height=30)))
    lines = zlib.decompress(next(bytes(part.body) for part in chunks(content) if part.kind == b"IDAT"))
    header = content[8:33]

    def with_lines(lines: bytes, checksum: bytes | None = None) -> bytes:
        data = zlib.compress(lines)
        data = data if checksum is None else data[:-4] + checksum
        return SIGNATURE + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")

    assert quick(content) is not None
    assert quick(with_lines(lines)) is not None
    assert quick(idats(content)) is not None
    for unusual in (
        content[:-12],
        idats(content, chunk(b"tEXt", b"a\0b")),
        with_chunk(content, b"IHDR", header[8:21]),
        with_chunk(content, b"acTL", struct.pack(">II", 1, 0)),
        with_lines(lines[:-1]),
        with_lines(lines + b"\0"),
        with_lines(b"\x05" + lines[1:]),
        with_lines(lines, b"\0\0\0\0"),
        with_lines(lines, zlib.compress(lines)[-4:-1]),
        with_lines(lines, b""),
        png_file(np.zeros((1, 1, 3), np.uint8), is_interlaced=True),
        png_file(np.asarray(drawing(1, width=40, height=30)), is_interlaced=True),
    ):
        assert quick(unusual) is None


def test_an_orientation_behind_the_data_counts() -> None:
    """Pillow reads the chunks behind the image data as if it had unpacked them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(drawing(2, width=40, height=30), "PNG")
    content = content[:-12] + chunk(b"eXIf", exif.tobytes()[6:]) + content[-12:]
    decoded = decoded_of(content)

    assert quick(content) is not None
    assert getattr(decoded, "orientation", None) == 6
