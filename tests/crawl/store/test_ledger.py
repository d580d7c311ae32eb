"""Posts that the ledger records once and again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from alti2v.crawl.boards.protocol import Skip
from alti2v.crawl.store.ledger import Ledger
from alti2v.errors import DamagedError
from alti2v.records import Post
from tests.crawl.helpers.ledgers import ledger_rows

URL = "http://board/1.jpg"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger") as ledger:
        yield ledger


def posts(ledger: Ledger) -> list[Post]:
    return [Post(*(row[name] for name in Post._fields)) for row in ledger_rows(ledger)]


def test_a_post_that_stands_twice_on_a_page_is_recorded_once(ledger: Ledger) -> None:
    """The later entry is the newer description; counts and history know one post."""
    first = Post(id=7, tags_unknown="a b", file_url=URL, score=1)
    with ledger.transaction():
        assert ledger.posts.add([first, Post(id=5, file_url=URL), first._replace(tags_unknown="a c")]) == 2

    assert posts(ledger) == [first._replace(tags_unknown="a c"), Post(id=5, file_url=URL)]
    assert list(ledger.history.rows()) == [{"id": 7, "seen_at": 0, "tags_added": ["c"], "tags_removed": ["b"]}]
    assert (ledger.posts.counts().listed, ledger.posts.counts().pending) == (2, 2)


def test_tags_in_another_order_are_the_same_tags(ledger: Ledger) -> None:
    """Nothing changed: no history, and the part of the table need not be written again."""
    post = Post(id=7, tags_general="b a", tags_unknown="c", file_url=URL)
    with ledger.transaction():
        ledger.posts.add([post])
        ledger.parts.mark_clean(0)
        assert ledger.posts.add([post._replace(tags_general="a b a")]) == 0

    assert (posts(ledger), list(ledger.history.rows()), ledger.parts.dirty()) == ([post], [], [])


def test_posts_are_counted_by_reason_and_mark_their_parts(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page after page, deleted_ids and skipped posts included."""
    monkeypatch.setattr("alti2v.crawl.store.ledger.parts.PART_ROWS", 2)
    with ledger.transaction():
        ledger.posts.add([Post(id=9, file_url=URL), Post(id=8, file_ext="mp4")], deleted_ids=[4])
        ledger.posts.add([Post(id=7, file_url=URL), Post(id=6)], wanted=lambda post: post.id != 7)

    counts = ledger.posts.counts()
    assert counts.pending == 1
    assert counts.skipped == {Skip.VIDEO: 1, Skip.GHOST: 1, Skip.FILTERED: 1, Skip.HIDDEN: 1}
    assert [(row["seq"], row["id"]) for row in ledger_rows(ledger)] == [
        (0, 9),
        (1, 8),
        (2, 4),
        (3, 7),
        (4, 6),
    ]
    assert ledger.parts.dirty() == [0, 1, 2]


def test_a_ghost_that_comes_to_life_is_wanted(ledger: Ledger) -> None:
    """Its outcome follows its facts; the counts follow both."""
    with ledger.transaction():
        ledger.posts.add([], deleted_ids=[7])
        ledger.posts.add([Post(id=7, file_url=URL)])

    assert [pending.post for pending in ledger.posts.pending(after_seq=-1, limit=9)] == [
        Post(id=7, file_url=URL)
    ]
    assert (ledger.posts.counts().pending, sum(ledger.posts.counts().skipped.values())) == (1, 0)


def test_a_ledger_of_an_older_schema_is_refused(tmp_path: Path) -> None:
    """The error names the command that makes a new ledger."""
    with Ledger(tmp_path / "ledger"):
        pass
    with sqlite3.connect(tmp_path / "ledger") as old:
        old.execute("PRAGMA user_version=2")
    old.close()

    with pytest.raises(DamagedError, match=r"is of an earlier version: run .*verify .* --repair"):
        Ledger(tmp_path / "ledger")
