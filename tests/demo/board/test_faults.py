"""Every fault switch of the stand-in board does what docs/BOARD.md says, each time alike."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
from dataclasses import fields
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from alti2v.demo.board.app import RequestKind
from alti2v.demo.board.faults import Faults, TooManyRequests, chance, faults_from_json, read_faults
from alti2v.demo.board.gelbooru import pages
from alti2v.errors import UsageError

DOCUMENT = Path(__file__).parents[3] / "docs" / "BOARD.md"


# From JSON ------------------------------------------------------------------------------------


def test_switches_are_read_from_json(tmp_path: Path) -> None:
    """A file gives the same value as Python does; nothing given is nothing wrong."""
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
    """A wrong key or value is a usage error of one line that names it."""
    with pytest.raises(UsageError) as caught:
        faults_from_json(value)

    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_usage_errors(tmp_path: Path) -> None:
    """A missing file and one that is no JSON: one line each, with the path."""
    (tmp_path / "wrong.json").write_text("{")
    for name in ("missing.json", "wrong.json"):
        with pytest.raises(UsageError, match=name):
            read_faults(tmp_path / name)


def test_every_switch_is_documented() -> None:
    """docs/BOARD.md has a row for each switch, and none for another."""
    rows = re.findall(r"^\| (`.*?) \|", DOCUMENT.read_text(), re.MULTILINE)
    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row)]

    assert sorted(documented) == sorted(field.name for field in fields(Faults))
    example = re.search(r"```json\n(.*?)\n```", DOCUMENT.read_text(), re.DOTALL)
    assert faults_from_json(json.loads(example[1])) != Faults()


def test_chance_is_even_and_repeatable() -> None:
    """The same arguments give the same number; the numbers fill [0, 1) evenly."""
    numbers = [chance(1, "x", number) for number in range(2000)]

    assert numbers == [chance(1, "x", number) for number in range(2000)]
    assert all(0 <= number < 1 for number in numbers)
    assert 0.27 < sum(number < 0.3 for number in numbers) / 2000 < 0.33
    assert chance(2, "x", 0) != chance(1, "x", 0) != chance(1, "y", 0)


# Listings -------------------------------------------------------------------------------------


async def test_an_empty_answer_comes_at_the_request_named(start: Any) -> None:
    """The second request for posts finds nothing, in either form; the third is right again."""
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
async def test_errors_have_many_forms(start: Any, form: str, status: int, body: bytes) -> None:
    """Each form of an error, once, and then the posts."""
    board = await start(error_at=(1,), error_form=form)
    answer = await board.api(json=1)

    assert answer.status == status
    assert re.fullmatch(body, answer.body, re.DOTALL)
    assert len(await board.posts()) == 100


async def test_danbooru_times_out(start: Any) -> None:
    """Its error is a 500 in JSON."""
    board = await start(dialect="danbooru", error_at=(1,))
    answer = await board.get("/posts.json")

    assert answer.status == 500
    assert answer.json["message"] == "The database timed out running your query."


async def test_ghosts_are_an_id_and_nothing_else(start: Any) -> None:
    """All null but the id, a URL that leads nowhere, and no tags; some ids are far above the newest."""
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


async def test_the_id_cursor_may_be_ignored(start: Any) -> None:
    """Then the newest posts come back, whatever was asked for."""
    board = await start(ignore_id_cursor=True)
    newest = await board.posts(limit=3)

    assert await board.posts(limit=3, tags="id:%3C40") == newest
    danbooru = await start(dialect="danbooru", ignore_id_cursor=True)
    first = (await danbooru.get("/posts.json?limit=3")).json
    assert (await danbooru.get("/posts.json?limit=3&page=b40")).json == first


async def test_urls_may_name_no_scheme(start: Any) -> None:
    """As before about 2019."""
    board = await start(protocol_relative_urls=True)
    element = (await board.api(limit=1)).xml[0]

    assert element.attrib["file_url"].startswith(f"//{board.url.removeprefix('http://')}/images/")


async def test_posts_arrive_and_vanish_while_a_client_pages(start: Any) -> None:
    """Every second request there is one post more; every third one less, and its files are gone with it."""
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


async def test_videos_and_deleted_posts_are_among_the_others(start: Any) -> None:
    """mp4 posts have a file of that type and no sample; deleted posts say so."""
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


async def test_missing_files_stay_missing(start: Any) -> None:
    """Samples without originals' loss, and originals without samples' loss; every try is 404."""
    samples, images = await start(missing_samples=1.0), await start(missing_images=1.0)
    post = next(post for post in await samples.posts() if post["sample"])

    assert [(await samples.get(post["sample_url"])).status for _ in range(3)] == [404] * 3
    assert (await samples.get(post["file_url"])).status == 200
    post = next(post for post in await images.posts() if post["sample"])
    assert [(await images.get(post["file_url"])).status for _ in range(3)] == [404] * 3
    assert (await images.get(post["sample_url"])).status == 200


async def test_a_rate_strikes_some_posts_and_the_same_each_time(start: Any) -> None:
    """Half of the originals are missing: about half, and after a restart the same half."""
    gone = []
    for _ in range(2):
        board = await start(missing_images=0.5, posts=60, pictures=2)
        posts = await board.posts()
        gone.append([post["id"] for post in posts if (await board.get(post["file_url"])).status == 404])

    assert gone[0] == gone[1]
    assert 15 < len(gone[0]) < 45


async def test_bytes_may_differ_from_their_md5_and_still_decode(start: Any) -> None:
    """On every try, and without damage."""
    board = await start(md5_mismatch_rate=1.0)
    post = (await board.posts(limit=1))[0]
    bodies = {(await board.get(post["file_url"])).body for _ in range(2)}

    assert len(bodies) == 1
    assert hashlib.md5(bodies.copy().pop()).hexdigest() != post["hash"]
    with Image.open(io.BytesIO(bodies.pop())) as picture:
        picture.load()


async def test_types_may_be_wrong(start: Any) -> None:
    """A picture as text/plain, its bytes intact."""
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
async def test_faults_that_heal_strike_the_first_tries_only(start: Any, fault: str, broken: Any) -> None:
    """Two tries fail in the way of the fault, the third works; the board counts what it did."""
    board = await start(**{fault: 1.0}, heals_after=2)
    index = board.site.posts.newest()
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


async def test_a_reset_is_a_reset(start: Any) -> None:
    """The connection breaks with ECONNRESET, not with an orderly end; the second try of the address works."""
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


async def test_faults_need_not_heal(start: Any) -> None:
    """`heals_after` null: every try fails, of the API as well."""
    board = await start(status_503_rate=1.0, heals_after=None)

    assert [(await board.api(json=1)).status for _ in range(4)] == [503] * 4


async def test_api_answers_are_cut_and_reset_as_well(start: Any) -> None:
    """A listing that is cut short is whole on the next try."""
    board = await start(truncated_rate=1.0)
    with pytest.raises(aiohttp.ClientPayloadError):
        await board.posts(limit=5)

    assert len(await board.posts(limit=5)) == 5


async def test_slow_and_stalled_answers(start: Any) -> None:
    """A slow body arrives whole in pieces; a stalled one stops half-way without an end."""
    slow, stalled = await start(slow_rate=1.0, slow_s=0.08), await start(stall_rate=1.0, stall_s=30)
    begun_s = asyncio.get_running_loop().time()

    assert len(await slow.posts(limit=5)) == 5
    assert asyncio.get_running_loop().time() - begun_s >= 0.08
    async with stalled.client.get(stalled.url + "/index.php?page=dapi&s=post&q=index") as answer:
        half = await answer.content.readexactly(answer.content_length // 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await answer.content.readany()
    assert half


# The whole host -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["seconds", "date", "none"])
async def test_too_many_requests_with_and_without_a_time(start: Any, form: str) -> None:
    """Every third request of all is refused, and says when to come back in the form that is set."""
    board = await start(status_429=TooManyRequests(every=3, retry_after=form, wait_s=7))
    answers = [await board.api(limit=1) for _ in range(6)]

    assert [answer.status for answer in answers] == [200, 200, 429, 200, 200, 429]
    wait = answers[2].headers.get("Retry-After")
    if form == "date":
        now = parsedate_to_datetime(answers[2].headers["Date"])
        assert 5 <= (parsedate_to_datetime(wait) - now).total_seconds() <= 8
    else:
        assert wait == {"seconds": "7", "none": None}[form]


async def test_a_rate_of_requests_is_enforced(start: Any) -> None:
    """More than so many within a second are refused, in the dialect's own form."""
    board = await start(max_requests_per_s=4, dialect="danbooru")
    answers = [await board.get("/posts.json?limit=1") for _ in range(7)]

    assert [answer.status for answer in answers] == [200] * 4 + [429] * 3
    assert answers[-1].json["success"] is False
    assert board.board.traffic.most_in(1.0) == 7


async def test_user_agents_may_be_blocked(start: Any) -> None:
    """A browser's gets a page with 403, an honest one what it asks for."""
    board = await start(blocked_user_agents=("mozilla",))

    assert (await board.get("/index.php", User_Agent="Mozilla/5.0 (X11)")).status == 403
    assert (await board.get("/index.php", User_Agent="alti2v/1 (+me@example.org)")).status == 200
    assert board.board.traffic.user_agents["Mozilla/5.0 (X11)"] == 1


async def test_latency_is_added_to_every_answer(start: Any) -> None:
    """Each answer waits."""
    board = await start(latency_s=0.05)
    begun_s = asyncio.get_running_loop().time()
    await board.get("/robots.txt")

    assert asyncio.get_running_loop().time() - begun_s >= 0.05


async def test_traffic_is_counted_by_kind_and_by_address(start: Any) -> None:
    """Tests can read who asked for what, and how fast."""
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
    assert traffic.targets[post["file_url"].removeprefix(board.url)] == 2
    assert traffic.most_in(60.0) == traffic.total == 7
    assert traffic.most_in(60.0, kinds.ORIGINAL, kinds.TAGS) == 3
    assert traffic.statuses == {200: 7}
