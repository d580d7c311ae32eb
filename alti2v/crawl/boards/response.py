"""What a body is, before anybody reads it. Pure.

A body is classified before its HTTP status is looked at, because boards of this family say "no" with
status 200 and "nothing" with an empty body (wire facts: Gelbooru 0.2 source and recorded answers).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from xml.etree import ElementTree as ET

from alti2v.crawl.boards.protocol import Refusal, Unreadable
from alti2v.crawl.boards.values import clean_text

# A bound for hostile answers, far above what boards send: 1,000 posts at most.
MAX_ENTRIES = 10_000

_Parsed = TypeVar("_Parsed")
# Forbidden in XML 1.0 (2.2) and inside the strings of JSON (RFC 8259, 7).
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\r")
_TO_SPACES = bytes.maketrans(_CONTROL, b" " * len(_CONTROL))


@dataclass(frozen=True, slots=True)
class Empty:
    """Nothing but white space."""


@dataclass(frozen=True, slots=True)
class JsonBody:
    """A JSON array or object."""

    value: list[Any] | dict[str, Any]


@dataclass(frozen=True, slots=True)
class XmlBody:
    """A well-formed XML document that is no error message."""

    root: ET.Element


def classify(body: bytes) -> Empty | JsonBody | XmlBody | Refusal | Unreadable:
    """Say what a body is, whatever its status and its content type claim.

    The four ways in which boards say no with any status: `<response success="false" reason=…/>`,
    `<error>text</error>`, a bare JSON string, and `{"success": false, "message": …}`.
    """
    text = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text:
        return Empty()
    # Before parsing: a few bytes of text become fifty and more of objects.
    openings = b"<" if text[:1] == b"<" else b"[{"
    if sum(text.count(opening) for opening in openings) > 10 * MAX_ENTRIES:
        return Unreadable("more entries than any board sends")
    if len(text) > 100 * MAX_ENTRIES and text.count(b'"') > 100 * MAX_ENTRIES:
        return Unreadable("more values than any board sends")
    if text[:1] in b'[{"':
        return _classify_json(text)
    if text[:1] == b"<":
        return _classify_xml(text)
    return Unreadable("plain text")


def _first_that_reads(parse: Callable[[bytes], _Parsed], text: bytes) -> _Parsed:
    """Parse a text, if need be without what neither JSON nor XML may have inside, and UTF-8 neither.

    Boards hand on what people typed or pasted; one such byte would cost a page of posts.
    """
    try:
        return parse(text)
    except (ValueError, ET.ParseError):
        # Nothing is taken out: what stands on either side must not join to a document type.
        mended = text.decode("utf-8", "replace").encode().translate(_TO_SPACES)
        if mended == text:
            raise
        return parse(mended)


def _classify_json(text: bytes) -> JsonBody | Refusal | Unreadable:
    try:
        value = _first_that_reads(json.loads, text)
    except (ValueError, RecursionError):
        return Unreadable("broken JSON")
    if isinstance(value, str):
        return Refusal(clean_text(value))
    if isinstance(value, dict) and value.get("success") is False:
        message = value.get("message") or value.get("reason") or value.get("error") or "no reason given"
        return Refusal(clean_text(str(message)))
    return JsonBody(value)


def _classify_xml(text: bytes) -> XmlBody | Refusal | Unreadable:
    start = text[:1024].lower()
    if b"<html" in start or b"<!doctype html" in start:
        return Unreadable("an HTML page")
    if b"\0" in start:  # UTF-16 would hide from the next question what the parser sees
        return Unreadable("XML in another encoding than UTF-8")
    if b"<!doctype" in start or b"<!entity" in text.lower():
        return Unreadable("XML with a document type, which no board sends")  # and how XML bombs are built
    try:
        # No document type, so no entities to expand.
        root = _first_that_reads(ET.fromstring, text)
    except (ET.ParseError, ValueError, LookupError):  # LookupError: an unknown encoding declaration
        return Unreadable("an HTML page" if b"<body" in text.lower() else "broken XML")
    if root.tag == "error" or root.get("success") == "false":
        return Refusal(clean_text(root.get("reason") or "".join(root.itertext())) or "no reason given")
    return XmlBody(root)
