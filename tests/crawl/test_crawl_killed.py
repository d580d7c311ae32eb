"""A crawl that is killed with SIGKILL, anywhere, and started again equals one that never was."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from alti2v.crawl.crawler import CrawlConfig, crawl
from alti2v.crawl.download.pipeline import files_in_flight
from alti2v.crawl.http.retry import RetryPolicy
from alti2v.crawl.status import store_status
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.verify import verify_store
from alti2v.errors import StorageError
from alti2v.storage.tar import OpenTar
from alti2v.storage.tar import members as tar_members
from tests.crawl.scripted_board import ScriptedBoard

QUICK = RetryPolicy(tries=3, base_s=0.001, ceiling_s=0.002)
POSTS = 150

# Runs a crawl, and lets a signal hit it before or after the n-th call of a function that touches the disk.
SCRIPT = """
import functools, importlib, os, signal, sys
from pathlib import Path
from alti2v.crawl.crawler import CrawlConfig, crawl

# A test suite started in the background inherits an ignored SIGINT, and Python would keep ignoring it.
signal.signal(signal.SIGINT, signal.default_int_handler)
url, store, module, owner, name, when, calls, kind = sys.argv[1:]
target = importlib.import_module(module)
target = getattr(target, owner) if owner else target
real, left = getattr(target, name), int(calls)

@functools.wraps(real)
def counted(*args, **kwargs):
    global left
    left -= 1
    if left == 0 and when == "before":
        os.kill(os.getpid(), int(kind))
    result = real(*args, **kwargs)
    if left == 0 and when == "after":
        os.kill(os.getpid(), int(kind))
    return result

setattr(target, name, counted)
try:
    fast = {"rate": float("inf"), "api_rate": float("inf")}
    where = {"store": Path(store), "url": os.environ.get("STORE_URL")}
    crawl(CrawlConfig(board=url, allow_private=True, shard_bytes=60_000, **where, **fast))
except KeyboardInterrupt:
    sys.exit(130)
"""
KILLS = [
    ("alti2v.storage.tar", "OpenTar", "append", "after", 77),
    ("alti2v.storage.tar", "OpenTar", "append", "before", 200),
    ("alti2v.storage.tar", "OpenTar", "sync", "after", 1),
    ("alti2v.crawl.download.pipeline", "", "judge", "after", 60),
    ("alti2v.storage.tar", "OpenTar", "seal", "after", 1),
    ("alti2v.crawl.store.ledger", "Ledger", "set_tar", "before", 2),
    ("alti2v.crawl.store.ledger", "Ledger", "settle", "after", 2),
    ("alti2v.crawl.store.ledger", "Ledger", "set_walk", "after", 4),
    ("alti2v.crawl.listing.lister", "Lister", "_commit_page", "after", 2),
    ("alti2v.crawl.config", "", "write_description", "after", 1),
    ("alti2v.crawl.store.ledger", "Ledger", "set_clean", "before", 1),
    ("alti2v.crawl.store.tables", "", "export_tags", "after", 1),
    ("alti2v.crawl.store.ledger", "Ledger", "add_tags", "after", 1),
]


def interrupted(
    site: ScriptedBoard, store: Path, point: tuple[str, str, str, str, int], how: signal.Signals
) -> int:
    module, owner, name, when, calls = point
    arguments = [site.url, str(store), module, owner, name, when, str(calls), str(int(how))]
    return subprocess.run([sys.executable, "-c", SCRIPT, *arguments], check=False, timeout=60).returncode


def config(store: Path, site: ScriptedBoard, **wishes: Any) -> CrawlConfig:
    settings: dict[str, Any] = {"rate": math.inf, "api_rate": math.inf, "allow_private": True, "retry": QUICK}
    return CrawlConfig(store=store, board=site.url, shard_bytes=60_000, **(settings | wishes))


def members(store: Path) -> list[str]:
    """The names of all members of all tar files."""
    return [member.name for tar in sorted((store / "images").iterdir()) for member in tar_members(tar)]


def content(store: Path) -> pd.DataFrame:
    """The post table without what the order of arrival decides."""
    rows = pd.read_parquet(store / "posts").set_index("id").sort_index()
    return rows.drop(columns=["tar", "offset"])


@pytest.fixture(scope="module")
def site() -> Iterator[ScriptedBoard]:
    """One board for all kills."""
    with ScriptedBoard(ids=list(range(1, 2 * POSTS, 2)), page_cap=40) as board:
        yield board


@pytest.fixture(scope="module")
def whole(site: ScriptedBoard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of an uninterrupted crawl."""
    store = tmp_path_factory.mktemp("whole") / "store"
    assert crawl(config(store, site)).stored == POSTS
    return store


@pytest.mark.parametrize("point", KILLS, ids=lambda point: f"{point[2]}-{point[3]}-{point[4]}")
def test_f30_killed_and_started_again_equals_uninterrupted(
    tmp_path: Path, site: ScriptedBoard, whole: Path, point: tuple[str, str, str, str, int]
) -> None:
    """F30: same posts, bytes and tables; no file is requested twice but those in flight."""
    store = tmp_path / "killed"
    asked_before = len(site.requests)
    returned = interrupted(site, store, point, signal.SIGKILL)
    resumed = crawl(config(store, site))
    asked = [path for _, path in site.requests[asked_before:] if path.startswith("/samples")]

    assert returned == -signal.SIGKILL
    assert resumed.complete, resumed.missing
    assert (resumed.listed, resumed.stored) == (POSTS, POSTS)
    pd.testing.assert_frame_equal(content(whole), content(store))
    assert pd.read_parquet(whole / "tags.parquet").equals(pd.read_parquet(store / "tags.parquet"))
    assert verify_store(store).findings == ()
    assert sorted(members(store)) == sorted(members(whole))  # nothing is there twice
    assert not list(store.rglob(".tmp-*"))
    assert len(asked) - POSTS <= files_in_flight(connections=4)


def test_f32_ctrl_c_finishes_what_is_in_flight(tmp_path: Path, site: ScriptedBoard) -> None:
    """F32: exit by KeyboardInterrupt, with tables that agree with the pictures; the next run goes on."""
    point = ("alti2v.storage.tar", "OpenTar", "append", "after", 40)
    returned = interrupted(site, tmp_path / "store", point, signal.SIGINT)
    stopped = store_status(tmp_path / "store")
    findings = verify_store(tmp_path / "store").findings
    exported = pd.read_parquet(tmp_path / "store/posts")
    resumed = crawl(config(tmp_path / "store", site))

    assert returned == 130
    assert 20 <= stopped.stored < POSTS
    assert findings == ()
    assert (exported["status"] == "stored").sum() == stopped.stored
    assert (resumed.stored, resumed.new) == (POSTS, POSTS - stopped.stored)


def test_f34_a_full_disk_in_the_middle_stops_cleanly(
    tmp_path: Path, site: ScriptedBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F34: one clear line; what was stored stays, and the same command goes on once there is room."""
    append, appended = OpenTar.append, 0

    def full(self: OpenTar, name: str, data: bytes) -> Any:
        nonlocal appended
        appended += 1
        if appended > 120:
            raise StorageError("cannot write images: the disk is full: make room")
        return append(self, name, data)

    monkeypatch.setattr(OpenTar, "append", full)
    with pytest.raises(StorageError, match="the disk is full"):
        crawl(config(tmp_path / "store", site))
    monkeypatch.undo()
    stopped = store_status(tmp_path / "store")
    resumed = crawl(config(tmp_path / "store", site))

    assert stopped.stored <= 60
    assert resumed.stored == POSTS
    assert verify_store(tmp_path / "store").findings == ()


def test_f33_bytes_are_synced_before_the_ledger_promises_them(
    tmp_path: Path, site: ScriptedBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F33: a power cut between the two may cost the last batch, never leave a promise without bytes."""
    happened: list[str] = []
    sync, settle = OpenTar.sync, Ledger.settle
    monkeypatch.setattr(OpenTar, "sync", lambda self: (happened.append("sync"), sync(self))[1])
    monkeypatch.setattr(
        Ledger,
        "settle",
        lambda self, outcomes: (happened.extend(["settle"] * len(outcomes)), settle(self, outcomes))[1],
    )
    crawl(config(tmp_path / "store", site, limit=70))

    batches = "".join("S" if word == "sync" else "." for word in happened)
    assert batches.count(".") == 70
    assert batches.startswith("S")
    assert batches.count("S") >= 2  # 48 files are a batch
