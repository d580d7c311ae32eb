"""Thresholds that were used for tagging, for reports: the numbers and their origins. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from alti2v.arrays import Int64Array
from alti2v.model.options.choices import RATING, Rule
from alti2v.model.tagging.selection import Criterion, decimal
from alti2v.model.vocabulary import OutputTags
from alti2v.numerals import counted

OPTION = "--threshold"
_WIDEST_GAP = "the widest gap between a picture's probabilities"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedThreshold:
    """Threshold of a category or of a tag.

    Attributes:
        lowest, highest: Range of the thresholds, as they were given; equal for a single one, None if each
            picture has its own.
        is_strict: True if a probability had to be more than that, False if at least that.
        source: Origin: an option or a file.
    """

    lowest: float | None
    highest: float | None
    is_strict: bool
    source: str

    def __str__(self) -> str:
        if self.lowest is None or self.highest is None:
            return self.source
        words = "more than" if self.is_strict else "at least"
        span = f"{self.lowest:g}" if self.lowest == self.highest else f"{self.lowest:g} to {self.highest:g}"
        return f"{words} {span} ({self.source})"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedThresholds:
    """Thresholds of a tagging.

    Attributes:
        categories: Threshold of each category but the rating, without the tags below.
        tags: Tag that has a threshold by an option -> that threshold.
    """

    categories: Mapping[str, UsedThreshold] = field(default_factory=dict)
    tags: Mapping[str, UsedThreshold] = field(default_factory=dict)

    def __str__(self) -> str:
        return "; ".join(f"{name} {used}" for name, used in {**self.categories, **self.tags}.items())


def used_thresholds(
    vocabulary: OutputTags, criterion: Criterion, *, of_relations: Mapping[str, float]
) -> UsedThresholds:
    """List the thresholds of a criterion, and those given for tags that only relations print."""
    has_own = np.zeros(len(vocabulary), bool)
    has_own[list(criterion.by_output)] = True
    return UsedThresholds(
        categories={
            category: _of_category(category, members[~has_own[members]], criterion)
            for category, members in vocabulary.members.items()
            if category != RATING and not has_own[members].all()
        },
        tags={
            **{
                vocabulary.names[output]: _given(value, criterion)
                for output, value in criterion.by_output.items()
            },
            **{name: _given(value, criterion) for name, value in of_relations.items()},
        },
    )


def _of_category(category: str, members: Int64Array, criterion: Criterion) -> UsedThreshold:
    if criterion.rule is Rule.MCUT:
        return UsedThreshold(lowest=None, highest=None, is_strict=True, source=_WIDEST_GAP)
    given = criterion.by_category.get(category, criterion.threshold)
    if criterion.rule is Rule.CONSTANT and given is not None:
        return _given(given, criterion)
    assert criterion.own is not None, "a criterion has a threshold, or one for each tag"
    own = criterion.own[members]
    counts = Counter(criterion.sources[member] for member in members) if criterion.sources else {}
    if criterion.rule is Rule.CONSTANT or len(counts) == 1:
        source = " and ".join(counts)
    else:
        source = " and ".join(f"{name}: {counted(count, 'tag')}" for name, count in counts.items())
    return UsedThreshold(
        lowest=decimal(own.min()),
        highest=decimal(own.max()),
        is_strict=False,
        source=source,
    )


def _given(value: float, criterion: Criterion) -> UsedThreshold:
    return UsedThreshold(lowest=value, highest=value, is_strict=criterion.is_strict, source=OPTION)
