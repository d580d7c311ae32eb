"""Faults of the list in dataset-facts, played to whole crawls: what comes in, and what the machine does."""

from __future__ import annotations

import errno
import itertools
import json
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from alti2v.crawl.crawler import crawl_board
from alti2v.crawl.status import store_status
from alti2v.crawl.store.sqlite import Database
from alti2v.crawl.verify import verify_store
from alti2v.errors import StorageError
from alti2v.storage.tar import members as tar_members
from tests.crawl.conftest import Board
from tests.crawl.helpers.crawling import config, page, pictures, posts
from tests.crawl.helpers.scripted_board import ScriptedBoard, picture


def body(content: bytes, kind: str = "image/jpeg") -> Callable[[web.Request], web.Response]:
    return lambda _: web.Response(body=content, content_type=kind)


@pytest.mark.parametrize(
    "answer",
    [
        page("<!DOCTYPE html><html><body>Just a moment...</body></html>"),
        body(b'{"success": false, "message": "busy"}', "application/json"),
        body(b"", "image/jpeg"),
        body(b"Too many requests\r\n", "text/plain"),
    ],
    ids=["page", "message", "nothing", "text"],
)
def test_f08_what_is_no_picture_is_not_stored(board: Board, tmp_path: Path, answer: Any) -> None:
    """F08: whatever its type claims; it may pass, so it is tried again before it is believed."""
    site = board(ids=[7, 9])
    site.script("/samples/0/sample_p7", answer)
    for address in ("/samples/2/sample_p9", "/images/2/p9"):
        site.script(address, *[answer] * 9)
    report = crawl_board(config(tmp_path / "store", site))

    assert (report.stored, report.failed) == (1, {"not_image": 1})
    assert posts(report.store).loc[7, "attempts"] == 2


def test_f08_a_picture_under_another_type_is_one(board: Board, tmp_path: Path) -> None:
    """F08: the bytes decide, not the header."""
    site = board(ids=[7])
    site.script("/samples/", body(site.content(7, sample=True), "text/html"))

    assert pictures(crawl_board(config(tmp_path / "store", site)).store) == {7: site.content(7, sample=True)}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "unsupported_format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "unsupported_format"),
        (b"FWS\x06" + bytes(200), "unsupported_format"),
        (b"CWS\x06" + bytes(range(200)), "unsupported_format"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(200), "unsupported_format"),
        (b"\x1aE\xdf\xa3" + bytes(range(200)), "unsupported_format"),
        (b"BM" + bytes(200), "unsupported_format"),
        (b"II*\x00" + bytes(200), "unsupported_format"),
        (b"%PDF-1.7\n" + bytes(range(200)), "unsupported_format"),
    ],
    ids=["svg", "svg without prolog", "swf", "packed swf", "mp4", "webm", "bmp", "tiff", "pdf"],
)
def test_f24_a_jpg_that_is_something_else_is_a_kind(
    board: Board, tmp_path: Path, content: bytes, kind: str
) -> None:
    """F24: the bytes decide; none but JPEG, PNG, GIF and WebP is stored, nor asked for again."""
    site = board(ids=[7])
    for address in ("/samples/", "/images/"):
        site.script(address, *[body(content)] * 5)
    report = crawl_board(config(tmp_path / "store", site))

    assert (report.stored, report.failed) == (0, {kind: 1})
    assert (len(site.asked("/samples/")), len(site.asked("/images/"))) == (1, 1)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_f24_a_jpg_that_is_another_picture_is_stored_as_that(board: Board, tmp_path: Path, kind: str) -> None:
    """F24: the suffix of the member is that of the actual format."""
    site = board(ids=[7])
    site.script("/samples/", body(picture(7, kind=kind)))
    store = crawl_board(config(tmp_path / "store", site)).store

    assert posts(store).loc[7, "stored_format"] == kind
    names = [member.name for member in tar_members(store / "images/images-000000.tar")]
    assert names[0] == f"000000000007.{kind.lower()}"


def test_f15_answers_that_are_broken_are_asked_for_again(board: Board, tmp_path: Path) -> None:
    """F15: half an array, half a document, a post twice: the page comes again, and nothing is there twice."""
    site = board(page_cap=10)
    whole = json.dumps([site.json_post(number) for number in sorted(site.ids)[-10:]])
    twice = json.dumps([site.json_post(number) for number in sorted(site.ids)[-10:]] * 2)
    path = "/index.php?page=dapi&q=index&s=post&tags="
    site.script(f"{path}&limit=1000", page(whole[:500]), page('<posts count="9"><post id="1"'), page(twice))
    report = crawl_board(config(tmp_path / "store", site, dialect="gelbooru"))

    assert (report.listed, report.stored, report.complete) == (60, 60, True)
    assert posts(report.store).index.is_unique


def test_f15_a_count_that_changes_all_the_time_ends_the_listing(board: Board, tmp_path: Path) -> None:
    """F15: now more, now fewer: the walk ends, and says what it could not clear up."""

    def change(site: ScriptedBoard, path: str) -> None:
        site.count_offset = (site.count_offset + 1) % 3

    site = board(page_cap=10, after=change)
    report = crawl_board(config(tmp_path / "store", site))

    assert report.stored == 60
    assert len(site.asked("s=post")) < 60
    assert report.complete or "more posts than it lists" in report.missing


HOSTILE = ["../../etc/passwd", "a\x00b", "new\nline", "\u202egnp.exe", "x" * 10_000, "c:\\windows", "tag\ud800"]


def test_f63_hostile_tags_are_stored_and_name_nothing(board: Board, tmp_path: Path) -> None:
    """F63: the tables hold them, cleaned; no file, member or log line is named or broken by one."""
    site = board(ids=[7, 9])
    entry = site.json_post(7) | {"tags": " ".join(HOSTILE), "source": "\x1b[2J\n" + HOSTILE[0]}
    site.script("/index.php?page=dapi&q=index&s=post", None, None, page(json.dumps([entry])))
    store = crawl_board(config(tmp_path / "store", site, limit=1, tag_categories=False)).store
    row = posts(store).loc[7]
    inside = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    names = [member.name for member in tar_members(store / "images/images-000000.tar")]

    assert {"../../etc/passwd", "\u202egnp.exe", "x" * 10_000} <= set(row["tags_unknown"])
    assert not any(char in tag for tag in row["tags_unknown"] for char in "\x00\n")
    assert names == ["000000000007.jpg", "000000000007.json"]
    assert all(name.startswith("store") and ".." not in name for name in inside)
    assert verify_store(store).findings == ()


def test_f64_impossible_ids_do_no_harm(board: Board, tmp_path: Path) -> None:
    """F64: negative, zero, huge, text, missing, twice: passed over, and the listing goes on to its end."""
    site = board(page_cap=10)
    wrong = [site.json_post(7) | {"id": value} for value in (-1, 0, 10**12, 2**63, "x", None, 1.5, True, [7])]
    top = [site.json_post(number) for number in sorted(site.ids)[-10:]]
    site.script("/index.php?page=dapi&q=index&s=post&tags=&limit=1000", page(json.dumps(wrong + top + top[:2])))
    report = crawl_board(config(tmp_path / "store", site, dialect="gelbooru"))

    assert (report.listed, report.stored, report.complete) == (60, 60, True)
    assert set(posts(report.store).index) == set(site.ids)


# The machine ----------------------------------------------------------------------------------------


def full(calls: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """A system call that finds the disk full after a number of calls."""
    left = itertools.count(-calls)

    def call(*args: Any, **named: Any) -> Any:
        if next(left) >= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args, **named)

    return call


def full_tar(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("alti2v.storage.tar.os.writev", full(1, os.writev))


def full_at_sync(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("alti2v.storage.tar.os.fsync", full(9, os.fsync))


def full_table(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pq.ParquetWriter, "write_table", full(0, pq.ParquetWriter.write_table))


def full_ledger(patch: pytest.MonkeyPatch) -> None:
    """SQLite itself says so: its file may not grow any more."""
    real = Database._prepare

    def prepare(self: Database, *args: Any, **named: Any) -> None:
        real(self, *args, **named)
        self._connection.execute("PRAGMA max_page_count=28")

    patch.setattr(Database, "_prepare", prepare)


@pytest.mark.parametrize("disk", [full_tar, full_at_sync, full_table, full_ledger])
def test_f34_a_full_disk_stops_cleanly(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """F34: one line, whichever write it was; what was promised stays, and the same command goes on."""
    site, store = board(ids=list(range(1, 151)), page_cap=40), tmp_path / "store"
    with monkeypatch.context() as patch:
        disk(patch)
        with pytest.raises(StorageError, match=r"(is full|make room)") as caught:
            crawl_board(config(store, site))
    stopped = store_status(store)
    kept = len(site.asked("/samples/"))
    resumed = crawl_board(config(store, site))

    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 1
    assert stopped.last_run is not None
    assert resumed.stored == 150
    assert len(site.asked("/samples/")) - kept == 150 - stopped.stored
    assert verify_store(store).findings == ()


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EMFILE, errno.EDQUOT])
def test_f35_a_disk_that_refuses_stops_cleanly(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """F35: the path and the reason in one line; afterwards the same command goes on."""
    site, store = board(), tmp_path / "store"

    def refuse(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("alti2v.storage.tar.os.writev", refuse)
        with pytest.raises(StorageError, match=r"cannot write .*images-000000\.tar"):
            crawl_board(config(store, site))

    assert crawl_board(config(store, site)).stored == 60
    assert verify_store(store).findings == ()


def test_f36_a_ledger_that_is_locked_by_something_else_is_one_line(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F36: as on a network disk whose locks do not come free: nothing is written, and the store stays whole."""
    site, store = board(ids=[7]), tmp_path / "store"
    crawl_board(config(store, site))
    real = sqlite3.connect
    impatient = lambda *path, **named: real(*path, **(named | {"timeout": 0}))  # noqa: E731
    monkeypatch.setattr("alti2v.crawl.store.sqlite.sqlite3.connect", impatient)
    other = real(store / "crawl.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="database is locked"):
        crawl_board(config(store, site))
    other.execute("ROLLBACK")
    other.close()

    assert verify_store(store).findings == ()


def test_f39_leftovers_of_killed_runs_are_swept_and_never_read(board: Board, tmp_path: Path) -> None:
    """F39: half a table and half a description under temporary names."""
    site, store = board(), tmp_path / "store"
    crawl_board(config(store, site, limit=20))
    leftovers = [
        store / ".tmp-9-store.json",
        store / "posts/.tmp-9-posts-000000.parquet",
        store / "images/.tmp-9",
    ]
    for leftover in leftovers:
        leftover.write_bytes(b"half")
    between = verify_store(store).findings
    report = crawl_board(config(store, site))

    assert between == ()
    assert report.complete
    assert not any(leftover.exists() for leftover in leftovers)
    assert len(pd.read_parquet(store / "posts")) == 60


def test_f40_a_clock_that_jumps_back_changes_nothing(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F40: a year back at every look: names, order and pace do not hang on it, and no time is negative."""
    site = board(page_cap=13)
    begun_s = time.monotonic()
    backwards = itertools.count()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 1.8e9 - 3e7 * next(backwards))
        report = crawl_board(config(tmp_path / "store", site, rate=200.0, api_rate=200.0))
    at_peace = crawl_board(config(tmp_path / "peace", site))
    asked = [at for at, _ in site.requests if at >= begun_s]

    assert (report.stored, report.complete) == (60, True)
    assert report.seconds >= 0
    assert pictures(report.store) == pictures(at_peace.store)
    assert sorted(path.name for path in report.store.rglob("*.*")) == sorted(
        path.name for path in at_peace.store.rglob("*.*")
    )
    assert len(asked) > 60
    assert verify_store(report.store).findings == ()
