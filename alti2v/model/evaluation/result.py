"""What is known after judging a tagger: plain values, for reports to show and for programs to compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from alti2v.model.arrays import Float64Array
from alti2v.model.evaluation.bootstrap import Intervals
from alti2v.model.evaluation.gallery import Addition, GalleryPicture, Suggestion
from alti2v.model.evaluation.metrics import Curve, Reliability, Scores, TagScores
from alti2v.records import Tag


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """How a group of tags did, with the frequency-only baseline beside it.

    Attributes:
        name: "all", a category, or a range of training counts.
        kind: "all", "category" or "frequency".
        skill: of the squared error against the baseline's; None where the baseline makes no error.
        intervals: 95 % intervals of the model's figures; None where there is too little to say.
        curve: precision and recall over all pairs of the group.
        reliability: stated and found frequencies over all pairs of the group.
        calibrated: the same after temperature scaling; None for groups by frequency and where no temperature
            was found.
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
    """What was tuned: from which probability a tag counts as predicted, and where that comes from.

    Attributes:
        model: for all tags, where precision equals recall.
        baseline: the same for the frequency-only baseline.
        own: (T,) for each tag, with its best F1.
        categories: for each category that occurs, where precision equals recall within it.
        temperatures: by category, see `calibration`; only those that have enough positives.
        source: what they were found on, in words.
        images: how many pictures they were found on; 0 if they were not found on pictures.
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
    """What the predictions for a split are worth; row t of every array is tag t.

    Attributes:
        images: pictures judged.
        min_positives: positive pictures that a tag needs for a place in the mean of average precisions: as many
            as asked for, or 1 if no tag has that many.
        groups: all tags, then by category, then by training count from frequent to rare.
        recall_at_10: mean over pictures with tags of the share of them among the ten most probable.
        tag_scores: tag by tag; `baseline_scores` of the baseline.
        baseline_curve: precision and recall of the baseline, all tags.
        pictures: the gallery.
        suggestions: tags that the board may have forgotten, one a picture; `additions` all, without it.
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
        """95 % intervals of the headline figures."""
        return self.overall.intervals

    def of_kind(self, kind: str) -> tuple[Group, ...]:
        """The groups of one kind."""
        return tuple(group for group in self.groups if group.kind == kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A judged run.

    Attributes:
        run: the run that was judged.
        dataset: the dataset that it was judged on.
        split: which part of it.
        tags: those that the model and the dataset have in common, in the model's order.
        result: what was found; its rows are `tags`.
        log: rows of the training log, column -> number.
        training: figures of the training.
        provenance: what is needed to repeat this, in the order of display.
        notes: what a reader should be warned of, in sentences.
        seconds: wall-clock.
    """

    run: Path
    dataset: Path
    split: str
    tags: tuple[Tag, ...]
    result: EvaluationResult
    log: tuple[Mapping[str, float], ...]
    training: Mapping[str, int | float | str | None]
    provenance: Mapping[str, str]
    notes: tuple[str, ...]
    seconds: float
