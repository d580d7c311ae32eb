"""What every dialect answers in: questions, answers, and the classification of a body.

A body is classified before its HTTP status is looked at, because boards of this family say "no" with
status 200 and "nothing" with an empty body (wire facts: Gelbooru 0.2 source and recorded answers).
Pure: knows no network and no clock.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree as ET

from alti2v.records import Post, Tag

# A post's number names its tar members (12 digits, layout.member_key).
MAX_ID = 10**12 - 1
# Bounds for hostile answers, far above what boards send: 1,000 posts at most, a thousand tags at the very most.
MAX_ENTRIES = 10_000
MAX_TAGS = 10_000
VIDEO = frozenset({"mp4", "webm", "m4v", "mov", "avi", "mkv"})
PICTURE = frozenset({"jpg", "jpeg", "jpe", "jfif", "png", "gif", "webp", ""})


class Dialect(StrEnum):
    """The programs that boards run on."""

    GELBOORU = "gelbooru"
    DANBOORU = "danbooru"


class Skip(StrEnum):
    """Why a listed post is left out on purpose: the values of the column `reason`."""

    GHOST = "ghost"  # a number without a post: everything but the id is null
    HIDDEN = "hidden"  # the board shows no file address to us
    VIDEO = "video"
    FLASH = "flash"
    UGOIRA = "ugoira"
    UNSUPPORTED = "unsupported"  # another kind of file, by the board's own word
    ROBOTS = "robots"  # robots.txt forbids the file
    OPT_OUT = "opt_out"  # the file came with X-Robots-Tag: noai or noimageai
    FILTERED = "filtered"  # listed by the board, but not what --min-id and its like ask for


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What posts must fulfil beyond the search itself.

    Attributes:
        min_id, max_id: bounds of the id, inclusive.
        min_score: a post without votes has the score 0.
        exclude: tags that no post may have; `*` stands for any characters.
    """

    min_id: int | None = None
    max_id: int | None = None
    min_score: int | None = None
    exclude: tuple[str, ...] = ()

    def hold_for(self, post: Post) -> bool:
        """Whether a post fulfils them all."""
        return (
            (self.min_id is None or post.id >= self.min_id)
            and (self.max_id is None or post.id <= self.max_id)
            and (self.min_score is None or (post.score or 0) >= self.min_score)
            and not any(fnmatchcase(tag, name) for name in self._patterns() for tag in post.tags.all)
        )

    def _patterns(self) -> tuple[str, ...]:
        # Only the asterisk is special on boards.
        return tuple(name.replace("[", "[[]").replace("?", "[?]") for name in self.exclude)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A search as a board takes it.

    Attributes:
        text: the search terms, separated by spaces.
        left: conditions that the board would refuse beside the others, so that they are held here.
    """

    text: str
    left: tuple[str, ...] = ()


def terms_of(conditions: Conditions) -> list[str]:
    """The conditions as search terms of both dialects; `max_id` is where the walk begins, so no term."""
    bounds = {"id": conditions.min_id, "score": conditions.min_score}
    terms = [f"{name}:>={bound}" for name, bound in bounds.items() if bound is not None]
    return terms + [f"-{tag}" for tag in conditions.exclude]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question for posts, newest first.

    Attributes:
        tags: the search, as a user of the board would type it.
        below: only ids below this one; None for no such bound.
        page: 0-based page of that search.
        limit: posts wanted in one answer; boards cut it to their own limit.
        xml: ask for XML where the dialect has both.
    """

    tags: str
    below: int | None = None
    page: int = 0
    limit: int
    xml: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """An answer with posts in the board's order; empty if the board says that there is nothing.

    Attributes:
        ghosts: ids of entries without a post; never fit to be a cursor.
        unusable: entries without a usable id.
    """

    posts: tuple[Post, ...] = ()
    ghosts: tuple[int, ...] = ()
    unusable: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether the board listed nothing at all."""
        return not (self.posts or self.ghosts or self.unusable)


@dataclass(frozen=True, slots=True)
class Wall:
    """The board refuses to page this deep."""

    message: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The board understood and said no; `is_final` if asking again cannot help."""

    message: str
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The answer is none of this dialect; `what` names what it looks like."""

    what: str


Answer = Page | Wall | Refusal | Unreadable


class Board(Protocol):
    """One board: its address and its dialect.

    Attributes:
        base: scheme, host and path prefix, without a slash at the end.
        page_limit: posts that one answer holds at most.
        has_tag_groups: whether a post's answer gives the categories of its tags.
    """

    @property
    def base(self) -> str:
        """The address in front of every path."""
        ...

    @property
    def dialect(self) -> Dialect:
        """The program that the board runs on."""
        ...

    @property
    def page_limit(self) -> int:
        """Posts that one answer holds at most."""
        ...

    @property
    def has_tag_groups(self) -> bool:
        """Whether the posts come with the categories of their tags."""
        ...

    def terms(self, tags: str, conditions: Conditions) -> Terms:
        """The search to ask for, with as many of the conditions as the board takes."""
        ...

    def changed_first(self, tags: str) -> str:
        """The search for the same posts, the one that was changed last first."""
        ...

    def posts_url(self, query: Query) -> str:
        """Where to ask for posts."""
        ...

    def count_url(self, tags: str, *, below: int | None = None) -> str:
        """Where to ask how many posts match."""
        ...

    def read_posts(self, body: bytes, *, status: int) -> Answer:
        """Read an answer to `posts_url`."""
        ...

    def read_count(self, body: bytes, *, status: int) -> int | Wall | Refusal | Unreadable:
        """Read an answer to `count_url`."""
        ...


class TagBoard(Protocol):
    """Something that knows the categories of tags.

    Attributes:
        batch: about how many tags one question by name can ask for.
        counts_are_the_boards: whether its counts are those of the board that is crawled.
    """

    @property
    def batch(self) -> int:
        """About how many tags one question by name can ask for."""
        ...

    @property
    def counts_are_the_boards(self) -> bool:
        """Whether its counts are those of the board that is crawled."""
        ...

    def frequent_tags_url(self, page: int) -> str:
        """Where to ask for a page of tags, the most frequent first."""
        ...

    def tag_urls(self, names: Sequence[str]) -> tuple[str, ...]:
        """Where to ask for some tags, at most `batch`; each address may tell some of them."""
        ...

    def read_tags(self, body: bytes, *, status: int) -> tuple[Tag, ...] | Refusal | Unreadable:
        """Read an answer to either."""
        ...


# Bodies ------------------------------------------------------------------------------------------


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
    if text.count(b"[") + text.count(b"{") + text.count(b"<") > 10 * MAX_ENTRIES:
        return Unreadable("more entries than any board sends")
    if text.count(b'"') > 100 * MAX_ENTRIES:
        return Unreadable("more values than any board sends")
    if text[:1] in b'[{"':
        return _classify_json(text)
    if text[:1] == b"<":
        return _classify_xml(text)
    return Unreadable("plain text")


def _classify_json(text: bytes) -> JsonBody | Refusal | Unreadable:
    try:
        value = json.loads(text)
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
    if b"<!doctype" in start or b"<!entity" in text.lower():
        return Unreadable("XML with a document type, which no board sends")  # and how XML bombs are built
    try:
        root = ET.fromstring(text)  # noqa: S314 - no document type, so no entities to expand
    except (ET.ParseError, ValueError, LookupError):  # LookupError: an unknown encoding declaration
        return Unreadable("an HTML page" if b"<body" in text.lower() else "broken XML")
    if root.tag == "error" or root.get("success") == "false":
        return Refusal(clean_text(root.get("reason") or "".join(root.itertext())) or "no reason given")
    return XmlBody(root)


# Values ------------------------------------------------------------------------------------------


def clean_text(text: str) -> str:
    """Free text as it is stored: entities unescaped, NFC, fit for UTF-8, no white space around it."""
    plain = unicodedata.normalize("NFC", html.unescape(text))
    return plain.encode("utf-8", "replace").decode("utf-8").strip()  # JSON can smuggle in lone surrogates


def clean_tag(text: str) -> str:
    """A tag as it is stored: clean text without white space or control characters inside."""
    if text.isascii() and text.isprintable() and not ("&" in text or " " in text):
        return text  # nearly every tag; the long way costs 4 us, 30 times a post
    kept = (" " if unicodedata.category(char) == "Cc" else char for char in clean_text(text))
    return "_".join("".join(kept).split())


def clean_tags(text: object) -> tuple[str, ...]:
    """The tags of a board's space-separated list, each once, in its order."""
    words = str(text or "")
    # Split before unescaping: an escaped space belongs to the tag.
    names = filter(None, words.split(" ", MAX_TAGS)[:MAX_TAGS])
    is_clean = words.isascii() and words.isprintable() and "&" not in words
    return tuple(dict.fromkeys(names if is_clean else filter(None, map(clean_tag, names))))


def integer(value: object) -> int | None:
    """A whole number that fits 64 bits, from a number or its decimal text; None otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        number = int(value)
    except ValueError:
        return None
    return number if -(2**63) <= number < 2**63 else None


def instant(value: object) -> int | None:
    """Unix seconds between 1970 and 9999, which every reader of the tables can show; None otherwise."""
    number = integer(value)
    return number if number is not None and 0 <= number < 253_402_300_800 else None


def pixels(value: object) -> int:
    """A side in px, 0 if the board's value makes no sense."""
    number = integer(value) or 0
    return number if 0 <= number < 2**31 else 0


def post_id(entry: Mapping[str, object]) -> int | None:
    """The id of an entry, None if it is missing or not in [1, 10^12)."""
    number = integer(entry.get("id"))
    return number if number is not None and 1 <= number <= MAX_ID else None


def md5_of(value: object) -> str | None:
    """32 lower-case hex digits, or None."""
    text = str(value or "").strip().lower()
    return text if len(text) == 32 and not set(text) - set("0123456789abcdef") else None


# An address that joining and splitting would leave as it is.
_PLAIN_URL = re.compile(r"https?://[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::\d{1,5})?/[A-Za-z0-9._~/%+=&?-]*")


def absolute_url(base: str, value: object) -> str | None:
    """An absolute http(s) URL, also from a path or a protocol-relative one; None for anything else."""
    text = str(value or "").strip()
    if not text:
        return None
    if _PLAIN_URL.fullmatch(text) and "/." not in text:
        return text  # nearly every one; the long way costs 30 us
    try:
        url = urljoin(f"{base}/", text)
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.hostname else None


def skip_reason(post: Post) -> Skip | None:
    """Why the file of a post is not wanted; None if it is."""
    extension = post.file_ext
    if extension in VIDEO:
        return Skip.VIDEO
    if extension == "swf":
        return Skip.FLASH
    if extension == "zip":
        return Skip.UGOIRA
    if extension not in PICTURE:
        return Skip.UNSUPPORTED
    return Skip.HIDDEN if post.file_url is None and post.sample_url is None else None
