"""Facts about a picture from a JSON object or a row of a table, in the forms of many tools. Pure.

Known keys: those of Danbooru's posts.json, of gallery-dl's metadata (https://github.com/mikf/gallery-dl,
docs/formatting.md), of the Gelbooru family, of img2dataset, and of the tables of deepghs on Hugging Face.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from alti2v.crawl.boards import danbooru, gelbooru
from alti2v.crawl.boards.columns import absolute_urls, integers, md5s, posts_of, sides
from alti2v.crawl.boards.values import (
    MAX_TAGS,
    absolute_url,
    clean_tag,
    clean_tags,
    clean_text,
    instant,
    integer,
    md5_of,
    pixels,
    post_id,
)
from alti2v.crawl.importing.sources.captions import grouped, has_namespace, read_caption, split_tags
from alti2v.crawl.importing.sources.item import Fault, Item, ItemFault, known_id
from alti2v.records import CATEGORY_OF_CODE, Category, Post, tag_names

_NAMED: tuple[Category, ...] = tuple(category for category in Category if category is not Category.UNKNOWN)
_COLUMN_OF: Mapping[Category, str] = {
    category: category.tags_column for category in (*_NAMED, Category.UNKNOWN)
}
_GROUP_KEYS: Mapping[str, Category] = {
    **{f"tag_string_{category.value}": category for category in _NAMED},  # Danbooru
    **{f"tags_{category.value}": category for category in Category},  # gallery-dl, and our own tables
    "tags_metadata": Category.META,  # gallery-dl, for the Gelbooru family
}
# The Gelbooru family: Sat Jan 02 02:50:56 +0200 2010
_FAMILY_TIME = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d\d) (\d\d:\d\d:\d\d) ([+-]\d{4}) (\d{4})")
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
_FLAGS = {f"is_{status}": status for status in ("banned", "deleted", "flagged", "pending")}

_SOURCE_LETTERS = 2_000
# Keys of which at least one is a column of a table of posts.
TAG_KEYS = frozenset({*_GROUP_KEYS, "tags", "tag_string", "caption", "prompt"})
# Every key that `facts_of` looks at.
KEYS = (
    *_GROUP_KEYS,
    *("id", "status", "tags", "tag_string", "caption", "prompt", "rating", "score", "source", "parent_id"),
    *("category", "created_at", "date", "updated_at", "change"),
    *("image_width", "width", "image_height", "height", "md5", "hash"),
    *("file_ext", "extension", "mimetype", "file_url", "url", "sample_url", "large_file_url"),
    *_FLAGS,
)

_FLAT = {
    *("id", "tags", "rating", "score", "created_at", "width", "height", "mimetype"),
    *("md5", "hash", "file_url", "url"),
}

_SAME = ({"md5", "hash"}, {"file_url", "url"})

_TAG_COLUMNS = tuple(category.tags_column for category in Category)

_SENTENCE_JOINS = 4  # between the words of a tag

_NOTHING: tuple[object, ...] = (None, "", [], (), {})
_BLANK = ", \t\r\n"

Groups = dict[Category, list[str]]


def facts_of(document: Mapping[str, Any], base: str = "") -> Post:
    """Return the facts of a document, normalised like those of a board; the id is 0 if it has none.

    Addresses of files that are relative begin at `base`.
    """
    given = {name: value for name, value in document.items() if value is not None}
    columns, rating = _tag_columns(given)
    file_url = absolute_url(base, given.get("file_url") or given.get("url"))
    sample_url = absolute_url(base, given.get("sample_url") or given.get("large_file_url"))
    parent = integer(given["parent_id"]) if "parent_id" in given else None
    return Post(
        id=known_id(post_id(given.get("id"))),
        **columns,
        rating=_rating(given) or rating,
        score=_score(given.get("score")),
        source=clean_text(_text(given.get("source"))[:_SOURCE_LETTERS]),
        parent_id=parent if parent is not None and parent > 0 else None,
        created_at=_first_moment(given, "created_at", "date"),
        changed_at=_first_moment(given, "updated_at", "change"),
        width=pixels(given.get("image_width") or given.get("width")),
        height=pixels(given.get("image_height") or given.get("height")),
        md5=md5_of(given.get("md5") or given.get("hash")),
        file_ext=_extension(given),
        board_status=_board_status(given),
        file_url=file_url,
        sample_url=None if sample_url == file_url else sample_url,
    )


def facts_of_columns(columns: Mapping[str, Sequence[object]], base: str = "") -> tuple[Post, ...] | None:
    """Return the facts of the rows of a flat table, as `facts_of` does, in half the time.

    Args:
        columns: Values by column, all of the same length; null is None.
        base: See `facts_of`.

    Returns:
        None if the table has other columns, or tags in another form than a board's.
    """
    tags = columns.get("tags")
    if tags is None or not columns.keys() <= _FLAT or not all(map(_is_flat, tags)):
        return None
    if any(names <= columns.keys() for names in _SAME):
        return None  # the second is looked at where the first has no value

    def given(name: str, other: str = "") -> Sequence[Any]:
        return columns.get(name, columns.get(other)) or [None] * len(tags)

    if not all(value is None or isinstance(value, str) for value in (*given("rating"), *given("mimetype"))):
        return None
    names = list(map(clean_tags, tags))
    if any(not name and is_text_of_tags(str(text)) for name, text in zip(names, tags, strict=True)):
        return None  # a row without a usable tag: see `unusable_tags`
    ratings = {value: gelbooru.RATINGS.get((value or "").lower(), "") for value in set(given("rating"))}
    extensions = {value: _extension({"mimetype": value}) for value in set(given("mimetype"))}
    return posts_of(
        {
            "id": [known_id(post_id(number)) for number in given("id")],
            "tags_unknown": names,
            "rating": [ratings[value] for value in given("rating")],
            "score": integers(given("score")),
            "created_at": [moment(value) or None for value in given("created_at")],  # 0 is no time
            "width": sides(given("width")),
            "height": sides(given("height")),
            "md5": md5s(given("md5", "hash")),
            "file_ext": [extensions[value] for value in given("mimetype")],
            "file_url": absolute_urls(base, given("file_url", "url")),
        }
    )


def _is_flat(text: object) -> bool:
    return isinstance(text, str) and not _is_special(text)


def without_overfull(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items; one with more tags than a post can have gets a fault, because it is no list of tags."""
    for item in items:
        columns = (getattr(item.facts, name) for name in _TAG_COLUMNS)
        count = sum(column.count(" ") + 1 for column in columns if column)
        if count <= MAX_TAGS:
            yield item
            continue
        message = f"{item.name} has {count:,} tags, and at most {MAX_TAGS:,} are allowed"
        yield Item(name=item.name, problem=Fault(ItemFault.BAD_METADATA, message))


def unusable_tags(document: Mapping[str, Any], facts: Post, name: str) -> Fault | None:
    """Return the fault of a named document that gives tags of which none can be used; None without a fault."""
    has_rating = bool(facts.rating) and not document.get("rating")  # it was written among the tags
    if has_rating or any(getattr(facts, column) for column in _TAG_COLUMNS):
        return None
    return _no_usable_tag(name) if any(_is_given(document.get(key)) for key in TAG_KEYS) else None


def _no_usable_tag(name: str) -> Fault:
    """Return the fault of a list or a text of tags in which no tag can be used."""
    return Fault(ItemFault.BAD_METADATA, f"{name} has no usable tags: they are not short texts")


def is_text_of_tags(text: str) -> bool:
    """Return whether a text consists of more than white space and commas."""
    return bool(text.strip(_BLANK))


def _is_given(value: object) -> bool:
    """Return whether a value of tags contains anything; numbers and objects count, although no tags."""
    match value:
        case Mapping():
            parts = tuple(value.values())
        case list() | tuple():
            parts = tuple(value)
        case _:
            parts = (value,)
    return any(is_text_of_tags(one) if isinstance(one, str) else one not in _NOTHING for one in parts)


def board_facts(document: Mapping[str, Any]) -> tuple[Post, str]:
    """Return the facts of a JSON object, and the site of its id; "" if no site is known."""
    facts = facts_of(document)
    if site := gallery_dl_site(document):
        return facts, site
    return (facts, "danbooru") if "tag_string" in document else (facts._replace(id=0), "")


def gallery_dl_site(document: Mapping[str, Any]) -> str:
    """Return the name of the site, such as "danbooru", in metadata of gallery-dl; "" for other objects.

    Its key is `category`; people keep it and the `id`, and leave out the rest.
    """
    site = document.get("category")
    return site if isinstance(site, str) and ("subcategory" in document or "id" in document) else ""


def is_of_original(document: Mapping[str, Any]) -> bool:
    """Return whether a JSON object may describe the file beside it as it was downloaded.

    img2dataset gives the MD5 of the file that it then reduced, and the size that this had (img2dataset,
    downloader.py: `original_width`).
    """
    return "original_width" not in document


def with_tags(post: Post, groups: Mapping[Category, Iterable[str]], rating: str) -> Post:
    """Add tags and a rating that a post lacks."""
    merged = {
        category: (*tag_names(getattr(post, column)), *groups.get(category, ()))
        for category, column in _COLUMN_OF.items()
    }
    columns: dict[str, Any] = joined(merged)
    return post._replace(**columns, rating=post.rating or rating)


def with_caption(post: Post, text: str, name: str) -> Post | Fault:
    """Add the tags and the rating of a text beside a picture; return a fault if no tag of it can be used."""
    groups, rating = read_caption(text)
    if is_text_of_tags(text) and not (groups or rating):
        return _no_usable_tag(name)
    return with_tags(post, groups, rating)


def has_tags(post: Post) -> bool:
    """Return whether a post has at least one tag, of any category."""
    return any(getattr(post, column) for column in _COLUMN_OF.values())


def has_sentences(post: Post) -> bool:
    """Return whether the tags without a category are of five or more words on average, as no board's are."""
    names = post.tags_unknown
    return names.count("_") >= _SENTENCE_JOINS * (names.count(" ") + 1)


def joined(groups: Mapping[Category, Iterable[str]]) -> dict[str, str]:
    """Return tags as columns of a `Post`; a tag with a category is not repeated among those without."""
    seen: set[str] = set()
    columns: dict[str, str] = {}
    named = [category for category in groups if category is not Category.UNKNOWN]
    for category in (*named, *({Category.UNKNOWN} & groups.keys())):
        kept = [name for name in dict.fromkeys(groups[category]) if name not in seen]
        seen.update(kept)
        columns[_COLUMN_OF[category]] = " ".join(kept)
    return columns


def moment(value: object) -> int | None:
    """Return the unix seconds of a number, an ISO 8601 time, or one of the forms in which tools write times.

    Times without a zone are UTC.
    """
    if isinstance(value, datetime):
        return _seconds(value)
    if not isinstance(value, str):
        return instant(value)
    if (match := _FAMILY_TIME.fullmatch(value)) is not None:
        month, day, clock, zone, year = match.groups()
        value = f"{year}-{_MONTHS.find(month) // 3 + 1:02}-{day}T{clock}{zone}"  # strptime takes 20 us
    try:
        return _seconds(datetime.fromisoformat(value))
    except ValueError:
        return instant(value)


def _seconds(time: datetime) -> int | None:
    try:
        return instant(int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()))
    except (ValueError, OverflowError):
        return None


def _first_moment(document: Mapping[str, Any], *keys: str) -> int | None:
    """Return the time at the first of some keys that holds one."""
    return next(filter(None, (moment(document[key]) for key in keys if key in document)), None)


def _rating(document: Mapping[str, Any]) -> str:
    given = _text(document.get("rating")).lower()
    is_danbooru = "tag_string" in document or "tag_string_general" in document
    return (is_danbooru and danbooru.RATINGS.get(given)) or gelbooru.RATINGS.get(given, "")


def _tag_columns(document: Mapping[str, Any]) -> tuple[Mapping[str, str], str]:
    """Return the tags as columns of a `Post`, and a rating that is written among them."""
    flat = document.get("tags")
    # Nearly every row of a table: one text in the form of a board. The general way takes 30 us.
    if isinstance(flat, str) and _GROUP_KEYS.keys().isdisjoint(document) and not _is_special(flat):
        return {Category.UNKNOWN.tags_column: clean_tags(flat)}, ""
    groups, rating = _tags(document)
    return joined(groups), rating


def _is_special(text: str) -> bool:
    """Return whether tags are separated by commas, or begin with names of categories."""
    is_long = len(text) > MAX_TAGS and text.count(" ") >= MAX_TAGS  # `clean_tags` would cut it
    return is_long or ", " in text or (":" in text and any(map(has_namespace, text.split())))


def _tags(document: Mapping[str, Any]) -> tuple[Groups, str]:
    """Return the tags by category, and a rating that is written among them."""
    groups: Groups = {}
    for key, category in _GROUP_KEYS.items():
        if key in document:
            groups.setdefault(category, []).extend(_names(document[key]))
    rest, rating = _other_tags(document.get("tags") or document.get("tag_string"))
    for category, names in rest.items():
        groups.setdefault(category, []).extend(names)
    caption = document.get("caption") or document.get("prompt")
    if not any(groups.values()) and isinstance(caption, str):
        return read_caption(caption)
    return groups, rating


def _other_tags(value: object) -> tuple[Groups, str]:
    """Return the tags of a value that is a text, a list of texts or objects, or an object of lists."""
    groups: Groups = {}
    if isinstance(value, Mapping):
        for key, names in value.items():
            groups.setdefault(category_of(key), []).extend(_names(names))
        return groups, ""
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        for tag in filter(lambda one: isinstance(one, Mapping), value):
            names = _names([_text(tag.get("name") or tag.get("tag"))])
            groups.setdefault(category_of(tag.get("category", tag.get("type"))), []).extend(names)
        return groups, ""
    texts = _pieces(value)
    if any(map(has_namespace, texts)):
        return grouped(texts)
    return {Category.UNKNOWN: [name for name in map(clean_tag, texts) if name]}, ""


def _pieces(value: object) -> list[str]:
    """Split tags: a list, or a text with commas or with spaces between them."""
    if isinstance(value, (list, tuple)):
        return [str(one) for one in value if isinstance(one, str)]
    text = _text(value)
    return split_tags(text) if "," in text and ", " in text else text.split()


def _names(value: object) -> list[str]:
    if isinstance(value, str) and ", " not in value and value.count(" ") < MAX_TAGS:
        return clean_tags(value).split()
    return [name for name in map(clean_tag, _pieces(value)) if name]


def category_of(value: object) -> Category:
    """Return the category that a board's number or a name means."""
    code = integer(value)
    if code is not None:
        return CATEGORY_OF_CODE.get(code, Category.UNKNOWN)
    word = _text(value).lower()
    return Category(word) if word in set(Category) else Category.UNKNOWN


def _board_status(document: Mapping[str, Any]) -> str:
    for flag, status in _FLAGS.items():
        if document.get(flag) is True:
            return status
    given = document.get("status")
    return given if isinstance(given, str) and given in _FLAGS.values() else "active"


def _score(value: object) -> int | None:
    return integer(value.get("total")) if isinstance(value, Mapping) else integer(value)


def _extension(document: Mapping[str, Any]) -> str:
    given = document.get("file_ext") or document.get("extension")
    if given:
        return clean_text(_text(given).lower().lstrip("."))[:10]
    kind, _, subtype = _text(document.get("mimetype")).partition("/")
    return "jpg" if subtype == "jpeg" else clean_text(subtype)[:10] if kind in ("image", "video") else ""


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None or isinstance(value, (list, tuple, Mapping)) else str(value)
