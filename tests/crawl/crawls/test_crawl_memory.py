"""Memory is bounded in bytes, whatever arrives, and nothing waits endlessly."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from alti2v.crawl.crawler import CrawlConfig, crawl_board
from alti2v.crawl.http.memory_budget import MemoryBudget, Reservation
from tests.crawl.helpers.scripted_board import ScriptedBoard, picture

MB = 1_000_000


@settings(max_examples=60)
@given(sizes=st.lists(st.integers(0, 120), max_size=40), seed=st.integers(0, 9))
async def test_no_more_is_taken_than_there_is(sizes: list[int], seed: int) -> None:
    """Whatever the sizes and the order; everybody gets room, and all of it comes back."""
    memory, rng, done = MemoryBudget(100), Random(seed), 0

    async def body(size: int) -> None:
        nonlocal done
        reservation = Reservation(memory)
        await reservation.acquire(size)
        assert 0 <= memory.free <= 100
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
        reservation.shrink(rng.randrange(size + 1))
        await asyncio.sleep(0)
        reservation.release()
        done += 1

    async with asyncio.timeout(5):
        await asyncio.gather(*(body(size) for size in sizes))

    assert (done, memory.free) == (len(sizes), 100)


async def test_who_gives_up_waiting_leaves_no_hole() -> None:
    """A cancelled wait neither keeps room nor holds up those behind it."""
    memory = MemoryBudget(10)
    await memory.acquire(8)
    first = asyncio.create_task(memory.acquire(10))
    second = asyncio.create_task(memory.acquire(5))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    memory.release(8)
    await second

    assert memory.free == 5


CHILD = """
import json, math, resource, sys
from pathlib import Path
from alti2v.crawl.crawler import CrawlConfig, crawl_board
url, store, memory = sys.argv[1:]
report = crawl_board(CrawlConfig(store=Path(store), board=url, rate=math.inf, api_rate=math.inf, connections=8,
                           allow_private=True, memory_bytes=int(memory), max_file_bytes=int(memory)))
# Not getrusage for itself: its ru_maxrss starts from that of the process that began this one.
own = int(Path("/proc/self/status").read_text(encoding="ascii").partition("VmHWM:")[2].split()[0])
print(json.dumps([report.stored, (own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1000]))
"""


def crawl_apart(url: str, store: Path, *, memory: int) -> tuple[int, float]:
    """Crawl apart: files stored, and the peak RSS of its two processes together in MB."""
    command = [sys.executable, "-c", CHILD, url, str(store), str(memory)]
    stored, rss_mb = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60).stdout)
    return stored, rss_mb


def test_large_pictures_do_not_add_up(tmp_path: Path) -> None:
    """32 pictures of 10 MB, 8 connections and 32 fetchers: the peak grows by the budget and two batches of two.

    One is in both processes while it is handed over, and what was stored stays mapped until the next one comes.
    """

    class Large(ScriptedBoard):
        def content(self, number: int, *, sample: bool) -> bytes:
            return super().content(number, sample=sample).ljust(10 * MB, b"#") + b"\xff\xd9"

    with ScriptedBoard(ids=list(range(1, 33))) as small:
        usual = crawl_apart(small.url, tmp_path / "small", memory=30 * MB)
    with Large(ids=list(range(1, 33))) as large:
        peak = crawl_apart(large.url, tmp_path / "large", memory=30 * MB)

    assert (usual[0], peak[0]) == (32, 32)
    assert peak[1] - usual[1] < 30 + 2 * 20 + 20  # 20 MB: a body that is joined, and what malloc keeps


def test_lengths_that_are_not_announced_count_as_the_largest_allowed(tmp_path: Path) -> None:
    """Chunked answers: one at a time where only one would fit, and none is lost."""

    async def chunked(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        content = picture(int(request.path.rpartition("_p")[2].partition(".")[0]), width=16, height=12)
        await response.write(content)
        await response.write_eof()
        return response

    with ScriptedBoard(ids=list(range(1, 21))) as site:
        site.script("/samples", *[chunked] * 20)
        config: dict[str, Any] = {"rate": math.inf, "api_rate": math.inf, "allow_private": True}
        report = crawl_board(
            CrawlConfig(
                store=tmp_path / "store", board=site.url, memory_bytes=50_000, max_file_bytes=50_000, **config
            )
        )

    assert (report.stored, report.complete) == (20, True)
