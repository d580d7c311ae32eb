"""The structure of a JPEG file (ITU T.81, annex B): its segments, size and end. Pure: bytes in, facts out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from alti2v.pictures.formats.flaws import CUT

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
_SOS = 0xDA
_APP0, _APP1, _APP2, _APP14, _APP15, _COM = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
# SOF0 to SOF15; C4, C8 and CC are no frames (table B.1).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SOF9 = 0xC9  # from it on, scans are coded arithmetically
# A marker with a length behind it, or the end marker: neither data (FF 00), nor a fill byte (FF FF), nor one of
# those that stand alone (FF 01, FF D0 to FF D8).
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])", re.DOTALL)
_COEFFICIENTS = frozenset(range(64))
# Application segments that change how a picture looks, with the shortest body that libjpeg takes for one
# (jdmarker.c: APP0_DATA_LEN, APP14_DATA_LEN). All others are notes.
_TELLING = {
    _APP0: (b"JFIF\0", 14),
    _APP1: (b"Exif\0\0", 6),
    _APP2: (b"ICC_PROFILE\0", 14),
    _APP14: (b"Adobe", 12),
}


@dataclass(frozen=True, slots=True)
class Segment:
    """A marker and what belongs to it.

    Attributes:
        marker: Second byte of the marker.
        start: Position of its first byte.
        body: Position behind the length.
        end: Position behind the body, which may be beyond the end of the file.
    """

    marker: int
    start: int
    body: int
    end: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame header.

    Attributes:
        width: Samples in a line, > 0 unless damaged.
        height: Lines, > 0 unless damaged.
        bits: Bits of a sample.
        components: Identifiers of the components.
        is_arithmetic: True if its scans are coded arithmetically.
    """

    width: int
    height: int
    bits: int
    components: bytes
    is_arithmetic: bool


def segments(content: bytes | memoryview, at: int = len(SOI)) -> Iterator[Segment]:
    """Yield the segments from a position on, those between and behind scans included, up to the end marker.

    Junk between segments is skipped, as libjpeg does it.
    """
    while (match := _MARKER.search(content, at)) is not None:
        marker, body = match[1][0], match.end() + 2
        if marker == EOI[1]:
            yield Segment(marker, match.start(), match.end(), match.end())
            return
        if body > len(content):
            return
        # libjpeg takes a note of less than two bytes for an empty one; other segments it refuses itself.
        at = max(body, match.end() + int.from_bytes(content[match.end() : body], "big"))
        yield Segment(marker, match.start(), body, at)


def header(content: bytes | memoryview) -> list[Segment]:
    """Return the segments before the first scan."""
    return list(_before_scans(content))


def _before_scans(content: bytes | memoryview) -> Iterator[Segment]:
    return takewhile(lambda segment: segment.marker not in (_SOS, EOI[1]), segments(content))


def frame(content: bytes | memoryview) -> Frame | None:
    """Read the frame header; None if the file ends or is damaged before it."""
    for segment in _before_scans(content):
        if segment.marker in _FRAMES and segment.body + 6 <= segment.end <= len(content):
            body = bytes(content[segment.body : segment.end])
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            is_arithmetic = segment.marker >= _SOF9
            return Frame(width, height, body[0], body[6 : 6 + 3 * body[5] : 3], is_arithmetic)
    return None


def has_end(content: bytes | memoryview) -> bool:
    """Return whether there is a scan and an end marker behind it; that of an EXIF thumbnail does not count."""
    found = segments(content)
    scan = next((segment for segment in found if segment.marker in (_SOS, EOI[1])), None)
    if scan is None or scan.marker == EOI[1]:
        return False
    if content[-2:] == EOI and scan.end <= len(content) - 2:  # nearly every file, and no scan need be read
        return True
    return any(segment.marker == EOI[1] for segment in found)


def end_of_scans(content: bytes | memoryview) -> int:
    """Return the position of the end marker, or that of the end of the file."""
    return next((found.start for found in segments(content) if found.marker == EOI[1]), len(content))


def flaw(content: bytes | memoryview) -> str:
    """Describe what is missing; "" if there is an end marker, or if every scan has begun.

    In the second case only decoding tells whether the last scan is complete.
    """
    return "" if has_end(content) or _has_all_scans(content) else CUT


def _has_all_scans(content: bytes | memoryview) -> bool:
    """Return whether the scans that have begun bring every coefficient of every component to its last bit.

    A progressive file brings them in several scans (G.1.1.1); libjpeg shows what is missing as a blur.
    """
    components = (found := frame(content)) and found.components
    exact: dict[int, set[int]] = {component: set() for component in components or b""}
    for segment in segments(content):
        if segment.marker != _SOS or segment.end > len(content):
            continue
        body = bytes(content[segment.body : segment.end])
        count = body[0] if body else 0
        if len(body) < 4 + 2 * count:
            return False
        first, last, bits = body[1 + 2 * count : 4 + 2 * count]
        if bits & 15 == 0:  # Al, the bits that later scans have to refine
            for component in body[1 : 1 + 2 * count : 2]:
                exact.setdefault(component, set()).update(range(first, last + 1))
    return bool(exact) and all(got >= _COEFFICIENTS for got in exact.values())


def plain(content: bytes | memoryview) -> bytes:
    """Return the file without its notes: comments, and application segments that do not change its look.

    Short JFIF and Adobe segments go, too: libjpeg takes them for notes, Pillow for a reason to refuse the file.
    """
    kept, at = [], 0
    for note in (segment for segment in header(content) if _is_note(content, segment)):
        kept.append(content[at : note.start])
        at = note.end
    return b"".join((*kept, content[at:]))


def _is_note(content: bytes | memoryview, segment: Segment) -> bool:
    if segment.marker in _TELLING:
        name, shortest = _TELLING[segment.marker]
        body = content[segment.body : segment.end]
        return len(body) < shortest or body[: len(name)] != name
    return _APP0 <= segment.marker <= _APP15 or segment.marker == _COM
