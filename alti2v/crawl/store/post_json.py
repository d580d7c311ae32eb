"""A post and its stored bytes as values, and as the JSON member beside the picture in a tar file."""

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
    """Facts about the stored bytes of a post.

    Attributes:
        url: Address that the bytes came from, after redirects; name of an imported file.
        http_status: Status of the last answer; None for an imported file.
        attempts: Requests made for the file.
        format: JPEG, PNG, GIF or WEBP.
        width, height: Size in px.
        md5: MD5 of the bytes, 32 hex digits.
        crc32: CRC-32 of the bytes; None if unknown.
    """

    url: str
    http_status: int | None
    attempts: int
    format: str
    width: int
    height: int
    md5: str
    crc32: int | None = None


@dataclass(frozen=True, slots=True)
class FileRequest:
    """A request to download the file of a post.

    Attributes:
        seq: Position of the post in the order of listing; identifies the request.
        attempts: Requests made for the file so far, in all runs.
        sample_url, file_url: Addresses; None if the board shows none, or if only the other is to be retried.
        tries: Requests of this run to the first address whose bytes were not good.
        wait_s: Delay before the first request.
        has_mismatched: True if the file already came in this run with an md5 other than the board's.
        passed_over: Kind of the passing failure for which the sample was given up in this run; "" if none.
    """

    seq: int
    attempts: int
    sample_url: str | None
    file_url: str | None
    tries: int = 0
    wait_s: float = 0.0
    has_mismatched: bool = False
    passed_over: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedFile:
    """The bytes of a downloaded file, not validated yet.

    Attributes:
        requested: Address that was requested.
        url: Address that the bytes came from, after redirects.
        http_status: Status of the last answer; None for an imported file.
        attempts: Requests made for the file, in all runs.
        tries: Requests to this address in this run.
        content: Bytes.
        has_mismatched: Value of the request.
        passed_over: Value of the request, or of its sample.
    """

    requested: str
    url: str
    http_status: int | None
    attempts: int
    tries: int
    content: bytes | memoryview
    has_mismatched: bool = False
    passed_over: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TarLocation:
    """Location of a post's bytes: the number of a tar file and the span inside it."""

    tar: int
    span: Span


def post_document(post: Post) -> dict[str, Any]:
    """Return a post as a JSON object; empty tag groups are left out."""
    document: dict[str, Any] = {name: getattr(post, name) for name in _POST_FIELDS}
    groups = post.tags
    document["tags"] = {name: tags for name in _GROUPS if (tags := getattr(groups, name))}
    return document


def read_post(document: Mapping[str, Any]) -> Post:
    """Invert `post_document`.

    Raises:
        KeyError, TypeError, AttributeError: The document is something else.
    """
    facts = {name: document[name] for name in _POST_FIELDS}
    for group, tags in document["tags"].items():
        facts[f"tags_{group}"] = " ".join(tags)
    return Post(**facts)


def encode(document: Mapping[str, Any]) -> str:
    """Encode a document as canonical JSON: equal documents give equal text."""
    return _ENCODER.encode(document)


def member_document(post: Post, stored: Stored) -> bytes:
    """Return the JSON member beside a picture: the post, and the facts about its bytes."""
    facts = {name: getattr(stored, name) for name in _STORED_FIELDS}
    return f"{encode({'post': post_document(post), 'stored': facts})}\n".encode()


def read_member_document(content: bytes) -> tuple[Post, Stored]:
    """Invert `member_document`.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: The content is something else.
    """
    document = json.loads(content)
    return read_post(document["post"]), Stored(**document["stored"])


_STORED_FIELDS = tuple(field.name for field in fields(Stored))
