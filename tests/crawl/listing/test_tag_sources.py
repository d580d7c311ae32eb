"""Sources of tag categories on a Gelbooru board: posts, the tag API by count, and its web page."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from alti2v.crawl.boards.gelbooru_tags import read_tag_list
from alti2v.crawl.boards.protocol import Unreadable
from alti2v.crawl.crawler import CrawlConfig, CrawlReport, crawl_board
from alti2v.demo.board.app import BoardConfig, RunningBoard, start_board
from alti2v.demo.board.faults import Faults
from alti2v.demo.drawing.corpus import categories
from alti2v.records import Category, Tag


@pytest.fixture
async def standin() -> AsyncIterator[Any]:
    """Start a stand-in board with faults; it stops with the test."""
    running: list[RunningBoard] = []

    async def start(**faults: Any) -> RunningBoard:
        running.append(await start_board(BoardConfig(posts=30, pictures=3, faults=Faults(**faults))))
        return running[-1]

    yield start
    for board in running:
        await board.stop()


async def crawled(board: RunningBoard, store: Path) -> tuple[CrawlReport, list[str], dict[str, str]]:
    """List the board; return what was asked beside posts, and the category of every tag."""
    config = CrawlConfig(
        store=store, board=board.url, files="none", rate=math.inf, api_rate=math.inf, allow_private=True
    )
    report = await asyncio.to_thread(crawl_board, config)
    asked = [target for target in board.traffic.targets or () if "&s=tag&" in target or "page=tags" in target]
    tags = pd.read_parquet(store / "tags.parquet")
    return report, asked, dict(zip(tags["name"], tags["category"], strict=True))


def true_categories(names: Any) -> dict[str, str]:
    known = categories()
    return {name: known[name].value for name in names}


async def test_types_in_posts_make_the_tag_api_needless(standin: Any, tmp_path: Path) -> None:
    """A board that answers `fields=tag_info` is asked for nothing else."""
    board = await standin(tag_info=True)
    report, asked, found = await crawled(board, tmp_path / "store")

    assert report.complete
    assert asked == []
    assert found == true_categories(found)
    assert len(found) > 40


async def test_a_board_that_ignores_tag_info_is_asked_for_it_once(standin: Any, tmp_path: Path) -> None:
    """The first page of posts has the parameter; then the tag API lists the most frequent tags."""
    board = await standin()
    _, asked, found = await crawled(board, tmp_path / "store")

    assert sum(board.traffic.targets[target] for target in board.traffic.targets if "tag_info" in target) == 1
    assert len(asked) == 1
    assert "order=DESC" in asked[0]
    assert found == true_categories(found)


@pytest.mark.parametrize("order", ["rising", "ignored"])
async def test_the_web_page_of_tags_replaces_an_api_without_order(
    standin: Any, tmp_path: Path, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a page of the API is not in order, fifty tags a request come from the web page, frequent first."""
    monkeypatch.setattr("alti2v.crawl.boards.gelbooru.TAGS_LIMIT", 10)
    board = await standin(tag_order=order)
    _, asked, found = await crawled(board, tmp_path / "store")

    web_pages = [target for target in asked if "page=tags" in target]
    assert web_pages[0].endswith("pid=0&sort=desc&order_by=index_count")
    assert len(found) > 60
    assert len(asked) <= 6
    assert found == true_categories(found)


async def test_robots_txt_is_obeyed_for_the_web_page(
    standin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a page, not the API; the API is asked for each name."""
    monkeypatch.setattr("alti2v.crawl.boards.gelbooru.TAGS_LIMIT", 10)
    board = await standin(tag_order="rising", robots_txt="User-agent: *\nDisallow: /index.php?page=tags\n")
    _, asked, found = await crawled(board, tmp_path / "store")

    assert not [target for target in asked if "page=tags" in target]
    assert found == true_categories(found)


def test_rows_of_the_page_of_tags() -> None:
    """Counts with commas, entities in names, unknown types; whatever else is in the page is passed over."""
    page = b"""<table><tr><th>Posts</th></tr>
    <tr><td>1,234</td><td><span class="tag-type-character">
    <a href="index.php?page=post&amp;s=list&amp;tags=jack-o%27-lantern">x</a>
    </span></td><td>character (<a href="edit">edit</a>)</td></tr>
    <tr><td>7</td><td><span class="tag-type-odd"><a href="?page=post&amp;tags=a_b">a b</a></span></td></tr>
    <tr><td>no</td></tr></table>"""

    assert read_tag_list(page, status=200) == (
        Tag(name="jack-o'-lantern", category=Category.CHARACTER, count=1234),
        Tag(name="a_b", category=Category.UNKNOWN, count=7),
    )
    assert isinstance(read_tag_list(page, status=503), Unreadable)
