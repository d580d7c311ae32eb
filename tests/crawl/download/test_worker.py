"""The network in a separate process: it does what it does in ours, and it ends when we do."""

from __future__ import annotations

import asyncio
import functools
import json
import math
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from alti2v.crawl.crawler import CrawlConfig, crawl_board
from alti2v.crawl.download.interface import DownloadConfig, FileRules
from alti2v.crawl.download.worker import parent, shared_memory
from alti2v.crawl.download.worker.messages import (
    answer_document,
    config_document,
    read_answer,
    read_config,
    read_result,
    result_document,
)
from alti2v.crawl.download.worker.parent import DownloadWorker
from alti2v.crawl.http.config import NetConfig
from alti2v.crawl.http.results import Received
from alti2v.crawl.http.retry import FailedTry, FailKind, RetryPolicy
from alti2v.crawl.store.ledger.outcomes import Outcome
from alti2v.crawl.store.post_json import ReceivedFile
from alti2v.crawl.verify import verify_store
from alti2v.errors import Alti2vError
from alti2v.records import Status
from tests.crawl.conftest import Board
from tests.crawl.helpers.command import start
from tests.crawl.helpers.crawling import config, cut, page
from tests.crawl.helpers.scripted_board import ScriptedBoard

COUNTS = st.integers(0, 2**40)


def half_answer(half: bytes, _: web.Request) -> web.Response:
    return web.Response(body=half)


def sent(document: dict[str, Any]) -> Any:
    """Messages that arrive at the other end."""
    return json.loads(json.dumps(document))


@given(content=st.binary(max_size=99), text=st.text(), count=COUNTS)
def test_files_arrive_as_they_were_sent(content: bytes, text: str, count: int) -> None:
    """Facts arrive through JSON, and the bytes beside it."""
    file = ReceivedFile(requested=text, url=text, http_status=200, attempts=count, tries=3, content=content)

    assert read_result(sent(result_document(file)), memoryview(content)) == file


@given(status=st.sampled_from([Status.FAILED, Status.SKIPPED]), text=st.text(), count=COUNTS)
def test_failures_arrive_as_they_were_sent(status: Status, text: str, count: int) -> None:
    """Failures arrive with their words, whatever characters a server put into them."""
    outcome = Outcome(status=status, reason="robots", error=text, attempts=count, http_status=None)

    assert read_result(sent(result_document(outcome)), memoryview(b"")) == outcome


@given(body=st.binary(max_size=99), text=st.text(), kind=st.sampled_from(list(FailKind)))
def test_answers_arrive_as_they_were_sent(body: bytes, text: str, kind: FailKind) -> None:
    """Bodies and failures of the API alike."""
    for answer in (
        Received(url=text, status=503, body=body, robots_tag=text, waited_s=0.25),
        FailedTry(kind=kind, message=text, status=None),
    ):
        document, content = answer_document(answer)
        assert read_answer(sent(document), content) == answer


@pytest.mark.parametrize("pace_dir", [None, Path("some/where")])
def test_a_configuration_arrives_as_it_was_sent(pace_dir: Path | None) -> None:
    """Everything in it, rates without a bound included."""
    net = NetConfig(
        rate=math.inf, api_rate=0.5, connections=3, pace_dir=pace_dir, retry=RetryPolicy(tries=2, rest_s=0.1)
    )
    rules = FileRules(original=True, max_bytes=9, memory_bytes=99)
    whole = DownloadConfig(net=net, rules=rules, seed=5)

    assert read_config(sent(config_document(whole))) == whole


@given(batches=st.lists(st.lists(st.binary(max_size=50), max_size=700), max_size=3))
def test_a_tray_holds_what_was_put_there_last(batches: list[list[bytes]]) -> None:
    """More parts than one system call takes, and fewer than before; it keeps no more memory than it should."""
    buffer = shared_memory.make_buffer()
    try:
        for contents in batches:
            shared_memory.write_bodies(buffer, contents, keep=100)
            whole = b"".join(contents)

            assert shared_memory.read_bytes(buffer, len(whole)) == whole
            assert os.fstat(buffer).st_size <= max(100, len(whole))
    finally:
        os.close(buffer)


def rows(store: Path) -> pd.DataFrame:
    """The post table without what the order of arrival decides."""
    table = pd.read_parquet(store / "posts").set_index("id").sort_index()
    return table.drop(columns=["tar", "offset"])


def test_two_processes_store_what_one_does(tmp_path: Path) -> None:
    """Pictures, duplicates, retries, failures of several kinds and their words."""
    stores = [tmp_path / "here", tmp_path / "apart"]
    with ScriptedBoard(ids=list(range(1, 200)), page_cap=50) as site:
        for store, apart in zip(stores, (False, True), strict=True):
            site.script("/samples/3/sample_p10.", page(status=404))
            site.script("/images/3/p10.", page(status=404))
            site.script("/samples/3/sample_p17.", page(status=503))
            site.script("/samples/3/sample_p24.", cut)
            half = site.content(31, sample=True)[:-40]
            site.script("/samples/3/sample_p31.", functools.partial(half_answer, half))
            for address in ("/samples/3/sample_p38.", "/images/3/p38."):
                site.script(address, *[page("a guard's page")] * 3)
            report = crawl_board(config(store, site, download_in_worker=apart))

            assert report.complete, report.missing
            assert verify_store(store).findings == ()
    here, apart_from_it = (rows(store) for store in stores)

    assert set(here["status"]) == {"stored", "failed"}
    assert (here.loc[31, "status"], here.loc[31, "attempts"]) == ("stored", 2)
    assert (here.loc[38, "reason"], here.loc[38, "attempts"]) == ("not_image", 6)
    pd.testing.assert_frame_equal(here, apart_from_it)


def test_the_network_may_die(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear line, nothing stored is lost, and the same command goes on."""
    processes: list[subprocess.Popen[bytes]] = []
    started = parent._start

    def start_and_remember(*inherited: int) -> subprocess.Popen[bytes]:
        processes.append(started(*inherited))
        return processes[-1]

    def kill(_: ScriptedBoard, path: str) -> None:
        if len(processes) == 1 and path.startswith("/samples/") and len(site.asked("/samples/")) == 100:
            processes[0].kill()

    monkeypatch.setattr(parent, "_start", start_and_remember)
    site = board(ids=list(range(1, 301)), after=kill)
    with pytest.raises(Alti2vError, match="run the same command again"):
        crawl_board(config(tmp_path / "store", site, download_in_worker=True))
    resumed = crawl_board(config(tmp_path / "store", site, download_in_worker=True))

    assert (resumed.stored, resumed.complete) == (300, True)
    assert [process.returncode for process in processes] == [-signal.SIGKILL, 0]
    assert verify_store(tmp_path / "store").findings == ()


async def test_an_end_that_is_cancelled_leaves_no_process() -> None:
    """Ctrl-C twice, while the other process does not answer: it is killed, and waited for."""
    net = NetConfig(rate=math.inf, api_rate=math.inf, connections=1)
    rules = FileRules(original=True, max_bytes=9, memory_bytes=99)
    network = DownloadWorker(
        DownloadConfig(net=net, rules=rules, seed=5),
        on_pause=lambda _why, _seconds: None,
        on_notice=lambda _words: None,
    )
    await network.__aenter__()
    network._process.send_signal(signal.SIGSTOP)
    ending = asyncio.create_task(network.__aexit__(None, None, None))
    await asyncio.sleep(0)  # it waits
    ending.cancel()
    await asyncio.wait([ending])

    assert ending.cancelled()
    assert network._process.returncode == -signal.SIGKILL


def test_the_network_ends_with_its_parent(board: Board, tmp_path: Path) -> None:
    """A killed parent cannot tell the worker; the worker still ends, and closes the standard error of both."""

    def kill(_: ScriptedBoard, path: str) -> None:
        if path.startswith("/samples/"):
            process.kill()

    site = board(ids=list(range(1, 301)), after=kill)
    with start(site, tmp_path / "store") as process:
        process.communicate(timeout=20)  # ends when the last process has closed it

    assert process.returncode == -signal.SIGKILL
    assert 0 < len(site.asked("/samples/")) < 300


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({}, False),
        ({"rate": 100.0}, False),
        ({"rate": math.inf}, True),
        ({"rate": math.inf, "files": "none"}, False),
        ({"rate": math.inf, "download_in_worker": False}, False),
    ],
)
def test_only_fast_crawls_take_a_second_process(wishes: dict[str, Any], expected: bool) -> None:
    """Polite ones have no use for it."""
    assert CrawlConfig(store=Path("store"), board="safebooru", **wishes).uses_worker is expected
