"""The structure of a PNG file (PNG, 3rd edition): its chunks, checksums and data. Pure: bytes in, facts out."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zlib_ng import zlib_ng

from alti2v.pictures.formats.flaws import CUT, DAMAGED_DATA, DAMAGED_HEADER

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LENGTH = struct.Struct(">I4s")
_HEADER = struct.Struct(">IIBBBBB")
_AROUND = 12  # bytes of a chunk beside its body: length, type, checksum
# Samples of a pixel by colour type (table 8), where that many bits are allowed.
_CHANNELS = {0: (1, (1, 2, 4, 8, 16)), 2: (3, (8, 16)), 3: (1, (1, 2, 4, 8)), 4: (2, (8, 16)), 6: (4, (8, 16))}
# First column and line, and step across and down, of the passes of an interlaced picture (8.2).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_SHORTEST_TRANSPARENCY = {0: 2, 2: 6, 3: 0}
_MOST_PROFILE_BYTES = 8_000_000  # libpng's default for what a chunk unpacks to (PNG_USER_CHUNK_MALLOC_MAX)
_INFLATED_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class PngHeader:
    """Content of IHDR: sides in px, bits of a sample, colour type, and whether it is interlaced."""

    width: int
    height: int
    bits: int
    colour: int
    is_interlaced: bool

    @property
    def pixel_bits(self) -> int:
        """Bits of a pixel."""
        return self.bits * _CHANNELS[self.colour][0]

    @property
    def raw_bytes(self) -> int:
        """Bytes of the picture's lines before compression, filter bytes included."""
        passes = _ADAM7 if self.is_interlaced else ((0, 0, 1, 1),)
        sizes = (
            ((self.width - x + across - 1) // across, (self.height - y + down - 1) // down)
            for x, y, across, down in passes
        )
        return sum(
            lines * (1 + (columns * self.pixel_bits + 7) // 8) for columns, lines in sizes if columns > 0
        )


@dataclass(frozen=True, slots=True)
class PngChunk:
    """Chunk of a PNG file.

    Attributes:
        kind: Its type.
        body: Its data; of a chunk that is cut off, what there is.
        crc: Checksum that the file gives; None where the chunk is cut off.
    """

    kind: bytes
    body: memoryview
    crc: int | None

    @property
    def is_sound(self) -> bool:
        """True if the checksum is right."""
        return self.crc == zlib_ng.crc32(self.body, zlib_ng.crc32(self.kind))


def chunks(content: bytes | memoryview) -> Iterator[PngChunk]:
    """Yield the chunks of a file in order, up to IEND or the last that has begun."""
    view, at = memoryview(content), len(SIGNATURE)
    while at + _LENGTH.size <= len(view):
        length, kind = _LENGTH.unpack_from(view, at)
        start, end = at + _LENGTH.size, at + _LENGTH.size + length
        crc = int.from_bytes(view[end : end + 4], "big") if end + 4 <= len(view) else None
        yield PngChunk(kind, view[start:end], crc)
        if kind == b"IEND":
            return
        at += _AROUND + length


def read_header(content: bytes | memoryview) -> PngHeader | None:
    """Read IHDR; None if it is cut off, damaged or impossible."""
    first = next(chunks(content), None)
    if first is None or first.kind != b"IHDR" or len(first.body) != _HEADER.size or not first.is_sound:
        return None
    width, height, bits, colour, compression, filters, interlace = _HEADER.unpack(first.body)
    if compression or filters or interlace > 1 or bits not in _CHANNELS.get(colour, (0, ()))[1]:
        return None
    return PngHeader(width, height, bits, colour, bool(interlace))


def flaw(content: bytes | memoryview) -> str:
    """Describe what is wrong with the picture's data; "" if all of it is there.

    Two checksums guard it: one of each chunk, one of all data. Either is enough: a chunk whose checksum alone
    is damaged has the right data. Faults of other chunks change no pixel.
    """
    header, parts = read_header(content), list(chunks(content))
    if header is None:
        return DAMAGED_HEADER
    data = [part for part in parts if part.kind == b"IDAT"]
    is_ended = parts[-1].kind == b"IEND"
    if any(part.kind == b"PLTE" and not part.is_sound for part in parts) and header.colour == 3:
        return DAMAGED_DATA
    are_sound = all(part.is_sound for part in data if part.crc is not None)
    if data and is_ended and are_sound:
        return ""  # what its writer meant; `has_all_lines` and the decoder say whether that is a whole picture
    is_full, is_proven = _inflate(data, header.raw_bytes)
    if is_proven or (is_full and are_sound):
        return ""
    return DAMAGED_DATA if is_ended or not are_sound else CUT


def _inflate(data: Sequence[PngChunk], wanted: int) -> tuple[bool, bool]:
    """Unpack image data: whether all bytes are there, and whether its own checksum confirms them."""
    inflater, got = zlib_ng.decompressobj(), 0
    with contextlib.suppress(zlib_ng.error):  # type: ignore[arg-type]  # a class, which its stub calls an instance
        for part in data:
            rest: bytes | memoryview = part.body
            while rest and not inflater.eof and got <= wanted:
                # No further than the last line: an error behind it must not hide what was unpacked before.
                got += len(inflater.decompress(rest, min(_INFLATED_AT_ONCE, wanted - got or 1)))
                rest = inflater.unconsumed_tail
        if got < wanted:  # what it has unpacked of a run of equal bytes, but not handed out
            got += len(inflater.flush())
    return got >= wanted, got >= wanted and inflater.eof


def has_all_lines(content: bytes | memoryview) -> bool:
    """Unpack a file's image data, and return whether there is a byte for each that its header promises."""
    header = read_header(content)
    data = [part for part in chunks(content) if part.kind == b"IDAT"]
    return header is not None and _inflate(data, header.raw_bytes)[0]


def plain(content: bytes | memoryview) -> bytes:
    """Return the chunks that decide pixels, transparency and orientation, and no others.

    Chunks with a wrong checksum or length, which libpng passes over, go; so does the colour profile, see
    `colour_profile`.
    """
    header, parts = read_header(content), list(chunks(content))
    colour = -1 if header is None else header.colour
    shortest = _SHORTEST_TRANSPARENCY.get(colour, 1 << 32)
    kept = [
        part
        for part in parts
        if part.kind in (b"IHDR", b"PLTE", b"eXIf")
        or (part.kind == b"tRNS" and shortest <= len(part.body) <= 256)
    ]
    data = _complete(b"".join(part.body for part in parts if part.kind == b"IDAT"))
    sound = [(part.kind, bytes(part.body)) for part in kept if part.is_sound]
    return SIGNATURE + b"".join(chunk(*one) for one in (*sound, (b"IDAT", data), (b"IEND", b"")))


def _complete(data: bytes) -> bytes:
    """Pack image data again if its last bytes, which hold no pixel, are missing: Pillow waits for them."""
    inflater = zlib.decompressobj()
    lines = inflater.decompress(data)
    return data if inflater.eof else zlib.compress(lines, 1)


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk as bytes."""
    return _LENGTH.pack(len(body), kind) + body + zlib_ng.crc32(body, zlib_ng.crc32(kind)).to_bytes(4, "big")


def colour_profile(content: bytes | memoryview) -> bytes | None:
    """Unpack the ICC profile; None if there is none, or a damaged one, or one of more than 8 MB."""
    for part in chunks(content):
        if part.kind == b"iCCP" and part.is_sound:
            _, _, packed = bytes(part.body).partition(b"\0")
            inflater = zlib.decompressobj()
            try:
                profile = inflater.decompress(packed[1:], _MOST_PROFILE_BYTES)
            except zlib.error:
                return None
            return profile if inflater.eof and packed[:1] == b"\0" else None
    return None
