"""Selection of tags from a tagger's probabilities. Pure numpy: no files, no pictures, no network.

A tag passes if its probability is at least its threshold, compared as float32: the metrics of an evaluation and
tuned thresholds mean the same. Callers whose promise is "more than P" give a strict `Criterion`. A `Rule` says
where the thresholds come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from alti2v.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from alti2v.model.options.choices import RATING, Rule, Sort
from alti2v.model.options.tagging import require_thresholds
from alti2v.model.vocabulary import OutputTags
from alti2v.records import Category

# SmilingWolf's wd-tagger space, app.py: `character_thresh = max(0.15, character_thresh)` after MCut. Most
# pictures show no character of the vocabulary, and the widest gap among improbable ones means nothing.
MCUT_CHARACTER_FLOOR = 0.15

# For models without a threshold of their own; the default of kohya-ss/sd-scripts and of SmilingWolf's space.
DEFAULT_THRESHOLD = 0.35


@dataclass(frozen=True, slots=True)
class ScoredTag:
    """A tag of a picture.

    Attributes:
        name: Name, spelled as in the model.
        category: One of `CATEGORIES`.
        probability: In [0, 1]; the shortest decimal that rounds to the network's float32.
        index: Output of the model.
    """

    name: str
    category: str
    probability: float
    index: int


# Takes the passing tags of all categories, all probabilities (T,), and whether a tag is wanted; returns the
# wanted ones of these tags and of those that follow from them.
RelatingFunction = Callable[[Sequence[ScoredTag], Float32Array, Callable[[ScoredTag], bool]], list[ScoredTag]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """Thresholds that decide which tags pass.

    Attributes:
        rule: Source of the thresholds.
        threshold: Threshold of `Rule.CONSTANT`, in [0, 1]; None for those in `own`.
        by_category: For `Rule.CONSTANT`: category -> threshold that replaces `threshold`.
        by_output: For `Rule.CONSTANT`: output of the model -> threshold that replaces both.
        is_strict: True if probabilities have to be more than these three, False if at least.
        own: (T,) float32, the threshold of each tag; used by the F rules, and if `threshold` is None.
        sources: Origin of each number in `own`, for display; empty if unknown.
    """

    rule: Rule = Rule.CONSTANT
    threshold: float | None = 0.25  # illustration2vec's
    by_category: Mapping[str, float] = field(default_factory=dict)
    by_output: Mapping[int, float] = field(default_factory=dict)
    is_strict: bool = False
    own: Float32Array | None = None
    sources: Sequence[str] = ()

    def __post_init__(self) -> None:
        require_thresholds(self.by_category, (self.threshold or 0.0, *self.by_output.values()))


def passing(probabilities: Float32Array, vocabulary: OutputTags, criterion: Criterion) -> BoolArray:
    """Return a mask of the tags that pass, (B, T), for probabilities (B, T).

    The mask's rating columns are undefined; use `ratings`.
    """
    if criterion.rule is Rule.MCUT:
        exact = probabilities.astype(np.float64)  # the middle between two float32 numbers is not one
        return exact >= _maximum_cuts(exact, vocabulary)
    if criterion.rule is Rule.CONSTANT:
        return probabilities >= _constants(vocabulary, criterion)
    assert criterion.own is not None, "the F rules need a threshold for each tag"
    return probabilities >= criterion.own


def maximum_cut(probabilities: npt.NDArray[np.floating]) -> float:
    """Return the middle of the widest gap between neighbouring probabilities; of equal gaps, the highest.

    Largeron, Moulin and Gery 2012, "MCut: A Thresholding Strategy for Multi-label Classification". A single
    probability has no neighbour, so its neighbour is taken to be 0.

    Args:
        probabilities: (N,) of the tags of one picture, N > 0.
    """
    falling = np.sort(probabilities.astype(np.float64))[::-1]
    if len(falling) == 1:
        falling = np.append(falling, 0.0)
    widest = int((falling[:-1] - falling[1:]).argmax())
    return float((falling[widest] + falling[widest + 1]) / 2)


def ratings(probabilities: Float32Array, vocabulary: OutputTags) -> list[tuple[str, float]]:
    """List all ratings of one picture with their probabilities, the most probable first."""
    return ranked(probabilities, vocabulary, vocabulary.members.get(RATING, np.zeros(0, np.int64)))


def ranked(probabilities: Float32Array, vocabulary: OutputTags, outputs: Int64Array) -> list[tuple[str, float]]:
    """List some outputs of one picture as (name, probability), the most probable first; ties by index."""
    order = outputs[np.argsort(-probabilities[outputs], kind="stable")]
    return [(vocabulary.names[index], decimal(probabilities[index])) for index in order.tolist()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Filter and order for the tags that pass.

    Attributes:
        categories: Categories to keep; None for all but the rating. Of the ratings, the most probable is kept.
        exclude: Outputs to leave out.
        exclude_names: Tags to leave out that are no outputs: those that relations alone print.
        least: Tag that is no output -> least probability with which it is kept.
        top: Maximum number of tags, the most probable ones; None for no limit.
        sort: Order of the tags. Equal probabilities keep the model's order.
        relate: Function that adds related tags and keeps the wanted ones; None for none.
    """

    categories: frozenset[str] | None = None
    exclude: frozenset[int] = frozenset()
    exclude_names: frozenset[str] = frozenset()
    least: Mapping[str, np.float32] = field(default_factory=dict)
    top: int | None = None
    sort: Sort = Sort.SCORE
    relate: RelatingFunction | None = None


def select(
    probabilities: Float32Array, passed: BoolArray, vocabulary: OutputTags, selection: Selection
) -> tuple[ScoredTag, ...]:
    """Select the tags of one picture.

    Args:
        probabilities: (T,) of the picture.
        passed: (T,) mask from `passing`.
        vocabulary: Outputs of the model.
        selection: Filter and order.
    """
    every = set(vocabulary.members) - {RATING}
    categories = every if selection.categories is None else set(selection.categories)
    if selection.relate is not None:  # a tag may follow from one of another category
        categories |= every
    outputs = [
        int(index)
        for category, members in vocabulary.members.items()
        if category in categories
        for index in (_best(probabilities, members) if category == RATING else members[passed[members]])
        if int(index) not in selection.exclude
    ]
    outputs.sort(key=lambda index: (-probabilities[index], index))
    tags = [
        ScoredTag(vocabulary.names[index], vocabulary.categories[index], decimal(probabilities[index]), index)
        for index in outputs
    ]
    if selection.relate is not None:
        related = selection.relate(tags, probabilities, lambda tag: _is_wanted(tag, selection))
        tags = sorted(related, key=lambda tag: (-tag.probability, tag.index))
    return tuple(_sorted(tags[: selection.top], selection.sort))


def group(tags: Sequence[ScoredTag], vocabulary: OutputTags) -> dict[str, list[ScoredTag]]:
    """Group the tags of one picture by the model's categories, ratings left out; their order stays."""
    groups: dict[str, list[ScoredTag]] = {name: [] for name in vocabulary.members if name != RATING}
    for tag in tags:
        if tag.category != RATING:
            groups.setdefault(tag.category, []).append(tag)
    return groups


def _is_wanted(tag: ScoredTag, selection: Selection) -> bool:
    is_of_category = selection.categories is None or tag.category in selection.categories
    is_excluded = tag.index in selection.exclude or tag.name in selection.exclude_names
    is_probable = bool(np.float32(tag.probability) >= selection.least.get(tag.name, np.float32(0)))
    return is_of_category and is_probable and not is_excluded


def _sorted(tags: list[ScoredTag], sort: Sort) -> list[ScoredTag]:
    if sort is Sort.ALPHABET:
        return sorted(tags, key=lambda tag: (tag.name, tag.index))
    if sort is Sort.INDEX:
        return sorted(tags, key=lambda tag: tag.index)
    return tags


def _best(probabilities: Float32Array, members: Int64Array) -> Int64Array:
    return members[[int(probabilities[members].argmax())]]


def _constants(vocabulary: OutputTags, criterion: Criterion) -> Float32Array:
    if criterion.threshold is None:
        assert criterion.own is not None, "a criterion has a threshold, or one for each tag"
        thresholds = criterion.own.copy()
    else:
        thresholds = np.full(len(vocabulary), least_passing(criterion.threshold, criterion), np.float32)
    for category, threshold in criterion.by_category.items():
        thresholds[vocabulary.members.get(category, [])] = least_passing(threshold, criterion)
    for output, threshold in criterion.by_output.items():
        thresholds[output] = least_passing(threshold, criterion)
    return thresholds


def least_passing(threshold: float, criterion: Criterion) -> np.float32:
    """Return the lowest probability that passes a given threshold; above 1 for "more than 1"."""
    least = np.float32(threshold)
    return np.nextafter(least, np.float32(2)) if criterion.is_strict else least


def _maximum_cuts(probabilities: Float64Array, vocabulary: OutputTags) -> Float64Array:
    """Return thresholds just above the cuts; if all probabilities are equal, no tag passes."""
    cuts = np.zeros_like(probabilities)
    for category, members in vocabulary.members.items():
        floor = MCUT_CHARACTER_FLOOR if category == Category.CHARACTER else 0.0
        for row, of_picture in enumerate(probabilities[:, members]):
            cuts[row, members] = max(floor, maximum_cut(of_picture))
    return np.nextafter(cuts, 2)


def decimal(probability: np.float32) -> float:
    """Convert to the shortest decimal: 0.98 where `float()` gives 0.9800000190734863."""
    return float(str(probability))
