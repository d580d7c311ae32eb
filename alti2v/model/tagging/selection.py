"""Which of a tagger's probabilities count as tags. Pure numpy: knows no file, no picture, no network.

A tag passes where its probability is greater than its limit, strictly, as in illustration2vec (i2v/base.py,
`estimate_plausible_tags`). The rules say where the limits come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from alti2v.errors import UsageError
from alti2v.model.arrays import BoolArray, Float64Array
from alti2v.model.evaluation.thresholds import Rule
from alti2v.model.vocabulary import CATEGORIES, RATING, OutputTags
from alti2v.records import Category

Probabilities = npt.NDArray[np.float32]

# SmilingWolf's wd-tagger space, app.py: `character_thresh = max(0.15, character_thresh)` after MCut. Most
# pictures show no character of the vocabulary, and the widest gap among the improbable means nothing.
MCUT_CHARACTER_FLOOR = 0.15


class Sort(StrEnum):
    """How the tags of a picture are ordered."""

    SCORE = "score"
    ALPHABET = "alphabet"
    INDEX = "index"  # the model's own order


@dataclass(frozen=True, slots=True)
class ScoredTag:
    """A tag of a picture.

    Attributes:
        name: as the model has it.
        category: one of `CATEGORIES`.
        probability: in [0, 1], the shortest decimal number that stands for the network's float32.
        index: which output of the model it is.
    """

    name: str
    category: str
    probability: float
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """What makes a tag pass.

    Attributes:
        rule: where the limits come from.
        threshold: for `Rule.CONSTANT`, in [0, 1].
        by_category: for `Rule.CONSTANT`, category -> threshold in its place.
        by_output: for `Rule.CONSTANT`, output of the model -> threshold in place of both.
        own: (T,) for the F rules, the limits of the single tags.
    """

    rule: Rule = Rule.CONSTANT
    threshold: float = 0.25  # illustration2vec's
    by_category: Mapping[str, float] = field(default_factory=dict)
    by_output: Mapping[int, float] = field(default_factory=dict)
    own: Float64Array | None = None

    def __post_init__(self) -> None:
        for name in self.by_category:
            if name not in CATEGORIES:
                raise UsageError(f"no category {name!r}: choose of {', '.join(CATEGORIES)}")
        for value in (self.threshold, *self.by_category.values(), *self.by_output.values()):
            if not 0 <= value <= 1:
                raise UsageError(f"threshold {value} is not in [0, 1]")


def passing(probabilities: Probabilities, vocabulary: OutputTags, criterion: Criterion) -> BoolArray:
    """Tell which tags pass: (B, T) probabilities -> (B, T) bool. What passes of the ratings means nothing."""
    exact = probabilities.astype(np.float64)
    if criterion.rule is Rule.MCUT:
        return exact > _maximum_cuts(exact, vocabulary)
    if criterion.rule is Rule.CONSTANT:
        return exact > _constants(vocabulary, criterion)
    assert criterion.own is not None, "the F rules need limits of their own"
    return exact > criterion.own


def maximum_cut(probabilities: npt.NDArray[np.floating]) -> float:
    """Find the middle of the widest gap between neighbouring probabilities; the first of equally wide ones.

    Largeron, Moulin and Gery 2012, "MCut: A Thresholding Strategy for Multi-label Classification". A single
    probability has no neighbour: it counts as if there were one of 0.

    Args:
        probabilities: (N,) of the tags of one picture, N > 0.
    """
    falling = np.sort(probabilities.astype(np.float64))[::-1]
    if len(falling) == 1:
        falling = np.append(falling, 0.0)
    widest = int((falling[:-1] - falling[1:]).argmax())
    return float((falling[widest] + falling[widest + 1]) / 2)


def ratings(probabilities: Probabilities, vocabulary: OutputTags) -> list[tuple[str, float]]:
    """List all ratings of one picture, (T,) probabilities, the most probable first."""
    return ranked(probabilities, vocabulary, vocabulary.members.get(RATING, np.zeros(0, np.int64)))


def ranked(
    probabilities: Probabilities, vocabulary: OutputTags, outputs: npt.NDArray[np.int64]
) -> list[tuple[str, float]]:
    """List some outputs of one picture as (name, probability), the most probable first, then by index."""
    order = outputs[np.argsort(-probabilities[outputs], kind="stable")]
    return [(vocabulary.names[index], _decimal(probabilities[index])) for index in order.tolist()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which of the tags that pass are wanted, and in which order.

    Attributes:
        categories: those wanted; None for all but the rating. Of the ratings the most probable one is taken.
        exclude: outputs that are never wanted.
        top: at most so many tags, the most probable ones; None for all.
        sort: the order. Equal probabilities keep the model's order.
    """

    categories: frozenset[str] | None = None
    exclude: frozenset[int] = frozenset()
    top: int | None = None
    sort: Sort = Sort.SCORE


def select(
    probabilities: Probabilities, passed: BoolArray, vocabulary: OutputTags, wish: Wish
) -> tuple[ScoredTag, ...]:
    """Take the wanted tags of one picture.

    Args:
        probabilities: (T,) of the picture.
        passed: (T,), see `passing`.
        vocabulary: of the model.
        wish: what is wanted.
    """
    wanted = set(vocabulary.members) - {RATING} if wish.categories is None else wish.categories
    outputs = [
        int(index)
        for category, members in vocabulary.members.items()
        if category in wanted
        for index in (_best(probabilities, members) if category == RATING else members[passed[members]])
        if int(index) not in wish.exclude
    ]
    outputs.sort(key=lambda index: (-probabilities[index], index))
    tags = [
        ScoredTag(vocabulary.names[index], vocabulary.categories[index], _decimal(probabilities[index]), index)
        for index in outputs[: wish.top]
    ]
    return tuple(_sorted(tags, wish.sort))


def group(tags: Sequence[ScoredTag], vocabulary: OutputTags) -> dict[str, list[ScoredTag]]:
    """Sort the tags of one picture into the model's categories, ratings aside; their order stays."""
    groups: dict[str, list[ScoredTag]] = {name: [] for name in vocabulary.members if name != RATING}
    for tag in tags:
        if tag.category != RATING:
            groups[tag.category].append(tag)
    return groups


def _sorted(tags: list[ScoredTag], sort: Sort) -> list[ScoredTag]:
    if sort is Sort.ALPHABET:
        return sorted(tags, key=lambda tag: (tag.name, tag.index))
    if sort is Sort.INDEX:
        return sorted(tags, key=lambda tag: tag.index)
    return tags


def _best(probabilities: Probabilities, members: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return members[[int(probabilities[members].argmax())]]


def _constants(vocabulary: OutputTags, criterion: Criterion) -> Float64Array:
    limits = np.full(len(vocabulary), criterion.threshold)
    for category, threshold in criterion.by_category.items():
        limits[vocabulary.members.get(category, [])] = threshold
    for output, threshold in criterion.by_output.items():
        limits[output] = threshold
    return limits


def _maximum_cuts(probabilities: Float64Array, vocabulary: OutputTags) -> Float64Array:
    limits = np.zeros_like(probabilities)
    for category, members in vocabulary.members.items():
        floor = MCUT_CHARACTER_FLOOR if category == Category.CHARACTER else 0.0
        for row, of_picture in enumerate(probabilities[:, members]):
            limits[row, members] = max(floor, maximum_cut(of_picture))
    return limits


def _decimal(probability: np.float32) -> float:
    """0.98 where `float()` would say 0.9800000190734863; as a float32 it is the same number."""
    return float(str(probability))
