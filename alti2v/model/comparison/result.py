"""Result of a comparison as plain values, for reports and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from alti2v.arrays import Int64Array
from alti2v.model.evaluation.metrics import Curve, Scores
from alti2v.model.evaluation.paired_bootstrap import PairedScores
from alti2v.model.evaluation.reliability import Reliability
from alti2v.records import Tag


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedGroup:
    """Scores of one model over a group of tags.

    Attributes:
        kind: "all", "category" or "frequency".
        name: "all", a category, or a range of training counts.
        scores: Scores at the threshold that was tuned on the validation split.
        curve: Precision and recall over all pairs of picture and tag.
        reliability: Predicted and observed frequencies over all pairs.
        calibrated: The same after temperature scaling; None if no temperature was fitted.
    """

    kind: str
    name: str
    scores: Scores
    curve: Curve
    reliability: Reliability
    calibrated: Reliability | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnThresholdScores:
    """Scores at a model's own thresholds, over all common tags.

    Attributes:
        source: Origin of the thresholds, in words.
        precision, recall, f1: Micro figures, over all pairs of picture and tag.
        macro_f1: Mean over the tags that occur.
    """

    source: str
    precision: float
    recall: float
    f1: float
    macro_f1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedModel:
    """One model of a comparison.

    Attributes:
        model: Path or name of the model, as given; with its commit if it is on the hub.
        name: Name for display, which no other model of the comparison has.
        family: Family of its folder.
        training_is_known: True for a run, or an export of one, whose training pictures are left out.
        size: Side of the pictures that it takes, px.
        pictures: Pictures that it was fed with, in words.
        tags: Number of its tags, without ratings.
        known: Number of the dataset's tags that it knows.
        respelt: Number of common tags that it has under another spelling or name.
        threshold: Threshold of all tags, tuned on the validation split.
        threshold_source: Origin of that threshold, in words.
        own: Scores at its own thresholds.
        groups: All tags, then by category, then by training count from frequent to rare.
        paired: Scores of single tags, and differences from the first model.
    """

    model: str
    name: str
    family: str
    training_is_known: bool
    size: int
    pictures: str
    tags: int
    known: int
    respelt: int
    threshold: float
    threshold_source: str
    own: OwnThresholdScores
    groups: tuple[ComparedGroup, ...]
    paired: PairedScores

    @property
    def overall(self) -> ComparedGroup:
        """All tags together."""
        return self.groups[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputedTag:
    """A tag of a picture on which models differ.

    Attributes:
        index: Index of the tag.
        is_label: True if the board has it.
        probabilities: Probability of each model, to the middle of its bin.
        passes: True for each model that predicts the tag.
    """

    index: int
    is_label: bool
    probabilities: tuple[float, ...]
    passes: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputedPicture:
    """A picture on which models differ.

    Attributes:
        id: Post number.
        disputed: Number of tags that some models predict and others do not.
        tags: Some of these tags, those first whose probabilities differ most.
        jpeg: The picture, small; empty if it was not read.
    """

    id: int
    disputed: int
    tags: tuple[DisputedTag, ...]
    jpeg: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Result of a comparison.

    Attributes:
        models: The models, in the order in which they were given.
        dataset: Directory of the first model's dataset.
        dataset_tags: Number of tags of that dataset.
        split: Split that they were evaluated on.
        images: Number of pictures, none of which a run was trained on.
        tags: The T common tags, in the first model's order.
        positives: (T,) number of pictures with each tag.
        min_positives: Positive pictures that a tag needs to count in the mean average precision.
        disputed: Pictures on which the models differ most.
        notes: Warnings for the reader, in sentences.
        seconds: Duration.
        file_names: File names of imported pictures in `disputed`, by id.
    """

    models: tuple[ComparedModel, ...]
    dataset: Path
    dataset_tags: int
    split: str
    images: int
    tags: tuple[Tag, ...]
    positives: Int64Array
    min_positives: int
    disputed: tuple[DisputedPicture, ...]
    notes: tuple[str, ...]
    seconds: float
    file_names: Mapping[int, str] = field(default_factory=dict)
