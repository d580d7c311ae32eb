"""What a JSON object or a row of a table says about a picture, whoever wrote it. Pure.

Known keys: those of Danbooru's posts.json, of gallery-dl's metadata (https://github.com/mikf/gallery-dl,
docs/formatting.md), of the Gelbooru family, of img2dataset, and of the tables of deepghs on Hugging Face.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from alti2v.crawl.boards import danbooru, gelbooru
from alti2v.crawl.boards.values import (
    MAX_TAGS,
    absolute_url,
    clean_tag,
    clean_text,
    instant,
    integer,
    md5_of,
    pixels,
    post_id,
)
from alti2v.crawl.importing.sources.captions import grouped, split_tags
from alti2v.crawl.importing.sources.item import known_id
from alti2v.records import CATEGORY_OF_CODE, Category, Post

_NAMED: tuple[Category, ...] = tuple(category for category in Category if category is not Category.UNKNOWN)
_GROUP_KEYS: Mapping[str, Category] = {
    **{f"tag_string_{category.value}": category for category in _NAMED},  # Danbooru
    **{f"tags_{category.value}": category for category in Category},  # gallery-dl, and our own tables
    "tags_metadata": Category.META,  # gallery-dl, for the Gelbooru family
}
_TIMES = ("%a %b %d %H:%M:%S %z %Y", "%Y-%m-%d %H:%M:%S")  # the Gelbooru family; gallery-dl's `date`, in UTC
_STATUSES = ("banned", "deleted", "flagged", "pending")

_SOURCE_LETTERS = 2_000
# Every key that `facts_of` looks at.
KEYS = (
    *_GROUP_KEYS,
    *(
        "id",
        "status",
        "tags",
        "tag_string",
        "caption",
        "prompt",
        "rating",
        "score",
        "source",
        "parent_id",
        "category",
    ),
    *(
        "created_at",
        "date",
        "updated_at",
        "change",
        "image_width",
        "width",
        "image_height",
        "height",
        "md5",
        "hash",
    ),
    *("file_ext", "extension", "mimetype", "file_url", "url", "sample_url", "large_file_url"),
    *(f"is_{status}" for status in _STATUSES),
)

Groups = dict[Category, list[str]]


def facts_of(document: Mapping[str, Any]) -> Post:
    """Return what a document says, normalised as an answer of a board is; the id is 0 if it gives none."""
    groups, rating = _tags(document)
    is_danbooru = "tag_string" in document or "tag_string_general" in document
    letters = danbooru.RATINGS if is_danbooru else gelbooru.RATINGS
    given = _text(document.get("rating")).lower()
    file_url = absolute_url("", document.get("file_url") or document.get("url"))
    sample_url = absolute_url("", document.get("sample_url") or document.get("large_file_url"))
    parent = integer(document.get("parent_id"))
    return Post(
        id=known_id(post_id(document.get("id"))),
        **{category.tags_column: text for category, text in joined(groups).items()},
        rating=letters.get(given) or gelbooru.RATINGS.get(given, "") or rating,
        score=_score(document.get("score")),
        source=clean_text(_text(document.get("source"))[:_SOURCE_LETTERS]),
        parent_id=parent if parent is not None and parent > 0 else None,
        created_at=moment(document.get("created_at")) or moment(document.get("date")),
        changed_at=moment(document.get("updated_at")) or moment(document.get("change")),
        width=pixels(document.get("image_width") or document.get("width")),
        height=pixels(document.get("image_height") or document.get("height")),
        md5=md5_of(document.get("md5") or document.get("hash")),
        file_ext=_extension(document),
        board_status=_board_status(document),
        file_url=file_url,
        sample_url=None if sample_url == file_url else sample_url,
    )


def board_facts(document: Mapping[str, Any]) -> tuple[Post, str]:
    """Return what a JSON object says, and the site that it comes from; without a site, the id says nothing."""
    facts = facts_of(document)
    site = document.get("category")  # gallery-dl: the name of the site, such as "danbooru"
    if isinstance(site, str) and "subcategory" in document:
        return facts, site
    return (facts, "danbooru") if "tag_string" in document else (facts._replace(id=0), "")


def with_tags(post: Post, groups: Mapping[Category, Iterable[str]], rating: str) -> Post:
    """Add tags and a rating to a post that says less."""
    merged = {category: list(post.tags.of(category)) for category in Category}
    for category, names in groups.items():
        merged[category].extend(names)
    columns: dict[str, Any] = {category.tags_column: text for category, text in joined(merged).items()}
    return post._replace(**columns, rating=post.rating or rating)


def joined(groups: Mapping[Category, Iterable[str]]) -> dict[Category, str]:
    """Return tags as the texts of a `Post`; a tag that has a category is not repeated without one."""
    seen: set[str] = set()
    texts: dict[Category, str] = {}
    for category in (*_NAMED, Category.UNKNOWN):
        names = [name for name in dict.fromkeys(groups.get(category, ())) if name not in seen]
        seen.update(names)
        texts[category] = " ".join(names[:MAX_TAGS])
    return texts


def moment(value: object) -> int | None:
    """Return the unix seconds of a number, an ISO 8601 time, or one of the forms in which tools write times."""
    if isinstance(value, datetime):
        return instant(int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()))
    number = integer(value)
    if number is not None or not isinstance(value, str):
        return instant(number)
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        found = next(filter(None, (_parsed(value, form) for form in _TIMES)), None)  # type: ignore[assignment]
    if found is None:
        return None
    try:
        return instant(int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()))
    except (ValueError, OverflowError):
        return None


def _parsed(text: str, form: str) -> datetime | None:
    try:
        found = datetime.strptime(text, form)  # noqa: DTZ007 - the caller adds UTC
    except ValueError:
        return None
    return found


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
        return grouped(split_tags(caption))
    return groups, rating


def _other_tags(value: object) -> tuple[Groups, str]:
    """Return the tags of a value that is a text, a list of texts or objects, or an object of lists."""
    groups: Groups = {}
    if isinstance(value, Mapping):
        for key, names in value.items():
            groups.setdefault(category_of(key), []).extend(_names(names))
        return groups, ""
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        for tag in filter(lambda one: isinstance(one, Mapping), value[:MAX_TAGS]):
            names = _names([_text(tag.get("name") or tag.get("tag"))])
            groups.setdefault(category_of(tag.get("category", tag.get("type"))), []).extend(names)
        return groups, ""
    texts = _pieces(value)
    if any(":" in text for text in texts):
        return grouped(texts)
    return {Category.UNKNOWN: [name for name in map(clean_tag, texts) if name]}, ""


def _pieces(value: object) -> list[str]:
    """Split tags: a list, or a text with commas or with spaces between them."""
    if isinstance(value, (list, tuple)):
        return [str(one) for one in value[:MAX_TAGS] if isinstance(one, str)]
    text = _text(value)
    return split_tags(text) if "," in text and ", " in text else text.split()[:MAX_TAGS]


def _names(value: object) -> list[str]:
    return [name for name in map(clean_tag, _pieces(value)) if name]


def category_of(value: object) -> Category:
    """Return the category with a board's number, or with a name."""
    code = integer(value)
    if code is not None:
        return CATEGORY_OF_CODE.get(code, Category.UNKNOWN)
    word = _text(value).lower()
    return Category(word) if word in set(Category) else Category.UNKNOWN


def _board_status(document: Mapping[str, Any]) -> str:
    flags = (name for name in _STATUSES if document.get(f"is_{name}") is True)
    given = document.get("status")
    return next(flags, given if given in _STATUSES else "active")


def _score(value: object) -> int | None:
    return integer(value.get("total")) if isinstance(value, Mapping) else integer(value)


def _extension(document: Mapping[str, Any]) -> str:
    given = _text(document.get("file_ext") or document.get("extension")).lower().lstrip(".")
    kind, slash, subtype = _text(document.get("mimetype")).partition("/")
    if given or not slash:
        return clean_text(given)[:10]
    return "jpg" if subtype == "jpeg" else clean_text(subtype)[:10] if kind in ("image", "video") else ""


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None or isinstance(value, (list, tuple, Mapping)) else str(value)
