"""Describe a model after loading and trying it: the orchestrator of `alti2v model`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from alti2v.model.evaluation.thresholds import BETAS
from alti2v.model.loading.description import ModelInput, ModelOutput
from alti2v.model.loading.fingerprint import model_hash
from alti2v.model.loading.trial import batch_difference, batch_note
from alti2v.model.tagging.tagger import Tagger, load_tagger


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdSummary:
    """Thresholds of a model itself.

    Attributes:
        overall: Threshold of tags without another one; None if the model does not say.
        by_category: Category -> threshold.
        tags_with_own: Number of tags that have a threshold of their own.
        source: Origin of the thresholds; "" if there are none.
        rules: Rules of `--threshold-rule` for which each tag has a tuned threshold.
    """

    overall: float | None
    by_category: Mapping[str, float]
    tags_with_own: int
    source: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """Description of a model for its user.

    Attributes:
        model: Path, as given.
        family: Family of the folder.
        model_file: File of the network.
        sha256: SHA-256 of that file.
        input: Input of the network.
        output: Outputs of the network.
        tags: Category -> number of tags.
        thresholds: Thresholds that come with the model.
        characters_with_copyright: Number of characters whose copyrights the model knows.
        device: Device that it runs on.
        notes: Remarks about the folder, one line each.
    """

    model: Path
    family: str
    model_file: str
    sha256: str
    input: ModelInput
    output: ModelOutput
    tags: Mapping[str, int]
    thresholds: ThresholdSummary
    characters_with_copyright: int
    device: str
    notes: tuple[str, ...]


def describe(model: Path) -> ModelReport:
    """Load a model, try it on two pictures together and on one alone, and describe it.

    Raises:
        UsageError: There is no model that can be read.
        DamagedError: It is damaged, or does not give probabilities of its tags.
    """
    tagger = load_tagger(model, batch_size=1, pictures=0)
    description = tagger.description
    note = batch_note(batch_difference(tagger.forward, description.input))
    return ModelReport(
        model=model,
        family=description.family,
        model_file=description.model_file,
        sha256=model_hash(model),
        input=description.input if note is None else replace(description.input, at_once=1),
        output=description.output,
        tags={category: len(members) for category, members in description.vocabulary.members.items()},
        thresholds=_thresholds(tagger),
        characters_with_copyright=len(description.copyright_of),
        device=tagger.device,
        notes=(*description.notes, *([note] if note else [])),
    )


def _thresholds(tagger: Tagger) -> ThresholdSummary:
    own = tagger.description.thresholds
    tuned = () if tagger.tuned is None else tuple(tagger.tuned.rules)
    return ThresholdSummary(
        overall=own.overall,
        by_category=own.by_category,
        tags_with_own=0 if own.by_tag is None else int(np.isfinite(own.by_tag).sum()),
        source=own.source,
        rules=tuple(rule.value for rule in BETAS if rule.value in tuned),
    )
