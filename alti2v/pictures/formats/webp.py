"""The structure of a WebP file (RFC 9649): its size and length. Pure: bytes in, facts out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alti2v.pictures.formats.flaws import CUT

_CHUNK = 12  # position of the first chunk, behind RIFF, the length, and WEBP
_BODY = _CHUNK + 8
_MOVES, _HAS_ALPHA = 0x02, 0x10  # flags of VP8X (RFC 9649, 2.7)
_NOTES = frozenset({b"ICCP", b"EXIF", b"XMP "})


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Type of a chunk, and the positions where it begins and ends."""

    kind: bytes
    start: int
    end: int


def size(content: bytes | memoryview) -> tuple[int, int] | None:
    """Return width and height of the canvas; None if the first chunk is cut off or none that may be there."""
    kind, body = bytes(content[_CHUNK : _CHUNK + 4]), bytes(content[_BODY : _BODY + 10]).ljust(10, b"\0")
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":  # RFC 6386, 9.1
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    if kind == b"VP8L" and body[:1] == b"\x2f":  # RFC 9649, 3.4
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":  # RFC 9649, 2.7
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    return None


def flaw(content: bytes | memoryview) -> str:
    """Describe what is wrong; "" if the file has the length that it states."""
    is_long_enough = len(content) >= 8 + int.from_bytes(content[4:8], "little")
    return "" if is_long_enough else CUT


def still_image(content: bytes | memoryview) -> memoryview | None:
    """Return the chunks of a still picture's pixels, as libwebp's demuxer cuts them out; None if unusual.

    These are VP8, VP8L, or ALPH and VP8 (RFC 9649, 2.7). The flags of an extended file have to agree with them.
    """
    found = list(_chunks(memoryview(content)))
    is_extended = bool(found) and found[0].kind == b"VP8X"
    flags = content[_BODY] if is_extended else 0
    pixels = found if not is_extended else [chunk for chunk in found[1:] if chunk.kind not in _NOTES]
    match [chunk.kind for chunk in pixels[:2]]:
        case [b"VP8L", *_]:
            end = pixels[0].end
        case [b"VP8 ", *_] if not flags & _HAS_ALPHA:
            end = pixels[0].end
        case [b"ALPH", b"VP8 "] if flags & _HAS_ALPHA and pixels[0].end == pixels[1].start:
            end = pixels[1].end
        case _:
            return None
    return None if flags & _MOVES else memoryview(content)[pixels[0].start : end]


def _chunks(content: memoryview) -> Iterator[_Chunk]:
    """Yield each whole chunk; the byte that makes a length even belongs to it."""
    at = _CHUNK
    while (body := at + 8) <= len(content):
        size = int.from_bytes(content[at + 4 : body], "little")
        end = body + size + size % 2
        if end > len(content):
            return
        yield _Chunk(bytes(content[at : at + 4]), at, end)
        at = end
