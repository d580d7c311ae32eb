"""The HTTP client of a crawl: requests at each host's rate and under its robots.txt.

Failures are returned as a `FailedTry`. This module handles what concerns a host as a whole (requested pauses,
robots.txt, outages); failures of a single file are handled by the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self

import aiohttp
from protego import Protego

from alti2v.crawl.http.config import PRODUCT, NetConfig
from alti2v.crawl.http.memory_budget import Reservation
from alti2v.crawl.http.pacing.host import Host, Machine
from alti2v.crawl.http.pacing.rate_limit import Pace
from alti2v.crawl.http.proxies import names_private_host
from alti2v.crawl.http.request import Bounds, Route, is_breakdown, is_refusal, may_be_missing, request
from alti2v.crawl.http.results import Moved, Purpose, Received, Throttled
from alti2v.crawl.http.resume import Partials
from alti2v.crawl.http.retry import FailedTry, FailKind
from alti2v.crawl.http.ssrf_guard import PRIVATE, AddressGuard, Sites, address_group, host_name, origin_of

MAX_REDIRECTS = 5
MAX_ROBOTS_BYTES = 512 * 1024  # RFC 9309, 2.5: parse at least 500 KiB
_RESOLVE_S = 10.0  # for the addresses of a host
_CHUNK = 1 << 18  # bytes; each pause of reading costs two system calls


def _foreign(origin: str, purpose: Purpose) -> str:
    if purpose is Purpose.API:
        return f"it redirects to {origin}, which is another site"
    return f"{origin} is not a host of the board's files"


class _Resolver(aiohttp.ThreadedResolver):
    """The system's resolver, whose results a guard sees."""

    def __init__(self, guard: AddressGuard) -> None:
        super().__init__()
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        """Return the addresses of a name."""
        found = await super().resolve(host, port, family)
        self._guard.note(host, (entry["host"] for entry in found))
        return found


class Client:
    """HTTP client of one crawl; an async context manager.

    Args:
        config: Settings of requests.
        on_pause: Called with the reason and the length (s) of each pause of a host.
        on_notice: Called with other messages for users about hosts.
        clock: Monotonic time, s.
        wall: Time in unix seconds, for dates in Retry-After.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        config: NetConfig,
        *,
        on_pause: Callable[[str, float], None] = lambda _why, _seconds: None,
        on_notice: Callable[[str], None] = lambda _words: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config = config
        self._on_pause = on_pause
        self._on_notice = on_notice
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._hosts: dict[str, Host] = {}
        self._machines: dict[str, Machine] = {}  # by name of the host, and by group of its addresses
        self._partials = Partials()
        self._sites = Sites(config.board) if config.board is not None else None
        self._session: aiohttp.ClientSession | None = None
        self._proxy_session: aiohttp.ClientSession | None = None
        self._told_proxies: set[str] = set()

    async def __aenter__(self) -> Self:
        config = self._config
        # Without a board there is no host of its own: all are the user's.
        is_open = config.allow_private and config.board is None
        own_host = config.board if config.allow_private else None
        self._session = self._open_session(None if is_open else AddressGuard(own_host))
        if self._config.proxies.by_scheme:
            # A proxy is the user's choice, and usually has a private address.
            self._proxy_session = self._open_session(None)
        return self

    def _open_session(self, guard: AddressGuard | None) -> aiohttp.ClientSession:
        config = self._config
        connector = aiohttp.TCPConnector(
            limit=0,  # connections are limited per host
            ttl_dns_cache=300,
            keepalive_timeout=30,
            resolver=None if guard is None else _Resolver(guard),
            socket_factory=None if guard is None else guard.socket,
        )
        return aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": config.user_agent},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=config.total_s, sock_connect=config.connect_s, sock_read=config.read_s
            ),
            read_bufsize=_CHUNK,
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in (self._session, self._proxy_session):
            if session is not None:
                await session.close()
        for machine in self._machines.values():
            machine.pace.close()

    def hosts_down(self) -> Mapping[str, str]:
        """Return the hosts that this run has given up, as `origin purpose`, with the reason."""
        return {
            f"{origin} {purpose}": state.down
            for origin, host in self._hosts.items()
            for purpose, state in host.states.items()
            if state.down
        }

    @property
    def was_banned(self) -> bool:
        """True if a host has banned us; then a refusal says nothing about the single file."""
        return any(host.has_banned_us for host in self._hosts.values())

    async def get(
        self,
        url: str,
        *,
        purpose: Purpose,
        max_bytes: int,
        reservation: Reservation | None = None,
        is_last: bool = True,
    ) -> Received | FailedTry:
        """Fetch one address, following at most five redirects.

        Waits for the host's rate limit and for pauses that it asked for, so being throttled is not a failure.

        Args:
            url: Address.
            purpose: Purpose of the request; files are subject to robots.txt.
            max_bytes: Maximum size of the body.
            reservation: Memory for the body; None if it is not counted.
            is_last: False if another address of the same file is left to try, so that an answer which may mean
                a missing file says nothing about the host yet.
        """
        bounds = self._bounds(max_bytes, reservation)
        for hop in range(MAX_REDIRECTS + 1):
            origin = origin_of(url)
            if origin is None:
                return FailedTry(kind=FailKind.BAD_URL, message=f"not an http address: {url[:200]}")
            if not self._may_go(url, purpose, is_redirect=hop > 0):
                return FailedTry(kind=FailKind.FOREIGN_HOST, message=_foreign(origin, purpose))
            if self._is_private_behind_proxy(url):
                return FailedTry(kind=FailKind.PRIVATE_ADDRESS, message=PRIVATE[0])
            host = self._hosts.get(origin) or await self._new_host(origin)
            if purpose is Purpose.FILE:
                refused = await self._robots_refusal(host, url)
                if refused is not None:
                    return refused
            outcome = await self._get_from(host, url, purpose, bounds=bounds, is_last=is_last)
            if not isinstance(outcome, Moved):
                return outcome
            key = self._config.key if purpose is Purpose.API else None
            target = outcome.url if key is None else key.removed_from(outcome.url)
            if target is None:
                return FailedTry(kind=FailKind.REDIRECTS, message="it redirects to an address with the API key")
            url = target
        return FailedTry(kind=FailKind.REDIRECTS, message=f"more than {MAX_REDIRECTS} redirects")

    def _is_private_behind_proxy(self, url: str) -> bool:
        config = self._config
        is_proxied = config.proxies.proxy_for(url) is not None
        is_allowed = config.allow_private and (
            config.board is None or host_name(url) == host_name(config.board)
        )
        return is_proxied and not is_allowed and names_private_host(url)

    def _route(self, url: str, purpose: Purpose) -> Route:
        proxy, key = self._config.proxies.proxy_for(url), self._config.key
        if proxy is not None and proxy.url not in self._told_proxies:
            self._told_proxies.add(proxy.url)
            self._on_notice(f"requests go through the proxy {proxy.url}, which the environment names")
        session = self._session if proxy is None else self._proxy_session
        assert session is not None
        goes_to_keyed_host = key is not None and origin_of(url) == key.origin
        return Route(
            session=session,
            proxy=proxy,
            key=key if purpose is Purpose.API and goes_to_keyed_host else None,
        )

    def _may_go(self, url: str, purpose: Purpose, *, is_redirect: bool) -> bool:
        if self._sites is None:
            return True
        is_named = purpose is Purpose.FILE and not is_redirect
        return self._sites.may_begin_at(url) if is_named else self._sites.may_lead_to(url)

    async def _new_host(self, origin: str) -> Host:
        """Return the state of a host, which shares its limits with the other ports and names of its machine."""
        name = host_name(origin)
        groups = [] if name in self._machines else await self._address_groups(origin)
        if origin in self._hosts:  # another task was faster
            return self._hosts[origin]
        keys = (name, *groups)
        machine = next((self._machines[key] for key in keys if key in self._machines), None)
        machine = machine or self._new_machine(name)
        for key in keys:
            self._machines.setdefault(key, machine)
        self._hosts[origin] = Host(
            origin,
            machine,
            policy=self._config.retry,
            on_pause=self._on_pause,
            on_notice=self._on_notice,
            clock=self._clock,
            sleep=self._sleep,
        )
        return self._hosts[origin]

    def _new_machine(self, name: str) -> Machine:
        config = self._config
        pace = Pace(
            name,
            rate=config.rate,
            api_rate=config.api_rate,
            directory=config.pace_dir,
            clock=self._clock,
            sleep=self._sleep,
        )
        if not pace.is_shared:
            self._on_notice(f"{config.pace_dir} cannot be used: other crawls on this machine are not counted")
        return Machine(pace=pace, slots=asyncio.Semaphore(config.connections))

    async def _address_groups(self, origin: str) -> list[str]:
        """Return the groups of addresses of a host; none if its name is not resolved here."""
        name = host_name(origin)
        with contextlib.suppress(ValueError):
            return [address_group(name)]
        if self._config.proxies.proxy_for(origin) is not None:  # the proxy resolves it
            return []
        with contextlib.suppress(OSError, UnicodeError, ValueError):
            async with asyncio.timeout(_RESOLVE_S):
                found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
                return sorted({address_group(str(address[0])) for *_, address in found})
        return []

    def _bounds(self, max_bytes: int, reservation: Reservation | None = None) -> Bounds:
        return Bounds(
            max_bytes=max_bytes,
            min_bytes_per_s=self._config.min_bytes_per_s,
            grace_s=self._config.grace_s,
            reservation=reservation,
        )

    async def _get_from(
        self, host: Host, url: str, purpose: Purpose, *, bounds: Bounds, is_last: bool = True
    ) -> Received | FailedTry | Moved:
        state = host.states[purpose]
        while not state.down:
            await host.wait_until_available(purpose)  # before taking one of its connections
            async with host.slots:
                await host.pace.turn(is_api=purpose is Purpose.API)
                if not host.begin(purpose):
                    continue
                was_probe = state.breaker.is_open
                try:
                    outcome = await self._request(
                        host, url, purpose, bounds=bounds, was_probe=was_probe, is_last=is_last
                    )
                finally:
                    if was_probe:
                        host.end_probe(purpose)
            if outcome is not None:
                return outcome
        return FailedTry(kind=FailKind.HOST_DOWN, message=state.down)

    async def _request(
        self, host: Host, url: str, purpose: Purpose, *, bounds: Bounds, was_probe: bool, is_last: bool
    ) -> Received | FailedTry | Moved | None:
        """Send one request and update the host's state; return None if the host asked for a pause."""
        sent_s = self._clock()
        route = self._route(url, purpose)
        outcome = await request(
            route, url, purpose=purpose, bounds=bounds, partials=self._partials, clock=self._clock
        )
        if isinstance(outcome, Throttled):
            host.throttled(outcome.status, outcome.retry_after, wall=self._wall())
            return None
        status = outcome.status if not isinstance(outcome, Moved) else None
        if not (is_last or was_probe) and may_be_missing(outcome):
            pass  # the next address of the file tells whether this is about the host
        elif is_refusal(outcome, purpose):
            host.refused(purpose, url, f"HTTP {status}")
        elif is_breakdown(outcome):
            message = outcome.message if isinstance(outcome, FailedTry) else f"HTTP {status}"
            host.failed(purpose, message, status=status, was_probe=was_probe)
        else:
            waited_s = outcome.waited_s if isinstance(outcome, Received) else self._clock() - sent_s
            host.answered(purpose, waited_s)
        return outcome

    async def may_crawl(self, url: str) -> bool | None:
        """Return whether the robots.txt of the host allows an address; None if it cannot be read."""
        origin = origin_of(url)
        if origin is None:
            return None
        robots = await self._robots_of(self._hosts.get(origin) or await self._new_host(origin))
        return None if robots is None else robots.can_fetch(url, PRODUCT)

    async def _robots_refusal(self, host: Host, url: str) -> FailedTry | None:
        robots = host.robots or await self._robots_of(host)
        if robots is None:
            return FailedTry(kind=FailKind.HOST_DOWN, message=host.states[Purpose.FILE].down)
        if robots.can_fetch(url, PRODUCT):
            return None
        return FailedTry(kind=FailKind.ROBOTS, message=f"{host.origin}/robots.txt forbids it")

    async def _robots_of(self, host: Host) -> Protego | None:
        """Return the robots.txt of a host, read once; None if it cannot be read."""
        async with host.robots_lock:
            if host.robots is None and not host.states[Purpose.FILE].down:
                await self._read_robots(host)
        return host.robots

    async def _read_robots(self, host: Host) -> None:
        """Read the robots.txt of a host.

        RFC 9309, 2.3.1: an unavailable file (4xx) allows everything, an unreachable one forbids everything.
        """
        tries = 0
        while True:
            outcome = await self._get_robots(host)
            tries += 1
            if not is_breakdown(outcome) and not host.states[Purpose.FILE].down:
                break
            if tries >= self._config.retry.tries or host.states[Purpose.FILE].down:
                message = outcome.message if isinstance(outcome, FailedTry) else ""
                host.give_up(f"{host.origin}/robots.txt cannot be read ({message})", Purpose.FILE)
                return
            await self._sleep(self._config.retry.longest_delay_s(tries))
        text = outcome.body.decode("utf-8", "replace") if isinstance(outcome, Received) else ""
        host.robots = Protego.parse(text)
        host.obey_crawl_delay(host.robots.crawl_delay(PRODUCT) or 0.0)

    async def _get_robots(self, host: Host) -> Received | FailedTry | Moved:
        outcome: Received | FailedTry | Moved = Moved(f"{host.origin}/robots.txt")
        for _ in range(MAX_REDIRECTS + 1):
            if not isinstance(outcome, Moved):
                break
            url = outcome.url
            outcome = await self._get_from(host, url, Purpose.FILE, bounds=self._bounds(MAX_ROBOTS_BYTES))
        return outcome
