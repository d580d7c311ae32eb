"""The structure of a GIF file (CompuServe, GIF89a): its blocks, size and end. Pure: bytes in, facts out."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from alti2v.pictures.formats.flaws import CUT, DAMAGED_DATA

SIGNATURES = (b"GIF87a", b"GIF89a")
EXTENSION, IMAGE = b"!", b","
_SCREEN_END = 13
_PLACE = struct.Struct("<HHHH")  # left, top, width, height


@dataclass(frozen=True, slots=True)
class Block:
    """Block of a GIF file.

    Attributes:
        kind: First byte: an extension, an image, the trailer, or another value.
        start: Position of that byte.
        is_whole: False if the file ends within the block.
    """

    kind: bytes
    start: int
    is_whole: bool


def blocks(content: bytes | memoryview) -> Iterator[Block]:
    """Yield the blocks of a file in order, up to its trailer, to bytes that are not a block, or to its end."""
    at: int | None = _SCREEN_END + _table(content, 10)
    while at is not None and at < len(content):
        kind = bytes(content[at : at + 1])
        if kind == EXTENSION:
            end = _after_data(content, at + 2)
        elif kind == IMAGE:
            end = _after_data(content, at + 11 + _table(content, at + 9))
        else:
            yield Block(kind, at, is_whole=True)
            return
        yield Block(kind, at, is_whole=end is not None)
        at = end


def _table(content: bytes | memoryview, at: int) -> int:
    """Bytes of the colour table that the flags at a position speak of."""
    flags = content[at] if at < len(content) else 0
    return 3 << (flags & 7) + 1 if flags & 128 else 0


def _after_data(content: bytes | memoryview, at: int) -> int | None:
    """Position behind a run of sub-blocks; None if the file ends before."""
    while at < len(content):
        length = content[at]
        at += 1 + length
        if not length:
            return at
    return None


def size(content: bytes | memoryview) -> tuple[int, int] | None:
    """Return the size of the screen, or of the first image if that is larger; None if there is no image."""
    image = next((block for block in blocks(content) if block.kind == IMAGE), None)
    if image is None or image.start + 10 > len(content):
        return None
    width, height = struct.unpack_from("<HH", content, 6)
    left, top, across, down = _PLACE.unpack_from(content, image.start + 1)
    return max(width, left + across), max(height, top + down)


def flaw(content: bytes | memoryview) -> str:
    """Describe what is missing; "" if every image that has begun is there, or may be.

    The trailer may be missing, and anything may follow an image: browsers take either for the end. If the file
    ends within its first image, only decoding tells whether all pixels are there.
    """
    found = list(blocks(content))
    images = sum(block.kind == IMAGE for block in found)
    if not images:
        is_cut = not found or not found[-1].is_whole or found[-1].kind == EXTENSION
        return CUT if is_cut else DAMAGED_DATA
    last = found[-1]
    return CUT if last.kind == EXTENSION or (not last.is_whole and images > 1) else ""
