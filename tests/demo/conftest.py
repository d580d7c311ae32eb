"""Stand-in boards on free ports of 127.0.0.1, and a plain client to ask them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import aiohttp
import pytest
from multidict import CIMultiDictProxy

from alti2v.demo.board.app import BoardConfig, RunningBoard, start_board
from alti2v.demo.board.faults import Faults
from alti2v.demo.board.site import SITE, Site


@dataclass(frozen=True)
class Answer:
    """One answer, read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def xml(self) -> ElementTree.Element:
        return ElementTree.fromstring(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True)
class Asked:
    """A board that runs, and the client that asks it."""

    board: RunningBoard
    client: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return self.board.url

    @property
    def site(self) -> Site:
        return self.board.app[SITE]

    async def get(self, address: str, **headers: str) -> Answer:
        """Ask for a path of the board, or for a whole URL."""
        url = address if address.startswith("http") else self.board.url + address
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.get(url, headers=named, allow_redirects=False) as response:
            return Answer(response.status, response.headers, await response.read())

    async def api(self, **parameters: object) -> Answer:
        """Ask Gelbooru's software for posts."""
        query = "".join(f"&{name}={value}" for name, value in parameters.items())
        return await self.get(f"/index.php?page=dapi&s=post&q=index{query}")

    async def posts(self, **parameters: object) -> list[dict[str, Any]]:
        """Ask Gelbooru's software for posts in JSON."""
        answer = await self.api(json=1, **parameters)
        return answer.json if answer.body else []


Start = Callable[..., Coroutine[Any, Any, Asked]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a board; keywords are those of BoardConfig, or else of Faults."""
    begun: list[Asked] = []

    async def start_one(**options: Any) -> Asked:
        board_options = {name: options.pop(name) for name in list(options) if name in _BOARD_OPTIONS}
        config = BoardConfig(**{"posts": 120, "pictures": 6, **board_options}, faults=Faults(**options))
        asked = Asked(await start_board(config), aiohttp.ClientSession())
        begun.append(asked)
        return asked

    yield start_one
    for asked in begun:
        await asked.client.close()
        await asked.board.stop()


_BOARD_OPTIONS = ("posts", "pictures", "seed", "dialect", "port", "keep_targets")
