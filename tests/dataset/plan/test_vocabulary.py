"""Tags survive as numbers, and the vocabulary is the most frequent tags of training."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alti2v.dataset.plan.tag_aliases import TagRelations, closure, resolved, widening
from alti2v.dataset.plan.vocabulary import (
    CATEGORIES,
    RATING_TAGS,
    StoreTagTable,
    TagLists,
    VocabularyRule,
    choose_vocabulary,
    joined,
    labels_of,
    tag_lists,
)
from alti2v.errors import DataError
from alti2v.records import Category

LISTS = st.lists(st.sets(st.integers(0, 15)).map(sorted), max_size=12)


def packed(lists: list[list[int]]) -> TagLists:
    owners = [owner for owner, codes in enumerate(lists) for _ in codes]
    codes = [code for codes in lists for code in codes]
    return tag_lists(np.array(owners, np.int64), np.array(codes, np.int32), len(lists))


def counted(tags: TagLists) -> np.ndarray:
    return np.bincount(tags.codes, minlength=16)


def unpacked(tags: TagLists) -> list[list[int]]:
    return [tags.codes[a:b].tolist() for a, b in zip(tags.offsets, tags.offsets[1:], strict=False)]


@given(LISTS, st.data())
def test_lists_survive_every_operation(lists: list[list[int]], data: st.DataObject) -> None:
    """Packing, joining, taking, filtering and renaming give the results of plain lists."""
    tags = packed(lists)
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1))) if lists else []
    wanted = np.array(data.draw(st.lists(st.booleans(), min_size=16, max_size=16)))
    renaming = np.array(data.draw(st.permutations(range(16))), np.int32)

    assert unpacked(tags) == lists
    assert unpacked(joined(iter([tags, tags]), room=2 * len(tags.codes) + 3)) == lists + lists
    assert unpacked(tags.take(np.array(rows, np.int64))) == [lists[row] for row in rows]
    assert unpacked(tags.keep(wanted)) == [[code for code in codes if wanted[code]] for codes in lists]
    assert unpacked(tags.renamed(renaming)) == [sorted(renaming[codes].tolist()) for codes in lists]


def test_blocks_of_rows_join_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Working in blocks of rows gives the same lists."""
    monkeypatch.setattr("alti2v.dataset.plan.vocabulary._ROWS_AT_ONCE", 3)
    lists = [[row % 7, 8 + row % 3] for row in range(20)]
    rows = np.arange(20)[::-1].copy()
    backwards = np.arange(16, dtype=np.int32)[::-1].copy()

    assert unpacked(packed(lists).take(rows)) == lists[::-1]
    assert unpacked(packed(lists).renamed(backwards)) == [sorted(15 - c for c in codes) for codes in lists]


def test_repeated_pairs_count_once() -> None:
    """A tag in two groups of one post is one tag."""
    assert unpacked(tag_lists(np.array([0, 0, 0]), np.array([3, 1, 3], np.int32), 1)) == [[1, 3]]


NAMES = [f"tag_{number:02d}" for number in range(16)]
GENERAL = StoreTagTable(NAMES, np.zeros(16, np.int8))
WITHOUT_META = VocabularyRule(size=2, left_out=frozenset({Category.META}))


@given(LISTS.filter(any), st.integers(1, 20))
def test_the_vocabulary_is_what_a_counter_says(lists: list[list[int]], size: int) -> None:
    """Most frequent first, ties by name, never a tag without a picture."""
    counts = Counter(code for codes in lists for code in codes)
    expected = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:size]
    vocabulary = choose_vocabulary(counted(packed(lists)), GENERAL, VocabularyRule(size=size))

    assert [(tag.name, tag.count) for tag in vocabulary.tags] == [(NAMES[c], n) for c, n in expected]
    for index, (code, _) in enumerate(expected):
        assert vocabulary.label_of[code] == index


@given(LISTS.filter(any), st.integers(1, 20))
def test_labels_name_the_tags_of_each_post(lists: list[list[int]], size: int) -> None:
    """Labels are exactly the post's tags that are in the vocabulary, ascending."""
    vocabulary = choose_vocabulary(counted(packed(lists)), GENERAL, VocabularyRule(size=size))
    names = {tag.name for tag in vocabulary.tags}
    rows = np.arange(len(lists))[::-2].copy()
    labels = unpacked(labels_of(packed(lists).take(rows), vocabulary))

    assert [sorted(found) for found in labels] == labels
    assert [{vocabulary.tags[index].name for index in found} for found in labels] == [
        {NAMES[code] for code in lists[row]} & names for row in rows
    ]


def test_categories_can_be_left_out() -> None:
    """Meta tags do not displace others, however frequent they are."""
    categories = np.array([CATEGORIES.index(Category.META)] + [0] * 15, np.int8)
    tags = packed([[0, 1], [0, 1], [0, 2]])
    vocabulary = choose_vocabulary(counted(tags), StoreTagTable(NAMES, categories), WITHOUT_META)

    assert [tag.name for tag in vocabulary.tags] == ["tag_01", "tag_02"]
    with pytest.raises(DataError, match="no tag of the selected categories"):
        choose_vocabulary(counted(packed([[0]])), StoreTagTable(NAMES, categories), WITHOUT_META)


def names(vocabulary_tags: object) -> list[str]:
    return [tag.name for tag in vocabulary_tags]  # type: ignore[attr-defined]


def mixed() -> tuple[TagLists, StoreTagTable]:
    """Return four tags of each of two categories with falling frequency, and one rating."""
    table = StoreTagTable(
        [*(f"c{n}" for n in range(4)), *(f"g{n}" for n in range(4)), "rating:general"],
        np.array(
            [CATEGORIES.index(Category.CHARACTER)] * 4 + [0] * 4 + [CATEGORIES.index(Category.META)], np.int8
        ),
    )
    return packed(
        [[n for n in range(4) if post <= n] + [4 + n for n in range(4)] + [8] for post in range(4)]
    ), table


def test_quotas_choose_within_their_categories() -> None:
    """Each category contributes its own most frequent tags; categories without a quota contribute none."""
    tags, table = mixed()
    rule = VocabularyRule(size=1, quotas={Category.CHARACTER: 2, Category.GENERAL: 1})
    with_ratings = VocabularyRule(size=1, quotas={Category.CHARACTER: 2, Category.GENERAL: 1}, ratings=True)

    assert names(choose_vocabulary(counted(tags), table, rule).tags) == ["c3", "g0", "c2"]
    assert names(choose_vocabulary(counted(tags), table, with_ratings).tags) == [
        "c3",
        "g0",
        "rating:general",
        "c2",
    ]
    assert table.names[8] in RATING_TAGS


def test_a_least_number_of_pictures() -> None:
    """Tags of fewer training pictures are left out; without any tag, there is an error."""
    tags, table = mixed()

    assert names(choose_vocabulary(counted(tags), table, VocabularyRule(size=9, min_count=3)).tags)[-1] == "c2"
    with pytest.raises(DataError, match="smaller --min-count"):
        choose_vocabulary(counted(tags), table, VocabularyRule(size=9, min_count=5))


def test_wanted_tags_are_kept_or_named() -> None:
    """A rare kept tag is in, one without a picture is reported with 0; a dropped tag is out."""
    tags, table = mixed()
    rule = VocabularyRule(
        size=2, keep=frozenset({"c0", "g1", "nobody_has_it", "c3"}), drop=frozenset({"g0", "x"})
    )
    vocabulary = choose_vocabulary(counted(tags), table, rule)

    assert names(vocabulary.tags) == ["c3", "g1", "c0"]
    assert vocabulary.rare == {"c0": 1, "nobody_has_it": 0}


PAIRS = st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from("abcdefg")), max_size=14)


@given(PAIRS)
def test_aliases_end_somewhere(pairs: list[tuple[str, str]]) -> None:
    """Every chain ends at a name that is not an alias; cycles end at their first name."""
    real = resolved(pairs)
    step = dict(sorted(pairs, reverse=True))

    for name in "abcdefg":
        reached = [name]
        while reached[-1] in step and step[reached[-1]] not in reached:
            reached.append(step[reached[-1]])
        end = reached[-1]
        if end in step:  # a cycle
            end = min(reached[reached.index(step[end]) :])
        assert real.get(name, name) == end
        assert real.get(end, end) == end


@given(PAIRS)
def test_implications_are_all_that_can_be_reached(pairs: list[tuple[str, str]]) -> None:
    """The closure is that of repeated joining; a cycle does not make a tag imply itself."""
    reach = set(pairs)
    while more := {(a, d) for a, b in reach for c, d in reach if b == c} - reach:
        reach |= more
    expected = {name: tuple(sorted(b for a, b in reach if a == name != b)) for name, _ in pairs}

    assert closure(pairs) == expected


def test_posts_get_the_names_and_the_implied_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aliases are replaced, implied tags are added once, and new tags get their known category."""
    monkeypatch.setattr("alti2v.dataset.plan.vocabulary._ROWS_AT_ONCE", 2)
    character, general = CATEGORIES.index(Category.CHARACTER), CATEGORIES.index(Category.GENERAL)
    table = StoreTagTable(["black_cat", "kitty", "miku"], np.array([general, general, character], np.int8))
    relations = TagRelations(
        aliases=[("kitty", "cat"), ("miku", "hatsune_miku")],
        implications=[("black_cat", "kitty"), ("cat", "animal"), ("miku", "vocaloid"), ("dog", "animal")],
    )
    wider = widening(table, relations, {"vocaloid": Category.COPYRIGHT})
    lists, names_now = wider.applied(packed([[0, 1], [1], [], [2], [0]])), wider.table

    assert [[names_now.names[code] for code in codes] for codes in unpacked(lists)] == [
        ["animal", "black_cat", "cat"],
        ["animal", "cat"],
        [],
        ["hatsune_miku", "vocaloid"],
        ["animal", "black_cat", "cat"],
    ]
    assert {
        name: CATEGORIES[code].value for name, code in zip(names_now.names, names_now.categories, strict=True)
    } == {
        "animal": "unknown",
        "black_cat": "general",
        "cat": "general",
        "hatsune_miku": "character",
        "vocaloid": "copyright",
    }
