"""`status` and `verify` without --repair write nothing into a store, and follow nothing out of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from alti2v.cli import main
from alti2v.crawl.crawler import crawl_board
from alti2v.crawl.status import store_status
from alti2v.crawl.verify import verify_store
from alti2v.errors import UsageError
from alti2v.storage.directory import exclusive
from alti2v.storage.layout import CRAWL_LOCK_FILE, LEDGER_FILE
from alti2v.storage.publish import make_directory
from tests.crawl.conftest import Board
from tests.crawl.helpers.crawling import config

_WRITER = """
import sqlite3, sys, os, signal
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("INSERT INTO state VALUES ('note', 'in the log')")
os.kill(os.getpid(), signal.SIGKILL)
"""
_READER = """
import os, sys
from pathlib import Path
from alti2v.crawl.status import store_status
from alti2v.crawl.verify import verify_store
from alti2v.storage.table import load
load()
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
store = Path(sys.argv[1])
print(store_status(store).stored, len(verify_store(store).findings))
"""


def state_of(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return name, inode, size and time of change of a folder and of all files in it."""
    found = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        facts = path.stat()
        found[str(path)] = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
    return found


def kill_a_writer(store: Path) -> None:
    """Leave a log with content beside the ledger, as a killed crawl does."""
    killed = subprocess.run([sys.executable, "-c", _WRITER, str(store / LEDGER_FILE)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (store / f"{LEDGER_FILE}-wal").stat().st_size


@pytest.mark.parametrize("state", ["closed", "killed", "copied without the index", "no lock file"])
def test_status_and_verify_write_nothing(board: Board, tmp_path: Path, state: str) -> None:
    """No lock file, no log of the ledger, no index: the folder stays as it is to the nanosecond."""
    site = board(ids=list(range(1, 20)))
    store = crawl_board(config(tmp_path / "store", site)).store
    if state in ("killed", "copied without the index"):
        kill_a_writer(store)
    if state == "copied without the index":
        (store / f"{LEDGER_FILE}-shm").unlink()
    if state == "no lock file":
        (store / CRAWL_LOCK_FILE).unlink()
    before = state_of(store)

    assert store_status(store).stored == 19
    assert verify_store(store).findings == ()
    assert state_of(store) == before


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_another_user_can_read_a_store(board: Board, open_folder: Path) -> None:
    """A user without write access sees and checks the whole store, also after a kill."""
    store = crawl_board(config(open_folder / "store", board(ids=list(range(1, 20))))).store
    kill_a_writer(store)
    for path in (store, *store.rglob("*")):
        path.chmod(path.stat().st_mode & 0o555 | (0o555 if path.is_dir() else 0o444))
    found = subprocess.run(
        [sys.executable, "-c", _READER, str(store)],
        capture_output=True,
        text=True,
        check=False,
    )
    for path in (store, *store.rglob("*")):
        path.chmod(0o755)

    assert (found.stdout, found.stderr) == ("19 0\n", "")


def test_verify_waits_for_no_crawl_and_no_crawl_starts_under_it(board: Board, tmp_path: Path) -> None:
    """The lock is only read, and still keeps the two apart."""
    store = crawl_board(config(tmp_path / "store", board(ids=[1]))).store

    with exclusive(store, CRAWL_LOCK_FILE), pytest.raises(UsageError, match=f"in use by process {os.getpid()}"):
        verify_store(store)
    assert store_status(store).process is None


def test_a_url_that_only_the_store_names_is_not_requested(
    board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A downloaded store could name any address: the user has to give it."""
    site = board(ids=[1])
    store = crawl_board(config(tmp_path / "store", site)).store
    description = json.loads((store / "store.json").read_text())
    (store / "store.json").write_text(json.dumps(description | {"url": f"{site.url}/evil"}))
    asked = len(site.requests)

    for arguments, advice in (
        ([str(store)], f"run `alti2v verify {site.url}/evil --work {store}`"),
        ([str(store), "--repair"], "--work"),
        ([f"{site.url}/other", "--work", str(store)], "does not belong to"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["verify", *arguments])
        assert ended.value.code == 2
        assert advice in capsys.readouterr().err
    assert len(site.requests) == asked


def test_every_new_parent_of_a_folder_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut the whole path is there."""
    synced: list[Path] = []
    monkeypatch.setattr("alti2v.storage.publish.fsync_directory", synced.append)
    make_directory(tmp_path / "a" / "b" / "c")
    make_directory(tmp_path / "a" / "b" / "c")

    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
