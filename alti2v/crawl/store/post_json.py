"""A post as JSON, as it lies beside its picture in the tar file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from alti2v.records import Post, Span, TagGroups

_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_POST_FIELDS = tuple(name for name in Post._fields if not name.startswith("tags_"))
_GROUPS = tuple(field.name for field in fields(TagGroups))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is known about the stored bytes of a post.

    Attributes:
        url: where they came from.
        http_status: of the last answer.
        attempts: requests made for the file.
        format: JPEG, PNG, GIF or WEBP.
        width, height: px.
        md5: of the bytes, 32 hex digits.
    """

    url: str
    http_status: int
    attempts: int
    format: str
    width: int
    height: int
    md5: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The file of a post, as whoever fetches it knows it.

    Attributes:
        seq: the post's place in the order of listing; names the file.
        attempts: requests made for it so far, in all runs.
        sample_url, file_url: None where the board shows none, or where the other one is to be tried again.
        tries: of its first address in this run, whose bytes were not good.
        wait_s: before the first request.
        has_mismatched: it came in this run, with another md5 than the board says.
    """

    seq: int
    attempts: int
    sample_url: str | None
    file_url: str | None
    tries: int = 0
    wait_s: float = 0.0
    has_mismatched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """The bytes of a file that was wanted, which nobody has looked at.

    Attributes:
        asked: the address that was asked for.
        url: where they came from.
        http_status: of the last answer.
        attempts: requests made for the file, in all runs.
        tries: of this address, in this run.
        has_mismatched: as it was wanted.
    """

    asked: str
    url: str
    http_status: int
    attempts: int
    tries: int
    content: bytes | memoryview
    has_mismatched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the bytes of a post lie: the number of the tar file and the span inside it."""

    tar: int
    span: Span


def post_document(post: Post) -> dict[str, Any]:
    """A post as a JSON object; empty tag groups are left out."""
    document: dict[str, Any] = {name: getattr(post, name) for name in _POST_FIELDS}
    groups = post.tags
    document["tags"] = {name: tags for name in _GROUPS if (tags := getattr(groups, name))}
    return document


def read_post(document: Mapping[str, Any]) -> Post:
    """Invert `post_document`.

    Raises:
        KeyError, TypeError, AttributeError: it is something else.
    """
    facts = {name: document[name] for name in _POST_FIELDS}
    for group, tags in document["tags"].items():
        facts[f"tags_{group}"] = " ".join(tags)
    return Post(**facts)


def encode(document: Mapping[str, Any]) -> str:
    """Equal documents give equal text."""
    return _ENCODER.encode(document)


def member_document(post: Post, stored: Stored) -> bytes:
    """The JSON member beside a picture: the post, and what is known about the bytes."""
    known = {name: getattr(stored, name) for name in _STORED_FIELDS}
    return f"{encode({'post': post_document(post), 'stored': known})}\n".encode()


def read_member_document(content: bytes) -> tuple[Post, Stored]:
    """Invert `member_document`.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is something else.
    """
    document = json.loads(content)
    return read_post(document["post"]), Stored(**document["stored"])


_STORED_FIELDS = tuple(field.name for field in fields(Stored))
