"""Item of a source: the facts about a picture, and the place of its bytes. Pure."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

from alti2v.crawl.boards.protocol import Skip
from alti2v.crawl.boards.values import MAX_ID
from alti2v.records import Post, Span
from alti2v.storage.layout import FIRST_DERIVED_ID

_NO_FACTS = Post(0)


class ItemOutcome(StrEnum):
    """Outcome of an item; each has exactly one."""

    NEW = "new"  # this run has stored its picture
    KNOWN = "known"  # the store had its picture
    DUPLICATE = "duplicate"  # its bytes are stored for another post
    SKIPPED = "skipped"
    FAILED = "failed"
    QUEUED = "queued"  # its picture is to be fetched


class ItemFault(StrEnum):
    """Reason why an item is not imported, besides those of `FailKind` and `Skip`."""

    UNREADABLE = "unreadable"  # the system refuses to read the file, or its archive is damaged
    LINK = "link"  # a symbolic link, which is never followed
    TOO_LARGE = "too_large"
    NOT_A_FILE = "not_a_file"  # a pipe, a socket or a device
    BAD_METADATA = "bad_metadata"  # the sidecar or the row cannot be read
    SHA256_MISMATCH = "sha256_mismatch"  # the index of the tar file gives another SHA-256


class Lack(StrEnum):
    """Reason to skip an item of a source because of its id; `Skip` has the other reasons."""

    NO_ID = "no_id"  # a row without an id that could find its picture
    REPEATED_ID = "repeated_id"  # another item of the source has this id; the first one counts


@dataclass(frozen=True, slots=True)
class Fault:
    """Failure of an item: a kind, and a message with the item's name."""

    kind: ItemFault
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Place of the bytes of a picture.

    Attributes:
        path: File.
        span: Part of the file; None for all of it.
        size: Size of the whole file in bytes, as its folder says; 0 if unknown.
        version: Text that changes with the file, so that a known file is not read again; "" if unknown.
        sha256: SHA-256 of the bytes in an index, 64 hex digits; None without an index.
    """

    path: Path
    span: Span | None = None
    size: int = 0
    version: str = ""
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item of a source.

    Attributes:
        name: Name, unique in the source, as a relative URL reference (RFC 3986, 4.2).
        facts: Facts that the source gives, none by default; the id is 0 if it gives none.
        board: Site that gave the id; "" if the source does not say.
        place: Bytes of the picture; None without a picture.
        is_original: True if the bytes are the file whose MD5 `facts` may give; False if they may be another
            version of it, so that a different MD5 is no fault.
        problem: Reason not to import it; None if there is none.
    """

    name: str
    facts: Post = _NO_FACTS
    board: str = ""
    place: Place | None = None
    is_original: bool = True
    problem: Fault | Skip | Lack | None = None


def item_name(source: str | bytes, *parts: str | bytes) -> str:
    """Return the name of an item: the source's own name and the path in it, percent-encoded byte by byte."""
    return "/".join(quote(os.fsencode(part)) for part in (source, *parts))


def inner_name(name: str, part: str) -> str:
    """Return the name of an item inside another one, such as a member of a tar file."""
    return f"{name}/{quote(part, errors='surrogateescape')}"


def derived_id(md5: str, *, salt: str = "") -> int:
    """Return a number in [10^11, 10^12) for a picture whose source gives no id.

    Args:
        md5: MD5 of the bytes, so that the same picture has the same number everywhere.
        salt: Text that leads to another number, if another picture has the first one.
    """
    digest = hashlib.sha256(f"{md5}{salt}".encode()).digest()
    return FIRST_DERIVED_ID + int.from_bytes(digest[:8], "big") % (MAX_ID + 1 - FIRST_DERIVED_ID)


def known_id(number: int | None) -> int:
    """Return a board's number; 0 if there is none, or if it is in the range of derived ids."""
    return number if number is not None and number < FIRST_DERIVED_ID else 0
