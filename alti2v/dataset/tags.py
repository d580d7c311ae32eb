"""Tags as numbers, and the vocabulary: pure functions of arrays, no I/O.

50 million tag occurrences are 50 million 4-byte codes; as Python strings they would be 4 GB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alti2v.errors import DataError
from alti2v.records import Category, Tag

_ROWS_AT_ONCE = 100_000
CATEGORIES = tuple(Category)


@dataclass(frozen=True, slots=True)
class TagLists:
    """The tags of many posts: post i has `codes[offsets[i]:offsets[i + 1]]`, ascending and distinct.

    Attributes:
        offsets: (n + 1,) int64, from 0.
        codes: (offsets[n],) int32, positions in a table of tags.
    """

    offsets: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tags of each post, (n,) int64."""
        return np.diff(self.offsets)

    def take(self, rows: npt.NDArray[np.int64]) -> TagLists:
        """The tags of some posts, in the order asked for."""
        offsets = np.concatenate(([0], np.cumsum(self.lengths[rows], dtype=np.int64)))
        codes = np.empty(offsets[-1], np.int32)
        for start in range(0, len(rows), _ROWS_AT_ONCE):  # bounds the positions that are held as int64
            part = rows[start : start + _ROWS_AT_ONCE]
            lengths = self.lengths[part]
            first = offsets[start]
            ends = np.cumsum(lengths)
            shift = np.repeat(self.offsets[part] - (ends - lengths), lengths)
            codes[first : first + len(shift)] = self.codes[shift + np.arange(len(shift))]
        return TagLists(offsets, codes)

    def keep(self, wanted: npt.NDArray[np.bool_]) -> TagLists:
        """The same posts with only those tags whose code is True in `wanted`."""
        mask = wanted[self.codes]
        kept = np.concatenate(([0], np.cumsum(mask, dtype=np.int64)))
        return TagLists(kept[self.offsets], self.codes[mask])

    def renamed(self, new_code: npt.NDArray[np.int32]) -> TagLists:
        """The same posts with every code replaced by `new_code[code]`; each list is sorted again."""
        codes = np.empty_like(self.codes)
        for rows in _blocks(len(self)):
            first, last = self.offsets[rows.start], self.offsets[rows.stop]
            owner = np.repeat(np.arange(rows.start, rows.stop), self.lengths[rows])
            renamed = new_code[self.codes[first:last]]
            codes[first:last] = renamed[np.lexsort((renamed, owner))]
        return TagLists(self.offsets, codes)


def tag_lists(owners: npt.NDArray[np.int64], codes: npt.NDArray[np.int32], posts: int) -> TagLists:
    """Gather (post, tag) pairs, in any order and with repetitions, into lists.

    Args:
        owners: (m,) positions of posts, in [0, posts).
        codes: (m,) the tag of each pair.
        posts: how many lists there will be.
    """
    order = np.lexsort((codes, owners))
    owners, codes = owners[order], codes[order]
    is_first = np.ones(len(codes), np.bool_)
    is_first[1:] = (owners[1:] != owners[:-1]) | (codes[1:] != codes[:-1])
    counts = np.bincount(owners[is_first], minlength=posts)
    return TagLists(np.concatenate(([0], np.cumsum(counts, dtype=np.int64))), codes[is_first])


def joined(parts: Sequence[TagLists]) -> TagLists:
    """The posts of all parts, one after the other."""
    starts = np.cumsum([0, *(len(part.codes) for part in parts)], dtype=np.int64)
    offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts, strict=False)]
    codes = [part.codes for part in parts]
    return TagLists(np.concatenate([*offsets, starts[-1:]]), np.concatenate([*codes, np.empty(0, np.int32)]))


@dataclass(frozen=True, slots=True)
class TagTable:
    """Every tag of a store.

    Attributes:
        names: in ascending order of code points.
        categories: (len(names),) int8, positions in `CATEGORIES`.
    """

    names: Sequence[str]
    categories: npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tags that a model learns.

    Attributes:
        tags: most frequent first, ties in the order of names; position i is output i of the model.
        label_of: (tags of the store,) int32: the position in `tags`, -1 for a tag that is not in it.
    """

    tags: tuple[Tag, ...]
    label_of: npt.NDArray[np.int32]


def choose_vocabulary(training: TagLists, table: TagTable, *, size: int, left_out: Set[Category]) -> Vocabulary:
    """Choose the `size` most frequent tags; fewer if there are not so many.

    Only training posts count: a vocabulary that saw the test split would tell of it.

    Raises:
        DataError: no tag is left.
    """
    counts = np.bincount(training.codes, minlength=len(table.names))
    for category in left_out:
        counts[table.categories == CATEGORIES.index(category)] = 0
    # Codes are in the order of names, so a stable sort by falling count settles ties by name.
    ranked = np.argsort(-counts, kind="stable")[:size]
    chosen = ranked[counts[ranked] > 0]
    if not len(chosen):
        raise DataError(
            "no training picture carries a tag of the wanted categories, so the vocabulary is empty: "
            "crawl with tag categories, or keep more categories"
        )
    label_of = np.full(len(table.names), -1, np.int32)
    label_of[chosen] = np.arange(len(chosen), dtype=np.int32)
    tags = tuple(
        Tag(name=table.names[code], category=CATEGORIES[table.categories[code]], count=int(counts[code]))
        for code in chosen
    )
    return Vocabulary(tags, label_of)


def labels_of(tags: TagLists, vocabulary: Vocabulary) -> TagLists:
    """Positions in the vocabulary, ascending, of each post's tags."""
    return tags.keep(vocabulary.label_of >= 0).renamed(vocabulary.label_of)


def _blocks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, _ROWS_AT_ONCE):
        yield slice(start, min(start + _ROWS_AT_ONCE, rows))
