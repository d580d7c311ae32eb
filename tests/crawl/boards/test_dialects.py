"""Golden answers of boards, composed from the wire facts, in both dialects and shapes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alti2v.crawl.boards.columns import absolute_urls, instants, integers, md5s, post_ids, sides
from alti2v.crawl.boards.danbooru import Danbooru
from alti2v.crawl.boards.gelbooru import Gelbooru
from alti2v.crawl.boards.known import board_of
from alti2v.crawl.boards.protocol import Dialect, Page, PostQuery, Refusal, Skip, Unreadable, Wall, skip_reason
from alti2v.crawl.boards.response import classify
from alti2v.crawl.boards.values import (
    absolute_url,
    clean_tag,
    clean_tags,
    instant,
    integer,
    md5_of,
    pixels,
    post_id,
)
from alti2v.records import Category, Post, Tag, tag_names

ORG = Gelbooru("https://safebooru.org")
DONMAI = Danbooru("https://safebooru.donmai.us")
MD5 = "0123456789abcdef0123456789abcdef"

NEW_SHAPE = (
    r'[{"preview_url":"https:\/\/safebooru.org\/thumbnails\/546\/thumbnail_S1.jpg",'
    r'"sample_url":"https:\/\/safebooru.org\/samples\/546\/sample_S1.jpg",'
    r'"file_url":"https:\/\/safebooru.org\/images\/546\/S1.png","directory":546,"hash":"'
    + MD5
    + r'","width":2432,"height":3552,"id":6256119,"image":"S1.png","change":1764200000,"owner":"danbooru",'
    r'"parent_id":0,"rating":"general","sample":true,"sample_height":1241,"sample_width":850,"score":null,'
    r'"tags":"1girl jack-o&#039;-lantern solo","source":"https:\/\/example.net\/x.png","status":"active",'
    r'"has_notes":false,"comment_count":0}]'
).encode()
EXPECTED = Post(
    id=6256119,
    tags_unknown="1girl jack-o'-lantern solo",
    rating="general",
    source="https://example.net/x.png",
    changed_at=1764200000,
    width=2432,
    height=3552,
    md5=MD5,
    file_ext="png",
    file_url="https://safebooru.org/images/546/S1.png",
    sample_url="https://safebooru.org/samples/546/sample_S1.jpg",
)
OLD_SHAPE = (
    '[{"directory":"546","hash":"' + MD5 + '","height":3552,"id":6256119,"image":"S1.png","change":1764200000,'
    '"owner":"danbooru","parent_id":0,"rating":"safe","sample":1,"sample_height":1241,"sample_width":850,'
    '"score":0,"tags":"1girl solo","width":2432}]'
).encode()
XML = (
    '<?xml version="1.0" encoding="UTF-8"?><posts count="6852898" offset="0"><post height="3552" score="" '
    'file_url="//safebooru.org/images/546/S1.png" parent_id="" '
    'sample_url="//safebooru.org/samples/546/sample_S1.jpg" sample_width="850" sample_height="1241" '
    'preview_url="//safebooru.org/thumbnails/546/thumbnail_S1.jpg" rating="g" '
    'tags=" 1girl jack-o&amp;#039;-lantern solo " id="6256119" width="2432" change="1764200000" '
    f'md5="{MD5}" creator_id="2" has_children="false" created_at="Fri Sep 18 21:45:40 +0200 2026" '
    'status="active" source="https://example.net/x.png" has_notes="false" has_comments="false" '
    'preview_width="102" preview_height="150"/></posts>'
).encode()


def the_post(answer: object) -> Post:
    assert isinstance(answer, Page)
    (post,) = answer.posts
    return post


def test_gelbooru_new_json_is_read() -> None:
    """The 22-key shape gives every fact, entities unescaped."""
    assert the_post(ORG.read_posts(NEW_SHAPE, status=200)) == EXPECTED


def test_gelbooru_old_json_gets_its_urls_from_directory_and_image() -> None:
    """The 15-key shape has no URLs; "safe" is what newer posts call "general"."""
    post = the_post(ORG.read_posts(OLD_SHAPE, status=200))

    assert post.file_url == EXPECTED.file_url
    assert post.sample_url == EXPECTED.sample_url
    assert (post.rating, post.score) == ("general", 0)


def test_gelbooru_xml_says_the_same_as_json() -> None:
    """The XML form of the same post differs only by the instant that JSON lacks."""
    post = the_post(ORG.read_posts(XML, status=200))

    assert post.created_at == 1789760740
    assert post._replace(created_at=None) == EXPECTED


@pytest.mark.parametrize(
    "envelope", [b'{"post": %s}', b'{"@attributes": {"limit": 1}, "post": %s}', b"\xef\xbb\xbf%s", b"\n %s"]
)
def test_gelbooru_envelopes_of_relatives_are_read(envelope: bytes) -> None:
    """gelbooru.com wraps the array; some servers put a mark or white space in front."""
    assert the_post(ORG.read_posts(envelope % NEW_SHAPE, status=200)) == EXPECTED


@pytest.mark.parametrize(
    "body",
    [b"", b" \n", b"[]", b'<posts count="0" offset="0"></posts>', b'{"@attributes": {"count": 0}}'],
)
def test_gelbooru_says_nothing_in_many_ways(body: bytes) -> None:
    """Each form of "no result" is an empty page, not an error."""
    assert ORG.read_posts(body, status=200) == Page()


def test_an_empty_body_with_an_error_status_is_no_end() -> None:
    """A failing server's empty body must not end a listing."""
    assert isinstance(ORG.read_posts(b"", status=500), Unreadable)


def test_gelbooru_wall_is_told_from_other_refusals() -> None:
    """Status 200 says nothing: the body is the answer."""
    wall = b'<?xml version="1.0"?><response success="false" reason="Search error: API limited due to abuse."/>'

    assert ORG.read_posts(wall, status=200) == Wall("Search error: API limited due to abuse.")
    assert ORG.read_posts(b"<error>disabled</error>", status=200) == Refusal("disabled")
    assert ORG.read_posts(b'"Too deep! Pull it back"', status=200) == Refusal("Too deep! Pull it back")
    assert ORG.read_posts(b"<!DOCTYPE html><html>busy</html>", status=200) == Unreadable("an HTML page")


def test_gelbooru_deleted_posts_are_told_from_posts() -> None:
    """An entry with only an id is a deleted post, in JSON and in XML."""
    deleted = json.dumps(
        [{"id": 99_999_999, "file_url": "https://safebooru.org/images//", "tags": "", "image": None}]
    )
    xml = (
        b'<posts count="1" offset="0">'
        b'<post id="5" file_url="https://safebooru.org/images//" tags="" md5=""/></posts>'
    )

    assert ORG.read_posts(deleted.encode(), status=200) == Page((), (99_999_999,))
    assert ORG.read_posts(xml, status=200) == Page((), (5,))


@pytest.mark.parametrize("number", [0, -3, 10**12, 2**80, "x", None, True, 1.5, [1]])
def test_f64_entries_without_a_usable_id_are_counted(number: Any) -> None:
    """Entries without a usable id can neither be stored nor be a cursor."""
    body = json.dumps([{"id": number, "tags": "", "tag_string": ""}, 7, "post"])
    (danbooru,) = [json.dumps([{"id": number, "tag_string": ""}])]

    assert ORG.read_posts(body.encode(), status=200) == Page((), (), 3)
    assert DONMAI.read_posts(danbooru.encode(), status=200) == Page((), (), 1)


def test_gelbooru_sample_is_absent_where_it_is_the_original() -> None:
    """`sample: false`, and a sample_url that equals file_url, both mean that there is none."""
    entry = json.loads(NEW_SHAPE)[0]
    without = json.dumps([entry | {"sample": False}]).encode()
    same = json.dumps([entry | {"sample_url": entry["file_url"]}]).encode()

    assert the_post(ORG.read_posts(without, status=200)).sample_url is None
    assert the_post(ORG.read_posts(same, status=200)).sample_url is None


@pytest.mark.parametrize("url", ["javascript:alert(1)", "file:///etc/passwd", "ftp://a/b", "http://[::1"])
def test_addresses_of_other_schemes_are_dropped(url: str) -> None:
    """Only http and https ever reach the network."""
    entry = json.loads(NEW_SHAPE)[0] | {"file_url": url, "sample_url": url}
    post = the_post(Gelbooru("https://b").read_posts(json.dumps([entry]).encode(), status=200))

    assert post.file_url == "https://b/images/546/S1.png"  # by the rule of the site
    assert post.sample_url is None


def test_gelbooru_questions() -> None:
    """The questions are those that the site's help documents."""
    assert ORG.posts_url(PostQuery(tags="1girl", below=77, limit=1000)) == (
        "https://safebooru.org/index.php?page=dapi&q=index&s=post&tags=1girl%20id%3A%3C77&limit=1000&pid=0&json=1"
    )
    assert ORG.count_url("") == "https://safebooru.org/index.php?page=dapi&q=index&s=post&tags=&limit=1&pid=0"
    assert ORG.tag_urls(["a'b"]) == (
        "https://safebooru.org/index.php?page=dapi&q=index&s=tag&name=a%27b&limit=1",
        "https://safebooru.org/index.php?page=dapi&q=index&s=tag&name=a%26%23039%3Bb&limit=1",
    )


def test_gelbooru_count_and_tags() -> None:
    """Only XML counts; tags come with their categories."""
    tags = (
        b'<tags type="array"><tag type="4" count="9774" name="hatsune_miku" ambiguous="false" id="631"/>'
        b'<tag type="77" count="x" name="jack-o&amp;#039;-lantern" id="2"/></tags>'
    )

    assert ORG.read_count(XML, status=200) == 6852898
    assert isinstance(ORG.read_count(NEW_SHAPE, status=200), Unreadable)
    assert ORG.read_tags(tags, status=200) == (
        Tag(name="hatsune_miku", category=Category.CHARACTER, count=9774),
        Tag(name="jack-o'-lantern", category=Category.UNKNOWN, count=0),
    )
    assert ORG.read_tags(b'<tags type="array"></tags>', status=200) == ()


DANBOORU: dict[str, Any] = {
    "id": 12,
    "created_at": "2026-08-01T10:00:00.000-04:00",
    "uploader_id": 1,
    "score": -2,
    "source": "",
    "md5": MD5,
    "rating": "s",
    "image_width": 1200,
    "image_height": 900,
    "tag_string": "1girl hatsune_miku highres somebody vocaloid odd",
    "file_ext": "png",
    "parent_id": 7,
    "is_deleted": True,
    "tag_string_general": "1girl",
    "tag_string_character": "hatsune_miku",
    "tag_string_copyright": "vocaloid",
    "tag_string_artist": "somebody",
    "tag_string_meta": "highres",
    "file_url": "https://cdn.donmai.us/original/01/23/0123.png",
    "large_file_url": "https://cdn.donmai.us/sample/01/23/sample-0123.jpg",
}


def test_danbooru_post_is_read() -> None:
    """Categories come with the post; a tag of no category is unknown."""
    expected = Post(
        id=12,
        tags_general="1girl",
        tags_artist="somebody",
        tags_copyright="vocaloid",
        tags_character="hatsune_miku",
        tags_meta="highres",
        tags_unknown="odd",
        rating="sensitive",
        score=-2,
        parent_id=7,
        created_at=1785592800,
        width=1200,
        height=900,
        md5=MD5,
        file_ext="png",
        board_status="deleted",
        file_url="https://cdn.donmai.us/original/01/23/0123.png",
        sample_url="https://cdn.donmai.us/sample/01/23/sample-0123.jpg",
    )

    assert the_post(DONMAI.read_posts(json.dumps([DANBOORU]).encode(), status=200)) == expected


@pytest.mark.parametrize("fraction", [".000", ".001", ".499", ".500", ".999", ""])
def test_milliseconds_are_cut_off_so_that_a_post_stays_in_its_day(fraction: str) -> None:
    """A time is kept to the second: the last millisecond of a day does not become the next day."""
    time = f"2026-07-31T23:59:59{fraction}+00:00"
    post = the_post(
        DONMAI.read_posts(
            json.dumps([{**DANBOORU, "created_at": time, "updated_at": time}]).encode(), status=200
        )
    )
    assert (post.created_at, post.changed_at) == (1785542399, 1785542399)
    assert datetime.fromtimestamp(1785542399, UTC).isoformat() == "2026-07-31T23:59:59+00:00"


def test_danbooru_hidden_post_has_no_file() -> None:
    """On hidden posts md5 and URLs are absent: the post is listed and skipped."""
    hidden = {
        name: value for name, value in DANBOORU.items() if not name.endswith("file_url") and name != "md5"
    }
    post = the_post(DONMAI.read_posts(json.dumps([hidden]).encode(), status=200))

    assert (post.md5, post.file_url, post.sample_url) == (None, None, None)
    assert skip_reason(post) is Skip.HIDDEN


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (410, Wall("no")),
        (422, Refusal("no", is_final=True)),
        (403, Refusal("no", is_final=True)),
        (500, Refusal("no", is_final=False)),
        (503, Refusal("no", is_final=False)),
    ],
)
def test_danbooru_errors_mean_what_their_status_says(status: int, expected: object) -> None:
    """The error object is the same for all; the status tells a wall from a passing failure."""
    body = b'{"success":false,"error":"E","message":"no","backtrace":["a"]}'

    assert DONMAI.read_posts(body, status=status) == expected


def test_danbooru_questions_and_count() -> None:
    """The cursor is a page name; the count has an address of its own."""
    assert DONMAI.posts_url(PostQuery(tags="1girl", below=77, limit=200)) == (
        "https://safebooru.donmai.us/posts.json?tags=1girl&limit=200&page=b77"
    )
    assert DONMAI.posts_url(PostQuery(tags="", page=3, limit=200)).endswith("page=4")
    assert DONMAI.count_url("a", below=9) == "https://safebooru.donmai.us/counts/posts.json?tags=a%20id%3A%3C9"
    assert DONMAI.read_count(b'{"counts":{"posts":42}}', status=200) == 42


def test_the_dialects_do_not_read_each_other() -> None:
    """A wrong dialect is noticed instead of being read as posts without facts."""
    assert isinstance(DONMAI.read_posts(NEW_SHAPE, status=200), Unreadable)
    assert isinstance(DONMAI.read_posts(XML, status=200), Unreadable)


@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        ("mp4", Skip.VIDEO),
        ("webm", Skip.VIDEO),
        ("swf", Skip.FLASH),
        ("zip", Skip.UGOIRA),
        ("pdf", Skip.UNSUPPORTED),
    ]
    + [(extension, None) for extension in ("jpg", "jpeg", "png", "gif", "webp", "")],
)
def test_what_is_no_picture_is_skipped_with_its_reason(extension: str, expected: Skip | None) -> None:
    """Videos, Flash and ugoira are listed, never fetched."""
    assert skip_reason(Post(id=1, file_ext=extension, file_url="https://a/b")) is expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("jack-o&#039;-lantern", "jack-o'-lantern"),
        ("&gt;_&lt;", ">_<"),
        ("a&nbsp;b", "a_b"),
        ("e\u0301", "\u00e9"),
        ("a\x00b\nc", "a_b_c"),
        ("\ud800x", "?x"),
        ("../../etc", "../../etc"),
    ],
)
def test_tags_are_cleaned(raw: str, expected: str) -> None:
    """Entities, normal form, and nothing that breaks a line, a table or UTF-8."""
    assert clean_tag(raw) == expected


@given(st.text())
def test_f63_clean_tags_are_fit_for_everything(text: str) -> None:
    """Whatever a board sends, each tag is one word of valid UTF-8, and cleaning again changes nothing less."""
    for tag in tag_names(clean_tags(text)):
        assert tag.encode()
        assert not any(char.isspace() or char == "\x00" for char in tag)


@given(st.binary(max_size=300))
def test_no_bytes_can_break_the_reading(body: bytes) -> None:
    """Any bytes are an answer of some kind, never an exception."""
    for prefix in (b"", b"[", b"{", b"<posts>", b'<tags type="'):
        classify(prefix + body)
        for board in (ORG, DONMAI):
            board.read_posts(prefix + body, status=200)
            board.read_count(prefix + body, status=200)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted({*DANBOORU, *json.loads(NEW_SHAPE)[0]})), json_values)
def test_no_value_of_a_key_can_break_a_post(key: str, value: Any) -> None:
    """A key with a value of any type leaves a post, a ghost or an unusable entry, never an exception."""
    for board, entry in ((ORG, json.loads(NEW_SHAPE)[0]), (DONMAI, DANBOORU)):
        answer = board.read_posts(json.dumps([{**entry, key: value}]).encode(), status=200)
        for post in answer.posts if isinstance(answer, Page) else ():
            assert all(fact.encode() is not None for fact in post if isinstance(fact, str))


@given(st.lists(st.tuples(st.sampled_from(sorted({*DANBOORU, *json.loads(NEW_SHAPE)[0]})), json_values)))
def test_a_post_is_read_the_same_whatever_stands_beside_it(changes: list[tuple[str, Any]]) -> None:
    """A page is read by columns; an odd value in one post changes no other."""
    for board, entry in ((ORG, json.loads(NEW_SHAPE)[0]), (DONMAI, DANBOORU)):
        entries = [entry, *({**entry, key: value} for key, value in changes)]
        answers = [board.read_posts(json.dumps([one]).encode(), status=200) for one in entries]
        if all(isinstance(answer, Page) for answer in answers):
            pages = [answer for answer in answers if isinstance(answer, Page)]
            expected = Page(
                tuple(post for page in pages for post in page.posts),
                tuple(deleted for page in pages for deleted in page.deleted_ids),
                sum(page.unusable for page in pages),
            )

            assert board.read_posts(json.dumps(entries).encode(), status=200) == expected


def post_ids_of(values: list[Any]) -> Sequence[object]:
    return post_ids([{"id": value} for value in values])


@pytest.mark.parametrize(
    ("by_column", "by_value"),
    [
        (post_ids_of, post_id),
        (integers, integer),
        (instants, instant),
        (sides, pixels),
        (md5s, md5_of),
        (partial(absolute_urls, "http://board"), partial(absolute_url, "http://board")),
    ],
)
@given(
    columns=st.lists(st.integers())
    | st.lists(st.integers(1, 9) | st.booleans())
    | st.lists(st.sampled_from([MD5, f"{MD5}\n{MD5}", MD5.upper(), "", None]))
    | st.lists(st.sampled_from(["http://h/a", "http://h/a\nhttp://h/b", "http://h/a/../b", "x", "", None, 0]))
    | st.lists(json_values)
)
def test_columns_say_what_values_say(
    by_column: Callable[[list[Any]], Sequence[object]],
    by_value: Callable[[Any], object],
    columns: list[Any],
) -> None:
    """Looking at a whole column at once is only quicker."""
    expected = [by_value(value) for value in columns]
    found = list(by_column(columns))

    assert found == expected
    assert list(map(type, found)) == list(map(type, expected))


def test_f10_answers_of_any_size_are_bounded() -> None:
    """A million tags, a million entries: the first ten thousand tags are kept, the page is not believed."""
    tags = clean_tags(" ".join(f"tag{number}" for number in range(1_000_000)))

    assert tags == " ".join(f"tag{number}" for number in range(10_000))
    for body in (
        b"[" + b"[]," * 1_000_000 + b"[]]",
        b"[" * 1_000_000,
        b'["a"' + b',"b"' * 1_000_000 + b"]",
        b"<posts>" + b"<a/>" * 1_000_000 + b"</posts>",
    ):
        read = classify(body)
        assert isinstance(read, Unreadable)
        assert read.what.endswith("than a board sends")


def test_xml_with_a_document_type_is_refused() -> None:
    """The way in which XML bombs are built."""
    bomb = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "7777">]><posts count="&b;"/>'

    assert isinstance(ORG.read_count(bomb, status=200), Unreadable)
    for hidden in (
        bomb.decode().encode("utf-16-le"),
        bomb.replace(b"OCT", b"O\vC\xffT").replace(b"EN", b"E\vN"),
    ):
        assert isinstance(ORG.read_count(hidden, status=200), Unreadable)


@pytest.mark.parametrize("byte", [b"\x0b", b"\x1f", b"\xff"])
def test_a_byte_that_does_not_belong_there_costs_no_page(byte: bytes) -> None:
    """People paste anything into a source; a page with one such byte is read all the same."""
    as_xml = b'<posts count="1"><post id="7" md5="%s" tags=" a b " source="x%sy"/></posts>'
    as_json = b'[{"id":7,"hash":"%s","tags":"a b","source":"x%sy"}]'
    inside = {b"\xff": "x\ufffdy"}.get(byte, "x y")
    for form in (as_xml, as_json):
        page = ORG.read_posts(form % (b"a" * 32, byte), status=200)

        assert isinstance(page, Page)
        assert [(post.id, post.source, post.tags_unknown) for post in page.posts] == [(7, inside, "a b")]
        assert isinstance(ORG.read_posts(form[:-4] % (b"a" * 32, byte), status=200), Unreadable)


@given(
    st.from_regex(r"(https?|HTTP)://[a-z0-9.:-]{0,12}/?[A-Za-z0-9._~/%+=&?#@-]{0,20}", fullmatch=True)
    | st.sampled_from(["//h/x", "/x", "http://h", "http://h:99999/x", "http://h/../x", "http://h/a/./b", "x y"])
)
def test_plain_addresses_are_what_joining_makes_of_them(text: str) -> None:
    """The quick way of `absolute_url` says what the long way says."""
    try:
        joined = urljoin("http://board/", text)
        parts = urlsplit(joined)
        expected = joined if parts.scheme in ("http", "https") and parts.hostname else None
    except ValueError:
        expected = None

    assert absolute_url("http://board", text) == expected


@pytest.mark.parametrize("dialect", Dialect)
def test_every_dialect_has_a_board_of_its_own(dialect: Dialect) -> None:
    """No dialect passes for another, and robots.txt is asked about the addresses that are requested."""
    board = board_of("https://b.example", dialect)

    assert board.dialect is dialect
    for url in (
        board.posts_url(PostQuery(tags="", limit=1)),
        board.posts_url(PostQuery(tags="a", below=7, limit=1)),
    ):
        assert url.startswith(f"https://b.example/{board.api_path}")
