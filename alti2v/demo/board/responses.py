"""Responses of the stand-in board; every body is complete, so that faults can cut it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from alti2v.demo.board.faults import MissingForm
from alti2v.demo.board.html_frame import error_page, html_page
from alti2v.demo.board.posts import BoardPost
from alti2v.demo.board.range_files import CONTENT_TYPES, answer_file
from alti2v.demo.board.site import Site


def get(path: str, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.RouteDef:
    """Route GET requests for a path, also with more slashes in front, which web servers merge."""
    return web.get("/{_slashes:/*}" + path.removeprefix("/"), handler)


def html_response(text: str, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An HTML page."""
    return web.Response(
        body=text.encode(),
        status=status,
        headers={"Content-Type": "text/html; charset=UTF-8", **(headers or {})},
    )


def xml_response(text: str) -> web.Response:
    """An XML document, with the content type as Gelbooru's software spells it."""
    return web.Response(body=text.encode(), headers={"Content-Type": "text/xml;charset=UTF-8"})


def json_response(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON document, with the content type that Danbooru sends."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return web.Response(body=body, status=status, headers={**kind, **(headers or {})})


def text_response(text: str, *, status: int = 200) -> web.Response:
    """A plain text."""
    kind = {"Content-Type": "text/plain; charset=utf-8"}
    return web.Response(body=text.encode(), status=status, headers=kind)


def error_response(status: int) -> web.Response:
    """The web server's own error page."""
    return html_response(error_page(status, HTTPStatus(status).phrase), status=status)


def not_found() -> web.Response:
    """The web server's own page for an unknown address."""
    return error_response(404)


def missing_response(form: MissingForm) -> web.Response:
    """Answer for a listed file that does not exist, as different servers give it."""
    match form:
        case "page":
            return html_response(html_page("Not found", "<h1>Not found</h1>"))
        case "text":
            return text_response("File not found.")
        case "empty" | "cut":
            return web.Response(body=b"", headers={"Content-Type": "image/jpeg"})
        case "redirect":
            return web.Response(status=302, headers={"Location": "/"})
    return error_response(int(form))


def file_response(
    request: web.Request, site: Site, content: bytes | None, *, post: BoardPost, extension: str
) -> web.Response:
    """A file of a post, or the requested range of it; `content` is None if the file is missing."""
    is_quoted = post.quote in request.raw_path
    if not is_quoted or (post.query and not request.raw_path.endswith(post.query)):
        return error_response(403)
    if content is None:
        return missing_response(site.faults.missing_form)
    kind = "text/plain" if site.has_wrong_type(post.ordinal) else CONTENT_TYPES[extension]
    answer = answer_file(
        content,
        content_type=kind,
        modified_at=post.created_at,
        asked=request.headers,
        ranges=site.faults.ranges,
    )
    return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
