"""Middleware of the stand-in board: it counts requests, refuses some, and spoils answers."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus

from aiohttp import web

from alti2v.demo.board.accounts import account_of, may_use_api
from alti2v.demo.board.danbooru.pages import error_json
from alti2v.demo.board.gelbooru.pages import xml_error
from alti2v.demo.board.html_frame import challenge_page, error_page
from alti2v.demo.board.request_log import API_KINDS, FILE_KINDS, RequestKind
from alti2v.demo.board.responses import (
    error_response,
    html_response,
    json_response,
    text_response,
    xml_response,
)
from alti2v.demo.board.site import SITE, Site

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_FILE_PATHS = {
    "images": RequestKind.ORIGINAL,
    "samples": RequestKind.SAMPLE,
    "thumbnails": RequestKind.THUMBNAIL,
    "original": RequestKind.ORIGINAL,
    "sample": RequestKind.SAMPLE,
    "180x180": RequestKind.THUMBNAIL,
    "360x360": RequestKind.THUMBNAIL,
    "720x720": RequestKind.THUMBNAIL,
}
_PAGES = {
    "/posts.json": RequestKind.POSTS,
    "/counts/posts.json": RequestKind.COUNTS,
    "/tags.json": RequestKind.TAGS,
    "/profile.json": RequestKind.ACCOUNT,
    "/robots.txt": RequestKind.ROBOTS,
    "/": RequestKind.PAGE,
    "/posts": RequestKind.PAGE,
}
_PIECES = 8


def kind_of(request: web.Request) -> RequestKind:
    """Classify a request by its address."""
    path, query = "/" + request.path.lstrip("/"), request.query
    if path == "/index.php" or ("page" in query and path == "/"):
        if query.get("page") != "dapi":
            return RequestKind.PAGE
        return {"post": RequestKind.POSTS, "tag": RequestKind.TAGS}.get(query.get("s", ""), RequestKind.OTHER)
    if path in _PAGES:
        return _PAGES[path]
    first, _, rest = path[1:].partition("/")
    if first == "posts":
        return RequestKind.POST if path.endswith(".json") else RequestKind.PAGE
    return _FILE_PATHS.get(rest.split("/")[1] if first == "cdn" and "/" in rest else first, RequestKind.OTHER)


@web.middleware
async def interfere(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Count a request, then refuse it, or answer it with the faults of its address."""
    site, kind, target = request.app[SITE], kind_of(request), request.path_qs
    agent = request.headers.get("User-Agent", "")
    site.traffic.note(kind, target, user_agent=agent, now_s=asyncio.get_running_loop().time())
    await asyncio.sleep(site.faults.latency_s)
    if site.strikes("reset_rate", site.faults.reset_rate, target):
        return _reset(request, site)
    response: web.StreamResponse | None = _refusal(request, site, kind)
    if response is None:
        response = await handler(request)
    site.traffic.statuses[response.status] += 1
    if response.status not in (200, 206):
        return response
    assert isinstance(response, web.Response)
    return await _spoiled(request, site, kind, response)


def _refusal(request: web.Request, site: Site, kind: RequestKind) -> web.Response | None:
    """Answer a request that faults keep from the board; None for every other."""
    faults, target, agent = site.faults, request.path_qs, request.headers.get("User-Agent", "")
    if any(word.lower() in agent.lower() for word in faults.blocked_user_agents):
        site.traffic.struck["blocked_user_agents"] += 1
        return html_response(challenge_page(), status=403)
    if kind in API_KINDS and faults.api_key != "unneeded" and not may_use_api(request):
        site.traffic.struck["api_key"] += 1
        return _key_refusal(site, repeated=account_of(request) if faults.echo_key else None)
    limit = faults.status_429
    if limit is not None and site.traffic.total % limit.every == 0:
        site.traffic.struck["status_429"] += 1
        values = {
            "seconds": str(limit.wait_s),
            "date": formatdate(time.time() + limit.wait_s, usegmt=True),
            "none": None,
        }
        return _too_many(site, kind, values[limit.retry_after])
    most = faults.max_requests_per_s
    if most is not None and site.traffic.within(1.0, now_s=asyncio.get_running_loop().time()) > most:
        site.traffic.struck["max_requests_per_s"] += 1
        return _too_many(site, kind, "1")
    if site.strikes("status_503_rate", faults.status_503_rate, target):
        return error_response(503)
    return None


def _key_refusal(site: Site, *, repeated: str | None) -> web.Response:
    said = "" if repeated is None else f" You sent {repeated}."
    form, text = site.faults.api_key, f"Missing authentication. Add the key of your account.{said}"
    if site.config.dialect == "danbooru":
        status = 403 if form == "403" else 401
        return json_response(error_json(status, f"Invalid API key.{said}"), status=status)
    match form:
        case "error":
            return xml_response(xml_error(text))
        case "string":
            return html_response(json.dumps(text))
        case "json":
            return html_response(json.dumps({"success": False, "message": text}))
    return text_response(text, status=int(form))


def _too_many(site: Site, kind: RequestKind, retry_after: str | None) -> web.Response:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    if site.config.dialect == "danbooru" and kind in API_KINDS:
        return json_response(error_json(429, "Too many requests."), status=429, headers=headers)
    return html_response(error_page(429, HTTPStatus(429).phrase), status=429, headers=headers)


async def _spoiled(
    request: web.Request, site: Site, kind: RequestKind, response: web.Response
) -> web.StreamResponse:
    """Apply the faults of the address to a good answer."""
    faults, target = site.faults, request.path_qs
    if kind in FILE_KINDS and site.strikes("html_instead_rate", faults.html_instead_rate, target):
        return html_response(challenge_page())
    if request.method == "HEAD":
        return response
    assert isinstance(response.body, bytes)
    if site.strikes("truncated_rate", faults.truncated_rate, target):
        return await _sent_in_part(request, response, response.body, wait_s=0)
    if site.strikes("stall_rate", faults.stall_rate, target):
        return await _sent_in_part(request, response, response.body, wait_s=faults.stall_s)
    if site.strikes("slow_rate", faults.slow_rate, target):
        return await _sent_slowly(request, response, response.body, over_s=faults.slow_s)
    return response


async def _sent_in_part(
    request: web.Request, response: web.Response, body: bytes, *, wait_s: float
) -> web.StreamResponse:
    """Announce the whole body, send half of it, stay silent for `wait_s`, then close the connection."""
    stream = await _begun(request, response, body)
    await stream.write(body[: len(body) // 2])
    await asyncio.sleep(wait_s)  # ends early if the client goes away: see handler_cancellation in app.py
    if request.transport is not None:
        request.transport.close()
    return stream


async def _sent_slowly(
    request: web.Request, response: web.Response, body: bytes, *, over_s: float
) -> web.StreamResponse:
    stream = await _begun(request, response, body)
    size = -(-len(body) // _PIECES) or 1
    for start in range(0, len(body), size):
        await asyncio.sleep(over_s / _PIECES)
        await stream.write(body[start : start + size])
    await stream.write_eof()
    return stream


async def _begun(request: web.Request, response: web.Response, body: bytes) -> web.StreamResponse:
    stream = web.StreamResponse(status=response.status, headers=response.headers)
    stream.content_length = len(body)
    await stream.prepare(request)
    return stream


def _reset(request: web.Request, site: Site) -> web.Response:
    """Reset the connection; SO_LINGER of 0 s makes it ECONNRESET for the client, not an orderly end."""
    site.traffic.statuses[0] += 1
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()
