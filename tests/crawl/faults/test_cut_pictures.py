"""Cut pictures: never stored, always fetched again, and found in stores that hold some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from alti2v.crawl.crawler import CrawlReport, crawl_board
from alti2v.crawl.verify import verify_store
from tests.crawl.helpers.crawling import QUICK, config
from tests.crawl.helpers.scripted_board import ScriptedBoard
from tests.dataset.helpers.tiny_store import drawing, encoded
from tests.pictures.helpers.files import with_thumbnail

WITH_THUMBNAIL = with_thumbnail(encoded(drawing(1), quality=92), encoded(drawing(2, width=30, height=20)))
GIF = encoded(drawing(3), "GIF")
WEBP = encoded(drawing(4), "WEBP")


def crawl(store: Path, site: ScriptedBoard, *, tries: int = 3) -> CrawlReport:
    return crawl_board(config(store, site, retry=replace(QUICK, tries=tries)))


def file(content: bytes) -> Callable[[web.Request], web.Response]:
    return lambda _: web.Response(body=content)


def stored_pictures(store: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((store / "images").iterdir()))


@pytest.mark.parametrize("whole", [WITH_THUMBNAIL, GIF, WEBP])
def test_f20_a_cut_sample_is_fetched_again(tmp_path: Path, whole: bytes) -> None:
    """F20: lengths agree and there is no MD5: only the picture itself shows that its end is missing."""
    with ScriptedBoard(ids=[1]) as site:
        site.script("/samples/", file(whole[: len(whole) * 6 // 10]), file(whole))
        report = crawl(tmp_path / "store", site)

    assert (report.stored, report.failed) == (1, {})
    assert whole in stored_pictures(tmp_path / "store")


def test_f20_what_stays_cut_fails_and_is_tried_by_the_next_crawl(tmp_path: Path) -> None:
    """F20: a cut file is recorded as truncated, and the next crawl tries it again."""
    cut = GIF[: len(GIF) // 2]
    with ScriptedBoard(ids=[1]) as site:
        site.script("/samples/", file(cut), file(cut))
        site.script("/images/", lambda _: web.Response(status=404))
        first = crawl(tmp_path / "store", site, tries=2)
        site.script("/samples/", file(GIF))
        second = crawl(tmp_path / "store", site)

    assert (first.stored, first.failed) == (0, {"truncated_body": 1})
    assert (second.stored, second.failed) == (1, {})


def test_cut_pictures_of_an_older_store_are_found_and_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verify` names them, `verify --repair` makes their posts pending, the next crawl fetches them."""
    cut = WITH_THUMBNAIL[: len(WITH_THUMBNAIL) * 6 // 10]
    store = tmp_path / "store"
    with ScriptedBoard(ids=[1, 2]) as site:
        site.script("/samples/", file(cut), file(GIF))
        with monkeypatch.context() as older:
            older.setattr("alti2v.crawl.download.validate.find_flaw", lambda *_: "")
            assert crawl(store, site).stored == 2
        found = verify_store(store)
        repaired = verify_store(store, repair=True)
        site.script("/samples/", file(WITH_THUMBNAIL))
        report = crawl(store, site)

    assert len(found.findings) == 1
    assert "its end is missing" in found.findings[0].what
    assert repaired.findings[0].repaired
    assert (report.stored, report.complete) == (2, True)
    assert WITH_THUMBNAIL in stored_pictures(store)
    assert verify_store(store).findings == ()
