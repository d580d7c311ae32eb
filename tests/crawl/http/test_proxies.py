"""Proxies of the environment: used, said once, and no way around the guard against private addresses."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from alti2v.crawl.crawler import CrawlConfig
from alti2v.crawl.download.factory import net_config
from alti2v.crawl.http.client import Client
from alti2v.crawl.http.proxies import names_private_host, proxies_of_environment
from alti2v.crawl.http.results import Purpose, Received
from alti2v.crawl.http.retry import FailKind
from alti2v.errors import UsageError
from tests.crawl.helpers.http_client import CONFIG, kind
from tests.crawl.helpers.secrets import netrc


@dataclass
class ForwardProxy:
    """A forward proxy (RFC 9112, 3.2.2): requests come with whole addresses."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    accounts: list[str | None] = field(default_factory=list)


@pytest.fixture
async def proxy() -> AsyncIterator[ForwardProxy]:
    """Run a forward proxy that knows one site, http://board.example, itself."""
    running = ForwardProxy()

    async def forward(request: web.BaseRequest) -> web.StreamResponse:
        target = request.raw_path if hasattr(request, "raw_path") else ""
        running.asked.append(target)
        running.accounts.append(request.headers.get("Proxy-Authorization"))
        if target.startswith("http://board.example/"):
            return web.Response(text="forwarded")
        async with ClientSession() as session, session.get(target) as answer:
            return web.Response(body=await answer.read())

    runner = web.ServerRunner(web.Server(forward))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    running.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield running
    await runner.cleanup()


async def test_a_proxy_is_used_said_once_and_its_password_never_shown(
    proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests arrive there with the account, although the proxy's own address is private."""
    monkeypatch.setenv("http_proxy", proxy.url.replace("://", "://me:p%40ss@"))
    monkeypatch.setenv("no_proxy", "other.example")
    told: list[str] = []
    config = replace(CONFIG, proxies=proxies_of_environment(), allow_private=False)
    async with Client(config, on_notice=told.append) as client:
        for _ in range(2):
            answer = await client.get("http://board.example/posts.json", purpose=Purpose.API, max_bytes=99)
            assert isinstance(answer, Received)
            assert answer.body == b"forwarded"

    assert proxy.asked == ["http://board.example/posts.json"] * 2
    assert proxy.accounts == ["Basic " + base64.b64encode(b"me:p@ss").decode()] * 2
    assert told == [f"requests go through the proxy {proxy.url}, which the environment names"]
    assert "p@ss" not in repr(config)
    assert "p%40ss" not in repr(config)


async def test_the_guard_refuses_private_targets_behind_a_proxy(
    proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that is literally private is not sent to the proxy, whose network could reach it."""
    monkeypatch.setenv("all_proxy", proxy.url)
    config = replace(CONFIG, proxies=proxies_of_environment(), allow_private=False)
    async with Client(config) as client:
        for host in ("127.0.0.1:1", "10.0.0.1", "[::1]", "localhost", "a.localhost", "2130706433", "0x7f.1"):
            outcome = await client.get(f"http://{host}/posts.json", purpose=Purpose.API, max_bytes=99)
            assert kind(outcome) is FailKind.PRIVATE_ADDRESS

    assert proxy.asked == []


async def test_no_proxy_and_allow_private_are_obeyed(
    proxy: ForwardProxy, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --allow-private this machine is asked through the proxy; a host of no_proxy directly."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(text="direct or not")

    base = await serve(handler)
    monkeypatch.setenv("http_proxy", proxy.url)
    async with Client(replace(CONFIG, proxies=proxies_of_environment())) as client:
        await client.get(f"{base}/posts.json", purpose=Purpose.API, max_bytes=99)
    monkeypatch.setenv("no_proxy", "example.org,127.0.0.1")
    async with Client(replace(CONFIG, proxies=proxies_of_environment())) as client:
        await client.get(f"{base}/posts.json", purpose=Purpose.API, max_bytes=99)

    assert proxy.asked == [f"{base}/posts.json"]


@pytest.mark.parametrize(
    "value", ["socks5://me:p4ss@127.0.0.1:1080", "http://:p4ss@", "http://x:p4ss", "ftp://x"]
)
def test_a_proxy_that_is_none_is_told_without_its_password(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names the variable, not its value."""
    monkeypatch.setenv("https_proxy", value)

    with pytest.raises(UsageError, match="https_proxy is not the address of an HTTP proxy") as refused:
        proxies_of_environment()

    assert "p4ss" not in str(refused.value)


def test_a_key_does_not_pass_a_proxy_unencrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loopback board with a key is reached directly, or not at all."""
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    config = CrawlConfig(store=tmp_path / "store", board="http://127.0.0.1:8017", netrc=netrc(tmp_path))

    with pytest.raises(UsageError, match="would pass a proxy unencrypted"):
        net_config(config)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert net_config(config).key is not None


def test_public_literals_are_not_private() -> None:
    """Names and public addresses pass."""
    assert not any(
        map(names_private_host, ("http://board.example/", "http://1.1.1.1/", "https://localhost.example/"))
    )


def test_a_known_boards_pace_is_not_exceeded(tmp_path: Path) -> None:
    """rule34.xxx allows 60 API requests a minute, whatever --api-rate says; others have no such number."""
    rates = {
        board: net_config(CrawlConfig(store=tmp_path, board=board, api_rate=5)).api_rate
        for board in ("rule34", "gelbooru", "danbooru")
    }

    assert rates == {"rule34": 1.0, "gelbooru": 5, "danbooru": 5}
