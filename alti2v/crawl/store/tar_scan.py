"""Read a store's tar file without trusting it: whole pictures, and the damage between them.

`storage.tar.members` stops at the first broken header; this reader continues at the next block that is a
header of ours. A picture counts only with the JSON member after it, which holds its md5.
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
from alti2v.pictures.check import find_flaw
from alti2v.pictures.header import format_of
from alti2v.records import Post, Span
from alti2v.storage.layout import IMAGE_SUFFIX_OF_FORMAT, MOST_MEMBER_BYTES, POST_JSON_SUFFIX, images_tar
from alti2v.storage.tar import BLOCK, padded

_NAME = re.compile(rf"(\d{{12}})\.({'|'.join(IMAGE_SUFFIX_OF_FORMAT.values())}|{POST_JSON_SUFFIX})")


@dataclass(frozen=True, slots=True, kw_only=True)
class WholePicture:
    """A picture whose bytes have the md5 that its JSON member gives, and that is not cut off or damaged.

    Attributes:
        post_id: Id in the name of the member.
        span: Bytes of the picture.
        end: Offset of the end of its JSON member.
        post: Post, from the JSON member.
        stored: Facts about the bytes, from the JSON member.
    """

    post_id: int
    span: Span
    end: int
    post: Post
    stored: Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenMember:
    """Bytes that are not a whole picture with its JSON member.

    Attributes:
        offset: First byte.
        post_id: Post that they belong to; None if unknown.
        what: Description of the damage.
    """

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


def holds(store: Path, tar: int, offset: int, size: int, md5: str) -> bool:
    """Return whether a tar file has a picture at a place, by its md5; True if it is not in the folder."""
    try:
        with (store / images_tar(tar)).open("rb") as file:
            file.seek(offset)
            return hashlib.md5(file.read(size), usedforsecurity=False).hexdigest() == md5
    except FileNotFoundError:  # it is uploaded
        return True


def scan(path: Path, *, length: int | None = None) -> Iterator[WholePicture | BrokenMember]:
    """Read a tar file, one picture in memory at a time.

    Args:
        path: Tar file.
        length: Number of committed bytes; the rest is ignored. None for all.
    """
    size = path.stat().st_size
    end = size if length is None else min(size, length)
    offset = 0
    is_lost = False  # True while searching for the next header
    with path.open("rb") as file:
        while offset + BLOCK <= end:
            header = _header(file, offset)
            if header is None:
                if not is_lost and not _is_zero(file, offset):
                    yield BrokenMember(offset=offset, post_id=None, what="no member begins where one should")
                    is_lost = True
                offset += BLOCK
                continue
            if header.suffix == POST_JSON_SUFFIX:  # without the picture that should come before it
                if not is_lost:
                    yield BrokenMember(
                        offset=offset, post_id=int(header.key), what="a post without its picture"
                    )
                offset = header.end
                continue
            is_lost = False
            picture, offset = _pair(file, header, end)
            yield picture


def _pair(file: BinaryIO, header: _Header, end: int) -> tuple[WholePicture | BrokenMember, int]:
    """Read a picture and the JSON member after it; also return the offset at which to continue."""
    post_id = int(header.key)
    start = header.span.offset - BLOCK
    if header.span.offset + header.span.size > end:
        # The size itself may be damaged: search for the next header right after this one.
        return BrokenMember(offset=start, post_id=post_id, what="the picture is cut off"), start + BLOCK
    follower = _header(file, header.end)
    if follower is None or follower.key != header.key or follower.suffix != POST_JSON_SUFFIX:
        return BrokenMember(
            offset=start, post_id=post_id, what="its JSON member is missing or damaged"
        ), start + BLOCK
    if follower.span.offset + follower.span.size > end:
        return BrokenMember(offset=start, post_id=post_id, what="its JSON member is cut off"), end
    try:
        post, stored = read_member_document(_read(file, follower.span))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return BrokenMember(offset=start, post_id=post_id, what="its JSON member is damaged"), follower.end
    if fault := _fault(_read(file, header.span), post_id, post, stored):
        return BrokenMember(offset=start, post_id=post_id, what=fault), follower.end
    picture = WholePicture(post_id=post_id, span=header.span, end=follower.end, post=post, stored=stored)
    return picture, follower.end


def _fault(content: bytes, post_id: int, post: Post, stored: Stored) -> str:
    """Say in words what is wrong with a picture; "" if nothing is."""
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != stored.md5:
        return "the bytes have a different md5"
    if post.id != post_id:
        return "its JSON member belongs to another post"
    image_format = format_of(content)
    # As in a crawl: what the board says it has is stored as it is.
    return find_flaw(image_format, content) if image_format and stored.md5 != post.md5 else ""


def _header(file: BinaryIO, offset: int) -> _Header | None:
    file.seek(offset)
    block = file.read(BLOCK)
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")  # checks the header's own checksum
    except (tarfile.HeaderError, ValueError):
        return None
    match = _NAME.fullmatch(info.name)
    if match is None or not 0 <= info.size <= MOST_MEMBER_BYTES:
        return None
    return _Header(match[1], match[2], Span(offset=offset + BLOCK, size=info.size))


def _is_zero(file: BinaryIO, offset: int) -> bool:
    file.seek(offset)
    return not any(file.read(BLOCK))


def _read(file: BinaryIO, span: Span) -> bytes:
    file.seek(span.offset)
    return file.read(span.size)
