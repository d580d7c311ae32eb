"""The values of a whole page of posts as they are stored, one column after the other. Pure.

`values` reads one value, whatever a board sends in its place. Nearly every page has nothing odd in a column,
and that can be asked of the whole column in a few calls, for a fifth of the time; only where there is something
odd is each value looked at.
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
    """The posts of columns, by name of the field; without a column all have the default."""
    rows = len(columns["id"])
    whole = (columns[name] if name in columns else [Post._field_defaults[name]] * rows for name in Post._fields)
    return tuple(map(Post._make, zip(*whole, strict=True)))


def column(entries: Iterable[Mapping[str, Any]], name: str) -> list[object]:
    """What entries have under a name; None where they have nothing."""
    return [entry.get(name) for entry in entries]


def post_ids(entries: Sequence[object]) -> Sequence[int | None]:
    """The id of each entry, None where it is no object, or the id is missing or not in [1, 10^12)."""
    values = [entry.get("id") if isinstance(entry, dict) else None for entry in entries]
    return values if _are_whole(values, range(1, MAX_ID + 1)) else list(map(post_id, values))


def integers(values: Sequence[object]) -> Sequence[int | None]:
    """`values.integer` of each."""
    given = [value for value in values if value is not None]
    return values if _are_whole(given, WHOLE_NUMBERS) else list(map(integer, values))  # type: ignore[return-value]


def instants(values: Sequence[object]) -> Sequence[int | None]:
    """`values.instant` of each."""
    return values if _are_whole(values, INSTANTS) else list(map(instant, values))


def sides(values: Sequence[object]) -> Sequence[int]:
    """`values.pixels` of each."""
    return values if _are_whole(values, PIXELS) else list(map(pixels, values))


def parent_ids(values: Sequence[object]) -> list[int | None]:
    """`values.integer` of each that is above 0, None for no parent."""
    return [number if number and number > 0 else None for number in integers(values)]


def md5s(values: Sequence[object]) -> Sequence[str | None]:
    """`values.md5_of` of each."""
    return values if _are_all(values, _MD5S) else list(map(md5_of, values))


def absolute_urls(base: str, values: Sequence[object]) -> Sequence[str | None]:
    """`values.absolute_url` of each."""
    given = [value for value in values if value]
    if _are_all(given, _PLAIN_URLS, but_not="/."):
        return [value or None for value in values]  # type: ignore[misc]
    return [absolute_url(base, value) for value in values]


def _are_whole(values: Sequence[object], within: range) -> TypeGuard[Sequence[int]]:
    """Whether all are whole numbers, and no truth values, within a range."""
    if set(map(type, values)) != {int}:
        return False
    numbers: Sequence[int] = values  # type: ignore[assignment]
    return min(numbers) in within and max(numbers) in within


def _are_all(
    values: Sequence[object], lines: re.Pattern[str], *, but_not: str | None = None
) -> TypeGuard[Sequence[str]]:
    """Whether all are texts that are such lines; if told, without this inside."""
    if set(map(type, values)) != {str}:
        return False
    text = "\n".join([*values, ""])  # type: ignore[list-item]
    if lines.fullmatch(text) is None or text.count("\n") != len(values):
        return False
    return but_not is None or but_not not in text
