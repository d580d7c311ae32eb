"""Check of labels, tags and vocabulary against each other; if they disagree, which of them is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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

    def add(self, shard: Shard, row: Mapping[str, Any]) -> None:
        """Count the labels of one row of a shard's table."""
        self.counts.update(row["labels"])
        if shard.name.split == "train":
            self.counts_train.update(row["labels"])
        tags = (self.index_of.get(tag) for column in TAGS_COLUMNS for tag in row[column])
        named = {index for index in tags if index is not None}
        if row["labels"] != sorted(named):
            self.unnamed.update(set(row["labels"]) - named)
            self.faults[shard.name.metadata].append(f"{row['key']}: labels and tags disagree")


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
