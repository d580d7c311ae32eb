"""Reading a store: a consistent snapshot, and the right bytes for the right post."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from alti2v.errors import DamagedError, DataError, StorageError, UsageError, VersionError
from alti2v.records import Category, Span
from alti2v.storage.columns import POSTS, STORE_TAGS
from alti2v.storage.directory import exclusive
from alti2v.storage.layout import CRAWL_LOCK_FILE, posts_table
from alti2v.storage.store import open_store, read_categories, read_pictures, read_posts
from alti2v.storage.table import read_table, write_table
from tests.dataset.helpers.tiny_store import CATEGORY_OF, TinyPost, tiny_posts, write_store


def listed(path: Path) -> list[int]:
    with open_store(path) as store:
        return [post_id for part in read_posts(store, ["id"]) for post_id in part.column("id").to_pylist()]


def test_parts_are_read_in_the_order_of_listing(tmp_path: Path) -> None:
    """All parts in the order of their numbers, each once."""
    write_store(tmp_path, tiny_posts(25), rows_per_part=10)

    assert listed(tmp_path) == list(range(25, 0, -1))


def test_a_snapshot_does_not_change_under_a_crawl(tmp_path: Path) -> None:
    """Parts that are replaced after opening are still read as they were."""
    write_store(tmp_path, tiny_posts(5))
    with open_store(tmp_path) as store:
        write_store(tmp_path, tiny_posts(9))
        before = [part.num_rows for part in read_posts(store, ["id"])]
        again = [part.num_rows for part in read_posts(store, ["id"])]

    assert before == again == [5]
    assert len(listed(tmp_path)) == 9


def test_a_part_that_is_replaced_while_opening_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old and new parts are never mixed in a snapshot."""
    write_store(tmp_path, tiny_posts(4), rows_per_part=2)
    real, last = Path.open, posts_table(1)
    opened: list[str] = []

    def replacing(path: Path, *args: Any, **kwargs: Any) -> object:
        opened.append(path.name)
        if opened.count(Path(last).name) == 1 and path.name == Path(last).name:
            monkeypatch.setattr(Path, "open", real)
            write_store(tmp_path, tiny_posts(4, first_id=100), rows_per_part=2)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", replacing)

    assert listed(tmp_path) == [103, 102, 101, 100]


def test_pictures_are_read_by_post(tmp_path: Path) -> None:
    """Each post's span holds its picture, in any tar file."""
    posts = tiny_posts(7)
    write_store(tmp_path, posts, posts_per_tar=3)
    contents: dict[int, bytes] = {}
    with open_store(tmp_path) as store:
        for part in read_posts(store, ["id", "tar", "offset", "size"]):
            for row in part.to_pylist():
                span = Span(offset=row["offset"], size=row["size"])
                found = read_pictures(tmp_path, row["tar"], [(row["id"], span)])
                contents |= {post_id: bytes(content) for post_id, content in found if content is not None}

    assert contents == {post.id: post.content for post in posts}


def test_a_lost_picture_does_not_stop_the_others(tmp_path: Path) -> None:
    """A span of another post's member, or past the end of the file, has no bytes; the next one has."""
    posts = {post.id: post.content for post in tiny_posts(2)}
    write_store(tmp_path, tiny_posts(2))
    there = Span(offset=512, size=len(posts[2] or b""))
    wanted = [(1, Span(offset=512, size=10)), (2, there), (2, Span(offset=512, size=10**9))]

    assert [content and bytes(content) for _, content in read_pictures(tmp_path, 0, wanted)] == [
        None,
        posts[2],
        None,
    ]


def test_a_bad_block_of_the_disk_costs_one_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that the disk refuses to read are lost like those that are not there; a folder is no tar file."""
    real = os.pread

    def refusing(descriptor: int, size: int, offset: int) -> bytes:
        if offset == 0:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, size, offset)

    write_store(tmp_path, tiny_posts(2))
    monkeypatch.setattr(os, "pread", refusing)
    with open_store(tmp_path) as store:
        rows = [row for part in read_posts(store, ["id", "offset", "size"]) for row in part.to_pylist()]
    wanted = [(row["id"], Span(offset=row["offset"], size=row["size"])) for row in rows]
    found = {post_id: content is not None for post_id, content in read_pictures(tmp_path, 0, wanted)}
    assert found == {2: False, 1: True}

    (tmp_path / "images" / "images-000001.tar").mkdir()
    with pytest.raises(StorageError, match=r"images-000001.tar cannot be read: Is a directory"):
        list(read_pictures(tmp_path, 1, [(1, Span(offset=512, size=10))]))


def test_a_missing_tar_is_damage(tmp_path: Path) -> None:
    """A missing tar file is named, with the command that helps."""
    write_store(tmp_path, tiny_posts(1))

    with pytest.raises(DamagedError, match=r"images-000007.tar is missing.*verify --repair"):
        list(read_pictures(tmp_path, 7, [(1, Span(offset=512, size=10))]))


def test_categories_of_tags(tmp_path: Path) -> None:
    """Every tag of the store has its category."""
    write_store(tmp_path, [TinyPost(id=1, content=None)])
    with open_store(tmp_path) as store:
        assert read_categories(store) == {name: Category(value) for name, value in CATEGORY_OF.items()}


def test_what_is_no_store(tmp_path: Path) -> None:
    """A missing folder, a folder of another kind, and a store without tables: one line each."""
    (tmp_path / "other").mkdir()
    for path, message in ((tmp_path / "none", "does not exist"), (tmp_path / "other", "is not a store")):
        with pytest.raises(UsageError, match=message), open_store(path):
            pass
    store = write_store(tmp_path / "store", tiny_posts(2))
    for table in (posts_table(0), "tags.parquet"):
        content = (store / table).read_bytes()
        (store / table).unlink()
        with (
            pytest.raises(DataError, match=r"has no finished tables yet: run `alti2v crawl`"),
            open_store(store),
        ):
            pass
        with (
            exclusive(store, CRAWL_LOCK_FILE),
            pytest.raises(DataError, match=rf"no finished tables yet: wait until process {os.getpid()} ends"),
            open_store(store),
        ):
            pass
        (store / table).write_bytes(content)


def test_a_table_of_a_newer_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part with a newer version is refused by name."""
    monkeypatch.setattr("alti2v.storage.table.FORMAT_VERSION", 9)
    store = write_store(tmp_path, tiny_posts(2))
    monkeypatch.undo()

    with pytest.raises(VersionError, match=r"posts-000000.parquet has format version 9"):
        listed(store)


def test_a_category_that_does_not_exist(tmp_path: Path) -> None:
    """An unknown category in a tag table is damage, not a crash."""
    store = write_store(tmp_path, tiny_posts(1), category_of={"1girl": "general"})
    rows = [{"name": "a", "category": "weird", "count": 1, "board_count": None}]
    write_table(store / "tags.parquet", STORE_TAGS, rows)

    with open_store(store) as opened, pytest.raises(DamagedError, match="weird"):
        read_categories(opened)


def test_the_tiny_store_holds_the_contract(tmp_path: Path) -> None:
    """The tests' own store has the columns of the contract."""
    write_store(tmp_path, tiny_posts(3))

    assert read_table(tmp_path / posts_table(0), POSTS).num_rows == 3
