"""How the stand-in board's web server sends a file: byte ranges, validators, types.

Pure: the request's headers and the content in, status and headers and body out.
Sources: RFC 9110, sections 13 (conditional requests) and 14 (range requests).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate
from typing import Literal, NamedTuple

CONTENT_TYPES: Mapping[str, str] = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "mp4": "video/mp4",
}
_RANGE = re.compile(r"bytes=(?P<first>\d*)-(?P<last>\d*)")


class FileAnswer(NamedTuple):
    """What to send."""

    status: int
    headers: dict[str, str]
    body: bytes


def answer_file(
    content: bytes,
    *,
    content_type: str,
    modified_at: int,
    asked: Mapping[str, str],
    ranges: Literal["etag", "plain", "none"],
) -> FileAnswer:
    """Answer a request for a file.

    Args:
        content: the whole file.
        content_type: of the file.
        modified_at: unix seconds.
        asked: the request's headers; names compare without regard to case.
        ranges: "etag": ranges and an ETag; "plain": ranges without one; "none": neither.
    """
    etag = f'"{modified_at:x}-{len(content):x}"' if ranges == "etag" else None
    modified = formatdate(modified_at, usegmt=True)
    headers = {"Content-Type": content_type, "Last-Modified": modified}
    if etag is not None:
        headers["ETag"] = etag
    if ranges != "none":
        headers["Accept-Ranges"] = "bytes"
    if _is_unchanged(asked, etag, modified):
        return FileAnswer(304, headers, b"")
    span = _span(asked.get("Range", ""), len(content)) if ranges != "none" else None
    # RFC 9110, 13.1.5: a range of another version than the client has would splice two files together.
    if span is None or asked.get("If-Range", etag or modified) not in (etag, modified):
        return FileAnswer(200, headers, content)
    first, end = span
    if first >= end:
        return FileAnswer(416, {**headers, "Content-Range": f"bytes */{len(content)}"}, b"")
    headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(content)}"
    return FileAnswer(206, headers, content[first:end])


def _is_unchanged(asked: Mapping[str, str], etag: str | None, modified: str) -> bool:
    if "If-None-Match" in asked:
        known = [one.strip().removeprefix("W/") for one in asked["If-None-Match"].split(",")]
        return etag is not None and (etag in known or "*" in known)
    return asked.get("If-Modified-Since") == modified


def _span(header: str, size: int) -> tuple[int, int] | None:
    """The bytes [first, end) that a Range header asks for; None: all; an empty one cannot be satisfied."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match["first"] or match["last"]):
        return None  # several ranges, other units and nonsense may be ignored: RFC 9110, 14.2
    if not match["first"]:
        return max(0, size - int(match["last"])), size
    first = int(match["first"])
    last = int(match["last"]) if match["last"] else size - 1
    return None if match["last"] and last < first else (first, min(last + 1, size))
