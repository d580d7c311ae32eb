"""Helpers of the HTTP tests: a clock that only sleeping moves, and a client with little patience."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from alti2v.crawl.http.client import Client
from alti2v.crawl.http.config import NetConfig
from alti2v.crawl.http.results import Purpose, Received
from alti2v.crawl.http.retry import FailedTry, FailKind, RetryPolicy

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


def answering(**answer: Any) -> Handler:
    """Return a handler with the same answer to every request; the arguments are those of `web.Response`."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(**answer)

    return handler


async def got(
    url: str, *, config: NetConfig = CONFIG, max_bytes: int = 10_000, **client: Any
) -> Received | FailedTry:
    """Fetch one file with a client of its own."""
    async with Client(config, **client) as session:
        return await session.get(url, purpose=Purpose.FILE, max_bytes=max_bytes)


def kind(outcome: object) -> FailKind:
    """The kind of what has to be a failure."""
    assert isinstance(outcome, FailedTry), outcome
    assert outcome.message
    return outcome.kind


async def drop(request: web.Request) -> web.StreamResponse:
    """Cut the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
