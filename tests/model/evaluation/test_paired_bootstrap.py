"""Paired differences: metrics equal scikit-learn's, intervals those of an explicit paired bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from alti2v.model.evaluation.bootstrap import encode
from alti2v.model.evaluation.histograms import THRESHOLDS, add_predictions, bin_probabilities, empty_histograms
from alti2v.model.evaluation.metrics import category_masks
from alti2v.model.evaluation.paired_bootstrap import Difference, ModelOutcomes, PairedScores, compare_models
from alti2v.records import Category, Tag

THRESHOLD = float(THRESHOLDS[500])
CATEGORIES = (Category.GENERAL, Category.GENERAL, Category.CHARACTER, Category.CHARACTER, Category.GENERAL)
TAGS = tuple(Tag(name=f"tag_{index}", category=category, count=10) for index, category in enumerate(CATEGORIES))


def draw(images: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and the scores of two models that find the same pictures hard; the second is better."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((images, len(TAGS))) < [0.5, 0.3, 0.2, 0.15, 0.4]).astype(np.uint8)
    labels[:2] = 1
    hard = rng.normal(0, 1.5, (images, len(TAGS)))
    logits = [gain * labels - 1 + hard + rng.normal(0, 0.4, labels.shape) for gain in (1.5, 1.9)]
    first, second = (THRESHOLDS[bin_probabilities(1 / (1 + np.exp(-one)))] for one in logits)
    return labels, first, second


def side(scores: np.ndarray, labels: np.ndarray) -> ModelOutcomes:
    histograms = empty_histograms(labels.shape[1])
    codes = encode(add_predictions(histograms, scores, labels), labels)
    return ModelOutcomes(histograms=histograms, codes=codes, threshold=THRESHOLD)


def compared(
    *sides: ModelOutcomes, min_positives: int
) -> tuple[tuple[Difference, ...], tuple[PairedScores, ...]]:
    """The differences of the second model, and the scores of both."""
    groups = [("all", "all", np.ones(len(TAGS), bool))]
    groups += [("category", name, mask) for name, mask in category_masks(TAGS).items()]
    scores = compare_models(sides, groups=groups, min_positives=min_positives)
    return scores[1].differences, scores


def expected(labels: np.ndarray, scores: np.ndarray, tags: list[int]) -> dict[str, float]:
    truth, said = labels[:, tags], scores[:, tags]
    predicted = said >= np.float32(THRESHOLD)
    return {
        "mAP": reference.average_precision_score(truth, said, average="macro"),
        "micro F1": reference.f1_score(truth, predicted, average="micro"),
        "macro F1": reference.f1_score(truth, predicted, average="macro"),
        "squared error": np.square(said.astype(float) - truth).mean(),
    }


GROUPS = {"all": [0, 1, 2, 3, 4], "general": [0, 1, 4], "character": [2, 3]}


def test_the_figures_are_those_of_each_group() -> None:
    """The metrics of both models, over all tags and each category, equal scikit-learn's."""
    labels, first, second = draw(120)
    found, _ = compared(side(first, labels), side(second, labels), min_positives=1)

    assert [(one.group, one.figure) for one in found] == [
        (group, name) for group in GROUPS for name in ("mAP", "micro F1", "macro F1", "squared error")
    ]
    for one in found:
        assert one.first == pytest.approx(expected(labels, first, GROUPS[one.group])[one.figure])
        assert one.second == pytest.approx(expected(labels, second, GROUPS[one.group])[one.figure])
        assert one.interval.low <= one.second - one.first <= one.interval.high


def test_a_mean_over_some_of_few_tags_is_not_compared() -> None:
    """With three of five tags there is no mean average precision over all, but over the three of a category."""
    labels, first, second = draw(120)
    counts = labels.sum(axis=0)
    found, _ = compared(side(first, labels), side(second, labels), min_positives=int(counts[[0, 1, 4]].min()))

    assert counts[[2, 3]].max() < counts[[0, 1, 4]].min()
    assert [one.group for one in found if one.figure == "mAP"] == ["general"]


def test_the_intervals_are_those_of_the_paired_bootstrap() -> None:
    """Resampling the same pictures for both, 120 times, gives the same widths within three tenths."""
    labels, first, second = draw(300, seed=1)
    found, _ = compared(side(first, labels), side(second, labels), min_positives=1)

    rng = np.random.default_rng(2)
    gaps: dict[tuple[str, str], list[float]] = {}
    for _ in range(120):
        rows = rng.integers(0, len(labels), len(labels))
        for group, tags in GROUPS.items():
            one, other = (expected(labels[rows], scores[rows], tags) for scores in (first, second))
            for name in one:
                gaps.setdefault((group, name), []).append(other[name] - one[name])
    for difference in found:
        width = 2 * 1.96 * np.std(gaps[difference.group, difference.figure])
        assert difference.interval.high - difference.interval.low == pytest.approx(width, rel=0.3)


def test_pairing_makes_the_difference_surer_than_the_figures() -> None:
    """Pairing narrows the interval, because pictures that are hard for both cancel out."""
    labels, first, second = draw(300, seed=3)
    paired, _ = compared(side(first, labels), side(second, labels), min_positives=1)
    order = np.random.default_rng(4).permutation(len(labels))
    torn, _ = compared(side(first, labels), side(second[order], labels[order]), min_positives=1)

    for one, other in zip(paired, torn, strict=True):
        assert one.second == pytest.approx(other.second)
        assert one.interval.high - one.interval.low < 0.8 * (other.interval.high - other.interval.low)


def test_a_model_does_not_differ_from_itself() -> None:
    """A model compared with itself differs by exactly 0, with an interval of width 0."""
    labels, first, _ = draw(80)
    found, (_, second) = compared(side(first, labels), side(first, labels), min_positives=1)

    assert all((one.interval.low, one.interval.high) == (0, 0) and not one.is_shown for one in found)
    assert not second.margin.any()


def test_single_tags_have_intervals_and_rare_ones_have_none() -> None:
    """Tags with fewer positives than `min_positives` have no average precision to compare."""
    labels, first, second = draw(200, seed=5)
    labels[:, 3] = 0
    labels[:4, 3] = 1
    _, (one_model, other_model) = compared(side(first, labels), side(second, labels), min_positives=5)

    assert np.isnan([model.average_precision[3] for model in (one_model, other_model)]).all()
    assert np.isnan(other_model.margin[3])
    for tag in (0, 1, 2, 4):
        assert one_model.average_precision[tag] == pytest.approx(
            reference.average_precision_score(labels[:, tag], first[:, tag])
        )
    rng = np.random.default_rng(6)
    gaps = []
    for _ in range(200):
        rows = rng.integers(0, len(labels), len(labels))
        one, other = (
            reference.average_precision_score(labels[rows, 0], scores[rows, 0]) for scores in (first, second)
        )
        gaps.append(other - one)
    assert other_model.margin[0] == pytest.approx(1.96 * np.std(gaps), rel=0.25)


def test_a_smaller_squared_error_is_better() -> None:
    """A smaller squared error is better; all other metrics are better if larger."""
    labels, first, second = draw(400, seed=7)
    found, _ = compared(side(first, labels), side(second, labels), min_positives=1)
    overall = {one.figure: one for one in found if one.group == "all"}

    assert overall["squared error"].second < overall["squared error"].first
    assert all(one.second_is_better and one.is_shown for one in overall.values())
