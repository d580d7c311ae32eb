"""`import --pictures URL` and `--tag-categories SITE`: what a table lacks is fetched as in a crawl."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from functools import partialmethod
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiohttp import web
from click.testing import CliRunner

from alti2v.cli import cli
from alti2v.crawl.http.retry import RetryPolicy
from alti2v.crawl.importing.addresses import address_of
from alti2v.crawl.importing.config import ImportConfig
from alti2v.crawl.importing.importer import import_pictures
from alti2v.crawl.importing.report import ImportReport
from alti2v.crawl.store.ledger import Ledger
from alti2v.errors import DataError, RemoteError, UsageError
from alti2v.records import Post
from tests.crawl.conftest import Board
from tests.crawl.helpers.crawling import QUICK
from tests.crawl.helpers.scripted_board import ScriptedBoard, picture
from tests.crawl.importing.helpers.killed import interrupted
from tests.crawl.importing.helpers.sources import content, md5, posts, write


def rows_of(numbers: list[int], *, url: str = "") -> list[dict[str, Any]]:
    """Rows of an index table; with `url`, each with an address that begins there."""
    address = {"file_url": url + "/images/{}.jpg"} if url else {}
    return [
        {"id": number, "tags": " 1girl solo ", "md5": md5(picture(number))}
        | {key: value.format(number) for key, value in address.items()}
        for number in numbers
    ]


def fetched(folder: Path, rows: list[dict[str, Any]], pictures_url: str, **options: Any) -> ImportReport:
    """Import a table of rows."""
    pd.DataFrame(rows).to_parquet(folder / "index.parquet")
    return import_pictures(
        ImportConfig(
            store=folder / "store",
            sources=(folder / "index.parquet",),
            pictures_url=pictures_url,
            allow_private=True,
            rate=99,
            retry=QUICK,
            **options,
        )
    )


def stored(store: Path) -> set[int]:
    """Ids of the posts with a picture."""
    rows = posts(store)
    return set(rows[rows["status"] == "stored"]["id"])


def stored_now(store: Path) -> int:
    """Number of stored posts in the ledger, of a store whose tables a killed import has not written."""
    with Ledger(store / "crawl.sqlite", readonly=True) as ledger:
        return ledger.posts.counts().stored


def files(site: ScriptedBoard) -> list[str]:
    return [path for _, path in site.requests if path != "/robots.txt"]


ADDRESSES: Mapping[str, tuple[str, str]] = {
    "of the rows": ("{site}", "{site}/images/{id}.jpg"),
    "of the rows, relative": ("{site}/images", "{id}.jpg"),
    "from the id": ("{site}/images", ""),
    "from a pattern": ("{site}/images/{{bucket}}/{{id}}.jpg", "{site}/elsewhere/{id}.jpg"),
}


@pytest.mark.parametrize("kind", ADDRESSES)
def test_pictures_of_a_table_are_fetched(kind: str, board: Board, tmp_path: Path) -> None:
    """From the rows' own addresses, also relative ones, or from one made of the id; MD5s are compared."""
    site = board(ids=[1, 2, 3, 1004])
    base, of_row = ADDRESSES[kind]
    rows = rows_of([1, 2, 1004, 77])
    if of_row:
        rows = [{**row, "file_url": of_row.format(site=site.url, id=row["id"])} for row in rows]
    rows[1]["md5"] = "0" * 32

    report = fetched(tmp_path, rows, base.format(site=site.url))

    assert (report.new, report.items) == (2, 4)
    assert report.failed == {"http_404": 1, "md5_mismatch": 1}
    assert stored(tmp_path / "store") == {1, 1004}
    assert report.missing == ""


def test_an_interrupted_import_fetches_the_rest(board: Board, tmp_path: Path) -> None:
    """What the server withheld is fetched later; what is stored, or gone for good, is not requested again."""
    site = board(ids=list(range(1, 9)))
    site.script("/images/5", *[lambda _: web.Response(status=503) for _ in range(20)])
    rows = rows_of([*range(1, 9), 99], url=site.url)
    first = fetched(tmp_path, rows, site.url, max_file_bytes=10_000)
    site.scripts.clear()
    site.requests.clear()
    again = fetched(tmp_path, rows, site.url)

    assert first.new == 7
    assert "1 picture failed in ways that may pass" in first.missing
    assert (again.new, again.known, again.failed, again.missing) == (1, 7, {"http_404": 1}, "")
    assert files(site) == ["/images/5.jpg"]
    assert "failed: http_404: post 99 is not requested again" in (tmp_path / "store/crawl.log").read_text()


def test_a_killed_import_fetches_the_rest(board: Board, tmp_path: Path) -> None:
    """After `kill -9` between two batches, the same import ends with the store of one that was not killed."""
    site = board(ids=list(range(1, 151)))
    rows = rows_of(list(range(1, 151)), url=site.url)
    (tmp_path / "whole").mkdir()
    fetched(tmp_path / "whole", rows, site.url)
    pd.DataFrame(rows).to_parquet(tmp_path / "index.parquet")
    point = ("alti2v.crawl.store.writer", "StoreWriter", "commit", "after", 2)
    status = interrupted(tmp_path / "store", tmp_path / "index.parquet", point, pictures=site.url)
    before = stored_now(tmp_path / "store")
    report = fetched(tmp_path, rows, site.url)

    assert status == -signal.SIGKILL
    assert 0 < before < 150
    assert (report.known, report.new) == (before, 150 - before)
    assert content(tmp_path / "store").equals(content(tmp_path / "whole" / "store"))


def test_rows_that_were_imported_without_pictures_get_them_later(board: Board, tmp_path: Path) -> None:
    """A first import without `--pictures` records posts without pictures; the next one with it fetches them."""
    site = board(ids=[1, 2])
    rows = rows_of([1, 2], url=site.url)
    pd.DataFrame(rows).to_parquet(tmp_path / "index.parquet")
    bare = import_pictures(ImportConfig(store=tmp_path / "store", sources=(tmp_path / "index.parquet",)))
    report = fetched(tmp_path, rows, site.url)

    assert bare.skipped == {"no_picture": 2}
    assert (report.new, report.skipped) == (2, {})


def test_local_pictures_are_not_requested(board: Board, tmp_path: Path) -> None:
    """A folder with metadata and some pictures: only the missing ones are fetched, also those of gallery-dl."""
    site = board(ids=[1, 2, 3])
    facts = {"category": "danbooru", "subcategory": "tag", "tags": ["1girl"]}
    write(
        tmp_path / "gallery",
        {
            "1.jpg": picture(1),
            "1.jpg.json": {**facts, "id": 1},
            "2.jpg.json": {**facts, "id": 2, "file_url": f"{site.url}/images/2.jpg"},
            "3.mp4.json": {**facts, "id": 3, "extension": "mp4", "file_url": f"{site.url}/images/3.mp4"},
        },
    )
    report = import_pictures(
        ImportConfig(
            store=tmp_path / "store",
            sources=(tmp_path / "gallery",),
            pictures_url=site.url,
            allow_private=True,
        )
    )

    assert (report.new, report.skipped) == (2, {"video": 1})
    assert files(site) == ["/images/2.jpg"]


def test_private_addresses_and_robots_txt_are_respected(board: Board, tmp_path: Path) -> None:
    """Without --allow-private this machine gets no byte, with it only the named host, as robots.txt allows."""
    site = board(ids=[1, 2])
    (tmp_path / "refused").mkdir()
    (tmp_path / "robots").mkdir()
    table = tmp_path / "refused" / "index.parquet"
    pd.DataFrame(rows_of([1], url=site.url)).to_parquet(table)
    refused = import_pictures(
        ImportConfig(store=tmp_path / "refused" / "store", sources=(table,), pictures_url=site.url)
    )
    assert (refused.failed, files(site)) == ({"private_address": 1}, [])

    site.robots = "User-agent: *\nDisallow: /images/2"
    rows = [*rows_of([1, 2], url=site.url), {**rows_of([3])[0], "file_url": "http://127.0.0.2:9/3.jpg"}]
    report = fetched(tmp_path / "robots", rows, site.url)
    assert (report.new, report.skipped, report.failed) == (1, {"robots": 1}, {"private_address": 1})
    assert files(site) == ["/images/1.jpg"]


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://user:secret@host.example/", "give http\\(s\\)://HOST/PATH without a password"),
        ("ftp://host.example/", "give http\\(s\\)://HOST/PATH"),
        ("https://host.example/{name}.jpg", r"the placeholders are \{id\}, \{md5\}, \{ext\}, \{bucket\}"),
    ],
)
def test_addresses_that_make_no_sense_are_refused(address: str, told: str, tmp_path: Path) -> None:
    """One line with the remedy; a password is not repeated."""
    with pytest.raises(UsageError, match=told) as refused:
        ImportConfig(store=tmp_path / "store", sources=(tmp_path,), pictures_url=address)
    assert "secret" not in str(refused.value)


def test_only_a_danbooru_site_is_asked(tmp_path: Path) -> None:
    """A board of the other family has no such API: one line with the remedy, before anything is done."""
    with pytest.raises(UsageError, match="safebooru is not a Danbooru site: give donmai, danbooru"):
        ImportConfig(store=tmp_path / "store", sources=(tmp_path,), tag_site="safebooru")
    ImportConfig(store=tmp_path / "store", sources=(tmp_path,), tag_site="donmai")


def test_patterns_of_addresses() -> None:
    """Placeholders stand for the id, the MD5, the extension, and the id modulo 1000."""
    post = Post(id=12_345, md5="ab" * 16, file_ext="png")
    assert address_of(post, "https://x/{bucket}/{id}.{ext}") == "https://x/0345/12345.png"
    assert address_of(post, "https://x/{md5}.jpg") == f"https://x/{'ab' * 16}.jpg"
    assert address_of(post, "https://x/a/") == "https://x/a/12345.png"


def test_categories_are_asked_from_a_danbooru_site(board: Board, tmp_path: Path) -> None:
    """Tags without a category are asked for once, a thousand or a hundred a request; the command ends well."""
    site = board(dialect="danbooru", ids=[1])
    write(tmp_path / "folder", {"1.jpg": picture(1), "1.txt": "1girl, hatsune miku, some artist, my own tag"})
    command = ["import", str(tmp_path / "store"), str(tmp_path / "folder"), "--tag-categories", site.url]
    first = CliRunner().invoke(cli, [*command, "--allow-private"])
    asked = len(files(site))
    again = CliRunner().invoke(cli, [*command, "--allow-private"])

    assert (first.exit_code, again.exit_code) == (0, 0)
    tags = pd.read_parquet(tmp_path / "store" / "tags.parquet").set_index("name")["category"]
    assert dict(tags) == {
        "1girl": "general",
        "hatsune_miku": "character",
        "some_artist": "artist",
        "my_own_tag": "unknown",
    }
    assert 1 <= asked <= 2
    assert len(files(site)) == asked


def test_what_is_missing_is_exit_status_3(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site that does not answer: the pictures are imported, and the command says what is missing."""
    monkeypatch.setattr(RetryPolicy, "__init__", partialmethod(RetryPolicy.__init__, tries=1))
    site = board(dialect="danbooru", ids=[1])
    site.watch = lambda request: web.Response(status=500) if request.path == "/tags.json" else None
    write(tmp_path / "folder", {"1.jpg": picture(1), "1.txt": "1girl, hatsune miku"})
    command = ["import", str(tmp_path / "store"), str(tmp_path / "folder"), "--tag-categories", site.url]
    done = CliRunner().invoke(cli, [*command, "--allow-private"])

    assert isinstance(done.exception, RemoteError)
    assert str(done.exception) == "incomplete: the categories of 2 tags (HTTP 500): run the same command again"
    assert len(stored(tmp_path / "store")) == 1


def test_failed_items_are_exit_status_1(tmp_path: Path) -> None:
    """As with `tag`: what can be imported is, and the last line counts the rest by reason."""
    write(
        tmp_path / "folder", {"1.jpg": picture(1), "1.txt": "1girl", "2.jpg": b"no picture", "2.txt": "1girl"}
    )
    done = CliRunner().invoke(cli, ["import", str(tmp_path / "store"), str(tmp_path / "folder")])

    assert isinstance(done.exception, DataError)
    assert str(done.exception).startswith("1 of 2 items failed (not_image 1): crawl.log names them")
    assert len(stored(tmp_path / "store")) == 1


def test_another_scheme_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    """A URL that is not http(s) gets a line that names http(s)."""
    table = tmp_path / "posts.csv"
    table.write_text("id,tags\n1,a\n")

    done = CliRunner().invoke(
        cli, ["import", str(tmp_path / "store"), str(table), "--pictures", "ftp://host.example/x"]
    )

    assert isinstance(done.exception, UsageError)
    assert "--pictures takes paths on this machine, or http(s) URLs" in str(done.exception)
