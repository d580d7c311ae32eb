"""Two crawls of one host by two processes: the host, which counts, sees one polite guest."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from alti2v.crawl.status import store_status
from tests.crawl.conftest import Board
from tests.crawl.helpers.scripted_board import ScriptedBoard

RATE = 10
CONNECTIONS = 2


@pytest.mark.parametrize(
    ("posts", "is_proof"),
    [
        # A busy machine delays requests on the way, so that they arrive closer together than they were sent
        pytest.param(15, False, id="quick"),
        pytest.param(100, True, id="proof", marks=pytest.mark.slow),
    ],
)
def test_two_crawls_of_one_host_share_its_rate(
    board: Board, tmp_path: Path, posts: int, is_proof: bool
) -> None:
    """Never more than the rate in any second, the rate is used, and no connection is opened twice."""
    pace = tmp_path / "cache/alti2v/pace"
    sent: set[float] = set()

    def note(_: ScriptedBoard, __: str) -> None:
        """The file that the crawls share begins with the time at which the last request was sent."""
        [file] = pace.iterdir()
        sent.update(struct.unpack_from("<d", file.read_bytes()))

    site = board(ids=list(range(1, posts + 1)), page_cap=10, after=note)
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
    times = [at for at, _ in site.requests] if is_proof else sorted(sent)
    files = sorted(at for at, path in site.requests if path.startswith("/samples"))

    assert [status for _, status in ends] == [0, 0], ends
    assert [store_status(tmp_path / name).stored for name in ("one", "other")] == [posts, posts]
    assert max(sum(start <= at < start + 1 for at in times) for start in times) <= RATE
    assert len(site.requests) <= RATE * (1 + max(sent) - min(sent))
    assert len(site.peers) <= 2 * CONNECTIONS
    assert len(files) / (files[-1] - files[0]) > RATE / 2
