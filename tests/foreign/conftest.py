"""A store, a dataset, and the store that it was made of, which the tests of foreign folders copy."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from alti2v.crawl.crawler import CrawlConfig, crawl_board
from tests.crawl.helpers.scripted_board import ScriptedBoard
from tests.dataset.helpers.building import build
from tests.dataset.helpers.tiny_store import tiny_posts, write_store


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `store` as a crawl leaves it, a `dataset`, and the `pictures` that it was built from."""
    folder = tmp_path_factory.mktemp("original")
    with ScriptedBoard(ids=list(range(1, 31))) as board:
        crawl_board(
            CrawlConfig(
                store=folder / "store", board=board.url, rate=math.inf, api_rate=math.inf, allow_private=True
            )
        )
    write_store(folder / "pictures", tiny_posts(30))
    build(folder / "pictures", folder / "dataset")
    return folder
