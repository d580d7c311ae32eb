"""Assignment of pictures to training, validation and test: a pure function of groups and sizes.

The split of a group depends only on the hash of its smallest id, which neither the board nor the crawl can
change, so the same store gives the same split everywhere.
"""

from __future__ import annotations

import hashlib

import numpy as np

from alti2v.arrays import BoolArray, Int8Array, Int64Array, Uint64Array
from alti2v.errors import UsageError
from alti2v.numerals import counted
from alti2v.storage.layout import SPLITS

SPLIT_RULE = (
    "Groups (same picture, parents and children of a post, pictures that look alike) in the order of "
    "BLAKE2b-64('alti2v split' + smallest id of the group, 8 bytes big-endian): the first that fit make the "
    "test split, the next that fit validation, the rest training. Groups are never divided."
)
_SPLIT_SALT = b"alti2v split"
_ORDER_SALT = b"alti2v order"
_AT_ONCE = 1 << 16  # numbers as Python objects
_FEWEST = 40  # pictures that tell much about a tagger; of few pictures, a split should have a fifth


ID_MODULO_RULE = (
    "By the last three digits of the id, as the taggers of this field do: 000 to 899 training, 900 to 949 "
    "validation, 950 to 999 test. Pictures that look alike may stand on different sides."
)
NOWHERE = -1
_TRAIN, _VALIDATION, _TEST = (SPLITS.index(split) for split in ("train", "validation", "test"))


def assign_splits(groups: Int64Array, *, test: int, validation: int) -> Int8Array:
    """Assign each picture to a split.

    A split has exactly the requested size unless the remaining groups are all larger than the gap.

    Args:
        groups: (n,) group of each picture.
        test: Requested number of test pictures.
        validation: Requested number of validation pictures.

    Returns:
        (n,) positions in `layout.SPLITS`.

    Raises:
        UsageError: Nothing would be left to train on, or a split would stay empty.
    """
    check_sizes(len(groups), test=test, validation=validation)
    side = extend_splits(groups, np.full(len(groups), NOWHERE, np.int8), test=test, validation=validation)
    for split, wanted in (("test", test), ("validation", validation)):
        if wanted and not (side == SPLITS.index(split)).any():
            sizes = np.unique(groups[side == _TRAIN], return_counts=True)[1]
            raise UsageError(
                f"--{split} {wanted} cannot be met: near-duplicates stay together, and the smallest remaining "
                f"group has {sizes.min()}; request that number, or 0"
            )
    return side


def extend_splits(groups: Int64Array, side: Int8Array, *, test: int, validation: int) -> Int8Array:
    """Assign new pictures to splits; existing pictures keep theirs.

    Groups without existing pictures fill test and validation up to the requested sizes, and the rest is for
    training. A new picture joins a group in training. If its group has a picture in test or validation, it
    stays out: in another split it would leak, and in the same one it would change the requested size.

    Args:
        groups: (n,) group of each picture.
        side: (n,) positions in `layout.SPLITS`, `NOWHERE` for new pictures.
        test: Requested number of test pictures.
        validation: Requested number of validation pictures.

    Returns:
        (n,) positions in `layout.SPLITS`, `NOWHERE` for new pictures that stay out.
    """
    names, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    has: BoolArray = np.zeros((len(SPLITS), len(names)), np.bool_)
    for split in range(len(SPLITS)):
        has[split, number[side == split]] = True
    of_group = np.full(len(names), NOWHERE, np.int8)
    of_group[~(has[_VALIDATION] | has[_TEST])] = _TRAIN
    order = np.argsort(_digests(names, _SPLIT_SALT), kind="stable")
    is_new: BoolArray = ~np.logical_or.reduce(has)
    for split, wanted in ((_TEST, test), (_VALIDATION, validation)):
        free = order[is_new[order]]
        taken = free[first_that_fit(sizes[free], max(0, wanted - int((side == split).sum())))]
        of_group[taken] = split
        is_new[taken] = False
    return np.where(side == NOWHERE, of_group[number], side)


def id_modulo_splits(ids: Int64Array) -> Int8Array:
    """Assign pictures by `ID_MODULO_RULE`: (n,) positions in `layout.SPLITS`."""
    last = ids % 1000
    return np.where(last < 900, _TRAIN, np.where(last < 950, _VALIDATION, _TEST)).astype(np.int8)


def check_sizes(pictures: int, *, test: int, validation: int) -> None:
    """Check that something is left to train on.

    Raises:
        UsageError: Nothing is.
    """
    if test + validation >= pictures:
        usable = counted(pictures, "usable picture")
        least = min(_FEWEST, pictures // 5)
        raise UsageError(
            f"--test {test} and --validation {validation} leave nothing to train on: "
            f"the store has {usable}; request fewer, "
            f"such as --test {max(pictures // 10, least)} --validation {max(pictures // 20, least)}"
        )


def shuffled(ids: Int64Array) -> Int64Array:
    """Return positions of the pictures in a pseudo-random order that is the same everywhere, (n,) int64."""
    return np.argsort(_digests(ids, _ORDER_SALT), kind="stable")


def shard_bounds(samples: int, shard_samples: int) -> list[int]:
    """Cut `samples` into the fewest shards of at most `shard_samples`, as equal as possible.

    Returns:
        The first sample of each shard, followed by `samples`.
    """
    shards = -(-samples // shard_samples)
    return [samples * number // shards for number in range(shards + 1)] if shards else []


def first_that_fit(sizes: Int64Array, wanted: int) -> list[int]:
    """Return the positions of sizes that add up to at most `wanted`, taking each that fits, in order."""
    chosen: list[int] = []
    for first in range(0, len(sizes), _AT_ONCE):
        for position, size in enumerate(sizes[first : first + _AT_ONCE].tolist(), first):
            if wanted == 0:
                return chosen
            if size <= wanted:
                chosen.append(position)
                wanted -= size
    return chosen


def _digests(numbers: Int64Array, salt: bytes) -> Uint64Array:
    digests = np.empty(len(numbers), np.uint64)
    for first in range(0, len(numbers), _AT_ONCE):
        some = numbers[first : first + _AT_ONCE].tolist()
        content = b"".join(
            hashlib.blake2b(salt + number.to_bytes(8, "big"), digest_size=8).digest() for number in some
        )
        digests[first : first + _AT_ONCE] = np.frombuffer(content, ">u8")
    return digests
