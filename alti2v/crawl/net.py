"""The network as a crawl sees it: one request after the other, at each host's pace and under its robots.txt.

Everything that goes wrong comes back as a `Failure`. What concerns a host as a whole (its wish for
silence, its robots.txt, its being down) is settled here; what concerns one file is the caller's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp
from aiolimiter import AsyncLimiter
from protego import Protego

from alti2v import __version__
from alti2v.crawl.exchange import Moved, Purpose, Received, Throttled, request
from alti2v.crawl.guard import guarded_socket, origin_of
from alti2v.crawl.policy import OF_THE_HOST, FailKind, Failure, RetryPolicy, pause_s

PRODUCT = "alti2v"  # the name that robots.txt may address (RFC 9309, 2.2.1)
MAX_REDIRECTS = 5
MAX_ROBOTS_BYTES = 512 * 1024  # RFC 9309, 2.5: parse at least 500 KiB
MAX_API_BYTES = 32 * 1024 * 1024  # 1000 posts are about 1 MB
# The pacer's margin: requests that left exactly 1/rate apart arrive a little closer together or wider
# apart; 3 % keep any one second at the board within the rate.
_PACING_MARGIN = 1.03
_CHUNK = 1 << 16


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
            socket_factory=None if config.allow_private else guarded_socket,
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
            origin = origin_of(url)
            if origin is None:
                return Failure(kind=FailKind.BAD_URL, message=f"not an http address: {url[:200]}")
            host = self._hosts.setdefault(origin, _Host(self._config))
            if purpose is Purpose.FILE:
                refused = await self._robots_refusal(host, origin, url)
                if refused is not None:
                    return refused
            outcome = await self._get_from(host, origin, url, purpose=purpose, max_bytes=max_bytes)
            if not isinstance(outcome, Moved):
                return outcome
            url = outcome.url
        return Failure(kind=FailKind.REDIRECTS, message=f"more than {MAX_REDIRECTS} redirects")

    async def _get_from(
        self, host: _Host, origin: str, url: str, *, purpose: Purpose, max_bytes: int
    ) -> Received | Failure | Moved:
        assert self._session is not None
        while not host.down[purpose]:
            async with host.slots:
                await self._turn(host, purpose)
                if host.down[purpose]:
                    break
                outcome = await request(self._session, url, purpose=purpose, max_bytes=max_bytes)
            if isinstance(outcome, Throttled):
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

    def _pause(self, host: _Host, origin: str, throttled: Throttled) -> None:
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

    def _note(self, host: _Host, origin: str, outcome: Received | Failure | Moved, purpose: Purpose) -> None:
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
        outcome: Received | Failure | Moved = Moved(f"{origin}/robots.txt")
        for _ in range(MAX_REDIRECTS + 1):
            if not isinstance(outcome, Moved):
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
