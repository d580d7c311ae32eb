"""Tags as numbers, and the vocabulary: pure functions of arrays, no I/O.

50 million tag occurrences are 50 million 4-byte codes; as Python strings they would be 4 GB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from alti2v.errors import DataError
from alti2v.records import Category, Tag

_ROWS_AT_ONCE = 20_000
CATEGORIES = tuple(Category)
RATING_TAGS = tuple(f"rating:{rating}" for rating in ("general", "sensitive", "questionable", "explicit"))


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
        return joined(self.in_blocks(rows), room=int(self.lengths[rows].sum()))

    def in_blocks(self, rows: npt.NDArray[np.int64]) -> Iterator[TagLists]:
        """The same, a bounded number of posts at a time: a copy of a whole board's tags is 200 MB."""
        for some in blocks(len(rows)):
            part = rows[some]
            lengths = self.lengths[part]
            ends = np.cumsum(lengths, dtype=np.int64)
            shift = np.repeat(self.offsets[part] - (ends - lengths), lengths)
            yield TagLists(np.concatenate(([0], ends)), self.codes[shift + np.arange(len(shift))])

    def keep(self, wanted: npt.NDArray[np.bool_]) -> TagLists:
        """The same posts with only those tags whose code is True in `wanted`."""
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

    def renamed(self, new_code: npt.NDArray[np.int32]) -> TagLists:
        """The same posts with every code replaced by `new_code[code]`; each list is sorted again."""
        codes = np.empty_like(self.codes)
        for rows in blocks(len(self)):
            first, last = self.offsets[rows.start], self.offsets[rows.stop]
            owners = np.repeat(
                np.arange(rows.stop - rows.start), np.diff(self.offsets[rows.start : rows.stop + 1])
            )
            codes[first:last] = _sorted_pairs(owners, new_code[self.codes[first:last]])
        return TagLists(self.offsets, codes)

    def counts(self, rows: npt.NDArray[np.int64], *, tags: int) -> npt.NDArray[np.int64]:
        """How many of some posts carry each of `tags` tags, (tags,) int64."""
        counts = np.zeros(tags, np.int64)
        for part in self.in_blocks(rows):
            counts += np.bincount(part.codes, minlength=tags)
        return counts


def tag_lists(owners: npt.NDArray[np.int64], codes: npt.NDArray[np.int32], posts: int) -> TagLists:
    """Gather (post, tag) pairs, in any order and with repetitions, into lists.

    Args:
        owners: (m,) positions of posts, in [0, posts).
        codes: (m,) the tag of each pair.
        posts: how many lists there will be.
    """
    pairs = _sorted_pairs(owners, codes)
    is_first = np.ones(len(pairs), np.bool_)
    is_first[1:] = pairs[1:] != pairs[:-1]
    pairs = pairs[is_first]
    counts = np.bincount(pairs >> _CODE_BITS, minlength=posts)
    return TagLists(np.concatenate(([0], np.cumsum(counts, dtype=np.int64))), pairs.astype(np.int32))


_CODE_BITS = 32


def _sorted_pairs(owners: npt.NDArray[np.int64], codes: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """The pairs in the order of owners and codes, each in one number, whose low half is the code.

    Numbers are sorted several times faster than pairs.
    """
    pairs = (owners << _CODE_BITS) | codes
    pairs.sort()
    return pairs


def joined(parts: Iterable[TagLists], *, room: int) -> TagLists:
    """The posts of all parts, one after the other.

    Args:
        parts: may come one by one, so that they are never there all together.
        room: codes in all parts, at most; the system gives memory only for what is used of it.
    """
    codes, used = np.empty(room, np.int32), 0
    offsets = [np.zeros(1, np.int64)]
    for part in parts:
        codes[used : used + len(part.codes)] = part.codes
        offsets.append(part.offsets[1:] + used)
        used += len(part.codes)
    return TagLists(np.concatenate(offsets), codes[:used])


@dataclass(frozen=True, slots=True)
class TagTable:
    """Every tag of a store.

    Attributes:
        names: in ascending order of code points.
        categories: (len(names),) int8, positions in `CATEGORIES`.
        aliases: what people may call a tag instead of its name.
    """

    names: Sequence[str]
    categories: npt.NDArray[np.int8]
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyRule:
    """Which tags a model is to learn.

    Attributes:
        size: tags in all, at most; without meaning where there are quotas. Ratings and kept tags come on top.
        min_count: training pictures that a tag needs.
        quotas: tags of each of these categories, at most, and none of the others.
        left_out: categories without a quota that the vocabulary does without.
        ratings: whether the tags `rating:...` belong to it.
        keep: tags that belong to it however rare they are, by name or alias.
        drop: tags that do not, by name or alias.
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
        tags: most frequent first, ties in the order of names; position i is output i of the model. Of a
            dataset that has grown: in the order of its first version, with the counts of now.
        label_of: (tags of the store,) int32: the position in `tags`, -1 for a tag that is not in it.
        rare: tags that are to be kept and that frequency alone would not have chosen, with their counts; one
            with 0 is not in the vocabulary, because there is nothing to learn it from.
        left_out: how many tags of the store are not in `tags`, by reason: a category that is not wanted,
            `DROPPED`, `TOO_RARE`, `NOT_IN_TRAINING`.
        unmet: tags to be dropped that no post carries: a slip of the pen, perhaps.
    """

    tags: tuple[Tag, ...]
    label_of: npt.NDArray[np.int32]
    rare: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    unmet: tuple[str, ...] = ()


DROPPED, TOO_RARE, NOT_IN_TRAINING = "dropped", "too rare", "in no training picture"


def choose_vocabulary(counts: npt.NDArray[np.int64], table: TagTable, rule: VocabularyRule) -> Vocabulary:
    """Choose the most frequent tags that the rule allows; fewer if there are not so many.

    Args:
        counts: (tags,) training posts that carry each; a vocabulary that saw the test split would tell of it.
        table: the tags.
        rule: what is wanted.

    Raises:
        DataError: no tag is left.
    """
    code_of = {name: code for code, name in enumerate(table.names)}
    kept, dropped = (_codes(tags, table, code_of) for tags in (rule.keep, rule.drop))
    ratings = _codes(RATING_TAGS, table, code_of)
    # Ratings are asked for by name, so they never take the place of a tag that is counted.
    frequent = _frequent(counts, table, rule, apart=dropped | ratings)
    wanted = kept | (ratings - dropped if rule.ratings else set())
    codes = np.union1d(frequent, _array(wanted))
    # Codes are in the order of names, so a stable sort by falling count settles ties by name.
    ranked = codes[np.argsort(-counts[codes], kind="stable")]
    chosen = ranked[counts[ranked] > 0]
    if not len(chosen):
        raise DataError(
            "no training picture carries a tag of the wanted categories often enough, so the vocabulary is "
            "empty: crawl with tag categories, keep more categories, or ask for a smaller --min-count"
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


def _codes(tags: Iterable[str], table: TagTable, code_of: Mapping[str, int]) -> set[int]:
    """Codes of tags by name or alias; what no post carries has none."""
    names = (table.aliases.get(tag, tag) for tag in tags)
    return {code_of[name] for name in names if name in code_of}


def _array(codes: Set[int]) -> npt.NDArray[np.int64]:
    return np.array(sorted(codes), np.int64)


def _frequent(
    counts: npt.NDArray[np.int64], table: TagTable, rule: VocabularyRule, *, apart: Set[int]
) -> npt.NDArray[np.int64]:
    """Codes of the tags that are frequent enough, but for some."""
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
    counts: npt.NDArray[np.int64],
    table: TagTable,
    rule: VocabularyRule,
    codes: npt.NDArray[np.int64],
    dropped: Set[int],
) -> Mapping[str, int]:
    """Why tags are not in the vocabulary: how many for each reason, most first."""
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


def grown_vocabulary(tags: tuple[Tag, ...], counts: npt.NDArray[np.int64], table: TagTable) -> Vocabulary:
    """The same tags in the same order, because indices are a contract, with the new training posts counted."""
    code_of = {name: code for code, name in enumerate(table.names)}
    label_of = np.full(len(table.names), -1, np.int32)
    grown = []
    for label, tag in enumerate(tags):
        code = code_of.get(tag.name)
        if code is not None:
            label_of[code] = label
        more = 0 if code is None else int(counts[code])
        grown.append(Tag(name=tag.name, category=tag.category, count=tag.count + more))
    return Vocabulary(tuple(grown), label_of)


def labels_of(tags: TagLists, rows: npt.NDArray[np.int64], vocabulary: Vocabulary) -> TagLists:
    """Positions in the vocabulary, ascending, of the tags of some posts."""
    is_label = vocabulary.label_of >= 0
    parts = (part.keep(is_label).renamed(vocabulary.label_of) for part in tags.in_blocks(rows))
    return joined(parts, room=int(tags.lengths[rows].sum()))


def blocks(rows: int) -> Iterator[slice]:
    """Cut rows into runs of a bounded length."""
    for start in range(0, rows, _ROWS_AT_ONCE):
        yield slice(start, min(start + _ROWS_AT_ONCE, rows))
