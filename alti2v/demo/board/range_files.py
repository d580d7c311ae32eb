"""File answers of the stand-in board's web server: byte ranges, validators, content types.

Pure: request headers and content in; status, headers and body out.
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
    "avif": "image/avif",
    "mp4": "video/mp4",
}
_RANGE = re.compile(r"bytes=(?P<first>\d*)-(?P<last>\d*)")


class FileAnswer(NamedTuple):
    """Status, headers and body of an answer."""

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
        content: The whole file.
        content_type: Content type of the file.
        modified_at: Time of the last change, Unix seconds.
        asked: Headers of the request, a mapping that ignores case.
        ranges: "etag" for ranges and an ETag, "plain" for ranges without one, "none" for neither.
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
    # RFC 9110, 13.1.5: the client would splice a range of another version to the part that it has.
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
    """Bytes [first, end) of a Range header; None for the whole file. An empty span cannot be served."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match["first"] or match["last"]):
        return None  # several ranges, other units and nonsense may be ignored: RFC 9110, 14.2
    if not match["first"]:
        return max(0, size - int(match["last"])), size
    first = int(match["first"])
    last = int(match["last"]) if match["last"] else size - 1
    return None if match["last"] and last < first else (first, min(last + 1, size))
