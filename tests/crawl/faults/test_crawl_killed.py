"""A crawl that is killed with SIGKILL, anywhere, and started again equals one that never was."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from alti2v.crawl.crawler import crawl_board
from alti2v.crawl.download.pipeline import files_in_flight
from alti2v.crawl.store.ledger.posts import PostTable
from alti2v.crawl.verify import verify_store
from alti2v.storage.tar import OpenTar
from alti2v.storage.tar import members as tar_members
from tests.crawl.helpers.killed import POSTS, config, content, interrupted
from tests.crawl.helpers.scripted_board import ScriptedBoard

KILLS = [
    ("alti2v.storage.tar", "OpenTar", "append", "after", 77),
    ("alti2v.storage.tar", "OpenTar", "append", "before", 200),
    ("alti2v.storage.tar", "OpenTar", "sync", "after", 1),
    ("alti2v.crawl.download.pipeline", "", "validate", "after", 60),
    ("alti2v.storage.tar", "OpenTar", "seal", "after", 1),
    ("alti2v.crawl.store.ledger.tars", "TarTable", "set", "before", 2),
    ("alti2v.crawl.store.ledger.posts", "PostTable", "record", "after", 2),
    ("alti2v.crawl.store.ledger.state", "StateTable", "set_listing", "after", 4),
    ("alti2v.crawl.listing.lister", "", "_commit_page", "after", 2),
    ("alti2v.crawl.config", "", "write_description", "after", 1),
    ("alti2v.crawl.store.ledger.parts", "PartTable", "mark_clean", "before", 1),
    ("alti2v.crawl.store.tables", "", "export_tags", "after", 1),
    ("alti2v.crawl.store.ledger.tags", "TagCategoryTable", "add", "after", 1),
]


def members(store: Path) -> list[str]:
    """The names of all members of all tar files."""
    return [member.name for tar in sorted((store / "images").iterdir()) for member in tar_members(tar)]


@pytest.fixture(scope="module")
def site() -> Iterator[ScriptedBoard]:
    """One board for all kills."""
    with ScriptedBoard(ids=list(range(1, 2 * POSTS, 2)), page_cap=40) as board:
        yield board


@pytest.fixture(scope="module")
def whole(site: ScriptedBoard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of an uninterrupted crawl."""
    store = tmp_path_factory.mktemp("whole") / "store"
    assert crawl_board(config(store, site)).stored == POSTS
    return store


@pytest.mark.parametrize("point", KILLS, ids=lambda point: f"{point[2]}-{point[3]}-{point[4]}")
def test_f30_killed_and_started_again_equals_uninterrupted(
    tmp_path: Path, site: ScriptedBoard, whole: Path, point: tuple[str, str, str, str, int]
) -> None:
    """F30: same posts, bytes and tables; no file is requested twice but those in flight."""
    store = tmp_path / "killed"
    asked_before = len(site.requests)
    returned = interrupted(site, store, point, signal.SIGKILL)
    resumed = crawl_board(config(store, site))
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


def test_f33_bytes_are_synced_before_the_ledger_promises_them(
    tmp_path: Path, site: ScriptedBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F33: a power cut between the two may cost the last batch, never leave a promise without bytes."""
    happened: list[str] = []
    sync, record = OpenTar.sync, PostTable.record

    def noted_sync(self: OpenTar) -> None:
        happened.append("sync")
        sync(self)

    def noted_record(self: PostTable, outcomes: Any) -> Any:
        happened.extend(["record"] * len(outcomes))
        return record(self, outcomes)

    monkeypatch.setattr(OpenTar, "sync", noted_sync)
    monkeypatch.setattr(PostTable, "record", noted_record)
    crawl_board(config(tmp_path / "store", site, limit=70))

    batches = "".join("S" if word == "sync" else "." for word in happened)
    assert batches.count(".") == 70
    assert batches.startswith("S")
    assert batches.count("S") >= 2  # 48 files are a batch
