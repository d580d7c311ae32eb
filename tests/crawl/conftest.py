"""Fixtures of the crawl's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.crawl.helpers.http_client import Handler
from tests.crawl.helpers.scripted_board import ScriptedBoard

Board = Callable[..., ScriptedBoard]


@pytest.fixture
def board() -> Iterator[Board]:
    """Start scripted boards; they end with the test."""
    running: list[ScriptedBoard] = []

    def start(**wishes: Any) -> ScriptedBoard:
        wishes.setdefault("ids", list(range(1, 120, 2)))
        running.append(ScriptedBoard(**wishes).__enter__())
        return running[-1]

    yield start
    for each in running:
        each.__exit__()


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
