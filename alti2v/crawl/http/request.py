"""A single HTTP request and its answer: statuses, limits, deadlines, and resumed files."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
import yarl

from alti2v.crawl.http.api_key import ApiKey
from alti2v.crawl.http.memory_budget import Reservation
from alti2v.crawl.http.proxies import Proxy
from alti2v.crawl.http.results import Moved, Purpose, Received, Throttled
from alti2v.crawl.http.resume import Partial, Partials
from alti2v.crawl.http.retry import OF_THE_HOST, FailedTry, FailKind, kind_of_status, may_be_of_the_file
from alti2v.crawl.http.ssrf_guard import PrivateAddressError

_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAFE = "".join(map(chr, range(33, 127)))  # printable ASCII, the percent sign included
_SENDABLE = re.compile(r"[a-z]+://[a-z0-9.\[\]:-]+/[!-~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits of one answer.

    Attributes:
        max_bytes: Maximum size of the body, also after decompression.
        min_bytes_per_s: Minimum average speed of a body that has taken longer than `grace_s`.
        grace_s: Time before the speed counts, s.
        reservation: Memory for the body; None if it is not counted.
    """

    max_bytes: int
    min_bytes_per_s: float
    grace_s: float
    reservation: Reservation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Way of a request to its host.

    Attributes:
        session: Session with the connections.
        proxy: Proxy; None to connect directly.
        key: API key for the host; None if it gets none.
    """

    session: aiohttp.ClientSession
    proxy: Proxy | None = None
    key: ApiKey | None = None


async def request(
    route: Route,
    url: str,
    *,
    purpose: Purpose,
    bounds: Bounds,
    partials: Partials,
    clock: Callable[[], float],
) -> Received | FailedTry | Moved | Throttled:
    """Send one request without following redirects; resume a file that an earlier try was cut off from."""
    partial = partials.take(url) if purpose is Purpose.FILE else None
    # Files must arrive byte for byte; text may be compressed.
    headers = {"Accept-Encoding": "identity" if purpose is Purpose.FILE else "gzip, deflate"}
    if partial is not None:
        headers |= partial.request_headers()
    key = route.key
    sent_s = clock()
    try:
        async with _sent(route, url, headers, purpose=purpose) as response:
            waited_s = clock() - sent_s
            decided = _without_body(response, url, purpose=purpose, partial=partial)
            if decided is not None:
                return decided
            begun = partial if response.status == _PARTIAL_CONTENT else None
            body = await _read(response, url, bounds=bounds, begun=begun, partials=partials, clock=clock)
    except _TooLargeError as exc:
        return FailedTry(kind=FailKind.TOO_LARGE, message=str(exc))
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as exc:
        failure = _failure_of(exc)
        return failure if key is None else replace(failure, message=key.hidden_in(failure.message))
    robots_tag = ",".join(response.headers.getall("X-Robots-Tag", ())).lower()
    status = response.status if begun is None else 200  # with its beginning, it is the whole file
    if key is not None:
        body = key.hidden_in_answer(body)
    return Received(url=url, status=status, body=body, robots_tag=robots_tag, waited_s=waited_s)


def exact_url(url: str) -> yarl.URL:
    """Return the address of a file to be sent as it is, because servers compare signatures.

    Only what HTTP cannot carry is escaped: white space, control characters, and what is not ASCII.

    Raises:
        ValueError: It is not an address.
    """
    if not (url.isascii() and _SENDABLE.fullmatch(url)):
        root = yarl.URL(url).origin()  # with its name in ASCII (IDNA)
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        url = f"{root}{quote(parts.path or '/', safe=_SAFE)}{quote(query, safe=_SAFE)}"
    return yarl.URL(url, encoded=True)


def _sent(
    route: Route, url: str, headers: dict[str, str], *, purpose: Purpose
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    """Send a request; only here its address or its headers have the API key."""
    signed, of_key = (url, {}) if route.key is None else route.key.sign(url)
    address = exact_url(url) if purpose is Purpose.FILE else signed
    proxy = route.proxy
    if proxy is None:
        return route.session.get(address, allow_redirects=False, headers=headers | of_key)
    is_tunnel = url.startswith("https:")
    return route.session.get(
        address,
        allow_redirects=False,
        # Without a tunnel, the proxy reads the headers of the request itself.
        headers=headers | of_key | ({} if is_tunnel else proxy.headers),
        proxy=proxy.url,
        proxy_headers=proxy.headers if is_tunnel else None,
    )


class _TooLargeError(Exception):
    """A body has, or announces, more bytes than allowed."""


def _without_body(
    response: aiohttp.ClientResponse, url: str, *, purpose: Purpose, partial: Partial | None
) -> FailedTry | Moved | Throttled | None:
    """Return the result if status and headers alone decide it; None if the body is needed."""
    status, headers = response.status, response.headers
    retry_after = headers.get("Retry-After")
    if status == 429 or (status == 503 and retry_after is not None):
        return Throttled(status, retry_after)
    if status in _REDIRECTS and "Location" in headers:
        return Moved(urljoin(url, headers["Location"]))
    is_challenge = headers.get("cf-mitigated") == "challenge"
    if status == 200 or (purpose is Purpose.API and not is_challenge):
        return None
    if status == _PARTIAL_CONTENT and partial is not None and partial.is_continued_by(headers):
        return None
    if status in (_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE):  # the next try starts at the beginning
        return FailedTry(kind=FailKind.TRUNCATED_BODY, message="not the rest that was requested", status=status)
    if is_challenge:
        message = f"HTTP {status}, with a challenge for browsers: the site's guard refuses programs from here"
        return FailedTry(kind=FailKind.FORBIDDEN, message=message, status=status)
    return FailedTry(kind=kind_of_status(status), message=f"HTTP {status}", status=status)


async def _read(
    response: aiohttp.ClientResponse,
    url: str,
    *,
    bounds: Bounds,
    begun: Partial | None,
    partials: Partials,
    clock: Callable[[], float],
) -> bytes:
    """Read the body after the bytes that are there already; return all of it.

    Raises:
        _TooLargeError: Before or while reading.
    """
    announced, pieces = response.content_length, [begun.body] if begun is not None else []
    size = begun_at = sum(map(len, pieces))
    total = size + announced if announced is not None else None
    if (total or 0) > bounds.max_bytes:
        raise _TooLargeError(f"{total:,} bytes announced, {bounds.max_bytes:,} are allowed")
    if bounds.reservation is not None:
        is_compressed = "Content-Encoding" in response.headers  # then its length is unknown
        await bounds.reservation.acquire(bounds.max_bytes if total is None or is_compressed else total)
    begun_s = clock()
    try:
        while chunk := await response.content.readany():
            pieces.append(chunk)
            size += len(chunk)
            if size > bounds.max_bytes:
                raise _TooLargeError(f"more than {bounds.max_bytes:,} bytes")
            seconds = clock() - begun_s
            if seconds > bounds.grace_s and size - begun_at < seconds * bounds.min_bytes_per_s:
                raise TimeoutError(f"slower than {bounds.min_bytes_per_s:,.0f} bytes/s")
    except (aiohttp.ClientError, OSError):
        partials.keep(url, b"".join(pieces), headers=response.headers, total=total)
        raise
    if bounds.reservation is not None:
        bounds.reservation.shrink(size)
    return b"".join(pieces)


def is_refusal(answer: Received | FailedTry | Moved, purpose: Purpose) -> bool:
    """Return whether the host refuses us: it says so, or sends a web page in place of a file."""
    match answer:
        case FailedTry(kind=kind):
            return kind is FailKind.FORBIDDEN
        case Received() if purpose is Purpose.API:
            return answer.status in (401, 403, 451)
        case Received():
            return _is_page(answer)
    return False


def may_be_missing(answer: Received | FailedTry | Moved) -> bool:
    """Return whether the answer to a request for a file may mean that this file is not there."""
    match answer:
        case FailedTry():
            return may_be_of_the_file(answer)
        case Received():
            return _is_page(answer)
    return False


def _is_page(answer: Received) -> bool:
    return answer.body[:256].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def is_breakdown(answer: Received | FailedTry | Moved) -> bool:
    """Return whether the host is to blame for a failure, not the single address."""
    match answer:
        case FailedTry(kind=kind):
            return kind in OF_THE_HOST
        case Received(status=status):
            return status >= 500
    return False


# From the most to the least specific: the first match gives the kind.
_KINDS: tuple[tuple[type[BaseException], FailKind], ...] = (
    (aiohttp.ClientConnectorDNSError, FailKind.DNS),
    (aiohttp.ClientSSLError, FailKind.TLS),
    (aiohttp.ServerFingerprintMismatch, FailKind.TLS),
    (TimeoutError, FailKind.TIMEOUT),  # aiohttp's timeouts are all of this class
    (aiohttp.ClientConnectorError, FailKind.CONNECT),
    (aiohttp.ClientPayloadError, FailKind.TRUNCATED_BODY),
    (aiohttp.InvalidURL, FailKind.BAD_URL),
    (aiohttp.ServerConnectionError, FailKind.RESET),
    (aiohttp.ClientOSError, FailKind.RESET),
    (aiohttp.ClientError, FailKind.BAD_HTTP),
    (OSError, FailKind.RESET),
    (ValueError, FailKind.BAD_URL),
)


def _failure_of(exc: Exception) -> FailedTry:
    cause: Any = getattr(exc, "os_error", None)
    for error in (cause, exc):
        if isinstance(error, PrivateAddressError):
            return FailedTry(kind=FailKind.PRIVATE_ADDRESS, message=str(error))
    kind = next(kind for error, kind in _KINDS if isinstance(exc, error))
    # The message without the class and the status 400 that aiohttp wraps around it.
    inner = (getattr(error, "message", None) for error in (exc.__cause__, exc))
    message = next((text for text in inner if text and isinstance(text, str)), str(exc))
    text = " ".join(message.replace(" ssl:default", "").split())[:200]  # aiohttp says it of plain HTTP as well
    return FailedTry(kind=kind, message=f"{kind}: {text}" if text else str(kind))
