"""The dialect of Danbooru 2 (safebooru.donmai.us and similar boards): `posts.json`.

Sources: the site's help page "help:api", the program's own source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from alti2v.crawl.boards.columns import (
    absolute_urls,
    column,
    integers,
    md5s,
    parent_ids,
    post_ids,
    posts_of,
    sides,
)
from alti2v.crawl.boards.protocol import (
    Answer,
    Conditions,
    Dialect,
    Page,
    PostQuery,
    Refusal,
    Terms,
    Unreadable,
    Wall,
    terms_of,
)
from alti2v.crawl.boards.response import Empty, JsonBody, classify
from alti2v.crawl.boards.values import absolute_url, clean_tags, clean_text, instant, integer, url_extension
from alti2v.records import Category, Post

RATINGS: Mapping[str, str] = {
    "g": "general",
    "s": "sensitive",
    "q": "questionable",
    "e": "explicit",
}
# Until January 2022 the program had three ratings, and "s" meant "safe", which is "general" now (Danbooru's
# source, Post::RATINGS). Relatives that branched off before still do.
_OLD_RATINGS = {**RATINGS, "s": "general"}
MAX_TERMS = 2  # of an anonymous search (help:api)
GOLD_TERMS = 6
_GOLD_LEVEL = 30  # the program's source, User::Levels
_NO_LIMIT = 1_000_000
# Metatags that do not count (the program's source, PostQuery::UNLIMITED_METATAGS).
_FREE = frozenset(
    (
        *("status", "rating", "limit", "is", "id", "date", "age", "filesize", "filetype", "parent", "child"),
        *("md5", "width", "height", "duration", "mpixels", "ratio", "score", "upvotes", "downvotes"),
        *("favcount", "embedded", "tagcount", "pixiv_id", "pixiv"),
    )
)
_GROUPS = (Category.GENERAL, Category.ARTIST, Category.COPYRIGHT, Category.CHARACTER, Category.META)
_TAG_STRINGS = tuple(f"tag_string_{category.value}" for category in _GROUPS)
_TAG_COLUMNS = tuple(category.tags_column for category in (*_GROUPS, Category.UNKNOWN))
# Statuses of final refusals (help:api): bad request, not found, too many tags.
_FINAL = frozenset({400, 401, 403, 404, 422, 451})


@dataclass(frozen=True, slots=True)
class Danbooru:
    """A board of this dialect.

    Attributes:
        base: Address in front of every path.
        max_terms: Maximum number of terms that count in a search.
    """

    base: str
    max_terms: int = MAX_TERMS
    dialect: ClassVar[Dialect] = Dialect.DANBOORU
    api_path: ClassVar[str] = "posts.json"
    page_limit: ClassVar[int] = 200
    takes_lower_bound: ClassVar[bool] = True
    takes_lists_of_ids: ClassVar[bool] = True
    tag_board: ClassVar[None] = None
    may_tell_tag_types: ClassVar[bool] = False  # they come in any case

    def terms(self, tags: str, conditions: Conditions) -> Terms:
        """Return the search terms: at most `max_terms` that count, and any number of free ones."""
        words = tags.split()
        left: list[str] = []
        for term in terms_of(conditions):
            counted = sum(map(_counts, words))
            (left if _counts(term) and counted >= self.max_terms else words).append(term)
        return Terms(text=" ".join(words), left=tuple(left))

    def changed_first(self, tags: str) -> str:
        """Return the search for the same posts, the last changed first."""
        return f"{tags} order:change".strip()

    def posts_url(self, query: PostQuery) -> str:
        """Return the address of a page of posts: `page=b<ID>` has no depth limit, page numbers end at 1000."""
        page = f"b{query.below}" if query.below is not None else query.page + 1
        return self._url("posts.json", tags=query.tags, limit=query.limit, page=page)

    def count_url(self, tags: str, *, below: int | None = None) -> str:
        """Return the address of the number of matching posts."""
        terms = tags if below is None else f"{tags} id:<{below}".strip()
        return self._url("counts/posts.json", tags=terms)

    def read_posts(self, body: bytes, *, status: int) -> Answer:
        """Read an array of posts, or an error object, whose meaning depends on the status."""
        read = classify(body)
        match read:
            case JsonBody(value=list() as entries) if all(_is_post(entry) for entry in entries):
                return self._page(entries)
            case Refusal():
                return _refusal(read, status)
            case Empty() | Unreadable():
                what = "an empty answer" if isinstance(read, Empty) else read.what
                return Unreadable(f"{what} with status {status}")
        return Unreadable("an unknown kind of answer")

    def read_count(self, body: bytes, *, status: int) -> int | Wall | Refusal | Unreadable:
        """Read `{"counts": {"posts": N}}`."""
        read = classify(body)
        if isinstance(read, JsonBody) and isinstance(read.value, dict):
            counts = read.value.get("counts")
            count = integer(counts.get("posts")) if isinstance(counts, Mapping) else None
            return count if count is not None else Unreadable("an answer without a count")
        if isinstance(read, Refusal):
            return _refusal(read, status)
        return Unreadable(f"not JSON (status {status})")

    def account_url(self) -> str:
        """Return the address of the profile of the account whose key is sent."""
        return self._url("profile.json", only="level,tag_query_limit")

    def read_term_limit(self, body: bytes, *, status: int) -> int | Refusal | Unreadable:
        """Read how many terms may count in a search of this account (the program's source, UserPolicy)."""
        read = classify(body)
        if isinstance(read, Refusal | Unreadable):
            return read
        if not (isinstance(read, JsonBody) and isinstance(read.value, dict)):
            return Unreadable(f"no account (status {status})")
        limit, level = read.value.get("tag_query_limit", 0), integer(read.value.get("level"))
        if limit is None:  # JSON has no infinity
            return _NO_LIMIT
        known = GOLD_TERMS if level is not None and level >= _GOLD_LEVEL else MAX_TERMS
        return max(MAX_TERMS, min(integer(limit) or known, _NO_LIMIT))

    def _url(self, path: str, **parameters: str | int) -> str:
        return f"{self.base}/{path}?{urlencode(parameters, quote_via=quote)}"

    def _page(self, entries: list[Any]) -> Page:
        numbered = [pair for pair in zip(post_ids(entries), entries, strict=True) if pair[0] is not None]
        ids = [number for number, _ in numbered]
        return Page(self._posts(ids, [entry for _, entry in numbered]), (), len(entries) - len(ids))

    def _posts(self, ids: Sequence[int | None], entries: list[Mapping[str, Any]]) -> tuple[Post, ...]:
        file_urls = absolute_urls(self.base, column(entries, "file_url"))
        large_urls = absolute_urls(self.base, column(entries, "large_file_url"))
        groups = zip(*map(_tag_groups, entries), strict=True)
        ratings = _OLD_RATINGS if _are_of_old_program(entries) else RATINGS
        return posts_of(
            {
                "id": ids,
                **dict(zip(_TAG_COLUMNS, map(list, groups), strict=False)),
                "rating": [ratings.get(str(rating or ""), "") for rating in column(entries, "rating")],
                "score": integers(column(entries, "score")),
                "source": [clean_text(str(source or "")) for source in column(entries, "source")],
                "parent_id": parent_ids(column(entries, "parent_id")),
                "created_at": [_instant(moment) for moment in column(entries, "created_at")],
                "changed_at": [_instant(moment) for moment in column(entries, "updated_at")],
                "width": sides(column(entries, "image_width")),
                "height": sides(column(entries, "image_height")),
                "md5": md5s(column(entries, "md5")),
                "file_ext": [
                    url_extension(file_url) or clean_text(str(stated or "").lower())
                    for file_url, stated in zip(file_urls, column(entries, "file_ext"), strict=True)
                ],
                "board_status": [_board_status(entry) for entry in entries],
                "file_url": file_urls,
                "sample_url": [
                    _jpeg_variant(entry) if large_url == file_url else large_url
                    for entry, large_url, file_url in zip(entries, large_urls, file_urls, strict=True)
                ],
            }
        )


def _refusal(refusal: Refusal, status: int) -> Wall | Refusal:
    """Classify a refusal by its status: 410 refuses depth, also of a count."""
    return Wall(refusal.message) if status == 410 else Refusal(refusal.message, status in _FINAL)


def _are_of_old_program(entries: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether posts come from a program older than the rating "general": it has locks of ratings."""
    return any("is_rating_locked" in entry for entry in entries) and not any(
        entry.get("rating") == "g" for entry in entries
    )


def _is_post(entry: object) -> bool:
    return isinstance(entry, Mapping) and ("tag_string" in entry or "tag_string_general" in entry)


def _counts(term: str) -> bool:
    """Return whether a term counts towards the limit."""
    name, colon, _ = term.lstrip("-~").partition(":")
    return not (colon and name.lower() in _FREE)


def _tag_groups(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tags of each category, in the order of `_TAG_COLUMNS`.

    A tag without a category is unknown; a tag with two keeps the first.
    """
    texts = [clean_tags(entry.get(name)) for name in _TAG_STRINGS]
    whole = clean_tags(entry.get("tag_string"))
    named = " ".join(filter(None, texts)).split(" ")
    distinct = set(named)
    if len(distinct) == len(named) and distinct.issuperset(whole.split(" ")):
        return (*texts, "")
    groups: list[str] = []
    seen: set[str] = set()
    for text in (*texts, whole):
        names = [name for name in text.split(" ") if name not in seen]
        groups.append(" ".join(dict.fromkeys(names)))
        seen.update(names)
    return tuple(groups)


def _jpeg_variant(entry: Mapping[str, Any]) -> str | None:
    """Return the address of the JPEG in full size that the board makes of an AVIF original, if there is one.

    Only of AVIF, which not every program reads (the board's source, media_asset.rb, variant "full").
    """
    asset = entry.get("media_asset")
    variants = asset.get("variants") if isinstance(asset, Mapping) and entry.get("file_ext") == "avif" else None
    for variant in variants if isinstance(variants, list) else ():
        if isinstance(variant, Mapping) and variant.get("type") == "full" and variant.get("file_ext") == "jpg":
            return absolute_url("", variant.get("url"))
    return None


def _board_status(entry: Mapping[str, Any]) -> str:
    for status in ("banned", "deleted", "flagged", "pending"):
        if entry.get(f"is_{status}") is True:
            return status
    return "active"


def _instant(value: object) -> int | None:
    """Return the whole unix seconds of an ISO 8601 time like 2026-08-01T10:00:00.000-04:00."""
    try:
        moment = datetime.fromisoformat(str(value))
        return instant(int(moment.timestamp())) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
