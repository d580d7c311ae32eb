"""Search language of the two boards: a line of text in, terms out.

Terms (safebooru-wire.md, section 1): `tag`, `-tag`, `wild*card`, `( a ~ b )`, `rating:`, `user:`, `source:`,
`parent:`, `md5:`, and `id:`, `score:`, `width:`, `height:` with `N`, `<N`, `<=N`, `>N`, `>=N`, `a..b`.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

NO_LIMIT = 2**62
_NUMERIC = ("id", "score", "width", "height")
_TEXTUAL = ("rating", "user", "source")
_METATAGS = frozenset((*_NUMERIC, *_TEXTUAL, "parent", "md5"))
_COMPARISON = re.compile(r"(?P<sign><=|>=|<|>)?(?P<number>-?\d{1,18})")
_RANGE = re.compile(r"(?P<low>-?\d{1,18})?\.\.(?P<high>-?\d{1,18})?")
_ID_LIST = re.compile(r"\d{1,18}(,\d{1,18})+")


@dataclass(frozen=True, slots=True)
class Word:
    """A tag; `*` in it matches any characters."""

    text: str


@dataclass(frozen=True, slots=True)
class Between:
    """`low <= field <= high`, where field is one of id, score, width, height."""

    field: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Equal:
    """The field (rating, user or source) equals this text; `*` in it matches any characters."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """The post has one of these ids."""

    ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class ChildOf:
    """The post's parent is this one."""

    post_id: int


@dataclass(frozen=True, slots=True)
class HasMd5:
    """The original has this md5."""

    md5: str


@dataclass(frozen=True, slots=True)
class Not:
    """The term does not hold."""

    term: Term


@dataclass(frozen=True, slots=True)
class Either:
    """One of the terms holds."""

    terms: tuple[Term, ...]


Term = Word | Between | Equal | OneOf | ChildOf | HasMd5 | Not | Either


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """Rules in which boards differ.

    Attributes:
        id_lists: True if `id:1,2,3` means those posts; if not, the term is silently ignored.
        id_cursors: True if comparisons of ids are obeyed; if not, they are silently ignored.
        id_bounds: True if `id:>=N` and `id:A..B` are obeyed; if not, they are silently ignored.
        ascending: Terms that reverse the order.
        ignored: Prefixes of terms that change nothing, such as `sort:`.
        free: Metatags that do not count against a limit on the number of terms.
    """

    id_lists: bool = False
    id_cursors: bool = True
    id_bounds: bool = True
    ascending: frozenset[str] = frozenset()
    ignored: tuple[str, ...] = ()
    free: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedSearch:
    """A parsed search: posts for which all terms hold, newest first unless `ascending`.

    Attributes:
        ascending: True for the oldest post first.
        counted: Number of terms that count against a board's limit.
    """

    terms: tuple[Term, ...]
    ascending: bool = False
    counted: int = 0


def parse(text: str, grammar: Grammar) -> ParsedSearch:
    """Parse a search. No text is invalid: words that are not metatags are names of tags.

    HTML entities are decoded first, because a client may send back a tag as the board wrote it.
    """
    words = html.unescape(text).lower().split()
    terms: list[Term] = []
    place = 0
    while place < len(words):
        if words[place] == "(":
            end = words.index(")", place) if ")" in words[place:] else len(words)
            members = [_term(word, grammar) for word in words[place + 1 : end] if word != "~"]
            if kept := tuple(member for member in members if member is not None):
                terms.append(Either(kept))
            place = end + 1
            continue
        if (term := _term(words[place], grammar)) is not None:
            terms.append(term)
        place += 1
    return ParsedSearch(
        terms=tuple(terms),
        ascending=any(word in grammar.ascending for word in words),
        counted=sum(_counts(word, grammar) for word in words),
    )


def _counts(word: str, grammar: Grammar) -> bool:
    prefix = word.lstrip("-").partition(":")[0] if ":" in word else ""
    return word not in ("(", ")", "~", "or") and prefix not in grammar.free


def _term(word: str, grammar: Grammar) -> Term | None:
    """Parse one word; None if the board ignores it."""
    if word.startswith("-") and len(word) > 1:
        inner = _term(word[1:], grammar)
        return None if inner is None else Not(inner)
    if word in grammar.ascending or word.startswith(grammar.ignored):
        return None
    prefix, _, value = word.partition(":")
    return _metatag(prefix, value, grammar) if value and prefix in _METATAGS else Word(word)


def _metatag(prefix: str, value: str, grammar: Grammar) -> Term | None:
    if prefix == "id" and _ID_LIST.fullmatch(value):
        return OneOf(frozenset(map(int, value.split(",")))) if grammar.id_lists else None
    if prefix in _NUMERIC and (bounds := _bounds(value)):
        if prefix == "id" and not _is_obeyed(value, bounds, grammar):
            return None
        return Between(prefix, *bounds)
    if prefix in _TEXTUAL:
        return Equal(prefix, value)
    if prefix == "parent" and value.isdecimal():
        return ChildOf(int(value))
    return HasMd5(value) if prefix == "md5" else Word(f"{prefix}:{value}")


def _is_obeyed(value: str, bounds: tuple[int, int], grammar: Grammar) -> bool:
    """Return whether a board obeys this comparison of ids; it always obeys a single id."""
    if bounds[0] == bounds[1]:
        return True
    is_bound = value.startswith(">=") or ".." in value
    return grammar.id_cursors and (grammar.id_bounds or not is_bound)


def _bounds(value: str) -> tuple[int, int] | None:
    """Lowest and highest number that a comparison allows; None if the text is not a comparison."""
    if match := _RANGE.fullmatch(value):
        if match["low"] is None and match["high"] is None:
            return None
        return int(match["low"] or -NO_LIMIT), int(match["high"] or NO_LIMIT)
    if (match := _COMPARISON.fullmatch(value)) is None:
        return None
    number = int(match["number"])
    return {
        None: (number, number),
        "<": (-NO_LIMIT, number - 1),
        "<=": (-NO_LIMIT, number),
        ">": (number + 1, NO_LIMIT),
        ">=": (number, NO_LIMIT),
    }[match["sign"]]
