"""Treatment of a host: pace, pauses, rests, and the end of requests. Time is a number here."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from alti2v.crawl.http.client import Client
from alti2v.crawl.http.results import Purpose, Received
from alti2v.crawl.http.retry import FailKind
from tests.crawl.helpers.http_client import CONFIG, Clock, answering, got, kind


@pytest.mark.parametrize("header", ["7", "Tue, 14 Jul 2026 03:33:27 GMT"])
async def test_f04_a_throttled_host_is_left_alone_and_asked_again(serve: Any, header: str) -> None:
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
    assert told == [("to pause (HTTP 429)", 7), ("to pause (HTTP 503)", 7)]


async def test_f04_a_pause_holds_for_the_whole_host(serve: Any) -> None:
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


async def test_f04_f05_a_host_that_throttles_for_ever_is_given_up(serve: Any) -> None:
    """F04, F05: after several pauses in a row the run stops asking and says why."""
    clock = Clock()
    async with Client(CONFIG, clock=clock, sleep=clock.sleep) as client:
        outcome = await client.get(await serve(answering(status=429)) + "/a", purpose=Purpose.API, max_bytes=10)
        down = dict(client.hosts_down())

    assert kind(outcome) is FailKind.HOST_DOWN
    assert "keeps asking to pause (HTTP 429)" in next(iter(down.values()))
    assert clock.slept == [5, 10, 20]


async def test_f05_a_host_that_fails_rests_is_probed_and_given_up(serve: Any) -> None:
    """Four failures, a rest; a probe, a rest twice as long; the second probe fails: no more requests."""
    statuses = [500, 500, 500, 404, 500, 503, 502, 500, 500, 500]
    asked: list[int] = []

    async def handler(_: web.Request) -> web.Response:
        asked.append(statuses[len(asked)])
        return web.Response(status=asked[-1])

    clock, told = Clock(), []
    url = await serve(handler)
    config = replace(CONFIG, retry=replace(CONFIG.retry, rest_s=30, probes=2))
    async with Client(
        config, clock=clock, sleep=clock.sleep, on_pause=lambda *pause: told.append(pause)
    ) as client:
        outcomes = [await client.get(f"{url}/a", purpose=Purpose.FILE, max_bytes=10) for _ in range(14)]
        down = dict(client.hosts_down())

    assert asked == statuses
    assert clock.slept == [30, 60]
    assert [kind(outcome) for outcome in outcomes[10:]] == [FailKind.HOST_DOWN] * 4
    assert told == [
        (f"{url} failed 4 times in a row (HTTP 500)", 30),
        (f"{url} failed 5 times in a row (HTTP 500)", 60),
    ]
    assert down == {f"{url} file": f"{url} failed 6 times in a row (last: HTTP 500)"}


async def test_f05_while_a_host_is_probed_everybody_waits(serve: Any) -> None:
    """Half open: one request finds out for all; when it goes well, all go on, and the API never had to stop."""
    asked: list[tuple[float, str]] = []
    clock = Clock()

    async def handler(request: web.Request) -> web.Response:
        asked.append((clock.now, request.path))
        return web.Response(status=500 if request.path.startswith("/bad") else 200, body=b"x")

    url = await serve(handler)
    async with Client(CONFIG, clock=clock, sleep=clock.sleep) as client:
        for _ in range(4):
            await client.get(f"{url}/bad", purpose=Purpose.FILE, max_bytes=10)
        api = await client.get(f"{url}/api", purpose=Purpose.API, max_bytes=10)
        at_api = clock.now
        files = await asyncio.gather(
            *(client.get(f"{url}/{n}", purpose=Purpose.FILE, max_bytes=10) for n in range(6))
        )

    assert isinstance(api, Received)
    assert at_api == 0
    assert all(isinstance(file, Received) for file in files)
    assert len(asked) == 4 + 1 + 6
    assert min(at for at, path in asked if path[1:].isdigit()) >= 30


async def test_f07_a_host_that_shuts_us_out_is_asked_no_more(serve: Any) -> None:
    """Many refusals in a row after good answers: given up for everything, with what to do; no probe."""
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=403 if request.path.startswith("/no") else 200, body=b"x")

    url = await serve(handler)
    config = replace(CONFIG, retry=replace(CONFIG.retry, refusals=5))
    async with Client(config) as client:
        for path in [
            "/yes",
            *["/no"] * 9,
            "/no1",
            "/no2",
            "/no3",
            "/yes",
        ]:  # single refusals say nothing about the host
            await client.get(url + path, purpose=Purpose.FILE, max_bytes=10)
        assert not client.was_banned
        refused = [await client.get(f"{url}/no{n}", purpose=Purpose.FILE, max_bytes=10) for n in range(9)]
        api = await client.get(f"{url}/api", purpose=Purpose.API, max_bytes=10)
        why = client.hosts_down()[f"{url} file"]

    assert [kind(outcome) for outcome in refused] == [FailKind.FORBIDDEN] * 5 + [FailKind.HOST_DOWN] * 4
    assert kind(api) is FailKind.HOST_DOWN
    assert len(asked) == 14 + 5
    assert "answered before, but now refuses everything (5 addresses in a row, last: HTTP 403)" in why
    assert "wait a day" in why


@pytest.mark.parametrize(
    "page",
    [
        {"status": 503, "headers": {"cf-mitigated": "challenge"}},
        {"text": "<!DOCTYPE html><title>Just a moment</title>", "content_type": "text/html"},
    ],
)
async def test_f07_challenge_pages_count_as_refusals(serve: Any, page: dict[str, Any]) -> None:
    """A challenge page is recognised by its header, or because it comes in place of a file."""
    url = await serve(answering(**page))
    config = replace(CONFIG, retry=replace(CONFIG.retry, refusals=3))
    async with Client(config) as client:
        for n in range(3):
            await client.get(f"{url}/{n}.jpg", purpose=Purpose.FILE, max_bytes=1000)

        assert client.was_banned


async def test_a_crawl_delay_is_obeyed_and_said(serve: Any) -> None:
    """robots.txt asks for time between requests: for us by name, or for everybody; at most five minutes."""
    handler = answering(body=b"x")
    for robots, delay in {
        "User-agent: *\nCrawl-delay: 7\n": 7,
        "User-agent: *\nCrawl-delay: 2\nUser-agent: alti2v\nCrawl-delay: 9\n": 9,
        "User-agent: *\nCrawl-delay: 86400\n": 300,
    }.items():
        clock = Clock()
        said: list[str] = []
        url = await serve(handler, robots=robots)
        async with Client(
            replace(CONFIG, rate=4.0), clock=clock, sleep=clock.sleep, on_notice=said.append
        ) as client:
            for n in range(3):
                await client.get(f"{url}/{n}", purpose=Purpose.FILE, max_bytes=10)

        assert clock.slept == pytest.approx([delay] * 3)
        assert said == [f"{url}/robots.txt asks for {delay} s between requests"]


@pytest.mark.parametrize("how", ["throttles", "breaks down", "slows down"])
async def test_a_host_that_suffers_is_asked_less_often(serve: Any, how: str) -> None:
    """Down at once when it complains or gets slow, up slowly when it is well, never above the rate."""
    clock = Clock()
    said: list[str] = []
    departures: list[float] = []
    suffering = False

    async def handler(_: web.Request) -> web.Response:
        nonlocal suffering
        departures.append(clock.now)
        if suffering and how == "throttles":
            suffering = False
            return web.Response(status=429, headers={"Retry-After": "0"})
        if suffering and how == "breaks down":
            return web.Response(status=503)
        clock.now += 5.0 if suffering else 0.1
        return web.Response(body=b"x")

    url = await serve(handler)
    async with Client(
        replace(CONFIG, rate=10.0), clock=clock, sleep=clock.sleep, on_notice=said.append
    ) as client:

        async def ask(times: int) -> None:
            for _ in range(times):
                await client.get(f"{url}/a", purpose=Purpose.API, max_bytes=10)

        await ask(40)
        suffering = True
        if how == "slows down":
            await ask(30)
        else:
            await ask(1)
        suffering = False
        slow = len(departures)
        await ask(600)

    gaps = [b - a for a, b in itertools.pairwise(departures)]
    assert said[0] == f"{url} is slow or overloaded: {10 * (0.7 if how == 'slows down' else 0.5):g} " + (
        "requests/s instead of 10"
    )
    assert said[-1] == f"{url} has recovered: 10 requests/s"
    assert max(gaps[slow : slow + 15]) >= 0.1 / 0.7
    assert min(gaps) >= 0.1
    assert gaps[-1] == pytest.approx(0.105)


async def test_f61_robots_txt_is_obeyed_for_files_and_asked_once(serve: Any) -> None:
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
