"""Lines of ordinary PNG files, unpacked by zlib-ng and unfiltered by libspng: twice as fast as Pillow.

Pillow goes on to read everything else in the file, and alone refuses pictures. What is not proven sound here is
left to it.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from itertools import groupby

import pyspng
from PIL import ImageFile
from zlib_ng import zlib_ng

from alti2v.pictures.formats import png

# By bytes of a pixel: the colour type of 8 bits that libspng unfilters in the same way, and does not convert.
_COLOUR = {1: 0, 3: 2, 4: 6}
_MOST_BYTES = 100_000_000  # of the lines, which are in memory up to five times
_ANIMATED = frozenset({b"acTL", b"fcTL", b"fdAT"})
_ZLIB_HEADER = b"\x78\x01"  # RFC 1950, 2.2
_MOST_STORED = 65_535  # bytes of a stored block (RFC 1951, 3.2.4)
_STORED = struct.Struct("<BHH")  # last or not, length, its complement


def decode_quickly(image: ImageFile.ImageFile, content: bytes) -> bool:
    """Give the lines of an opened PNG to Pillow, so that its `load` need not unpack and unfilter them.

    Returns:
        False if that is left to Pillow.
    """
    tile = image.tile[0] if len(image.tile) == 1 else None
    if tile is None or tile.codec_name != "zip" or tile.extents != (0, 0, *image.size):
        return False
    lines = unfiltered(content, image.size)
    if lines is None:
        return False
    # The position stays that of the image data: there Pillow goes on with the chunks behind it.
    image.tile = [tile._replace(codec_name="raw")]
    image.decodermaxblock = len(lines)
    vars(image)["load_read"] = io.BytesIO(lines).read  # in place of the method that reads image data
    return True


def unfiltered(content: bytes, size: tuple[int, int]) -> bytes | None:
    """Return the lines of a PNG of this size, without the filter bytes; None if it is not plainly sound.

    Image data count as sound if they unpack to the right length and their checksum is right.
    """
    header, parts = png.read_header(content), list(png.chunks(content))
    if header is None or header.is_interlaced or (header.width, header.height) != size:
        return None
    pixel_bytes = max(1, header.pixel_bits // 8)
    if not _is_ordinary(parts) or pixel_bytes not in _COLOUR or header.raw_bytes > _MOST_BYTES:
        return None
    packed = _unpacked(b"".join(part.body for part in parts if part.kind == b"IDAT"), header.raw_bytes)
    if packed is None:
        return None
    columns = (header.raw_bytes // header.height - 1) // pixel_bytes
    try:
        lines = pyspng.load(_stored(packed, columns, header.height, _COLOUR[pixel_bytes]))
    except RuntimeError:  # a line has a filter that does not exist
        return None
    return bytes(lines.tobytes())


def _is_ordinary(parts: Sequence[png.PngChunk]) -> bool:
    """Return whether a file is complete and has one header, one run of image data and no animation."""
    kinds = [part.kind for part in parts]
    runs = [kind for kind, _ in groupby(kinds)]
    is_whole = kinds[-1] == b"IEND" and kinds.count(b"IHDR") == runs.count(b"IDAT") == 1
    return is_whole and _ANIMATED.isdisjoint(kinds)


def _unpacked(data: bytes, wanted: int) -> bytes | None:
    """Unpack image data; None unless there are exactly these bytes and a right checksum."""
    inflater = zlib_ng.decompressobj()
    try:
        lines = inflater.decompress(data, wanted + 1)
    except zlib_ng.error:  # type: ignore[misc]  # a class, which its stub calls an instance
        return None
    return lines if len(lines) == wanted and inflater.eof else None


def _stored(lines: bytes, columns: int, height: int, colour: int) -> bytes:
    """Make a PNG whose data are not packed, and without checksums, which pyspng does not read."""
    view = memoryview(lines)
    header = png.chunk(b"IHDR", struct.pack(">IIBBBBB", columns, height, 8, colour, 0, 0, 0))
    parts: list[bytes | memoryview] = [png.SIGNATURE, header]
    start = _ZLIB_HEADER
    for at in range(0, len(lines), _MOST_STORED):
        block = view[at : at + _MOST_STORED]
        is_last = at + _MOST_STORED >= len(lines)
        begun = start + _STORED.pack(is_last, len(block), len(block) ^ 0xFFFF)
        parts += (struct.pack(">I4s", len(begun) + len(block), b"IDAT"), begun, block, bytes(4))
        start = b""
    return b"".join((*parts, png.chunk(b"IEND", b"")))
