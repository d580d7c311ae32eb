"""A plain HTTP client of a stand-in board that runs in the same event loop."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from alti2v.demo.board.app import RunningBoard
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
class BoardClient:
    """A running board and a session that sends requests to it."""

    board: RunningBoard
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return self.board.url

    @property
    def site(self) -> Site:
        return self.board.app[SITE]

    @property
    def requests(self) -> Counter[str]:
        """Requests so far by path and query."""
        assert self.board.traffic.targets is not None
        return self.board.traffic.targets

    def index(self, post_id: int) -> int:
        """Index of a post that exists."""
        index = self.site.posts.find(post_id)
        assert index is not None
        return index

    async def get(self, address: str, **headers: str) -> Answer:
        """Request a path of the board, or a whole URL, exactly as it is spelled."""
        url = URL(address if address.startswith("http") else self.board.url + address, encoded=True)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(url, headers=named, allow_redirects=False) as response:
            return Answer(response.status, response.headers, await response.read())

    async def api(self, **parameters: object) -> Answer:
        """Search posts in Gelbooru's dialect."""
        query = "".join(f"&{name}={value}" for name, value in parameters.items())
        return await self.get(f"/index.php?page=dapi&s=post&q=index{query}")

    async def posts(self, **parameters: object) -> list[dict[str, Any]]:
        """Search posts in Gelbooru's dialect, in JSON."""
        answer = await self.api(json=1, **parameters)
        return list(answer.json) if answer.body else []

    async def tags(self, **parameters: object) -> list[ElementTree.Element]:
        """List tags in Gelbooru's dialect."""
        query = "".join(f"&{name}={value}" for name, value in parameters.items())
        answer = await self.get(f"/index.php?page=dapi&s=tag&q=index{query}")

        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/xml;charset=UTF-8"
        assert answer.xml.attrib == {"type": "array"}
        return list(answer.xml)


Start = Callable[..., Coroutine[Any, Any, BoardClient]]
