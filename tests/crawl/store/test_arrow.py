"""The post table in columns equals the one row by row, whatever the posts hold."""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alti2v.crawl.store import arrow
from alti2v.crawl.store.arrow import TagCounts, count_tags, post_batches
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.ledger.outcomes import Outcome
from alti2v.crawl.store.post_json import Stored, TarLocation
from alti2v.records import Category, Post, Span, Status, tag_names
from alti2v.storage.columns import POSTS
from alti2v.storage.table import schema
from tests.crawl.helpers.ledgers import ledger_rows

NAMES = st.sampled_from(["1girl", "solo", "a_b", "ä\u2028", '"', "\\", "\n", "\x00", "🙂", "x" * 300])
# Each tag of a post stands in one group; boards sort them, but need not, and may repeat them.
GROUPS = st.dictionaries(NAMES, st.sampled_from(list(Category)), max_size=8).flatmap(
    lambda of: st.fixed_dictionaries(
        {
            f"tags_{group.value}": st.just(sorted(names)).map(" ".join)
            | st.lists(st.sampled_from(names)).map(" ".join)
            for group in Category
            if (names := [name for name, category in of.items() if category is group])
        }
    )
)
MAYBE = st.none() | st.integers(0, 2**31 - 1)
POST = st.builds(
    lambda tags, **facts: Post(**facts, **tags),
    id=st.integers(1, 2**62),
    tags=GROUPS,
    source=st.text(),
    score=MAYBE,
    parent_id=MAYBE,
    created_at=st.none() | st.integers(0, 2**33),
    changed_at=st.none() | st.integers(0, 2**33),
    md5=st.none() | st.just("0" * 32),
    file_ext=st.sampled_from(["jpg", "mp4", ""]),
    file_url=st.none() | st.text(),
)


def stored(number: int) -> Outcome:
    of_bytes = Stored(
        url="http://board/é.jpg", http_status=200, attempts=2, format="PNG", width=5, height=7, md5="1" * 32
    )
    return Outcome(
        status=Status.STORED,
        attempts=2,
        http_status=200,
        stored=of_bytes,
        location=TarLocation(tar=3, span=Span(offset=number % 2**40, size=2**33)),
    )


def row_of_table(row: sqlite3.Row, categories: Mapping[str, Category]) -> dict[str, Any]:
    """The reference: a row of the ledger as a row of the post table."""
    groups: dict[str, list[str]] = {group.value: [] for group in Category}
    for group in Category:
        for name in tag_names(row[group.tags_column]):
            is_moved = group is Category.UNKNOWN and name in categories
            groups[categories[name] if is_moved else group].append(name)
    plain = {column.name: row[column.name] for column in POSTS.columns if not column.name.startswith("tags_")}
    return plain | {group.tags_column: sorted(set(groups[group])) for group in Category}


def check(posts: Iterable[Post], categories: Mapping[str, Category]) -> None:
    """Every second one is stored; both forms, and what they count, agree."""
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger") as ledger:
        with ledger.transaction():
            ledger.posts.add(posts)
            numbers = [row["id"] for row in ledger_rows(ledger)]
            ledger.posts.record([(number, stored(number)) for number in numbers[::2]])
        rows = ledger_rows(ledger)
        expected = pa.Table.from_pylist([row_of_table(row, categories) for row in rows], schema(POSTS))
        counted: TagCounts = {}
        found = pa.Table.from_batches(post_batches(ledger, 0, categories, counts=counted), schema(POSTS))
        by_hand = {
            group.value: Counter(
                tag for row in rows for tag in set(row[f"tags_{group.value}"].split(" ")) - {""}
            )
            for group in Category
        }

        assert found.equals(expected)
        found.validate(full=True)
        for counts in (counted, count_tags(ledger)):
            assert {group: of for group, of in counts.items() if of} == {
                group: of for group, of in by_hand.items() if of
            }


@given(
    posts=st.lists(POST, max_size=6, unique_by=lambda post: post.id),
    categories=st.dictionaries(NAMES, st.sampled_from(list(Category))),
)
def test_columns_say_what_rows_say(posts: list[Post], categories: dict[str, Category]) -> None:
    """Hostile text, no tags at all, groups that the tag API adds to."""
    check(posts, categories)


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_slices_do_not_show(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many posts are read at a time; some bring no tags."""
    monkeypatch.setattr(arrow, "_ROWS", rows)
    posts = [
        Post(id=number, tags_unknown=" ".join("abc"[: number % 4]), tags_meta="m" * (number % 2))
        for number in range(1, 8)
    ]
    check(posts, {"a": Category.ARTIST, "b": Category.META, "m": Category.META})
