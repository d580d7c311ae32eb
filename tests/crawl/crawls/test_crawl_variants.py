"""Crawls of boards that answer in unusual forms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiohttp import web

from alti2v.crawl.crawler import crawl_board
from alti2v.errors import RemoteError, UsageError
from tests.crawl.conftest import Board
from tests.crawl.helpers.crawling import config, posts
from tests.crawl.helpers.scripted_board import tags_of


def test_a_pasted_search_is_crawled_and_nothing_else(board: Board, tmp_path: Path) -> None:
    """The address of a list page names the search; another --tags contradicts it, also in a later run."""
    site = board(ids=list(range(1, 40)))
    pasted = f"{site.url}/index.php?page=post&s=list&tags=vocaloid"
    wishes = config(tmp_path / "store", site, files="none")
    report = crawl_board(replace(wishes, board=pasted))

    assert set(posts(report.store).index) == {number for number in site.ids if "vocaloid" in tags_of(number)}
    assert json.loads((report.store / "store.json").read_text())["tags"] == "vocaloid"
    assert crawl_board(replace(wishes, tags="vocaloid")).complete
    with pytest.raises(UsageError, match="give one of them"):
        replace(wishes, board=pasted, tags="solo")


@pytest.mark.parametrize("entry", [{"tags": "a"}, {"id": None, "tags": "a"}, {"id": "unknown", "tags": "a"}])
def test_a_page_without_usable_ids_ends_the_listing(
    board: Board, tmp_path: Path, entry: dict[str, Any]
) -> None:
    """Such posts are no deleted ones: nothing tells the next page, so the run says it and asks no further."""
    site = board()
    body = json.dumps([entry] * 3)
    site.script("/index.php?page=dapi&q=index&s=post", None, *[answer(body)] * 100)

    with pytest.raises(RemoteError, match="3 posts without a usable id"):
        crawl_board(config(tmp_path / "store", site, files="none", dialect="gelbooru"))
    assert len(site.asked("s=post")) < 12


def test_a_board_that_sends_the_same_ghosts_again_ends_the_listing(board: Board, tmp_path: Path) -> None:
    """Deleted posts alone are no cursor; a page number that changes nothing is none either."""
    site = board(ids=[7])
    ghosts = json.dumps([{"id": number, "file_url": f"{site.url}/images//", "tags": ""} for number in (8, 9)])
    site.script("/index.php?page=dapi&q=index&s=post", None, None, *[answer(ghosts)] * 100)
    report = crawl_board(config(tmp_path / "store", site, files="none", dialect="gelbooru"))

    assert "the same page again" in report.missing
    assert len(site.asked("s=post")) < 12


def test_a_board_without_id_cursor_and_pages_ends_the_listing(board: Board, tmp_path: Path) -> None:
    """The newest posts whatever is asked for: once is enough."""
    site = board(ids=[1, 3, 5])
    newest = json.dumps([site.json_post(number) for number in (5, 3, 1)])
    site.script("/index.php?page=dapi&q=index&s=post", None, *[answer(newest)] * 100)
    report = crawl_board(config(tmp_path / "store", site, files="none", dialect="gelbooru"))

    assert report.listed == 3
    assert "the same page again" in report.missing
    assert len(site.asked("s=post")) < 12


def test_a_tag_api_that_answers_about_other_tags_teaches_nothing(board: Board, tmp_path: Path) -> None:
    """Nothing is remembered, the run says so after a few requests, and a later run asks again."""
    site = board(orderby_works=False)
    numbers = iter(range(10**6))

    def stranger(_: web.Request) -> web.Response:
        name = f"stranger_{next(numbers)}"
        return web.Response(
            text=f'<tags type="array"><tag type="4" count="3" name="{name}" id="1"/></tags>',
            content_type="text/xml",
        )

    site.script("/index.php?page=dapi&q=index&s=tag", *[stranger] * 50)
    report = crawl_board(config(tmp_path / "store", site, files="none"))
    asked = len(site.asked("&s=tag&"))
    site.scripts.clear()
    later = crawl_board(config(tmp_path / "store", site, files="none"))

    assert "other tags than it is asked for" in report.missing
    assert asked <= 12
    assert later.complete, later.missing
    assert "unknown" not in set(pd.read_parquet(later.store / "tags.parquet")["category"])


def test_a_tag_that_the_board_spells_otherwise_is_unknown(board: Board, tmp_path: Path) -> None:
    """Databases compare without case and accents, so that another spelling is an answer about the name."""
    site = board(ids=[1], orderby_works=False)
    site.retagged[1] = (0, ["solo"])
    del site.tag_table["solo"]
    other = '<tags type="array"><tag type="0" count="3" name="SÓLO" id="1"/></tags>'
    site.script("/index.php?page=dapi&q=index&s=tag", None, *[answer(other)] * 9)
    report = crawl_board(config(tmp_path / "store", site, files="none"))

    assert report.complete, report.missing
    assert list(pd.read_parquet(report.store / "tags.parquet")["category"]) == ["unknown"]


def answer(text: str) -> Any:
    return lambda _: web.Response(text=text, content_type="text/html")
