"""What the bytes of a file are, by content, from the header alone. Nothing is decoded."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from alti2v.crawl.policy import FailKind, Failure
from alti2v.storage.layout import IMAGE_SUFFIX_OF_FORMAT

# Pillow's own limit against decompression bombs: twice MAX_IMAGE_PIXELS raises.
MAX_PIXELS = 2 * 89_478_485
_FORMATS = tuple(IMAGE_SUFFIX_OF_FORMAT)
# A picture that was cut off lacks its end marker (JPEG: EOI, ITU T.81 B.1.1.3; PNG: IEND; GIF: trailer).
# Writers append notes behind it, hence the margin.
_END_MARKERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND", "GIF": b";"}
_TAIL = 64 * 1024


@dataclass(frozen=True, slots=True)
class Picture:
    """What a header says.

    Attributes:
        format: JPEG, PNG, GIF or WEBP.
        width, height: in px, not turned by an EXIF orientation.
    """

    format: str
    width: int
    height: int


def identify(content: bytes) -> Picture | Failure:
    """Say what picture this is, or why it is none that is stored."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # half of our limit
            # The allow-list keeps the bytes away from every other parser.
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                picture = Picture(str(image.format), *image.size)
    except Image.DecompressionBombError:
        return Failure(kind=FailKind.TOO_MANY_PIXELS, message=f"more than {MAX_PIXELS} pixels")
    except UnidentifiedImageError:
        return _what_else(content)
    except Exception as exc:  # noqa: BLE001 - parsers of hostile bytes raise anything: OSError, SyntaxError ...
        return Failure(kind=FailKind.TRUNCATED_BODY, message=f"unreadable header: {exc}")
    if picture.format not in IMAGE_SUFFIX_OF_FORMAT:  # MPO is a JPEG with more pictures behind the first
        if picture.format != "MPO":
            return Failure(kind=FailKind.UNSUPPORTED_FORMAT, message=f"a {picture.format} file")
        picture = Picture("JPEG", picture.width, picture.height)
    if picture.width * picture.height > MAX_PIXELS:
        return Failure(kind=FailKind.TOO_MANY_PIXELS, message=f"{picture.width} x {picture.height} px")
    return picture


def is_whole(picture: Picture, content: bytes) -> bool:
    """Whether the end of the picture is there, as far as its format tells without decoding."""
    if picture.format == "WEBP":  # RIFF: the length of all that follows stands in bytes 4 to 7
        return len(content) >= 8 + int.from_bytes(content[4:8], "little")
    # From the end: there it stands in nearly every file.
    return content.rfind(_END_MARKERS[picture.format], max(0, len(content) - _TAIL)) >= 0


def _what_else(content: bytes) -> Failure:
    start = content[:256].lstrip().lower()
    if not start:
        return Failure(kind=FailKind.NOT_IMAGE, message="an empty body")
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return Failure(kind=FailKind.NOT_IMAGE, message="a web page")
    if start[:1] in b'<{["' and b"<svg" not in content[:4096].lower():
        return Failure(kind=FailKind.NOT_IMAGE, message="a message, not a picture")
    if _is_text(content[:256]):
        return Failure(kind=FailKind.NOT_IMAGE, message="text, not a picture")
    return Failure(kind=FailKind.UNSUPPORTED_FORMAT, message="none of JPEG, PNG, GIF, WebP")


def _is_text(start: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n" for byte in start) and b"<svg" not in start.lower()
