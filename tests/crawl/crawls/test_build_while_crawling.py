"""A store that is still being crawled can be built from: each time it gives a consistent snapshot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiohttp import web

from alti2v.crawl.crawler import crawl_board
from alti2v.dataset.build import build_shards
from alti2v.dataset.check.verify import verify_dataset
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.report import BuildReport
from alti2v.records import Progress
from alti2v.storage.layout import POSTS_DIR
from tests.crawl.conftest import Board
from tests.crawl.helpers.crawling import config
from tests.crawl.helpers.scripted_board import picture


def shards(dataset: Path) -> dict[int, str]:
    rows = pd.read_parquet(dataset / "outcomes.parquet").dropna(subset=["shard"])
    return dict(zip(rows["id"].tolist(), rows["shard"], strict=True))


def large_picture(number: int) -> Callable[[web.Request], web.Response]:
    return lambda _: web.Response(body=picture(number, width=80, height=60), content_type="image/jpeg")


def test_a_dataset_is_built_while_its_store_is_crawled(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two builds during a crawl and one after it: sums add up, shards are sound, and old shards stay."""
    monkeypatch.setattr("alti2v.crawl.download.pipeline._EXPORT_EVERY_S", 0.0)
    monkeypatch.setattr("alti2v.crawl.download.pool.BATCH_FILES", 5)
    site = board()
    for number in site.ids:
        site.script(f"/samples/{number % 7}/sample_p{number}.jpg", large_picture(number))
    store, dataset = tmp_path / "store", tmp_path / "dataset"
    built: list[BuildReport] = []
    standing: list[dict[int, str]] = []

    def build() -> None:
        # The scripted pictures are of one colour each and look alike, so there is nothing to hold out.
        settings: dict[str, Any] = {"size": 16, "test": 0, "validation": 0, "shard_samples": 10, "workers": 1}
        built.append(build_shards(BuildConfig(store=store, dataset=dataset, **settings)))
        standing.append(shards(dataset))
        assert verify_dataset(dataset, deep=True).findings == ()

    def hook(progress: Progress) -> None:
        is_new = int(progress.counts.get("stored", 0)) >= 20 * (len(built) + 1)
        if (
            progress.stage == "crawling"
            and len(built) < 2
            and is_new
            and any((store / POSTS_DIR).glob("posts-*"))
        ):
            build()

    report = crawl_board(config(store, site), progress=hook)
    build()

    assert report.complete
    assert [one.edition for one in built] == [1, 2, 3]
    assert 0 < built[0].train < built[1].train < built[2].train == 60
    for before, after in ((standing[0], standing[1]), (standing[1], standing[2])):
        assert {post_id: after[post_id] for post_id in before} == before
    assert built[2].outcomes == {"stored": 60}
