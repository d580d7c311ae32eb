"""Two crawls of one host by two processes: the host, which counts, sees one polite guest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alti2v.crawl.status import store_status
from tests.crawl.conftest import Board

RATE = 10
CONNECTIONS = 2


@pytest.mark.parametrize(
    ("posts", "window_s"),
    [
        # A busy machine delays single requests by tens of milliseconds on the way; the proof allows none of it
        pytest.param(15, 0.9, id="quick"),
        pytest.param(100, 1.0, id="proof", marks=pytest.mark.slow),
    ],
)
def test_two_crawls_of_one_host_share_its_rate(
    board: Board, tmp_path: Path, posts: int, window_s: float
) -> None:
    """Never more than the rate in any second, the rate is used, and no connection is opened twice."""
    site = board(ids=list(range(1, posts + 1)), page_cap=10)
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    options = {"rate": RATE, "api-rate": 5, "connections": CONNECTIONS, "board": site.url}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    crawls = [
        subprocess.Popen(
            [sys.executable, "-m", "alti2v", "crawl", str(tmp_path / name), "--allow-private", *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "other")
    ]
    ends = [(each.communicate(timeout=120)[1], each.returncode) for each in crawls]
    times = [at for at, _ in site.requests]
    files = sorted(at for at, path in site.requests if path.startswith("/samples"))

    assert [status for _, status in ends] == [0, 0], ends
    assert [store_status(tmp_path / name).stored for name in ("one", "other")] == [posts, posts]
    assert max(sum(start <= at < start + window_s for at in times) for start in times) <= RATE
    assert len(site.peers) <= 2 * CONNECTIONS
    assert len(files) / (files[-1] - files[0]) > RATE / 2
    assert list((tmp_path / "cache/alti2v/pace").iterdir())
