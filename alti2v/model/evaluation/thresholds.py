"""Thresholds of single tags, tuned on the validation split, and the file that stores them.

`thresholds.json` is stored in the folder of a model, exported ones included. It names tags, so it does not
depend on the order of the outputs. A tag counts as predicted if its probability is at least the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alti2v.arrays import Float32Array, Float64Array
from alti2v.errors import DamagedError, UsageError
from alti2v.model.evaluation.histograms import BINS, THRESHOLDS, Histograms, sums_from_above
from alti2v.model.evaluation.metrics import threshold_bin
from alti2v.model.options.choices import Rule
from alti2v.storage.documents import fault_in_words, require_version
from alti2v.storage.layout import FORMAT_VERSION, THRESHOLDS_FILE
from alti2v.storage.publish import publish_json, read_json

_KIND = "thresholds"
_CHUNK = 256  # tags at a time, so that a (tags, BINS) float64 intermediate takes 2 MB


# With fewer pictures that have a tag, its best threshold is chance, and can be next to 0.
LEAST_POSITIVES = 5

BETAS: Mapping[Rule, float] = {Rule.F05: 0.5, Rule.F1: 1.0, Rule.F2: 2.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedThresholds:
    """Thresholds of single tags.

    Attributes:
        rules: "f0.5", "f1", "f2" -> name of the tag -> threshold, [0, 1].
        fallback: Threshold of tags that are not named: those with fewer than `LEAST_POSITIVES` pictures.
        images: Number of pictures that they were tuned on.
    """

    rules: Mapping[str, Mapping[str, float]]
    fallback: float
    images: int


def tune(histograms: Histograms, names: Sequence[str], *, fallback: float) -> TunedThresholds:
    """Find the thresholds with the best F0.5, F1 and F2 of every tag.

    Args:
        histograms: Histograms of the validation split.
        names: Names of the T tags.
        fallback: Threshold of tags with fewer than `LEAST_POSITIVES` pictures, which are not named; among
            equally good thresholds, the nearest to it is chosen.
    """
    is_tuned = histograms.positives.sum(axis=1) >= LEAST_POSITIVES
    rules = {
        rule.value: {
            name: float(threshold)
            for name, threshold, tuned in zip(
                names, best_thresholds(histograms, beta=beta, fallback=fallback), is_tuned, strict=True
            )
            if tuned
        }
        for rule, beta in BETAS.items()
    }
    return TunedThresholds(rules=rules, fallback=fallback, images=histograms.images)


def best_thresholds(histograms: Histograms, *, fallback: float, beta: float = 1.0) -> Float64Array:
    """Find for each tag the threshold with the highest F-beta; (T,) elements of THRESHOLDS.

    F = (1 + b^2) TP / (b^2 positives + predicted) (van Rijsbergen 1979, Information Retrieval, chapter 7).
    Among equally good thresholds the nearest to `fallback` wins, and a tag with fewer than `LEAST_POSITIVES`
    pictures gets `fallback`: few pictures are weak evidence, so they should change it little.
    """
    found = np.full(len(histograms.totals), fallback)
    distance = np.abs(threshold_bin(fallback) - np.arange(BINS))
    for start in range(0, len(found), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        correct, predicted = (
            sums_from_above(histograms.positives[chunk]),
            sums_from_above(histograms.totals[chunk]),
        )
        divisor = beta**2 * correct[:, :1] + predicted
        score = (1 + beta**2) * correct / np.where(divisor == 0, 1, divisor)
        best = score.max(axis=1, keepdims=True)
        nearest = np.where(score == best, distance, BINS).argmin(axis=1)
        found[chunk] = np.where(correct[:, 0] >= LEAST_POSITIVES, THRESHOLDS[nearest], fallback)
    return found


def write_thresholds(folder: Path, tuned: TunedThresholds) -> None:
    """Write thresholds.json into the folder of a model.

    Raises:
        StorageError: The file system refuses.
    """
    publish_json(
        folder / THRESHOLDS_FILE,
        {
            "kind": _KIND,
            "version": FORMAT_VERSION,
            "rules": {name: dict(values) for name, values in tuned.rules.items()},
            "fallback": tuned.fallback,
            "images": tuned.images,
        },
    )


def read_thresholds(folder: Path) -> TunedThresholds | None:
    """Read thresholds.json from the folder of a model; None if there is none.

    Raises:
        VersionError: Another format version wrote it.
        DamagedError: It does not hold thresholds.
    """
    file = folder / THRESHOLDS_FILE
    try:
        value = read_json(file)
    except FileNotFoundError:
        return None
    try:
        if value["kind"] != _KIND:
            raise ValueError(f"its kind is {value['kind']!r}")
        require_version(file, value["version"])
        return TunedThresholds(
            rules={
                str(rule): {str(name): _probability(number) for name, number in values.items()}
                for rule, values in value["rules"].items()
            },
            fallback=_probability(value["fallback"]),
            images=_count(value["images"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise DamagedError(
            f"{file} does not hold thresholds ({fault_in_words(exc):.120}): remove it, or train again"
        ) from exc


def own_thresholds(tuned: TunedThresholds | None, rule: Rule, names: Sequence[str]) -> Float32Array:
    """Return each tag's own threshold of a rule, (T,): a tag passes if its probability is at least that.

    Raises:
        UsageError: The model has no tuned thresholds.
    """
    found = {} if tuned is None else tuned.rules.get(rule.value)
    if tuned is None or found is None:
        raise UsageError(
            f"the model has no thresholds for the rule {rule.value}: they are tuned on a validation split "
            f"and kept in {THRESHOLDS_FILE}; take the rule constant or mcut"
        )
    return np.array([found.get(name, tuned.fallback) for name in names], np.float32)


def tuned_sources(tuned: TunedThresholds, rule: Rule, names: Sequence[str]) -> tuple[str, ...]:
    """Return the origin of each number of `own_thresholds`, for display."""
    of_tag = f"{rule}, tuned for each tag on the validation split"
    common = f"common threshold of tags with fewer than {LEAST_POSITIVES} pictures there"
    return tuple(of_tag if name in tuned.rules.get(rule.value, {}) else common for name in names)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r:.60} is not a number of pictures")
    return value


def _probability(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError(f"{value!r:.60} is not a number in [0, 1]")
    return float(value)
