"""A dataset of 40 samples in six shards, built once, and served over HTTP on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from alti2v.dataset.build import build_shards
from alti2v.dataset.config import BuildConfig
from tests.dataset.helpers.tiny_store import TinyPost, tiny_posts, write_store

NOT_FETCHED = 900


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("readers")
    write_store(root / "store", [*tiny_posts(40), TinyPost(id=NOT_FETCHED, content=None)])
    build_shards(
        BuildConfig(
            store=root / "store",
            dataset=root / "dataset",
            size=32,
            test=6,
            validation=4,
            shard_samples=9,
            workers=1,
        )
    )
    return root / "dataset"


@dataclass(frozen=True)
class Served:
    """A folder on a loopback server; `sent` maps paths to the total size of the bodies sent for them."""

    url: str
    sent: dict[str, int] = field(default_factory=dict)


@pytest.fixture
def served(dataset: Path) -> Iterator[Served]:
    """aiohttp's own file server, which supports byte ranges, in a thread."""
    sent: dict[str, int] = {}

    async def count(request: web.Request, response: web.StreamResponse) -> None:
        if request.method == "GET":
            length = int(response.headers.get("Content-Length", 0))
            sent[request.path.lstrip("/")] = sent.get(request.path.lstrip("/"), 0) + length

    loop = asyncio.new_event_loop()
    application = web.Application()
    application.router.add_static("/", dataset)
    application.on_response_prepare.append(count)
    runner = web.AppRunner(application)

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port: int = runner.addresses[0][1]
        return port

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    yield Served(f"http://127.0.0.1:{port}", sent)
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()
