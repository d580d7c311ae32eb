"""Check of labels, tags and vocabulary against each other; if they disagree, which of them is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from alti2v.dataset.manifest import Shard
from alti2v.dataset.plan.vocabulary import CATEGORIES
from alti2v.records import Tag

TAGS_COLUMNS = tuple(category.tags_column for category in CATEGORIES)


@dataclass(frozen=True, slots=True)
class TagOccurrences:
    """Occurrences of labels in the tables of the shards.

    Attributes:
        index_of: Label of each tag of the vocabulary.
        counts: Number of pictures with each label.
        counts_train: Number of training pictures with each label.
        unnamed: Number of pictures with the label but without its tag.
        faults: By table, its pictures whose labels differ from those of their tags.
    """

    index_of: Mapping[str, int]
    counts: Counter[int] = field(default_factory=Counter)
    counts_train: Counter[int] = field(default_factory=Counter)
    unnamed: Counter[int] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, shard: Shard, rows: pa.Table) -> None:
        """Count the labels in a shard's table, which is not empty."""
        labels = rows["labels"].combine_chunks()
        lengths, found = _lists(labels)
        for label, count in zip(*(ends.tolist() for ends in np.unique(found, return_counts=True)), strict=True):
            self.counts[label] += count
            if shard.name.split == "train":
                self.counts_train[label] += count
        owners, expected = self._labels_of_tags(rows)
        expected_lengths = np.bincount(owners, minlength=rows.num_rows)
        if np.array_equal(lengths, expected_lengths) and np.array_equal(found, expected):
            return
        wrong = np.flatnonzero(lengths != expected_lengths)
        ends, expected_ends = np.cumsum(lengths), np.cumsum(expected_lengths)
        same_length = np.flatnonzero(lengths == expected_lengths)
        differs = [
            row
            for row in same_length.tolist()
            if not np.array_equal(
                found[ends[row] - lengths[row] : ends[row]],
                expected[expected_ends[row] - lengths[row] : expected_ends[row]],
            )
        ]
        for row in sorted([*wrong.tolist(), *differs]):
            named = expected[expected_ends[row] - expected_lengths[row] : expected_ends[row]]
            self.unnamed.update(set(labels[row].as_py()) - set(named.tolist()))
            key = rows["key"][row].as_py()
            self.faults[shard.name.metadata].append(f"{key}: labels and tags disagree")

    def _labels_of_tags(self, rows: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return pairs of a row and a label that one of its tags has; sorted, distinct."""
        pairs = [np.empty(0, np.int64)]
        for column in TAGS_COLUMNS:
            lists = rows[column].combine_chunks()
            names = lists.flatten().dictionary_encode()
            label = np.array([self.index_of.get(name, -1) for name in names.dictionary.to_pylist()], np.int64)
            of_tag = label[names.indices.to_numpy()] if len(names) else np.empty(0, np.int64)
            owners = np.repeat(np.arange(rows.num_rows), _lists(lists)[0])
            pairs.append((owners << _LABEL_BITS | of_tag)[of_tag >= 0])
        joined = np.unique(np.concatenate(pairs))
        return joined >> _LABEL_BITS, joined & ((1 << _LABEL_BITS) - 1)


_LABEL_BITS = 32


def _lists(lists: pa.ListArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.generic]]:
    """Return the length of each list, and the values one after the other."""
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy().astype(np.int64)
    return lengths, lists.flatten().to_numpy(zero_copy_only=False)


def renamed_tags(tags: Sequence[Tag], labels: TagOccurrences) -> list[str]:
    """Name the rows of tags.parquet that held another tag when the labels were made.

    A label comes from a tag, so a row is wrong if no picture with its label has its tag.
    """
    faults = []
    for index, count in sorted(labels.unnamed.items()):
        if count == labels.counts[index]:
            name = repr(tags[index].name) if index < len(tags) else "missing"
            faults.append(
                f"row {index} is {name}, but none of the {count:,} pictures with this label has that tag: "
                "restore the file from a copy, or build with --new-plan"
            )
    return faults


def wrong_counts(tags: Sequence[Tag], labels: TagOccurrences) -> list[str]:
    """Name the tags whose count differs from the number of training pictures with their label."""
    return [
        f"{tag.name!r} counts {tag.count} training samples, but {labels.counts_train[index]} have it"
        for index, tag in enumerate(tags)
        if tag.count != labels.counts_train[index]
    ]
