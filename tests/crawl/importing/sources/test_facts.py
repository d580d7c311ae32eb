"""Facts about pictures in JSON objects and rows of many tools."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alti2v.crawl.importing.sources.facts import KEYS, facts_of, facts_of_columns, moment

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.sampled_from(["g", "Safe", "1girl solo"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FLAT = ("id", "rating", "score", "width", "height", "mimetype", "created_at", "md5", "file_url")


@given(st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_any_object_gives_a_post(document: dict[str, Any]) -> None:
    """Whatever the values are, the result is one that the ledger and the tables can hold."""
    post = facts_of(document)

    assert 0 <= post.id < 10**12
    assert json.dumps(post._asdict(), ensure_ascii=False).encode()
    assert post.width in range(2**31)
    assert all(len(tag.split()) == 1 for tag in post.tags.all)


@example([dict.fromkeys(FLAT) | {"created_at": 0, "tags": "a"}])
@given(st.lists(st.fixed_dictionaries(dict.fromkeys(FLAT, SCALARS) | {"tags": st.text()}), max_size=5))
def test_columns_say_what_rows_say(rows: list[dict[str, Any]]) -> None:
    """The quick way for whole columns gives the posts of the way for single rows, or none."""
    columns = {name: [row[name] for row in rows] for name in (*FLAT, "tags")}
    found = facts_of_columns(columns)

    assert found is None or list(found) == [facts_of(row) for row in rows]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Sat Jan 02 02:50:56 +0200 2010", 1262393456),
        ("2010-01-02 00:50:56", 1262393456),
        ("2010-01-02T00:50:56.000+00:00", 1262393456),
        (1262393456, 1262393456),
        ("1262393456", 1262393456),
        ("Sat Xyz 02 02:50:56 +0200 2010", None),
        ("yesterday", None),
        (-5, None),
        (None, None),
    ],
)
def test_times(value: object, expected: int | None) -> None:
    """Times of both families of boards, of gallery-dl, and unix seconds."""
    assert moment(value) == expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"tags": "a b"}, {"tags_unknown": "a b"}),
        ({"tags": "long hair, b"}, {"tags_unknown": "long_hair b"}),
        ({"tags": ["long hair", "artist:x"]}, {"tags_unknown": "long_hair", "tags_artist": "x"}),
        ({"tags": {"character": ["x"], "species": ["cat"]}}, {"tags_character": "x", "tags_unknown": "cat"}),
        ({"tags": [{"name": "x", "type": 4}, {"tag": "y"}]}, {"tags_character": "x", "tags_unknown": "y"}),
        ({"tag_string": "a x", "tag_string_artist": "x"}, {"tags_artist": "x", "tags_unknown": "a"}),
        ({"tags_metadata": "hires", "tags": "a hires"}, {"tags_meta": "hires", "tags_unknown": "a"}),
        ({"caption": "a frog, green"}, {"tags_unknown": "a_frog green"}),
        ({"tags": "rating:explicit x"}, {"tags_unknown": "x", "rating": "explicit"}),
        ({"rating": "s", "tag_string": "a"}, {"tags_unknown": "a", "rating": "sensitive"}),
        ({"rating": "s", "tags": "a"}, {"tags_unknown": "a", "rating": "general"}),
        ({"score": {"total": 4}, "sample_url": "https://x.y/a", "file_url": "https://x.y/a"}, {"score": 4}),
        ({"id": "12", "parent_id": "", "hash": "A" * 32, "mimetype": "image/jpeg"}, {"md5": "a" * 32}),
    ],
)
def test_forms_of_tags_and_facts(document: dict[str, Any], expected: dict[str, object]) -> None:
    """Each tool's way to write tags, ratings and scores."""
    found = facts_of(document)._asdict()

    assert {name: found[name] for name in expected} == expected
