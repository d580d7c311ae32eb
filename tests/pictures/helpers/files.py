"""Files made byte by byte: what Pillow does not write, or not wrongly enough."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

import numpy as np

from alti2v.pictures.formats.png import SIGNATURE, chunk

_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}  # colour type by samples of a pixel (PNG, table 8)


def png_file(
    values: np.ndarray,
    extra: Iterable[tuple[bytes, bytes]] = (),
    *,
    bits: int | None = None,
    is_interlaced: bool = False,
) -> bytes:
    """A PNG of (H, W) or (H, W, samples), uint8 or uint16; of fewer `bits` where they are given, grey.

    `extra` are chunks between header and data.
    """
    pixels = values if values.ndim == 3 else values[..., None]
    height, width, samples = pixels.shape
    bits = bits or 8 * values.itemsize
    wide = pixels.astype(f">u{values.itemsize}")
    passes = _PASSES if is_interlaced else ((0, 0, 1, 1),)
    parts = (wide[top::down, left::across] for left, top, across, down in passes)
    lines = b"".join(b"\0" + _packed(line, bits) for part in parts if part.size for line in part)
    header = struct.pack(">IIBBBBB", width, height, bits, _COLOUR[samples], 0, 0, is_interlaced)
    chunks = ((b"IHDR", header), *extra, (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return SIGNATURE + b"".join(chunk(*one) for one in chunks)


def _packed(line: np.ndarray, bits: int) -> bytes:
    if bits >= 8:
        return line.tobytes()
    shown = np.unpackbits(line.reshape(-1, 1).astype(np.uint8), axis=1)[:, -bits:]
    return np.packbits(shown).tobytes()


def with_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """Put a chunk behind the header."""
    end = len(SIGNATURE) + 25
    return png[:end] + chunk(kind, body) + png[end:]


def with_wrong_checksum(png: bytes, kind: bytes) -> bytes:
    """Spoil the checksum of the first chunk of a kind."""
    at = png.index(kind)
    end = at + 4 + int.from_bytes(png[at - 4 : at], "big")
    return png[:end] + bytes([png[end] ^ 1]) + png[end + 1 :]


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """Put an application segment before all others."""
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def with_thumbnail(jpeg: bytes, thumbnail: bytes) -> bytes:
    """Put EXIF data with a thumbnail into a JPEG (CIPA DC-008, 4.5.5)."""
    entries = struct.pack(">HHII", 0x201, 4, 1, 44) + struct.pack(">HHII", 0x202, 4, 1, len(thumbnail))
    tiff = b"MM\0*" + struct.pack(">IHI", 8, 0, 14) + struct.pack(">H", 2) + entries + bytes(4) + thumbnail
    return with_segment(jpeg, 0xE1, b"Exif\0\0" + tiff)


def matrix_profile(
    red: tuple[float, ...], green: tuple[float, ...], blue: tuple[float, ...], pad: int = 0
) -> bytes:
    """A minimal ICC profile (ICC.1:2001-04): three D50 primaries, gamma 2.2, and `pad` bytes of noise."""

    def fixed(values: Iterable[float]) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(2.2 * 256), 0)
    white = (0.9642, 1.0, 0.8249)
    tags = [
        (b"desc", b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79)),
        (b"cprt", b"text\0\0\0\0none\0\0\0\0"),
        *(
            (name, b"XYZ \0\0\0\0" + fixed(xyz))
            for name, xyz in ((b"wtpt", white), (b"rXYZ", red), (b"gXYZ", green), (b"bXYZ", blue))
        ),
        *((name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")),
    ]
    if pad:
        tags.append((b"priv", b"data\0\0\0\0" + np.random.default_rng(0).bytes(pad)))
    start, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags:
        padded = data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", start + len(body), len(padded))
        body += padded
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ") + bytes(12)
    return head + b"acsp" + bytes(28) + fixed(white) + bytes(48) + table + body


# Adobe RGB (1998), adapted to D50: far from sRGB.
WIDE_GAMUT = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


def with_many_scans(jpeg: bytes, count: int) -> bytes:
    """Repeat the last scan of a progressive JPEG: each costs its decoder a pass over all blocks."""
    start, end = jpeg.rindex(b"\xff\xda"), len(jpeg) - 2
    return jpeg[:end] + jpeg[start:end] * count + jpeg[end:]
