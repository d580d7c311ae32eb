"""`alti2v crawl --list-from TABLE`: the posts come from a table, and only the wanted files from the board."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from alti2v.crawl.boards.protocol import Dialect
from alti2v.crawl.crawler import crawl_board
from alti2v.errors import DataError, UsageError
from tests.crawl.conftest import Board
from tests.crawl.helpers.killed import config, content
from tests.crawl.helpers.scripted_board import ScriptedBoard
from tests.crawl.importing.helpers.sources import tags


@pytest.fixture
def site(board: Board) -> ScriptedBoard:
    """A board of sixty posts."""
    return board(ids=list(range(1, 120, 2)))


@pytest.fixture
def table(site: ScriptedBoard, tmp_path: Path) -> Path:
    """The post table of a store that was only listed: what others publish as an index."""
    crawl_board(config(tmp_path / "listed", site, files="none"))
    site.requests.clear()
    return tmp_path / "listed" / "posts" / "posts-000000.parquet"


def paths(site: ScriptedBoard) -> set[str]:
    """First parts of the paths that were requested."""
    return {path.split("/")[1].partition("?")[0] for _, path in site.requests}


def test_only_files_are_requested(site: ScriptedBoard, table: Path, tmp_path: Path) -> None:
    """The board's listing is not asked, and the store is that of an ordinary crawl."""
    wishes = {"dialect": Dialect.GELBOORU, "tag_categories": False}
    report = crawl_board(config(tmp_path / "store", site, list_from=table, **wishes))
    requested = paths(site)
    crawl_board(config(tmp_path / "whole", site, **wishes))

    assert (report.stored, report.complete) == (60, True)
    assert requested == {"robots.txt", "samples"}
    facts = ["status", "stored_md5", "md5", "rating", "score", "width"]
    ours, whole = content(tmp_path / "store"), content(tmp_path / "whole")
    assert ours[facts].equals(whole[facts])
    assert [tags(row) for _, row in ours.iterrows()] == [tags(row) for _, row in whole.iterrows()]


def test_unwanted_files_are_not_requested(site: ScriptedBoard, table: Path, tmp_path: Path) -> None:
    """Conditions and the limit choose rows of the table."""
    report = crawl_board(config(tmp_path / "store", site, list_from=table, min_id=61, tag_categories=False))

    assert report.stored == 30
    assert report.skipped == {"filtered": 30}
    assert len([path for _, path in site.requests if path.startswith("/samples")]) == 30
    limited = crawl_board(config(tmp_path / "limited", site, list_from=table, limit=7, tag_categories=False))
    assert limited.listed == 7


def test_a_later_crawl_adds_newer_posts(site: ScriptedBoard, table: Path, tmp_path: Path) -> None:
    """Without the option, the next crawl asks the board for what is above the highest id of the table."""
    store = tmp_path / "store"
    crawl_board(config(store, site, list_from=table))
    site.ids += [121, 123]
    again = crawl_board(config(store, site, list_from=table))
    newer = crawl_board(config(store, site))

    assert (again.listed, again.new) == (60, 0)
    assert (newer.listed, newer.new) == (62, 2)


def test_a_listing_that_was_cut_off_goes_on(site: ScriptedBoard, table: Path, tmp_path: Path) -> None:
    """A table that was not read to its end is read again, and adds what is missing."""
    store = tmp_path / "store"
    crawl_board(config(store, site, list_from=table, limit=20, tag_categories=False))
    report = crawl_board(config(store, site, list_from=table, tag_categories=False))

    assert (report.listed, report.stored) == (60, 60)


def test_tables_that_do_not_fit_are_refused(site: ScriptedBoard, table: Path, tmp_path: Path) -> None:
    """A search beside the table, no file, no ids: one line each; addresses of other hosts are not requested."""
    with pytest.raises(UsageError, match="leave out tags, refresh and retry-failed"):
        config(tmp_path / "store", site, list_from=table, tags="solo")
    with pytest.raises(UsageError, match="is not a file: give a table of posts"):
        config(tmp_path / "store", site, list_from=tmp_path / "nothing.parquet")
    pd.DataFrame({"tags": ["a"]}).to_parquet(tmp_path / "none.parquet")
    with pytest.raises(DataError, match="has no row with an id"):
        crawl_board(config(tmp_path / "none", site, list_from=tmp_path / "none.parquet"))
    rows = [{"id": 1, "tags": "a", "file_url": "http://127.0.0.2:9/a.jpg"}, {"id": 2, "tags": "a"}]
    pd.DataFrame(rows).to_parquet(tmp_path / "foreign.parquet")
    site.requests.clear()
    report = crawl_board(
        config(tmp_path / "foreign", site, list_from=tmp_path / "foreign.parquet", tag_categories=False)
    )

    assert (report.skipped, report.failed) == ({"hidden": 1}, {"private_address": 1})
    assert not [path for _, path in site.requests if path.endswith("a.jpg")]
