"""The answers of the stand-in board as aiohttp has them; every body is whole, so that faults can cut it."""

from __future__ import annotations

import json
from http import HTTPStatus

from aiohttp import web

from alti2v.demo.board.html_frame import error_page
from alti2v.demo.board.posts import BoardPost
from alti2v.demo.board.range_files import CONTENT_TYPES, answer_file
from alti2v.demo.board.site import Site


def html_response(text: str, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A page."""
    return web.Response(
        body=text.encode(),
        status=status,
        headers={"Content-Type": "text/html; charset=UTF-8", **(headers or {})},
    )


def xml_response(text: str, *, status: int = 200) -> web.Response:
    """An XML document, with the type just as Gelbooru's software spells it."""
    return web.Response(body=text.encode(), status=status, headers={"Content-Type": "text/xml;charset=UTF-8"})


def json_response(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """JSON, with the type that Danbooru gives it."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return web.Response(body=body, status=status, headers={**kind, **(headers or {})})


def text_response(text: str) -> web.Response:
    """Plain text."""
    return web.Response(body=text.encode(), headers={"Content-Type": "text/plain; charset=utf-8"})


def not_found() -> web.Response:
    """The web server's own page for what is not there."""
    return html_response(error_page(404, HTTPStatus(404).phrase), status=404)


def file_response(
    request: web.Request, site: Site, content: bytes | None, *, post: BoardPost, extension: str
) -> web.Response:
    """A file of a post, or the part of it that was asked for; 404 if `content` is None."""
    if content is None:
        return not_found()
    kind = "text/plain" if site.has_wrong_type(post.ordinal) else CONTENT_TYPES[extension]
    answer = answer_file(
        content,
        content_type=kind,
        modified_at=post.created_at,
        asked=request.headers,
        ranges=site.faults.ranges,
    )
    return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
