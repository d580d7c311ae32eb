"""Format and size of a picture, from the header of its bytes. Nothing is decoded."""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass

from alti2v.crawl.http.retry import FailedTry, FailKind
from alti2v.storage.layout import IMAGE_SUFFIX_OF_FORMAT

# Pillow's own limit against decompression bombs: twice MAX_IMAGE_PIXELS raises.
MAX_PIXELS = 2 * 89_478_485
_FORMATS = tuple(IMAGE_SUFFIX_OF_FORMAT)
# A truncated picture lacks its end marker (JPEG: EOI, ITU T.81 B.1.1.3; PNG: IEND; GIF: trailer).
# Some programs append data after it, hence the margin.
_END_MARKERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND", "GIF": b";"}
_TAIL = 64 * 1024
# JPEG markers (ITU T.81, table B.1), without the leading 0xFF.
_SOI = b"\xff\xd8"
_SOF = (b"\xc0", b"\xc1", b"\xc2")  # baseline, extended, progressive
_SOS = b"\xda"
_OTHER_SEGMENTS = frozenset(bytes([code]) for code in (0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE))


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Format and size of a picture.

    Attributes:
        format: JPEG, PNG, GIF or WEBP.
        width, height: Size in px, without the EXIF orientation.
    """

    format: str
    width: int
    height: int


def identify(content: bytes | memoryview) -> ImageHeader | FailedTry:
    """Read the header of a picture, or return why the file is not stored."""
    size = _jpeg_size(content)
    if size is not None and size[0] * size[1] <= MAX_PIXELS:
        return ImageHeader("JPEG", *size)
    return _identify_with_pillow(content)


def _identify_with_pillow(content: bytes | memoryview) -> ImageHeader | FailedTry:
    from PIL import Image, UnidentifiedImageError  # most crawls never need it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # half of our limit
            # The allow-list keeps the bytes away from every other parser.
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                picture = ImageHeader(str(image.format), *image.size)
    except Image.DecompressionBombError:
        return FailedTry(kind=FailKind.TOO_MANY_PIXELS, message=f"more than {MAX_PIXELS} pixels")
    except UnidentifiedImageError:
        return _describe(bytes(content[:4096]))
    except Exception as exc:  # noqa: BLE001 - parsers of hostile bytes raise anything: OSError, SyntaxError ...
        return FailedTry(kind=FailKind.TRUNCATED_BODY, message=f"unreadable header: {exc}")
    if picture.format not in IMAGE_SUFFIX_OF_FORMAT:  # MPO is a JPEG with more pictures after the first
        if picture.format != "MPO":
            return FailedTry(kind=FailKind.UNSUPPORTED_FORMAT, message=f"a {picture.format} file")
        picture = ImageHeader("JPEG", picture.width, picture.height)
    if picture.width * picture.height > MAX_PIXELS:
        return FailedTry(kind=FailKind.TOO_MANY_PIXELS, message=f"{picture.width} x {picture.height} px")
    return picture


def _jpeg_size(content: bytes | memoryview) -> tuple[int, int] | None:
    """Return width and height of an ordinary JPEG; None for anything else, which is left to Pillow.

    Ordinary: Huffman-coded, 8 bits, and its segments are in order up to the first scan (ITU T.81, annex B).
    Nearly every file is one, and this takes a tenth of Pillow's time.
    """
    if content[:2] != _SOI:
        return None
    at, size = 2, None
    while content[at : at + 1] == b"\xff":
        marker, length = bytes(content[at + 1 : at + 2]), int.from_bytes(content[at + 2 : at + 4], "big")
        if length < 2:
            return None
        if marker in _SOF:
            frame = bytes(content[at + 4 : at + 10]).ljust(6)
            precision, height, width, components = struct.unpack(">BHHB", frame)
            if precision != 8 or components not in (1, 3) or not (width and height) or size is not None:
                return None
            size = width, height
        elif marker == _SOS:
            return size
        elif marker not in _OTHER_SEGMENTS:
            return None
        at += 2 + length
    return None


def is_whole(picture: ImageHeader, content: bytes | memoryview) -> bool:
    """Return whether the end of the picture is there, as far as its format shows without decoding."""
    if picture.format == "WEBP":  # RIFF: bytes 4 to 7 hold the length of the rest
        return len(content) >= 8 + int.from_bytes(content[4:8], "little")
    # From the end, because it is there in nearly every file.
    return bytes(content[-_TAIL:]).rfind(_END_MARKERS[picture.format]) >= 0


def _describe(beginning: bytes) -> FailedTry:
    start = beginning[:256].lstrip().lower()
    if not start:
        return FailedTry(kind=FailKind.NOT_IMAGE, message="an empty body")
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return FailedTry(kind=FailKind.NOT_IMAGE, message="a web page")
    if start[:1] in b'<{["' and b"<svg" not in beginning.lower():
        return FailedTry(kind=FailKind.NOT_IMAGE, message="a message, not a picture")
    if _is_text(beginning[:256]):
        return FailedTry(kind=FailKind.NOT_IMAGE, message="text, not a picture")
    return FailedTry(kind=FailKind.UNSUPPORTED_FORMAT, message="not a JPEG, PNG, GIF or WebP file")


def _is_text(start: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n" for byte in start) and b"<svg" not in start.lower()
