"""Splits have exact sizes, keep groups whole, and are the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alti2v.dataset.plan.split import assign_splits, shard_bounds, shuffled
from alti2v.errors import UsageError
from alti2v.storage.layout import SPLITS

TRAIN, VALIDATION, TEST = (SPLITS.index(split) for split in ("train", "validation", "test"))


@given(st.integers(1, 200), st.data())
def test_without_alike_pictures_sizes_are_exact(pictures: int, data: st.DataObject) -> None:
    """Without near-duplicates, every split has exactly the requested size."""
    test = data.draw(st.integers(0, pictures - 1))
    validation = data.draw(st.integers(0, pictures - 1 - test))
    side = assign_splits(np.arange(1, pictures + 1), test=test, validation=validation)

    assert [validation, test] == [(side == VALIDATION).sum(), (side == TEST).sum()]


@given(st.lists(st.integers(1, 40), min_size=8, max_size=120), st.data())
def test_groups_stay_whole_and_gaps_are_too_small_for_any_group(names: list[int], data: st.DataObject) -> None:
    """No group is divided; a split is short only if every remaining group is larger than the gap."""
    group = np.array(names)
    smallest = np.unique(group, return_counts=True)[1].min()
    wanted = data.draw(st.sampled_from([0, *range(smallest, len(names))]))
    side = assign_splits(group, test=wanted, validation=0)

    for name in set(names):
        assert len(set(side[group == name].tolist())) == 1
    gap = wanted - (side == TEST).sum()
    assert gap >= 0
    sizes = np.unique(group[side == TRAIN], return_counts=True)[1]
    assert gap == 0 or (sizes > gap).all()


def test_sides_do_not_hang_on_the_order_of_pictures() -> None:
    """The same groups in another order get the same splits."""
    group = np.repeat(np.arange(1, 101), 2)
    order = np.random.default_rng(0).permutation(len(group))
    side = assign_splits(group, test=40, validation=20)

    assert np.array_equal(side[order], assign_splits(group[order], test=40, validation=20))


def test_golden_sides() -> None:
    """The rule is part of the format: ids 1 to 12 always get the same splits."""
    side = assign_splits(np.arange(1, 13), test=3, validation=2)

    sides = [(np.flatnonzero(side == number) + 1).tolist() for number in (TEST, VALIDATION)]
    assert sides == [[8, 11, 12], [1, 3]]
    assert shuffled(np.arange(1, 13)).tolist() == [2, 6, 10, 11, 8, 1, 3, 5, 4, 0, 7, 9]


@given(st.integers(0, 1000), st.integers(1, 100))
def test_shards_are_few_and_even(samples: int, at_most: int) -> None:
    """The smallest number of shards, with sizes that differ by at most one."""
    bounds = shard_bounds(samples, at_most)
    sizes = np.diff(bounds).tolist()

    assert sum(sizes) == samples
    assert len(sizes) == -(-samples // at_most)
    assert not sizes or max(sizes) <= at_most
    assert not sizes or max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("test", "validation"), [(10, 0), (5, 5), (0, 11)])
def test_more_than_there_is(test: int, validation: int) -> None:
    """A test split as large as the data is refused, with the number of pictures."""
    with pytest.raises(UsageError, match=r"leave nothing to train on: the store has 10 usable pictures"):
        assign_splits(np.arange(10), test=test, validation=validation)


def test_few_large_groups() -> None:
    """A requested split that would stay empty, because all pictures are near-duplicates, is refused."""
    with pytest.raises(
        UsageError, match=r"--test 5 cannot be met: .* the smallest remaining group has 10; request"
    ):
        assign_splits(np.repeat([1, 2], 10), test=5, validation=0)
