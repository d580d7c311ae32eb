"""One machine has one rate, whatever names and ports lead to it; private addresses are the board's alone."""

from __future__ import annotations

import asyncio
import itertools
import math
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from alti2v.crawl.http.client import Client
from alti2v.crawl.http.pacing.rate_limit import Pace
from alti2v.crawl.http.results import Purpose, Received
from alti2v.crawl.http.retry import FailKind
from alti2v.crawl.http.ssrf_guard import AddressGuard, PrivateAddressError, address_group
from tests.crawl.helpers.http_client import CONFIG, Clock, answering, kind

SHARED = replace(CONFIG, rate=1.0, api_rate=math.inf, board="http://one.board.example")


def resolve(monkeypatch: pytest.MonkeyPatch, names: Mapping[str, list[str]]) -> None:
    """Let these names have these addresses."""
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *others: Any, **named: Any) -> Any:
        if host not in names:
            return real(host, port, *others, **named)
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port or 0))
            for each in names[host]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


async def times_of(urls: list[str], *, config: Any = SHARED) -> list[float]:
    """The times at which a server is asked for these addresses, on a clock that only waiting moves."""
    clock = Clock()
    times = []
    async with Client(config, clock=clock, sleep=clock.sleep) as client:
        for url in urls:
            await client.get(url, purpose=Purpose.API, max_bytes=100)
            times.append(clock.now)
    return times


async def test_ports_of_a_host_share_its_rate(serve: Any) -> None:
    """A board that names sixty ports gets one request a second, not sixty."""
    urls = [f"{await serve(answering(body=b'x'))}/a" for _ in range(4)]
    times = await times_of(urls, config=replace(SHARED, board=urls[0]))

    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(times))


async def test_names_of_one_address_share_its_rate(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of the board's site that lead to one machine are one host; a machine of its own is another."""
    port = (await serve(answering(body=b"x"))).rpartition(":")[2]
    names = {f"{name}.board.example": ["127.0.0.1"] for name in ("one", "two", "three")}
    resolve(monkeypatch, names | {"other.board.example": ["127.0.0.9"]})
    config = replace(SHARED, board="http://one.board.example", allow_private=True)
    times = await times_of([f"http://{name}:{port}/a" for name in names], config=config)
    apart = await times_of(
        [f"http://{name}.board.example:{port}/a" for name in ("one", "other")], config=config
    )

    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(times))
    assert apart[0] == apart[1]


async def test_a_pause_holds_for_every_port(serve: Any) -> None:
    """A machine that asks for silence is not asked at another port."""
    heard: list[str] = []
    slept: list[float] = []
    are_both_waiting = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        heard.append(request.path)
        return web.Response(body=b"x")

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            tasks.append(asyncio.create_task(client.get(f"{second}/b", purpose=Purpose.API, max_bytes=10)))
        else:
            are_both_waiting.set()
        await asyncio.Event().wait()

    first, second = await serve(answering(status=429, headers={"Retry-After": "30"})), await serve(handler)
    async with Client(replace(CONFIG, board=first), clock=lambda: 0.0, sleep=sleep) as client:
        tasks = [asyncio.create_task(client.get(f"{first}/a", purpose=Purpose.API, max_bytes=10))]
        await asyncio.wait_for(are_both_waiting.wait(), 10)
        for task in tasks:
            task.cancel()

    assert slept == [30, 30]
    assert heard == []


async def test_a_pause_of_another_process_holds_from_the_next_request_on(serve: Any, tmp_path: Path) -> None:
    """A process that the host has never asked to pause reads of it before it sends a request."""
    clock = Clock()
    heard: list[float] = []

    async def handler(_: web.Request) -> web.Response:
        heard.append(clock.now)
        return web.Response(body=b"x")

    board = await serve(handler)
    other = Pace("127.0.0.1", rate=1.0, api_rate=math.inf, directory=tmp_path, clock=clock)
    config = replace(SHARED, board=board, pace_dir=tmp_path)
    async with Client(config, clock=clock, sleep=clock.sleep) as client:
        await client.get(f"{board}/a", purpose=Purpose.API, max_bytes=10)
        other.be_silent(30)
        await client.get(f"{board}/b", purpose=Purpose.API, max_bytes=10)
    other.close()

    assert heard[1] - heard[0] >= 30


async def test_allow_private_opens_only_the_boards_own_host(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other hosts that its API names cannot lead to the metadata of a cloud, or to a neighbour."""
    heard: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        heard.append(request.host.partition(":")[0])
        return web.Response(body=b"x")

    port = (await serve(handler)).rpartition(":")[2]
    hostile = ["169.254.169.254", "127.0.0.2", "fe80::1", "fd00:ec2::254"]
    resolve(monkeypatch, {"board.example": ["127.0.0.1"], "evil.board.example": hostile})
    config = replace(CONFIG, board=f"http://board.example:{port}", allow_private=True)
    async with Client(config) as client:
        own = await client.get(f"http://board.example:{port}/a", purpose=Purpose.FILE, max_bytes=10)
        others = [
            await client.get(f"http://{name}:{port}/a", purpose=Purpose.FILE, max_bytes=10)
            for name in ("evil.board.example", "169.254.169.254", "127.0.0.2", "[::ffff:127.0.0.2]")
        ]

    assert isinstance(own, Received)
    assert [kind(other) for other in others] == [FailKind.PRIVATE_ADDRESS] * 4
    assert "only the board's own host" in str(others[0])
    assert set(heard) == {"board.example"}


@pytest.mark.parametrize(
    ("own", "address", "is_allowed"),
    [
        ("http://10.0.0.5:8000", "10.0.0.5", True),
        ("http://10.0.0.5:8000", "::ffff:10.0.0.5", True),
        ("http://10.0.0.5:8000", "10.0.0.6", False),
        ("http://[fd00::5]/x", "fd00::5", True),
        ("http://169.254.169.254", "169.254.169.254", True),
        ("http://10.0.0.5", "1.1.1.1", True),
        (None, "10.0.0.5", False),
    ],
)
def test_the_guard_allows_public_addresses_and_its_own(own: str | None, address: str, is_allowed: bool) -> None:
    """A board that is given by its address is that address."""
    info = (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 80))
    guard = AddressGuard(own)
    if is_allowed:
        guard.socket(info).close()
    else:
        with pytest.raises(PrivateAddressError):
            guard.socket(info)


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("1.2.3.4", "::ffff:1.2.3.4", True),
        ("1.2.3.4", "1.2.3.5", False),
        ("2606:4700::1", "2606:4700::ffff:2", True),
        ("2606:4700::1", "2606:4700:0:1::1", False),
    ],
)
def test_a_network_of_64_bits_is_one_machine(one: str, other: str, are_one: bool) -> None:
    """Whoever has such a network can use any address in it."""
    assert (address_group(one) == address_group(other)) is are_one
