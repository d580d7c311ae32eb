"""Normalisation of single values of a post, whatever a board sends. Pure."""

from __future__ import annotations

import html
import html.entities
import re
import unicodedata
from urllib.parse import urljoin, urlsplit

# A post's id names its tar members (12 digits, layout.member_key).
MAX_ID = 10**12 - 1
# A limit for hostile answers; boards send at most a thousand.
MAX_TAGS = 10_000
WHOLE_NUMBERS = range(-(2**63), 2**63)
INSTANTS = range(253_402_300_800)  # unix seconds from 1970 to 9999
PIXELS = range(2**31)
_PLAIN = bytes(code for code in range(32, 127) if code != ord("&"))  # bytes that cleaning does not change
MD5 = re.compile("[0-9a-f]{32}")
# pandas writes whole numbers as 4.0 if one of a column is missing. Digits of other scripts are no numbers here.
_WHOLE_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,40})(?:\.0{1,40})?\s*")
# Addresses that joining and splitting do not change, unless they contain "/.".
PLAIN_URL = re.compile(r"https?://[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::\d{1,5})?/[A-Za-z0-9._~/%+=&?-]*")
# The semicolon is required: without it, the parameters of `?id=5&section=2&copy=1` would be entities, too.
_ENTITY = re.compile("&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Extension of a name in an address, without its query.
_EXTENSION = re.compile(r"^[^?#]*/[^/?#]+\.([A-Za-z0-9]{1,5})(?:[?#]|$)")
_PROGRAMS = frozenset({"php", "asp", "aspx", "cgi", "jsp"})  # extensions of programs that send files


def unescaped(text: str) -> str:
    """Replace the HTML entities that end in a semicolon, each once."""
    return _ENTITY.sub(_character, text) if "&" in text and ";" in text else text


def _character(entity: re.Match[str]) -> str:
    name = entity[0][1:]
    return html.unescape(entity[0]) if name[0] == "#" else html.entities.html5.get(name, entity[0])


def clean_text(text: str) -> str:
    """Normalise free text: NFC, valid UTF-8, without surrounding white space."""
    if text.isascii():
        return text.strip()
    plain = unicodedata.normalize("NFC", text)
    return plain.encode("utf-8", "replace").decode("utf-8").strip()  # JSON can contain lone surrogates


def clean_html(text: str) -> str:
    """Normalise free text that may contain HTML entities."""
    return clean_text(unescaped(text))


def clean_tag(text: str) -> str:
    """Normalise a tag: clean text without HTML entities, white space or control characters."""
    if text.isascii() and text.isprintable() and not ("&" in text or " " in text):
        return text  # nearly every tag; the rest takes 4 us, 30 times per post
    kept = (" " if unicodedata.category(char) == "Cc" else char for char in clean_html(text))
    return "_".join("".join(kept).split())


def clean_tags(text: object) -> str:
    """Normalise a space-separated list of tags; keep its order."""
    words = str(text or "").strip(" ")
    if words.isascii() and len(words) < MAX_TAGS and not words.encode().translate(None, _PLAIN):
        return words  # nearly every post; the rest takes 3 us per tag
    # Split before unescaping, because an escaped space belongs to the tag.
    names = words.split(" ", MAX_TAGS)[:MAX_TAGS]
    return " ".join(filter(None, map(clean_tag, names)))


def integer(value: object) -> int | None:
    """Return a 64-bit integer from a whole number or its decimal text, such as "4" or "4.0"; None otherwise."""
    match value:
        case bool():
            return None
        case int():
            number = value
        case float() if value.is_integer():
            number = int(value)
        case str() if (found := _WHOLE_NUMBER.fullmatch(value)) is not None:
            number = int(found[1])
        case _:
            return None
    return number if number in WHOLE_NUMBERS else None


def instant(value: object) -> int | None:
    """Return unix seconds between 1970 and 9999, which every reader of the tables can show; None otherwise."""
    number = integer(value)
    return number if number is not None and number in INSTANTS else None


def pixels(value: object) -> int:
    """Return a side in px; 0 if the board's value is not a possible size."""
    number = integer(value) or 0
    return number if number in PIXELS else 0


def post_id(value: object) -> int | None:
    """Return the id of a post; None if it is not in [1, 10^12)."""
    number = integer(value)
    return number if number is not None and 1 <= number <= MAX_ID else None


def md5_of(value: object) -> str | None:
    """Return an MD5 as 32 lower-case hexadecimal digits; None if the value is not one."""
    text = str(value or "").strip().lower()
    return text if MD5.fullmatch(text) else None


def url_extension(url: str | None) -> str:
    """Return the lower-case extension of the file at an address; "" if the address has none.

    It counts before what a board states beside it: this is the file that is fetched. A query is not part of the
    name, and a program that sends files says nothing about them.
    """
    match = _EXTENSION.match(url or "")
    found = "" if match is None else match[1].lower()
    return "" if found in _PROGRAMS else found


def name_extension(name: object) -> str:
    """Return the lower-case extension of a file name; "" without a dot, or with nothing before it."""
    stem, _, extension = str(name or "").rpartition("/")[2].rpartition(".")
    return clean_text(extension.lower()) if stem else ""


def absolute_url(base: str, value: object) -> str | None:
    """Return an absolute http(s) URL, also from a path or a protocol-relative URL; None for anything else."""
    text = str(value or "").strip()
    if not text:
        return None
    if PLAIN_URL.fullmatch(text) and "/." not in text:
        return text  # the rest takes 30 us
    try:
        url = urljoin(f"{base}/", text)
        parts = urlsplit(url)
        url.encode()  # JSON can contain lone surrogates
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.hostname else None
