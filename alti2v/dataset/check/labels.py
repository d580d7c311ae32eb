"""Whether labels, tags and vocabulary of a dataset agree, asked by `verify`; if not, which of them is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alti2v.dataset.manifest import Shard
from alti2v.dataset.plan.vocabulary import CATEGORIES
from alti2v.records import Tag

TAGS_COLUMNS = tuple(category.tags_column for category in CATEGORIES)


@dataclass(frozen=True, slots=True)
class TagOccurrences:
    """What the tables of the shards say of the tags.

    Attributes:
        counts: how many pictures have a label.
        counts_train: how many training pictures do.
        unnamed: how many have a label and not its tag.
        faults: table of a shard -> its pictures with other labels than their tags give.
    """

    counts: Counter[int] = field(default_factory=Counter)
    counts_train: Counter[int] = field(default_factory=Counter)
    unnamed: Counter[int] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def count(self, shard: Shard, row: Mapping[str, Any], index_of: Mapping[str, int]) -> None:
        """Take in a row of the table of a shard; `index_of` is the vocabulary."""
        self.counts.update(row["labels"])
        if shard.name.split == "train":
            self.counts_train.update(row["labels"])
        tags = (index_of.get(tag) for column in TAGS_COLUMNS for tag in row[column])
        named = {index for index in tags if index is not None}
        if row["labels"] != sorted(named):
            self.unnamed.update(set(row["labels"]) - named)
            self.faults[shard.name.metadata].append(f"{row['key']}: labels and tags disagree")


def renamed_tags(tags: Sequence[Tag], labels: TagOccurrences) -> Iterator[str]:
    """Name the rows of tags.parquet that hold another tag than when the labels were made.

    They are those that no picture with the label carries: one at least did, or it would be no label.
    """
    for index, count in sorted(labels.unnamed.items()):
        if count == labels.counts[index]:
            name = repr(tags[index].name) if index < len(tags) else "missing"
            yield (
                f"row {index} is {name}, which none of the {count:,} pictures with this label carries: "
                "restore the file from a copy, or build with --new-plan"
            )


def wrong_counts(tags: Sequence[Tag], labels: TagOccurrences) -> Iterator[str]:
    """Name the tags with another count than training pictures have their label."""
    for index, tag in enumerate(tags):
        found = labels.counts_train[index]
        if tag.count != found:
            yield f"{tag.name!r} counts {tag.count} training samples, but {found} carry it"
