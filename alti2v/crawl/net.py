"""The network: pacing, pauses, caps, deadlines, robots.txt, and the guard against private addresses.

Everything that goes wrong comes back as a `Failure`. What concerns a host as a whole (its wish for
silence, its robots.txt, its being down) is settled here; what concerns one file is the caller's.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiolimiter import AsyncLimiter
from protego import Protego

from alti2v import __version__
from alti2v.crawl.policy import OF_THE_HOST, FailKind, Failure, RetryPolicy, kind_of_status, pause_s

PRODUCT = "alti2v"  # the name that robots.txt may address (RFC 9309, 2.2.1)
MAX_REDIRECTS = 5
MAX_ROBOTS_BYTES = 512 * 1024  # RFC 9309, 2.5: parse at least 500 KiB
MAX_API_BYTES = 32 * 1024 * 1024  # 1000 posts are about 1 MB
# The pacer's margin: requests that left exactly 1/rate apart arrive a little closer together or wider
# apart; 3 % keep any one second at the board within the rate.
_PACING_MARGIN = 1.03
_CHUNK = 1 << 16
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))


class Purpose(StrEnum):
    """What a request is for."""

    API = "api"  # a documented endpoint, under the API's own terms
    FILE = "file"  # under robots.txt


@dataclass(frozen=True, slots=True, kw_only=True)
class NetConfig:
    """How to behave towards hosts.

    Attributes:
        rate: requests/s to one host, all purposes; infinity for no pacing.
        api_rate: the API's share of it, requests/s.
        connections: open at once to one host.
        allow_private: talk to addresses that are not public.
        contact: mail address or URL for the User-Agent.
        connect_s, read_s, total_s: deadlines for a connection, for a silence, for a whole answer.
    """

    rate: float
    api_rate: float
    connections: int
    allow_private: bool = False
    contact: str | None = None
    connect_s: float = 20.0
    read_s: float = 30.0
    total_s: float = 300.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    @property
    def user_agent(self) -> str:
        """An honest name; boards challenge browser-like and default library names."""
        contact = f"+{self.contact}" if self.contact else "illustration dataset crawler, no contact given"
        return f"{PRODUCT}/{__version__} ({contact})"


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
class _Moved:
    url: str


@dataclass(frozen=True, slots=True)
class _Throttled:
    status: int
    retry_after: str | None


class PrivateAddressError(OSError):
    """The address of a host is not public; no byte was sent to it."""


class _Host:
    """What one host (scheme, name, port) has let us know, and the pace towards it."""

    def __init__(self, config: NetConfig) -> None:
        self.slots = asyncio.Semaphore(config.connections)
        self.pacer = _pacer(config.rate)
        self.api_pacer = _pacer(config.api_rate)
        self.silent_until = 0.0  # on the client's clock
        self.pauses = 0  # in a row
        # Apart for each purpose: a board whose files are down may still answer its API.
        self.failures = dict.fromkeys(Purpose, 0)  # in a row
        self.down = dict.fromkeys(Purpose, "")  # why this run has given it up
        self.robots: Protego | None = None
        self.robots_lock = asyncio.Lock()


def _pacer(rate: float) -> AsyncLimiter | None:
    # One at a time and evenly, never a burst: a bucket of one request.
    return None if rate == float("inf") else AsyncLimiter(1, _PACING_MARGIN / rate)


class Client:
    """The session of one crawl; an async context manager.

    Args:
        config: how to behave.
        on_pause: told why and for how long (s) a host is left alone.
        clock: seconds that never go back. wall: unix seconds, for Retry-After dates. sleep: waits.
    """

    def __init__(
        self,
        config: NetConfig,
        *,
        on_pause: Callable[[str, float], None] = lambda _why, _seconds: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config = config
        self._on_pause = on_pause
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._hosts: dict[str, _Host] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        config = self._config
        connector = aiohttp.TCPConnector(
            limit=0,  # the slots of each host bound it
            ttl_dns_cache=300,
            keepalive_timeout=30,
            socket_factory=None if config.allow_private else _guarded_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": config.user_agent},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=config.total_s, sock_connect=config.connect_s, sock_read=config.read_s
            ),
            read_bufsize=_CHUNK,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def hosts_down(self) -> Mapping[str, str]:
        """The hosts that this run has given up, and why."""
        return {
            f"{name} {purpose}": why
            for name, host in self._hosts.items()
            for purpose, why in host.down.items()
            if why
        }

    async def get(self, url: str, *, purpose: Purpose, max_bytes: int) -> Received | Failure:
        """Fetch one address, politely, through at most five redirects.

        Waits for the host's pace and for the silence it asked for; being throttled is never the file's
        failure. Files are held against robots.txt first.
        """
        for _ in range(MAX_REDIRECTS + 1):
            origin = _origin(url)
            if origin is None:
                return Failure(kind=FailKind.BAD_URL, message=f"not an http address: {url[:200]}")
            host = self._hosts.setdefault(origin, _Host(self._config))
            if purpose is Purpose.FILE:
                refused = await self._robots_refusal(host, origin, url)
                if refused is not None:
                    return refused
            outcome = await self._get_from(host, origin, url, purpose=purpose, max_bytes=max_bytes)
            if not isinstance(outcome, _Moved):
                return outcome
            url = outcome.url
        return Failure(kind=FailKind.REDIRECTS, message=f"more than {MAX_REDIRECTS} redirects")

    async def _get_from(
        self, host: _Host, origin: str, url: str, *, purpose: Purpose, max_bytes: int
    ) -> Received | Failure | _Moved:
        while not host.down[purpose]:
            async with host.slots:
                await self._turn(host, purpose)
                if host.down[purpose]:
                    break
                outcome = await self._request(url, purpose=purpose, max_bytes=max_bytes)
            if isinstance(outcome, _Throttled):
                self._pause(host, origin, outcome)
            else:
                self._note(host, origin, outcome, purpose)
                return outcome
        return Failure(kind=FailKind.HOST_DOWN, message=host.down[purpose])

    async def _turn(self, host: _Host, purpose: Purpose) -> None:
        """Wait until this host may be asked."""
        while True:
            silence = host.silent_until - self._clock()
            if silence > 0:
                await self._sleep(silence)
                continue
            if purpose is Purpose.API and host.api_pacer is not None:
                await host.api_pacer.acquire()
            if host.pacer is not None:
                await host.pacer.acquire()
            if host.silent_until <= self._clock():  # else it asked for silence while we queued
                return

    def _pause(self, host: _Host, origin: str, throttled: _Throttled) -> None:
        now = self._clock()
        if host.silent_until > now and not throttled.retry_after:
            return  # answers to requests that were under way when the pause began
        host.pauses += 1
        policy = self._config.retry
        seconds = pause_s(throttled.retry_after, now=self._wall(), pauses=host.pauses, policy=policy)
        host.silent_until = max(host.silent_until, now + seconds)
        self._on_pause(f"{origin} asked for silence (HTTP {throttled.status})", seconds)
        if host.pauses > policy.pauses:
            host.down = dict.fromkeys(Purpose, f"{origin} keeps asking for silence (HTTP {throttled.status})")

    def _note(self, host: _Host, origin: str, outcome: Received | Failure | _Moved, purpose: Purpose) -> None:
        """Count failures in a row; an answer of any other kind says that the host is well."""
        if not isinstance(outcome, Failure) or outcome.kind not in OF_THE_HOST:
            host.failures[purpose] = host.pauses = 0
            return
        host.failures[purpose] += 1
        failures = host.failures[purpose]
        if failures == self._config.retry.failures and not host.down[purpose]:
            host.down[purpose] = f"{origin} failed {failures} times in a row (last: {outcome.message})"

    async def _robots_refusal(self, host: _Host, origin: str, url: str) -> Failure | None:
        async with host.robots_lock:
            if host.robots is None and not host.down[Purpose.FILE]:
                await self._read_robots(host, origin)
        if host.robots is None:
            return Failure(kind=FailKind.HOST_DOWN, message=host.down[Purpose.FILE])
        if host.robots.can_fetch(url, PRODUCT):
            return None
        return Failure(kind=FailKind.ROBOTS, message=f"{origin}/robots.txt forbids it")

    async def _read_robots(self, host: _Host, origin: str) -> None:
        """RFC 9309, 2.3.1: unavailable (4xx) allows everything, unreachable forbids everything."""
        outcome: Received | Failure | _Moved = _Moved(f"{origin}/robots.txt")
        for _ in range(MAX_REDIRECTS + 1):
            if not isinstance(outcome, _Moved):
                break
            outcome = await self._get_from(
                host, origin, outcome.url, purpose=Purpose.FILE, max_bytes=MAX_ROBOTS_BYTES
            )
        tries = 1
        while isinstance(outcome, Failure) and outcome.kind in OF_THE_HOST - {FailKind.FORBIDDEN}:
            if tries >= self._config.retry.tries or host.down[Purpose.FILE]:
                why = f"{origin}/robots.txt cannot be read ({outcome.message})"
                host.down[Purpose.FILE] = host.down[Purpose.FILE] or why
                return
            await self._sleep(min(self._config.retry.ceiling_s, self._config.retry.base_s * 2 ** (tries - 1)))
            tries += 1
            outcome = await self._get_from(
                host, origin, f"{origin}/robots.txt", purpose=Purpose.FILE, max_bytes=MAX_ROBOTS_BYTES
            )
        text = outcome.body.decode("utf-8", "replace") if isinstance(outcome, Received) else ""
        host.robots = Protego.parse(text)

    async def _request(
        self, url: str, *, purpose: Purpose, max_bytes: int
    ) -> Received | Failure | _Moved | _Throttled:
        assert self._session is not None
        # A file's bytes must be the file's bytes; text may be packed.
        encoding = "identity" if purpose is Purpose.FILE else "gzip, deflate"
        try:
            async with self._session.get(
                url, allow_redirects=False, headers={"Accept-Encoding": encoding}
            ) as response:
                return await _read(response, url, purpose=purpose, max_bytes=max_bytes)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as exc:
            return _failure_of(exc)


async def _read(
    response: aiohttp.ClientResponse, url: str, *, purpose: Purpose, max_bytes: int
) -> Received | Failure | _Moved | _Throttled:
    status, headers = response.status, response.headers
    retry_after = headers.get("Retry-After")
    if status == 429 or (status == 503 and retry_after is not None):
        return _Throttled(status, retry_after)
    if status in _REDIRECTS and "Location" in headers:
        return _Moved(urljoin(url, headers["Location"]))
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


def _origin(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        return None
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}" + (f":{port}" if port is not None else "")


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
        return Failure(kind=FailKind.PRIVATE_ADDRESS, message=str(PrivateAddressError(*_PRIVATE)))
    kind = next(kind for error, kind in _KINDS if isinstance(exc, error))
    text = " ".join(str(exc).split())[:200]
    return Failure(kind=kind, message=f"{kind}: {text}" if text else str(kind))


# One text for all addresses of a host, so that a host with several keeps the class of the error.
_PRIVATE = ("the host's address is not public (--allow-private would allow it)",)


def is_public(address: str) -> bool:
    """Whether an IP address is public, also inside IPv6 forms that carry an IPv4 address.

    Forms: IPv4-mapped (RFC 4291, 2.5.5.2), 6to4 (RFC 3056), Teredo (RFC 4380), NAT64 (RFC 6052).
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and any(ip in network for network in _NAT64):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def _guarded_socket(info: tuple[Any, ...]) -> socket.socket:
    """The connector's socket factory: called with each resolved address, before connecting to it."""
    family, kind, protocol, _, address = info
    if not is_public(address[0]):
        raise PrivateAddressError(*_PRIVATE)
    return socket.socket(family, kind, protocol)
