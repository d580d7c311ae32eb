"""The bootstrap: every draw has scikit-learn's metrics, and intervals equal those of explicit resampling."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from alti2v.model.evaluation import bootstrap
from alti2v.model.evaluation.bootstrap import (
    NORMAL_95,
    Intervals,
    Resampled,
    by_tag,
    draw_pictures,
    encode,
    group_intervals,
    macro_f1s,
    mean_aps,
    micro_f1s,
    resample,
    skills,
)
from alti2v.model.evaluation.histograms import (
    BINS,
    MIDDLES,
    THRESHOLDS,
    Histograms,
    add_predictions,
    bin_probabilities,
    empty_histograms,
)
from alti2v.model.evaluation.metrics import Scores, score_tags, skill, summarise

THRESHOLD = 0.35


def random_split(seed: int, images: int, tags: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random((images, tags)) < np.linspace(0.5, 0.1, tags)).astype(np.uint8)
    labels[0] = 1
    logits = rng.normal(-1, 1.2, (images, tags)) + rng.normal(0, 0.5, (images, 1)) + 1.5 * labels
    return (1 / (1 + np.exp(-logits))).astype(np.float32), labels


def crowded_split() -> tuple[np.ndarray, np.ndarray]:
    """A split with few distinct scores, a tag on every picture, and a tag on one picture."""
    scores, labels = random_split(8, images=40, tags=4)
    scores = (np.floor(scores * 4) / 4).astype(np.float32)
    scores[:, 3] = 0.5
    labels[:, 1] = 1
    labels[1:, 2] = 0
    return scores, labels


SPLITS = [random_split(0, images=60, tags=3), crowded_split()]


def histograms_of(scores: np.ndarray, labels: np.ndarray) -> Histograms:
    histograms = empty_histograms(scores.shape[1])
    add_predictions(histograms, scores, labels)
    return histograms


def of_draws(drawn: np.ndarray | None) -> np.ndarray:
    """Return the values of all draws, which must exist."""
    assert drawn is not None
    return drawn


def everything(tags: int) -> np.ndarray:
    return np.ones(tags, bool)


def resampled(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Resampled:
    tags = everything(labels.shape[1])
    codes = encode(bin_probabilities(scores), labels)
    return resample(by_tag(codes), weights, threshold=THRESHOLD, ranked=labels.max(axis=0) > 0, groups=[tags])


@pytest.mark.parametrize(("scores", "labels"), SPLITS)
def test_every_draw_has_scikit_learns_figures(scores: np.ndarray, labels: np.ndarray) -> None:
    """A picture that is drawn three times has weight 3; all metrics agree with scikit-learn's."""
    weights = draw_pictures(len(labels))
    frequencies = np.linspace(0.5, 0.1, labels.shape[1])
    found = resampled(scores, labels, weights)
    tags = everything(labels.shape[1])
    rounded, predicted = THRESHOLDS[bin_probabilities(scores)], scores >= np.float32(THRESHOLD)
    middle = MIDDLES[bin_probabilities(scores)]

    for draw in range(25):
        weight = weights[:, draw]
        seen = [tag for tag in range(labels.shape[1]) if labels[weight > 0, tag].any()]
        precisions = [
            reference.average_precision_score(labels[:, tag], rounded[:, tag], sample_weight=weight)
            for tag in seen
        ]
        macro = reference.f1_score(
            labels[:, seen], predicted[:, seen], average="macro", sample_weight=weight, zero_division=0
        )
        micro = reference.f1_score(labels, predicted, average="micro", sample_weight=weight)
        ours = (weight @ np.square(middle - labels)).sum()
        theirs = (weight @ np.square(frequencies - labels)).sum()

        np.testing.assert_allclose(found.average_precision[seen, draw], precisions, atol=1e-6)
        assert of_draws(mean_aps(found, tags))[draw] == pytest.approx(np.mean(precisions), abs=1e-6)
        assert micro_f1s(found, tags)[draw] == pytest.approx(micro)
        assert macro_f1s(found, tags)[draw] == pytest.approx(macro, abs=1e-6)
        assert found.errors[0, draw] == pytest.approx(ours)
        drawn_skills = of_draws(skills(found, tags, group=0, frequencies=frequencies))
        assert drawn_skills[draw] == pytest.approx(1 - ours / theirs)


def test_a_tag_without_a_picture_in_a_draw_is_left_out_of_its_means() -> None:
    """In draws without the only picture of a tag, the tag is left out of the means instead of counting as 0."""
    scores, labels = crowded_split()
    weights = draw_pictures(len(labels))
    absent = weights[0] == 0
    found = resampled(scores, labels, weights)

    assert 0.2 < absent.mean() < 0.5
    assert np.isnan(found.average_precision[2, absent]).all()
    assert not np.isnan(found.average_precision[2, ~absent]).any()
    assert (macro_f1s(found, np.arange(4) == 2)[absent] != 0).all()


def test_draws_are_of_as_many_pictures_and_always_the_same() -> None:
    """Every draw has N pictures, two calls agree, and large splits get fewer draws."""
    weights = draw_pictures(300)

    assert weights.shape == (300, 400)
    assert (weights.sum(axis=0) == 300).all()
    assert (weights == draw_pictures(300)).all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "_MOST_WEIGHTS", 2**23)

        assert draw_pictures(100_000).shape[1] == 2**23 // 100_000
        assert draw_pictures(100_000).dtype == np.uint32


def intervals_of(scores: np.ndarray, labels: np.ndarray, frequencies: np.ndarray) -> Intervals | None:
    """Intervals computed as `scoring` does."""
    histograms = histograms_of(scores, labels)
    found: Scores = summarise(histograms, score_tags(histograms, threshold=THRESHOLD), min_positives=1)
    theirs = float(np.square(frequencies - labels).mean())
    tags = everything(labels.shape[1])
    return group_intervals(
        resampled(scores, labels, draw_pictures(len(labels))),
        tags=tags,
        ranked=labels.max(axis=0) > 0,
        group=0,
        frequencies=frequencies,
        values=(found.mean_ap, found.f1, found.macro_f1, skill(found.squared_error, theirs)),
    )


def test_the_intervals_are_those_of_drawing_by_hand() -> None:
    """Scoring 400 explicit resamples gives standard deviations within a sixth of ours."""
    images, tags, draws = 400, 6, 400
    scores, labels = random_split(4, images=images, tags=tags)
    frequencies = labels.mean(axis=0)

    def figures(rows: np.ndarray) -> tuple[float, float, float, float]:
        part, of_part = scores[rows], labels[rows]
        histograms = histograms_of(part, of_part)
        found = summarise(histograms, score_tags(histograms, threshold=THRESHOLD), min_positives=1)
        theirs = np.square(frequencies - of_part).mean()
        assert found.mean_ap is not None
        assert found.macro_f1 is not None
        return found.mean_ap, found.f1, found.macro_f1, float(1 - found.squared_error / theirs)

    rng = np.random.default_rng(5)
    drawn = np.array([figures(rng.integers(0, images, images)) for _ in range(draws)])
    intervals = intervals_of(scores, labels, frequencies)
    assert intervals is not None

    for column, interval in enumerate((intervals.mean_ap, intervals.f1, intervals.macro_f1, intervals.skill)):
        assert interval is not None
        width = 2 * NORMAL_95 * drawn[:, column].std()
        assert interval.high - interval.low == pytest.approx(width, rel=1 / 6)
        assert interval.low < drawn[:, column].mean() < interval.high


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 120 similar splits, at least nine in ten have an interval of micro F1 that contains the true value."""
    scores, labels = random_split(9, images=40_000, tags=3)
    predicted = scores >= np.float32(THRESHOLD)
    truth = reference.f1_score(labels, predicted, average="micro")
    held = 0
    for start in range(0, 36_000, 300):
        part = slice(start, start + 300)
        intervals = intervals_of(scores[part], labels[part], labels.mean(axis=0))
        assert intervals is not None
        interval = intervals.f1
        held += interval.low <= truth <= interval.high

    assert held / 120 >= 0.9


def test_one_picture_has_no_interval() -> None:
    """A single picture gives no interval."""
    scores, labels = random_split(6, images=1, tags=2)

    assert intervals_of(scores, labels, np.array([0.5, 0.5])) is None


def test_a_perfect_baseline_leaves_no_skill_to_be_sure_of() -> None:
    """If the baseline makes no error, skill has no interval; the other metrics do."""
    scores, labels = random_split(7, images=50, tags=2)
    labels[:] = 1
    intervals = intervals_of(scores, labels, np.array([1.0, 1.0]))

    assert intervals is not None
    assert intervals.skill is None
    assert intervals.f1.low < intervals.f1.high


def test_a_code_holds_bin_and_label() -> None:
    """A code of two bytes holds the bin and the label."""
    codes = encode(np.array([[0, BINS - 1]]), np.array([[1, 1]]))

    assert codes.dtype == np.uint16
    assert codes.tolist() == [[BINS, 2 * BINS - 1]]
