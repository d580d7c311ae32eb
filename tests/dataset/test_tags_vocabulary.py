"""Tags as numbers keep what they meant, and the vocabulary is the most frequent tags of training."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alti2v.dataset.tags import CATEGORIES, TagLists, TagTable, choose_vocabulary, joined, labels_of, tag_lists
from alti2v.errors import DataError
from alti2v.records import Category

LISTS = st.lists(st.sets(st.integers(0, 15)).map(sorted), max_size=12)


def packed(lists: list[list[int]]) -> TagLists:
    owners = [owner for owner, codes in enumerate(lists) for _ in codes]
    codes = [code for codes in lists for code in codes]
    return tag_lists(np.array(owners, np.int64), np.array(codes, np.int32), len(lists))


def unpacked(tags: TagLists) -> list[list[int]]:
    return [tags.codes[a:b].tolist() for a, b in zip(tags.offsets, tags.offsets[1:], strict=False)]


@given(LISTS, st.data())
def test_lists_survive_every_operation(lists: list[list[int]], data: st.DataObject) -> None:
    """Packing, joining, taking, filtering and renaming do what they do on plain lists."""
    tags = packed(lists)
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1))) if lists else []
    wanted = np.array(data.draw(st.lists(st.booleans(), min_size=16, max_size=16)))
    renaming = np.array(data.draw(st.permutations(range(16))), np.int32)

    assert unpacked(tags) == lists
    assert unpacked(joined([tags, tags])) == lists + lists
    assert unpacked(tags.take(np.array(rows, np.int64))) == [lists[row] for row in rows]
    assert unpacked(tags.keep(wanted)) == [[code for code in codes if wanted[code]] for codes in lists]
    assert unpacked(tags.renamed(renaming)) == [sorted(renaming[codes].tolist()) for codes in lists]


def test_blocks_of_rows_join_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Working through the rows a few at a time gives the same lists."""
    monkeypatch.setattr("alti2v.dataset.tags._ROWS_AT_ONCE", 3)
    lists = [[row % 7, 8 + row % 3] for row in range(20)]
    rows = np.arange(20)[::-1].copy()
    backwards = np.arange(16, dtype=np.int32)[::-1].copy()

    assert unpacked(packed(lists).take(rows)) == lists[::-1]
    assert unpacked(packed(lists).renamed(backwards)) == [sorted(15 - c for c in codes) for codes in lists]


def test_repeated_pairs_count_once() -> None:
    """A tag that stands in two groups of one post is one tag."""
    assert unpacked(tag_lists(np.array([0, 0, 0]), np.array([3, 1, 3], np.int32), 1)) == [[1, 3]]


NAMES = [f"tag_{number:02d}" for number in range(16)]
GENERAL = TagTable(NAMES, np.zeros(16, np.int8))


@given(LISTS.filter(any), st.integers(1, 20))
def test_the_vocabulary_is_what_a_counter_says(lists: list[list[int]], size: int) -> None:
    """Most frequent first, ties by name, never a tag that nobody carries."""
    counts = Counter(code for codes in lists for code in codes)
    expected = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:size]
    vocabulary = choose_vocabulary(packed(lists), GENERAL, size=size, left_out=frozenset())

    assert [(tag.name, tag.count) for tag in vocabulary.tags] == [(NAMES[c], n) for c, n in expected]
    for index, (code, _) in enumerate(expected):
        assert vocabulary.label_of[code] == index


@given(LISTS.filter(any), st.integers(1, 20))
def test_labels_name_the_tags_of_each_post(lists: list[list[int]], size: int) -> None:
    """Labels are exactly the tags of the vocabulary that a post carries, ascending."""
    vocabulary = choose_vocabulary(packed(lists), GENERAL, size=size, left_out=frozenset())
    names = {tag.name for tag in vocabulary.tags}
    labels = unpacked(labels_of(packed(lists), vocabulary))

    assert [sorted(found) for found in labels] == labels
    assert [{vocabulary.tags[index].name for index in found} for found in labels] == [
        {NAMES[code] for code in codes} & names for codes in lists
    ]


def test_categories_can_be_left_out() -> None:
    """Meta tags do not take the place of others, however frequent."""
    categories = np.array([CATEGORIES.index(Category.META)] + [0] * 15, np.int8)
    tags = packed([[0, 1], [0, 1], [0, 2]])
    vocabulary = choose_vocabulary(
        tags, TagTable(NAMES, categories), size=2, left_out=frozenset({Category.META})
    )

    assert [tag.name for tag in vocabulary.tags] == ["tag_01", "tag_02"]
    with pytest.raises(DataError, match="no training picture carries a tag"):
        choose_vocabulary(
            packed([[0]]), TagTable(NAMES, categories), size=2, left_out=frozenset({Category.META})
        )
