"""The structure of a WebP file (RFC 9649): its size and length. Pure: bytes in, facts out."""

from __future__ import annotations

from alti2v.pictures.formats.flaws import CUT

_CHUNK = 12  # position of the first chunk, behind RIFF, the length, and WEBP
_BODY = _CHUNK + 8


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
