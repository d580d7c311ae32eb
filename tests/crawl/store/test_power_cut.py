"""F33: a power cut leaves what was synced, and nothing else; the crawl goes on from there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from alti2v.crawl.crawler import crawl_board
from alti2v.crawl.store import tables
from alti2v.crawl.store.writer import StoreWriter
from alti2v.crawl.verify import verify_store
from alti2v.storage.tar import OpenTar
from tests.crawl.helpers.killed import config, content
from tests.crawl.helpers.scripted_board import ScriptedBoard

POSTS = 150


class Disk:
    """Durable state of a folder after `os.fsync`: the bytes of files, and the names in folders.

    SQLite syncs its files without our knowing. Its own promise (WAL, synchronous=NORMAL) is that a cut leaves
    an earlier state, never half of one; so a cut copies its files, or only the beginning of its log.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cuts: list[Path] = []
        self._bytes: dict[int, bytes] = {}
        self._names: dict[Path, dict[str, int]] = {}
        self._fsync = os.fsync

    def fsync(self, descriptor: int) -> None:
        """Replace `os.fsync`."""
        self._fsync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            self._names[path] = {entry.name: entry.stat().st_ino for entry in path.iterdir()}
        else:
            self._bytes[path.stat().st_ino] = path.read_bytes()

    def cut(self, *, keeps: float) -> None:
        """Copy the files that a power cut now would leave; `keeps` is the kept share of the ledger's log."""
        copy = self.root.with_name(f"cut-{len(self.cuts)}")
        self._restore(self.root, copy)
        for suffix in ("", "-wal"):
            file = self.root / f"crawl.sqlite{suffix}"
            if file.exists():  # the log goes when the ledger is closed
                written = file.read_bytes()
                (copy / file.name).write_bytes(written[: int(len(written) * keeps)] if suffix else written)
        self.cuts.append(copy)

    def _restore(self, folder: Path, copy: Path) -> None:
        copy.mkdir()
        for name, inode in self._names.get(folder, {}).items():
            if (folder / name).is_dir():
                self._restore(folder / name, copy / name)
            elif not name.startswith("crawl."):
                (copy / name).write_bytes(self._bytes.get(inode, b""))


@pytest.fixture(scope="module")
def site() -> Iterator[ScriptedBoard]:
    with ScriptedBoard(ids=list(range(1, 2 * POSTS, 2)), page_cap=40) as board:
        yield board


@pytest.mark.parametrize("keeps", [1.0, 0.6], ids=["whole ledger", "older ledger"])
def test_f33_a_power_cut_leaves_a_store_that_goes_on(
    tmp_path: Path, site: ScriptedBoard, monkeypatch: pytest.MonkeyPatch, keeps: float
) -> None:
    """F33: cut anywhere, the ledger promises nothing that is not on the disk, and the end is the same store."""
    disk = Disk(tmp_path / "store")
    monkeypatch.setattr("os.fsync", disk.fsync)

    def cutting(real: Callable[..., Any], *, before: bool, every: int) -> Callable[..., Any]:
        calls = 0

        def wrapped(*args: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if before and calls % every == 0:
                disk.cut(keeps=keeps)
            result = real(*args, **named)
            if not before and calls % every == 0:
                disk.cut(keeps=keeps)
            return result

        return wrapped

    with monkeypatch.context() as cuts:
        cuts.setattr(OpenTar, "sync", cutting(OpenTar.sync, before=True, every=3))  # written, not synced
        cuts.setattr(StoreWriter, "commit", cutting(StoreWriter.commit, before=False, every=2))
        cuts.setattr(
            "alti2v.crawl.store.tables.export_tags", cutting(tables.export_tags, before=False, every=1)
        )
        whole = crawl_board(config(tmp_path / "store", site))
    disk.cut(keeps=keeps)
    ends = []
    for copy in disk.cuts:
        ends.append(crawl_board(config(copy, site)))
        findings = verify_store(copy).findings
        assert findings == (), copy
        pd.testing.assert_frame_equal(
            content(tmp_path / "store").drop(columns=["attempts"]), content(copy).drop(columns=["attempts"])
        )

    assert len(disk.cuts) >= 4
    assert [(end.stored, end.complete) for end in ends] == [(whole.stored, True)] * len(ends)
    if keeps == 1.0:
        assert ends[-1].new == 0  # what was promised is there
    shutil.rmtree(tmp_path)
