"""Check of labels, tags and vocabulary against each other, to find out which one is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alti2v.arrays import Int64Array
from alti2v.dataset.manifest import Shard
from alti2v.dataset.plan.vocabulary import CATEGORIES, TagLists, tag_lists
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
        is_label = (found >= 0) & (found < len(self.index_of))
        times = np.bincount(found[is_label], minlength=len(self.index_of))
        counts = dict(enumerate(times.tolist())) | Counter(found[~is_label].tolist())
        self.counts.update(counts)
        if shard.name.split == "train":
            self.counts_train.update(counts)
        named = self._labels_of_tags(rows)
        if not (np.array_equal(lengths, named.lengths) and np.array_equal(found, named.codes)):
            self._compare_each(shard, rows, named)

    def _labels_of_tags(self, rows: pa.Table) -> TagLists:
        """Return the labels that the tags of each row have."""
        owners, codes = [], []
        for column in TAGS_COLUMNS:
            lengths, names = _lists(rows[column].combine_chunks(), encode=True)
            label = np.array([self.index_of.get(name, -1) for name in names.dictionary.to_pylist()], np.int32)
            of_tag = label[names.indices.to_numpy()] if len(names) else np.empty(0, np.int32)
            owners.append(np.repeat(np.arange(rows.num_rows), lengths)[of_tag >= 0])
            codes.append(of_tag[of_tag >= 0])
        return tag_lists(np.concatenate(owners), np.concatenate(codes), rows.num_rows)

    def _compare_each(self, shard: Shard, rows: pa.Table, named: TagLists) -> None:
        keys = rows["key"].to_pylist()
        for row, labels in enumerate(rows["labels"].to_pylist()):
            expected = named.codes[named.offsets[row] : named.offsets[row + 1]].tolist()
            if labels != expected:
                self.unnamed.update(set(labels) - set(expected))
                self.faults[shard.name.metadata].append(f"{keys[row]}: labels and tags disagree")


def _lists(lists: pa.ListArray, *, encode: bool = False) -> tuple[Int64Array, Any]:
    """Return the length of each list, and the values one after the other, as a dictionary or as numbers."""
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy().astype(np.int64)
    values = lists.flatten()
    return lengths, values.dictionary_encode() if encode else values.to_numpy(zero_copy_only=False)


def renamed_tags(tags: Sequence[Tag], labels: TagOccurrences) -> list[str]:
    """List the rows of tags.parquet that had another tag when the labels were made.

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
    """List the tags whose count differs from the number of training pictures with their label."""
    return [
        f"{tag.name!r} counts {tag.count} training pictures, but {labels.counts_train[index]} have it"
        for index, tag in enumerate(tags)
        if tag.count != labels.counts_train[index]
    ]
