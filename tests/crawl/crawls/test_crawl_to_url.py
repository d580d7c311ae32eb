"""A store behind a URL, on a real S3 server: whole, however often its PUTs or the crawler itself fail."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from alti2v.cli import main
from alti2v.crawl.crawler import crawl_board
from alti2v.crawl.verify import verify_store
from alti2v.errors import StorageError, UsageError
from tests.crawl.helpers.killed import config, content, interrupted
from tests.crawl.helpers.scripted_board import ScriptedBoard, picture
from tests.helpers.s3_server import BUCKET, S3Server

POSTS = 100
URL = f"s3://{BUCKET}/stores/one"


@pytest.fixture
def site() -> Iterator[ScriptedBoard]:
    with ScriptedBoard(ids=list(range(1, POSTS + 1)), page_cap=40) as board:
        yield board


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between tries."""
    monkeypatch.setattr("alti2v.storage.remote.PAUSES_S", (0.0,))


def copy_of(s3: S3Server, folder: Path) -> Path:
    """Everything behind the URL, as a local store."""
    for key in s3.names():
        file = folder / key.removeprefix("stores/one/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(s3.content(key))
    return folder


def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the driver send files in parts of 5 MiB, the least that S3 takes."""
    from s3fs import S3FileSystem

    real = S3FileSystem._put_file
    part = 5 * 2**20

    async def put_file(self: Any, *arguments: Any, **named: Any) -> Any:
        return await real(self, *arguments, chunksize=part, **named)

    monkeypatch.setattr(S3FileSystem, "_put_file", put_file)
    monkeypatch.setattr("s3fs.core.MIN_MULTIPART", part, raising=False)


def padded_content(self: ScriptedBoard, number: int, *, sample: bool) -> bytes:
    """Pictures of 200 kB."""
    return picture(number).ljust(200_000, b"#") + b"\xff\xd9"


def tars(store: Path) -> list[str]:
    return sorted(file.name for file in (store / "images").iterdir())


def test_the_store_is_behind_the_url(tmp_path: Path, site: ScriptedBoard, s3: S3Server) -> None:
    """Tar files and tables are there, and say what a local crawl says; only the ledger stays here."""
    report = crawl_board(config(tmp_path / "work", site, url=URL))
    crawl_board(config(tmp_path / "local", site))
    copy = copy_of(s3, tmp_path / "copy")

    assert report.complete
    assert report.stored == POSTS
    assert tars(tmp_path / "work") == []
    assert len(tars(copy)) >= 2
    pd.testing.assert_frame_equal(content(copy), content(tmp_path / "local"))
    assert {finding.where for finding in verify_store(copy, repair=True).findings} == {"crawl.sqlite"}
    assert verify_store(copy).findings == ()
    assert verify_store(tmp_path / "work", url=URL).findings == ()
    assert tars(tmp_path / "work") == []


def test_what_is_new_is_added(tmp_path: Path, site: ScriptedBoard, s3: S3Server) -> None:
    """A later run sends new tar files and changed tables; the old tar files are not touched."""
    crawl_board(config(tmp_path / "work", site, url=URL))
    before = {key: s3.puts(key) for key in s3.names() if key.endswith(".tar")}
    site.ids += range(POSTS + 1, POSTS + 11)
    report = crawl_board(config(tmp_path / "work", site, url=URL))

    assert report.stored == POSTS + 10
    assert {key: s3.puts(key) for key in before} == before
    assert len(pd.read_parquet(copy_of(s3, tmp_path / "copy") / "posts")) == POSTS + 10


def test_f41_puts_that_fail_stop_the_crawl_and_lose_nothing(
    tmp_path: Path, site: ScriptedBoard, s3: S3Server
) -> None:
    """The store is down for a whole run; the next one sends what is left and fetches no file twice."""
    s3.fail_puts("500", times=10**6)
    with pytest.raises(StorageError, match=f"cannot write {URL}/images/images-000000.tar"):
        crawl_board(config(tmp_path / "work", site, url=URL))
    s3.fail_puts("", times=0)
    report = crawl_board(config(tmp_path / "work", site, url=URL))

    assert report.complete
    assert len(pd.read_parquet(copy_of(s3, tmp_path / "copy") / "posts")) == POSTS
    assert verify_store(tmp_path / "work", url=URL).findings == ()
    asked = site.asked("/samples")
    assert len(asked) - POSTS <= 64 + 16 + 16  # what the stop found in flight


@pytest.mark.parametrize("fault", ["hang", "late", "reset", "garble", "slow down"])
def test_f41_puts_that_fail_once_are_tried_again(
    tmp_path: Path, site: ScriptedBoard, s3: S3Server, fault: str
) -> None:
    """F41: silence, silence after the object was stored, a broken connection, other bytes, 503 SlowDown."""
    s3.fail_puts(fault, times=1)
    report = crawl_board(config(tmp_path / "work", site, url=URL))

    assert report.complete
    assert s3.faults_left == 0
    assert s3.puts("stores/one/images/images-000000.tar") >= 2
    assert verify_store(tmp_path / "work", url=URL).findings == ()
    assert len(pd.read_parquet(copy_of(s3, tmp_path / "copy") / "posts")) == POSTS


def test_f41_credentials_that_expire_stop_the_crawl_and_lose_nothing(
    tmp_path: Path, site: ScriptedBoard, s3: S3Server
) -> None:
    """F41: the first tar file went out, then every PUT is refused; the next run sends the rest, and no more."""
    s3.fail_puts("expired", times=10**6, after=1)
    with pytest.raises(StorageError, match=r"token|expired|Forbidden"):
        crawl_board(config(tmp_path / "work", site, url=URL))
    s3.fail_puts("", times=0)
    first = s3.puts("stores/one/images/images-000000.tar")
    report = crawl_board(config(tmp_path / "work", site, url=URL))

    assert report.complete
    assert s3.puts("stores/one/images/images-000000.tar") == first == 1
    assert len(pd.read_parquet(copy_of(s3, tmp_path / "copy") / "posts")) == POSTS
    assert verify_store(tmp_path / "work", url=URL).findings == ()


def test_f41_many_parts_are_one_object_or_none(
    tmp_path: Path, site: ScriptedBoard, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F41: large tars go in parts; one of them fails: no reader ever sees half an object."""
    in_parts(monkeypatch)
    large = replace(config(tmp_path / "work", site, url=URL), shard_bytes=12_000_000)
    monkeypatch.setattr(ScriptedBoard, "content", padded_content)
    s3.fail_puts("500", times=10**6, after=1)  # the first part arrives
    with pytest.raises(StorageError, match="cannot write"):
        crawl_board(large)
    seen = s3.names()
    s3.fail_puts("", times=0)
    report = crawl_board(large)

    assert [name for name in seen if name.endswith(".tar")] == []
    assert report.complete
    assert verify_store(tmp_path / "work", url=URL).findings == ()


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(("alti2v.crawl.store.upload", "", "upload", "before", 1), marks=pytest.mark.slow),
        ("alti2v.crawl.store.upload", "", "upload", "after", 2),
        pytest.param(
            ("alti2v.crawl.store.upload", "StoreUpload", "mark_uploaded", "before", 1), marks=pytest.mark.slow
        ),
        ("alti2v.crawl.store.ledger.state", "StateTable", "set", "after", 12),
        pytest.param(
            ("alti2v.crawl.store.upload", "StoreUpload", "mark_uploaded", "after", 2), marks=pytest.mark.slow
        ),
        pytest.param(
            ("alti2v.crawl.store.upload", "StoreUpload", "upload_tables", "before", 1), marks=pytest.mark.slow
        ),
        pytest.param(
            ("alti2v.crawl.store.upload", "StoreUpload", "upload_tables", "after", 1), marks=pytest.mark.slow
        ),
    ],
    ids=lambda point: f"{point[2]}-{point[3]}-{point[4]}",
)
def test_killed_and_started_again_it_is_whole(
    tmp_path: Path,
    site: ScriptedBoard,
    s3: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    point: tuple[str, str, str, str, int],
) -> None:
    """F30 behind a URL: the same posts and bytes, and the folder here is as empty as after a quiet run."""
    monkeypatch.setenv("STORE_URL", URL)
    assert interrupted(site, tmp_path / "work", point, signal.SIGKILL) == -signal.SIGKILL
    report = crawl_board(config(tmp_path / "work", site, url=URL))
    crawl_board(config(tmp_path / "local", site))

    assert report.complete, report.missing
    assert tars(tmp_path / "work") == []
    pd.testing.assert_frame_equal(
        content(copy_of(s3, tmp_path / "copy")), content(tmp_path / "local"), check_like=True
    )
    assert verify_store(tmp_path / "work", url=URL).findings == ()


def test_damage_behind_the_url_is_found_and_mended(tmp_path: Path, site: ScriptedBoard, s3: S3Server) -> None:
    """A flipped bit is named; after --repair the next crawl fetches that picture and sends the file."""
    crawl_board(config(tmp_path / "work", site, url=URL))
    key = "stores/one/images/images-000001.tar"
    damaged = bytearray(s3.content(key))
    damaged[700] ^= 1
    s3.client.put_object(Bucket=BUCKET, Key=key, Body=bytes(damaged))

    found = verify_store(tmp_path / "work", url=URL).findings
    assert found
    assert all("images-000001.tar" in finding.where for finding in found)
    verify_store(tmp_path / "work", url=URL, repair=True)
    before = len(site.asked("/samples"))
    report = crawl_board(config(tmp_path / "work", site, url=URL))

    assert report.stored == POSTS
    assert len(site.asked("/samples")) == before + 1
    assert verify_store(tmp_path / "work", url=URL).findings == ()


def test_bad_input_is_one_line(
    tmp_path: Path, site: ScriptedBoard, s3: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """A URL without --work, --work without a URL, another URL than before, and an unknown kind are refused."""
    for arguments, words in (
        ([URL], "give --work FOLDER"),
        ([str(tmp_path / "store"), "--work", str(tmp_path / "work")], "needs no --work"),
    ):
        with pytest.raises(SystemExit) as exit_:
            main(["crawl", *arguments, "--board", site.url])
        assert exit_.value.code == 2
        assert words in capsys.readouterr().err
    crawl_board(config(tmp_path / "work", site, url=URL))
    with pytest.raises(UsageError, match=f"was crawled to {URL}, not to s3://{BUCKET}/other"):
        crawl_board(config(tmp_path / "work", site, url=f"s3://{BUCKET}/other"))
    with pytest.raises(UsageError, match="quux"):
        crawl_board(config(tmp_path / "new", site, url="quux://somewhere"))
