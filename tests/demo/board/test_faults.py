"""Every fault switch of the stand-in board has the effect that docs/BOARD.md states."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
from bisect import bisect_right
from dataclasses import fields
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest
from PIL import Image

from alti2v.demo.board.app import RequestKind, Traffic
from alti2v.demo.board.faults import Faults, TooManyRequests, chance, faults_from_json, read_faults
from alti2v.demo.board.gelbooru import pages
from alti2v.errors import UsageError
from tests.demo.helpers.board_client import Start

DOCUMENT = Path(__file__).parents[3] / "docs" / "BOARD.md"


# From JSON ------------------------------------------------------------------------------------


def test_switches_are_read_from_json(tmp_path: Path) -> None:
    """A file gives the same value as the constructor; an empty object gives no faults."""
    file = tmp_path / "faults.json"
    file.write_text(
        '{"ghost_rate": 0.5, "empty_page_at": [3], "status_429": {"every": 9, "retry_after": "date"}}'
    )

    limit = TooManyRequests(every=9, retry_after="date")
    assert read_faults(file) == Faults(ghost_rate=0.5, empty_page_at=(3,), status_429=limit)
    assert faults_from_json({}) == Faults()


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"ghosts": 1}, "ghosts"),
        ([], "JSON object"),
        ({"ghost_rate": 1.5}, "ghost_rate"),
        ({"ghost_rate": True}, "ghost_rate"),
        ({"ghost_rate": "0.1"}, "ghost_rate"),
        ({"wall_form": "brick"}, "wall_form"),
        ({"wall_form": ["xml"]}, "wall_form"),
        ({"wall_depth": -1}, "wall_depth"),
        ({"wall_depth": None}, "wall_depth"),
        ({"empty_page_at": 3}, "empty_page_at"),
        ({"empty_page_at": [0]}, "empty_page_at"),
        ({"json_refused": 1}, "json_refused"),
        ({"status_429": 5}, "status_429"),
        ({"status_429": {}}, "every"),
        ({"status_429": {"every": 1}}, "status_429.every"),
        ({"status_429": {"every": 3, "retry_after": "soon"}}, "status_429.retry_after"),
        ({"status_429": {"every": 3, "when": 1}}, "when"),
        ({"heals_after": 0}, "heals_after"),
        ({"latency_s": -1}, "latency_s"),
        ({"slow_s": float("nan")}, "slow_s"),
        ({"blocked_user_agents": "curl"}, "blocked_user_agents"),
        ({"blocked_user_agents": [""]}, "blocked_user_agents"),
        ({"robots_txt": 1}, "robots_txt"),
    ],
)
def test_what_is_unknown_or_impossible_is_named(value: object, named: str) -> None:
    """A wrong key or value is a one-line usage error that names it."""
    with pytest.raises(UsageError) as caught:
        faults_from_json(value)

    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_usage_errors(tmp_path: Path) -> None:
    """A missing file and an invalid one are usage errors that name the path."""
    (tmp_path / "wrong.json").write_text("{")
    for name in ("missing.json", "wrong.json"):
        with pytest.raises(UsageError, match=name):
            read_faults(tmp_path / name)


def test_every_switch_is_documented() -> None:
    """docs/BOARD.md has exactly one row for each switch, and its example is valid."""
    rows = re.findall(r"^\| (`.*?) \|", DOCUMENT.read_text(), re.MULTILINE)
    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row)]

    assert sorted(documented) == sorted(field.name for field in fields(Faults))
    example = re.search(r"```json\n(.*?)\n```", DOCUMENT.read_text(), re.DOTALL)
    assert example
    assert faults_from_json(json.loads(example[1])) != Faults()


def test_chance_is_even_and_repeatable() -> None:
    """The same arguments give the same number, and numbers are uniform in [0, 1)."""
    numbers = [chance(1, "x", number) for number in range(2000)]

    assert numbers == [chance(1, "x", number) for number in range(2000)]
    assert all(0 <= number < 1 for number in numbers)
    assert 0.27 < sum(number < 0.3 for number in numbers) / 2000 < 0.33
    assert chance(2, "x", 0) != chance(1, "x", 0) != chance(1, "y", 0)


# Listings -------------------------------------------------------------------------------------


async def test_an_empty_answer_comes_at_the_request_named(start: Start) -> None:
    """The second request for posts finds nothing, in JSON and XML; the third is right again."""
    board, other = await start(empty_page_at=(2,)), await start(empty_page_at=(2,))

    assert [len(await board.posts(limit=5)) for _ in range(3)] == [5, 0, 5]
    assert [len((await other.api(limit=5)).xml) for _ in range(3)] == [5, 0, 5]
    danbooru = await start(dialect="danbooru", empty_page_at=(1,))
    assert [bool((await danbooru.get("/posts.json")).json) for _ in range(2)] == [False, True]


@pytest.mark.parametrize(
    ("form", "status", "body"),
    [
        ("response", 200, rb'<\?xml[^>]*>\s*<response success="false" reason="[^"]+"/>'),
        ("error", 200, rb"<\?xml[^>]*>\s*<error>[^<]+</error>"),
        ("string", 200, rb'"[^"]+"'),
        ("html", 403, rb"<!DOCTYPE html>.*"),
    ],
)
async def test_errors_have_many_forms(start: Start, form: str, status: int, body: bytes) -> None:
    """Each form of an error comes once, and then the posts."""
    board = await start(error_at=(1,), error_form=form)
    answer = await board.api(json=1)

    assert answer.status == status
    assert re.fullmatch(body, answer.body, re.DOTALL)
    assert len(await board.posts()) == 100


async def test_danbooru_times_out(start: Start) -> None:
    """Danbooru's error is a 500 in JSON."""
    board = await start(dialect="danbooru", error_at=(1,))
    answer = await board.get("/posts.json")

    assert answer.status == 500
    assert answer.json["message"] == "The database timed out running your query."


async def test_ghosts_are_an_id_and_nothing_else(start: Start) -> None:
    """Ghosts have an id, a useless URL and no tags; all else is null. Some ids are far above the newest."""
    board = await start(ghost_rate=0.2)
    posts = await board.posts(limit=1000)
    ghosts = [post for post in posts if post["hash"] is None]
    real = [post["id"] for post in posts if post["hash"] is not None]

    assert 10 < len(ghosts) < 45
    assert len(posts) == 120
    for ghost in ghosts:
        assert tuple(ghost) == pages.KEYS
        assert ghost["file_url"] == f"{board.url}/images//"
        assert ghost["tags"] == ""
        assert {ghost[key] for key in set(ghost) - {"id", "file_url", "tags"}} == {None}
    too_high = [ghost["id"] for ghost in ghosts if ghost["id"] > max(real)]
    assert 2 < len(too_high) < len(ghosts)
    elements = (await board.api(limit=1000)).xml
    assert {element.attrib["id"] for element in elements if not element.attrib["md5"]} == {
        str(ghost["id"]) for ghost in ghosts
    }
    assert (await board.get("/images//")).status == 404
    former = await (await start(ghost_rate=0.2, old_json_shape=True)).posts(limit=1000)
    assert {tuple(post) for post in former} == {pages.OLD_KEYS}
    assert sum(post["hash"] is None for post in former) == len(ghosts)


async def test_the_id_cursor_may_be_ignored(start: Start) -> None:
    """With the switch, cursors give the newest posts."""
    board = await start(ignore_id_cursor=True)
    newest = await board.posts(limit=3)

    assert await board.posts(limit=3, tags="id:%3C40") == newest
    danbooru = await start(dialect="danbooru", ignore_id_cursor=True)
    first = (await danbooru.get("/posts.json?limit=3")).json
    assert (await danbooru.get("/posts.json?limit=3&page=b40")).json == first


async def test_bounds_of_ids_may_be_ignored(start: Start) -> None:
    """`id:>=N` and `id:A..B` give the newest page, as on safebooru.org; `id:<N` and a single id are obeyed."""
    board, other = await start(ignore_id_bound=True), await start()
    newest = await board.posts(limit=3)

    assert await board.posts(limit=3, tags="id:%3E=20+id:5..9") == newest
    assert (await board.api(tags="id:5..9")).xml.attrib["count"] == "120"
    assert (await board.posts(limit=3, tags="id:%3C40"))[0]["id"] < 40
    assert [post["id"] for post in await board.posts(tags=f"id:{newest[2]['id']}")] == [newest[2]["id"]]
    assert {post["id"] for post in await other.posts(tags="id:5..9")} <= set(range(5, 10))


@pytest.mark.parametrize(
    ("form", "in_json", "in_xml"), [("absent", None, None), ("null", None, ""), ("text", "unknown", "unknown")]
)
async def test_ids_may_be_unusable(start: Start, form: str, in_json: str | None, in_xml: str | None) -> None:
    """Every post of a listing lacks its id, in every form of a listing; the rest is there."""
    board, danbooru = await start(unusable_ids=form), await start(unusable_ids=form, dialect="danbooru")
    listings = [await board.posts(limit=9), (await danbooru.get("/posts.json?limit=9")).json]
    elements = (await board.api(limit=9)).xml

    for posts in listings:
        assert len(posts) == 9
        assert all(post.get("id") == in_json and ("id" in post) == (form != "absent") for post in posts)
        assert all(post["file_url"] for post in posts)
    assert [element.attrib.get("id") for element in elements] == [in_xml] * 9
    assert elements[0].attrib["parent_id"] is not None


async def test_xml_may_use_elements_for_attributes(start: Start) -> None:
    """Posts and tags carry the same values in child elements, each only if its list is named."""
    board, plain = await start(xml_elements=("posts", "tags")), await start()
    for mine, other in (
        (await board.api(limit=9), await plain.api(limit=9)),
        (
            await board.get("/index.php?page=dapi&s=tag&q=index"),
            await plain.get("/index.php?page=dapi&s=tag&q=index"),
        ),
    ):
        assert not any(row.attrib for row in mine.xml)
        values = [{child.tag: child.text or "" for child in row} for row in mine.xml]
        assert values == [
            {name: value.replace(plain.url, board.url) for name, value in row.attrib.items()}
            for row in other.xml
        ]
    only_tags = await start(xml_elements=("tags",))
    assert (await only_tags.api(limit=1)).xml[0].attrib
    assert len(await only_tags.posts(limit=2)) == 2


async def test_the_tag_api_may_ignore_the_name(start: Start) -> None:
    """Whatever tag is requested, the list begins with another one each time."""
    board = await start(ignore_tag_name=True)
    everything = [tag.attrib["name"] for tag in await board.tags(limit=1000)]
    answers = [(await board.tags(name="solo", limit=1))[0].attrib["name"] for _ in range(3)]

    assert answers == everything[:3]


async def test_sources_may_have_parameters_that_begin_like_entities(start: Start) -> None:
    """`&section=` and its like: plain in JSON, or with entities; XML and Danbooru always say the same."""
    wanted = "?id=5&section=2&timestamp=17&region=eu&param=x"
    plain, escaped = await start(source_query="plain"), await start(source_query="entities")
    danbooru = await start(source_query="plain", dialect="danbooru")
    sources = [post["source"] for post in await plain.posts() if post["source"]]

    assert sources
    assert all(source.endswith(wanted) for source in sources)
    assert {post["source"] for post in await escaped.posts() if post["source"]} == {
        source.replace("&", "&amp;") for source in sources
    }
    for board in (plain, escaped):
        assert {row.attrib["source"] for row in (await board.api()).xml} - {""} == set(sources)
    posts = (await danbooru.get("/posts.json?limit=100")).json
    assert {post["source"] for post in posts} - {""} <= set(sources)


@pytest.mark.parametrize("dialect", ["gelbooru", "danbooru"])
async def test_the_file_type_may_be_missing_or_wrong(start: Start, dialect: str) -> None:
    """Without it, only the URL tells the type; wrong, it names a video beside the URL of a picture."""
    address = "/posts.json" if dialect == "danbooru" else "/index.php?page=dapi&s=post&q=index&json=1"
    untyped, mistyped = (
        await start(no_file_type=True, dialect=dialect),
        await start(wrong_file_type=1, dialect=dialect),
    )
    for post in (await untyped.get(address)).json:
        assert not {"image", "directory", "file_ext"} & set(post)
        assert post["file_url"].rpartition(".")[2] in ("jpg", "png", "gif", "webp")
    for post in (await mistyped.get(address)).json:
        assert (post.get("image") or post["file_ext"]).endswith("webm")
        assert (await mistyped.get(post["file_url"])).headers["Content-Type"].startswith("image/")


@pytest.mark.parametrize(
    ("dialect", "form", "status", "key"),
    [
        ("gelbooru", "401", 401, "&api_key=k&user_id=7"),
        ("gelbooru", "error", 200, "&api_key=k&user_id=7"),
        ("danbooru", "401", 401, "&login=me&api_key=k"),
    ],
)
async def test_a_key_may_be_required(start: Start, dialect: str, form: str, status: int, key: str) -> None:
    """Without account and key the API refuses, with either it answers; pages need none."""
    board = await start(api_key=form, dialect=dialect)
    address = "/posts.json?" if dialect == "danbooru" else "/index.php?page=dapi&s=post&q=index&json=1"
    refusal = await board.get(address)

    assert refusal.status == status
    assert (b"<error>Missing authentication." in refusal.body) == (form == "error")
    assert len((await board.get(address + key)).json) > 10
    assert (await board.get("/")).status == 200
    if dialect == "danbooru":
        assert (await board.get(address, Authorization="Basic bWU6aw==")).status == 200


async def test_urls_may_name_no_scheme(start: Start) -> None:
    """URLs begin with `//`, as before about 2019."""
    board = await start(protocol_relative_urls=True)
    element = (await board.api(limit=1)).xml[0]

    assert element.attrib["file_url"].startswith(f"//{board.url.removeprefix('http://')}/images/")


async def test_posts_arrive_and_vanish_while_a_client_pages(start: Start) -> None:
    """A post arrives with every second request; a post and its files vanish with every third."""
    board = await start(posts_arrive_every=2)
    newest = [(await board.posts(limit=1))[0]["id"] for _ in range(6)]
    other = await start(posts_vanish_every=3)
    before = await other.posts(limit=1000)
    counts = [int((await other.api(limit=1)).xml.attrib["count"]) for _ in range(6)]
    after = {post["id"] for post in await other.posts(limit=1000)}
    lost = [post for post in before if post["id"] not in after]

    assert newest == sorted(newest)
    assert len(set(newest)) == 4
    assert counts == [120, 119, 119, 119, 118, 118]
    assert len(lost) == 2
    assert (await other.get(lost[0]["file_url"])).status == 404
    assert await other.posts(id=lost[0]["id"]) == []


async def test_videos_and_deleted_posts_are_among_the_others(start: Start) -> None:
    """mp4 posts have a file of that type and no sample; deleted posts have that status."""
    board = await start(video_rate=0.3, deleted_rate=0.3)
    posts = await board.posts(limit=1000)
    videos = [post for post in posts if post["image"].endswith(".mp4")]
    answer = await board.get(videos[0]["file_url"])

    assert 10 < len(videos) < 70
    assert answer.headers["Content-Type"] == "video/mp4"
    assert hashlib.md5(answer.body).hexdigest() == videos[0]["hash"]
    assert not any(post["sample"] for post in videos)
    assert 10 < sum(post["status"] == "deleted" for post in posts) < 70


# Files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["gelbooru", "danbooru"])
@pytest.mark.parametrize("fault", ["signed_urls", "quoted_urls"])
async def test_file_urls_may_have_to_be_sent_as_listed(start: Start, fault: str, dialect: str) -> None:
    """A query behind the name, or `%27` in it: the listed URLs work, others are 403."""
    board = await start(dialect=dialect, **{fault: True})
    if dialect == "danbooru":
        posts = (await board.get("/posts.json?limit=100")).json
        post = next(post for post in posts if post["large_file_url"] != post["file_url"])
        urls = [post["file_url"], post["large_file_url"], post["preview_file_url"]]
    else:
        post = next(post for post in await board.posts() if post["sample"])
        urls = [post["file_url"], post["sample_url"], post["preview_url"]]
        (row,) = (await board.api(tags=f"id:{post['id']}")).xml
        assert [row.attrib[name] for name in ("file_url", "sample_url", "preview_url")] == urls
    for url in urls:
        assert (await board.get(url)).status == 200
        assert ("?" in url, "%27" in url) == (fault == "signed_urls", fault == "quoted_urls")
        assert (await board.get(url.partition("?")[0].replace("%27", "'"))).status == 403
    assert hashlib.md5((await board.get(urls[0])).body).hexdigest() == post.get("hash", post.get("md5"))


async def test_files_are_replaced_under_the_same_id(start: Start) -> None:
    """Every second request one post has another MD5, address and time of change; the old address is 404."""
    board = await start(files_replaced_every=2)
    before = {post["id"]: post for post in await board.posts(limit=1000)}
    after = {post["id"]: post for post in await board.posts(limit=1000)}
    (changed,) = [number for number in after if after[number] != before[number]]
    old, new = before[changed], after[changed]

    assert len(after) == 120
    assert {key for key in new if new[key] != old[key]} >= {"file_url", "hash", "image", "change"}
    assert new["change"] > max(post["change"] for post in before.values())
    assert (await board.get(old["file_url"])).status == 404
    assert hashlib.md5((await board.get(new["file_url"])).body).hexdigest() == new["hash"]
    assert [post["id"] for post in await board.posts(tags=f"md5:{new['hash']}")] == [changed]
    danbooru = await start(files_replaced_every=1, dialect="danbooru")
    newest = (await danbooru.get("/posts.json?tags=order:change&limit=1")).json[0]
    assert hashlib.md5((await danbooru.get(newest["file_url"])).body).hexdigest() == newest["md5"]
    assert danbooru.site.posts.find(newest["id"]) in danbooru.site.posts.replaced


@pytest.mark.parametrize("dialect", ["gelbooru", "danbooru"])
async def test_originals_may_be_avif_beside_jpeg_samples(start: Start, dialect: str) -> None:
    """The original is a whole AVIF file with the listed MD5 and size; a sample stays JPEG."""
    board = await start(avif_rate=1.0, dialect=dialect, posts=24, pictures=4)
    address = "/posts.json?limit=24" if dialect == "danbooru" else "/index.php?page=dapi&s=post&q=index&json=1"
    posts = (await board.get(address)).json
    post = next(
        post for post in posts if post["file_url"] != post.get("sample_url", post.get("large_file_url"))
    )
    original = await board.get(post["file_url"])
    sample = await board.get(post.get("sample_url") or post["large_file_url"])

    assert all(post["file_url"].endswith(".avif") for post in posts)
    assert len({post.get("hash") or post["md5"] for post in posts}) == len(posts)
    assert original.headers["Content-Type"] == "image/avif"
    assert hashlib.md5(original.body).hexdigest() == (post.get("hash") or post["md5"])
    for answer, form in ((original, "AVIF"), (sample, "JPEG")):
        with Image.open(io.BytesIO(answer.body)) as picture:
            picture.load()
            assert picture.format == form


@pytest.mark.parametrize(
    ("form", "status", "beginning"),
    [
        *((code, int(code), b"<html>") for code in ("404", "410", "400", "403", "500")),
        ("page", 200, b"<!DOCTYPE html>"),
        ("empty", 200, b""),
        ("text", 200, b"File not found."),
        ("cut", 200, b"\xff\xd8"),
        ("redirect", 302, b""),
    ],
)
async def test_missing_files_are_told_in_many_ways(
    start: Start, form: str, status: int, beginning: bytes
) -> None:
    """The same on each try; the original is there all the same; other addresses are 404."""
    board = await start(missing_samples=1.0, missing_form=form)
    post = next(post for post in await board.posts() if post["sample"])
    first, second = await board.get(post["sample_url"]), await board.get(post["sample_url"])

    assert (first.status, first.body) == (second.status, second.body)
    assert first.status == status
    assert first.body.startswith(beginning)
    assert (await board.get(post["file_url"])).status == 200
    assert (await board.get(post["sample_url"].replace("/sample_", "/sample_0"))).status == 404
    if form == "empty":
        assert first.body == b""
    if form == "cut":
        assert int(first.headers["Content-Length"]) == len(first.body)
    if form == "redirect":
        assert "text/html" in (await board.get(first.headers["Location"])).headers["Content-Type"]


async def test_missing_files_stay_missing(start: Start) -> None:
    """A missing sample leaves the original, and the reverse; every try is 404."""
    samples, images = await start(missing_samples=1.0), await start(missing_images=1.0)
    post = next(post for post in await samples.posts() if post["sample"])

    assert [(await samples.get(post["sample_url"])).status for _ in range(3)] == [404] * 3
    assert (await samples.get(post["file_url"])).status == 200
    post = next(post for post in await images.posts() if post["sample"])
    assert [(await images.get(post["file_url"])).status for _ in range(3)] == [404] * 3
    assert (await images.get(post["sample_url"])).status == 200


async def test_a_rate_strikes_some_posts_and_the_same_each_time(start: Start) -> None:
    """At rate 0.5 about half of the originals are missing, and the same half after a restart."""
    gone = []
    for _ in range(2):
        board = await start(missing_images=0.5, posts=60, pictures=2)
        posts = await board.posts()
        gone.append([post["id"] for post in posts if (await board.get(post["file_url"])).status == 404])

    assert gone[0] == gone[1]
    assert 15 < len(gone[0]) < 45


async def test_bytes_may_differ_from_their_md5_and_still_decode(start: Start) -> None:
    """The original always has another MD5 than listed, and still decodes."""
    board = await start(md5_mismatch_rate=1.0)
    post = (await board.posts(limit=1))[0]
    bodies = {(await board.get(post["file_url"])).body for _ in range(2)}

    assert len(bodies) == 1
    assert hashlib.md5(bodies.copy().pop()).hexdigest() != post["hash"]
    with Image.open(io.BytesIO(bodies.pop())) as picture:
        picture.load()


async def test_types_may_be_wrong(start: Start) -> None:
    """A picture is sent as text/plain, its bytes intact."""
    board = await start(wrong_content_type=1.0)
    post = (await board.posts(limit=1))[0]
    answer = await board.get(post["file_url"])

    assert answer.headers["Content-Type"] == "text/plain"
    assert hashlib.md5(answer.body).hexdigest() == post["hash"]


# Answers that get better ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "broken"),
    [
        ("status_503_rate", 503),
        ("truncated_rate", aiohttp.ClientPayloadError),
        ("html_instead_rate", "text/html; charset=UTF-8"),
    ],
)
async def test_faults_that_heal_strike_the_first_tries_only(start: Start, fault: str, broken: Any) -> None:
    """With `heals_after` 2, two tries fail, the third works, and the board has counted two."""
    board = await start(**{fault: 1.0}, heals_after=2)
    index = board.site.posts.newest()
    assert index is not None
    post = board.site.posts.post(index)
    url = f"/images/{post.directory}/{post.stem}.{post.file_ext}"
    for _ in range(2):
        if isinstance(broken, type):
            with pytest.raises(broken):
                await board.get(url)
        else:
            answer = await board.get(url)
            assert broken in (answer.status, answer.headers["Content-Type"])
    healed = await board.get(url)

    assert hashlib.md5(healed.body).hexdigest() == board.site.md5(index)
    assert board.board.traffic.struck[fault] == 2


async def test_a_reset_is_a_reset(start: Start) -> None:
    """The first try of an address ends with ECONNRESET, the second works."""
    board = await start(reset_rate=1.0)
    host, port = board.url.removeprefix("http://").split(":")
    request = b"GET /robots.txt HTTP/1.1\r\nHost: board\r\nConnection: close\r\n\r\n"
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)

    assert (await reader.read()).startswith(b"HTTP/1.1 404")
    writer.close()


async def test_faults_need_not_heal(start: Start) -> None:
    """With `heals_after` null, every try fails."""
    board = await start(status_503_rate=1.0, heals_after=None)

    assert [(await board.api(json=1)).status for _ in range(4)] == [503] * 4


async def test_api_answers_are_cut_and_reset_as_well(start: Start) -> None:
    """A truncated listing is complete on the next try."""
    board = await start(truncated_rate=1.0)
    with pytest.raises(aiohttp.ClientPayloadError):
        await board.posts(limit=5)

    assert len(await board.posts(limit=5)) == 5


async def test_slow_and_stalled_answers(start: Start) -> None:
    """A slow body arrives complete; a stalled one stops half-way, and the connection stays open."""
    slow, stalled = await start(slow_rate=1.0, slow_s=0.08), await start(stall_rate=1.0, stall_s=30)
    begun_s = asyncio.get_running_loop().time()

    assert len(await slow.posts(limit=5)) == 5
    assert asyncio.get_running_loop().time() - begun_s >= 0.08
    async with stalled.session.get(stalled.url + "/index.php?page=dapi&s=post&q=index") as answer:
        half = await answer.content.readexactly((answer.content_length or 0) // 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await answer.content.readany()
    assert half


# The whole host -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["seconds", "date", "none"])
async def test_too_many_requests_with_and_without_a_time(
    start: Start, form: Literal["seconds", "date", "none"]
) -> None:
    """Every third request is refused, with Retry-After in the selected form."""
    board = await start(status_429=TooManyRequests(every=3, retry_after=form, wait_s=7))
    answers = [await board.api(limit=1) for _ in range(6)]

    assert [answer.status for answer in answers] == [200, 200, 429, 200, 200, 429]
    wait = answers[2].headers.get("Retry-After")
    if form == "date":
        now = parsedate_to_datetime(answers[2].headers["Date"])
        assert wait
        assert 5 <= (parsedate_to_datetime(wait) - now).total_seconds() <= 8
    else:
        assert wait == {"seconds": "7", "none": None}[form]


def most_in(traffic: Traffic, window_s: float, *kinds: RequestKind) -> int:
    """Maximum number of requests within any `window_s` seconds, of these kinds; of all without a kind."""
    times_s = sorted(
        time_s for kind, times in traffic.times_s.items() if not kinds or kind in kinds for time_s in times
    )
    return max(bisect_right(times_s, start_s + window_s) - place for place, start_s in enumerate(times_s))


async def test_a_rate_of_requests_is_enforced(start: Start) -> None:
    """Requests beyond the limit within one second are refused in the dialect's own form."""
    board = await start(max_requests_per_s=4, dialect="danbooru")
    answers = [await board.get("/posts.json?limit=1") for _ in range(7)]

    assert [answer.status for answer in answers] == [200] * 4 + [429] * 3
    assert answers[-1].json["success"] is False
    assert most_in(board.board.traffic, 1.0) == 7


async def test_user_agents_may_be_blocked(start: Start) -> None:
    """A blocked User-Agent gets a page with 403, another one the answer."""
    board = await start(blocked_user_agents=("mozilla",))

    assert (await board.get("/index.php", User_Agent="Mozilla/5.0 (X11)")).status == 403
    assert (await board.get("/index.php", User_Agent="alti2v/1 (+me@example.org)")).status == 200
    assert board.board.traffic.user_agents["Mozilla/5.0 (X11)"] == 1


async def test_latency_is_added_to_every_answer(start: Start) -> None:
    """Every answer is delayed by `latency_s`."""
    board = await start(latency_s=0.05)
    begun_s = asyncio.get_running_loop().time()
    await board.get("/robots.txt")

    assert asyncio.get_running_loop().time() - begun_s >= 0.05


async def test_traffic_is_counted_by_kind_and_by_address(start: Start) -> None:
    """The log counts requests by kind, address, status and time."""
    board = await start()
    post = next(post for post in await board.posts() if post["sample"])
    for url in (post["file_url"], post["file_url"], post["sample_url"], post["preview_url"]):
        await board.get(url)
    await board.get("/index.php?page=dapi&s=tag&q=index")
    await board.get("/index.php?page=post&s=list")
    traffic = board.board.traffic

    kinds = RequestKind
    assert traffic.kinds == {
        kinds.POSTS: 1, kinds.ORIGINAL: 2, kinds.SAMPLE: 1, kinds.THUMBNAIL: 1, kinds.TAGS: 1, kinds.PAGE: 1
    }  # fmt: skip
    assert board.requests[post["file_url"].removeprefix(board.url)] == 2
    assert most_in(traffic, 60.0) == traffic.total == 7
    assert most_in(traffic, 60.0, kinds.ORIGINAL, kinds.TAGS) == 3
    assert traffic.statuses == {200: 7}
