"""Normalisation of a whole page of posts, column by column. Pure.

`values` normalises one value, whatever a board sends. On nearly every page, all values of a column are normal
already. A few calls check this for the whole column, in less than half of the time; only if one is not, each
value is normalised. From here on, a post is a single row, until SQLite has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from alti2v.crawl.boards.values import (
    INSTANTS,
    MAX_ID,
    MD5,
    PIXELS,
    PLAIN_URL,
    WHOLE_NUMBERS,
    absolute_url,
    instant,
    integer,
    md5_of,
    pixels,
    post_id,
)
from alti2v.records import Post

_MD5S = re.compile(rf"(?:{MD5.pattern}\n)*")
_PLAIN_URLS = re.compile(rf"(?:{PLAIN_URL.pattern}\n)*")


def posts_of(columns: Mapping[str, Sequence[object]]) -> tuple[Post, ...]:
    """Return the rows of columns given by field name; a field without a column has its default."""
    rows = len(columns["id"])
    whole = (columns[name] if name in columns else [Post._field_defaults[name]] * rows for name in Post._fields)
    return tuple(map(Post._make, zip(*whole, strict=True)))


def column(entries: Iterable[Mapping[str, Any]], name: str) -> list[object]:
    """Return the values of a key; None for entries without it."""
    return [entry.get(name) for entry in entries]


def post_ids(entries: Sequence[object]) -> Sequence[int | None]:
    """Return the id of each entry; None if it is not an object, or its id is missing or not in [1, 10^12)."""
    values = [entry.get("id") if isinstance(entry, dict) else None for entry in entries]
    return values if _are_whole(values, range(1, MAX_ID + 1)) else list(map(post_id, values))


def integers(values: Sequence[object]) -> Sequence[int | None]:
    """Apply `values.integer` to each value."""
    given = [value for value in values if value is not None]
    return values if _are_whole(given, WHOLE_NUMBERS) else list(map(integer, values))  # type: ignore[return-value]


def instants(values: Sequence[object]) -> Sequence[int | None]:
    """Apply `values.instant` to each value."""
    return values if _are_whole(values, INSTANTS) else list(map(instant, values))


def sides(values: Sequence[object]) -> Sequence[int]:
    """Apply `values.pixels` to each value."""
    return values if _are_whole(values, PIXELS) else list(map(pixels, values))


def parent_ids(values: Sequence[object]) -> list[int | None]:
    """Apply `values.integer` to each value; None unless it is above 0."""
    return [number if number and number > 0 else None for number in integers(values)]


def md5s(values: Sequence[object]) -> Sequence[str | None]:
    """Apply `values.md5_of` to each value."""
    return values if _are_all(values, _MD5S) else list(map(md5_of, values))


def absolute_urls(base: str, values: Sequence[object]) -> Sequence[str | None]:
    """Apply `values.absolute_url` to each value."""
    given = [value for value in values if value]
    if _are_all(given, _PLAIN_URLS, but_not="/."):
        return [value or None for value in values]  # type: ignore[misc]
    return [absolute_url(base, value) for value in values]


def _are_whole(values: Sequence[object], within: range) -> TypeGuard[Sequence[int]]:
    """Return whether every value is an int, and not a bool, within a range."""
    if set(map(type, values)) != {int}:
        return False
    numbers: Sequence[int] = values  # type: ignore[assignment]
    return min(numbers) in within and max(numbers) in within


def _are_all(
    values: Sequence[object], lines: re.Pattern[str], *, but_not: str | None = None
) -> TypeGuard[Sequence[str]]:
    """Return whether every value is a string matching `lines` and none contains `but_not`."""
    if set(map(type, values)) != {str}:
        return False
    text = "\n".join([*values, ""])  # type: ignore[list-item]
    if lines.fullmatch(text) is None or text.count("\n") != len(values):
        return False
    return but_not is None or but_not not in text
