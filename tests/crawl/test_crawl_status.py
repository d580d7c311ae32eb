"""Status of a crawl from its store: `alti2v status`, and the log file."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from alti2v.cli import main
from alti2v.crawl.crawler import crawl_board
from alti2v.crawl.importing.config import ImportConfig
from alti2v.crawl.importing.sources.detect import SourceForm
from alti2v.crawl.run_log import begin_run, log_failures, open_log
from alti2v.crawl.status import store_status
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.ledger.outcomes import Outcome, Pending
from alti2v.crawl.store.post_json import FileRequest
from alti2v.crawl.store.writer import MissingFile
from alti2v.errors import DamagedError, UsageError
from alti2v.records import Post, Progress, Status
from alti2v.storage.layout import CRAWL_LOG_FILE, LEDGER_FILE
from tests.crawl.conftest import Board
from tests.crawl.helpers.crawling import config, page


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Output of a command that succeeds."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))

    assert ended.value.code == 0
    return capsys.readouterr().out


def test_status_adds_up(board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every outcome, the board's own count, the last run; as text and as JSON."""
    site = board(extension={1: "mp4"})
    site.script("/images/3/p3", page(status=404))
    site.script("/samples/3/sample_p3", page(status=404))
    crawl_board(config(tmp_path / "store", site, tags="1girl"))
    text = printed(capsys, "status", str(tmp_path / "store"))
    found = json.loads(printed(capsys, "status", str(tmp_path / "store"), "--json"))

    assert re.search(r"^listed +60\n  stored +58  \(\d+\.\d kB\)$", text, re.MULTILINE)
    assert re.search(r"^  skipped: video +1$", text, re.MULTILINE)
    assert re.search(r"^  failed: http_404 +1$", text, re.MULTILINE)
    assert re.search(r"^listing +complete \(the board counted 60\)$", text, re.MULTILINE)
    assert re.search(r"^crawl +not running$", text, re.MULTILINE)
    assert re.search(r"^last run .* 58 new files, complete$", text, re.MULTILINE)
    assert (found["listed"], found["stored"], found["failed"]) == (60, 58, {"http_404": 1})
    assert (found["plan"]["tags"], found["last_run"]["ending"]) == ("1girl", "complete")


def test_status_names_the_limit_that_ended_a_crawl(board: Board, tmp_path: Path) -> None:
    """A listing that --limit ended is not shown as one that was cut short."""
    crawl_board(config(tmp_path / "store", board(), limit=10))

    assert store_status(tmp_path / "store").listing == "stopped at --limit 10"


def test_status_while_a_crawl_runs(board: Board, tmp_path: Path) -> None:
    """Status reads a running crawl from another connection, without disturbing it."""
    seen: list[Any] = []

    def look(progress: Progress) -> None:
        if progress.counts.get("stored", 0) and not seen:
            seen.append(store_status(tmp_path / "store"))

    report = crawl_board(config(tmp_path / "store", board(page_cap=7)), progress=look)

    assert report.complete
    assert seen[0].process == str(os.getpid())
    assert seen[0].last_run is not None
    assert seen[0].last_run.ended_at is None
    assert 0 < seen[0].stored <= seen[0].listed <= 60


def test_status_of_what_is_no_store(board: Board, tmp_path: Path) -> None:
    """Another folder is a usage error, a store without its ledger a damaged one."""
    with pytest.raises(UsageError, match="is not a store"):
        store_status(tmp_path)
    crawl_board(config(tmp_path / "store", board(ids=[1])))
    (tmp_path / "store" / LEDGER_FILE).unlink()

    with pytest.raises(DamagedError, match=r"verify .* --repair"):
        store_status(tmp_path / "store")


def test_the_log_says_what_happened(board: Board, tmp_path: Path) -> None:
    """A line each for the start with its options, pauses, failed posts, and the end with its sums."""
    site = board(ids=[1, 3, 5])
    site.script("/samples/1/", page(status=429))
    site.script("/samples/3/", page(status=404))
    site.script("/images/3/", page(status=404))
    crawl_board(config(tmp_path / "store", site, contact="mailto:me@example.net", api_rate=100.0))
    lines = (tmp_path / "store" / CRAWL_LOG_FILE).read_text().splitlines()
    events = [line.split(" ", 1)[1] for line in lines]

    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line) for line in lines)
    assert events[0].startswith("begin: alti2v ")
    assert f"board {site.url}, " in events[0]
    assert "api_rate 100.0" in events[0]
    assert any(event.startswith("pause: ") and "HTTP 429" in event for event in events)
    assert "failed: post 3, http_404: HTTP 404" in events
    assert events[-1] == "end: complete; listed 3, stored 2, duplicate 0, failed http_404 1, pending 0"


def test_the_log_writes_options_and_failures_as_plain_text(tmp_path: Path) -> None:
    """No Python notation, and the kind of a failure once, although the message of some begins with it."""
    config = ImportConfig(
        store=tmp_path / "store", sources=(tmp_path, tmp_path), form=SourceForm.FOLDER, by_reference=True
    )
    request = FileRequest(0, 0, sample_url=None, file_url=None)
    kinds = (("truncated_body", "truncated_body: it ends early"), ("reset", "reset"), ("http_404", "HTTP 404"))
    failures = [
        MissingFile(
            pending=Pending(post=Post(7), request=request),
            outcome=Outcome(status=Status.FAILED, reason=kind, error=error, attempts=1),
        )
        for kind, error in kinds
    ]
    with open_log(tmp_path) as log, Ledger(tmp_path / "ledger.sqlite") as ledger:
        begin_run(ledger, log, config)
        log_failures(log, failures)
    begin, *failed = (tmp_path / CRAWL_LOG_FILE).read_text().splitlines()

    assert begin.endswith(f"sources {tmp_path} {tmp_path}, form folder, by_reference yes")
    assert [line.partition("post 7, ")[2] for line in failed] == [
        "truncated_body: it ends early",
        "reset",
        "http_404: HTTP 404",
    ]


def test_the_log_is_bounded_and_each_event_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a board sends: three files, and no forged lines."""
    monkeypatch.setattr("alti2v.crawl.run_log._LOG_BYTES", 2_000)
    with open_log(tmp_path) as log:
        for number in range(200):
            log.info("failed: post %d, %s", number, "evil\n2026-01-01T00:00:00Z end: complete\x1b[2J")
    files = sorted(tmp_path.glob("crawl.log*"))

    assert [file.name for file in files] == ["crawl.log", "crawl.log.1", "crawl.log.2"]
    assert sum(file.stat().st_size for file in files) <= 6_000
    assert all(
        re.match(r"\S+Z failed: post \d+, evil 2026", line) for line in files[0].read_text().splitlines()
    )
