"""Boards that write the same facts differently: entities, queries, child elements, older ratings."""

from __future__ import annotations

import json
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest

from alti2v.crawl.boards.danbooru import Danbooru
from alti2v.crawl.boards.gelbooru import Gelbooru
from alti2v.crawl.boards.known import base_url, pasted_tags
from alti2v.crawl.boards.protocol import Page, Unreadable, Wall
from alti2v.crawl.boards.values import unescaped, url_extension
from alti2v.errors import UsageError
from alti2v.records import Category, Post, Tag

ORG = Gelbooru("https://b.example")
DONMAI = Danbooru("https://d.example")
SOURCE = "https://art.example/show.php?id=5&section=2&timestamp=17&region=eu&copy=1&param=x&lt=3"
ESCAPED = SOURCE.replace("&", "&amp;")
MD5 = "0123456789abcdef0123456789abcdef"


def gelbooru(**facts: Any) -> Post:
    return the_post(
        ORG.read_posts(json.dumps([{"id": 1, "hash": MD5, "tags": "a", **facts}]).encode(), status=200)
    )


def gelbooru_xml(**facts: str) -> Post:
    attributes = " ".join(
        f"{name}={quoteattr(value)}" for name, value in {"id": "1", "md5": MD5, **facts}.items()
    )
    return the_post(ORG.read_posts(f'<posts count="1"><post {attributes}/></posts>'.encode(), status=200))


def danbooru(**facts: Any) -> Post:
    return the_post(DONMAI.read_posts(json.dumps([{"id": 1, "tag_string": "a", **facts}]).encode(), status=200))


def the_post(answer: object) -> Post:
    assert isinstance(answer, Page), answer
    (post,) = answer.posts
    return post


def test_parameters_of_a_source_are_no_entities() -> None:
    """Only entities that end in a semicolon are unescaped, and only once, in JSON and in XML."""
    assert gelbooru(source=SOURCE).source == SOURCE
    assert gelbooru(source=ESCAPED).source == SOURCE
    assert gelbooru_xml(source=SOURCE).source == SOURCE
    assert gelbooru_xml(source=ESCAPED).source == SOURCE
    assert gelbooru_xml(tags=" pok&eacute;mon jack-o&#039;-lantern ").tags_unknown == "pokémon jack-o'-lantern"


def test_danbooru_escapes_nothing() -> None:
    """Its JSON has texts as they are."""
    assert danbooru(source=SOURCE).source == SOURCE
    assert danbooru(source=ESCAPED).source == ESCAPED


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("&amp;amp;", "&amp;"),
        ("&notit;", "&notit;"),
        ("&unknown;", "&unknown;"),
        ("&#39;&#x27;&#X27;", "'''"),
        ("&sect;ion", "§ion"),
        ("&section", "&section"),
        ("&#99999999;", "&#99999999;"),
        ("a & b; c", "a & b; c"),
    ],
)
def test_entities_are_replaced_once(text: str, plain: str) -> None:
    """Only whole names and numbers with their semicolon."""
    assert unescaped(text) == plain


@pytest.mark.parametrize(
    ("url", "extension"),
    [
        ("https://h/a.png?1764200000", "png"),
        ("https://h/a.JPG?e=1&m=a.webm", "jpg"),
        ("https://h/a.png#b.gif", "png"),
        ("https://h/file.php?id=5", ""),
        ("https://h/a", ""),
        ("https://h/.png", ""),
        ("https://h.org/d.x/a", ""),
        (None, ""),
    ],
)
def test_the_extension_in_an_address_is_that_of_its_path(url: str | None, extension: str) -> None:
    """A query, a folder and a program that sends files say nothing about the kind of file."""
    assert url_extension(url) == extension


def test_the_kind_of_a_file_is_that_of_the_address_that_is_fetched() -> None:
    """`image` and `file_ext` count where the address does not tell; signed addresses keep their query."""
    url = "https://b.example/images/1/a%27b.mp4?e=1&m=2"

    assert gelbooru(file_url=url, image="a.webm").file_ext == "mp4"
    assert gelbooru(file_url=url.replace("&", "&amp;")).file_url == url
    assert gelbooru(file_url="https://b.example/get.php?id=1", image="a.webm").file_ext == "webm"
    assert danbooru(file_url="https://d.example/a.png?e=1", file_ext="webm").file_ext == "png"
    assert danbooru(file_url="https://d.example/get?e=1", file_ext="PNG").file_ext == "png"


def test_child_elements_say_the_same_as_attributes() -> None:
    """gelbooru.com writes XML so: posts, their count, tags, and refusals."""
    posts = f"<posts><count>7</count><post><id>1</id><tags> a b </tags><md5>{MD5}</md5></post></posts>".encode()
    tags = b"<tags><tag><id>1</id><name>miku</name><count>5</count><type>4</type></tag></tags>"
    wall = b"<response><success>false</success><reason>API limited due to abuse</reason></response>"

    assert the_post(ORG.read_posts(posts, status=200)) == Post(id=1, tags_unknown="a b", md5=MD5)
    assert ORG.read_count(posts, status=200) == 7
    assert ORG.read_tags(tags, status=200) == (Tag(name="miku", category=Category.CHARACTER, count=5),)
    assert ORG.read_count(wall, status=200) == Wall("API limited due to abuse")


def test_tags_that_cannot_be_read_are_no_answer() -> None:
    """Else every category would be remembered as unknown."""
    assert isinstance(
        ORG.read_tags(b'<tags><tag id="1" kind="4" label="miku"/></tags>', status=200), Unreadable
    )


def test_a_count_that_is_too_deep_is_a_wall() -> None:
    """Another try would bring the same."""
    gelbooru_wall = b'<response success="false" reason="Search error: API limited due to abuse."/>'
    danbooru_wall = b'{"success": false, "error": "Pagination", "message": "You cannot go beyond page 1000."}'

    assert isinstance(ORG.read_count(gelbooru_wall, status=200), Wall)
    assert isinstance(DONMAI.read_count(danbooru_wall, status=410), Wall)


def test_an_s_of_an_old_danbooru_means_safe() -> None:
    """Before 2022 there were three ratings, and posts had locks; a "g" shows the newer program."""
    old = [{"id": n, "tag_string": "a", "rating": "s", "is_rating_locked": False} for n in (1, 2)]
    new = [old[0], old[1] | {"rating": "g"}]

    def ratings(entries: list[dict[str, Any]]) -> list[str]:
        answer = DONMAI.read_posts(json.dumps(entries).encode(), status=200)
        assert isinstance(answer, Page)
        return [post.rating for post in answer.posts]

    assert ratings(old) == ["general", "general"]
    assert ratings(new) == ["sensitive", "general"]
    assert danbooru(rating="s").rating == "sensitive"


@pytest.mark.parametrize(
    ("board", "tags"),
    [
        ("https://b.example/index.php?page=post&s=list&tags=solo+smile&pid=42", "solo smile"),
        ("https://b.example/?page=post&s=list&tags=solo%20rating%3Asafe", "solo rating:safe"),
        ("https://b.example/index.php?page=post&s=list&tags=all", ""),
        ("https://b.example/index.php?page=dapi&s=post&q=index&json=1&limit=5&tags=a", "a"),
        ("https://d.example/posts?tags=solo+order%3Ascore&z=5", "solo order:score"),
        ("https://d.example/posts.json?page=2&tags=%E6%9D%B1%E6%96%B9", "東方"),
        ("https://b.example/#top", ""),
        ("safebooru", ""),
    ],
)
def test_a_pasted_address_is_a_board_and_a_search(board: str, tags: str) -> None:
    """The search is not dropped, and the base address is the board's."""
    assert pasted_tags(board) == tags
    assert base_url(board).startswith(("https://b.example", "https://d.example", "https://safebooru.org"))


@pytest.mark.parametrize(
    "board",
    [
        "https://b.example/index.php?page=post&s=view&id=5",
        "https://b.example/index.php?page=pool&s=show&id=5",
        "https://d.example/posts?md5=0123",
        "https://b.example/index.php?page=dapi&s=post&q=index&api_key=secret&user_id=5",
    ],
)
def test_a_pasted_address_of_something_else_is_refused(board: str) -> None:
    """The message names the parameter, not its value, which may be a key."""
    with pytest.raises(UsageError) as refused:
        pasted_tags(board)

    assert ("--netrc" if "api_key" in board else "--tags") in str(refused.value)
    assert "secret" not in str(refused.value)
