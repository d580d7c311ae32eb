"""Ctrl-C on the command line: once lets requests in flight finish, twice ends at once; both can be resumed."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from alti2v.crawl.crawler import crawl_board
from alti2v.crawl.status import store_status
from alti2v.crawl.verify import verify_store
from alti2v.records import Progress
from tests.crawl.conftest import Board
from tests.crawl.helpers.command import start
from tests.crawl.helpers.crawling import QUICK, config, page
from tests.crawl.helpers.scripted_board import ScriptedBoard
from tests.helpers.patience import limit_s


def stalling_site(board: Board) -> tuple[ScriptedBoard, threading.Semaphore]:
    """Return a board whose files never come after the tenth, and what each request for one of them releases."""
    site = board()
    begun = threading.Semaphore(0)

    async def stalled(_: web.Request) -> web.StreamResponse:
        begun.release()
        await asyncio.sleep(60)
        return web.Response()

    site.script("/samples/", *[None] * 10, *[stalled] * 50)
    return site, begun


def test_ctrl_c_twice_stops_at_once(board: Board, tmp_path: Path) -> None:
    """The first waits for two files that never come, and says how to be quicker; the second does not wait."""
    site, begun = stalling_site(board)
    with start(site, tmp_path / "store") as process:
        assert process.stderr is not None
        assert all(begun.acquire(timeout=30) for _ in range(2))
        process.send_signal(signal.SIGINT)
        told = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=20)[1]
    site.scripts.clear()

    assert "finishing what is in flight; Ctrl-C again stops at once" in told
    assert process.returncode == 130
    assert "Traceback" not in rest, rest
    assert rest.splitlines()[-1].endswith("run the same command again to resume")
    assert verify_store(tmp_path / "store").findings == ()
    report = crawl_board(config(tmp_path / "store", site))
    assert (report.stored, report.complete) == (60, True)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_f32_a_signal_once_finishes_what_is_in_flight(
    board: Board, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """F32: requested files are stored, nothing more is requested, and the exit status says what happened."""
    answered = threading.Semaphore(0)

    def count(_: ScriptedBoard, path: str) -> None:
        if path.startswith("/samples/"):
            answered.release()

    site = board(ids=list(range(1, 1001)), after=count)
    with start(site, tmp_path / "store") as process:
        assert all(answered.acquire(timeout=30) for _ in range(20))
        process.send_signal(number)
        said = process.communicate(timeout=20)[1]
    found = store_status(tmp_path / "store")

    assert process.returncode == status
    assert said.splitlines()[-1].endswith("run the same command again to resume")
    assert len(site.asked("/samples/")) == found.stored < 1000
    assert found.last_run is not None
    assert found.last_run.ending == "interrupted"
    assert verify_store(tmp_path / "store").findings == ()


@pytest.mark.parametrize("rate", ["400", "50"])
def test_ctrl_c_ends_within_two_seconds_although_servers_stall(board: Board, tmp_path: Path, rate: str) -> None:
    """Two files that never come are left for the next run, in one process or two."""
    site, begun = stalling_site(board)
    with start(site, tmp_path / "store", "--rate", rate) as process:
        assert all(begun.acquire(timeout=30) for _ in range(2))
        begun_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=20)[1]
    took_s = time.monotonic() - begun_s
    site.scripts.clear()

    assert took_s < limit_s(2)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert told.splitlines()[-1].endswith("run the same command again to resume")
    assert store_status(tmp_path / "store").stored >= 10
    report = crawl_board(config(tmp_path / "store", site))
    assert (report.stored, report.complete) == (60, True)


def test_ctrl_c_while_the_board_is_looked_for(board: Board, tmp_path: Path) -> None:
    """Nothing is there to finish: no traceback, the usual status, and the folder can be used."""
    site = board()
    asked = threading.Event()

    def busy(_: web.Request) -> web.Response:
        asked.set()
        return web.Response(status=500)

    site.script("/", *[busy] * 50)
    with start(site, tmp_path / "store") as process:
        assert asked.wait(timeout=30)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[1]
    site.scripts.clear()

    assert process.returncode == 130
    assert "Traceback" not in said
    assert crawl_board(config(tmp_path / "store", site)).complete


def test_a_pause_is_shown_until_it_is_over(board: Board, tmp_path: Path) -> None:
    """A pause is shown with its reason and the seconds left, also while nothing else happens."""
    site = board(ids=[1, 3])
    site.script("/samples/", lambda _: web.Response(status=429, headers={"Retry-After": "3"}))
    seen: list[Progress] = []
    patient = replace(QUICK, longest_pause_s=2.5)
    crawl_board(config(tmp_path / "store", site, retry=patient), progress=seen.append)
    notes = [progress.note for progress in seen if progress.note]

    assert all("asked to pause (HTTP 429)" in note for note in notes)
    assert {note.rpartition(": ")[2] for note in notes} >= {"2 s left", "1 s left"}
    assert seen[-1].note == ""


def test_progress_says_what_waits_and_how_fast_bytes_come(board: Board, tmp_path: Path) -> None:
    """The listed posts are the finished and the queued ones; the columns keep their order."""
    site = board(page_cap=13)
    site.script("/images/3/p3", page(status=404))
    seen: list[Progress] = []
    crawl_board(config(tmp_path / "store", site), progress=seen.append)
    counts = [progress.counts for progress in seen if progress.stage == "crawling"]

    assert all(int(each["listed"]) >= int(each["queued"]) for each in counts)
    assert list(counts[-1])[:3] == ["listed", "queued", "stored"]
    assert (counts[-1]["listed"], counts[-1]["queued"], counts[-1]["stored"]) == (60, 0, 60)
    assert any(float(each["MB/s"]) > 0 for each in counts)
