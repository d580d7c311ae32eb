"""Reading a store's tar file without trusting it: whole pictures, and what is broken between them.

`storage.tar.members` stops at the first broken header; this reader goes on behind it, at the next
block that is a header of ours. A picture counts only together with the JSON member behind it, which
says what its bytes must be.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from alti2v.crawl.store.post_json import Stored, read_member_document
from alti2v.records import Post, Span
from alti2v.storage.layout import IMAGE_SUFFIX_OF_FORMAT, POST_JSON_SUFFIX
from alti2v.storage.tar import BLOCK, padded

_NAME = re.compile(rf"(\d{{12}})\.({'|'.join(IMAGE_SUFFIX_OF_FORMAT.values())}|{POST_JSON_SUFFIX})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A picture whose bytes are what its JSON member says.

    Attributes:
        post_id: of the member's name.
        span: of the picture.
        end: the byte behind its JSON member.
        post: as that member describes it.
    """

    post_id: int
    span: Span
    end: int
    post: Post
    stored: Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A stretch that is no whole picture with its JSON; `post_id` is None if that cannot be told."""

    offset: int
    post_id: int | None
    what: str


@dataclass(frozen=True, slots=True)
class _Header:
    key: str
    suffix: str
    span: Span

    @property
    def end(self) -> int:
        return self.span.offset + padded(self.span.size)


def scan(path: Path, *, length: int | None = None) -> Iterator[Found | Broken]:
    """Walk through a tar file, one picture in memory at a time.

    Args:
        path: of the tar file.
        length: bytes that count; what lies behind them was never committed. None for all.
    """
    size = path.stat().st_size
    end = size if length is None else min(size, length)
    offset = 0
    is_lost = False  # whether we look for the next header
    with path.open("rb") as file:
        while offset + BLOCK <= end:
            header = _header(file, offset)
            if header is None:
                if not is_lost and not _is_zero(file, offset):
                    yield Broken(offset=offset, post_id=None, what="no member begins where one should")
                    is_lost = True
                offset += BLOCK
                continue
            if header.suffix == POST_JSON_SUFFIX:  # its picture was lost before it
                if not is_lost:
                    yield Broken(offset=offset, post_id=int(header.key), what="a post without its picture")
                offset = header.end
                continue
            is_lost = False
            found, offset = _pair(file, header, end)
            yield found


def _pair(file: BinaryIO, picture: _Header, end: int) -> tuple[Found | Broken, int]:
    """Read a picture and the JSON member behind it; also where to go on."""
    post_id = int(picture.key)
    start = picture.span.offset - BLOCK
    if picture.span.offset + picture.span.size > end:
        # The size may be what is damaged: look for the next header right behind this one.
        return Broken(offset=start, post_id=post_id, what="the picture is cut off"), start + BLOCK
    follower = _header(file, picture.end)
    if follower is None or follower.key != picture.key or follower.suffix != POST_JSON_SUFFIX:
        return Broken(
            offset=start, post_id=post_id, what="its JSON member is missing or damaged"
        ), start + BLOCK
    if follower.span.offset + follower.span.size > end:
        return Broken(offset=start, post_id=post_id, what="its JSON member is cut off"), end
    try:
        post, stored = read_member_document(_read(file, follower.span))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Broken(offset=start, post_id=post_id, what="its JSON member is damaged"), follower.end
    if hashlib.md5(_read(file, picture.span), usedforsecurity=False).hexdigest() != stored.md5:
        return Broken(offset=start, post_id=post_id, what="the bytes have another md5"), follower.end
    if post.id != post_id:
        return Broken(offset=start, post_id=post_id, what="its JSON member is of another post"), follower.end
    found = Found(post_id=post_id, span=picture.span, end=follower.end, post=post, stored=stored)
    return found, follower.end


def _header(file: BinaryIO, offset: int) -> _Header | None:
    file.seek(offset)
    block = file.read(BLOCK)
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")  # checks the header's own checksum
    except (tarfile.HeaderError, ValueError):
        return None
    match = _NAME.fullmatch(info.name)
    if match is None or info.size < 0:
        return None
    return _Header(match[1], match[2], Span(offset=offset + BLOCK, size=info.size))


def _is_zero(file: BinaryIO, offset: int) -> bool:
    file.seek(offset)
    return not any(file.read(BLOCK))


def _read(file: BinaryIO, span: Span) -> bytes:
    file.seek(span.offset)
    return file.read(span.size)
