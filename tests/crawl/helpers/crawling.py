"""Crawls of scripted boards, and what they leave: shared by the tests of the crawl."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from aiohttp import web

from alti2v.crawl.crawler import CrawlConfig
from alti2v.crawl.http.retry import RetryPolicy
from tests.crawl.helpers.scripted_board import ScriptedBoard

QUICK = RetryPolicy(tries=3, base_s=0.001, ceiling_s=0.002, throttle_s=0.01, longest_pause_s=0.02)


def config(store: Path, board: ScriptedBoard, **wishes: Any) -> CrawlConfig:
    settings: dict[str, Any] = {"rate": math.inf, "api_rate": math.inf, "allow_private": True, "retry": QUICK}
    settings["download_in_worker"] = False  # saves 0.4 s each; test_worker compares the two forms
    return CrawlConfig(store=store, board=board.url, **(settings | wishes))


def posts(store: Path) -> pd.DataFrame:
    return pd.read_parquet(store / "posts").set_index("id").sort_index(ascending=False)


def pictures(store: Path) -> dict[int, bytes]:
    """The bytes that the post table points at."""
    found: dict[int, bytes] = {}
    for number, row in posts(store).iterrows():
        if row["status"] == "stored":
            with (store / f"images/images-{int(row['tar']):06d}.tar").open("rb") as file:
                file.seek(int(row["offset"]))
                found[int(str(number))] = file.read(int(row["size"]))
    return found


def page(text: str = "<html>busy</html>", status: int = 200) -> Callable[[web.Request], web.Response]:
    return lambda _: web.Response(text=text, status=status, content_type="text/html")


async def cut(request: web.Request) -> web.StreamResponse:
    """Announce a body, send half of it."""
    response = web.StreamResponse(headers={"Content-Length": "4000"})
    await response.prepare(request)
    await response.write(b"\xff\xd8" + b"x" * 500)
    assert request.transport is not None
    request.transport.close()
    return response
