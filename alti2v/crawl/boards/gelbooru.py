"""The dialect of Gelbooru Beta 0.2 (safebooru.org and similar boards): `index.php?page=dapi`.

Sources: the site's help text (help topic "dapi"), recorded answers in both JSON shapes and in XML.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from alti2v.crawl.boards.columns import (
    absolute_urls,
    column,
    instants,
    integers,
    md5s,
    parent_ids,
    post_ids,
    posts_of,
    sides,
)
from alti2v.crawl.boards.gelbooru_tags import has_tag_info, tag_columns, tag_list_query
from alti2v.crawl.boards.protocol import (
    Answer,
    Conditions,
    Dialect,
    Page,
    PostQuery,
    Refusal,
    TagBoard,
    Terms,
    Unreadable,
    Wall,
    terms_of,
)
from alti2v.crawl.boards.response import Empty, JsonBody, XmlBody, classify, element_facts
from alti2v.crawl.boards.values import (
    absolute_url,
    clean_html,
    clean_tag,
    clean_tags,
    instant,
    integer,
    md5_of,
    name_extension,
    unescaped,
    url_extension,
)
from alti2v.records import CATEGORY_OF_CODE, Category, Post, Tag

# Old posts have "safe" where new ones have "general". In XML, the letter "s" means both "safe" and the rare
# "sensitive"; it is read as the former.
RATINGS: Mapping[str, str] = {
    "safe": "general",
    "s": "general",
    "general": "general",
    "g": "general",
    "sensitive": "sensitive",
    "questionable": "questionable",
    "q": "questionable",
    "explicit": "explicit",
    "e": "explicit",
}
TAGS_LIMIT = 1000
_WALL = "limited due to abuse"  # the whole message: "Search error: API limited due to abuse."


@dataclass(frozen=True, slots=True)
class Gelbooru:
    """A board of this dialect.

    Attributes:
        base: Address in front of every path of the API.
        pages: Address in front of web pages; "" if it is the same.
    """

    base: str
    pages: str = ""
    dialect: ClassVar[Dialect] = Dialect.GELBOORU
    api_path: ClassVar[str] = "index.php?page=dapi"
    page_limit: ClassVar[int] = 1000  # larger limits are cut to this; some boards cut to 100
    batch: ClassVar[int] = 1  # whether batches work is unknown
    counts_are_the_boards: ClassVar[bool] = True
    may_tell_tag_types: ClassVar[bool] = True
    takes_lower_bound: ClassVar[bool] = False  # safebooru.org ignores id:>=N and answers with the newest page
    takes_lists_of_ids: ClassVar[bool] = False  # they are ignored

    @property
    def tag_board(self) -> TagBoard:
        """This board: its posts have no categories, but it has an API for them."""
        return self

    def terms(self, tags: str, conditions: Conditions) -> Terms:
        """Return the search terms, any number, without the lowest id, at which the listing ends."""
        return Terms(text=" ".join([*tags.split(), *terms_of(replace(conditions, min_id=None))]))

    def changed_first(self, tags: str) -> str:
        """Return the search for the same posts, the last changed first, which some boards support."""
        return f"{tags} sort:updated:desc".strip()

    def posts_url(self, query: PostQuery) -> str:
        """Return the address of a page of posts; `id:<N` is a search term here."""
        return self._url(
            s="post",
            tags=_terms(query.tags, query.below),
            limit=query.limit,
            pid=query.page,
            json=None if query.xml else 1,
            fields="tag_info" if query.tag_info and not query.xml else None,
        )

    def count_url(self, tags: str, *, below: int | None = None) -> str:
        """Return the address of the number of matching posts: only the XML form has it."""
        return self._url(s="post", tags=_terms(tags, below), limit=1, pid=0)

    def frequent_tags_url(self, page: int) -> str:
        """Return the address of a page of frequent tags; `orderby` is used by clients, but not documented.

        With `order`, because some boards list the least frequent tags first without it.
        """
        return self._url(s="tag", orderby="count", order="DESC", limit=TAGS_LIMIT, pid=page)

    def tag_list_url(self, page: int) -> str:
        """Return the address of a web page of frequent tags, at the host of the board's pages."""
        query = urlencode(tag_list_query(page), quote_via=quote)
        return f"{self.pages or self.base}/index.php?{query}"

    def tag_urls(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the addresses of tags: as they are, and as PHP's htmlspecialchars would have stored them."""
        forms = ((name, html.escape(name, quote=True).replace("&#x27;", "&#039;")) for name in names)
        distinct = dict.fromkeys(form for both in forms for form in both)
        return tuple(self._url(s="tag", name=form, limit=1) for form in distinct)

    def read_posts(self, body: bytes, *, status: int) -> Answer:
        """Read an answer, in JSON or XML, detected by content."""
        read = classify(body)
        match read:
            case Empty():
                return Page() if status == 200 else Unreadable(f"an empty answer with status {status}")
            case Refusal():
                return _refusal(read)
            case JsonBody(value=list() as entries):
                return self._page(entries)
            case JsonBody(value=dict() as envelope) if "post" in envelope or "@attributes" in envelope:
                entries = envelope.get("post") or []
                return self._page(entries if isinstance(entries, list) else [entries])
            case XmlBody(root=root) if root.tag == "posts":
                return self._page([element_facts(entry) for entry in root.iter("post")])
            case Unreadable():
                return read
        return Unreadable("an unknown kind of answer")

    def read_count(self, body: bytes, *, status: int) -> int | Wall | Refusal | Unreadable:
        """Read the number of posts from `<posts count=…>`."""
        read = classify(body)
        if isinstance(read, XmlBody) and read.root.tag == "posts":
            count = integer(element_facts(read.root).get("count"))
            return count if count is not None and count >= 0 else Unreadable("a list without a count")
        if isinstance(read, Refusal):
            return _refusal(read)
        return read if isinstance(read, Unreadable) else Unreadable(f"not XML (status {status})")

    def read_tags(self, body: bytes, *, status: int) -> tuple[Tag, ...] | Refusal | Unreadable:
        """Read `<tags><tag type=… count=… name=…/></tags>`; there is no JSON form.

        Some boards write child elements instead of attributes (gelbooru.com).
        """
        read = classify(body)
        if isinstance(read, XmlBody) and read.root.tag == "tags":
            entries = [element_facts(entry) for entry in read.root.iter("tag")]
            tags = tuple(_tag(entry) for entry in entries if entry.get("name") and entry.get("type"))
            return Unreadable("tags without names or types") if entries and not tags else tags
        if isinstance(read, Refusal | Unreadable):
            return read
        return Unreadable(f"not XML (status {status})")

    def _url(self, **parameters: str | int | None) -> str:
        query = {"page": "dapi", "q": "index"} | {k: v for k, v in parameters.items() if v is not None}
        return f"{self.base}/index.php?{urlencode(query, quote_via=quote)}"

    def _page(self, entries: list[Any]) -> Page:
        ids: list[int] = []
        described: list[Mapping[str, Any]] = []
        deleted_ids: list[int] = []
        for number, entry in zip(post_ids(entries), entries, strict=True):
            if number is None:
                continue
            if _is_deleted(entry):
                deleted_ids.append(number)
            else:
                ids.append(number)
                described.append(entry)
        unusable = len(entries) - len(ids) - len(deleted_ids)
        return Page(self._posts(ids, described), tuple(deleted_ids), unusable, has_tag_info(described))

    def _posts(self, ids: list[int], entries: list[Mapping[str, Any]]) -> tuple[Post, ...]:
        file_urls = [
            url or self._file_url(entry)
            for url, entry in zip(
                absolute_urls(self.base, _addresses(column(entries, "file_url"))), entries, strict=True
            )
        ]
        sample_urls = [
            None if url == file_url else url
            for url, file_url in zip(
                absolute_urls(self.base, _addresses([self._sample(entry) for entry in entries])),
                file_urls,
                strict=True,
            )
        ]
        tags = [clean_tags(tags) for tags in column(entries, "tags")]
        return posts_of(
            {
                "id": ids,
                **(tag_columns(entries, tags) if has_tag_info(entries) else {"tags_unknown": tags}),
                "rating": [_rating(rating) for rating in column(entries, "rating")],
                "score": integers(column(entries, "score")),
                "source": [clean_html(str(source or "")) for source in column(entries, "source")],
                "parent_id": parent_ids(column(entries, "parent_id")),
                "created_at": [_created_at(moment) for moment in column(entries, "created_at")],
                "changed_at": instants(column(entries, "change")),
                "width": sides(column(entries, "width")),
                "height": sides(column(entries, "height")),
                "md5": md5s([entry.get("hash") or entry.get("md5") for entry in entries]),
                "file_ext": [
                    url_extension(file_url) or name_extension(image)
                    for file_url, image in zip(file_urls, column(entries, "image"), strict=True)
                ],
                "board_status": [clean_html(str(status or "active")) for status in column(entries, "status")],
                "file_url": file_urls,
                "sample_url": sample_urls,
            }
        )

    def _file_url(self, entry: Mapping[str, Any]) -> str | None:
        """Return the file's address in the old JSON form, which has none: /images/{directory}/{image}."""
        directory, image = entry.get("directory"), entry.get("image")
        if directory in (None, "") or not image:
            return None
        return absolute_url(self.base, f"{self.base}/images/{directory}/{quote(str(image))}")

    def _sample(self, entry: Mapping[str, Any]) -> object:
        """Return the sample's address as it comes; None if there is no sample.

        In JSON, `sample` says whether there is one; in XML there is one if its URL differs from the file's.
        """
        flag = entry.get("sample", True)
        if flag is not True and str(flag).lower() in ("false", "0", "none", ""):
            return None
        if entry.get("sample_url"):
            return entry["sample_url"]
        directory, image = entry.get("directory"), entry.get("image")
        if "sample" not in entry or directory in (None, "") or not image:
            return None
        stem = quote(PurePosixPath(str(image)).stem)
        return f"{self.base}/samples/{directory}/sample_{stem}.jpg"


def _refusal(refusal: Refusal) -> Wall | Refusal:
    """Distinguish refusals of a depth, of a list and of a count from others."""
    return Wall(refusal.message) if _WALL in refusal.message.lower() else refusal


def _addresses(values: Sequence[object]) -> list[object]:
    """Unescape addresses, which some boards write with `&amp;` also in JSON."""
    return [unescaped(value) if isinstance(value, str) and "&" in value else value for value in values]


def _terms(tags: str, below: int | None) -> str:
    return tags if below is None else f"{tags} id:<{below}".strip()


def _rating(value: object) -> str:
    return RATINGS.get(str(value or "").strip().lower(), "")


def _is_deleted(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry is a deleted post: only an id, and a file_url that ends in `/images//`."""
    if entry.get("image") or md5_of(entry.get("hash") or entry.get("md5")):
        return False
    file_url = str(entry.get("file_url") or "")
    return not file_url or file_url.endswith("//")


def _created_at(value: object) -> int | None:
    """Return the unix seconds of `Fri Sep 18 21:45:40 +0200 2026` (XML only)."""
    if value is None:
        return None
    try:
        return instant(int(datetime.strptime(str(value), "%a %b %d %H:%M:%S %z %Y").timestamp()))
    except (ValueError, OverflowError):
        return None


def _tag(entry: Mapping[str, str]) -> Tag:
    code = integer(entry.get("type"))
    category = CATEGORY_OF_CODE.get(-1 if code is None else code, Category.UNKNOWN)
    return Tag(name=clean_tag(entry["name"]), category=category, count=integer(entry.get("count")) or 0)
