"""Scores of predictions from any source: thresholds, figures, intervals, gallery.

One pass over each split, in memory that depends on the number of tags, not of pictures. Independent of
networks, datasets and reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np

from alti2v.arrays import BoolArray, Float32Array, Float64Array, Int64Array, Uint8Array
from alti2v.errors import DataError
from alti2v.model.evaluation.bootstrap import Resampled, draw_pictures, encode, group_intervals, resample
from alti2v.model.evaluation.calibration import fit_temperatures, scaled_reliability
from alti2v.model.evaluation.code_file import CodeFile
from alti2v.model.evaluation.gallery import Shortlists
from alti2v.model.evaluation.histograms import (
    Histograms,
    add_predictions,
    constant_histograms,
    empty_histograms,
    pool,
)
from alti2v.model.evaluation.metrics import (
    TagScores,
    category_masks,
    equal_precision_recall_threshold,
    fewest_positives,
    precision_recall_curve,
    score_tags,
    skill,
    summarise,
)
from alti2v.model.evaluation.reliability import reliability
from alti2v.model.evaluation.result import EvaluationResult, Group, Thresholds
from alti2v.model.evaluation.thresholds import best_thresholds
from alti2v.records import Tag

_FIXED_THRESHOLD = 0.5
_RECALL_AT = 10


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions for a batch of pictures, with the board's labels.

    Attributes:
        images: (B, S, S, 3) uint8, RGB.
        labels: (B, T) uint8, 1 where the picture carries the tag.
        ids: (B,) int64, post numbers.
        probabilities: (B, T) float32 in [0, 1].
    """

    images: Uint8Array
    labels: Uint8Array
    ids: Int64Array
    probabilities: Float32Array


def tune_thresholds(
    batches: Iterable[Predictions], *, tags: Sequence[Tag], frequencies: Float64Array
) -> Thresholds:
    """Tune thresholds on the validation split, for the model and the baseline by the same rule.

    Args:
        batches: Predictions for the validation split.
        tags: The T tags.
        frequencies: (T,) share of the training pictures that carry the tag.

    Raises:
        DataError: A prediction is not a probability.
    """
    histograms = empty_histograms(len(frequencies))
    for batch in batches:
        add_predictions(histograms, batch.probabilities, batch.labels)
    model = equal_precision_recall_threshold(pool(histograms))
    baseline = constant_histograms(frequencies, histograms.positives.sum(axis=1), histograms.images)
    categories = category_masks(tags)
    return Thresholds(
        model=model,
        baseline=equal_precision_recall_threshold(pool(baseline)),
        own=best_thresholds(histograms, fallback=model),
        source=f"found on the {histograms.images:,} pictures of the validation split",
        images=histograms.images,
        categories={
            name: equal_precision_recall_threshold(pool(histograms, mask)) for name, mask in categories.items()
        },
        temperatures=fit_temperatures(histograms, categories),
    )


def fallback_thresholds(of_training: float | None, frequencies: Float64Array, train_samples: int) -> Thresholds:
    """Choose thresholds without a validation split: the model's own if it has one, else 0.5.

    Thresholds are never tuned on the evaluated split, which would flatter the model. The baseline's threshold
    is the one at which it predicts as many pairs as there are in the training pictures.
    """
    model = _FIXED_THRESHOLD if of_training is None else of_training
    training = constant_histograms(frequencies, np.rint(frequencies * train_samples), train_samples)
    return Thresholds(
        model=model,
        baseline=equal_precision_recall_threshold(pool(training)),
        own=np.full(len(frequencies), model),
        source="fixed, because there is no validation split"
        if of_training is None
        else "found when the model was trained, because this dataset has no validation split",
        images=0,
    )


def score(
    batches: Iterable[Predictions],
    *,
    tags: Sequence[Tag],
    frequencies: Float64Array,
    thresholds: Thresholds,
    min_positives: int,
    gallery: int,
    scratch: IO[bytes],
) -> EvaluationResult:
    """Score a split.

    Args:
        batches: Predictions for the split.
        tags: The T tags; their `count` decides the group by frequency.
        frequencies: (T,) share of the training pictures that carry the tag: the baseline's predictions.
        thresholds: Thresholds, tuned on another split.
        min_positives: Positive pictures that a tag needs to count in the mean average precision.
        gallery: Number of pictures of each kind to show.
        scratch: Empty file on a disk, for 2 bytes per picture and tag.

    Raises:
        DataError: A prediction is not a probability, or no picture carries any tag.
    """
    shortlists = Shortlists(threshold=thresholds.model, size=gallery)
    codes = CodeFile(scratch, len(tags))
    histograms, recall_at_10 = _count(batches, codes, shortlists, tags=len(tags))
    if not histograms.positives.any():
        raise DataError("no picture of the split has a tag that the model knows: give another --split")
    scored = _scored(
        histograms,
        codes,
        tags=tags,
        frequencies=frequencies,
        thresholds=thresholds,
        min_positives=min_positives,
    )
    return EvaluationResult(
        images=histograms.images,
        thresholds=thresholds,
        min_positives=scored.min_positives,
        groups=_groups(scored, tags, temperatures=thresholds.temperatures),
        recall_at_10=recall_at_10,
        tag_scores=scored.tag_scores,
        baseline_scores=scored.baseline_scores,
        baseline_curve=precision_recall_curve(pool(scored.baseline)),
        pictures=shortlists.pictures(),
        suggestions=shortlists.suggestions(),
        additions=shortlists.additions(),
    )


@dataclass(frozen=True, slots=True)
class _Scored:
    """Scores of all tags of a split, on its pictures and in every bootstrap draw."""

    histograms: Histograms
    tag_scores: TagScores
    baseline: Histograms
    baseline_scores: TagScores
    frequencies: Float64Array
    min_positives: int
    ranked: BoolArray
    resampled: Resampled


def _scored(
    histograms: Histograms,
    codes: CodeFile,
    *,
    tags: Sequence[Tag],
    frequencies: Float64Array,
    thresholds: Thresholds,
    min_positives: int,
) -> _Scored:
    """Score every tag, the baseline, and every bootstrap draw."""
    positives = histograms.positives.sum(axis=1)
    least = fewest_positives(positives, min_positives)
    baseline = constant_histograms(frequencies, positives, histograms.images)
    return _Scored(
        histograms=histograms,
        tag_scores=score_tags(
            histograms,
            threshold=thresholds.model,
            own_thresholds=thresholds.own,
            category_thresholds=[thresholds.categories.get(tag.category, thresholds.model) for tag in tags],
        ),
        baseline=baseline,
        baseline_scores=score_tags(baseline, threshold=thresholds.baseline),
        frequencies=frequencies,
        min_positives=least,
        ranked=positives >= least,
        resampled=resample(
            codes.by_tag(),
            draw_pictures(histograms.images),
            threshold=thresholds.model,
            ranked=positives >= least,
            groups=[mask for _, _, mask in groups_of(tags)],
        ),
    )


def _groups(scored: _Scored, tags: Sequence[Tag], *, temperatures: Mapping[str, float]) -> tuple[Group, ...]:
    categories = category_masks(tags)
    return tuple(
        _group(scored, group, row, categories=categories, temperatures=temperatures)
        for row, group in enumerate(groups_of(tags))
    )


def _count(
    batches: Iterable[Predictions], codes: CodeFile, shortlists: Shortlists, *, tags: int
) -> tuple[Histograms, float]:
    """Count every prediction, write its code to a file, and shortlist pictures for the gallery.

    Returns:
        The histograms, and the mean recall of the ten most probable tags.
    """
    histograms = empty_histograms(tags)
    recalled, tagged = 0.0, 0
    for batch in batches:
        shares = recalls_at(batch.probabilities, batch.labels, k=_RECALL_AT)
        recalled, tagged = recalled + float(np.nansum(shares)), tagged + int((~np.isnan(shares)).sum())
        bins = add_predictions(histograms, batch.probabilities, batch.labels)
        codes.append(encode(bins, batch.labels))
        shortlists.offer(
            images=batch.images,
            labels=batch.labels,
            ids=batch.ids,
            probabilities=batch.probabilities,
        )
    return histograms, recalled / max(tagged, 1)


def recalls_at(probabilities: Float32Array, labels: Uint8Array, *, k: int) -> Float64Array:
    """Share of each picture's tags that is among its k most probable ones, (B,); NaN without tags."""
    k = min(k, labels.shape[1])
    top = np.argpartition(-probabilities, k - 1, axis=1)[:, :k]
    positives = labels.sum(axis=1, dtype=np.int64)
    hits = np.take_along_axis(labels, top, axis=1).sum(axis=1, dtype=np.int64)
    shares: Float64Array = np.where(positives > 0, hits / np.maximum(positives, 1), np.nan)
    return shares


def groups_of(tags: Sequence[Tag]) -> Iterator[tuple[str, str, BoolArray]]:
    """Yield (kind, name, mask) for all tags, each category that occurs, and each decade of training counts."""
    yield "all", "all", np.ones(len(tags), bool)
    for name, mask in category_masks(tags).items():
        yield "category", name, mask
    counts = np.array([tag.count for tag in tags])
    decades = np.floor(np.log10(np.maximum(counts, 1))).astype(int)
    for decade in sorted(set(decades.tolist()), reverse=True):
        lowest = 10**decade if decade or counts.min() else 0  # a tag may have no training pictures
        yield "frequency", f"{lowest:,} to {10 ** (decade + 1) - 1:,}", decades == decade


def _group(
    scored: _Scored,
    group: tuple[str, str, BoolArray],
    row: int,
    *,
    categories: Mapping[str, BoolArray],
    temperatures: Mapping[str, float],
) -> Group:
    """Summarise a group of `groups_of`; `row` is its index among the resampled groups."""
    kind, name, mask = group
    model = summarise(scored.histograms, scored.tag_scores, min_positives=scored.min_positives, tags=mask)
    baseline = summarise(scored.baseline, scored.baseline_scores, min_positives=scored.min_positives, tags=mask)
    pooled = pool(scored.histograms, mask)
    of_group = [name] if kind == "category" else list(categories) if kind == "all" else []
    calibrated = (
        scaled_reliability(
            [pool(scored.histograms, categories[one]) for one in of_group],
            [temperatures.get(one, 1.0) for one in of_group],
        )
        if any(one in temperatures for one in of_group)
        else None
    )
    gained = skill(model.squared_error, baseline.squared_error)
    return Group(
        name=name,
        kind=kind,
        model=model,
        baseline=baseline,
        skill=gained,
        intervals=group_intervals(
            scored.resampled,
            tags=mask,
            ranked=scored.ranked,
            group=row,
            frequencies=scored.frequencies,
            values=(model.mean_ap, model.f1, model.macro_f1, gained),
        ),
        curve=precision_recall_curve(pooled),
        reliability=reliability(pooled),
        calibrated=calibrated,
    )
