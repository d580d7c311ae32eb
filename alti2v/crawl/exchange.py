"""One request and its answer: statuses, caps, deadlines. Knows nothing of pace or of other requests."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urljoin

import aiohttp

from alti2v.crawl.guard import PRIVATE, PrivateAddressError
from alti2v.crawl.policy import FailKind, Failure, kind_of_status

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Purpose(StrEnum):
    """What a request is for."""

    API = "api"  # a documented endpoint, under the API's own terms
    FILE = "file"  # under robots.txt


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A whole answer.

    Attributes:
        url: where it came from, after redirects.
        status: 200 for files; any for the API, whose errors speak in their bodies.
        md5: of the body, 32 hex digits.
        robots_tag: the header X-Robots-Tag, lower case, "" if absent.
    """

    url: str
    status: int
    body: bytes
    md5: str
    robots_tag: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """The answer is elsewhere."""

    url: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """The host wants to be left alone.

    Attributes:
        retry_after: the header's value, None if absent.
    """

    status: int
    retry_after: str | None


async def request(
    session: aiohttp.ClientSession, url: str, *, purpose: Purpose, max_bytes: int
) -> Received | Failure | Moved | Throttled:
    """Ask once, following nothing."""
    # A file's bytes must be the file's bytes; text may be packed.
    encoding = "identity" if purpose is Purpose.FILE else "gzip, deflate"
    try:
        async with session.get(url, allow_redirects=False, headers={"Accept-Encoding": encoding}) as response:
            return await _read(response, url, purpose=purpose, max_bytes=max_bytes)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as exc:
        return _failure_of(exc)


async def _read(
    response: aiohttp.ClientResponse, url: str, *, purpose: Purpose, max_bytes: int
) -> Received | Failure | Moved | Throttled:
    status, headers = response.status, response.headers
    retry_after = headers.get("Retry-After")
    if status == 429 or (status == 503 and retry_after is not None):
        return Throttled(status, retry_after)
    if status in _REDIRECTS and "Location" in headers:
        return Moved(urljoin(url, headers["Location"]))
    if purpose is Purpose.FILE and status != 200:
        return Failure(kind=kind_of_status(status), message=f"HTTP {status}", status=status)
    if (response.content_length or 0) > max_bytes:
        return Failure(
            kind=FailKind.TOO_LARGE, message=f"{response.content_length} bytes announced", status=status
        )
    body, digest = bytearray(), hashlib.md5(usedforsecurity=False)
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            return Failure(kind=FailKind.TOO_LARGE, message=f"more than {max_bytes} bytes", status=status)
        digest.update(chunk)
    robots_tag = ",".join(headers.getall("X-Robots-Tag", ())).lower()
    return Received(url=url, status=status, body=bytes(body), md5=digest.hexdigest(), robots_tag=robots_tag)


# From the most to the least special: the first that matches names the kind.
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


def _failure_of(exc: Exception) -> Failure:
    cause: Any = getattr(exc, "os_error", None)
    if isinstance(cause, PrivateAddressError) or isinstance(exc, PrivateAddressError):
        return Failure(kind=FailKind.PRIVATE_ADDRESS, message=str(PrivateAddressError(*PRIVATE)))
    kind = next(kind for error, kind in _KINDS if isinstance(exc, error))
    text = " ".join(str(exc).split())[:200]
    return Failure(kind=kind, message=f"{kind}: {text}" if text else str(kind))
