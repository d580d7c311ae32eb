"""Which probabilities count as tags: the rules, the order, the names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alti2v.errors import UsageError
from alti2v.model.options.choices import RATING, Rule, Sort
from alti2v.model.tagging.selection import Criterion, Selection, group, maximum_cut, passing, ranked, select
from alti2v.model.vocabulary import find_tag, find_tags, make_vocabulary

VOCABULARY = make_vocabulary(
    [
        ("general", "rating"),
        ("sensitive", "rating"),
        ("1girl", "general"),
        ("long_hair", "general"),
        ("=_=", "general"),
        ("a,b", "general"),
        ("hatsune_miku", "character"),
        ("sensitive", "general"),
    ]
)
ALL = len(VOCABULARY)
probabilities = arrays(np.float32, ALL, elements=st.floats(0, 1, width=32))


def names(tags: Any) -> Any:
    return [tag.name for tag in tags]


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.3, 0.35, 0.391104459, 1.0])
def test_thresholds_mean_at_least_and_can_mean_more_than(threshold: float) -> None:
    """A tag passes at its threshold, whichever way float32 rounds that; if it is strict it does not."""
    edge = np.float32(threshold)
    row = np.array([[np.nextafter(edge, np.float32(-1)), edge, np.nextafter(edge, np.float32(2))]], np.float32)
    vocabulary = make_vocabulary([("a", "general"), ("b", "general"), ("c", "general")])

    assert passing(row, vocabulary, Criterion(threshold=threshold)).tolist() == [[False, True, True]]
    strict = Criterion(threshold=threshold, is_strict=True)
    assert passing(row, vocabulary, strict).tolist() == [[False, False, True]]


def test_threshold_of_a_category_replaces_the_general_one() -> None:
    """A category's own threshold counts for its tags, the general one for the others."""
    row = np.full((1, ALL), 0.5, np.float32)
    passed = passing(row, VOCABULARY, Criterion(threshold=0.3, by_category={"character": 0.8}))[0]

    assert not passed[VOCABULARY.index["hatsune_miku"]]
    assert passed[VOCABULARY.index["1girl"]]


@pytest.mark.parametrize(
    ("values", "cut"),
    [
        ([0.9, 0.8, 0.2, 0.1], 0.5),
        ([0.1, 0.9], 0.5),
        ([1.0, 0.6, 0.2], 0.8),  # equal gaps: the first
        ([0.5, 0.5, 0.5], 0.5),  # no gap at all: nothing exceeds it
        ([0.6], 0.3),  # alone
    ],
)
def test_maximum_cut(values: Any, cut: Any) -> None:
    """MCut cuts in the middle of the widest gap."""
    assert maximum_cut(np.array(values)) == pytest.approx(cut)


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=30))
def test_maximum_cut_separates_at_the_widest_gap(values: Any) -> None:
    """No gap between neighbours is wider than the one that contains the cut."""
    array = np.array(values, np.float32)
    cut = maximum_cut(array)
    above, below = array[array > cut], array[array <= cut]
    gaps = -np.diff(np.sort(array.astype(np.float64))[::-1])

    if above.size and below.size:
        assert float(above.min()) - float(below.max()) == pytest.approx(gaps.max())
    else:
        assert gaps.max() < 1e-6


def test_mcut_cuts_each_category_by_itself_and_keeps_improbable_characters_out() -> None:
    """General tags are cut among themselves; a character needs at least 0.15."""
    row = np.zeros((2, ALL), np.float32)
    row[:, VOCABULARY.members["general"]] = [0.9, 0.85, 0.1, 0.05, 0.01]
    row[:, VOCABULARY.index["hatsune_miku"]] = [0.1, 0.4]
    passed = passing(row, VOCABULARY, Criterion(rule=Rule.MCUT))

    assert passed[:, VOCABULARY.members["general"]].tolist() == [[True, True, False, False, False]] * 2
    assert passed[:, VOCABULARY.index["hatsune_miku"]].tolist() == [False, True]


@given(
    row=probabilities,
    threshold=st.floats(0, 1),
    exclude=st.frozensets(st.integers(0, ALL - 1)),
    top=st.none() | st.integers(1, ALL),
    sort=st.sampled_from(Sort),
)
def test_selection_keeps_its_promises(row: Any, threshold: Any, exclude: Any, top: Any, sort: Any) -> None:
    """Selected tags passed, are not excluded, are no ratings, are the best, in order, and complete."""
    passed = passing(row[None], VOCABULARY, Criterion(threshold=threshold))[0]
    tags = select(row, passed, VOCABULARY, Selection(exclude=exclude, top=top, sort=sort))
    found = [tag.index for tag in tags]
    eligible = [i for i in range(ALL) if passed[i] and i not in exclude and VOCABULARY.categories[i] != RATING]
    left_out = set(eligible) - set(found)
    orders: dict[Sort, list[Any]] = {
        Sort.SCORE: [(-row[i], i) for i in found],
        Sort.ALPHABET: [(VOCABULARY.names[i], i) for i in found],
        Sort.INDEX: found,
    }
    keys = orders[sort]

    assert set(found) <= set(eligible)
    assert len(found) == min(len(eligible), top or ALL)
    assert all(row[i] <= min(row[j] for j in found) for i in left_out)
    assert keys == sorted(keys)
    assert all(np.float32(tag.probability) == row[tag.index] for tag in tags)


def test_categories_are_filtered_and_of_the_ratings_the_best_is_taken() -> None:
    """Wanting categories leaves out the others; the rating is one tag, whether or not it passes."""
    row = np.array([0.1, 0.2, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9], np.float32)
    passed = np.ones(ALL, bool)
    tags = select(row, passed, VOCABULARY, Selection(categories=frozenset({"character", RATING})))

    assert [(tag.name, tag.category) for tag in tags] == [
        ("hatsune_miku", "character"),
        ("sensitive", RATING),
    ]
    assert list(group(tags, VOCABULARY)) == ["general", "character"]


def test_probabilities_read_like_decimals() -> None:
    """0.98 stays 0.98: no digit is shown that float32 does not have."""
    row = np.full(ALL, 0.98, np.float32)

    assert ranked(row, VOCABULARY, np.array([2])) == [("1girl", 0.98)]


@pytest.mark.parametrize(
    ("name", "found"),
    [("long_hair", 3), ("long hair", 3), (" Long Hair ", 3), ("=_=", 4), ("a,b", 5), ("sensitive", 7)],
)
def test_names_are_found_as_people_write_them(name: Any, found: Any) -> None:
    """Underscores or spaces, any case; a tag is meant rather than the rating of the same name."""
    assert find_tag(VOCABULARY, name) == found


def test_commas_separate_names_but_where_they_are_in_one() -> None:
    """`1girl, long hair` are two tags, `a,b` is the one that the model knows; doubles count once."""
    assert find_tags(VOCABULARY, ["1girl, long hair", "a,b", "=_=,", "1girl"]) == (2, 3, 5, 4)


def test_unknown_names_get_the_nearest_ones_offered() -> None:
    """A misspelt tag is refused with those that it may have meant."""
    with pytest.raises(UsageError, match="no tag 'long_hiar': did you mean long_hair"):
        find_tag(VOCABULARY, "long_hiar")
    with pytest.raises(UsageError, match=r"no tag 'zzzzzz': check its spelling"):
        find_tag(VOCABULARY, "zzzzzz")
    of_file = make_vocabulary([("1girl", "general")], file="selected_tags.csv")
    with pytest.raises(UsageError, match=r"no tag 'zzzzzz': see selected_tags\.csv for all its tags"):
        find_tag(of_file, "zzzzzz")


@pytest.mark.parametrize(
    "wrong", [{"threshold": 1.5}, {"threshold": -0.1}, {"threshold": float("nan")}, {"by_category": {"x": 0.5}}]
)
def test_criteria_out_of_range_are_refused(wrong: Any) -> None:
    """A threshold is a probability, a category one that exists."""
    with pytest.raises(UsageError):
        Criterion(**wrong)
