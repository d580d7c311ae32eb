"""Categories of tags in a Gelbooru board's posts and on its web page of tags. Pure.

Sources: `fields=tag_info` as rule34.xxx answers it (grabber, pull request 3641); the table of the page
`page=tags&s=list` of this family (grabber, model.ts): rows of count, linked name, and type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from alti2v.crawl.boards.protocol import Refusal, Unreadable
from alti2v.crawl.boards.values import MAX_TAGS, clean_html, clean_tag, integer
from alti2v.records import Category, Tag

TAGS_ON_PAGE = 50
_TYPES: Mapping[str, Category] = {
    "tag": Category.GENERAL,
    "general": Category.GENERAL,
    "artist": Category.ARTIST,
    "copyright": Category.COPYRIGHT,
    "character": Category.CHARACTER,
    "metadata": Category.META,
    "meta": Category.META,
}
_MAX_ROWS = 1_000
_ROW = re.compile(r"<tr\b[^>]*>(.*?)</tr>", re.DOTALL | re.IGNORECASE)
_COUNT = re.compile(r"<td\b[^>]*>\s*([\d,]{1,15})\s*</td>", re.IGNORECASE)
_LINK = re.compile(r'<a\b[^>]*\bhref="([^"]*[?&;]tags=[^"]*)"', re.IGNORECASE)
_CLASS = re.compile(r"\btag-type-([a-z]+)", re.IGNORECASE)


def has_tag_info(entries: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a post lists its tags with their types."""
    return any(isinstance(entry.get("tag_info"), list) and entry["tag_info"] for entry in entries)


def tag_columns(entries: Sequence[Mapping[str, Any]], tags: Sequence[str]) -> dict[str, list[str]]:
    """Return columns of tags by category; tags without a type are unknown.

    Args:
        entries: Posts as they came.
        tags: All tags of each post, cleaned.
    """
    rows = [_grouped(text, entry.get("tag_info")) for text, entry in zip(tags, entries, strict=True)]
    return {category.tags_column: [row[category] for row in rows] for category in Category}


def _grouped(text: str, info: object) -> dict[Category, str]:
    groups: dict[Category, list[str]] = {category: [] for category in Category}
    types = {
        clean_tag(clean_html(str(each["tag"]))): _TYPES.get(str(each.get("type")).lower(), Category.UNKNOWN)
        for each in (info[:MAX_TAGS] if isinstance(info, list) else ())
        if isinstance(each, dict) and each.get("tag")
    }
    for tag in filter(None, text.split(" ")):
        groups[types.get(tag, Category.UNKNOWN)].append(tag)
    return {category: " ".join(names) for category, names in groups.items()}


def tag_list_query(page: int) -> dict[str, str | int]:
    """Return the query of a page of tags, the most frequent first; `pid` counts tags."""
    return {"page": "tags", "s": "list", "pid": page * TAGS_ON_PAGE, "sort": "desc", "order_by": "index_count"}


def read_tag_list(body: bytes, *, status: int) -> tuple[Tag, ...] | Refusal | Unreadable:
    """Read the tags on the web page that lists all tags."""
    if status != 200:
        return Unreadable(f"a page with status {status}")
    text = body.decode("utf-8", "replace")
    rows = (match[1] for match, _ in zip(_ROW.finditer(text), range(_MAX_ROWS), strict=False))
    return tuple(tag for row in rows if (tag := _tag_of(row)) is not None)


def _tag_of(row: str) -> Tag | None:
    count, link, kind = _COUNT.search(row), _LINK.search(row), _CLASS.search(row)
    if count is None or link is None or kind is None:
        return None
    query = parse_qs(urlsplit(clean_html(link[1])).query)
    name = clean_tag(query.get("tags", [""])[0])
    category = _TYPES.get(kind[1].lower(), Category.UNKNOWN)
    return Tag(name=name, category=category, count=integer(count[1].replace(",", "")) or 0) if name else None
