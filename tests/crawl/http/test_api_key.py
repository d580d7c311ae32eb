"""API keys in requests: which addresses get them, and that nothing shows them."""

from __future__ import annotations

import copy
import pickle
from dataclasses import asdict, replace
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from alti2v.crawl.download.interface import DownloadConfig, FileRules
from alti2v.crawl.download.worker.messages import config_document, read_config
from alti2v.crawl.http.api_key import ApiKey, Secret
from alti2v.crawl.http.client import Client
from alti2v.crawl.http.proxies import Proxies, Proxy
from alti2v.crawl.http.results import Purpose, Received
from tests.crawl.helpers.http_client import CONFIG
from tests.crawl.helpers.secrets import ACCOUNT, SECRET, leaks_in

HOST = "https://api.board.example"
API = f"{HOST}/index.php?page=dapi&s=post&q=index"


def key_for(origin: str = HOST, secret: str = SECRET) -> ApiKey:
    return ApiKey(origin=origin, account=ACCOUNT, secret=Secret(secret), source="netrc")


def test_a_secret_has_no_representation_and_is_not_copied() -> None:
    """Neither repr, str nor formats show it; copies, pickles and asdict are refused."""
    key = key_for()

    assert not leaks_in(f"{key!r} {key} {key.secret!s} {replace(CONFIG, key=key)}".encode())
    for copying in (copy.deepcopy, pickle.dumps, asdict):
        with pytest.raises(TypeError):
            copying(key)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.board.example/index.php?page=dapi",
        "https://api.board.example:444/index.php?page=dapi",
        "https://img.board.example/posts.json",
        "https://board.example/posts.json",
        "https://api.board.example.evil.example/posts.json",
        "https://api.board.example@evil.example/posts.json",
        f"{HOST}/index.php?page=tags&s=list",
        f"{HOST}/images/1/a.jpg",
        f"{HOST}/robots.txt",
    ],
)
def test_no_other_address_gets_the_key(url: str) -> None:
    """Another scheme, port or host, and what is not the API."""
    assert key_for().sign(url) == (url, {})


@given(secret=st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=6))
def test_what_a_host_repeats_is_found_in_every_spelling(secret: str) -> None:
    """The address that was signed, inside a page, leaves no key behind; a redirect to it has none."""
    key = key_for(secret=secret)
    signed, _ = key.sign(API)
    _, headers = key.sign(f"{HOST}/posts.json")

    hidden = key.hidden_in_answer(f"<a href='{signed}'>{secret}</a> {headers}".encode())

    assert secret.encode() not in hidden.replace(b"[key]", b"")
    assert key.removed_from(signed) == API
    assert key.removed_from(f"{HOST}/elsewhere/{signed.partition('api_key=')[2]}") is None


def test_the_worker_gets_the_same_settings() -> None:
    """Key and proxies pass through the message to the worker process, which is not a command line."""
    proxy = Proxy(url="http://proxy.example:3128", account="me", password=Secret("p4ss"))
    net = replace(CONFIG, key=key_for(), proxies=Proxies(by_scheme={"https": proxy}, bypass="localhost"))
    config = DownloadConfig(net=net, rules=FileRules(original=True, max_bytes=9, memory_bytes=9), seed=1)

    assert read_config(config_document(config)) == config


async def test_a_redirect_on_the_same_host_is_signed_anew_and_kept_out_of_the_address(serve: Any) -> None:
    """The key arrives once at each step; the address in the result has none; files get none."""
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.path_qs)
        if len(asked) == 1:
            raise web.HTTPFound(f"{request.path_qs}&moved=1")
        return web.Response(text="x")

    base = await serve(handler)
    config = replace(CONFIG, key=key_for(base), board=base)
    async with Client(config) as client:
        outcome = await client.get(f"{base}/index.php?page=dapi", purpose=Purpose.API, max_bytes=99)
        await client.get(f"{base}/index.php?page=dapi", purpose=Purpose.FILE, max_bytes=99)

    assert isinstance(outcome, Received)
    assert outcome.url == f"{base}/index.php?page=dapi&moved=1"
    assert [path.count("api_key=") for path in asked] == [1, 1, 0]
