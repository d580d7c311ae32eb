"""Folders that gallery-dl itself has downloaded, with its metadata beside the pictures."""

from __future__ import annotations

import asyncio
import html
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from alti2v.crawl.importing.sources.detect import SourceForm
from alti2v.demo.board.app import BoardConfig, start_board
from alti2v.demo.board.site import DialectName
from tests.crawl.importing.helpers.sources import md5, picture, posts, run, tags, write
from tests.demo.helpers.board_client import BoardClient

pytest.importorskip("gallery_dl", reason="gallery-dl is not installed: `pip install alti2v[test]` brings it")


@pytest.fixture
async def board(dialect: DialectName) -> AsyncIterator[BoardClient]:
    """A stand-in board of forty posts."""
    config = BoardConfig(posts=40, pictures=12, dialect=dialect)
    client = BoardClient(await start_board(config), aiohttp.ClientSession())
    yield client
    await client.session.close()
    await client.board.stop()


async def gallery_dl(folder: Path, address: str) -> Path:
    """Let gallery-dl download an address with its own file names; return its folder."""
    root = re.match(r"\w+:(http://([\d.:]+))", address)
    assert root
    site = {"local": {"root": root[1], "pattern": re.escape(root[2])}}
    quick = {"request-interval": 0, "sleep-retries": 0, "retries": 1}
    config = write(folder, {"config.json": {"extractor": {**quick, "gelbooru_v02": site, "Danbooru": site}}})
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gallery_dl", "--config-ignore", "-c", str(config / "config.json")),
        *("--write-metadata", "-D", str(folder / "saved"), address),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, messages = await asyncio.wait_for(process.communicate(), timeout=60)

    assert process.returncode == 0, messages.decode()
    return folder / "saved"


@pytest.mark.parametrize("dialect", ["gelbooru"])
async def test_a_real_download_from_gelbooru(board: BoardClient, tmp_path: Path) -> None:
    """Ids, tags, ratings and bytes are those of the board, and every MD5 was compared."""
    saved = await gallery_dl(tmp_path, f"gelbooru_v02:{board.url}/index.php?page=post&s=list&tags=all")
    listed = {post["id"]: post for post in await board.posts(limit=100)}
    report = await asyncio.to_thread(run, tmp_path / "store", saved)
    rows = posts(tmp_path / "store").set_index("id")

    assert report.forms == {str(saved): "gallery-dl"}
    assert report.items == report.new + report.duplicate == len(listed) == len(rows)
    for number, post in listed.items():
        row = rows.loc[number]
        assert tags(row) == set(html.unescape(post["tags"]).split())
        assert row.rating == {"safe": "general"}.get(post["rating"], post["rating"])
        assert (row.md5, row.width, row.height) == (post["hash"], post["width"], post["height"])
        assert row.file_url == post["file_url"]
    assert rows.created_at.notna().all()


@pytest.mark.parametrize("dialect", ["danbooru"])
async def test_a_real_download_from_danbooru(board: BoardClient, tmp_path: Path) -> None:
    """Here the tags have categories, and the ratings have the board's meaning."""
    saved = await gallery_dl(tmp_path, f"Danbooru:{board.url}/posts?tags=")
    listed = {post["id"]: post for post in (await board.get("/posts.json?limit=100")).json if "md5" in post}
    report = await asyncio.to_thread(run, tmp_path / "store", saved)
    rows = posts(tmp_path / "store").set_index("id")

    assert report.items == report.new + report.duplicate == len(listed) == len(rows)
    for number, post in listed.items():
        row = rows.loc[number]
        for name in ("general", "artist", "character", "copyright", "meta"):
            assert list(row[f"tags_{name}"]) == sorted(post[f"tag_string_{name}"].split())
        assert list(row.tags_unknown) == []
        assert row.rating[0] == post["rating"]
        assert (row.md5, row.width, row.score) == (post["md5"], post["image_width"], post["score"])


def test_metadata_without_a_picture_is_listed_until_it_comes(tmp_path: Path) -> None:
    """A post whose file was not downloaded has a row, and the picture is stored as soon as it is there."""
    facts = {"category": "danbooru", "subcategory": "tag", "id": 7, "tags": ["1girl"], "md5": md5(picture(1))}
    source = write(tmp_path / "source", {"danbooru_7.jpg.json": facts, "x.jpg": picture(2), "x.txt": "y"})
    store = tmp_path / "store"
    first = run(store, source)
    row = posts(store).set_index("id").loc[7]

    assert (first.new, first.skipped) == (1, {"no_picture": 1})
    assert (row.status, row.reason) == ("skipped", "no_picture")
    write(source, {"danbooru_7.jpg": picture(1)})
    second = run(store, source)
    assert (second.new, second.known) == (1, 1)
    assert posts(store).set_index("id").loc[7].status == "stored"
    (source / "danbooru_7.jpg").unlink()
    assert run(store, source).known == 2


@pytest.mark.parametrize("form", [None, SourceForm.GALLERY_DL])
def test_the_name_of_the_site_and_an_id_are_enough(tmp_path: Path, form: SourceForm | None) -> None:
    """Metadata that was reduced to `category`, `id` and tags is recognised, and the ids are kept."""
    files: dict[str, bytes | str | dict[str, object]] = {}
    for number in (7, 8):
        facts: dict[str, object] = {"category": "danbooru", "id": number, "tags": ["1girl"]}
        files |= {f"{number}.jpg": picture(number), f"{number}.jpg.json": facts}

    report = run(tmp_path / "store", write(tmp_path / "source", files), form=form)

    assert list(report.forms.values()) == ["gallery-dl"]
    assert sorted(posts(tmp_path / "store").id) == [7, 8]


def test_a_wrong_md5_is_failed_and_can_be_kept(tmp_path: Path) -> None:
    """A picture with other bytes than the board's is not stored, unless that is asked for."""
    facts = {"category": "danbooru", "subcategory": "tag", "id": 7, "tags": ["1girl"], "md5": "0" * 32}
    source = write(
        tmp_path / "source", {"a.jpg": picture(1), "a.jpg.json": facts, "b.jpg": picture(2), "b.txt": "b"}
    )
    store = tmp_path / "store"

    assert run(store, source).failed == {"md5_mismatch": 1}
    row = posts(store).set_index("id").loc[7]
    assert (row.status, row.reason) == ("failed", "md5_mismatch")
    assert run(store, source, keep_mismatched=True).new == 1


def test_ids_of_two_boards_are_not_mixed(tmp_path: Path) -> None:
    """The first board's numbers are kept; a picture of another board gets one from its bytes."""
    files: dict[str, bytes | str | dict[str, object]] = {}
    for seed, site in enumerate(("danbooru", "gelbooru")):
        facts = {"category": site, "subcategory": "tag", "id": 7, "tags": [site], "parent_id": 6}
        files |= {f"{site}/7.jpg": picture(seed), f"{site}/7.jpg.json": facts}
    store = tmp_path / "store"
    report = run(store, write(tmp_path / "source", files))
    rows = posts(store).set_index("id")

    assert report.new == 2
    assert list(rows.tags_unknown[7]) == ["danbooru"]
    other = rows.drop(index=7).iloc[0]
    assert list(other.tags_unknown) == ["gelbooru"]
    assert int(str(other.name)) >= 10**11
    assert (rows.parent_id[7], other.parent_id) == (6, None) or other.isna().parent_id
    assert run(store, tmp_path / "source").known == 2


def test_two_files_of_one_id_have_one_picture(tmp_path: Path) -> None:
    """The first file of an id is stored; the second one is counted."""
    facts = {"category": "danbooru", "subcategory": "tag", "id": 7, "tags": ["1girl"]}
    files: dict[str, bytes | str | dict[str, object]] = {
        **{f"{name}.jpg": picture(seed) for seed, name in enumerate("ab")},
        **{f"{name}.jpg.json": json.loads(json.dumps(facts)) for name in "ab"},
    }
    report = run(tmp_path / "store", write(tmp_path / "source", files))

    assert (report.new, report.skipped) == (1, {"repeated_id": 1})
    assert list(posts(tmp_path / "store").stored_md5) == [md5(picture(0))]


def test_another_file_of_a_stored_post_replaces_nothing(tmp_path: Path) -> None:
    """A second source may have another version of a picture: the stored one stays, the tags are updated."""
    facts = {"category": "danbooru", "subcategory": "tag", "id": 7}
    one, other = (
        write(
            tmp_path / name,
            {
                "7.jpg": picture(seed),
                "7.jpg.json": {
                    **facts,
                    "md5": md5(picture(seed)),
                    "file_url": f"https://board.example/{seed}.jpg",
                    "tags": [name],
                },
            },
        )
        for seed, name in enumerate(("one", "other"))
    )
    store = tmp_path / "store"
    run(store, one)
    report = run(store, other)
    (row,) = (row for _, row in posts(store).iterrows())

    assert (report.known, report.listed) == (1, 1)
    assert (row.status, row.stored_md5, row.md5) == ("stored", md5(picture(0)), md5(picture(0)))
    assert (row.file_url, list(row.tags_unknown)) == ("https://board.example/0.jpg", ["other"])
