"""A sample that is not there, however the board tells it, lets the original be fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from alti2v.crawl.crawler import crawl_board
from tests.crawl.conftest import Board
from tests.crawl.helpers.crawling import config, cut, page, pictures, posts
from tests.crawl.helpers.scripted_board import picture


def moved(_: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/nothing"})


def half(_: web.Request) -> web.Response:
    return web.Response(body=picture(7)[:300], content_type="image/jpeg")


def text(_: web.Request) -> web.Response:
    return web.Response(text="File not found.")


@pytest.mark.parametrize(
    "answer",
    [
        *(page(status=status) for status in (400, 403, 404, 500)),
        *(page(), text, moved, half, cut),
    ],
    ids=["400", "403", "404", "500", "page", "text", "redirect", "half", "cut"],
)
def test_the_original_is_fetched_whatever_a_missing_sample_is_told_by(
    board: Board, tmp_path: Path, answer: Any
) -> None:
    """Also if all samples are missing: a refused sample is neither a ban nor an outage of the host."""
    site = board(ids=list(range(1, 31)))
    site.script("/samples/", *[answer] * 1000)
    report = crawl_board(config(tmp_path / "store", site))

    assert (report.stored, report.complete) == (30, True), report.missing
    assert pictures(report.store) == {number: site.content(number, sample=False) for number in site.ids}
    assert posts(report.store)["attempts"].max() <= 4


@pytest.mark.parametrize(
    ("dialect", "extension"),
    [("gelbooru", "jxl"), ("danbooru", "jxl"), ("gelbooru", "webm"), ("danbooru", "zip")],
)
def test_a_readable_sample_stands_for_an_original_of_another_kind(
    board: Board, tmp_path: Path, dialect: str, extension: str
) -> None:
    """Only where samples are wanted: with --files original the post is skipped, also after a mere listing."""
    site = board(dialect=dialect, ids=[1, 3], extension={3: extension})
    samples = crawl_board(config(tmp_path / "samples", site))
    originals = crawl_board(config(tmp_path / "originals", site, files="original"))
    crawl_board(config(tmp_path / "listed", site, files="none"))
    after_listing = crawl_board(config(tmp_path / "listed", site, files="original"))

    assert (samples.stored, samples.skipped) == (2, {})
    assert originals.stored == after_listing.stored == 1
    assert originals.skipped == after_listing.skipped
    assert sum(originals.skipped.values()) == 1


def test_an_original_that_is_not_read_is_not_asked_for(board: Board, tmp_path: Path) -> None:
    """A missing sample fails then; nothing else can be had."""
    site = board(ids=[3], extension={3: "jxl"})
    site.script("/samples/", page(status=404))
    report = crawl_board(config(tmp_path / "store", site))

    assert report.failed == {"http_404": 1}
    assert site.asked("/images/") == []
