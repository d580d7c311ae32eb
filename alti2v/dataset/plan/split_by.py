"""Splits by artist and by date: pure functions of groups, artists, moments and sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alti2v.arrays import Int8Array, Int64Array
from alti2v.dataset.plan.components import related_groups
from alti2v.dataset.plan.split import NOWHERE, check_sizes, first_that_fit
from alti2v.errors import UsageError
from alti2v.storage.layout import SPLITS

ARTIST_RULE = (
    "Pictures that share an artist, and groups (same picture, parents and children of a post, pictures that "
    "look alike), are joined. What is joined is split in the order of BLAKE2b-64('alti2v split' + smallest id, "
    "8 bytes big-endian): the first that fit make the test split, the next that fit validation, the rest "
    "training. No artist is on two sides."
)
DATE_RULE = (
    "Groups (same picture, parents and children of a post, pictures that look alike) in the order of their "
    "oldest picture, the newest first: the first that fit make the test split, the next that fit validation. "
    "Pictures that are newer than a picture of test or validation, but not in that split, stay out: test is "
    "newer than validation, and validation newer than training. When the dataset grows, pictures older than "
    "all of test and validation join training, and the others stay out."
)
UNKNOWN_MOMENT = np.iinfo(np.int64).max  # later than every other
# Numbers of artists, as nodes beside the ids of pictures, which are below 10^12.
_FIRST_ARTIST = 1 << 62
_TRAIN, _VALIDATION, _TEST = (SPLITS.index(split) for split in ("train", "validation", "test"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFacts:
    """Facts about the pictures of a plan, existing ones first.

    Attributes:
        owners, artists: (m,) position of a picture, and the number of one of its artists.
        moments: (n,) time of creation of each picture, or another number that grows with it;
            `UNKNOWN_MOMENT` if it is not known.
    """

    owners: Int64Array
    artists: Int64Array
    moments: Int64Array


def joined_by_artist(group: Int64Array, facts: SplitFacts) -> Int64Array:
    """Join groups that share an artist, transitively; (n,) smallest id of what each picture is joined to."""
    names = np.unique(group)
    found = related_groups(names, (group[facts.owners], _FIRST_ARTIST + facts.artists))
    return found[np.searchsorted(names, group)]


def splits_by_date(
    ids: Int64Array, group: Int64Array, facts: SplitFacts, *, test: int, validation: int
) -> Int8Array:
    """Assign pictures to splits by `DATE_RULE`; pictures of the same moment are in the order of their ids.

    Returns:
        (n,) positions in `layout.SPLITS`; `NOWHERE` for pictures that stay out.

    Raises:
        UsageError: Nothing would be left to train on, or a split would stay empty.
    """
    check_sizes(len(ids), test=test, validation=validation)
    rank = _ranks(ids, facts)
    names, number, sizes = np.unique(group, return_inverse=True, return_counts=True)
    oldest, newest = np.full(len(names), len(ids)), np.full(len(names), -1)
    np.minimum.at(oldest, number, rank)
    np.maximum.at(newest, number, rank)
    of_group = np.full(len(names), NOWHERE, np.int8)
    border = len(ids)  # what is not in a split has to be older than this
    for split, name, wanted in ((_TEST, "test", test), (_VALIDATION, "validation", validation)):
        order = np.argsort(-oldest, kind="stable")
        free = order[(of_group[order] == NOWHERE) & (newest[order] < border)]
        taken = free[first_that_fit(sizes[free], wanted)]
        if wanted and not len(taken):
            raise UsageError(
                f"--{name} {wanted} cannot be met: near-duplicates stay together, and none of the groups is "
                "that small; request more, or 0"
            )
        of_group[taken] = split
        border = min([border, *oldest[taken].tolist()])
    side = of_group[number]
    return np.where((side == NOWHERE) & (rank < border), np.int8(_TRAIN), side)


def extend_by_date(ids: Int64Array, group: Int64Array, side: Int8Array, facts: SplitFacts) -> Int8Array:
    """Assign new pictures to training by `DATE_RULE`; existing pictures keep their split.

    A new picture stays out if it is newer than a picture of test or validation, if its moment is not known, or
    if its group has a picture in one of the two.

    Args:
        ids: (n,) numbers of the pictures.
        group: (n,) group of each picture.
        side: (n,) positions in `layout.SPLITS`, `NOWHERE` for new pictures.
        facts: Moments of the pictures.

    Returns:
        (n,) positions in `layout.SPLITS`, `NOWHERE` for new pictures that stay out.
    """
    is_held_out = (side == _TEST) | (side == _VALIDATION)
    rank = _ranks(ids, facts)
    border = rank[is_held_out].min(initial=len(ids))
    is_older = (rank < border) & (facts.moments != UNKNOWN_MOMENT)
    is_free = is_older & ~np.isin(group, group[is_held_out])
    return np.where((side == NOWHERE) & is_free, np.int8(_TRAIN), side)


def _ranks(ids: Int64Array, facts: SplitFacts) -> Int64Array:
    """Return the position of each picture in the order of moments and ids, (n,)."""
    rank = np.empty(len(ids), np.int64)
    rank[np.lexsort((ids, facts.moments))] = np.arange(len(ids))
    return rank
