"""A crawl of hours of a board that never stops failing. Time is virtual: it jumps to what comes next."""

from __future__ import annotations

import asyncio
import functools
import selectors
import socket
import sys
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import web

from alti2v.crawl.boards.protocol import Dialect
from alti2v.crawl.crawler import CrawlConfig, crawl_board
from alti2v.crawl.http.client import Client
from alti2v.crawl.http.retry import RetryPolicy
from alti2v.crawl.verify import verify_store
from tests.crawl.helpers.scripted_board import ScriptedBoard

EACH = 0.02
FAULTS = ("503", "reset", "truncation", "slow-loris", "html", "empty")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer when neither sockets nor threads have anything left to bring."""

    ahead_s = 0.0

    def __init__(self) -> None:
        super().__init__()
        self._in_threads: set[asyncio.Future[Any]] = set()

    def time(self) -> float:
        return super().time() + self.ahead_s

    def run_in_executor(  # type: ignore[override]  # the base's type variables say nothing about `Any`
        self, executor: Any, func: Any, *args: Any
    ) -> Any:
        work = super().run_in_executor(executor, func, *args)
        self._in_threads.add(work)
        work.add_done_callback(self._in_threads.discard)
        return work

    def _run_once(self) -> None:
        state: Any = self
        if not state._ready and state._scheduled:
            # What a thread does takes real time, and no virtual time.
            events: list[tuple[selectors.SelectorKey, int]] = state._selector.select(
                1.0 if self._in_threads else 0
            )
            if events:
                state._process_events(events)
            elif not self._in_threads:
                # A cancelled timer may lie first: whoever jumps to it waits for the second one in earnest.
                due_s = min((timer._when for timer in state._scheduled if not timer._cancelled), default=0.0)
                self.ahead_s += max(0.0, due_s - self.time())
        super()._run_once()  # type: ignore[misc]


@dataclass
class FaultyBoard(ScriptedBoard):
    """Two percent each of six faults, drawn anew for every request."""

    rng: Random = field(default_factory=lambda: Random(7))
    struck: Counter[str] = field(default_factory=Counter)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        number = int(self.rng.random() / EACH)
        if number >= len(FAULTS):
            return await super()._handle(request)
        self.struck[FAULTS[number]] += 1
        match FAULTS[number]:
            case "503":
                return web.Response(status=503, text="<html>busy</html>", content_type="text/html")
            case "html":
                return web.Response(text="<html>a guard's page</html>", content_type="text/html")
            case "empty":
                return web.Response(text="")
        assert request.transport is not None
        if FAULTS[number] == "reset":
            request.transport.abort()
            return web.Response()
        response = web.StreamResponse(headers={"Content-Length": "4000"})
        await response.prepare(request)
        for _ in range(100 if FAULTS[number] == "slow-loris" else 0):
            await response.write(b"\xff")
            await asyncio.sleep(1.0)
        await response.write(b"\xff\xd8")
        request.transport.close()
        return response


def run_beside(board: FaultyBoard, listening: socket.socket, spent: list[float]) -> Any:
    """Replacement of `asyncio.run`: the board runs in the crawl's own loop, whose time is virtual."""

    async def both(work: Coroutine[Any, Any, bool]) -> bool:
        app = web.Application()
        app.router.add_get("/{path:.*}", board._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        begun_s = asyncio.get_running_loop().time()
        try:
            return await work
        finally:
            spent.append(asyncio.get_running_loop().time() - begun_s)
            await runner.cleanup()

    def run(work: Coroutine[Any, Any, bool]) -> bool:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(both(work))

    return run


@pytest.mark.parametrize(
    ("posts", "rate", "hours"),
    [
        pytest.param(200, 4.0, 0.02, id="quick"),
        pytest.param(4_000, 4.0, 1, id="proof", marks=pytest.mark.slow),
        pytest.param(10_000, 1.0, 24, id="a day", marks=pytest.mark.slow),
    ],
)
def test_a_long_crawl_of_a_failing_board_ends_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, posts: int, rate: float, hours: float
) -> None:
    """Every post is stored with the board's bytes, the sums are right, and nothing is damaged."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    board = FaultyBoard(ids=list(range(1, posts + 1)), page_cap=100)
    board.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    spent: list[float] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("alti2v.crawl.crawler.asyncio.run", run_beside(board, listening, spent))
    clocked = functools.partial(Client, clock=lambda: asyncio.get_running_loop().time())
    monkeypatch.setattr("alti2v.crawl.download.pool.Client", clocked)
    monkeypatch.setattr("alti2v.crawl.progress._BEAT_S", 60.0)  # or most of the real time would go into it
    begun_s = time.monotonic()
    report = crawl_board(
        CrawlConfig(
            store=tmp_path / "store",
            board=board.url,
            dialect=Dialect.GELBOORU,
            allow_private=True,
            rate=rate,
            api_rate=min(rate, 1.0),
            retry=RetryPolicy(tries=9),
        )
    )
    requests = len(board.requests) + board.struck.total()
    said = (
        f"{spent[0] / 3600:.1f} h in {time.monotonic() - begun_s:.0f} s: {requests:,} requests, {board.struck}"
    )
    sys.stdout.write(f"\n{said}\n")

    assert report.complete, report.missing
    assert (report.listed, report.stored + report.duplicate) == (posts, posts)
    assert set(board.struck) == set(FAULTS)
    assert spent[0] / 3600 >= hours
    assert requests / spent[0] <= rate
    assert verify_store(tmp_path / "store").findings == ()
