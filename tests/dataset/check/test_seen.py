"""Pictures that a check has met: what repeats is found, with the last shard before."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alti2v.dataset.check.seen import SeenPictures


@given(st.lists(st.lists(st.integers(1, 30), max_size=12), max_size=8))
def test_repeated_pictures_are_those_that_a_dictionary_finds(shards: list[list[int]]) -> None:
    """For any shards, repeated pictures are found with their last shard; at the end all have theirs."""
    seen, shard_of = SeenPictures(), dict[int, str]()
    for number, ids in enumerate(shards):
        expected = {}
        for at, post_id in enumerate(ids):
            if post_id in shard_of:
                expected[at] = shard_of[post_id]
            shard_of[post_id] = f"shard {number}"

        assert seen.add(np.array(ids, np.int64), f"shard {number}") == expected
    whole = seen.whole()

    assert {
        i: whole.names[c] for i, c in zip(whole.ids.tolist(), whole.shard.tolist(), strict=True)
    } == shard_of
    assert whole.ids.tolist() == sorted(shard_of)
