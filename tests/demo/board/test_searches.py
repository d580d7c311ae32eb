"""Searches on the stand-in board, compared with a scan of all posts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alti2v.demo.board.faults import Faults
from alti2v.demo.board.gelbooru.pages import rating
from alti2v.demo.board.ids import id_of
from alti2v.demo.board.posts import BoardPost, BoardPosts
from alti2v.demo.board.queries import Between, Either, Equal, Grammar, HasMd5, Not, OneOf, Word, parse
from alti2v.demo.board.searches import Catalogue, md5_terms
from alti2v.demo.drawing.corpus import Corpus

PICTURES, SHOWN, SEED = 40, 170, 3
POSTS = BoardPosts(seed=SEED, corpus=Corpus(seed=SEED, pictures=PICTURES), faults=Faults(), shown=SHOWN)
GRAMMAR = Grammar(id_lists=True, ascending=frozenset({"sort:id:asc"}), ignored=("sort:",))


def rating_of(number: int) -> str:
    return rating(POSTS.picture(number), pictures=PICTURES)


CATALOGUE = Catalogue(pictures=PICTURES, shown=POSTS.picture, rating_of=rating_of, seed=SEED)


def holds(term: str, post: BoardPost) -> bool:
    """Evaluate a term on one post, independently of the board's arithmetic."""
    shown = post.shown
    simple = {
        "1girl": "1girl" in shown.tags.all,
        "-solo": "solo" not in shown.tags.all,
        "long*": any(tag.startswith("long") for tag in shown.tags.all),
        "-*hair": not any(tag.endswith("hair") for tag in shown.tags.all),
        "( blush ~ smile )": {"blush", "smile"} & set(shown.tags.all) != set(),
        "score:>=3": shown.score is not None and shown.score >= 3,
        "width:<900": shown.width < 900,
        "height:800..1300": 800 <= shown.height <= 1300,
        "rating:safe": shown.rating == "general" and shown.number < PICTURES // 2,
        "user:gumdrop": shown.owner == "gumdrop",
        "source:*works*": "works" in shown.source,
        "id:<100": post.id < 100,
        "id:>=20": post.id >= 20,
        "id:31..120": 31 <= post.id <= 120,
        "-id:5": post.id != 5,
        "( id:9 ~ solo )": post.id == 9 or "solo" in shown.tags.all,
        "id:3,50,51": post.id in (3, 50, 51),
    }
    return simple[term]


TERMS = st.sampled_from(
    [
        *(
            "1girl",
            "-solo",
            "long*",
            "-*hair",
            "( blush ~ smile )",
            "score:>=3",
            "width:<900",
            "height:800..1300",
        ),
        *("rating:safe", "user:gumdrop", "source:*works*", "id:<100", "id:>=20", "id:31..120", "-id:5"),
        *("( id:9 ~ solo )", "id:3,50,51"),
    ]
)


@settings(deadline=None)
@given(
    st.lists(TERMS, max_size=4),
    st.sets(st.integers(0, SHOWN - 1), max_size=9),
    st.integers(0, 60),
    st.integers(1, 30),
    st.booleans(),
)
def test_pages_and_counts_are_those_of_looking_at_every_post(
    terms: list[str], gone: set[int], offset: int, limit: int, is_ascending: bool
) -> None:
    """Any page of any search has the posts, the order and the count that a scan finds."""
    text = " ".join([*terms, "sort:id:asc"] if is_ascending else terms)
    search = CATALOGUE.resolve(parse(text, GRAMMAR), {})
    there = [index for index in range(SHOWN) if index not in gone]
    expected = [index for index in there if all(holds(term, POSTS.post(index)) for term in terms)]
    in_order = expected if is_ascending else expected[::-1]

    assert CATALOGUE.count(search, shown=SHOWN, gone=gone) == len(expected)
    found = CATALOGUE.page(search, offset=offset, limit=limit, shown=SHOWN, gone=gone)
    assert found == in_order[offset : offset + limit]


def test_children_are_found_by_their_parent() -> None:
    """`parent:N` finds exactly the posts whose parent is N."""
    posts = [POSTS.post(index) for index in range(SHOWN)]
    parents = {post.parent_id for post in posts if post.parent_id is not None}
    children = {
        parent: CATALOGUE.page(
            CATALOGUE.resolve(parse(f"parent:{parent}", GRAMMAR), {}), offset=0, limit=99, shown=SHOWN, gone=()
        )
        for parent in parents
    }

    assert parents
    for parent, found in children.items():
        assert found == [post.ordinal for post in reversed(posts) if post.parent_id == parent]
        index = POSTS.find(parent)
        assert index is not None
        assert POSTS.has_children(POSTS.post(index))


def test_a_big_board_is_searched_without_looking_at_its_posts() -> None:
    """Count and pages of a million posts follow from those of the pictures."""
    shown = 10**6
    search = CATALOGUE.resolve(parse("1girl", GRAMMAR), {})
    with_tag = {number for number in range(PICTURES) if "1girl" in POSTS.picture(number).tags.all}
    whole, rest = divmod(shown, PICTURES)

    expected = whole * len(with_tag) + len([number for number in with_tag if number < rest])
    assert CATALOGUE.count(search, shown=shown, gone=()) == expected
    deep = CATALOGUE.page(search, offset=expected - 3, limit=100, shown=shown, gone=())
    assert deep == sorted(with_tag)[2::-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  ", ()),
        ("A_Tag", (Word("a_tag"),)),
        ("jack-o&#039;-lantern", (Word("jack-o'-lantern"),)),
        (":d >_<", (Word(":d"), Word(">_<"))),
        ("saber_(fate)", (Word("saber_(fate)"),)),
        ("-a", (Not(Word("a")),)),
        ("( a ~ -b ) c", (Either((Word("a"), Not(Word("b")))), Word("c"))),
        ("( a ~ b", (Either((Word("a"), Word("b"))),)),
        ("id:5", (Between("id", 5, 5),)),
        ("score:2..9", (Between("score", 2, 9),)),
        ("id:1,2", (OneOf(frozenset({1, 2})),)),
        ("rating:safe", (Equal("rating", "safe"),)),
        ("md5:AB", (HasMd5("ab"),)),
        ("fate:zero id:x", (Word("fate:zero"), Word("id:x"))),
    ],
)
def test_terms_are_read(text: str, expected: tuple[object, ...]) -> None:
    """Each kind of term is recognised, and every other word is a tag."""
    assert parse(text, GRAMMAR).terms == expected


def test_terms_that_the_board_ignores_are_ignored() -> None:
    """Id lists and comparisons are ignored if the grammar says so; a single id never is."""
    grammar = Grammar(id_lists=False, id_cursors=False)

    assert parse("id:1,2 id:<9 id:3..4 id:7", grammar).terms == (Between("id", 7, 7),)


def test_hashes_are_found_at_any_depth() -> None:
    """Hashes are found inside negations and alternatives, too."""
    assert md5_terms(parse("md5:aa -md5:bb ( md5:cc ~ x )", GRAMMAR)) == {"aa", "bb", "cc"}
    search = CATALOGUE.resolve(parse("-md5:bb id:<20", GRAMMAR), {"bb": 3})
    found = CATALOGUE.page(search, offset=0, limit=50, shown=SHOWN, gone=())
    assert found == [index for index in range(SHOWN - 1, -1, -1) if id_of(SEED, index) < 20 and index != 3]
