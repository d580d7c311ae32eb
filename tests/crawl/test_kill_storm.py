"""A hundred kill -9 at random moments of one crawl, with faults on (`make storm`)."""

from __future__ import annotations

import math
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from random import Random

import pandas as pd
import pytest
from aiohttp import web

from alti2v.crawl.crawler import CrawlConfig, CrawlReport, crawl_board
from alti2v.crawl.download.pipeline import files_in_flight
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.verify import verify_store
from tests.crawl.helpers.killed import QUICK, content
from tests.crawl.helpers.ledgers import ledger_rows
from tests.crawl.helpers.scripted_board import Answer, ScriptedBoard

POSTS, KILLS = 2_000, 100
FAULTS = 0.04  # of all files
RATE = 100  # requests/s: slow enough that the kills hit different parts of the crawl
CONNECTIONS = 4
TRIES = 4  # of one file in one run

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


def broken(rng: Random) -> Answer:
    """Return an invalid answer."""

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

    answers: list[Answer] = [
        reset,
        cut,
        lambda _: web.Response(status=500),
        lambda _: web.Response(status=503, text="<html>busy</html>", content_type="text/html"),
        lambda _: web.Response(text="<html>busy</html>", content_type="text/html"),
    ]
    return rng.choice(answers)


def finished(store: Path) -> set[int]:
    """Return the posts that are not pending in the ledger."""
    if not (store / "crawl.sqlite").exists():
        return set()
    with Ledger(store / "crawl.sqlite") as ledger:
        return {row["id"] for row in ledger_rows(ledger) if row["status"] != "pending"}


def files_of(requests: list[tuple[float, str]]) -> list[int]:
    """Return the posts whose files these requests are for."""
    matches = [re.search(r"_p(\d+)\.", path) for _, path in requests if path.startswith("/samples")]
    return [int(match[1]) for match in matches if match]


class Storm:
    """Kills of a crawl of a faulty board in a child process, each with a check of what it cost."""

    def __init__(self, site: ScriptedBoard, store: Path) -> None:
        self.most_lost = 0
        self._site = site
        self._store = store
        self._rng = Random(7)
        self._requests_left = 0
        self._due = threading.Event()
        site.after = self._count
        faults = [broken(self._rng) if self._rng.random() < FAULTS else None for _ in range(20 * POSTS)]
        site.script("/samples", *faults)

    def _count(self, _: ScriptedBoard, path: str) -> None:
        self._requests_left -= 1
        if self._requests_left == 0:
            self._due.set()

    def kill(self, kills: int) -> None:
        """Crawl, kill the crawl after a random number of requests, and check what it cost."""
        done, requests_before = finished(self._store), len(self._site.requests)
        # Fewer than the remaining files, or a crawl would end before it is killed.
        remaining = 2 * (POSTS - len(done)) // (KILLS - kills + 1)
        self._requests_left = self._rng.randint(1, max(1, remaining))
        self._due.clear()
        numbers = [str(number) for number in (RATE, TRIES, CONNECTIONS)]
        child = subprocess.Popen([sys.executable, "-c", CHILD, self._site.url, str(self._store), *numbers])
        assert self._due.wait(60), f"the crawl ended after {kills - 1} kills"
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL

        requested = Counter(files_of(self._site.requests[requests_before:]))
        again = requested.keys() & done
        assert not again, f"after kill {kills} stored files were requested again: {sorted(again)[:5]}"
        lost = requested.keys() - finished(self._store)  # in flight; the next crawl requests them again
        assert len(lost) <= files_in_flight(CONNECTIONS), f"kill {kills} cost {len(lost)} files"
        assert max(requested.values(), default=0) <= TRIES
        self.most_lost = max(self.most_lost, len(lost))


def finish(site: ScriptedBoard, store: Path) -> CrawlReport:
    """Crawl until only permanent failures are left."""
    config = CrawlConfig(
        store=store, board=site.url, rate=math.inf, api_rate=math.inf, allow_private=True, retry=QUICK
    )
    report = crawl_board(config)
    while not report.complete and report.missing.endswith("may pass"):
        report = crawl_board(config)
    return report


@pytest.mark.slow
def test_f31_a_storm_of_kills_costs_nothing(tmp_path: Path) -> None:
    """F31: the store equals an uninterrupted one; only failed files and those in flight are requested twice."""
    store = tmp_path / "killed"
    with ScriptedBoard(ids=list(range(1, POSTS + 1)), page_cap=100) as site:
        whole = finish(site, tmp_path / "whole")
        storm = Storm(site, store)
        for kills in range(1, KILLS + 1):
            storm.kill(kills)
        done, requests_before = finished(store), len(site.requests)
        resumed = finish(site, store)
        again = set(files_of(site.requests[requests_before:])) & done

    assert (whole.stored, resumed.stored, resumed.complete) == (POSTS, POSTS, True)
    assert not again
    pd.testing.assert_frame_equal(
        content(tmp_path / "whole").drop(columns=["attempts"]), content(store).drop(columns=["attempts"])
    )
    assert pd.read_parquet(tmp_path / "whole/tags.parquet").equals(pd.read_parquet(store / "tags.parquet"))
    assert verify_store(store).findings == ()
    assert storm.most_lost > 0  # or the limit above proves nothing
