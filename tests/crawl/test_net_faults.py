"""The network room against a server that misbehaves exactly as scripted. Time is a number here."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from alti2v.crawl.exchange import Purpose, Received
from alti2v.crawl.guard import is_public
from alti2v.crawl.net import Client, NetConfig
from alti2v.crawl.policy import FailKind, Failure, RetryPolicy

CONFIG = NetConfig(
    rate=math.inf,
    api_rate=math.inf,
    connections=4,
    allow_private=True,
    retry=RetryPolicy(tries=2, base_s=0.01, ceiling_s=0.01, pauses=3, failures=4, longest_pause_s=3600),
)


@dataclass
class Clock:
    """A clock that only sleeping moves."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def serve() -> Any:
    """Start a server with one handler for every path but robots.txt; its base URL comes back."""
    servers: list[TestServer] = []

    async def start(handler: Handler, *, robots: str | None = None) -> str:
        async def robots_txt(_: web.Request) -> web.Response:
            return web.Response(status=404) if robots is None else web.Response(text=robots)

        app = web.Application()
        app.router.add_get("/robots.txt", robots_txt)
        app.router.add_get("/{path:.*}", handler)
        server = TestServer(app, host="127.0.0.1")
        await server.start_server()
        servers.append(server)
        return str(server.make_url("")).rstrip("/")

    yield start
    for server in servers:
        await server.close()


async def got(
    url: str, *, config: NetConfig = CONFIG, max_bytes: int = 10_000, **client: Any
) -> Received | Failure:
    async with Client(config, **client) as session:
        return await session.get(url, purpose=Purpose.FILE, max_bytes=max_bytes)


def kind(outcome: object) -> FailKind:
    assert isinstance(outcome, Failure), outcome
    assert outcome.message
    return outcome.kind


async def drop(request: web.Request) -> web.StreamResponse:
    """Cut the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def test_a_whole_answer_comes_with_its_md5(serve: Any) -> None:
    """The bytes are the server's, hashed on the way."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 5000, headers={"X-Robots-Tag": "NoAI"})

    url = await serve(handler)

    assert await got(f"{url}/a.jpg") == Received(
        url=f"{url}/a.jpg",
        status=200,
        body=b"x" * 5000,
        md5=hashlib.md5(b"x" * 5000).hexdigest(),
        robots_tag="noai",
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [(404, FailKind.HTTP_404), (403, FailKind.FORBIDDEN), (500, FailKind.HTTP_5XX), (418, FailKind.HTTP_4XX)],
)
async def test_a_status_is_a_kind(serve: Any, status: int, expected: FailKind) -> None:
    """F06, F07: and the status is kept."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status)

    outcome = await got(await serve(handler) + "/a.jpg")

    assert kind(outcome) is expected
    assert isinstance(outcome, Failure)
    assert outcome.status == status


async def test_a_refused_connection_has_its_kind() -> None:
    """F01: nobody listens. robots.txt cannot be read either, so the host is given up, saying why."""
    url = f"http://127.0.0.1:{unused_port()}/a.jpg"
    async with Client(CONFIG) as client:
        api = await client.get(url, purpose=Purpose.API, max_bytes=10)
        file = await client.get(url, purpose=Purpose.FILE, max_bytes=10)

    assert kind(api) is FailKind.CONNECT
    assert kind(file) is FailKind.HOST_DOWN
    assert isinstance(file, Failure)
    assert "robots.txt cannot be read" in file.message


async def test_a_reset_has_its_kind(serve: Any) -> None:
    """F01: the server cuts the connection before an answer."""
    assert kind(await got(await serve(drop) + "/a.jpg")) is FailKind.RESET


async def test_a_short_body_is_never_taken_for_a_whole_one(serve: Any) -> None:
    """F02: fewer bytes than announced."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "5000"})
        await response.prepare(request)
        await response.write(b"x" * 1000)
        assert request.transport is not None
        request.transport.close()
        return response

    assert kind(await got(await serve(handler) + "/a.jpg")) is FailKind.TRUNCATED_BODY


async def test_a_hanging_body_times_out(serve: Any) -> None:
    """F03: headers come, then nothing."""
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "5000"})
        await response.prepare(request)
        await response.write(b"x")
        await release.wait()
        return response

    outcome = await got(await serve(handler) + "/a.jpg", config=replace(CONFIG, read_s=0.1))
    release.set()

    assert kind(outcome) is FailKind.TIMEOUT


async def test_a_slow_body_has_a_deadline_in_all(serve: Any) -> None:
    """F03, slow-loris: bytes that trickle in for ever do not hold a slot for ever."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "5000"})
        await response.prepare(request)
        for _ in range(200):
            await response.write(b"x")
            await asyncio.sleep(0.01)
        return response

    outcome = await got(await serve(handler) + "/a.jpg", config=replace(CONFIG, read_s=5, total_s=0.2))

    assert kind(outcome) is FailKind.TIMEOUT


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_cap_is_refused(serve: Any, announced: bool) -> None:
    """F10: by its announced length before a byte is read, or while streaming."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "5000000000"} if announced else {})
        await response.prepare(request)
        with_end = 100
        for _ in range(with_end):
            await response.write(b"x" * 1000)
        return response

    assert kind(await got(await serve(handler) + "/a.jpg", max_bytes=20_000)) is FailKind.TOO_LARGE


async def test_a_packed_bomb_counts_unpacked(serve: Any) -> None:
    """F10: the cap is on what comes out of Content-Encoding."""
    import gzip

    packed = gzip.compress(bytes(5_000_000))

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    assert len(packed) < 20_000
    assert kind(await got(await serve(handler) + "/a.jpg", max_bytes=20_000)) is FailKind.TOO_LARGE


async def test_redirects_are_followed_five_times(serve: Any) -> None:
    """F09: the sixth is one too many; the address of the answer is the last one."""

    async def handler(request: web.Request) -> web.Response:
        left = int(request.path[1:])
        return (
            web.Response(status=302, headers={"Location": f"/{left - 1}"}) if left else web.Response(body=b"x")
        )

    url = await serve(handler)
    near, far = await got(f"{url}/5"), await got(f"{url}/6")

    assert isinstance(near, Received)
    assert near.url == f"{url}/0"
    assert kind(far) is FailKind.REDIRECTS


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://u:p@127.0.0.1/"])
async def test_a_redirect_to_another_scheme_is_refused(serve: Any, target: str) -> None:
    """F09, F14: only plain http and https, without credentials."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": target})

    assert kind(await got(await serve(handler) + "/a.jpg")) is FailKind.BAD_URL


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
        *(
            "224.0.0.1",
            "::1",
            "fe80::1%eth0",
            "fc00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ),
        *("64:ff9b:1::a00:1", "::"),
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    """F14: private, loopback, link-local, shared, multicast, and IPv6 forms that carry such a one."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"])
def test_addresses_that_are_public(address: str) -> None:
    """The guard lets the internet through."""
    assert is_public(address)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:127.0.0.1]"])
async def test_private_addresses_are_refused_before_a_byte_is_sent(serve: Any, name: str) -> None:
    """F14: whatever the name looks like, the server never hears of it."""
    heard: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        heard.append(request.path)
        return web.Response()

    port = (await serve(handler)).rpartition(":")[2]
    async with Client(replace(CONFIG, allow_private=False)) as client:
        outcome = await client.get(f"http://{name}:{port}/secret", purpose=Purpose.API, max_bytes=10)

    # Odd spellings of an address are refused as such, before they are resolved.
    assert kind(outcome) in (FailKind.PRIVATE_ADDRESS, FailKind.BAD_URL)
    assert heard == []


@pytest.mark.parametrize("header", ["7", "Tue, 14 Jul 2026 03:33:27 GMT"])
async def test_a_throttled_host_is_left_alone_and_asked_again(serve: Any, header: str) -> None:
    """F04: Retry-After is obeyed to the second, and the file gets its bytes: it did not fail."""
    answers = [429, 503, 200]

    async def handler(_: web.Request) -> web.Response:
        status = answers.pop(0)
        return web.Response(status=status, body=b"x", headers={} if status == 200 else {"Retry-After": header})

    clock, told = Clock(), []
    outcome = await got(
        await serve(handler) + "/a.jpg",
        clock=clock,
        sleep=clock.sleep,
        wall=lambda: 1_784_000_000.0,
        on_pause=lambda why, seconds: told.append((why.rpartition(" asked ")[2], seconds)),
    )

    assert isinstance(outcome, Received)
    assert clock.slept == [7, 7]
    assert told == [("for silence (HTTP 429)", 7), ("for silence (HTTP 503)", 7)]


async def test_a_pause_holds_for_the_whole_host(serve: Any) -> None:
    """F04: while one file was told to wait, no other request goes to that host."""
    asked: list[tuple[float, str]] = []
    clock = Clock()

    async def handler(request: web.Request) -> web.Response:
        asked.append((clock.now, request.path))
        if len(asked) == 1:
            return web.Response(status=429, headers={"Retry-After": "30"})
        return web.Response(body=b"x")

    url = await serve(handler)
    async with Client(replace(CONFIG, connections=1), clock=clock, sleep=clock.sleep) as client:
        await asyncio.gather(*(client.get(f"{url}/{n}", purpose=Purpose.API, max_bytes=10) for n in range(5)))

    assert [at for at, _ in asked] == [0, 30, 30, 30, 30, 30]


async def test_a_host_that_throttles_for_ever_is_given_up(serve: Any) -> None:
    """F04, F05: after so many pauses in a row the run stops asking and says why."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=429)

    clock = Clock()
    async with Client(CONFIG, clock=clock, sleep=clock.sleep) as client:
        outcome = await client.get(await serve(handler) + "/a", purpose=Purpose.API, max_bytes=10)
        down = dict(client.hosts_down())

    assert kind(outcome) is FailKind.HOST_DOWN
    assert "keeps asking for silence (HTTP 429)" in next(iter(down.values()))
    assert clock.slept == [5, 10, 20]


async def test_a_host_that_fails_in_a_row_is_given_up(serve: Any) -> None:
    """F05: no hammering; an answer in between starts the count again."""
    statuses = [500, 500, 500, 404, 500, 403, 502, 500]
    asked: list[int] = []

    async def handler(_: web.Request) -> web.Response:
        asked.append(statuses[len(asked)])
        return web.Response(status=asked[-1])

    url = await serve(handler)
    async with Client(CONFIG) as client:
        outcomes = [await client.get(f"{url}/a", purpose=Purpose.FILE, max_bytes=10) for _ in range(12)]

    assert asked == statuses
    assert [kind(outcome) for outcome in outcomes[8:]] == [FailKind.HOST_DOWN] * 4


async def test_robots_txt_is_obeyed_for_files_and_asked_once(serve: Any) -> None:
    """F61: a forbidden file is not requested; the API's documented addresses follow the API's terms."""
    heard: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        heard.append(request.path)
        return web.Response(body=b"x")

    url = await serve(handler, robots="User-agent: alti2v\nDisallow: /images/\nUser-agent: *\nDisallow: /\n")
    async with Client(CONFIG) as client:
        refused = await client.get(f"{url}/images/a.jpg", purpose=Purpose.FILE, max_bytes=10)
        allowed = await client.get(f"{url}/samples/a.jpg", purpose=Purpose.FILE, max_bytes=10)
        api = await client.get(f"{url}/images/index.php", purpose=Purpose.API, max_bytes=10)

    assert kind(refused) is FailKind.ROBOTS
    assert isinstance(allowed, Received)
    assert isinstance(api, Received)
    assert heard == ["/samples/a.jpg", "/images/index.php"]


async def test_requests_are_paced_evenly_and_connections_bounded(serve: Any) -> None:
    """No second holds more requests than the rate, from the first one on; never more at once than allowed."""
    times: list[float] = []
    at_once = most = 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal at_once, most
        times.append(asyncio.get_running_loop().time())
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.03)
        at_once -= 1
        return web.Response(body=b"x")

    url = await serve(handler)
    async with Client(replace(CONFIG, rate=50.0, connections=2)) as client:
        await asyncio.gather(*(client.get(f"{url}/{n}", purpose=Purpose.API, max_bytes=9) for n in range(20)))

    assert times[-1] - times[0] >= 19 / 50
    assert max(sum(start <= at < start + 0.2 for at in times) for start in times) <= 11
    assert most <= 2


async def test_the_user_agent_is_honest(serve: Any) -> None:
    """It names the program and the contact; no cookie is ever sent back."""
    heard: list[web.Request] = []

    async def handler(request: web.Request) -> web.Response:
        heard.append(request)
        return web.Response(body=b"x", headers={"Set-Cookie": "a=b"})

    url = await serve(handler)
    async with Client(replace(CONFIG, contact="mailto:me@example.net")) as client:
        for _ in range(2):
            await client.get(f"{url}/a", purpose=Purpose.FILE, max_bytes=10)

    agent = heard[0].headers["User-Agent"]
    assert agent.startswith("alti2v/")
    assert agent.endswith("(+mailto:me@example.net)")
    assert "Cookie" not in heard[1].headers
    assert heard[0].transport is heard[1].transport  # kept alive


@pytest.mark.parametrize("url", ["http://", "javascript:x", "http://[::1", "http://a:b/", "//x", "http://:0/"])
async def test_addresses_that_are_none_are_refused(url: str) -> None:
    """One kind for all, and no exception."""
    assert kind(await got(url)) is FailKind.BAD_URL
