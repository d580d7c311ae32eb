"""Figures of the models of a comparison: from counted predictions to thresholds, scores and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alti2v.arrays import Float64Array
from alti2v.dataset.manifest import read_manifest
from alti2v.model.comparison.contestant import Contestant
from alti2v.model.comparison.feeding import is_smaller
from alti2v.model.comparison.outcomes import Counted
from alti2v.model.comparison.result import ComparedGroup, ComparedModel, OwnThresholdScores
from alti2v.model.comparison.shared_tags import SharedTags, tags_without_ratings
from alti2v.model.evaluation.calibration import fit_temperatures, scaled_reliability
from alti2v.model.evaluation.histograms import Histograms, pool
from alti2v.model.evaluation.metrics import (
    category_masks,
    equal_precision_recall_threshold,
    f1_score,
    precision_recall_curve,
    score_tags,
    summarise,
)
from alti2v.model.evaluation.paired_bootstrap import PairedScores, TagGroup
from alti2v.model.evaluation.reliability import reliability
from alti2v.model.options.evaluation import CompareConfig
from alti2v.model.tagging.selection import DEFAULT_THRESHOLD
from alti2v.records import Tag

_FIXED_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedThreshold:
    """Threshold of all tags of a model.

    Attributes:
        value: Threshold of all tags.
        source: Origin of the threshold, in words.
        temperatures: Temperature of each category that has enough positives (`calibration`).
    """

    value: float
    source: str
    temperatures: Mapping[str, float]


def tuned(histograms: Histograms, tags: Sequence[Tag]) -> TunedThreshold:
    """Tune the threshold at which precision equals recall over all tags."""
    return TunedThreshold(
        value=equal_precision_recall_threshold(pool(histograms)),
        source=f"found on the {histograms.images:,} pictures of the validation split",
        temperatures=fit_temperatures(histograms, category_masks(tags)),
    )


def untuned(contestant: Contestant) -> TunedThreshold:
    """Choose the threshold without a validation split: the model's own, else 0.5."""
    own = contestant.tagger.threshold
    return TunedThreshold(
        value=_FIXED_THRESHOLD if own is None else own,
        source="fixed" if own is None else "the model's own",
        temperatures={},
    )


def compared_models(
    contestants: Sequence[Contestant],
    common: SharedTags,
    counted: Sequence[Counted],
    thresholds: Sequence[TunedThreshold],
    paired: Sequence[PairedScores],
    groups: Sequence[TagGroup],
    config: CompareConfig,
) -> tuple[ComparedModel, ...]:
    """Summarise the models of a comparison; all but `groups` have an element for each of them."""
    return tuple(
        ComparedModel(
            model=one.model,
            name=one.name,
            family=one.tagger.description.family,
            training_is_known=one.origin.dataset is not None,
            size=one.tagger.description.input.size,
            pictures=_pictures_in_words(one, has_store=config.store is not None),
            tags=tags_without_ratings(one.tagger.vocabulary),
            known=known,
            respelt=respelt,
            threshold=threshold.value,
            threshold_source=threshold.source,
            own=_at_own(found, one.tagger.description.thresholds.source),
            groups=_groups(found.histograms, threshold, common.tags, groups, config.min_positives),
            paired=of_pairs,
        )
        for one, known, respelt, found, threshold, of_pairs in zip(
            contestants, common.known, common.respelt, counted, thresholds, paired, strict=True
        )
    )


def _at_own(counted: Counted, source: str) -> OwnThresholdScores:
    positives = counted.histograms.positives.sum(axis=1, dtype=np.int64)
    correct, predicted, carried = (
        int(table.sum()) for table in (counted.own_correct, counted.own_predicted, positives)
    )
    f1s: Float64Array = 2 * counted.own_correct / np.maximum(counted.own_predicted + positives, 1)
    return OwnThresholdScores(
        source=source or f"none comes with it: {DEFAULT_THRESHOLD:g}",
        precision=correct / max(predicted, 1),
        recall=correct / max(carried, 1),
        f1=f1_score(correct=correct, predicted=predicted, positives=carried),
        macro_f1=float(f1s[positives > 0].mean()),
    )


def _groups(
    histograms: Histograms,
    threshold: TunedThreshold,
    tags: Sequence[Tag],
    groups: Sequence[TagGroup],
    min_positives: int,
) -> tuple[ComparedGroup, ...]:
    scores = score_tags(histograms, threshold=threshold.value)
    masks = category_masks(tags)
    found = []
    for kind, name, mask in groups:
        pooled = pool(histograms, mask)
        parts = {one: pool(histograms, of_category & mask) for one, of_category in masks.items()}
        found.append(
            ComparedGroup(
                kind=kind,
                name=name,
                scores=summarise(histograms, scores, min_positives=min_positives, tags=mask),
                curve=precision_recall_curve(pooled),
                reliability=reliability(pooled),
                calibrated=scaled_reliability(
                    list(parts.values()), [threshold.temperatures.get(one, 1.0) for one in parts]
                )
                if threshold.temperatures
                else None,
            )
        )
    return tuple(found)


def _pictures_in_words(contestant: Contestant, *, has_store: bool) -> str:
    manifest = read_manifest(contestant.dataset)
    if has_store and is_smaller(manifest, contestant.tagger.preprocessing):
        return "originals of the store"
    return f"the dataset's, {manifest.image.size} px"
