"""The values of a post as they are stored, from whatever a board sends in their place. Pure."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

# A post's number names its tar members (12 digits, layout.member_key).
MAX_ID = 10**12 - 1
# A bound for hostile answers, far above what boards send: a thousand at the very most.
MAX_TAGS = 10_000


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
