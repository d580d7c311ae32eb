"""Admission of requests and uploads to the server, independent of Gradio.

A page on another site can make a visitor's browser send requests here. A name of that site that points to this
machine (DNS rebinding) is recognised by the Host header, a form or script of that site by the Origin header
(Fetch standard, https://fetch.spec.whatwg.org/#origin-header). Programs send no Origin and are not affected.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_Message = MutableMapping[
    str, Any
]  # of the ASGI specification, https://asgi.readthedocs.io/en/latest/specs/www.html
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]

ANY_HOST = "*"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_FRAME_BYTES = 1 << 16  # a multipart frame around a file, or a call without one
_UPLOADS_AT_ONCE = 16
KEPT_UPLOADS = 64  # files; each is read once, right after it was sent


@dataclass(frozen=True, slots=True)
class RequestRefusal:
    """Answer to a refused request: an HTTP status, and a line for the client."""

    status: int
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRules:
    """Rules for requests.

    Attributes:
        hosts: Names, in lower case and without a port, under which the server may be called, besides addresses;
            `ANY_HOST` allows every name.
        proxies: Names among `hosts` whose pages may send requests here under another name of the server.
        max_body_bytes: Maximum size of a body.
    """

    hosts: frozenset[str]
    proxies: frozenset[str] = frozenset()
    max_body_bytes: int


def rules_for(host: str, allowed_hosts: Iterable[str], *, max_file_bytes: int) -> AdmissionRules:
    """Make the rules of a server.

    Args:
        host: Address or name that the server listens on.
        allowed_hosts: Further names that lead to it, such as that of a reverse proxy, or `ANY_HOST`.
        max_file_bytes: Maximum size of an uploaded file.
    """
    own, allowed = (
        frozenset(name.lower().rstrip(".") for name in names)
        for names in ((host, "localhost", socket.gethostname()), allowed_hosts)
    )
    return AdmissionRules(hosts=own | allowed, proxies=allowed, max_body_bytes=max_file_bytes + _FRAME_BYTES)


def refusal(method: str, headers: Mapping[str, str], rules: AdmissionRules) -> RequestRefusal | None:
    """Return the refusal of a request; None if it is admitted.

    Args:
        method: HTTP method, in upper case.
        headers: Names in lower case.
        rules: Rules of the server.
    """
    host = headers.get("host", "")
    if not _is_ours(host, rules):
        return RequestRefusal(403, f"the server is not called {host[:100]!r}: start it with --allow-host")
    if method not in _READING and not _is_same_site(host, headers, rules):
        return RequestRefusal(403, "requests from pages of other sites are refused")
    size = headers.get("content-length", "0")
    if not (size.isascii() and size.isdecimal()) or len(size) > 18 or int(size) > rules.max_body_bytes:
        return RequestRefusal(413, f"a request may have {rules.max_body_bytes:,} bytes: send one smaller file")
    return None


def guarded(app: _App, rules: AdmissionRules, uploads: Path) -> _App:
    """Wrap an ASGI application: requests are checked and bounded, and old uploads make room for new ones."""
    in_progress = 0

    async def answer(scope: _Message, receive: _Receive, send: _Send) -> None:
        nonlocal in_progress
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        method = str(scope["method"])
        refused = refusal(method, headers, rules)
        is_upload = method not in _READING
        if refused is None and is_upload and in_progress >= _UPLOADS_AT_ONCE:
            refused = RequestRefusal(503, "too many requests at once: send it again later")
        if refused is not None:
            await _send_refusal(refused, send)
            return
        if is_upload:
            make_room(uploads, keep=KEPT_UPLOADS)
        in_progress += is_upload
        try:
            await app(scope, _bounded(receive, rules.max_body_bytes), _with_lines(send))
        finally:
            in_progress -= is_upload

    return answer


def error_in_one_line(event: bytes) -> bytes:
    """Rewrite an event that reports an error so that `error` is one line; return any other event as it is.

    The framework reports its own errors as several lines, as null, or as a text without a name.
    """
    head, mark, data = event.partition(b"data: ")
    if not event.startswith(b"event: error\n") or not mark:
        return event
    try:
        value = json.loads(data)
    except ValueError:
        value = data.decode(errors="replace")
    found = value if isinstance(value, dict) else {"error": value}
    line = (
        " ".join(str(found.get("error") or "").split()) or "the request cannot be answered: see docs/SERVE.md"
    )
    return head + mark + json.dumps({**found, "error": line}).encode() + b"\n\n"


def make_room(uploads: Path, *, keep: int) -> None:
    """Remove the oldest uploaded files so that fewer than `keep` are left."""
    found = []
    for file in uploads.rglob("*"):
        with contextlib.suppress(OSError):  # another request has removed it
            if file.is_file():
                found.append((file.stat().st_mtime_ns, file))
    for _, file in sorted(found)[: max(0, len(found) - keep + 1)]:
        file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty
            if file.parent != uploads:
                file.parent.rmdir()


def _is_ours(host: str, rules: AdmissionRules) -> bool:
    name = _name(host)
    if name is None:
        return False
    if ANY_HOST in rules.hosts or name in rules.hosts:
        return True
    try:
        ipaddress.ip_address(name)  # rebinding needs a name
    except ValueError:
        return False
    return True


def _is_same_site(host: str, headers: Mapping[str, str], rules: AdmissionRules) -> bool:
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in ("none", "same-origin")
    authority = origin.partition("://")[2]
    if authority.lower() == host.lower():
        return True
    return _name(authority) in rules.proxies  # a proxy may have changed the host


def _name(authority: str) -> str | None:
    """Return the name or address of `name:port`, in lower case; None if it is neither."""
    try:
        name = urlsplit(f"//{authority}").hostname
    except ValueError:
        return None
    if name is None or any(letter in authority for letter in "/?#@\\ "):
        return None
    return name.rstrip(".")


def _bounded(receive: _Receive, most: int) -> _Receive:
    """End a body without an announced size where it becomes too large, as if the client had disconnected."""
    received = 0

    async def receive_some() -> _Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        return message if received <= most else {"type": "http.disconnect"}

    return receive_some


def _with_lines(send: _Send) -> _Send:
    async def send_some(message: _Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": error_in_one_line(message.get("body", b""))}
        await send(message)

    return send_some


async def _send_refusal(refused: RequestRefusal, send: _Send) -> None:
    body = f"{refused.line}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
