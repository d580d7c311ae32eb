"""Boards whose originals are AVIF."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from alti2v.crawl.boards.danbooru import Danbooru
from alti2v.crawl.boards.protocol import Page
from alti2v.crawl.crawler import CrawlConfig, crawl_board
from alti2v.crawl.download import factory
from alti2v.crawl.verify import verify_store
from alti2v.demo.board.app import BoardConfig, DialectName, start_board
from alti2v.demo.board.faults import Faults


def of_originals(store: Path, url: str, *, in_worker: bool) -> CrawlConfig:
    return CrawlConfig(
        store=store,
        board=url,
        files="original",
        rate=math.inf,
        api_rate=math.inf,
        allow_private=True,
        download_in_worker=in_worker,
    )


@pytest.mark.parametrize("dialect", ["gelbooru", "danbooru"])
async def test_avif_originals_are_stored_as_they_are(dialect: DialectName, tmp_path: Path) -> None:
    """Compared with the board's MD5, under the name of their format; the store is whole."""
    board = await start_board(
        BoardConfig(posts=12, pictures=3, dialect=dialect, faults=Faults(avif_rate=1.0, hidden_rate=0.0))
    )
    config = of_originals(tmp_path / "store", board.url, in_worker=False)
    report = await asyncio.to_thread(crawl_board, config)
    await board.stop()
    rows = pd.read_parquet(tmp_path / "store/posts")
    stored = rows[rows["status"] == "stored"]

    assert report.complete, report.missing
    assert len(stored) > 2
    assert set(stored["stored_format"]) == {"AVIF"}
    assert (stored["stored_md5"] == stored["md5"]).all()
    assert not verify_store(tmp_path / "store").findings


@pytest.mark.parametrize("in_worker", [False, True])
async def test_without_the_codec_the_jpeg_is_stored(
    *, in_worker: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Pillow without the codec: the sample takes the place of such an original, and a line counts them."""
    monkeypatch.setattr(factory, "reads_avif", lambda: False)
    board = await start_board(
        BoardConfig(posts=12, pictures=3, dialect="danbooru", faults=Faults(avif_rate=0.5, hidden_rate=0.0))
    )
    config = of_originals(tmp_path / "store", board.url, in_worker=in_worker)
    said: list[str] = []
    report = await asyncio.to_thread(
        crawl_board, config, progress=lambda progress: said.append(progress.milestone)
    )
    await board.stop()
    rows = pd.read_parquet(tmp_path / "store/posts")
    stored = rows[rows["status"] == "stored"]
    is_avif = stored["file_ext"] == "avif"

    assert report.complete, report.missing
    assert is_avif.any()
    assert not is_avif.all()
    assert set(stored["stored_format"]) == {"JPEG"}
    assert (stored["fetched_url"] == stored["sample_url"]).equals(is_avif)
    assert any(line.startswith(f"{is_avif.sum()} originals are AVIF") for line in said)


def test_the_jpeg_of_a_small_avif_is_its_sample() -> None:
    """Below 850 px donmai names the original as its own sample; a JPEG in full size is among the variants."""
    base = "https://safebooru.donmai.us"

    def post(**facts: Any) -> dict[str, Any]:
        original = f"{base}/original/a.avif"
        variants = [
            {"type": "original", "url": original, "file_ext": "avif"},
            {"type": "full", "url": f"{base}/full/a.jpg", "file_ext": "jpg"},
        ]
        return {
            "id": 7,
            "tag_string": "solo",
            "file_ext": "avif",
            "file_url": original,
            "large_file_url": original,
            "media_asset": {"variants": variants},
            **facts,
        }

    def samples(*entries: dict[str, Any]) -> list[str | None]:
        page = Danbooru(base).read_posts(json.dumps(entries).encode(), status=200)
        assert isinstance(page, Page)
        return [entry.sample_url for entry in page.posts]

    assert samples(post(), post(id=8, large_file_url=f"{base}/sample/a.jpg")) == [
        f"{base}/full/a.jpg",
        f"{base}/sample/a.jpg",
    ]
    assert samples(post(media_asset=None), post(media_asset={"variants": [3, {"type": "full"}]})) == [None] * 2
    assert samples(post(file_ext="png")) == [None]
