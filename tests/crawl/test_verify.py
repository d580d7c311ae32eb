"""Damage to a store is found by name, and repaired so that the next crawl fetches only what is lost."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alti2v.crawl.crawler import CrawlReport, crawl_board
from alti2v.crawl.status import store_status
from alti2v.crawl.store import rebuild
from alti2v.crawl.verify import verify_store
from alti2v.errors import DamagedError, StorageError, UsageError
from alti2v.storage.directory import exclusive
from alti2v.storage.layout import CRAWL_LOCK_FILE
from tests.crawl.helpers.crawling import config
from tests.crawl.helpers.scripted_board import ScriptedBoard
from tests.helpers.damage import flip


@pytest.fixture(scope="module")
def site() -> Iterator[ScriptedBoard]:
    with ScriptedBoard(ids=list(range(1, 160, 2)), same_bytes={9: 7}, extension={5: "mp4"}) as board:
        yield board


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory, site: ScriptedBoard) -> Path:
    """A store of 80 posts in three tar files: 78 pictures, a duplicate and a video."""
    store = tmp_path_factory.mktemp("crawled") / "store"
    for limit in (30, 60):
        again(store, site, limit=limit)
    report = again(store, site, limit=None)
    assert (report.stored, report.duplicate, report.skipped) == (78, 1, {"video": 1})
    assert len(list((store / "images").iterdir())) == 3
    assert verify_store(store).findings == ()
    return store


@pytest.fixture
def store(crawled: Path, tmp_path: Path) -> Path:
    """A copy of that, to be damaged."""
    return shutil.copytree(crawled, tmp_path / "store")


def again(store: Path, site: ScriptedBoard, *, limit: int | None = None) -> CrawlReport:
    return crawl_board(config(store, site, shard_bytes=30_000, limit=limit))


def flip_picture(store: Path) -> None:
    flip(store / "images/images-000001.tar", 512 + 200)


def flip_header(store: Path) -> None:
    flip(store / "images/images-000001.tar", 30)


def flip_json(store: Path) -> None:
    tar = store / "images/images-000001.tar"
    flip(tar, tar.read_bytes().index(b'{"post"') + 1)


def flip_id(store: Path) -> None:
    tar = store / "images/images-000001.tar"
    flip(tar, tar.read_bytes().index(b'"id":') + 5)


def cut_sealed_tar(store: Path) -> None:
    tar = store / "images/images-000001.tar"
    tar.write_bytes(tar.read_bytes()[:10_000])


def cut_open_tar(store: Path) -> None:
    tar = store / "images/images-000002.tar"
    tar.write_bytes(tar.read_bytes()[:-5_000])


def lose_tar(store: Path) -> None:
    (store / "images/images-000001.tar").unlink()


def lose_open_tar(store: Path) -> None:
    (store / "images/images-000002.tar").unlink()


PICTURES = [
    *(flip_picture, flip_header, flip_json, flip_id),
    *(cut_sealed_tar, cut_open_tar, lose_tar, lose_open_tar),
]


@pytest.mark.parametrize("damage", PICTURES)
def test_f38_damaged_pictures_are_found_repaired_and_fetched_again(
    store: Path, site: ScriptedBoard, damage: Callable[[Path], None]
) -> None:
    """F38: named by tar and key; repaired; the next crawl asks for exactly what was lost."""
    damage(store)
    found = verify_store(store)
    untouched = verify_store(store)
    repaired = verify_store(store, repair=True)
    between = verify_store(store)
    lost = store_status(store).pending
    asked = len(site.asked("/samples/"))
    healed = again(store, site)

    assert found.findings
    assert all(finding.where.startswith("images/images-00000") for finding in found.findings)
    assert found == untouched
    assert all(finding.repaired for finding in repaired.findings)
    assert between.findings == ()
    assert lost > 0
    assert len(site.asked("/samples/")) - asked == lost
    assert (healed.stored, healed.duplicate, healed.complete) == (78, 1, True)
    assert verify_store(store).findings == ()


def test_a_lost_holder_takes_its_duplicates_with_it(store: Path, site: ScriptedBoard) -> None:
    """A duplicate relies on another post's bytes: when those are lost, it is fetched again, too."""
    with sqlite3.connect(store / "crawl.sqlite") as ledger:
        ((tar, offset),) = ledger.execute(
            "SELECT tar, offset FROM posts WHERE id IN (SELECT duplicate_of FROM posts)"
        ).fetchall()
    ledger.close()
    flip(store / f"images/images-{tar:06d}.tar", offset + 100)
    verify_store(store, repair=True)

    assert store_status(store).pending == 2
    assert (again(store, site).stored, store_status(store).duplicate) == (78, 1)


def delete_ledger(store: Path) -> None:
    for file in store.glob("crawl.sqlite*"):
        file.unlink()


def overwrite_ledger(store: Path) -> None:
    (store / "crawl.sqlite").write_bytes(b"garbage" * 1000)


def riddle_ledger(store: Path) -> None:
    content = bytearray((store / "crawl.sqlite").read_bytes())
    content[8192:20480] = bytes(12288)
    (store / "crawl.sqlite").write_bytes(content)


@pytest.mark.parametrize("damage", [delete_ledger, overwrite_ledger, riddle_ledger])
def test_f38_a_ledger_is_rebuilt_from_the_files(
    store: Path, site: ScriptedBoard, damage: Callable[[Path], None]
) -> None:
    """F38: not one file is fetched again; outcomes, attempts and tag categories are as before."""
    before = (store / "posts/posts-000000.parquet").read_bytes()
    damage(store)
    found = verify_store(store)
    verify_store(store, repair=True)
    asked, asked_tags = len(site.asked("/samples/")), len(site.asked("&s=tag&"))
    healed = again(store, site)

    assert [finding.where for finding in found.findings][:1] == ["crawl.sqlite"]
    assert "run `" not in found.findings[0].what  # what runs already
    assert len(site.asked("/samples/")) == asked
    assert len(site.asked("&s=tag&")) == asked_tags
    assert (healed.listed, healed.stored, healed.duplicate, healed.skipped) == (80, 78, 1, {"video": 1})
    assert healed.complete
    assert verify_store(store).findings == ()
    assert len(before) > 0


def delete_tar(store: Path) -> None:
    delete_ledger(store)
    (store / "images/images-000000.tar").unlink()


def change_tar_of_post(store: Path) -> None:
    change(store, "UPDATE posts SET tar=7 WHERE seq=(SELECT max(seq) FROM posts WHERE tar=1)")
    flip_picture(store)


def change_to_later_tar(store: Path) -> None:
    change(store, "UPDATE posts SET tar=2 WHERE seq=(SELECT max(seq) FROM posts WHERE tar=1)")
    flip_picture(store)


def change_tar_number(store: Path) -> None:
    change(store, "UPDATE tars SET number=7 WHERE number=0")
    flip(store / "images/images-000000.tar", 512 + 200)


def change(store: Path, sql: str) -> None:
    with contextlib.closing(sqlite3.connect(store / "crawl.sqlite")) as ledger, ledger:
        ledger.execute(sql)


@pytest.mark.parametrize(
    ("damage", "lost"),
    [(delete_tar, 30), (change_tar_of_post, 1), (change_to_later_tar, 1), (change_tar_number, 1)],
)
def test_a_post_that_is_in_another_tar_file_than_the_ledger_says_is_not_lost(
    store: Path, site: ScriptedBoard, damage: Callable[[Path], None], lost: int
) -> None:
    """Its picture is found where it is, or fetched again; a repair of the tar file keeps it."""
    damage(store)

    assert verify_store(store).findings != ()
    verify_store(store, repair=True)
    assert verify_store(store).findings == ()
    asked = len(site.asked("/samples/"))
    assert again(store, site).stored == 78
    assert len(site.asked("/samples/")) - asked == lost
    assert verify_store(store).findings == ()
    assert sum(pictures_in(tar) for tar in (store / "images").iterdir()) == 78


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE tars SET size=0, sealed=0 WHERE number=(SELECT max(number) FROM tars)",
        "UPDATE tars SET size=512, sealed=0 WHERE number=(SELECT max(number) FROM tars)",
        "DELETE FROM tars",
    ],
)
def test_a_crawl_cuts_no_pictures_off_that_the_ledger_still_has(
    store: Path, site: ScriptedBoard, sql: str
) -> None:
    """A wrong length of a tar file is refused before it is cut back to it; a repair finds the true one."""
    tars = sorted((store / "images").iterdir())
    before = [tar.read_bytes() for tar in tars]
    change(store, sql)
    change(store, "UPDATE posts SET status='pending' WHERE seq=(SELECT min(seq) FROM posts WHERE tar=1)")

    with pytest.raises(
        DamagedError, match=r"pictures beyond the end that it records for images/images-0.*: run .* --repair"
    ):
        again(store, site)
    assert [tar.read_bytes() for tar in tars] == before
    verify_store(store, repair=True)
    assert again(store, site).stored == 78
    assert verify_store(store).findings == ()


def pictures_in(tar: Path) -> int:
    with tarfile.open(tar) as file:
        return sum(not name.endswith(".json") for name in file.getnames())


def test_a_full_disk_ends_a_repair_and_leaves_the_ledger(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger without the posts that did not fit would be taken for the whole store."""
    riddle_ledger(store)
    before = (store / "crawl.sqlite").read_bytes()

    def full(*_: object) -> None:
        raise StorageError("cannot write crawl.sqlite: database or disk is full: make room")

    monkeypatch.setattr(rebuild, "_add_rows", full)
    with pytest.raises(StorageError, match="make room"):
        verify_store(store, repair=True)

    assert (store / "crawl.sqlite").read_bytes() == before


def test_without_ledger_and_tables_the_pictures_are_adopted(store: Path, site: ScriptedBoard) -> None:
    """The tar files alone restore every picture; only posts without one are listed and recorded again."""
    delete_ledger(store)
    (store / "posts/posts-000000.parquet").unlink()
    verify_store(store, repair=True)
    asked = len(site.asked("/samples/"))
    healed = again(store, site)

    assert (healed.listed, healed.stored, healed.complete) == (80, 78, True)
    assert len(site.asked("/samples/")) - asked == 1  # the duplicate has no bytes of its own
    assert verify_store(store).findings == ()


@pytest.mark.parametrize("table", ["posts/posts-000000.parquet", "tags.parquet"])
@pytest.mark.parametrize("how", ["lost", "cut", "shortened", "edited"])
def test_f38_tables_are_written_again(store: Path, table: str, how: str) -> None:
    """F38: a table that is gone, no Parquet, or says something else than the ledger."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = store / table
    if how == "lost":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "shortened":
        pq.write_table(pq.read_table(path).slice(1), path)
    else:  # one word of one row
        rows = pq.read_table(path)
        column = "category" if "category" in rows.column_names else "rating"
        words = ["edited", *rows[column].to_pylist()[1:]]
        at = rows.schema.get_field_index(column)
        pq.write_table(rows.set_column(at, rows.schema.field(at), pa.array(words)), path)
    found = verify_store(store)
    verify_store(store, repair=True)

    assert [finding.where for finding in found.findings] == [table]
    assert "run `" not in found.findings[0].what
    assert verify_store(store).findings == ()


def test_verify_refuses_what_is_no_store_or_in_use(store: Path, tmp_path: Path) -> None:
    """Exit status 2, one line."""
    with pytest.raises(UsageError, match="give the folder of a store"):
        verify_store(tmp_path)
    with exclusive(store, CRAWL_LOCK_FILE), pytest.raises(UsageError, match="in use by process"):
        verify_store(store)


def test_status_says_what_to_do_without_a_ledger(store: Path) -> None:
    """Exit status 4, and the repair is named."""
    delete_ledger(store)

    with pytest.raises(DamagedError, match=r"verify .* --repair"):
        store_status(store)


def test_a_crawl_refuses_a_damaged_ledger(store: Path, site: ScriptedBoard) -> None:
    """Nothing is overwritten; the repair is named."""
    overwrite_ledger(store)

    with pytest.raises(DamagedError, match=r"verify .* --repair"):
        again(store, site)
