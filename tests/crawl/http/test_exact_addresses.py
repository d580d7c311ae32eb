"""Addresses of files reach the server as the board gave them: servers compare signatures of their spelling."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from alti2v.crawl.http.request import exact_url
from alti2v.crawl.http.results import Received
from tests.crawl.helpers.http_client import got


@pytest.mark.parametrize(
    "target",
    [
        "/a%27b.png?e=1%2F2&m=%7Ex",
        "/a'b~(1).png?x=%41&y=a+b%20c",
        "/%E6%9D%B1/%e6%9d%b1.png",
        "/a/../b//c.png",
        "/a.png?sig=abc==&t=1,2;3",
    ],
)
async def test_the_spelling_of_an_address_is_kept(serve: Any, target: str) -> None:
    """Percent signs, signs that could be escaped, and dots arrive unchanged."""
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.Response(body=b"x")

    assert isinstance(await got(await serve(handler) + target), Received)
    assert seen == [target]


async def test_a_redirect_keeps_the_spelling(serve: Any) -> None:
    """The address in a redirect is signed as well."""
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        if len(seen) == 1:
            return web.Response(status=302, headers={"Location": "/b%27c.png?m=%2F"})
        return web.Response(body=b"x")

    assert isinstance(await got(await serve(handler) + "/a.png"), Received)
    assert seen[-1] == "/b%27c.png?m=%2F"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#\\"), max_size=40))
def test_printable_ascii_is_sent_as_it_is(text: str) -> None:
    """Nothing but white space, control characters and other alphabets is escaped."""
    assert exact_url(f"https://h.example/a{text}z").raw_path_qs == f"/a{text}z"


def test_what_http_cannot_carry_is_escaped() -> None:
    """The name in ASCII (IDNA), the rest as UTF-8 in percent signs."""
    assert str(exact_url("https://bücher.example/ä b?c=ü%41")) == (
        "https://xn--bcher-kva.example/%C3%A4%20b?c=%C3%BC%41"
    )
