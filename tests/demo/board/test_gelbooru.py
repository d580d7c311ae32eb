"""Gelbooru's dialect of the stand-in board: the facts of the wire document, one by one."""

from __future__ import annotations

import hashlib
import html
import io
import re

import pytest
from PIL import Image

from alti2v.demo.board.app import RequestKind
from alti2v.demo.board.gelbooru.pages import entities
from alti2v.demo.drawing.corpus import categories
from alti2v.records import CATEGORY_CODES
from tests.demo.helpers.board_client import Start

NEW_KEYS = [
    *("preview_url", "sample_url", "file_url", "directory", "hash", "width", "height", "id", "image"),
    *("change", "owner", "parent_id", "rating", "sample", "sample_height", "sample_width", "score"),
    *("tags", "source", "status", "has_notes", "comment_count"),
]
OLD_KEYS = [
    *("directory", "hash", "height", "id", "image", "change", "owner", "parent_id", "rating", "sample"),
    *("sample_height", "sample_width", "score", "tags", "width"),
]
XML_ATTRIBUTES = [
    *("height", "score", "file_url", "parent_id", "sample_url", "sample_width", "sample_height"),
    *("preview_url", "rating", "tags", "id", "width", "change", "md5", "creator_id", "has_children"),
    *("created_at", "status", "source", "has_notes", "has_comments", "preview_width", "preview_height"),
]
TYPES = {
    "directory": int,
    "id": int,
    "change": int,
    "parent_id": int,
    "sample": bool,
    "score": int | None,
    "has_notes": bool,
    "comment_count": int,
    "width": int,
    "height": int,
    "sample_width": int,
    "sample_height": int,
}


async def test_json_is_a_bare_array_of_22_keys_under_the_type_of_a_page(start: Start) -> None:
    """Body A: keys in order, types, escaped slashes, absolute URLs of the board."""
    board = await start()
    answer = await board.api(json=1, limit=40)

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert rb"http:\/\/127.0.0.1" in answer.body
    assert b"//" not in answer.body
    assert len(answer.json) == 40
    for post in answer.json:
        assert list(post) == NEW_KEYS
        assert all(isinstance(post[key], TYPES.get(key, str)) for key in post)
        assert re.fullmatch("[0-9a-f]{32}", post["hash"])
        assert post["file_url"] == f"{board.url}/images/{post['directory']}/{post['image']}"
        stem = post["image"].partition(".")[0]
        assert post["preview_url"] == f"{board.url}/thumbnails/{post['directory']}/thumbnail_{stem}.jpg"
        assert post["sample"] == (post["width"] > 850)
        if post["sample"]:
            assert post["sample_url"] == f"{board.url}/samples/{post['directory']}/sample_{stem}.jpg"
            assert post["sample_width"] == 850
        else:
            assert post["sample_url"] == post["file_url"]
            assert (post["sample_width"], post["sample_height"]) == (post["width"], post["height"])


async def test_json_and_xml_say_the_same(start: Start) -> None:
    """Body D: 23 attributes in their order, tags padded, one letter for the rating, count and offset."""
    board = await start(pictures=16)
    in_json = await board.posts(limit=50, pid=1)
    answer = await board.api(limit=50, pid=1)

    assert answer.headers["Content-Type"] == "text/xml;charset=UTF-8"
    assert answer.text.startswith(
        '<?xml version="1.0" encoding="UTF-8"?><posts count="120" offset="50"><post height='
    )
    assert len(answer.xml) == len(in_json) == 50
    for element, post in zip(answer.xml, in_json, strict=True):
        said = element.attrib
        assert list(said) == XML_ATTRIBUTES
        assert said["tags"] == f" {html.unescape(post['tags'])} "
        assert said["rating"] == post["rating"][0]
        assert said["md5"] == post["hash"]
        assert said["score"] == ("" if post["score"] is None else str(post["score"]))
        assert said["parent_id"] == (str(post["parent_id"]) if post["parent_id"] else "")
        assert said["source"] == post["source"]
        for key in ("id", "width", "height", "file_url", "sample_url", "preview_url", "change", "status"):
            assert said[key] == str(post[key])
        assert re.fullmatch(
            r"[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d \+0200 20\d\d", said["created_at"]
        )
    for said in (element.attrib for element in answer.xml[:16]):
        with Image.open(io.BytesIO((await board.get(said["preview_url"])).body)) as thumbnail:
            assert thumbnail.size == (int(said["preview_width"]), int(said["preview_height"]))


async def test_nothing_found_is_no_bytes_in_json_and_an_empty_element_in_xml(start: Start) -> None:
    """Body B: status 200, Content-Length 0, not `[]`; in XML count 0 at offset 0."""
    board = await start()
    in_json, in_xml = await board.api(json=1, tags="no_such_tag"), await board.api(tags="no_such_tag")

    assert (in_json.status, in_json.body, in_json.headers["Content-Length"]) == (200, b"", "0")
    assert in_json.headers["Content-Type"].startswith("text/html")
    assert in_xml.text == '<?xml version="1.0" encoding="UTF-8"?><posts count="0" offset="0"></posts>'


async def test_the_wall_answers_in_xml_even_to_json(start: Start) -> None:
    """Body C: beyond the wall the answer is XML; `pid*limit` exactly at the wall is still served."""
    board = await start(wall_depth=100)
    at_wall, beyond = await board.api(json=1, limit=50, pid=2), await board.api(json=1, limit=50, pid=3)

    assert len(at_wall.json) == 20
    assert beyond.status == 200
    assert beyond.headers["Content-Type"].startswith("text/xml")
    assert beyond.xml.attrib == {"success": "false", "reason": "Search error: API limited due to abuse."}
    assert beyond.xml.tag == "response"


async def test_the_wall_stands_at_200000_and_can_be_empty_instead(start: Start) -> None:
    """The wall has the real depth by default; its other form is an empty body, in XML mode, too."""
    board = await start(posts=200_001, pictures=1)
    other = await start(wall_depth=0, wall_form="empty")

    assert len(await board.posts(limit=1000, pid=200)) == 1
    assert b"<response" in (await board.api(json=1, limit=1000, pid=201)).body
    assert (await other.api(limit=10, pid=1)).body == b""
    assert len(await other.posts(limit=10, pid=0)) == 10


async def test_limits_and_pages(start: Start) -> None:
    """A page has 100 posts by default and at most 1000, newest first; pid counts pages."""
    board = await start(posts=1300, pictures=2)
    everything = [post["id"] for pid in (0, 1) for post in await board.posts(limit=1000, pid=pid)]

    assert everything == sorted(set(everything), reverse=True)
    assert len(everything) == 1300
    assert len(await board.posts()) == 100
    assert len(await board.posts(limit=5000)) == 1000
    assert [post["id"] for post in await board.posts(limit=7, pid=3)] == everything[21:28]


async def test_one_post_by_its_id(start: Start) -> None:
    """Body E: `id=N` finds its post, nothing for a hole, the newest post if N is too high; not beside tags."""
    board = await start()
    ids = [post["id"] for post in await board.posts(limit=1000)]
    hole = next(number for number in range(1, ids[0]) if number not in ids)

    assert [post["id"] for post in await board.posts(id=ids[40])] == [ids[40]]
    assert [post["id"] for post in await board.posts(id=ids[0] + 1000)] == [ids[0]]
    assert await board.posts(id=hole) == []
    assert [post["id"] for post in await board.posts(id=ids[40], tags=f"id:<{ids[9]}", limit=1)] == [ids[10]]
    assert (await board.api(id=ids[40])).xml.attrib == {"count": "1", "offset": "0"}


async def test_lists_of_ids_are_silently_ignored(start: Start) -> None:
    """Lists of ids give the newest posts, unless the board honours them."""
    board, other = await start(), await start(id_list="honoured")
    newest = [post["id"] for post in await board.posts(limit=5)]

    assert [post["id"] for post in await board.posts(id="1,2,3", limit=5)] == newest
    assert [post["id"] for post in await board.posts(tags="id:1,2", limit=5)] == newest
    assert [post["id"] for post in await other.posts(id="1,2,3")] == [3, 2, 1]
    assert [post["id"] for post in await other.posts(tags="id:1,2")] == [2, 1]


async def test_paging_by_id_reaches_every_post_once(start: Start) -> None:
    """`id:<last` needs no page number; `sort:id:asc` is ignored unless it is switched on."""
    board, other = await start(), await start(sort_id_asc=True)
    seen: list[int] = []
    while posts := await board.posts(limit=17, tags=f"id:%3C{seen[-1] if seen else 10**9}"):
        seen += [post["id"] for post in posts]

    assert len(seen) == 120
    assert seen == sorted(set(seen), reverse=True)
    assert (await board.posts(tags="sort:id:asc", limit=1))[0]["id"] == seen[0]
    assert (await other.posts(tags="sort:id:asc", limit=1))[0]["id"] == seen[-1]


async def test_ratings_are_mixed_and_scores_may_be_null(start: Start) -> None:
    """Old posts are rated safe, new ones general; a post without votes has score null, without parent 0."""
    board = await start(posts=24, pictures=24)
    posts = (await board.posts(limit=24))[::-1]

    assert {"safe", "general"} <= {post["rating"] for post in posts} <= {"safe", "general", "sensitive"}
    assert "general" not in {post["rating"] for post in posts[:12]}
    assert "safe" not in {post["rating"] for post in posts[12:]}
    assert None in {post["score"] for post in posts}
    assert 0 in {post["parent_id"] for post in posts}


def test_entities_are_spelt_as_the_board_spells_them() -> None:
    """The apostrophe is `&#039;`, as in recorded bytes; the other four have names."""
    assert entities("jack-o'-lantern") == "jack-o&#039;-lantern"
    assert entities('<&>"') == "&lt;&amp;&gt;&quot;"


async def test_tags_carry_entities_in_json_and_none_in_the_tag_api(start: Start) -> None:
    """`>_<` is `&gt;_&lt;` in JSON; XML is escaped once."""
    board = await start(posts=400, pictures=400)
    special = [tag for tag in board.site.catalogue.pictures_by_tag() if set(tag) & set("<>&'")]
    picked = board.site.catalogue.pictures_by_tag()[special[0]]
    (post,) = await board.posts(id=board.site.posts.id(min(picked)))
    (element,) = (await board.api(id=post["id"])).xml
    quoted = special[0].replace("<", "%3C").replace(">", "%3E").replace("'", "%27")

    assert special
    assert special[0] not in post["tags"].split()
    assert special[0] in element.attrib["tags"].split()
    assert [tag.attrib["name"] for tag in await board.tags(name=quoted)] == special[:1]
    assert int((await board.api(tags=quoted, limit=0)).xml.attrib["count"]) == len(picked)


async def test_the_tag_api_speaks_xml_only(start: Start) -> None:
    """Body G: json=1 is ignored, an unknown tag gives an empty list, counts are exact."""
    board = await start()
    tags = await board.tags(json=1, limit=1000)

    assert await board.tags(name="no_such") == []
    assert [list(tag.attrib) for tag in tags[:1]] == [["type", "count", "name", "ambiguous", "id"]]
    for tag in tags[::7]:
        name = tag.attrib["name"]
        assert tag.attrib["type"] == str(CATEGORY_CODES[categories()[name]])
        quoted = name.replace("&", "%26").replace("+", "%2B").replace("#", "%23")
        assert len(await board.posts(tags=quoted, limit=1000)) == int(tag.attrib["count"])
    shown = {tag for number in range(6) for tag in board.site.posts.picture(number).tags.all}
    assert {tag.attrib["name"] for tag in tags} == shown


async def test_the_tag_api_takes_its_parameters(start: Start) -> None:
    """The tag API obeys id, after_id, name_pattern, pid, limit, orderby; and names if it is switched on."""
    board, other = await start(), await start(names_list="honoured")
    everything = await board.tags(limit=1000)
    names = [tag.attrib["name"] for tag in everything]
    ids = [int(tag.attrib["id"]) for tag in everything]

    assert len(names) > 60
    assert [tag.attrib["name"] for tag in await board.tags(id=ids[3])] == [names[3]]
    assert [tag.attrib["name"] for tag in await board.tags(after_id=ids[3], limit=2)] == names[4:6]
    assert [tag.attrib["name"] for tag in await board.tags(pid=2, limit=10)] == names[20:30]
    like = await board.tags(name_pattern="long_%25")
    assert {tag.attrib["name"] for tag in like} == {name for name in names if re.match("long.", name)}
    counts = [int(tag.attrib["count"]) for tag in await board.tags(orderby="count", limit=1000)]
    assert counts == sorted(counts, reverse=True)
    batch = f"{names[5]}+{names[9]}"
    assert [tag.attrib["name"] for tag in await other.tags(names=batch)] == [names[5], names[9]]
    assert [tag.attrib["name"] for tag in await board.tags(names=batch)] == names[:100]


async def test_the_old_shape_and_the_envelopes_of_sister_sites(start: Start) -> None:
    """The old shape has 15 keys without a URL and a textual directory; envelopes are objects with `post`."""
    old, plain, full = (
        await start(old_json_shape=True),
        await start(json_envelope="post"),
        await start(json_envelope="attributes"),
    )
    (post,) = await old.posts(limit=1)

    assert list(post) == OLD_KEYS
    assert isinstance(post["directory"], str)
    assert (await old.get(f"/images/{post['directory']}/{post['image']}")).status == 200
    assert list((await plain.api(json=1, limit=2)).json) == ["post"]
    answer = (await full.api(json=1, limit=2, pid=4)).json
    assert answer["@attributes"] == {"limit": 2, "offset": 8, "count": 120}
    assert [list(one) for one in answer["post"]] == [NEW_KEYS] * 2


async def test_json_may_be_refused(start: Start) -> None:
    """A request for JSON is answered in XML."""
    board = await start(json_refused=True)

    assert (await board.api(json=1, limit=3)).xml.attrib["count"] == "120"


async def test_deleted_posts_cannot_be_asked_for(start: Start) -> None:
    """`deleted=show` is answered 500, as on a sister site."""
    board = await start()

    assert (await board.api(deleted="show", last_id=1)).status == 500


async def test_files_are_those_that_the_listing_promises(start: Start) -> None:
    """Originals have the listed MD5, size and type; samples are JPEGs of the listed size; all files differ."""
    board = await start(posts=30, pictures=10)
    hashes = set()
    for post in await board.posts(limit=30):
        original = await board.get(post["file_url"])
        assert original.status == 200
        assert hashlib.md5(original.body).hexdigest() == post["hash"]
        hashes.add(post["hash"])
        with Image.open(io.BytesIO(original.body)) as picture:
            picture.load()
            assert picture.size == (post["width"], post["height"])
            assert original.headers["Content-Type"] == Image.MIME[picture.format or ""]
        if post["sample"]:
            sample = await board.get(post["sample_url"])
            with Image.open(io.BytesIO(sample.body)) as picture:
                assert (picture.format, picture.size) == ("JPEG", (post["sample_width"], post["sample_height"]))

    assert len(hashes) == 30
    assert [post["hash"] for post in await board.posts(tags=f"md5:{post['hash']}")] == [post["hash"]]
    assert await board.posts(tags=f"md5:{'0' * 32}") == []


@pytest.mark.parametrize("change", ["stem", "directory", "extension", "unmade sample"])
async def test_what_is_no_file_is_not_found(start: Start, change: str) -> None:
    """A URL that the board did not list is 404."""
    board = await start(posts=12, pictures=12)
    posts = await board.posts(limit=12)
    url = posts[0]["file_url"]
    small = next(post for post in posts if not post["sample"])
    wrong = {
        "stem": url.replace(posts[0]["image"][:4], "0000"),
        "directory": url.replace("/images/1/", "/images/2/"),
        "extension": url.rpartition(".")[0] + ".webp",
        "unmade sample": f"/samples/1/sample_{small['image'][:40]}.jpg",
    }[change]

    assert (await board.get(wrong)).status == 404


async def test_html_lists_have_the_marks_that_clients_look_for(start: Start) -> None:
    """A page has 42 posts with ids and titles, pid is an offset, the last page is linked; or chickens."""
    board = await start()
    posts = await board.posts(limit=1000)
    first = (await board.get("/index.php?page=post&s=list&tags=all")).text
    second = (await board.get("/index.php?page=post&s=list&tags=all&pid=42")).text

    assert re.findall(r'<span id="s(\d+)" class="thumb"><a id="p\1"', first) == [
        str(post["id"]) for post in posts[:42]
    ]
    assert re.findall(r' id="p(\d+)"', second) == [str(post["id"]) for post in posts[42:84]]
    assert 'pid=84" alt="last page"' in first
    post = posts[0]
    score = "" if post["score"] is None else post["score"]
    assert f'title=" {post["tags"]}  score:{score} rating:{post["rating"]}" class="preview"/>' in first
    nothing = (await board.get("/index.php?page=post&s=list&tags=no_such_tag")).text
    assert "Nobody here but us chickens!" in nothing


async def test_html_lists_are_followed_to_their_end(start: Start) -> None:
    """A crawler that follows `next` inside `div.pagination` of `#paginator` finds every post once."""
    board = await start(posts=230, pictures=2)
    listed = [str(post["id"]) for post in await board.posts(limit=1000)]
    found: list[str] = []
    address = "/index.php?page=post&s=list&tags=all"
    while address:
        page = (await board.get(address)).text
        found += re.findall(r' id="p(\d+)"', page)
        pager = re.search(r'<div id="paginator"><div class="pagination">(.*?)</div></div>', page)
        assert pager
        following = re.search(r'<a href="([^"]*)" alt="next">', pager[1])
        address = f"/index.php{html.unescape(following[1])}" if following else ""

    assert found == listed


async def test_the_index_file_and_doubled_slashes(start: Start) -> None:
    """`/?page=dapi...` is `/index.php?page=dapi...`; slashes in front are merged, as web servers do."""
    board = await start()
    query = "?page=dapi&s=post&q=index&json=1&limit=5"
    posts = (await board.get(f"/index.php{query}")).json

    assert (await board.get(f"/{query}")).json == posts
    assert (await board.get(f"//index.php{query}")).json == posts
    assert (await board.get(posts[0]["file_url"].replace("/images", "//images"))).status == 200
    assert board.board.traffic.kinds[RequestKind.POSTS] == 3


async def test_html_views_name_the_category_of_every_tag(start: Start) -> None:
    """The sidebar has a class for each category, and the original is linked; for a hole there are chickens."""
    board = await start()
    post = (await board.posts(limit=1))[0]
    page = (await board.get(f"/index.php?page=post&s=view&id={post['id']}")).text
    found = {
        name: kind for kind, name in re.findall(r'tag-type-(\w+) tag"><a href="[^"]*;tags=([^"&]+)"', page)
    }

    assert len(found) == len(post["tags"].split())
    assert {"metadata", "artist", "general"} & set(found.values())
    assert f'<a href="{post["file_url"]}">Original image</a>' in page
    assert "chickens" in (await board.get("/index.php?page=post&s=view&id=999999")).text


async def test_there_is_no_robots_txt(start: Start) -> None:
    """robots.txt is 404 by default; its text can be set."""
    board, other = await start(), await start(robots_txt="User-agent: *\nDisallow: /images/\n")

    assert (await board.get("/robots.txt")).status == 404
    assert (await other.get("/robots.txt")).text == "User-agent: *\nDisallow: /images/\n"


async def test_an_empty_board_has_nothing(start: Start) -> None:
    """A board without posts answers every request, with empty lists."""
    board = await start(posts=0)

    assert await board.posts() == []
    assert await board.posts(id=1) == []
    assert (await board.api()).xml.attrib["count"] == "0"
    assert (await board.get("/")).status == 200
    assert await board.tags() == []
