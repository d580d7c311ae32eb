"""Danbooru's dialect of the stand-in board: the facts of the wire document, one by one."""

from __future__ import annotations

import hashlib
import html
import io
import re
from typing import Any

import pytest
from PIL import Image

from alti2v.demo.drawing.corpus import categories
from alti2v.records import CATEGORY_CODES
from tests.demo.helpers.board_client import BoardClient, Start

KEYS = (
    *("id", "created_at", "uploader_id", "score", "source", "md5", "rating", "image_width", "image_height"),
    *("tag_string", "fav_count", "file_ext", "parent_id", "media_asset", "tag_string_general"),
    *("tag_string_character", "tag_string_copyright", "tag_string_artist", "tag_string_meta", "file_url"),
    *("large_file_url", "preview_file_url"),
)


@pytest.fixture
async def board(start: Start) -> Any:
    """A board with 120 posts and 12 pictures."""
    return await start(dialect="danbooru", pictures=12)


async def ids(board: BoardClient, address: str) -> list[int]:
    return [post["id"] for post in (await board.get(address)).json]


async def test_a_post_has_all_its_keys_and_true_urls(board: BoardClient) -> None:
    """All keys are present; URLs lead to the board, and their files have the listed MD5, size and type."""
    posts = (await board.get("/posts.json?limit=12")).json

    assert len(posts) == 12
    for post in posts:
        assert set(KEYS) <= set(post)
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}-04:00", post["created_at"])
        groups = ("general", "character", "copyright", "artist", "meta")
        by_group = {name: post[f"tag_string_{name}"].split() for name in groups}
        assert sorted(tag for tags in by_group.values() for tag in tags) == post["tag_string"].split()
        assert all(categories()[tag] == name for name, tags in by_group.items() for tag in tags)
        original = await board.get(post["file_url"])
        assert hashlib.md5(original.body).hexdigest() == post["md5"]
        assert len(original.body) == post["file_size"]
        assert post["file_url"].endswith(f"{post['md5']}.{post['file_ext']}")
        assert (post["large_file_url"] != post["file_url"]) == (post["image_width"] > 850)


async def test_variants_are_served_as_described(board: BoardClient) -> None:
    """The file of each variant has the size and the type of its entry in media_asset."""
    posts = (await board.get("/posts.json?limit=3")).json
    for post in posts:
        kinds = [variant["type"] for variant in post["media_asset"]["variants"]]
        assert kinds == ["180x180", "360x360", "720x720", *["sample"] * (post["image_width"] > 850), "original"]
        for variant in post["media_asset"]["variants"]:
            answer = await board.get(variant["url"])
            with Image.open(io.BytesIO(answer.body)) as picture:
                assert picture.size == (variant["width"], variant["height"])
                assert answer.headers["Content-Type"] == Image.MIME[picture.format or ""]
            assert variant["url"].endswith(variant["file_ext"])


async def test_only_what_is_rated_general_is_listed(start: Start) -> None:
    """Safe mode implies rating:g in listings, counts and searches; other posts are shown without files."""
    board = await start(dialect="danbooru", posts=40, pictures=40)
    sensitive = [number for number in range(40) if board.site.posts.picture(number).rating == "sensitive"]
    listed = (await board.get("/posts.json?limit=200")).json
    hidden = (await board.get(f"/posts/{board.site.posts.id(sensitive[0])}.json")).json

    assert {post["rating"] for post in listed} == {"g"}
    assert len(listed) == 40 - len(sensitive)
    assert (await board.get("/counts/posts.json")).json == {"counts": {"posts": len(listed)}}
    assert (await board.get("/posts.json?tags=rating:s")).json == []
    assert hidden["rating"] == "s"
    assert "md5" not in hidden


async def test_pages_limits_and_cursors(start: Start) -> None:
    """limit is 1..200, 20 by default; page=N, page=b<ID> and page=a<ID> list posts in descending order."""
    board = await start(dialect="danbooru", posts=500, pictures=1)
    everything = [
        post_id for page in (1, 2, 3) for post_id in await ids(board, f"/posts.json?limit=200&page={page}")
    ]

    assert len(everything) == 500
    assert everything == sorted(set(everything), reverse=True)
    assert len(await ids(board, "/posts.json")) == 20
    assert len(await ids(board, "/posts.json?limit=999")) == 200
    assert len(await ids(board, "/posts.json?limit=0")) == 1
    assert await ids(board, f"/posts.json?limit=5&page=b{everything[7]}") == everything[8:13]
    assert await ids(board, f"/posts.json?limit=5&page=a{everything[7]}") == everything[2:7]
    assert await ids(board, "/posts.json?limit=5&page=a0") == everything[-5:]
    assert await ids(board, "/posts.json?limit=5&page=b1") == []
    assert await ids(board, f"/posts.json?tags=id:{everything[3]},{everything[9]}") == [
        everything[3],
        everything[9],
    ]
    assert await ids(board, "/posts.json?tags=order:id_asc&limit=2") == everything[:-3:-1]


@pytest.mark.parametrize(
    ("address", "status", "error"),
    [
        ("/posts.json?page=1001", 410, "PaginationExtension::PaginationError"),
        ("/posts.json?tags=a+b+c", 422, "PostQuery::TagLimitError"),
        ("/counts/posts.json?tags=a+-b+c", 422, "PostQuery::TagLimitError"),
        ("/posts/999999.json", 404, "ActiveRecord::RecordNotFound"),
        ("/posts.json?md5=00000000000000000000000000000000", 404, "ActiveRecord::RecordNotFound"),
    ],
)
async def test_errors_are_json(board: BoardClient, address: str, status: int, error: str) -> None:
    """Errors are the error object, under the right status."""
    answer = await board.get(address)

    assert answer.status == status
    assert answer.json | {"message": ""} == {"success": False, "error": error, "message": "", "backtrace": []}
    assert answer.json["message"]


async def test_the_limits_are_not_reached_too_early(board: BoardClient) -> None:
    """Page 1000 is served, and so are two tags; metatags do not count."""
    assert (await board.get("/posts.json?page=1000")).json == []
    assert (await board.get("/posts.json?tags=1girl+solo+id:%3C50+rating:g")).status == 200


async def test_single_posts_and_selected_fields(board: BoardClient) -> None:
    """/posts/ID.json and md5= return one object; only= selects its keys."""
    post = (await board.get("/posts.json?limit=1")).json[0]

    assert (await board.get(f"/posts/{post['id']}.json")).json == post
    assert (await board.get(f"/posts.json?md5={post['md5']}")).json == post
    assert (await board.get(f"/posts.json?tags=md5:{post['md5']}")).json == [post]
    assert (await board.get("/posts.json?limit=1&only=md5,id")).json == [{"id": post["id"], "md5": post["md5"]}]
    plain = post["file_url"].partition("/original/")[2]
    assert (await board.get(f"/original/{plain}")).body == (await board.get(post["file_url"])).body


async def test_counts_are_those_of_the_listing(board: BoardClient) -> None:
    """The count of a search is the number of posts that it lists."""
    for tags in ("1girl", "1girl+-solo", "id:%3C60", "no_such"):
        count = (await board.get(f"/counts/posts.json?tags={tags}")).json
        assert count == {"counts": {"posts": len(await ids(board, f"/posts.json?limit=200&tags={tags}"))}}


async def test_tags_with_their_categories(board: BoardClient) -> None:
    """Tags have eight fields, and can be sorted by count, paged and filtered."""
    tags = (await board.get("/tags.json?search[order]=count&limit=1000")).json
    counts = [tag["post_count"] for tag in tags]

    assert counts == sorted(counts, reverse=True)
    assert [list(tag) for tag in tags[:1]] == [
        ["id", "name", "post_count", "category", "created_at", "updated_at", "is_deprecated", "words"]
    ]
    assert all(tag["category"] == CATEGORY_CODES[categories()[tag["name"]]] for tag in tags)
    assert (await board.get("/tags.json?search[order]=count&limit=3&page=2")).json == tags[3:6]
    assert (await board.get("/tags.json?search[name]=1girl")).json == [
        tag for tag in tags if tag["name"] == "1girl"
    ]
    names = {tag["name"] for tag in (await board.get("/tags.json?search[name_matches]=long*&limit=99")).json}
    assert names == {tag["name"] for tag in tags if tag["name"].startswith("long")}
    newest = (await board.get("/tags.json?limit=4")).json
    assert (await board.get(f"/tags.json?limit=2&page=b{newest[1]['id']}")).json == newest[2:]
    assert (await board.get(f"/tags.json?limit=2&page=a{newest[2]['id']}")).json == newest[:2]
    artists = (await board.get("/tags.json?search[category]=1&limit=99")).json
    assert artists
    assert {tag["category"] for tag in artists} == {1}


async def test_robots_txt_disallows_the_api(board: BoardClient) -> None:
    """robots.txt disallows the API, although the board's help documents it."""
    assert "Disallow: /*.json" in (await board.get("/robots.txt")).text.splitlines()


async def test_hidden_posts_lack_their_keys(start: Start) -> None:
    """MD5 and URLs of hidden posts are absent, not null; their assets have no variants, and files are 404."""
    board = await start(dialect="danbooru", hidden_rate=0.3)
    posts = (await board.get("/posts.json?limit=200")).json
    hidden = [post for post in posts if "md5" not in post]

    assert 10 < len(hidden) < 70
    for post in hidden:
        assert not {"md5", "file_url", "large_file_url", "preview_file_url"} & set(post)
        assert not {"md5", "variants"} & set(post["media_asset"])
        assert board.site.md5(board.index(post["id"])) not in str(post)
    secret = board.site.md5(board.index(hidden[0]["id"]))
    path = f"/original/{secret[:2]}/{secret[2:4]}/{secret}.{hidden[0]['file_ext']}"
    assert (await board.get(f"/cdn/{hidden[0]['id']}{path}")).status == 404


async def test_deleted_posts_stay_visible(start: Start) -> None:
    """A deleted post has is_deleted true, and is listed with its URLs."""
    board = await start(dialect="danbooru", deleted_rate=0.3)
    deleted = [post for post in (await board.get("/posts.json?limit=200")).json if post["is_deleted"]]

    assert 10 < len(deleted) < 70
    assert (await board.get(deleted[0]["file_url"])).status == 200


async def test_pages_for_people(board: BoardClient) -> None:
    """There is a list with thumbnails and a page for each post; unknown posts are 404."""
    front = (await board.get("/posts?tags=1girl")).text
    found = re.findall(r'<a class="post-preview-link" href="(/posts/\d+)"><img src="([^"]+)"', front)

    assert found
    assert (await board.get(found[0][1])).status == 200
    assert "Original" in (await board.get(found[0][0])).text
    assert (await board.get("/posts/999999")).status == 404


@pytest.mark.parametrize("first", ["/posts?tags=solo", "/posts?tags=solo&page=b999999"])
async def test_html_lists_are_followed_to_their_end(start: Start, first: str) -> None:
    """A crawler that follows `rel="next"` finds every post of a search once, by page number or below an id."""
    board = await start(dialect="danbooru", posts=216, pictures=4)
    found: list[str] = []
    address = first
    while address:
        page = (await board.get(address)).text
        found += re.findall(r'<article id="post_(\d+)"', page)
        following = re.search(r'<a class="paginator-next" rel="next" href="([^"]*)">', page)
        address = html.unescape(following[1]) if following else ""

    assert len(found) > 60
    assert found == [str(post["id"]) for post in (await board.get("/posts.json?limit=200&tags=solo")).json]


async def test_doubled_slashes_are_merged(board: BoardClient) -> None:
    """`//posts.json` is `/posts.json`, as web servers have it."""
    assert (await board.get("//posts.json?limit=3")).json == (await board.get("/posts.json?limit=3")).json


async def test_aliases_and_implications_are_listed_newest_first(board: BoardClient) -> None:
    """Relations come newest first, can be paged by id and filtered by status, and name known tags."""
    for kind in ("aliases", "implications"):
        rows = (await board.get(f"/tag_{kind}.json?limit=1000")).json
        numbers = [row["id"] for row in rows]
        active = (await board.get(f"/tag_{kind}.json?search[status]=active&limit=1000")).json
        below = (await board.get(f"/tag_{kind}.json?limit=2&page=b{numbers[2]}")).json

        assert numbers == sorted(numbers, reverse=True)
        assert active == [row for row in rows if row["status"] == "active"] != rows
        assert [row["id"] for row in below] == numbers[3:5]
        assert all(row["consequent_name"] in categories() for row in rows)


async def test_the_post_that_was_changed_last_comes_first(board: BoardClient) -> None:
    """`order:change` lists every post once, by falling time of change, which is not the order of ids."""
    pages = [
        (await board.get(f"/posts.json?tags=order:change&limit=50&page={page}")).json for page in (1, 2, 3)
    ]
    posts = [post for page in pages for post in page]
    changed = [post["updated_at"] for post in posts]

    assert changed == sorted(changed, reverse=True)
    assert sorted(post["id"] for post in posts) == sorted(await ids(board, "/posts.json?limit=200"))
    assert [post["id"] for post in posts] != sorted((post["id"] for post in posts), reverse=True)
