"""Posts, tags and errors in JSON as Danbooru 2 in safe mode (safebooru.donmai.us) writes them.

Pure: posts in, values for JSON out. The shapes are those of safebooru-wire.md, section 2; keys beyond its list
are from Danbooru's public API (help:api).
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from alti2v.demo.board.picture_cache import SAMPLE_WIDTH, fit
from alti2v.demo.board.posts import BoardPost
from alti2v.demo.drawing.vocabulary import IMPLICATIONS
from alti2v.records import CATEGORY_CODES, Tag, TagGroups

VARIANT_BOXES: Mapping[str, tuple[int, int]] = {
    "180x180": (180, 180),
    "360x360": (360, 360),
    "720x720": (720, 720),
}
# Alternative names of tags.
ALIASES: Mapping[str, str] = {
    "feline_ears": "cat_ears",
    "kitty_ears": "cat_ears",
    "sailor_uniform": "serafuku",
    "single_hairbun": "single_hair_bun",
    "sundown": "sunset",
    "long_locks": "long_hair",
    "shades": "sunglasses",
    "one_girl": "1girl",
}
_RELATED_AT = 1_400_000_000
_OFFSET_S = -4 * 3600  # the board's clock is New York's; -04:00 all year keeps it simple
_TAG_COUNTS = ("general", "artist", "character", "copyright")
_TAG_STRINGS = ("general", "character", "copyright", "artist", "meta")
_NAMES = {
    400: "ActionController::BadRequest",
    401: "SessionLoader::AuthenticationFailure",
    403: "User::PrivilegeError",
    404: "ActiveRecord::RecordNotFound",
    410: "PaginationExtension::PaginationError",
    422: "PostQuery::TagLimitError",
    429: "RateLimiter::RateLimitError",
    500: "ActiveRecord::QueryCanceled",
}


class TagText(NamedTuple):
    """Tags of a picture as the API writes them: all, and those of each category, separated by spaces."""

    everything: str
    general: str
    character: str
    copyright: str
    artist: str
    meta: str


def tag_text(tags: TagGroups) -> TagText:
    """Write the tags of a picture as the API does."""
    groups = (tags.all, tags.general, tags.character, tags.copyright, tags.artist, tags.meta)
    return TagText(*map(" ".join, groups))


class Listed(NamedTuple):
    """A post as the API shows it.

    Attributes:
        text: Its tags.
        md5, size: MD5 and size in bytes of its original.
        is_hidden: True if the post is shown without MD5 and URLs.
        is_deleted: True if the post is marked as deleted; it stays visible.
        has_children: True if another post names it as its parent.
    """

    post: BoardPost
    text: TagText
    md5: str
    size: int
    is_hidden: bool
    is_deleted: bool
    has_children: bool


def rating(word: str) -> str:
    """Rating as the API writes it: g, s, q or e."""
    return word[0]


def file_url(root: str, post: BoardPost, md5: str, kind: str) -> str:
    """URL of a file; kind is "original", "sample" or a key of `VARIANT_BOXES`.

    The path is that of the board's file host, after a prefix with the post's id, so that no index of hashes is
    needed.
    """
    extension = {"original": post.file_ext, "720x720": "webp"}.get(kind, "jpg")
    name = f"sample-{md5}" if kind == "sample" else md5
    return f"{root}/cdn/{post.id}/{kind}/{md5[:2]}/{md5[2:4]}/{post.quote}{name}.{extension}{post.query}"


def post_json(root: str, listed: Listed) -> dict[str, Any]:
    """A post with all its keys; hidden posts lack the keys of MD5 and URLs, rather than having null there."""
    post = listed.post
    value = {**_facts(listed), **_state(listed), "media_asset": _media_asset(root, listed)}
    value |= {f"tag_string_{name}": getattr(listed.text, name) for name in _TAG_STRINGS}
    value["file_url"] = file_url(root, post, listed.md5, "original")
    value["large_file_url"] = file_url(root, post, listed.md5, "sample" if post.has_sample else "original")
    value["preview_file_url"] = file_url(root, post, listed.md5, "180x180")
    if listed.is_hidden:
        for key in ("md5", "file_url", "large_file_url", "preview_file_url"):
            del value[key]
    if post.stated_ext is None:
        del value["file_ext"], value["media_asset"]["file_ext"]
    return value


def _facts(listed: Listed) -> dict[str, Any]:
    """What somebody said about a post, in the board's order of keys."""
    post, tags = listed.post, listed.post.shown.tags
    shown = post.shown
    return {
        "id": post.id,
        "created_at": clock_text(post.created_at),
        "uploader_id": zlib.crc32(shown.owner.encode()) % 1_000_000,
        "score": shown.score or 0,
        "source": shown.source,
        "md5": listed.md5,
        "last_comment_bumped_at": None,
        "rating": rating(shown.rating),
        "image_width": shown.width,
        "image_height": shown.height,
        "tag_string": listed.text.everything,
        "fav_count": (shown.score or 0) // 2,
        "file_ext": post.stated_ext,
        "last_noted_at": None,
        "parent_id": post.parent_id,
        "has_children": listed.has_children,
        "approver_id": None,
        **{f"tag_count_{name}": len(getattr(tags, name)) for name in _TAG_COUNTS},
    }


def _state(listed: Listed) -> dict[str, Any]:
    """What the board counts and decides about a post, in its order of keys."""
    post, text = listed.post, listed.text.everything
    return {
        "file_size": listed.size,
        "up_score": post.shown.score or 0,
        "down_score": 0,
        "is_pending": False,
        "is_flagged": False,
        "is_deleted": listed.is_deleted,
        "tag_count": text.count(" ") + 1 if text else 0,
        "updated_at": clock_text(post.changed_at),
        "is_banned": listed.is_hidden,
        "pixiv_id": None,
        "last_commented_at": None,
        "has_active_children": listed.has_children,
        "bit_flags": 0,
        "tag_count_meta": len(post.shown.tags.meta),
        "has_large": post.has_sample,
        "has_visible_children": listed.has_children,
    }


def tag_json(tag_id: int, tag: Tag, *, opened_at: int) -> dict[str, Any]:
    """One row of /tags.json."""
    created_at = clock_text(opened_at + tag_id * 86_400)
    return {
        "id": tag_id,
        "name": tag.name,
        "post_count": tag.count,
        "category": CATEGORY_CODES[tag.category],
        "created_at": created_at,
        "updated_at": created_at,
        "is_deprecated": False,
        "words": [word for word in tag.name.replace("(", "").replace(")", "").split("_") if word],
    }


def relations_json(kind: str) -> list[dict[str, Any]]:
    """The rows of /tag_aliases.json or /tag_implications.json, oldest first; the last one is not active."""
    if kind == "aliases":
        pairs = list(ALIASES.items())
    else:
        pairs = [(name, implied) for name, entailed in IMPLICATIONS.items() for implied in entailed]
    return [
        {
            "id": number,
            "antecedent_name": antecedent,
            "consequent_name": consequent,
            "creator_id": 1,
            "status": "deleted" if number == len(pairs) else "active",
            "forum_topic_id": None,
            "created_at": clock_text(_RELATED_AT + number * 86_400),
            "updated_at": clock_text(_RELATED_AT + number * 86_400),
            "approver_id": 1,
            "forum_post_id": None,
            "reason": "",
        }
        for number, (antecedent, consequent) in enumerate(pairs, 1)
    ]


def error_json(status: int, message: str) -> dict[str, Any]:
    """An error of the API."""
    return {"success": False, "error": _NAMES[status], "message": message, "backtrace": []}


def only(value: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Select the members that `only=` names, in the value's own order; unknown names are ignored."""
    wanted = {key.partition("[")[0] for key in keys}
    return {key: member for key, member in value.items() if key in wanted}


def clock_text(unix_s: int) -> str:
    """Time as the API writes it: `2026-08-01T12:34:56.000-04:00`."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000-04:00", time.gmtime(unix_s + _OFFSET_S))


def _media_asset(root: str, listed: Listed) -> dict[str, Any]:
    post, md5 = listed.post, listed.md5
    shown = post.shown
    is_video = post.file_ext == "mp4"
    asset: dict[str, Any] = {
        "id": post.id,
        "created_at": clock_text(post.created_at),
        "updated_at": clock_text(post.created_at),
        "md5": md5,
        "file_ext": post.stated_ext,
        "file_size": listed.size,
        "image_width": shown.width,
        "image_height": shown.height,
        "duration": 4.0 if is_video else None,
        "status": "active",
        "file_key": post.stem[:9],
        "is_public": not listed.is_hidden,
        "pixel_hash": post.stem[:32],
    }
    if listed.is_hidden:
        return {key: member for key, member in asset.items() if key not in ("md5", "file_key", "pixel_hash")}
    size = (shown.width, shown.height)
    boxes = dict(VARIANT_BOXES)
    sizes = {kind: fit(size, box) for kind, box in boxes.items()}
    if post.has_sample:
        sizes["sample"] = (SAMPLE_WIDTH, round(shown.height * SAMPLE_WIDTH / shown.width))
    sizes["original"] = size
    asset["variants"] = [
        {
            "type": kind,
            "url": (url := file_url(root, post, md5, kind)),
            "width": width,
            "height": height,
            "file_ext": url.partition("?")[0].rpartition(".")[2],
        }
        for kind, (width, height) in sizes.items()
    ]
    return asset
