"""Routes of the stand-in board in the dialect of safebooru.org's software.

Source: safebooru-wire.md, section 1; the numbers in comments are those of its "ten things".
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from aiohttp import web

from alti2v.demo.board.faults import Faults
from alti2v.demo.board.gelbooru import html_pages, pages
from alti2v.demo.board.gelbooru.pages import PictureText, Row
from alti2v.demo.board.html_frame import challenge_page, error_page
from alti2v.demo.board.queries import Grammar, parse
from alti2v.demo.board.responses import (
    file_response,
    get,
    html_response,
    not_found,
    text_response,
    xml_response,
)
from alti2v.demo.board.searches import Search
from alti2v.demo.board.site import SITE, Site

_DEFAULT_LIMIT = 100
_MAX_LIMIT = 1000
_OUT_OF_ORDER = "Search error: the search is out of order."
_EVERYTHING = frozenset({"", "all"})


_TextOf = Callable[[int], PictureText]
_TEXT_OF: web.AppKey[_TextOf] = web.AppKey("text_of")


def add_gelbooru_routes(app: web.Application) -> None:
    """Add all routes of this dialect."""
    app[_TEXT_OF] = _cached_text(app[SITE])
    directory, name = r"/{directory:\d{1,9}}/", r"{stem:[0-9a-f]{40}}{_quote:(?:'|%27)?}.{extension:[a-z0-9]+}"
    app.router.add_routes(
        [
            get("/", _index),  # the web server's index file is index.php
            get("/index.php", _index),
            get("/robots.txt", _robots),
            get(f"/images{directory}{name}", _original),
            get(f"/samples{directory}sample_{name}", _sample),
            get(f"/thumbnails{directory}thumbnail_{name}", _thumbnail),
        ]
    )


def gelbooru_grammar(faults: Faults) -> Grammar:
    """Search grammar of this software."""
    return Grammar(
        id_lists=faults.id_list == "honoured",
        id_cursors=not faults.ignore_id_cursor,
        id_bounds=not faults.ignore_id_bound,
        ascending=frozenset({"sort:id:asc"}) if faults.sort_id_asc else frozenset(),
        ignored=("sort:",),
    )


async def _index(request: web.Request) -> web.Response:
    match request.query.get("page"), request.query.get("s"), request.query.get("q"):
        case "dapi", "post", "index":
            return await _post_search(request)
        case "dapi", "tag", "index":
            return _tag_search(request)
        case "tags", "list", _:
            return _tag_list(request)
        case "post", "list", _:
            return await _list_page(request)
        case "post", "view", _:
            return await _view_page(request)
    return await _front(request)


def _cached_text(site: Site) -> _TextOf:
    """Return a cached function from the number of a picture to its text."""

    @lru_cache(maxsize=4096)
    def text_of(number: int) -> PictureText:
        pictures = site.config.corpus.pictures
        return pages.picture_text(
            site.posts.picture(number),
            pictures=pictures,
            entities_in_source=site.faults.source_query == "entities",
        )

    return text_of


# The API --------------------------------------------------------------------------------------


async def _post_search(request: web.Request) -> web.Response:
    site, query, faults = request.app[SITE], request.query, request.app[SITE].faults
    number = site.begin_listing()
    is_json = query.get("json") == "1" and not faults.json_refused
    if query.get("deleted") == "show":  # as one sister site answers
        return html_response(error_page(500, "Internal Server Error"), status=500)
    if number in faults.error_at:
        return _failure(faults)
    limit = min(_whole(query.get("limit"), _DEFAULT_LIMIT), _MAX_LIMIT)
    offset = _whole(query.get("pid"), 0) * limit
    if offset > faults.wall_depth:  # 3: in XML, whatever was requested
        empty = web.Response(body=b"", headers={"Content-Type": "text/html; charset=UTF-8"})
        return xml_response(pages.xml_failure(pages.WALL_REASON)) if faults.wall_form == "xml" else empty
    count, indices = await _find(site, query, offset=offset, limit=limit)
    if number in faults.empty_page_at:  # 4
        count, offset, indices = 0, 0, []
    texts = _row_texts(_root(request), await _rows(request, indices), faults, is_json=is_json)
    if is_json and faults.tag_info and query.get("fields") == "tag_info":
        counted = {tag.name: tag for _, tag in site.tags()}
        shown = (site.posts.picture(site.posts.post(index).picture) for index in indices)
        texts = [
            pages.with_tag_info(text, [counted[name] for name in each.tags.all])
            for text, each in zip(texts, shown, strict=True)
        ]
    if not is_json:
        return xml_response(pages.xml_posts(texts, count=count, offset=offset if count else 0))
    if not indices:  # 2: no bytes at all, not `[]`
        return web.Response(body=b"", headers={"Content-Type": "text/html; charset=UTF-8"})
    return html_response(  # 9: JSON under the content type of a page
        pages.json_posts(texts, envelope=faults.json_envelope, limit=limit, offset=offset, count=count)
    )


def _row_texts(root: str, rows: Iterable[Row], faults: Faults, *, is_json: bool) -> list[str]:
    """Write posts in the form that the client requested, or that the faults impose."""
    if not is_json:
        texts = [pages.xml_row(root, row) for row in rows]
    elif faults.old_json_shape:
        texts = [pages.old_json_row(row) for row in rows]
    else:
        texts = [pages.json_row(root, row) for row in rows]
    if faults.unusable_ids != "none":
        texts = [pages.with_unusable_id(text, faults.unusable_ids) for text in texts]
    return list(map(pages.as_elements, texts)) if "posts" in faults.xml_elements and not is_json else texts


async def _find(site: Site, query: Mapping[str, str], *, offset: int, limit: int) -> tuple[int, list[int]]:
    """Return the number of posts that a request matches, and the indices of those on its page."""
    tags, ids = query.get("tags", "").strip().lower(), query.get("id", "")
    if tags in _EVERYTHING and ids.isdecimal():
        return _by_id(site, int(ids), offset=offset, limit=limit)
    if tags in _EVERYTHING and "," in ids and site.faults.id_list == "honoured":
        tags = f"id:{ids}"
    search = await site.resolve(parse("" if tags in _EVERYTHING else tags, gelbooru_grammar(site.faults)))
    return site.count(search), site.page(search, offset=offset, limit=limit)


def _by_id(site: Site, post_id: int, *, offset: int, limit: int) -> tuple[int, list[int]]:
    """Find the post with this id: nothing for a hole, the newest post for an id above it (8)."""
    newest = site.posts.newest()
    index = newest if newest is not None and post_id > site.posts.id(newest) else site.posts.find(post_id)
    found = [] if index is None else [index]
    return len(found), found[offset : offset + limit]


def _failure(faults: Faults) -> web.Response:
    match faults.error_form:
        case "response":
            return xml_response(pages.xml_failure(_OUT_OF_ORDER))
        case "error":
            return xml_response(pages.xml_error(_OUT_OF_ORDER))
        case "string":
            return html_response(f'"{_OUT_OF_ORDER}"')
        case "html":
            return html_response(challenge_page(), status=403)


def _tag_search(request: web.Request) -> web.Response:
    """List tags: in XML only, `json=1` is ignored."""
    site, query = request.app[SITE], request.query
    tags = site.tags()
    if "name" in query and site.faults.ignore_tag_name:
        first = site.tag_requests % max(1, len(tags))
        tags = tags[first:] + tags[:first]
        site.tag_requests += 1
    elif "name" in query:
        name = html.unescape(query["name"])
        tags = [(tag_id, tag) for tag_id, tag in tags if tag.name == name]
    if "names" in query and site.faults.names_list == "honoured":
        names = frozenset(html.unescape(query["names"]).split())
        tags = [(tag_id, tag) for tag_id, tag in tags if tag.name in names]
    if "name_pattern" in query:
        pattern = _like(query["name_pattern"])
        tags = [(tag_id, tag) for tag_id, tag in tags if pattern.fullmatch(tag.name)]
    if query.get("id", "").isdecimal():
        tags = [(tag_id, tag) for tag_id, tag in tags if tag_id == int(query["id"])]
    tags = [(tag_id, tag) for tag_id, tag in tags if tag_id > _whole(query.get("after_id"), 0)]
    is_descending = query.get("order", "").lower() != "asc"
    match query.get("orderby"):
        case "count" if site.faults.tag_order != "ignored":
            is_falling = is_descending and site.faults.tag_order == "falling"
            tags.sort(key=lambda row: row[1].count, reverse=is_falling)
        case "name":
            tags.sort(key=lambda row: row[1].name, reverse=query.get("order", "").lower() == "desc")
    limit = min(_whole(query.get("limit"), _DEFAULT_LIMIT), _MAX_LIMIT)
    first = _whole(query.get("pid"), 0) * limit
    elements = "tags" in site.faults.xml_elements
    return xml_response(pages.xml_tags(tags[first : first + limit], elements=elements))


# Pages ----------------------------------------------------------------------------------------


async def _front(request: web.Request) -> web.Response:
    site = request.app[SITE]
    indices = site.page(Search(), offset=0, limit=12)
    rows = await _rows(request, indices, with_md5=False)
    return html_response(html_pages.front_page(root=_root(request), newest=rows, count=site.count(Search())))


async def _list_page(request: web.Request) -> web.Response:
    site, tags = request.app[SITE], request.query.get("tags", "").strip().lower()
    search = await site.resolve(parse("" if tags in _EVERYTHING else tags, gelbooru_grammar(site.faults)))
    offset = _whole(request.query.get("pid"), 0)  # of posts, not of pages as in the API
    indices = site.page(search, offset=offset, limit=html_pages.POSTS_PER_PAGE)
    rows = [row for row in await _rows(request, indices, with_md5=False) if row.ghost_id is None]
    return html_response(
        html_pages.list_page(rows, root=_root(request), tags=tags, offset=offset, count=site.count(search))
    )


def _tag_list(request: web.Request) -> web.Response:
    """Show fifty tags; `pid` counts tags, and without `order_by` they come by name."""
    query = request.query
    tags = [tag for _, tag in request.app[SITE].tags()]
    key = {"index_count": lambda tag: tag.count}.get(query.get("order_by", ""), lambda tag: tag.name)
    tags.sort(key=key, reverse=query.get("sort") == "desc")
    first = _whole(query.get("pid"), 0)
    return html_response(html_pages.tag_list_page(tags[first : first + html_pages.TAGS_PER_PAGE]))


async def _view_page(request: web.Request) -> web.Response:
    site, wanted = request.app[SITE], request.query.get("id", "")
    index = site.posts.find(int(wanted)) if wanted.isdecimal() else None
    if index is None:
        return html_response(html_pages.list_page((), root="", tags="", offset=0, count=0))
    (row,) = await _rows(request, [index], with_md5=False)
    tags = [tag for _, tag in site.tags()]
    return html_response(html_pages.view_page(row, root=_root(request), counted=tags))


async def _robots(request: web.Request) -> web.Response:
    text = request.app[SITE].faults.robots_txt
    return not_found() if text is None else text_response(text)


# Files ----------------------------------------------------------------------------------------


async def _original(request: web.Request) -> web.Response:
    site, index = request.app[SITE], _requested_index(request)
    if index is None or (post := site.posts.post(index)).file_ext != request.match_info["extension"]:
        return not_found()
    await site.draw([index])
    return file_response(request, site, await site.original(post), post=post, extension=post.file_ext)


async def _sample(request: web.Request) -> web.Response:
    site, index = request.app[SITE], _requested_index(request)
    if index is None or request.match_info["extension"] != "jpg":
        return not_found()
    post = site.posts.post(index)
    if not post.has_sample:
        return not_found()
    return file_response(request, site, await site.sample(post), post=post, extension="jpg")


async def _thumbnail(request: web.Request) -> web.Response:
    site, index = request.app[SITE], _requested_index(request)
    if index is None or request.match_info["extension"] != "jpg":
        return not_found()
    post = site.posts.post(index)
    return file_response(request, site, await site.drawn.thumbnail(index), post=post, extension="jpg")


def _requested_index(request: web.Request) -> int | None:
    parts = request.match_info
    return request.app[SITE].posts.find_stem(int(parts["directory"]), parts["stem"])


# Parts ----------------------------------------------------------------------------------------


async def _rows(request: web.Request, indices: Sequence[int], *, with_md5: bool = True) -> list[Row]:
    """Prepare posts for a listing; without MD5 the hash stays empty, and nothing has to be drawn."""
    site, text_of = request.app[SITE], request.app[_TEXT_OF]
    if with_md5:
        await site.draw(indices)
    posts = site.posts
    return [
        Row(
            post := posts.post(index),
            text_of(post.picture),
            site.md5(index) if with_md5 else "",
            posts.ghost_id(index),
            posts.is_deleted(index),
            posts.has_children(post),
        )
        for index in indices
    ]


def _root(request: web.Request) -> str:
    """Beginning of URLs: this board under the host that the client used; before about 2019, without scheme."""
    if request.app[SITE].faults.protocol_relative_urls:
        return f"//{request.host}"
    return f"{request.scheme}://{request.host}"


def _whole(text: str | None, default: int) -> int:
    """Parse a parameter as a number >= 0, or return the default."""
    return int(text) if text is not None and text.isdecimal() and len(text) < 16 else default


def _like(pattern: str) -> re.Pattern[str]:
    """Translate an SQL LIKE pattern: `%` is any text, `_` any character."""
    special = {"%": ".*", "_": "."}
    return re.compile("".join(special.get(letter, re.escape(letter)) for letter in pattern), re.DOTALL)
