"""Posts and tags in JSON and XML as safebooru.org's software (Gelbooru Beta 0.2) writes them.

Pure: posts in, bodies out. The shapes are those of safebooru-wire.md, sections 1 and 3. Rows are assembled from
pieces prepared once per picture, because a board of 1.5 M posts shows each picture hundreds of times.
"""

from __future__ import annotations

import html
import json
import re
import time
import zlib
from collections.abc import Iterable
from typing import Literal, NamedTuple
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from alti2v.demo.board.picture_cache import SAMPLE_WIDTH, fit
from alti2v.demo.board.posts import BoardPost
from alti2v.demo.drawing.corpus import Illustration
from alti2v.records import CATEGORY_CODES, Category, Tag

WALL_REASON = "Search error: API limited due to abuse."
_ID_IN_JSON = re.compile(r'"id":\d+,')
_ID_IN_XML = re.compile(r' id="\d+"')
_XML = '<?xml version="1.0" encoding="UTF-8"?>'
_THUMBNAIL_BOX = (150, 150)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_OFFSET_S = 7200  # the board's clock shows +0200
# The keys of a post in the order in which the board writes them, now and before about 2024-09.
KEYS = (
    *("preview_url", "sample_url", "file_url", "directory", "hash", "width", "height", "id", "image", "change"),
    *("owner", "parent_id", "rating", "sample", "sample_height", "sample_width", "score", "tags", "source"),
    *("status", "has_notes", "comment_count"),
)
OLD_KEYS = (
    *("directory", "hash", "height", "id", "image", "change", "owner", "parent_id", "rating", "sample"),
    *("sample_height", "sample_width", "score", "tags", "width"),
)


class PictureText(NamedTuple):
    """Text of a picture for the rows of its posts, already escaped.

    Attributes:
        tags: Tags separated by spaces, with HTML entities, which both JSON and XML carry.
        rating: Rating as the board spells it.
        json_...: Sequences of JSON members; `json_sample` has a `%s` for true or false.
        xml_...: Values and sequences of XML attributes.
    """

    tags: str
    rating: str
    json_size: str
    json_owner: str
    json_sample: str
    json_rest: str
    xml_score: str
    xml_sample: str
    xml_creator: str
    xml_source: str


class Row(NamedTuple):
    """A post as a listing shows it.

    Attributes:
        text: Text of its picture.
        md5: MD5 of its original.
        ghost_id: Id of a ghost, of which nothing else is left; None for a post that is not one.
        is_deleted: True if its status is "deleted".
        has_children: True if another post names it as its parent.
    """

    post: BoardPost
    text: PictureText
    md5: str
    ghost_id: int | None
    is_deleted: bool
    has_children: bool


def rating(shown: Illustration, *, pictures: int) -> str:
    """Rating as the board spells it: "safe" for the older half of the pictures, "general" for the newer."""
    return "safe" if shown.rating == "general" and shown.number < pictures // 2 else shown.rating


def entities(text: str) -> str:
    """Escape special characters as the board does: as HTML entities, the apostrophe as `&#039;`."""
    return html.escape(text).replace("&#x27;", "&#039;")


def picture_text(shown: Illustration, *, pictures: int, entities_in_source: bool = False) -> PictureText:
    """Prepare the text that all posts of a picture share."""
    tags = " ".join(map(entities, shown.tags.all))
    source = entities(shown.source) if entities_in_source else shown.source
    width, height = sample_size(shown)
    word = rating(shown, pictures=pictures)
    return PictureText(
        tags=tags,
        rating=word,
        json_size=f'"width":{shown.width},"height":{shown.height}',
        json_owner=f'"owner":{_json(shown.owner)}',
        json_sample=f'"rating":"{word}","sample":%s,"sample_height":{height},"sample_width":{width}',
        json_rest=f'"score":{_json(shown.score)},"tags":{_json(tags)},"source":{_json(source)}',
        xml_score="" if shown.score is None else str(shown.score),
        xml_sample=f'sample_width="{width}" sample_height="{height}"',
        xml_creator=str(zlib.crc32(shown.owner.encode()) % 100_000),
        xml_source=quoteattr(shown.source),
    )


def sample_size(shown: Illustration) -> tuple[int, int]:
    """Width and height of the sample, or of the original if there is no sample."""
    if shown.width <= SAMPLE_WIDTH:
        return shown.width, shown.height
    return SAMPLE_WIDTH, round(shown.height * SAMPLE_WIDTH / shown.width)


def thumbnail_size(shown: Illustration) -> tuple[int, int]:
    """Width and height of the thumbnail."""
    return fit((shown.width, shown.height), _THUMBNAIL_BOX)


def image_urls(root: str, post: BoardPost, *, slash: str = "/") -> tuple[str, str, str]:
    """URLs of thumbnail, sample and original; without a sample, its URL is the original's.

    Args:
        root: Beginning of the URLs.
        post: Post that has the files.
        slash: Spelling of a slash, also in `root`.
    """
    directory, stem, query = f"{slash}{post.directory}{slash}", f"{post.stem}{post.quote}", post.query
    original = f"{root}{slash}images{directory}{stem}.{post.file_ext}{query}"
    sample = f"{root}{slash}samples{directory}sample_{stem}.jpg{query}" if post.has_sample else original
    return f"{root}{slash}thumbnails{directory}thumbnail_{stem}.jpg{query}", sample, original


def json_row(root: str, row: Row) -> str:
    """A post of the new JSON shape: 22 keys, slashes escaped."""
    if row.ghost_id is not None:
        return _json(dict.fromkeys(KEYS) | {"id": row.ghost_id, "file_url": f"{root}/images//", "tags": ""})
    post, text = row.post, row.text
    preview, sample, original = image_urls(root.replace("/", "\\/"), post, slash="\\/")
    is_typed = post.stated_ext is not None
    directory = f'"directory":{post.directory},' if is_typed else ""
    image = f'"image":"{_image_name(post)}",' if is_typed else ""
    return (
        f'{{"preview_url":"{preview}","sample_url":"{sample}","file_url":"{original}",'
        f'{directory}"hash":"{row.md5}",{text.json_size},"id":{post.id},'
        f'{image}"change":{post.changed_at},{text.json_owner},'
        f'"parent_id":{post.parent_id or 0},{text.json_sample % _word(post.has_sample)},{text.json_rest},'
        f'"status":"{_status(row)}","has_notes":false,"comment_count":0}}'
    )


def old_json_row(row: Row) -> str:
    """A post of the shape before about 2024-09: 15 keys, none of them a URL, `directory` a string."""
    shown, post = row.post.shown, row.post
    if row.ghost_id is not None:
        return _json(dict.fromkeys(OLD_KEYS) | {"id": row.ghost_id, "tags": ""})
    width, height = sample_size(shown)
    return _json(
        {
            "directory": str(post.directory),
            "hash": row.md5,
            "height": shown.height,
            "id": post.id,
            "image": _image_name(post),
            "change": post.changed_at,
            "owner": shown.owner,
            "parent_id": post.parent_id or 0,
            "rating": row.text.rating,
            "sample": post.has_sample,
            "sample_height": height,
            "sample_width": width,
            "score": shown.score,
            "tags": row.text.tags,
            "width": shown.width,
        }
    )


def json_posts(rows: Iterable[str], *, envelope: str, limit: int, offset: int, count: int) -> str:
    """The rows as one body: a bare array, or in one of the envelopes of the sister sites."""
    posts = f"[{','.join(rows)}]"
    if envelope == "none":
        return posts
    attributes = f'"@attributes":{{"limit":{limit},"offset":{offset},"count":{count}}},'
    return f'{{{attributes if envelope == "attributes" else ""}"post":{posts}}}'


def xml_row(root: str, row: Row) -> str:
    """A post in XML: 23 attributes, the tags padded with a space at each end."""
    post, text = row.post, row.text
    if row.ghost_id is not None:
        return (
            f'<post height="" score="" file_url="{escape(root)}/images//" parent_id="" sample_url="" '
            'sample_width="" sample_height="" preview_url="" rating="" tags="" '
            f'id="{row.ghost_id}" width="" change="" md5="" creator_id="" has_children="" created_at="" '
            'status="" source="" has_notes="" has_comments="" preview_width="" preview_height=""/>'
        )
    preview, sample, original = map(escape, image_urls(root, post))
    width, height = thumbnail_size(post.shown)
    return (
        f'<post height="{post.shown.height}" score="{text.xml_score}" file_url="{original}" '
        f'parent_id="{post.parent_id or ""}" sample_url="{sample}" {text.xml_sample} preview_url="{preview}" '
        f'rating="{text.rating[0]}" tags=" {text.tags} " id="{post.id}" width="{post.shown.width}" '
        f'change="{post.changed_at}" md5="{row.md5}" creator_id="{text.xml_creator}" '
        f'has_children="{_word(row.has_children)}" created_at="{clock_text(post.created_at)}" '
        f'status="{_status(row)}" source={text.xml_source} has_notes="false" has_comments="false" '
        f'preview_width="{width}" preview_height="{height}"/>'
    )


def as_elements(row: str) -> str:
    """Write the attributes of an XML element as child elements, as gelbooru.com does."""
    element = ElementTree.fromstring(row)  # noqa: S314 - our own text
    children = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in element.attrib.items())
    return f"<{element.tag}>{children}</{element.tag}>"


def with_unusable_id(row: str, form: Literal["absent", "null", "text"]) -> str:
    """Take the id of a JSON or XML row away, or replace it by null or by a text that is no number."""
    in_json, in_xml = {
        "absent": ("", ""),
        "null": ('"id":null,', ' id=""'),
        "text": ('"id":"unknown",', ' id="unknown"'),
    }[form]
    return _ID_IN_XML.sub(in_xml, _ID_IN_JSON.sub(in_json, row, count=1), count=1)


def xml_posts(rows: Iterable[str], *, count: int, offset: int) -> str:
    """The rows as one XML document."""
    return f'{_XML}<posts count="{count}" offset="{offset}">{"".join(rows)}</posts>'


def with_tag_info(row: str, tags: Iterable[Tag]) -> str:
    """A JSON post with the types of its tags, as rule34.xxx adds them."""
    types = {Category.GENERAL: "tag", Category.META: "metadata"}
    info = [
        {"tag": entities(tag.name), "count": tag.count, "type": types.get(tag.category, tag.category.value)}
        for tag in tags
    ]
    return f'{row[:-1]},"tag_info":{_json(info)}}}'


def xml_failure(reason: str) -> str:
    """A refusal, which the software sends with status 200, and in XML even if JSON was requested."""
    return f'{_XML}\n<response success="false" reason={quoteattr(reason)}/>'


def xml_error(text: str) -> str:
    """The other form of a refusal."""
    return f"{_XML}<error>{escape(text)}</error>"


def xml_tags(tags: Iterable[tuple[int, Tag]], *, elements: bool = False) -> str:
    """Tags with their ids, as the tag API lists them; `elements` writes child elements, not attributes."""
    rows: Iterable[str] = (
        f'<tag type="{CATEGORY_CODES[tag.category]}" count="{tag.count}" name={_attribute(tag.name)} '
        f'ambiguous="false" id="{tag_id}"/>'
        for tag_id, tag in tags
    )
    return f'{_XML}<tags type="array">{"".join(map(as_elements, rows) if elements else rows)}</tags>'


def clock_text(unix_s: int) -> str:
    """Time as the XML API writes it: `Fri Sep 18 21:45:40 +0200 2026`, in English whatever the locale."""
    at = time.gmtime(unix_s + _OFFSET_S)
    return (
        f"{_DAYS[at.tm_wday]} {_MONTHS[at.tm_mon - 1]} {at.tm_mday:02d} "
        f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} +0200 {at.tm_year}"
    )


def _image_name(post: BoardPost) -> str:
    return f"{post.stem}{unquote(post.quote)}.{post.stated_ext or post.file_ext}"


def _attribute(text: str) -> str:
    return f'"{entities(text)}"'


def _status(row: Row) -> str:
    return "deleted" if row.is_deleted else "active"


def _word(value: bool) -> str:  # noqa: FBT001 - it is the value that is written
    return "true" if value else "false"


def _json(value: object) -> str:
    """JSON as PHP's json_encode writes it: no spaces, slashes escaped, nothing beyond ASCII."""
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/")
