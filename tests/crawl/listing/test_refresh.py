"""Later runs find posts that changed or disappeared on the board."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiohttp import web

from alti2v.crawl.crawler import crawl_board
from alti2v.crawl.verify import verify_store
from alti2v.records import Progress
from alti2v.storage.layout import HISTORY_FILE, LEDGER_FILE
from tests.crawl.conftest import Board
from tests.crawl.helpers.crawling import config, page, pictures, posts
from tests.crawl.helpers.scripted_board import ScriptedBoard, tags_of

HOUR_S = 3600


def history(store: Path) -> dict[int, tuple[set[str], set[str]]]:
    rows = pd.read_parquet(store / HISTORY_FILE)
    return {
        int(row["id"]): (set(row["tags_added"]), set(row["tags_removed"])) for row in rows.to_dict("records")
    }


def retag(site: ScriptedBoard, number: int, *tags: str) -> None:
    site.retagged[number] = (int(time.time()) - HOUR_S, sorted(tags))


def all_tags(store: Path, number: int) -> list[str]:
    row = posts(store).loc[number]
    return sorted(tag for name in row.index if name.startswith("tags_") for tag in row[name])


@pytest.mark.parametrize("dialect", ["gelbooru", "danbooru"])
def test_without_refresh_only_new_posts_are_listed(board: Board, tmp_path: Path, dialect: str) -> None:
    """A few questions, whatever the size of the board; nothing is fetched again."""
    site = board(dialect=dialect, page_cap=10)
    crawl_board(config(tmp_path / "store", site))
    site.ids += [121, 123, 125]
    site.requests.clear()
    report = crawl_board(config(tmp_path / "store", site))

    assert (report.new, report.listed, report.complete) == (3, 63, True)
    assert len(site.asked("posts.json?" if dialect == "danbooru" else "s=post")) <= 4
    assert len(site.asked("/samples/")) == 3


@pytest.mark.parametrize("dialect", ["gelbooru", "danbooru"])
def test_changed_posts_are_read_again(board: Board, tmp_path: Path, dialect: str) -> None:
    """Where the board lists by time of change, a page is enough; the history keeps what the tags were."""
    site = board(dialect=dialect, page_cap=10, sorts_by_change=True)
    store = tmp_path / "store"
    crawl_board(config(store, site))
    before = pictures(store)
    retag(site, 11, "1girl", "hatsune_miku", "vocaloid")
    site.requests.clear()
    begun = int(time.time())
    report = crawl_board(config(store, site, refresh=2.0))
    former = set(tags_of(11))

    assert report.complete, report.missing
    assert report.new == 0
    assert all_tags(store, 11) == ["1girl", "hatsune_miku", "vocaloid"]
    assert history(store) == {11: ({"hatsune_miku", "vocaloid"} - former, former - {"1girl", "hatsune_miku"})}
    seen_at = pd.read_parquet(store / HISTORY_FILE)["seen_at"][0].to_pydatetime()
    assert begun <= seen_at.timestamp() <= datetime.now(UTC).timestamp()
    assert pictures(store) == before
    assert len(site.asked("order:change" if dialect == "danbooru" else "sort:updated")) == 1
    assert verify_store(store).findings == ()


@pytest.mark.parametrize("dialect", ["gelbooru", "danbooru"])
def test_every_post_is_read_again_where_the_board_cannot_sort(
    board: Board, tmp_path: Path, dialect: str
) -> None:
    """It says so; old changes are found, too."""
    site = board(dialect=dialect, page_cap=10)
    store = tmp_path / "store"
    crawl_board(config(store, site))
    retag(site, 3, "1girl", "some_artist")
    told: list[Progress] = []
    report = crawl_board(config(store, site, refresh=1.0), progress=told.append)

    assert report.complete, report.missing
    assert all_tags(store, 3) == ["1girl", "some_artist"]
    assert set(history(store)) == {3}
    assert any("does not list by time of change" in progress.milestone for progress in told)
    assert max(progress.done for progress in told if progress.stage == "reading again") == 60


@pytest.mark.parametrize("ignores_cursor", [False, True])
@pytest.mark.parametrize("sorts", [False, True])
def test_f60_posts_that_are_gone_are_marked(
    board: Board, tmp_path: Path, sorts: bool, ignores_cursor: bool
) -> None:
    """Row and picture stay; a post that merely left the search is not gone. By page number where need be."""
    site = board(page_cap=10, sorts_by_change=sorts, ignores_cursor=ignores_cursor)
    store = tmp_path / "store"
    crawl_board(config(store, site, tags="1girl"))
    site.ids = [number for number in site.ids if number not in (1, 57, 119)]
    retag(site, 33, "solo")  # no longer 1girl
    report = crawl_board(config(store, site, tags="1girl", refresh=1.0))
    rows = posts(store)

    assert set(rows.index[rows["board_status"] == "deleted"]) == {1, 57, 119}
    assert set(rows["status"]) == {"stored"}
    assert len(pictures(store)) == report.stored == 60
    assert all_tags(store, 33) == ["solo"]
    site.requests.clear()
    again = crawl_board(config(store, site, tags="1girl", refresh=1.0))
    assert len(site.asked("id:57&")) == 0
    assert again.listed == 60


def test_deleted_and_banned_posts_of_danbooru_are_marked(board: Board, tmp_path: Path) -> None:
    """Banned ones lose their addresses there; here the md5 and the picture stay."""
    site = board(dialect="danbooru", sorts_by_change=True)
    store = tmp_path / "store"
    crawl_board(config(store, site))
    md5 = posts(store).loc[21, "md5"]
    site.hidden.add(21)
    retag(site, 21, *tags_of(21))
    crawl_board(config(store, site, refresh=1.0))
    row = posts(store).loc[21]

    assert (row["board_status"], row["status"], row["md5"]) == ("banned", "stored", md5)
    assert posts(store).loc[11, "board_status"] == "deleted"  # since its first listing


def test_deleted_posts_that_are_shown_hide_none_that_are_gone(board: Board, tmp_path: Path) -> None:
    """Danbooru shows and counts deleted posts; one that was missing is not requested at every refresh."""
    site = board(dialect="danbooru", sorts_by_change=True, page_cap=10)
    store = tmp_path / "store"
    crawl_board(config(store, site))
    site.ids.remove(57)
    crawl_board(config(store, site, refresh=1.0))
    rows = posts(store)
    site.requests.clear()
    crawl_board(config(store, site, refresh=1.0))

    assert set(rows.index[rows["board_status"] == "deleted"]) == {11, 33, 55, 57, 77, 99}
    assert site.asked("page=b") == []


def test_a_refresh_asks_for_xml_where_json_is_refused(board: Board, tmp_path: Path) -> None:
    """As listing does, and once that is known JSON is not asked for again."""
    site = board(page_cap=10, json_refused=True)
    store = tmp_path / "store"
    crawl_board(config(store, site))
    retag(site, 3, "solo")
    site.ids.remove(57)
    site.requests.clear()
    report = crawl_board(config(store, site, refresh=1.0))
    rows = posts(store)

    assert report.complete, report.missing
    assert all_tags(store, 3) == ["solo"]
    assert set(rows.index[rows["board_status"] == "deleted"]) == {57}
    assert len(site.asked("json=1")) == 1


def test_a_page_of_ghosts_alone_costs_no_question_for_each_post(board: Board, tmp_path: Path) -> None:
    """It says nothing of where the walk is, so it is passed."""
    deleted_ids: dict[int, dict[str, Any]] = {
        number: {"id": number, "file_url": None} for number in range(40, 60, 2)
    }
    site = board(page_cap=5, deleted_ids=deleted_ids, ids=[*range(1, 40, 2), *range(60, 90, 2)])
    store = tmp_path / "store"
    crawl_board(config(store, site))
    site.ids.remove(7)
    site.requests.clear()
    crawl_board(config(store, site, refresh=1.0))
    rows = posts(store)

    assert set(rows.index[rows["board_status"] == "deleted"]) == {7}
    assert len(site.asked("tags=id:7&")) == 2
    assert len([path for path in site.asked("tags=id:") if "%3C" not in path]) == 2


def test_a_board_that_ignores_the_number_deletes_nothing(board: Board, tmp_path: Path) -> None:
    """It answers with the newest post: no answer to the question whether this one is there."""
    site = board(page_cap=10)
    store = tmp_path / "store"
    crawl_board(config(store, site))
    site.ids.remove(57)
    site.ignores = ("id:57",)
    report = crawl_board(config(store, site, refresh=1.0))

    assert "answers id:57 with another post" in report.missing
    assert set(posts(store)["board_status"]) == {"active"}


def test_a_board_that_ignores_pages_too_ends_a_refresh(board: Board, tmp_path: Path) -> None:
    """The same page again and again is no walk: said, and nothing is marked."""
    site = board(page_cap=10, ignores_cursor=True)
    store = tmp_path / "store"
    crawl_board(config(store, site))
    newest = web.Response(text=json.dumps([site.json_post(number) for number in site.ids[-10:]]))
    site.script("/index.php?page=dapi&q=index&s=post&tags=&limit=1000", *[None] * 2, *[lambda _: newest] * 20)
    report = crawl_board(config(store, site, refresh=1.0))

    assert "ignores id:<N, and page numbers" in report.missing
    assert set(posts(store)["board_status"]) == {"active"}


def test_an_empty_page_in_between_deletes_nothing(board: Board, tmp_path: Path) -> None:
    """Boards answer nothing now and then: a post is gone only if the board lacks it twice by its number."""
    site = board(page_cap=10)
    store = tmp_path / "store"
    crawl_board(config(store, site))
    empty = page("")
    site.script("/index.php?page=dapi&q=index&s=post&tags=id:%3C", None, None, empty, None, empty)
    report = crawl_board(config(store, site, refresh=1.0))

    assert report.complete, report.missing
    assert set(posts(store)["board_status"]) == {"active"}


def test_a_refresh_that_cannot_be_finished_says_so(board: Board, tmp_path: Path) -> None:
    """The run is incomplete and says what is missing; no post is marked as deleted."""
    site = board(page_cap=10)
    store = tmp_path / "store"
    crawl_board(config(store, site))
    site.script("/index.php?page=dapi&q=index&s=post&tags=id:%3C", None, None, *[page(status=500)] * 3)
    report = crawl_board(config(store, site, refresh=1.0))

    assert not report.complete
    assert "changes of posts below id" in report.missing
    assert set(posts(store)["board_status"]) == {"active"}


def test_the_history_survives_a_lost_ledger(board: Board, tmp_path: Path) -> None:
    """Repair reads it back from its table, and finds a table that was edited."""
    site = board()
    store = tmp_path / "store"
    crawl_board(config(store, site))
    retag(site, 3, "1girl", "some_artist")
    crawl_board(config(store, site, refresh=1.0))
    before = history(store)
    (store / LEDGER_FILE).unlink()
    verify_store(store, repair=True)
    crawl_board(config(store, site))

    assert verify_store(store).findings == ()
    assert history(store) == before
    (store / HISTORY_FILE).unlink()
    assert [finding.where for finding in verify_store(store, repair=True).findings] == [HISTORY_FILE]
    assert history(store) == before
