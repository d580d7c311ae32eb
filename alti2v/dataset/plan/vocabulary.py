"""Tags as numbers, and the choice of the vocabulary; pure functions of arrays.

50 million tag occurrences are 50 million 4-byte codes; as Python strings they would take 4 GB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from alti2v.arrays import BoolArray, Int8Array, Int32Array, Int64Array
from alti2v.errors import DataError
from alti2v.records import Category, Tag, composed

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_ONCE = 20_000
CATEGORIES = tuple(Category)
RATING_TAGS = tuple(f"rating:{rating}" for rating in ("general", "sensitive", "questionable", "explicit"))


@dataclass(frozen=True, slots=True)
class TagLists:
    """Tags of many posts: post i has `codes[offsets[i]:offsets[i + 1]]`, ascending and distinct.

    Attributes:
        offsets: (n + 1,) int64, from 0.
        codes: (offsets[n],) int32, positions in a table of tags.
    """

    offsets: Int64Array
    codes: Int32Array

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64Array:
        """Number of tags of each post, (n,) int64."""
        return np.diff(self.offsets)

    def as_arrow(self) -> pa.ListArray:
        """Return the lists as an Arrow array."""
        import pyarrow as pa  # `alti2v tag` needs this module for relations, and no Arrow

        return pa.ListArray.from_arrays(pa.array(self.offsets.astype(np.int32)), pa.array(self.codes))

    def named(self, names: pa.StringArray) -> pa.ListArray:
        """Return the lists as an Arrow array of names."""
        import pyarrow as pa

        return pa.ListArray.from_arrays(
            pa.array(self.offsets.astype(np.int32)), names.take(pa.array(self.codes))
        )

    def take(self, rows: Int64Array) -> TagLists:
        """Return the tags of some posts, in the given order."""
        return joined(self._in_blocks(rows), room=int(self.lengths[rows].sum()))

    def _in_blocks(self, rows: Int64Array) -> Iterator[TagLists]:
        """Yield the tags of some posts in blocks: a copy of a whole board's tags takes 200 MB."""
        for some in blocks(len(rows)):
            part = rows[some]
            lengths = self.lengths[part]
            ends = np.cumsum(lengths, dtype=np.int64)
            shift = np.repeat(self.offsets[part] - (ends - lengths), lengths)
            yield TagLists(np.concatenate(([0], ends)), self.codes[shift + np.arange(len(shift))])

    def keep(self, wanted: BoolArray) -> TagLists:
        """Return the same posts with only the tags whose code is True in `wanted`."""
        lengths, codes = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
        for rows in blocks(len(self)):
            first, last = self.offsets[rows.start], self.offsets[rows.stop]
            mask = wanted[self.codes[first:last]]
            kept = np.concatenate(([0], np.cumsum(mask)))
            lengths.append(np.diff(kept[self.offsets[rows.start : rows.stop + 1] - first]))
            codes.append(self.codes[first:last][mask])
        return TagLists(
            np.concatenate(([0], np.cumsum(np.concatenate(lengths), dtype=np.int64))), np.concatenate(codes)
        )

    def renamed(self, new_code: Int32Array) -> TagLists:
        """Replace every code by `new_code[code]`, and sort each list again."""
        codes = np.empty_like(self.codes)
        for rows in blocks(len(self)):
            first, last = self.offsets[rows.start], self.offsets[rows.stop]
            owners = np.repeat(
                np.arange(rows.stop - rows.start), np.diff(self.offsets[rows.start : rows.stop + 1])
            )
            codes[first:last] = _sorted_pairs(owners, new_code[self.codes[first:last]])
        return TagLists(self.offsets, codes)


def tag_lists(owners: Int64Array, codes: Int32Array, posts: int) -> TagLists:
    """Build lists from (post, tag) pairs, in any order and with repetitions.

    Args:
        owners: (m,) positions of posts, in [0, posts).
        codes: (m,) tag of each pair.
        posts: Number of lists.
    """
    pairs = _sorted_pairs(owners, codes)
    is_first = np.ones(len(pairs), np.bool_)
    is_first[1:] = pairs[1:] != pairs[:-1]
    pairs = pairs[is_first]
    counts = np.bincount(pairs >> _CODE_BITS, minlength=posts)
    return TagLists(np.concatenate(([0], np.cumsum(counts, dtype=np.int64))), pairs.astype(np.int32))


_CODE_BITS = 32


def _sorted_pairs(owners: Int64Array, codes: Int32Array) -> Int64Array:
    """Pack each pair into one number with the code in the low half, and sort by owner and code.

    Sorting numbers is several times faster than sorting pairs. Owners mostly ascend, so the stable sort
    takes a third of the time of the other.
    """
    pairs = (owners << _CODE_BITS) | codes
    pairs.sort(kind="stable")
    return pairs


def joined(parts: Iterable[TagLists], *, room: int) -> TagLists:
    """Concatenate the posts of all parts.

    Args:
        parts: Tag lists; an iterator keeps them from being in memory together.
        room: Upper bound of the number of codes in all parts; unused memory is never allocated by the system.
    """
    codes, used = np.empty(room, np.int32), 0
    offsets = [np.zeros(1, np.int64)]
    for part in parts:
        codes[used : used + len(part.codes)] = part.codes
        offsets.append(part.offsets[1:] + used)
        used += len(part.codes)
    return TagLists(np.concatenate(offsets), codes[:used])


@dataclass(frozen=True, slots=True)
class StoreTagTable:
    """All tags of a store.

    Attributes:
        names: Names, composed (`records.composed`), in ascending order of code points.
        categories: (len(names),) int8, positions in `CATEGORIES`.
        aliases: Other names of tags, mapped to the name in `names`.
    """

    names: Sequence[str]
    categories: Int8Array
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyRule:
    """Rule for the choice of the tags that a model learns.

    Attributes:
        size: Maximum number of tags; without effect if there are quotas. Ratings and kept tags are extra.
        min_count: Minimum number of training pictures of a tag.
        quotas: Maximum number of tags of each category; other categories are left out.
        left_out: Categories to leave out if there are no quotas.
        ratings: True to include the tags `rating:...`.
        keep: Tags to include however rare they are, by name or alias.
        drop: Tags to exclude, by name or alias.
    """

    size: int
    min_count: int = 1
    quotas: Mapping[Category, int] = field(default_factory=dict)
    left_out: Set[Category] = frozenset()
    ratings: bool = False
    keep: Set[str] = frozenset()
    drop: Set[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tags that a model learns.

    Attributes:
        tags: Most frequent first, ties in the order of names; position i is output i of the model. A dataset
            that has grown keeps the order of its first version, with current counts.
        label_of: (tags of the store,) int32: position in `tags`, -1 for a tag that is not in it.
        rare: Kept tags that frequency alone would not have chosen, with their counts; a tag with 0 is not in
            the vocabulary, because there is nothing to learn it from.
        left_out: Number of tags of the store that are not in `tags`, by reason: an excluded category,
            `DROPPED`, `TOO_RARE`, `NOT_IN_TRAINING`.
        unmet: Dropped tags that no post has, perhaps misspelt.
    """

    tags: tuple[Tag, ...]
    label_of: Int32Array
    rare: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    unmet: tuple[str, ...] = ()


DROPPED, TOO_RARE, NOT_IN_TRAINING = "dropped", "too rare", "in no training picture"


def choose_vocabulary(counts: Int64Array, table: StoreTagTable, rule: VocabularyRule) -> Vocabulary:
    """Choose the most frequent tags that the rule allows.

    Args:
        counts: (tags,) number of training posts with each tag; counting the test split would leak it.
        table: All tags of the store.
        rule: Rule of the choice.

    Raises:
        DataError: No tag is left.
    """
    code_of = {name: code for code, name in enumerate(table.names)}
    kept, dropped = (_codes(tags, table, code_of) for tags in (rule.keep, rule.drop))
    ratings = _codes(RATING_TAGS, table, code_of)
    # Ratings are included by option, so they never displace a tag that is chosen by its count.
    frequent = _frequent(counts, table, rule, apart=dropped | ratings)
    wanted = kept | (ratings - dropped if rule.ratings else set())
    codes = np.union1d(frequent, _array(wanted))
    # Codes are in the order of names, so a stable sort by falling count breaks ties by name.
    ranked = codes[np.argsort(-counts[codes], kind="stable")]
    chosen = ranked[counts[ranked] > 0]
    if not len(chosen):
        raise DataError(
            "no tag of the selected categories has enough training pictures, so the vocabulary is empty: crawl "
            "with tag categories, keep more categories, or use a smaller --min-count"
        )
    label_of = np.full(len(table.names), -1, np.int32)
    label_of[chosen] = np.arange(len(chosen), dtype=np.int32)
    tags = tuple(
        Tag(name=table.names[code], category=CATEGORIES[table.categories[code]], count=int(counts[code]))
        for code in chosen
    )
    is_frequent = set(frequent.tolist())
    rare = {}
    for tag in sorted(rule.keep):
        code = code_of.get(table.aliases.get(tag, tag))
        if code not in is_frequent:
            rare[tag] = 0 if code is None else int(counts[code])
    return Vocabulary(
        tags,
        label_of,
        rare,
        _left_out(counts, table, rule, np.flatnonzero(label_of < 0), dropped),
        tuple(sorted(tag for tag in rule.drop if table.aliases.get(tag, tag) not in code_of)),
    )


def _codes(tags: Iterable[str], table: StoreTagTable, code_of: Mapping[str, int]) -> set[int]:
    """Return the codes of tags given by name or alias; a tag that no post has is left out."""
    names = (table.aliases.get(tag, tag) for tag in tags)
    return {code_of[name] for name in names if name in code_of}


def _array(codes: Set[int]) -> Int64Array:
    return np.array(sorted(codes), np.int64)


def _frequent(counts: Int64Array, table: StoreTagTable, rule: VocabularyRule, *, apart: Set[int]) -> Int64Array:
    """Return the codes of the frequent tags, without those in `apart`."""
    counts = counts.copy()
    counts[_array(apart)] = 0
    counts[counts < rule.min_count] = 0
    if not rule.quotas:
        for category in rule.left_out:
            counts[table.categories == CATEGORIES.index(category)] = 0
        ranked = np.argsort(-counts, kind="stable")[: rule.size]
    else:
        of_category = (
            (np.flatnonzero(table.categories == CATEGORIES.index(category)), quota)
            for category, quota in rule.quotas.items()
        )
        ranked = np.concatenate(
            [codes[np.argsort(-counts[codes], kind="stable")[:quota]] for codes, quota in of_category]
        )
    return ranked[counts[ranked] > 0]


def _left_out(
    counts: Int64Array, table: StoreTagTable, rule: VocabularyRule, codes: Int64Array, dropped: Set[int]
) -> Mapping[str, int]:
    """Count the tags that are not in the vocabulary by reason, largest first."""
    unwanted = set(CATEGORIES) - set(rule.quotas) if rule.quotas else rule.left_out
    reasons: Counter[str] = Counter()
    for category, of_category in enumerate(CATEGORIES):
        here = codes[(table.categories[codes] == category) & ~np.isin(codes, _array(dropped))]
        if of_category in unwanted:
            reasons[of_category.value] += len(here)
        else:
            met = int((counts[here] > 0).sum())
            reasons[TOO_RARE] += met
            reasons[NOT_IN_TRAINING] += len(here) - met
    reasons[DROPPED] += int(np.isin(codes, _array(dropped)).sum())
    return {reason: number for reason, number in reasons.most_common() if number}


def grown_vocabulary(tags: tuple[Tag, ...], counts: Int64Array, table: StoreTagTable) -> Vocabulary:
    """Return the same tags in the same order, with the new training posts counted.

    The order never changes, because models refer to tags by index.
    """
    code_of = {name: code for code, name in enumerate(table.names)}
    label_of = np.full(len(table.names), -1, np.int32)
    grown = []
    for label, tag in enumerate(tags):
        code = code_of.get(composed(tag.name))
        if code is not None:
            label_of[code] = label
        more = 0 if code is None else int(counts[code])
        grown.append(Tag(name=tag.name, category=tag.category, count=tag.count + more))
    return Vocabulary(tuple(grown), label_of)


def labels_of(tags: TagLists, vocabulary: Vocabulary) -> TagLists:
    """Return the positions in the vocabulary, ascending, of the tags of posts."""
    return tags.keep(vocabulary.label_of >= 0).renamed(vocabulary.label_of)


def blocks(rows: int) -> Iterator[slice]:
    """Cut rows into runs of bounded length."""
    for start in range(0, rows, _ROWS_AT_ONCE):
        yield slice(start, min(start + _ROWS_AT_ONCE, rows))
