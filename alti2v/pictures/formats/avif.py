"""The structure of an AVIF file: its size and length. Pure: bytes in, facts out.

Boxes are those of ISO/IEC 14496-12, 4.2; the size of a picture is in the property `ispe` of ISO/IEC 23008-12,
6.5.3. A picture that is made of tiles has one for each kind of item; the largest is that of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from alti2v.pictures.formats.flaws import CUT, DAMAGED_DATA

BRANDS = (b"avif", b"avis")  # AV1 Image File Format 1.1, 6: pictures, and sequences of them
_CONTAINERS = (b"mif1", b"msf1", b"miaf")  # major brands of files that may have one of these beside them
_MOST_BOXES = 10_000
_MOST_BRANDS = 64


class Box(NamedTuple):
    """A box: its kind, where its content begins, and where it ends."""

    kind: bytes
    start: int
    end: int


def is_avif(content: bytes | memoryview) -> bool:
    """Return whether the first box of a file declares AVIF."""
    start = bytes(content[: 16 + 4 * _MOST_BRANDS])
    if start[4:8] != b"ftyp":
        return False
    major, end = start[8:12], int.from_bytes(start[:4], "big")
    others = [start[at : at + 4] for at in range(16, min(end, len(start)) - 3, 4)]
    return major in BRANDS or (major in _CONTAINERS and any(brand in BRANDS for brand in others))


def boxes(content: bytes | memoryview, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two positions; the last may end behind `end`, if the file is cut."""
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        size, head = int.from_bytes(content[start : start + 4], "big"), 8
        if size == 1:  # the size follows, in 8 bytes
            size, head = int.from_bytes(content[start + 8 : start + 16], "big"), 16
        if size == 0:  # to the end
            size = end - start
        if size < head:
            return
        yield Box(bytes(content[start + 4 : start + 8]), start + head, start + size)
        start += size


def size(content: bytes | memoryview) -> tuple[int, int] | None:
    """Return width and height before any rotation in the file; None if it has none."""
    whole = Box(b"", 0, len(content))
    found = []
    for meta in _within(content, whole, b"meta"):
        body = Box(meta.kind, meta.start + 4, meta.end)  # version and flags
        for properties in _within(content, body, b"iprp"):
            for container in _within(content, properties, b"ipco"):
                found += [
                    (
                        int.from_bytes(content[box.start + 4 : box.start + 8], "big"),
                        int.from_bytes(content[box.start + 8 : box.start + 12], "big"),
                    )
                    for box in _within(content, container, b"ispe")
                    if box.start + 12 <= min(box.end, len(content))
                ]
    return max(found, key=lambda sides: sides[0] * sides[1], default=None)


def flaw(content: bytes | memoryview) -> str:
    """Describe what is missing; "" if all boxes are there, and one has data."""
    found = list(boxes(content, 0, len(content)))
    if found and found[-1].end > len(content):
        return CUT
    kinds = {box.kind for box in found}
    if b"meta" not in kinds:
        return DAMAGED_DATA
    has_idat = any(
        inner.kind == b"idat"
        for box in found
        if box.kind == b"meta"
        for inner in boxes(content, box.start + 4, box.end)
    )
    return "" if b"mdat" in kinds or has_idat else CUT


def _within(content: bytes | memoryview, outer: Box, kind: bytes) -> Iterator[Box]:
    return (box for box in boxes(content, outer.start, min(outer.end, len(content))) if box.kind == kind)
