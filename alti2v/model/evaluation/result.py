"""Result of an evaluation as plain values, for reports and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from alti2v.arrays import Float64Array
from alti2v.model.evaluation.bootstrap import Intervals
from alti2v.model.evaluation.gallery import Addition, GalleryPicture, Suggestion
from alti2v.model.evaluation.metrics import Curve, Scores, TagScores
from alti2v.model.evaluation.reliability import Reliability
from alti2v.records import Tag


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Scores of a group of tags, with those of the frequency-only baseline.

    Attributes:
        name: "all", a category, or a range of training counts.
        kind: "all", "category" or "frequency".
        model: Scores of the model.
        baseline: Scores of the baseline.
        skill: Brier skill score against the baseline; None if the baseline makes no error.
        intervals: 95 % intervals of the model's figures; None if there is too little data.
        curve: Precision and recall over all pairs of the group.
        reliability: Predicted and observed frequencies over all pairs of the group.
        calibrated: The same after temperature scaling; None for groups by frequency, and if no temperature was
            fitted.
    """

    name: str
    kind: str
    model: Scores
    baseline: Scores
    skill: float | None
    intervals: Intervals | None
    curve: Curve
    reliability: Reliability
    calibrated: Reliability | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Probabilities from which a tag counts as predicted, and their origin.

    Attributes:
        model: Threshold of all tags, at which precision equals recall.
        baseline: The same for the frequency-only baseline.
        own: (T,) threshold of each tag, with its best F1.
        source: Origin of the thresholds, in words.
        images: Number of pictures that they were tuned on; 0 if they were not tuned.
        categories: Threshold of each category that occurs, at which precision equals recall within it.
        temperatures: Temperature of each category that has enough positives (`calibration`).
    """

    model: float
    baseline: float
    own: Float64Array
    source: str
    images: int
    categories: Mapping[str, float] = field(default_factory=dict)
    temperatures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResult:
    """Scores of the predictions for a split; row t of every array is tag t.

    Attributes:
        images: Number of pictures.
        thresholds: Thresholds of the scores.
        min_positives: Positive pictures that a tag needs to count in the mean average precision: the requested
            number, or 1 if too few tags have that many.
        groups: All tags, then by category, then by training count from frequent to rare.
        recall_at_10: Mean share of a picture's tags that is among its ten most probable ones.
        tag_scores: Scores of each tag.
        baseline_scores: The same for the baseline.
        baseline_curve: Precision and recall of the baseline over all tags.
        pictures: The gallery.
        suggestions: Tags that the board may lack, at most one a picture, with the picture.
        additions: All tags that the board may lack, without pictures.
    """

    images: int
    thresholds: Thresholds
    min_positives: int
    groups: tuple[Group, ...]
    recall_at_10: float
    tag_scores: TagScores
    baseline_scores: TagScores
    baseline_curve: Curve
    pictures: tuple[GalleryPicture, ...]
    suggestions: tuple[Suggestion, ...]
    additions: tuple[Addition, ...]

    @property
    def overall(self) -> Group:
        """All tags together."""
        return self.groups[0]

    @property
    def intervals(self) -> Intervals | None:
        """95 % intervals of the main figures."""
        return self.overall.intervals

    def of_kind(self, kind: str) -> tuple[Group, ...]:
        """Return the groups of one kind."""
        return tuple(group for group in self.groups if group.kind == kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """An evaluated run.

    Attributes:
        run: Directory of the run.
        dataset: Directory of the dataset that it was evaluated on.
        split: Split of that dataset.
        tags: Tags that the model and the dataset have in common, in the model's order.
        result: The scores; their rows are `tags`.
        log: Rows of the training log, column -> number.
        training: Figures of the training.
        frozen_head: Scores of the head on the frozen backbone, from which the training started; None if there
            is none for this dataset.
        provenance: Information needed to repeat the evaluation, in the order of display.
        notes: Warnings for the reader, in sentences.
        seconds: Duration.
        file_names: File names of imported pictures in the gallery and the suggestions, by id.
    """

    run: Path
    dataset: Path
    split: str
    tags: tuple[Tag, ...]
    result: EvaluationResult
    log: tuple[Mapping[str, float], ...]
    training: Mapping[str, int | float | str | None]
    frozen_head: Scores | None = None
    provenance: Mapping[str, str]
    notes: tuple[str, ...]
    seconds: float
    file_names: Mapping[int, str] = field(default_factory=dict)
