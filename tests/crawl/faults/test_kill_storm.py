"""A hundred kill -9 at random moments of one crawl, with faults on (`make storm`)."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest
from aiohttp import web

from alti2v.crawl.crawler import crawl_board
from alti2v.crawl.download.pipeline import files_in_flight
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.verify import verify_store
from tests.crawl.helpers.crawling import config
from tests.crawl.helpers.killed import content
from tests.crawl.helpers.ledgers import ledger_rows
from tests.crawl.helpers.scripted_board import ScriptedBoard

POSTS, KILLS = 2_000, 100
FAULTS = 0.04  # of all files
RATE = 100  # requests/s: slow enough that a hundred lives see different parts of the crawl
CONNECTIONS = 4
TRIES = 4  # of one file in one life

CHILD = """
import sys
from pathlib import Path
from alti2v.crawl.crawler import CrawlConfig, crawl_board
from alti2v.crawl.http.retry import RetryPolicy

url, store, *numbers = sys.argv[1:]
rate, tries, connections = map(int, numbers)
quick = RetryPolicy(tries=tries, base_s=0.001, ceiling_s=0.002)
crawl_board(CrawlConfig(store=Path(store), board=url, rate=rate, api_rate=rate, allow_private=True,
                  connections=connections, shard_bytes=300_000, retry=quick))
"""


def broken(rng: Random) -> Callable[[web.Request], Any]:
    """An answer that is none."""

    async def reset(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "5000"})
        await response.prepare(request)
        await response.write(b"\xff\xd8 half")
        assert request.transport is not None
        request.transport.close()
        return response

    return rng.choice(
        [
            reset,
            cut,
            lambda _: web.Response(status=500),
            lambda _: web.Response(status=503, text="<html>busy</html>", content_type="text/html"),
            lambda _: web.Response(text="<html>busy</html>", content_type="text/html"),
        ]
    )


def finished(store: Path) -> set[int]:
    """The posts that the ledger has done with."""
    if not (store / "crawl.sqlite").exists():
        return set()
    with Ledger(store / "crawl.sqlite") as ledger:
        return {row["id"] for row in ledger_rows(ledger) if row["status"] != "pending"}


def file_of(path: str) -> int | None:
    """The post whose file a request is for."""
    match = re.search(r"_p(\d+)\.", path)
    return int(match[1]) if match and path.startswith("/samples") else None


@pytest.mark.slow
def test_f31_a_storm_of_kills_costs_nothing(tmp_path: Path) -> None:
    """F31: the store equals an uninterrupted one; only faults, and what was in flight, are asked for twice."""
    rng, store = Random(7), tmp_path / "killed"
    numbers = [str(number) for number in (RATE, TRIES, CONNECTIONS)]
    enough, left = threading.Event(), [0]

    def count(_: ScriptedBoard, path: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            enough.set()

    kills = most_lost = 0
    with ScriptedBoard(ids=list(range(1, POSTS + 1)), page_cap=100) as site:
        whole = crawl_board(config(tmp_path / "whole", site))
        site.after = count
        answers: list[Callable[[web.Request], Any] | None] = [
            broken(rng) if rng.random() < FAULTS else None for _ in range(20 * POSTS)
        ]
        site.script("/samples", *answers)
        while kills < KILLS:
            done, asked_before = finished(store), len(site.requests)
            # Fewer than there are files left, or a crawl would end before it is killed a hundred times.
            left[0] = rng.randint(1, max(1, 2 * (POSTS - len(done)) // (KILLS - kills + 1)))
            enough.clear()
            child = subprocess.Popen([sys.executable, "-c", CHILD, site.url, str(store), *numbers])
            assert enough.wait(60), f"the crawl ended after {kills} kills"
            child.send_signal(signal.SIGKILL)
            assert child.wait() == -signal.SIGKILL
            kills += 1
            files = (file_of(path) for _, path in site.requests[asked_before:])
            asked = Counter(file for file in files if file is not None)
            again = asked.keys() & done
            assert not again, f"after kill {kills} stored files were asked for again: {sorted(again)[:5]}"
            # What the next life has to ask for again is what was in flight.
            lost = asked.keys() - finished(store)
            assert len(lost) <= files_in_flight(CONNECTIONS), f"kill {kills} cost {len(lost)} files"
            assert max(asked.values(), default=0) <= TRIES
            most_lost = max(most_lost, len(lost))
        before_last = finished(store)
        asked_before = len(site.requests)
        resumed = crawl_board(config(store, site))
        while not resumed.complete and resumed.missing.endswith("may pass"):
            resumed = crawl_board(config(store, site))
        stored_again = {file_of(path) for _, path in site.requests[asked_before:]} & before_last

    assert (whole.stored, resumed.stored, resumed.complete) == (POSTS, POSTS, True)
    assert not stored_again
    pd.testing.assert_frame_equal(
        content(tmp_path / "whole").drop(columns=["attempts"]), content(store).drop(columns=["attempts"])
    )
    assert pd.read_parquet(tmp_path / "whole/tags.parquet").equals(pd.read_parquet(store / "tags.parquet"))
    assert verify_store(store).findings == ()
    assert most_lost > 0  # or the bound above says nothing
