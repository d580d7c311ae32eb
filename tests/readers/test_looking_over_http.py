"""verify and stats of a dataset on a web server, which cannot list folders and may not support byte ranges."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from alti2v.dataset.check.verify import verify_dataset
from alti2v.dataset.stats import StatsConfig, dataset_stats
from alti2v.errors import StorageError, UsageError
from alti2v.report.dataset import write_stats_page
from tests.readers.conftest import Served

NOW = datetime.fromtimestamp(0, UTC)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def without_ranges(dataset: Path) -> Iterator[str]:
    """Python's own web server, which ignores byte ranges and sends whole files."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(dataset))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


def test_it_is_verified(served: Served, without_ranges: str) -> None:
    """Whole files are sufficient."""
    for url in (served.url, without_ranges):
        found = verify_dataset(url, deep=True)
        assert (found.findings, found.checked["samples"]) == ((), 40)


def test_it_is_looked_at(dataset: Path, served: Served, tmp_path: Path) -> None:
    """The page has the pictures, and no shard was read whole."""
    here, behind = (dataset_stats(StatsConfig(dataset=place, sheet=3)) for place in (dataset, served.url))
    write_stats_page(behind, tmp_path / "page.html", generated_at=NOW)

    assert replace(behind, dataset=dataset) == here
    assert (tmp_path / "page.html").read_text().count("data:image/jpeg") >= 3
    tars = {name: size for name, size in served.sent.items() if name.endswith(".tar")}
    assert tars
    assert all(size < (dataset / name).stat().st_size for name, size in tars.items())


def test_a_server_without_ranges_is_named(without_ranges: str, tmp_path: Path) -> None:
    """Its tables can be read; for the pictures, one line says what is missing."""
    stats = dataset_stats(StatsConfig(dataset=without_ranges, sheet=3))
    with pytest.raises(StorageError, match=r"\.tar: the server ignores byte ranges"):
        write_stats_page(stats, tmp_path / "page.html", generated_at=NOW)


def test_a_host_that_does_not_answer_is_no_missing_dataset(served: Served) -> None:
    """The message does not suggest another folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Quiet) as server:
        silent = f"http://127.0.0.1:{server.server_port}/dataset"
    with pytest.raises(StorageError, match=f"^cannot read {silent}/.*Cannot connect.*: run again later"):
        verify_dataset(silent)
    with pytest.raises(UsageError, match="/nothing is not a dataset"):
        verify_dataset(f"{served.url}/nothing")
