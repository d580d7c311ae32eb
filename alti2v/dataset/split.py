"""Which pictures are for training, validation and test: a pure function of group names and sizes asked for.

The side of a group hangs on the hash of its smallest id and on nothing else that the board or the crawl
could change, so the same store gives the same split everywhere.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from alti2v.errors import UsageError
from alti2v.storage.layout import SPLITS

SPLIT_RULE = (
    "Groups (same picture, parents and children of a post, pictures that look alike) in the order of "
    "BLAKE2b-64('alti2v split' + smallest id of the group, 8 bytes big-endian): the first that fit make the "
    "test split, the next that fit validation, the rest training. Groups are never divided."
)
_SPLIT_SALT = b"alti2v split"
_ORDER_SALT = b"alti2v order"


def assign_splits(groups: npt.NDArray[np.int64], *, test: int, validation: int) -> npt.NDArray[np.int8]:
    """Decide the side of each picture.

    A split has exactly the size asked for, unless the groups that are left are all larger than the gap.

    Args:
        groups: (n,) the name of each picture's group.
        test: pictures asked for.
        validation: pictures asked for.

    Returns:
        (n,) positions in `layout.SPLITS`.

    Raises:
        UsageError: nothing would be left to train on, or a split would stay empty.
    """
    check_sizes(len(groups), test=test, validation=validation)
    names, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(_digests(names, _SPLIT_SALT), kind="stable")
    side = np.full(len(names), SPLITS.index("train"), np.int8)
    for split, wanted in (("test", test), ("validation", validation)):
        free = order[side[order] == SPLITS.index("train")]
        if wanted and sizes[free].min() > wanted:
            raise UsageError(
                f"--{split} {wanted} cannot be met: alike pictures stay together, and the smallest of the "
                f"{len(free)} groups that are left has {sizes[free].min()} pictures; ask for more"
            )
        side[free[_first_that_fit(sizes[free], wanted)]] = SPLITS.index(split)
    return side[number]


def check_sizes(pictures: int, *, test: int, validation: int) -> None:
    """See that something is left to train on.

    Raises:
        UsageError: nothing is.
    """
    if test + validation >= pictures:
        raise UsageError(
            f"--test {test} and --validation {validation} leave nothing to train on: "
            f"the store has {pictures} usable pictures; ask for fewer"
        )


def shuffled(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """An order of the pictures that looks random and is the same everywhere: positions, (n,) int64."""
    return np.argsort(_digests(ids, _ORDER_SALT), kind="stable")


def shard_bounds(samples: int, shard_samples: int) -> list[int]:
    """Cut `samples` into the fewest shards of at most `shard_samples`, as equal as possible.

    Returns:
        The first sample of each shard, and `samples` at the end.
    """
    shards = -(-samples // shard_samples)
    return [samples * number // shards for number in range(shards + 1)] if shards else []


def _first_that_fit(sizes: npt.NDArray[np.int64], wanted: int) -> list[int]:
    chosen = []
    for position, size in enumerate(sizes.tolist()):
        if wanted == 0:
            break
        if size <= wanted:
            chosen.append(position)
            wanted -= size
    return chosen


def _digests(numbers: npt.NDArray[np.int64], salt: bytes) -> npt.NDArray[np.uint64]:
    digests = b"".join(
        hashlib.blake2b(salt + number.to_bytes(8, "big"), digest_size=8).digest() for number in numbers.tolist()
    )
    return np.frombuffer(digests, ">u8").astype(np.uint64)
