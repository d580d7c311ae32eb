"""A board replaces the file of a post: the row of the post and its bytes are always of one file."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiohttp import web

from alti2v.crawl.crawler import crawl_board
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.ledger.listed_again import is_replaced, outcome_after
from alti2v.crawl.verify import verify_store
from alti2v.records import Post, Status
from alti2v.storage.layout import LEDGER_FILE, REPLACED_FILE
from tests.crawl.conftest import Board
from tests.crawl.helpers.crawling import config, page, pictures, posts
from tests.crawl.helpers.scripted_board import ScriptedBoard, picture
from tests.helpers.damage import flip

NOW = 1_790_000_000
A, B = "a" * 32, "b" * 32


@dataclass
class ReplacingBoard(ScriptedBoard):
    """A Danbooru whose post 5 gets another file, under another address, when `is_replaced` is set."""

    is_replaced: bool = False

    def __enter__(self) -> ReplacingBoard:
        super().__enter__()
        return self

    def content(self, number: int, *, sample: bool) -> bytes:
        if self.is_replaced and number == 5:
            return picture(555, width=48, height=36)
        return super().content(number, sample=sample)

    def danbooru_post(self, number: int) -> dict[str, Any]:
        post = super().danbooru_post(number)
        if self.is_replaced and number == 5:
            post["file_url"] = post["file_url"].replace("p5.", "p5.new.")
        return post


def test_a_replaced_file_is_fetched_and_the_former_one_stays_findable(tmp_path: Path) -> None:
    """After --refresh row, bytes and MD5 are the new file's; replaced.parquet says where the old bytes are."""
    store = tmp_path / "store"
    with ReplacingBoard(dialect="danbooru", ids=[1, 3, 5, 7], samples=False) as site:
        crawl_board(config(store, site, files="original"))
        old = posts(store).loc[5]
        site.is_replaced = True
        report = crawl_board(config(store, site, files="original", refresh=3650))
    row, former = posts(store).loc[5], pd.read_parquet(store / REPLACED_FILE)

    assert report.complete, report.missing
    assert report.stored == 4
    assert row["md5"] == row["stored_md5"] == hashlib.md5(pictures(store)[5]).hexdigest() != old["md5"]
    assert list(former["id"]) == [5]
    assert (former.loc[0, "md5"], former.loc[0, "stored_md5"]) == (old["md5"], old["stored_md5"])
    assert bytes_at(store, former.loc[0]) == picture(5)
    assert verify_store(store).findings == ()


def row_of(store: Path, number: int) -> Any:
    return posts(store).loc[number]


def bytes_at(store: Path, row: Any) -> bytes:
    with (store / f"images/images-{int(row['tar']):06d}.tar").open("rb") as file:
        file.seek(int(row["offset"]))
        return file.read(int(row["size"]))


def test_former_files_survive_repairs(tmp_path: Path) -> None:
    """A lost ledger is rebuilt with them, and a damaged tar file is written again with their bytes."""
    store = tmp_path / "store"
    with ReplacingBoard(dialect="danbooru", ids=[1, 3, 5, 7], samples=False) as site:
        crawl_board(config(store, site, files="original"))
        site.is_replaced = True
        crawl_board(config(store, site, files="original", refresh=3650))
        (store / LEDGER_FILE).unlink()
        assert [finding.where for finding in verify_store(store, repair=True).findings] == [LEDGER_FILE]
        tar = store / "images/images-000000.tar"
        flip(tar, int(row_of(store, 7)["offset"]) + 100)
        verify_store(store, repair=True)
        report = crawl_board(config(store, site, files="original"))
    former = pd.read_parquet(store / REPLACED_FILE)

    assert report.complete, report.missing
    assert verify_store(store).findings == ()
    assert bytes_at(store, former.loc[0]) == picture(5)
    assert set(pictures(store)) == {1, 3, 5, 7}


def test_a_store_with_bytes_of_another_file_is_found_and_repaired(tmp_path: Path) -> None:
    """Such as an earlier version left: the row has the new MD5, the bytes are the old file's."""
    store = tmp_path / "store"
    with ReplacingBoard(dialect="danbooru", ids=[1, 3, 5, 7], samples=False) as site:
        crawl_board(config(store, site, files="original"))
        site.is_replaced = True
        new = hashlib.md5(site.content(5, sample=False)).hexdigest()
        with Ledger(store / LEDGER_FILE) as ledger, ledger.transaction():
            ledger.execute("UPDATE posts SET md5=? WHERE id=5", (new,))
        found = [finding.what for finding in verify_store(store).findings if "images" in finding.where]
        verify_store(store, repair=True)
        report = crawl_board(config(store, site, files="original"))
    former = pd.read_parquet(store / REPLACED_FILE)

    assert found == ["is another file than its post's"]
    assert (report.stored, report.complete) == (4, True)
    assert posts(store).loc[5, "stored_md5"] == new
    assert bytes_at(store, former.loc[0]) == picture(5)
    assert verify_store(store).findings == ()


def test_a_failed_post_whose_address_changed_is_tried_again(tmp_path: Path) -> None:
    """A changed address makes --refresh try again; a plain crawl does not repeat a 404."""
    store = tmp_path / "store"
    with ReplacingBoard(dialect="danbooru", ids=[1, 3, 5, 7], samples=False) as site:
        site.script("/images/5/p5.jpg", page(status=404))
        first = crawl_board(config(store, site, files="original"))
        site.is_replaced = True
        report = crawl_board(config(store, site, files="original", refresh=3650))

    assert first.failed == {"http_404": 1}
    assert (report.stored, report.failed) == (4, {})


def test_bytes_that_arrive_after_a_replacement_are_not_taken_for_the_new_file(tmp_path: Path) -> None:
    """A file in flight while the board replaces it is dropped, and fetched again in the same run."""
    store = tmp_path / "store"
    with ReplacingBoard(dialect="danbooru", ids=[1, 3, 5, 7], samples=False) as site:
        crawl_board(config(store, site, files="none"))

        def replace_meanwhile(board: ScriptedBoard, path: str) -> None:
            # The old bytes are on their way; the listing that --refresh reads next has the new file.
            if path.startswith("/images/5/p5.jpg"):
                site.is_replaced = True

        site.after = replace_meanwhile
        site.script("/images/5/p5.jpg", slow(picture(5), site))
        report = crawl_board(config(store, site, files="original", refresh=3650))

    assert report.complete, report.missing
    assert row_of(store, 5)["md5"] == row_of(store, 5)["stored_md5"]
    assert pictures(store)[5] == picture(555, width=48, height=36)
    assert verify_store(store).findings == ()


def slow(content: bytes, site: ReplacingBoard) -> Callable[[web.Request], Any]:
    """Answer with the old bytes once the listing has shown the new file."""

    async def answer(_: web.Request) -> web.Response:
        site.is_replaced = True
        before = len(site.asked("/posts.json"))
        for _attempt in range(400):
            if len(site.asked("/posts.json")) > before + 2:
                break
            await asyncio.sleep(0.01)
        return web.Response(body=content, content_type="image/jpeg")

    return answer


@pytest.mark.parametrize(
    ("former", "post", "expected"),
    [
        (Post(id=1, md5=A), Post(id=1, md5=B), True),
        (Post(id=1, md5=A, file_url="http://h/x.jpg"), Post(id=1, md5=A, file_url="http://h/y.jpg"), False),
        (Post(id=1, md5=A, file_url="http://h/x.jpg"), Post(id=1), False),
        (Post(id=1, file_url="http://h/1/x.jpg?1"), Post(id=1, file_url="http://cdn/2/x.jpg?2"), False),
        (Post(id=1, file_url="http://h/x.jpg"), Post(id=1, file_url="http://h/y.jpg"), True),
        (Post(id=1), Post(id=1, md5=B, file_url="http://h/y.jpg"), False),
    ],
)
def test_another_file_is_known_by_its_md5_or_its_name(former: Post, post: Post, expected: bool) -> None:
    """A host that moves files, or signs their addresses anew, does not replace them."""
    assert is_replaced(former, post) is expected


@pytest.mark.parametrize(
    ("status", "reason", "changes", "now", "expected"),
    [
        (Status.STORED, "", {"md5": B}, "", (Status.PENDING, "")),
        (Status.DUPLICATE, "", {"md5": B}, "", (Status.PENDING, "")),
        (Status.STORED, "", {"md5": B}, "video", (Status.SKIPPED, "video")),
        (Status.STORED, "", {"file_url": "http://h/y.jpg"}, "", None),
        (Status.STORED, "", {"score": 1}, "filtered", None),
        (Status.FAILED, "http_404", {"file_url": "http://h/y.jpg"}, "", (Status.PENDING, "")),
        (Status.FAILED, "http_404", {"sample_url": "http://h/s.jpg"}, "", (Status.PENDING, "")),
        (Status.FAILED, "http_404", {"score": 1}, "", None),
        (Status.SKIPPED, "video", {"md5": B, "file_ext": "png"}, "", (Status.PENDING, "")),
        (Status.SKIPPED, "hidden", {"file_url": "http://h/y.jpg"}, "", (Status.PENDING, "")),
        (Status.SKIPPED, "robots", {"score": 1}, "", None),
        (Status.SKIPPED, "robots", {"file_url": "http://h/y.jpg"}, "", (Status.PENDING, "")),
        (Status.PENDING, "", {"file_url": None}, "hidden", (Status.SKIPPED, "hidden")),
        (Status.PENDING, "", {"md5": B}, "", None),
    ],
)
def test_the_outcome_of_a_post_that_is_listed_again(
    status: Status, reason: str, changes: dict[str, Any], now: str, expected: tuple[Status, str] | None
) -> None:
    """Bytes go only with another file; failures and skips are decided anew when their cause has changed."""
    former = Post(id=1, md5=A, file_url="http://h/x.jpg")
    post = former._replace(**changes)

    assert outcome_after(status, reason, former=former, post=post, reason=now) == expected


def test_duplicates_of_a_replaced_file_are_fetched_again(board: Board, tmp_path: Path) -> None:
    """Their bytes were the former file of another post; now each has its own."""
    store = tmp_path / "store"
    with ReplacingBoard(dialect="danbooru", ids=[1, 3, 5, 7], samples=False, same_bytes={3: 5}) as site:
        first = crawl_board(config(store, site, files="original"))
        site.same_bytes = {}
        site.is_replaced = True
        report = crawl_board(config(store, site, files="original", refresh=3650))

    assert (first.stored, first.duplicate) == (3, 1)
    assert (report.stored, report.duplicate, report.complete) == (4, 0, True)
    assert verify_store(store).findings == ()
