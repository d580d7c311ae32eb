"""tags.parquet is that of a count of all posts, although only the parts that changed are read."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from alti2v.crawl.store import schema, tables
from alti2v.crawl.store.arrow import TagCounts, count_tags
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.ledger.posts import PostTable
from alti2v.crawl.store.ledger.state import StateKey
from alti2v.crawl.store.tag_counts import total_counts
from alti2v.records import Category, Post, Tag

ROWS = 4  # per part


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A ledger with parts of a few posts."""
    for module in ("ledger.parts", "ledger.posts", "tag_counts"):
        monkeypatch.setattr(f"alti2v.crawl.store.{module}.PART_ROWS", ROWS)
    monkeypatch.setattr("alti2v.crawl.store.ledger.SCHEMA", schema._SCHEMA.format(part_rows=ROWS))
    with Ledger(tmp_path / "ledger") as ledger:
        yield ledger


def add(ledger: Ledger, *posts: Post) -> None:
    with ledger.transaction():
        ledger.posts.add(posts)


def post(number: int, *names: str) -> Post:
    return Post(id=number, tags_unknown=" ".join(names), tags_artist="someone" * (number % 2), file_url="u")


def exported(store: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(store / "tags.parquet").to_pylist()
    return rows


def counted(ledger: Ledger) -> list[dict[str, Any]]:
    """The reference: the rows that a count of all posts gives."""
    return list(tables.tag_rows(ledger, ledger.tags.categories(), count_tags(ledger)))


def test_exports_say_what_a_count_of_all_posts_says(ledger: Ledger, tmp_path: Path) -> None:
    """After new posts, changed posts and learned categories, also if an export stops anywhere in between."""
    rng = random.Random(3)
    for step in range(40):
        numbers = [rng.randint(1, 30) for _ in range(rng.randint(1, 3))]
        add(ledger, *(post(number, *rng.sample("abcdef", rng.randint(0, 4))) for number in numbers))
        if step % 9 == 8:
            with ledger.transaction():
                ledger.tags.add([Tag(name=rng.choice("abcdef"), category=Category.META, count=3)])
        if step % 3 == 1:
            export_stopped_at(("export_tags", "keep_counts", "write_batches")[step // 3 % 3], tmp_path, ledger)
            if step % 2:
                continue
        assert total_counts(ledger) == count_tags(ledger)
        tables.export(tmp_path, ledger)
        assert exported(tmp_path) == counted(ledger)


def export_stopped_at(name: str, store: Path, ledger: Ledger) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, name, stop)
        with pytest.raises(KeyboardInterrupt):
            tables.export(store, ledger)


def test_only_changed_parts_are_read(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first export; a changed part is read for its table only, and for counts before that."""
    add(ledger, *(post(number, "a", "b") for number in range(1, 5 * ROWS)))
    tables.export(tmp_path, ledger)
    asked: list[int | None] = []
    real = PostTable.slices

    def slices(self: PostTable, *args: Any, part: int | None = None, **named: Any) -> Iterator[Any]:
        asked.append(part)
        return real(self, *args, part=part, **named)

    monkeypatch.setattr(PostTable, "slices", slices)
    tables.export(tmp_path, ledger)
    assert asked == []
    add(ledger, post(2 * ROWS, "a", "c"))
    assert total_counts(ledger)["unknown"]["b"] == 5 * ROWS - 2
    tables.export(tmp_path, ledger)
    assert asked == [1, 1]
    assert exported(tmp_path) == counted(ledger)


ODD_COUNTS = (
    "3",
    "[]",
    "NaN",
    "1e999",
    '{"general": 3}',
    '{"other": {}}',
    '{"general": {"a": "1"}}',
    '{"general": {"a": 99}}',
    '{"general": {"a": -1}}',
    '{"general": {"a": NaN}}',
    '{"general": {"a": 1e999}}',
    '{"general": {"a": true}}',
    '{"general": {"\\ud800": 1}}',
    f'{{"general": {{"a": {"9" * 5_000}}}}}',
)


ODD: tuple[str | bytes | int, ...] = (
    "{",
    "[" * 10**5,
    "7",
    b"\xff\xfe",
    12,
    *ODD_COUNTS,
    *(f'{{"file": FILE, "counts": {counts}}}' for counts in ODD_COUNTS),
    *(f'{{"file": {file}, "counts": {{}}}}' for file in ("null", "3", "[1, 2]", "[]", '"\\ud800"')),
)


def test_counts_that_nobody_wrote_are_counted_again(ledger: Ledger, tmp_path: Path) -> None:
    """Text that is no JSON, of another kind, with numbers that no part has, or with half a character."""
    add(ledger, *(post(number, "a", "b") for number in range(1, 2 * ROWS)))
    tables.export(tmp_path, ledger)
    kept = json.loads(ledger.state.get(StateKey.TAG_COUNTS, "1") or "")
    for text in ODD:
        odd = text.replace("FILE", json.dumps(kept["file"])) if isinstance(text, str) else text
        with ledger.transaction():
            ledger.execute("INSERT OR REPLACE INTO state VALUES ('tag_counts 1', CAST(? AS TEXT))", (odd,))

        assert total_counts(ledger) == count_tags(ledger), text


def test_parts_that_another_program_exported_are_counted_again(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older program exports changed posts, and leaves the counts; only their part is read, once."""
    add(ledger, *(post(number, "a", "b") for number in range(1, 5 * ROWS)))
    tables.export(tmp_path, ledger)
    with monkeypatch.context() as older:
        older.setattr(tables, "keep_counts", lambda *_: None)
        older.setattr(tables, "total_counts", count_tags)
        add(ledger, post(2 * ROWS, "a", "c"))
        tables.export(tmp_path, ledger)
    read: list[int | None] = []

    def reading(ledger: Ledger, *, part: int | None = None) -> TagCounts:
        read.append(part)
        return count_tags(ledger, part=part)

    monkeypatch.setattr("alti2v.crawl.store.tag_counts.count_tags", reading)
    for _ in range(2):
        assert total_counts(ledger) == count_tags(ledger)
        assert read == [1]


def test_a_copy_of_a_store_is_counted_once(ledger: Ledger, tmp_path: Path) -> None:
    """Without the times of its files, the counts may not be theirs."""
    add(ledger, *(post(number, "a", "b") for number in range(1, 3 * ROWS)))
    tables.export(tmp_path, ledger)
    before = [ledger.state.get(StateKey.TAG_COUNTS, str(part)) for part in ledger.parts.all()]
    for file in (tmp_path / "posts").iterdir():
        os.utime(file, ns=(5, 5))

    assert total_counts(ledger) == count_tags(ledger)
    after = [ledger.state.get(StateKey.TAG_COUNTS, str(part)) for part in ledger.parts.all()]
    assert len(after) == 3
    assert not set(before) & set(after)


def test_parts_without_posts_are_not_counted(ledger: Ledger) -> None:
    """A ledger whose numbers somebody has changed has as many parts as before, not billions."""
    add(ledger, *(post(number, "a") for number in range(1, 2 * ROWS)))
    for seq in (9 * 10**9, 1 << 61):
        with ledger.transaction():
            ledger.execute("UPDATE posts SET seq=? WHERE id=?", (seq, ROWS))

        assert len(ledger.parts.all()) == 3
        assert total_counts(ledger) == count_tags(ledger)
