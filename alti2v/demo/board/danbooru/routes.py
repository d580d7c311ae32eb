"""Routes of the stand-in board in the dialect of Danbooru 2 in safe mode.

Source: safebooru-wire.md, section 2. The metatags that do not count against the limit on terms, and the classes
of the HTML list, are from Danbooru's published source (PostQuery::UNLIMITED_METATAGS, PaginatorComponent,
PostPreviewComponent).
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from alti2v.demo.board.accounts import account_of
from alti2v.demo.board.danbooru import pages
from alti2v.demo.board.danbooru.pages import VARIANT_BOXES, Listed, TagText, tag_text
from alti2v.demo.board.faults import Faults
from alti2v.demo.board.html_frame import challenge_page, html_page
from alti2v.demo.board.picture_cache import fit
from alti2v.demo.board.posts import BoardPost
from alti2v.demo.board.queries import Equal, Grammar, ParsedSearch, parse
from alti2v.demo.board.responses import (
    file_response,
    get,
    html_response,
    json_response,
    not_found,
    text_response,
)
from alti2v.demo.board.searches import Search
from alti2v.demo.board.site import SITE, Site

_ROBOTS = "User-agent: *\nDisallow: /*.json\n"
_DEFAULT_LIMIT = 20
_MAX_LIMIT = 200
_MAX_TAGS = 1000
_LAST_PAGE = 1000
_MAX_TERMS = 2
_CURSOR = re.compile(r"(?P<side>[ab])(?P<id>\d{1,18})")
_SAFE = Equal("rating", "g")
_FREE = frozenset(
    (
        *("status", "rating", "limit", "is", "id", "date", "age", "filesize", "filetype", "parent", "child"),
        *("md5", "width", "height", "duration", "mpixels", "ratio", "score", "upvote", "downvotes", "favcount"),
        *("embedded", "tagcount", "pixiv_id", "pixiv"),
    )
)

_TextOf = Callable[[int], TagText]
_TEXT_OF: web.AppKey[_TextOf] = web.AppKey("text_of")


def add_danbooru_routes(app: web.Application) -> None:
    """Add all routes of this dialect."""
    app[_TEXT_OF] = _cached_text(app[SITE])
    path = r"{kind:original|sample|180x180|360x360|720x720}/{_a:[0-9a-f]{2}}/{_b:[0-9a-f]{2}}/"
    name = r"{_quote:(?:'|%27)?}{prefix:(?:sample-)?}{md5:[0-9a-f]{32}}.{extension:[a-z0-9]+}"
    app.router.add_routes(
        [
            get("/", _front),
            get("/posts", _front),
            get("/posts.json", _posts),
            get(r"/posts/{id:\d{1,18}}.json", _post),
            get(r"/posts/{id:\d{1,18}}", _post_page),
            get("/counts/posts.json", _counts),
            get("/tags.json", _tags),
            get("/profile.json", _profile),
            get(r"/tag_{kind:aliases|implications}.json", _relations),
            get("/robots.txt", _robots),
            get(r"/cdn/{id:\d{1,18}}/" + path + name, _file),
            get("/" + path + name, _file),
        ]
    )


def _cached_text(site: Site) -> _TextOf:
    """Return a cached function from the number of a picture to the text of its tags."""
    return lru_cache(maxsize=4096)(lambda number: tag_text(site.posts.picture(number).tags))


def danbooru_grammar(faults: Faults) -> Grammar:
    """Search grammar of this software."""
    return Grammar(
        id_lists=True,
        id_cursors=not faults.ignore_id_cursor,
        ascending=frozenset({"order:id", "order:id_asc"}),
        ignored=("order:", "limit:", "status:", "is:", "age:", "date:"),
        free=_FREE,
    )


async def _posts(request: web.Request) -> web.Response:
    site, query, faults = request.app[SITE], request.query, request.app[SITE].faults
    number = site.begin_listing()
    if number in faults.error_at:
        return _failure(faults)
    if "md5" in query:
        indices = await _search_page(site, parse(f"md5:{query['md5']}", danbooru_grammar(faults)), "", 1)
        return await _one(request, indices[0] if indices else None)
    wanted = parse(query.get("tags", ""), danbooru_grammar(faults))
    if (refused := _too_many_terms(request, wanted)) is not None:
        return refused
    page, limit = query.get("page", ""), query.get("limit", "")
    if page.isdecimal() and int(page) > _LAST_PAGE:
        return _error(410, f"You cannot go beyond page {_LAST_PAGE}.")
    size = min(max(int(limit), 1), _MAX_LIMIT) if limit.isdecimal() else _DEFAULT_LIMIT
    if number in faults.empty_page_at:
        indices = []
    elif "order:change" in query.get("tags", "").lower().split():
        indices = await _changed_first(site, wanted, page, size)
    else:
        indices = await _search_page(site, wanted, page, size)
    values = [_with_id_fault(value, faults) for value in await _listed(request, indices)]
    return json_response([_selected(request, value) for value in values])


def _with_id_fault(value: dict[str, Any], faults: Faults) -> dict[str, Any]:
    if faults.unusable_ids == "absent":
        return {key: member for key, member in value.items() if key != "id"}
    unusable = {"none": value["id"], "null": None, "text": "unknown"}
    return value | {"id": unusable[faults.unusable_ids]}


async def _search_page(site: Site, query: ParsedSearch, page: str, limit: int) -> list[int]:
    """Find one page of a search, by its number (from 1), or below or above an id."""
    search = await _resolve(site, query)
    if (cursor := _CURSOR.fullmatch(page)) and not site.faults.ignore_id_cursor:
        post_id = int(cursor["id"])
        if cursor["side"] == "b":
            search = replace(search, high=min(search.high, site.posts.index_below(post_id)), ascending=False)
            return site.page(search, offset=0, limit=limit)
        search = replace(search, low=max(search.low, site.posts.index_below(post_id + 1)), ascending=True)
        return site.page(search, offset=0, limit=limit)[::-1]  # the nearest ids above, highest first
    number = max(1, int(page)) if page.isdecimal() else 1
    return site.page(search, offset=(number - 1) * limit, limit=limit)


async def _changed_first(site: Site, query: ParsedSearch, page: str, limit: int) -> list[int]:
    """Find one page, by its number, of a search that lists the post first that was changed last."""
    search = await _resolve(site, query)
    found = site.page(search, offset=0, limit=site.count(search))
    found.sort(key=lambda index: site.posts.post(index).changed_at, reverse=True)
    number = max(1, int(page)) if page.isdecimal() else 1
    return found[(number - 1) * limit : number * limit]


async def _post(request: web.Request) -> web.Response:
    return await _one(request, request.app[SITE].posts.find(int(request.match_info["id"])))


async def _one(request: web.Request, index: int | None) -> web.Response:
    if index is None:
        return _error(404, "That record was not found.")
    (value,) = await _listed(request, [index])
    return json_response(_selected(request, value))


async def _counts(request: web.Request) -> web.Response:
    site = request.app[SITE]
    query = parse(request.query.get("tags", ""), danbooru_grammar(site.faults))
    if (refused := _too_many_terms(request, query)) is not None:
        return refused
    return json_response({"counts": {"posts": site.count(await _resolve(site, query))}})


async def _profile(request: web.Request) -> web.Response:
    """Show the account whose key was sent; Danbooru redirects others to its login page."""
    account = account_of(request)
    if account is None:
        return web.Response(status=302, headers={"Location": "/login"})
    faults = request.app[SITE].faults
    level = 20 if faults.account_terms <= _MAX_TERMS else 30
    value = {"name": account.partition(":")[0], "level": level, "tag_query_limit": faults.account_terms}
    return json_response(_selected(request, value))


def _too_many_terms(request: web.Request, query: ParsedSearch) -> web.Response | None:
    limit = _MAX_TERMS if account_of(request) is None else request.app[SITE].faults.account_terms
    if query.counted <= limit:
        return None
    return _error(422, f"You cannot search for more than {limit} tags at a time.")


async def _tags(request: web.Request) -> web.Response:
    """List tags, newest first, or as `search[order]` says; `search[...]` narrows them."""
    site, query = request.app[SITE], request.query
    tags = site.tags()[::-1]
    if name := query.get("search[name]"):
        tags = [row for row in tags if row[1].name == name.lower()]
    if names := query.get("search[name_comma]"):
        tags = [row for row in tags if row[1].name in names.lower().split(",")]
    if matches := query.get("search[name_matches]"):
        pattern = re.compile(".*".join(map(re.escape, matches.lower().split("*"))))
        tags = [row for row in tags if pattern.fullmatch(row[1].name)]
    opened_at = site.posts.post(0).created_at
    values = [pages.tag_json(tag_id, tag, opened_at=opened_at) for tag_id, tag in tags]
    if (category := query.get("search[category]", "")).isdecimal():
        values = [value for value in values if value["category"] == int(category)]
    match query.get("search[order]"):
        case "count":
            values.sort(key=lambda value: -value["post_count"])
        case "name":
            values.sort(key=lambda value: str(value["name"]))
    limit, page = query.get("limit", ""), query.get("page", "")
    size = min(max(int(limit), 1), _MAX_TAGS) if limit.isdecimal() else _DEFAULT_LIMIT
    if cursor := _CURSOR.fullmatch(page):
        bound, is_below = int(cursor["id"]), cursor["side"] == "b"
        values = [value for value in values if (value["id"] < bound if is_below else value["id"] > bound)]
        values.sort(key=lambda value: int(value["id"]), reverse=is_below)
        return json_response([_selected(request, value) for value in values[:size]][:: 1 if is_below else -1])
    first = (max(1, int(page)) - 1 if page.isdecimal() else 0) * size
    return json_response([_selected(request, value) for value in values[first : first + size]])


async def _relations(request: web.Request) -> web.Response:
    """List aliases or implications, newest first; `search[status]` narrows them."""
    query = request.query
    values = pages.relations_json(request.match_info["kind"])[::-1]
    if status := query.get("search[status]"):
        values = [value for value in values if value["status"] == status]
    limit, page = query.get("limit", ""), query.get("page", "")
    size = min(max(int(limit), 1), _MAX_TAGS) if limit.isdecimal() else _DEFAULT_LIMIT
    if (cursor := _CURSOR.fullmatch(page)) and cursor["side"] == "b":
        values = [value for value in values if value["id"] < int(cursor["id"])]
        page = "1"
    first = (max(1, int(page)) - 1 if page.isdecimal() else 0) * size
    return json_response([_selected(request, value) for value in values[first : first + size]])


async def _robots(request: web.Request) -> web.Response:
    text = request.app[SITE].faults.robots_txt
    return text_response(_ROBOTS if text is None else text)


# Pages ----------------------------------------------------------------------------------------


async def _front(request: web.Request) -> web.Response:
    """Show one page of a search with thumbnails and links to the other pages."""
    site, tags = request.app[SITE], request.query.get("tags", "")
    query, page = parse(tags, danbooru_grammar(site.faults)), request.query.get("page", "")
    values = await _listed(request, await _search_page(site, query, page, _DEFAULT_LIMIT))
    thumbs = "".join(
        f'<article id="post_{value["id"]}" class="post-preview thumb" data-id="{value["id"]}">'
        f'<a class="post-preview-link" href="/posts/{value["id"]}"><img src="{html.escape(url)}" alt="" '
        f'class="post-preview-image" title="{html.escape(value["tag_string"])}"/></a></article>\n'
        for value in values
        if (url := value.get("preview_file_url"))
    )
    count = site.count(await _resolve(site, query))
    pager = _sequential_pager(values, tags) if _CURSOR.fullmatch(page) else _numbered_pager(page, count, tags)
    header = (
        '<header><a href="/posts">Stand-in board</a><a href="/posts.json">JSON</a>'
        '<a href="/tags.json?search[order]=count">tags</a><form action="/posts"><input type="text" name="tags" '
        f'placeholder="at most two tags" value="{html.escape(tags)}"/> <input type="submit" value="Search"/>'
        "</form></header>"
    )
    return html_response(html_page("Stand-in board", f"{header}<p>{count:,} posts</p>{thumbs}{pager}"))


def _numbered_pager(page: str, count: int, tags: str) -> str:
    """Links to the pages around this one, to the previous and to the next."""
    this = max(1, int(page)) if page.isdecimal() else 1
    last = min(_LAST_PAGE, max(1, -(-count // _DEFAULT_LIMIT)))
    links = [
        f'<span class="paginator-current">{number}</span>'
        if number == this
        else _page_link(str(number), tags, "paginator-page", str(number))
        for number in range(max(1, this - 4), min(last, this + 4) + 1)
    ]
    if this > 1:
        links.insert(0, _page_link(str(this - 1), tags, "paginator-prev", "&lt;", rel="prev"))
    if this < last:
        links.append(_page_link(str(this + 1), tags, "paginator-next", "&gt;", rel="next"))
    return f'<div class="paginator numbered-paginator">{" ".join(links)}</div>'


def _sequential_pager(values: Sequence[dict[str, Any]], tags: str) -> str:
    """Links to the posts above and below those of this page."""
    links = []
    if values:
        above, below = f"a{values[0]['id']}", f"b{values[-1]['id']}"
        links.append(_page_link(above, tags, "paginator-prev", "&lt;", rel="prev"))
        if len(values) == _DEFAULT_LIMIT:
            links.append(_page_link(below, tags, "paginator-next", "&gt;", rel="next"))
    return f'<div class="paginator sequential-paginator">{" ".join(links)}</div>'


def _page_link(page: str, tags: str, class_name: str, text: str, *, rel: str = "") -> str:
    address = html.escape("/posts?" + urlencode({"page": page} | ({"tags": tags} if tags else {})))
    relation = f' rel="{rel}"' if rel else ""
    return f'<a class="{class_name}"{relation} href="{address}">{text}</a>'


async def _post_page(request: web.Request) -> web.Response:
    index = request.app[SITE].posts.find(int(request.match_info["id"]))
    if index is None:
        return not_found()
    (value,) = await _listed(request, [index])
    links = f'<a href="/posts/{value["id"]}.json">JSON</a>'
    if "file_url" in value:
        picture = f'<img id="image" src="{html.escape(value["large_file_url"])}" alt=""/>'
        links += f' <a href="{html.escape(value["file_url"])}">Original</a><p>{picture}</p>'
    body = (
        f'<header><a href="/posts">Stand-in board</a></header>{links}<p>{html.escape(value["tag_string"])}</p>'
    )
    return html_response(html_page(f"Post {value['id']} - Stand-in board", body))


# Files ----------------------------------------------------------------------------------------


async def _file(request: web.Request) -> web.Response:
    """Serve a file by the post in its path, or by its MD5 alone as on the board's own file host."""
    site, parts = request.app[SITE], request.match_info
    if "id" in parts:
        index = site.posts.find(int(parts["id"]))
    else:
        index = await site.index_of_md5(parts["md5"])
    if index is None or not site.posts.is_there(index):
        return not_found()
    post = site.posts.post(index)
    await site.draw([index])
    url = pages.file_url("", post, site.md5(index), parts["kind"])
    name = f"{parts['prefix']}{parts['md5']}.{parts['extension']}"
    if site.posts.is_hidden(index) or not url.partition("?")[0].endswith(f"/{post.quote}{name}"):
        return not_found()
    if parts["kind"] == "sample" and not post.has_sample:
        return not_found()
    content = await _content(site, post, parts["kind"])
    return file_response(request, site, content, post=post, extension=parts["extension"])


async def _content(site: Site, post: BoardPost, kind: str) -> bytes | None:
    match kind:
        case "original":
            return await site.original(post)
        case "sample":
            return await site.sample(post)
    size = fit((post.shown.width, post.shown.height), VARIANT_BOXES[kind])
    return await site.drawn.reduced(post.ordinal, size, image_format="WEBP" if kind == "720x720" else "JPEG")


# Parts ----------------------------------------------------------------------------------------


async def _resolve(site: Site, query: ParsedSearch) -> Search:
    """Prepare a search in safe mode, which finds only posts rated general."""
    return await site.resolve(replace(query, terms=(*query.terms, _SAFE)))


async def _listed(request: web.Request, indices: Iterable[int]) -> list[dict[str, Any]]:
    site, posts, text_of = request.app[SITE], request.app[SITE].posts, request.app[_TEXT_OF]
    indices = list(indices)
    await site.draw(indices)
    root = f"{request.scheme}://{request.host}"
    return [
        pages.post_json(
            root,
            Listed(
                post := posts.post(index),
                text_of(post.picture),
                site.md5(index),
                site.size(index),
                # Safe mode treats posts that are not rated general as hidden.
                posts.is_hidden(index) or post.shown.rating != "general",
                posts.is_deleted(index),
                posts.has_children(post),
            ),
        )
        for index in indices
    ]


def _selected(request: web.Request, value: dict[str, Any]) -> dict[str, Any]:
    keys = request.query.get("only", "")
    return pages.only(value, keys.split(",")) if keys else value


def _failure(faults: Faults) -> web.Response:
    if faults.error_form == "html":
        return html_response(challenge_page(), status=403)
    return _error(500, "The database timed out running your query.")


def _error(status: int, message: str) -> web.Response:
    return json_response(pages.error_json(status, message), status=status)
