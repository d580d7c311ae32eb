"""Ids with holes."""

from hypothesis import given
from hypothesis import strategies as st

from alti2v.demo.board.ids import count_below, id_of, index_of

SEEDS = st.integers(0, 5)


@given(SEEDS, st.integers(0, 10**9))
def test_index_and_id_lead_to_each_other(seed: int, index: int) -> None:
    """Every index has an id that leads back to it, with `index` ids below it."""
    post_id = id_of(seed, index)

    assert index_of(seed, post_id) == index
    assert count_below(seed, post_id) == index
    assert count_below(seed, post_id + 1) == index + 1


@given(SEEDS, st.integers(0, 10**9))
def test_ids_rise_with_the_index(seed: int, index: int) -> None:
    """A newer post has a higher id."""
    assert id_of(seed, index) < id_of(seed, index + 1)


def test_three_ids_in_a_hundred_are_holes() -> None:
    """Three ids in a hundred are holes, as on the real board."""
    ids = [id_of(7, index) for index in range(970)]

    assert ids[-1] <= 1000
    assert sum(index_of(7, post_id) is None for post_id in range(1, 1001)) == 30
    assert index_of(7, 0) is None
    assert index_of(7, -5) is None


def test_another_seed_has_other_holes() -> None:
    """The holes depend on the seed."""
    assert [id_of(1, index) for index in range(200)] != [id_of(2, index) for index in range(200)]
