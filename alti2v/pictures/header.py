"""Format and size of a picture from the header of its bytes, without decoding."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from alti2v.pictures.formats import avif, gif, jpeg, png, webp
from alti2v.pictures.limits import MAX_STORED_PIXELS


class NoPicture(StrEnum):
    """Reason why bytes are not a picture that can be stored."""

    NOT_IMAGE = "not_image"  # a web page, a message or nothing
    UNSUPPORTED_FORMAT = "unsupported_format"
    TOO_MANY_PIXELS = "too_many_pixels"
    DAMAGED = "damaged"  # it begins like a picture


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Facts from a header.

    Attributes:
        format: JPEG, PNG, GIF, WEBP or AVIF.
        width, height: px, not turned by an EXIF orientation.
    """

    format: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class PictureRefusal:
    """Reason why bytes are not a picture that can be stored, also in words."""

    kind: NoPicture
    message: str


def format_of(content: bytes | memoryview) -> str | None:
    """Return JPEG, PNG, GIF, WEBP or AVIF by the first bytes; None for anything else."""
    start = bytes(content[:12])
    if start.startswith(jpeg.SOI + b"\xff"):
        return "JPEG"
    if start.startswith(png.SIGNATURE[:4]):
        return "PNG"
    if start.startswith(gif.SIGNATURES):
        return "GIF"
    if start.startswith(b"RIFF") and start[8:] == b"WEBP":
        return "WEBP"
    return "AVIF" if avif.is_avif(content) else None


def read_header(content: bytes | memoryview) -> ImageHeader | PictureRefusal:
    """Read the header of a picture; return the reason if it cannot be stored."""
    kind = format_of(content)
    if kind is None:
        return _what_else(bytes(content[:4096]))
    size = _size(kind, content)
    if isinstance(size, PictureRefusal):
        return size
    if size is None or not (size[0] and size[1]):
        return PictureRefusal(NoPicture.DAMAGED, f"the header of this {kind} is damaged")
    if size[0] * size[1] > MAX_STORED_PIXELS:
        return PictureRefusal(NoPicture.TOO_MANY_PIXELS, f"{size[0]} x {size[1]} px")
    return ImageHeader(kind, *size)


def _size(kind: str, content: bytes | memoryview) -> tuple[int, int] | PictureRefusal | None:
    if kind == "GIF":
        return gif.size(content)
    if kind == "WEBP":
        return webp.size(content)
    if kind == "AVIF":
        return avif.size(content)
    if kind == "PNG":
        header = png.read_header(content)
        return None if header is None else (header.width, header.height)
    frame = jpeg.frame(content)
    if frame is not None and (frame.bits != 8 or len(frame.components) not in (1, 3, 4)):
        what = f"{frame.bits} bits and {len(frame.components)} components"
        return PictureRefusal(NoPicture.UNSUPPORTED_FORMAT, f"a JPEG with {what}")
    return None if frame is None else (frame.width, frame.height)


def _what_else(beginning: bytes) -> PictureRefusal:
    start = beginning[:256].lstrip().lower()
    if not start:
        return PictureRefusal(NoPicture.NOT_IMAGE, "an empty body")
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return PictureRefusal(NoPicture.NOT_IMAGE, "a web page")
    if start[:1] in b'<{["' and b"<svg" not in beginning.lower():
        return PictureRefusal(NoPicture.NOT_IMAGE, "a message, not a picture")
    if _is_text(beginning[:256]):
        return PictureRefusal(NoPicture.NOT_IMAGE, "text, not a picture")
    return PictureRefusal(NoPicture.UNSUPPORTED_FORMAT, "not a JPEG, PNG, GIF, WebP or AVIF file")


def _is_text(start: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n" for byte in start) and b"<svg" not in start.lower()
