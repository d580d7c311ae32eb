"""The values of a post as they are stored, from whatever a board sends in their place. Pure."""

from __future__ import annotations

import html
import re
import unicodedata
from urllib.parse import urljoin, urlsplit

# A post's number names its tar members (12 digits, layout.member_key).
MAX_ID = 10**12 - 1
# A bound for hostile answers, far above what boards send: a thousand at the very most.
MAX_TAGS = 10_000
WHOLE_NUMBERS = range(-(2**63), 2**63)
INSTANTS = range(253_402_300_800)  # unix seconds from 1970 to 9999
PIXELS = range(2**31)
_PLAIN = bytes(code for code in range(32, 127) if code != ord("&"))  # what cleaning leaves as it is
MD5 = re.compile("[0-9a-f]{32}")
# An address that joining and splitting would leave as it is, unless "/." is in it.
PLAIN_URL = re.compile(r"https?://[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::\d{1,5})?/[A-Za-z0-9._~/%+=&?-]*")


def clean_text(text: str) -> str:
    """Free text as it is stored: entities unescaped, NFC, fit for UTF-8, no white space around it."""
    if text.isascii() and "&" not in text:
        return text.strip()
    plain = unicodedata.normalize("NFC", html.unescape(text))
    return plain.encode("utf-8", "replace").decode("utf-8").strip()  # JSON can smuggle in lone surrogates


def clean_tag(text: str) -> str:
    """A tag as it is stored: clean text without white space or control characters inside."""
    if text.isascii() and text.isprintable() and not ("&" in text or " " in text):
        return text  # nearly every tag; the long way costs 4 us, 30 times a post
    kept = (" " if unicodedata.category(char) == "Cc" else char for char in clean_text(text))
    return "_".join("".join(kept).split())


def clean_tags(text: object) -> str:
    """The tags of a board's space-separated list, between spaces and in its order."""
    words = str(text or "").strip(" ")
    if words.isascii() and len(words) < MAX_TAGS and not words.encode().translate(None, _PLAIN):
        return words  # nearly every post's; the long way costs 3 us for each tag
    # Split before unescaping: an escaped space belongs to the tag.
    names = words.split(" ", MAX_TAGS)[:MAX_TAGS]
    return " ".join(filter(None, map(clean_tag, names)))


def integer(value: object) -> int | None:
    """A whole number that fits 64 bits, from a number or its decimal text; None otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        number = int(value)
    except ValueError:
        return None
    return number if number in WHOLE_NUMBERS else None


def instant(value: object) -> int | None:
    """Unix seconds between 1970 and 9999, which every reader of the tables can show; None otherwise."""
    number = integer(value)
    return number if number is not None and number in INSTANTS else None


def pixels(value: object) -> int:
    """A side in px, 0 if the board's value makes no sense."""
    number = integer(value) or 0
    return number if number in PIXELS else 0


def post_id(value: object) -> int | None:
    """The id of a post, None if it is not in [1, 10^12)."""
    number = integer(value)
    return number if number is not None and 1 <= number <= MAX_ID else None


def md5_of(value: object) -> str | None:
    """32 lower-case hex digits, or None."""
    text = str(value or "").strip().lower()
    return text if MD5.fullmatch(text) else None


def absolute_url(base: str, value: object) -> str | None:
    """An absolute http(s) URL, also from a path or a protocol-relative one; None for anything else."""
    text = str(value or "").strip()
    if not text:
        return None
    if PLAIN_URL.fullmatch(text) and "/." not in text:
        return text  # the long way costs 30 us
    try:
        url = urljoin(f"{base}/", text)
        parts = urlsplit(url)
        url.encode()  # JSON can smuggle in lone surrogates
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.hostname else None
