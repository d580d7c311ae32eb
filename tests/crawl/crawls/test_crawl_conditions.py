"""Crawls within bounds, and retries of failed posts alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from alti2v.crawl.boards.danbooru import Danbooru
from alti2v.crawl.boards.gelbooru import Gelbooru
from alti2v.crawl.boards.protocol import Conditions, Terms
from alti2v.crawl.crawler import CrawlConfig, crawl_board
from alti2v.crawl.status import store_status
from alti2v.errors import UsageError
from alti2v.records import Post, Progress
from tests.crawl.conftest import Board
from tests.crawl.helpers.crawling import config, page, posts
from tests.crawl.helpers.scripted_board import tags_of

BOUNDS: dict[str, Any] = {"min_id": 20, "max_id": 100, "min_score": 1, "exclude": ("hatsune_miku",)}


def wanted(site: Any) -> set[int]:
    return {
        number
        for number in site.ids
        if 20 <= number <= 100 and (site.score(number) or 0) >= 1 and "hatsune_miku" not in tags_of(number)
    }


@pytest.mark.parametrize("dialect", ["gelbooru", "danbooru"])
def test_only_what_fulfils_the_conditions_is_listed(board: Board, tmp_path: Path, dialect: str) -> None:
    """The board gets them as search terms, so nothing else is listed, and the count agrees."""
    site = board(dialect=dialect, page_cap=5)
    report = crawl_board(config(tmp_path / "store", site, tags="1girl", **BOUNDS))

    assert report.complete, report.missing
    assert set(posts(report.store).index) == wanted(site)
    assert report.stored == len(wanted(site)) > 5
    assert store_status(report.store).board_count == report.listed


@pytest.mark.parametrize("dialect", ["gelbooru", "danbooru"])
def test_newer_posts_within_the_bounds_are_added(board: Board, tmp_path: Path, dialect: str) -> None:
    """The same command later lists only what is new."""
    site = board(dialect=dialect, ids=list(range(1, 60, 2)))
    bounds = {"min_id": 20, "max_id": 100}
    crawl_board(config(tmp_path / "store", site, **bounds))
    site.ids += range(61, 120, 2)
    site.requests.clear()
    report = crawl_board(config(tmp_path / "store", site, **bounds))

    assert report.complete, report.missing
    assert set(posts(report.store).index) == set(range(21, 100, 2))
    assert len(site.asked("/samples/")) == 20


@pytest.mark.parametrize("ignores", [(), ("id:>=",)])
def test_the_lowest_id_is_not_sent_to_boards_that_may_ignore_it(
    board: Board, tmp_path: Path, ignores: tuple[str, ...]
) -> None:
    """Listing, count, status and refresh are the same whether a Gelbooru board obeys `id:>=N` or not."""
    site, store = board(page_cap=7, ignores=ignores), tmp_path / "store"
    bounds = {"min_id": 40, "max_id": 90}
    report = crawl_board(config(store, site, **bounds))
    site.ids.remove(55)
    later = crawl_board(config(store, site, refresh=1.0, **bounds))
    rows = posts(store)

    assert report.complete, report.missing
    assert later.complete, later.missing
    assert set(rows.index) == set(range(41, 91, 2))
    assert store_status(store).board_count == 24
    assert rows.index[rows["board_status"] == "deleted"].tolist() == [55]


def test_an_empty_answer_above_the_lowest_id_is_not_the_end(board: Board, tmp_path: Path) -> None:
    """Posts below the lowest id, which the board counts, are not taken for missing ones."""
    site = board(page_cap=7, ignores=("id:>=",))
    nothing = web.Response
    site.script("/index.php?page=dapi&q=index&s=post&tags=id%3A%3C", None, *[lambda _: nothing(text="")] * 2)
    report = crawl_board(config(tmp_path / "store", site, min_id=40))

    assert report.complete, report.missing
    assert set(posts(report.store).index) == set(range(41, 120, 2))


@pytest.mark.parametrize("cursor", [True, False])
def test_a_board_that_ignores_conditions_is_noticed(board: Board, tmp_path: Path, cursor: bool) -> None:
    """Posts that it lists all the same are recorded as left out, and their files are not asked for."""
    site = board(page_cap=20, ignores=("id:>=", "score:", "-"), ignores_cursor=not cursor)
    report = crawl_board(config(tmp_path / "store", site, **BOUNDS))
    rows = posts(report.store)

    assert report.complete, report.missing
    assert set(rows.index[rows["status"] == "stored"]) == wanted(site)
    assert set(rows.loc[rows["status"] == "skipped", "reason"]) == {"filtered"}
    assert len(site.asked("/samples/")) == report.stored


def test_what_the_board_would_refuse_is_held_here_and_said(board: Board, tmp_path: Path) -> None:
    """Two terms are all that an anonymous search of Danbooru may have: the rest is sorted out by us."""
    site = board(dialect="danbooru")
    told: list[Progress] = []
    options = {"tags": "1girl", "exclude": ("solo", "smile")}
    report = crawl_board(config(tmp_path / "store", site, **options), progress=told.append)
    rows = posts(report.store)
    expected = {number for number in site.ids if not {"solo", "smile"} & set(tags_of(number))}

    assert report.complete, report.missing
    assert set(rows.index[rows["status"] == "stored"]) == expected
    assert report.skipped == {"filtered": len(rows) - len(expected)}
    assert any("takes no more search terms: applying -smile here" in progress.milestone for progress in told)
    assert all("solo" not in tags_of(number) for number in rows.index)


@pytest.mark.parametrize("excluded", ["caf\u00e9", "cafe\u0301", "caf\u00e9*", "*e\u0301"])
def test_unicode_forms_of_an_excluded_tag_are_one(excluded: str) -> None:
    """A board has one character, a file from macOS two; both mean the same tag."""
    for name in ("caf\u00e9", "cafe\u0301"):
        assert not Conditions(exclude=(excluded,)).hold_for(Post(id=1, tags_general=f"solo {name}"))
    assert Conditions(exclude=("a",)).hold_for(Post(id=1, tags_general="\uff41"))


def test_terms() -> None:
    """Conditions become terms of each dialect; a metatag is free on Danbooru."""
    conditions = Conditions(min_id=5, min_score=3, exclude=("a", "b"))

    assert Gelbooru("http://x").terms("c d", conditions) == Terms(text="c d score:>=3 -a -b")
    assert Danbooru("http://x").terms("rating:g c", conditions) == Terms(
        text="rating:g c id:>=5 score:>=3 -a", left=("-b",)
    )
    assert Danbooru("http://x").terms("c order:score", conditions).left == ("-a", "-b")


@pytest.mark.parametrize(
    "change", [{"min_id": 21}, {"min_score": None}, {"exclude": ()}, {"exclude": ("solo",)}, {"max_id": 101}]
)
def test_other_conditions_are_another_plan(board: Board, tmp_path: Path, change: dict[str, Any]) -> None:
    """Other conditions change what the store holds, so they are another plan."""
    site = board()
    crawl_board(config(tmp_path / "store", site, **BOUNDS))

    with pytest.raises(UsageError, match=f"was crawled with(out)? --{next(iter(change)).replace('_', '-')}"):
        crawl_board(replace(config(tmp_path / "store", site, **BOUNDS), **change))


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_id": 0},
        {"max_id": 10**12},
        {"min_id": 5, "max_id": 4},
        {"exclude": ("a b",)},
        {"exclude": ("-a",)},
        {"exclude": ("",)},
        {"min_score": 10**10},
        {"retry_failed": "nonsense"},
    ],
)
def test_conditions_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """One line; nothing is made on the disk."""
    with pytest.raises(UsageError) as caught:
        CrawlConfig(store=tmp_path / "store", board="safebooru", **wrong)

    assert "\n" not in str(caught.value)


def test_only_what_failed_is_tried_again(board: Board, tmp_path: Path) -> None:
    """One kind or all, without a question to the API, and nothing that was never tried."""
    site = board(ids=[7, 9, 11], samples=False)
    store = tmp_path / "store"
    lost = page(status=404)
    site.script("/images/0/p7", lost)
    site.script("/images/2/p9", *[page()] * 4)
    first = crawl_board(config(store, site))
    site.requests.clear()
    one = crawl_board(config(store, site, retry_failed="http_404"))
    asked = [path for _, path in site.requests]
    site.scripts.clear()
    everything = crawl_board(config(store, site, retry_failed="all"))

    assert first.failed == {"http_404": 1, "not_image": 1}
    assert asked == ["/robots.txt", "/images/0/p7.jpg"]
    assert (one.failed, one.new, one.complete) == ({"not_image": 1}, 1, True)
    assert (everything.failed, everything.stored) == ({}, 3)


def test_retrying_says_when_the_listing_has_no_end_yet(board: Board, tmp_path: Path) -> None:
    """Posts that were never listed still count as missing."""
    site = board()
    crawl_board(config(tmp_path / "store", site, limit=5))
    report = crawl_board(config(tmp_path / "store", site, retry_failed="all"))

    missing = "the listing has not come to its end (run without --retry-failed)"
    assert (report.complete, report.missing) == (False, missing)


def test_nothing_can_be_retried_before_a_first_crawl(board: Board, tmp_path: Path) -> None:
    """A usage error that says what to do."""
    with pytest.raises(UsageError, match="leave out --retry-failed"):
        crawl_board(config(tmp_path / "store", board(), retry_failed="all"))
