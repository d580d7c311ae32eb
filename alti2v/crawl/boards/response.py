"""Classification of the body of an answer. Pure.

A body is classified before its HTTP status is considered, because Gelbooru boards refuse with status 200, and
answer with an empty body if there is nothing (source of Gelbooru 0.2 and recorded answers).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from xml.etree import ElementTree as ET

from alti2v.crawl.boards.protocol import Refusal, Unreadable
from alti2v.crawl.boards.values import clean_html

# A limit for hostile answers; boards send at most 1,000 posts.
MAX_ENTRIES = 10_000

_Parsed = TypeVar("_Parsed")
# Forbidden in XML 1.0 (2.2) and inside the strings of JSON (RFC 8259, 7).
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\r")
_TO_SPACES = bytes.maketrans(_CONTROL, b" " * len(_CONTROL))


@dataclass(frozen=True, slots=True)
class Empty:
    """A body of white space only."""


@dataclass(frozen=True, slots=True)
class JsonBody:
    """A JSON array or object."""

    value: list[Any] | dict[str, Any]


@dataclass(frozen=True, slots=True)
class XmlBody:
    """A well-formed XML document that is not an error message."""

    root: ET.Element


def classify(body: bytes) -> Empty | JsonBody | XmlBody | Refusal | Unreadable:
    """Classify a body, whatever its status and its content type.

    Boards refuse in four ways, with any status: `<response success="false" reason=…/>`,
    `<error>text</error>`, a bare JSON string, and `{"success": false, "message": …}`.
    """
    text = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text:
        return Empty()
    # Before parsing, because a few bytes of text become objects of fifty bytes and more.
    openings = b"<" if text[:1] == b"<" else b"[{"
    if sum(text.count(opening) for opening in openings) > 10 * MAX_ENTRIES:
        return Unreadable("more entries than a board sends")
    if len(text) > 100 * MAX_ENTRIES and text.count(b'"') > 100 * MAX_ENTRIES:
        return Unreadable("more values than a board sends")
    if text[:1] in b'[{"':
        return _classify_json(text)
    if text[:1] == b"<":
        return _classify_xml(text)
    return Unreadable("plain text")


def _parse(parse: Callable[[bytes], _Parsed], text: bytes) -> _Parsed:
    """Parse a text; if that fails, replace what is not UTF-8, and characters that JSON and XML forbid.

    Boards pass on what people typed or pasted; one such byte would cost a page of posts.
    """
    try:
        return parse(text)
    except (ValueError, ET.ParseError):
        # Characters are replaced, not removed: their neighbours must not join to a document type.
        cleaned = text.decode("utf-8", "replace").encode().translate(_TO_SPACES)
        if cleaned == text:
            raise
        return parse(cleaned)


def _classify_json(text: bytes) -> JsonBody | Refusal | Unreadable:
    try:
        value = _parse(json.loads, text)
    except (ValueError, RecursionError):
        return Unreadable("broken JSON")
    if isinstance(value, str):
        return Refusal(clean_html(value))
    if isinstance(value, dict) and value.get("success") is False:
        message = value.get("message") or value.get("reason") or value.get("error") or "no reason given"
        return Refusal(clean_html(str(message)))
    return JsonBody(value)


def _classify_xml(text: bytes) -> XmlBody | Refusal | Unreadable:
    start = text[:1024].lower()
    if b"<html" in start or b"<!doctype html" in start:
        return Unreadable("an HTML page")
    if b"\0" in start:  # UTF-16 would hide a document type from the next check
        return Unreadable("XML in an encoding other than UTF-8")
    if b"<!doctype" in start or b"<!entity" in text.lower():
        return Unreadable("XML with a document type, which no board sends")  # and how XML bombs are built
    try:
        # No document type, so no entities to expand.
        root = _parse(ET.fromstring, text)
    except (ET.ParseError, ValueError, LookupError):  # LookupError: an unknown encoding declaration
        return Unreadable("an HTML page" if b"<body" in text.lower() else "broken XML")
    facts = element_facts(root)
    if root.tag == "error" or facts.get("success") == "false":
        return Refusal(clean_html(facts.get("reason") or "".join(root.itertext())) or "no reason given")
    return XmlBody(root)


def element_facts(element: ET.Element) -> dict[str, str]:
    """Return the facts of an XML element, whether they are attributes or child elements."""
    facts = {child.tag: child.text or "" for child in element if not len(child)} if len(element) else {}
    return facts | element.attrib
