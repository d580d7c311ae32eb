"""The metrics equal scikit-learn's, on random and on degenerate splits."""

from __future__ import annotations

import warnings
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from alti2v.model.evaluation.histograms import (
    SLICES,
    THRESHOLDS,
    Histograms,
    add_predictions,
    bin_probabilities,
    constant_histograms,
    empty_histograms,
    pool,
)
from alti2v.model.evaluation.metrics import (
    equal_precision_recall_threshold,
    few_ranked,
    fewest_positives,
    precision_recall_curve,
    score_tags,
    skill,
    summarise,
)
from alti2v.model.evaluation.reliability import reliability
from alti2v.model.evaluation.thresholds import best_thresholds


def histograms_of(scores: np.ndarray, labels: np.ndarray) -> Histograms:
    histograms = empty_histograms(scores.shape[1])
    add_predictions(histograms, scores, labels)
    return histograms


def rounded_down(scores: np.ndarray) -> np.ndarray:
    return THRESHOLDS[bin_probabilities(scores)]


def random_split(seed: int, images: int = 300, tags: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """A split with informative, skewed probabilities and tags from frequent to rare."""
    rng = np.random.default_rng(seed)
    rates = np.geomspace(0.5, 0.02, tags)
    labels = (rng.random((images, tags)) < rates).astype(np.uint8)
    logits = rng.normal(np.log(rates / (1 - rates)), 1.5, (images, tags)) + 1.5 * labels
    return (1 / (1 + np.exp(-logits))).astype(np.float32), labels


def coarse_split(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Many ties: five distinct probabilities."""
    scores, labels = random_split(seed)
    return (np.floor(scores * 5) / 5).astype(np.float32), labels


def degenerate_split() -> tuple[np.ndarray, np.ndarray]:
    """Tags without positives, with positives only, with constant, with perfect and with inverted scores."""
    rng = np.random.default_rng(3)
    labels = (rng.random((60, 6)) < 0.3).astype(np.uint8)
    scores = rng.random((60, 6)).astype(np.float32)
    labels[:, 0], labels[:, 1] = 0, 1
    scores[:, 2] = 0.25
    scores[:, 3], scores[:, 4] = labels[:, 3], 1 - labels[:, 4]
    scores[:, 5] = 0
    return scores, labels


SPLITS = [random_split(0), random_split(1, images=7), coarse_split(2), degenerate_split()]


@pytest.mark.parametrize(("scores", "labels"), SPLITS)
def test_average_precision_is_scikit_learns(scores: np.ndarray, labels: np.ndarray) -> None:
    """Average precision equals scikit-learn's on rounded scores, and bounds it on the scores themselves."""
    found = score_tags(histograms_of(scores, labels), threshold=0.5)

    for tag in range(labels.shape[1]):
        if not labels[:, tag].any():
            assert np.isnan(found.average_precision[tag])
            continue
        rounded = reference.average_precision_score(labels[:, tag], rounded_down(scores[:, tag]))
        exact = reference.average_precision_score(labels[:, tag], scores[:, tag])
        assert found.average_precision[tag] == pytest.approx(rounded, abs=1e-12)
        assert found.ap_low[tag] - 1e-12 <= exact <= found.ap_high[tag] + 1e-12


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_the_bounds_of_average_precision_hold(data: st.DataObject) -> None:
    """The exact average precision is within the bounds for any crowding of scores in a bin."""
    size = data.draw(st.integers(1, 14))
    crowded = st.sampled_from([0.0, 1e-9, 1e-8, 0.3, 0.3001, 0.3002, 0.3003, 0.9, 1.0])
    scores = data.draw(hnp.arrays(np.float32, (size, 1), elements=crowded))
    labels = data.draw(hnp.arrays(np.uint8, (size, 1), elements=st.integers(0, 1)))
    labels[data.draw(st.integers(0, size - 1))] = 1

    found = score_tags(histograms_of(scores, labels), threshold=0.5)

    exact = reference.average_precision_score(labels[:, 0], scores[:, 0])
    assert found.ap_low[0] - 1e-12 <= exact <= found.ap_high[0] + 1e-12


def test_the_bounds_are_tight_on_ordinary_scores() -> None:
    """On 2,000 pictures the bounds of the mean average precision differ by less than 0.01."""
    scores, labels = random_split(5, images=2000, tags=20)
    histograms = histograms_of(scores, labels)
    found = summarise(histograms, score_tags(histograms, threshold=0.5), min_positives=10)

    assert found.mean_ap is not None
    assert found.mean_ap_low is not None
    assert found.mean_ap_high is not None
    assert found.mean_ap_low <= found.mean_ap <= found.mean_ap_high
    assert found.mean_ap_high - found.mean_ap_low < 0.01
    assert found.mean_ap == pytest.approx(
        reference.average_precision_score(labels, scores, average="macro"), abs=0.002
    )


@pytest.mark.parametrize(("scores", "labels"), SPLITS)
@pytest.mark.parametrize("threshold", [0.05, 0.35, 0.5, float(THRESHOLDS[700])])
def test_figures_at_a_threshold_are_scikit_learns(
    scores: np.ndarray, labels: np.ndarray, threshold: float
) -> None:
    """Micro and macro precision, recall, F1 and MCC at an edge are exact; macro over the tags seen."""
    histograms = histograms_of(scores, labels)
    found = summarise(histograms, score_tags(histograms, threshold=threshold), min_positives=1)

    predicted = scores >= np.float32(threshold)
    seen = labels.any(axis=0)
    micro = reference.precision_recall_fscore_support(labels, predicted, average="micro", zero_division=0)
    macro = reference.precision_recall_fscore_support(
        labels[:, seen], predicted[:, seen], average="macro", zero_division=0
    )
    with warnings.catch_warnings():  # scikit-learn warns about a single class, and answers 0
        warnings.simplefilter("ignore")
        mcc = reference.matthews_corrcoef(labels.ravel(), predicted.ravel())
    assert (found.precision, found.recall, found.f1) == pytest.approx(micro[:3])
    assert (found.macro_precision, found.macro_recall, found.macro_f1) == pytest.approx(macro[:3])
    assert found.mcc == pytest.approx(mcc)
    assert found.tags_seen == seen.sum()


@pytest.mark.parametrize(("scores", "labels"), SPLITS)
def test_squared_error_is_the_mean_brier_score(scores: np.ndarray, labels: np.ndarray) -> None:
    """The squared error over all pairs is the mean of scikit-learn's Brier scores, without binning."""
    histograms = histograms_of(scores, labels)
    found = summarise(histograms, score_tags(histograms, threshold=0.5), min_positives=1)

    brier = [
        reference.brier_score_loss(labels[:, tag], scores[:, tag].astype(float), pos_label=1)
        for tag in range(labels.shape[1])
    ]
    assert found.squared_error == pytest.approx(np.mean(brier))


def test_the_curve_is_scikit_learns() -> None:
    """The pooled curve has scikit-learn's points for the rounded scores."""
    scores, labels = random_split(7)
    curve = precision_recall_curve(pool(histograms_of(scores, labels)))

    precision, recall, thresholds = reference.precision_recall_curve(
        labels.ravel(), rounded_down(scores).ravel()
    )
    np.testing.assert_allclose(curve.thresholds, thresholds)
    np.testing.assert_allclose(curve.precision, precision[:-1])  # its last point is (1, 0), by convention
    np.testing.assert_allclose(curve.recall, recall[:-1])


def test_precision_equals_recall_at_the_found_threshold() -> None:
    """With many scores, precision and recall are equal up to the pairs of one bin."""
    scores, labels = random_split(8, images=3000)
    threshold = equal_precision_recall_threshold(pool(histograms_of(scores, labels)))

    predicted = scores >= np.float32(threshold)
    precision = reference.precision_score(labels, predicted, average="micro")
    recall = reference.recall_score(labels, predicted, average="micro")
    assert np.float32(threshold) in THRESHOLDS
    assert precision == pytest.approx(recall, abs=0.01)


def test_no_other_edge_brings_precision_and_recall_nearer() -> None:
    """The threshold minimises the difference between predicted and positive pairs over all edges."""
    scores, labels = coarse_split(9)
    threshold = equal_precision_recall_threshold(pool(histograms_of(scores, labels)))

    def distance(edge: float) -> int:
        return abs(int((scores >= np.float32(edge)).sum()) - int(labels.sum()))

    assert distance(threshold) == min(distance(edge) for edge in THRESHOLDS[1:])


def test_a_split_without_positives_has_figures_all_the_same() -> None:
    """Without positives the threshold predicts nothing, ratios are 0, and macro means are None."""
    scores = np.full((5, 2), 0.2, np.float32)
    labels = np.zeros((5, 2), np.uint8)
    histograms = histograms_of(scores, labels)
    threshold = equal_precision_recall_threshold(pool(histograms))
    found = summarise(histograms, score_tags(histograms, threshold=threshold), min_positives=1)

    assert threshold > 0.2
    assert (found.precision, found.recall, found.f1, found.mcc) == (0, 0, 0, 0)
    assert (found.mean_ap, found.macro_f1, found.tags_seen, found.tags_ranked) == (None, None, 0, 0)


def test_constant_scores_rank_no_better_than_the_tags_frequency() -> None:
    """The baseline's average precision is the share of positive pictures, for any scores."""
    _, labels = random_split(10)
    baseline = constant_histograms(
        np.linspace(0.9, 0.1, labels.shape[1]), labels.sum(axis=0), images=len(labels)
    )

    np.testing.assert_allclose(
        score_tags(baseline, threshold=0.5).average_precision, labels.mean(axis=0), atol=1e-12
    )


def test_own_thresholds_are_the_best_of_all_edges() -> None:
    """No edge gives a tag a higher F1, and a tag without positives keeps the common threshold."""
    scores, labels = random_split(11, images=200, tags=4)
    labels[:, 3] = 0
    assert (labels[:, :3].sum(axis=0) >= 5).all()
    histograms = histograms_of(scores, labels)
    own = best_thresholds(histograms, fallback=0.5)
    found = score_tags(histograms, threshold=0.5, own_thresholds=own)

    for tag in range(3):
        # All that any edge can predict; most edges predict the same.
        answers = np.unique(scores[:, tag] >= THRESHOLDS[:, np.newaxis], axis=0)
        best = max(reference.f1_score(labels[:, tag], answer, zero_division=0) for answer in answers)
        assert len(answers) > 20
        assert found.f1_own[tag] == pytest.approx(best)
    assert own[3] == 0.5


@pytest.mark.parametrize(("scores", "labels"), SPLITS)
def test_f1_at_the_thresholds_of_categories_is_scikit_learns(scores: np.ndarray, labels: np.ndarray) -> None:
    """Each tag is scored at its category's threshold, and the mean is over the tags seen."""
    thresholds = np.where(np.arange(labels.shape[1]) % 2, 0.25, 0.6)
    histograms = histograms_of(scores, labels)
    found = score_tags(histograms, threshold=0.5, category_thresholds=thresholds)

    predicted, seen = scores >= thresholds.astype(np.float32), labels.any(axis=0)
    by_tag = reference.f1_score(labels, predicted, average=None, zero_division=0)
    assert found.f1_category.tolist() == pytest.approx(by_tag.tolist())
    assert summarise(histograms, found, min_positives=1).macro_f1_category == pytest.approx(by_tag[seen].mean())


@pytest.mark.parametrize(("scores", "labels"), SPLITS)
def test_reliability_is_scikit_learns(scores: np.ndarray, labels: np.ndarray) -> None:
    """Frequencies of non-empty slices, and the expected error, equal scikit-learn's."""
    found = reliability(pool(histograms_of(scores, labels)))
    # Their slices are open below, ours above: probabilities on a border of theirs move up.
    raised = np.minimum(np.nextafter(scores.astype(float), 2), 1)
    true, said = calibration_curve(labels.ravel(), raised.ravel(), n_bins=SLICES)
    held = found.count > 0

    np.testing.assert_allclose(found.frequency[held], true)
    np.testing.assert_allclose(found.confidence[held], said, atol=0.003)
    expected = (found.count[held] * np.abs(true - said)).sum() / found.count.sum()
    assert found.expected_error == pytest.approx(expected, abs=0.003)


def test_a_group_is_its_tags_alone() -> None:
    """The summary of a mask of tags equals that of a split with only these tags."""
    scores, labels = random_split(12)
    mask = np.arange(labels.shape[1]) % 3 == 0
    whole, part = histograms_of(scores, labels), histograms_of(scores[:, mask], labels[:, mask])

    of_group = summarise(whole, score_tags(whole, threshold=0.35), min_positives=10, tags=mask)
    alone = summarise(part, score_tags(part, threshold=0.35), min_positives=10)
    assert asdict(of_group) == pytest.approx(asdict(alone))


def test_reliability_slices_hold_what_fell_into_them() -> None:
    """Counts and frequencies are exact, confidences within half a bin, empty slices are NaN."""
    scores, labels = random_split(13, images=500)
    scores[(scores >= 0.5) & (scores < 0.55)] = 0.2
    found = reliability(pool(histograms_of(scores, labels)))

    edges = (np.arange(SLICES + 1) / SLICES).astype(np.float32)
    for index in range(SLICES):
        inside = (scores >= edges[index]) & (scores < edges[index + 1])
        assert found.count[index] == inside.sum()
        if inside.any():
            assert found.frequency[index] == pytest.approx(labels[inside].mean())
            assert found.confidence[index] == pytest.approx(scores[inside].mean(), abs=0.003)
    assert np.isnan(found.frequency[10])


def test_calibration_error_tells_a_calibrated_from_an_overconfident_predictor() -> None:
    """Labels drawn with the stated probabilities leave almost no error; doubled log-odds leave a clear one."""
    rng = np.random.default_rng(14)
    scores = rng.random((200_000, 1)).astype(np.float32)
    labels = (rng.random(scores.shape) < scores).astype(np.uint8)
    odds = (scores / (1 - scores)) ** 2
    overconfident = odds / (1 + odds)

    assert reliability(pool(histograms_of(scores, labels))).expected_error < 0.01
    assert reliability(pool(histograms_of(overconfident, labels))).expected_error > 0.05


def test_skill_is_one_for_perfect_and_zero_for_the_baseline() -> None:
    """The Brier skill score compares with the baseline, and is None if the baseline has no error."""
    assert skill(0.0, 0.1) == 1
    assert skill(0.1, 0.1) == 0
    assert skill(0.1, 0.0) is None


def test_a_mean_over_fewer_than_five_of_many_tags_is_no_headline() -> None:
    """Five tags are enough, and all tags of a tagger that has fewer."""
    scores, labels = random_split(0)
    histograms = histograms_of(scores, labels)
    found = summarise(histograms, score_tags(histograms, threshold=0.5), min_positives=1)

    def headline(*, tags: int, ranked: int) -> float | None:
        return replace(found, tags=tags, tags_ranked=ranked).headline_ap

    assert found.headline_ap == found.mean_ap
    assert headline(tags=12, ranked=5) == headline(tags=2, ranked=2) == found.mean_ap
    assert headline(tags=12, ranked=4) is None
    assert headline(tags=2, ranked=1) is None


@pytest.mark.parametrize(
    ("positives", "least"),
    [([9] * 12, 1), ([10] * 4 + [9] * 8, 1), ([10] * 5 + [9] * 7, 10), ([10, 10], 10), ([10, 9], 1)],
)
def test_a_split_with_few_frequent_tags_counts_all(positives: list[int], least: int) -> None:
    """More pictures never take the mean average precision away: a few frequent tags are like none."""
    assert fewest_positives(np.array(positives), 10) == least


def test_a_mean_over_few_tags_or_pictures_is_named() -> None:
    """Fewer than 10 tags, fewer than 10 pictures of a tag, and none at all are warnings."""
    scores, labels = random_split(0)
    histograms = histograms_of(scores, labels)
    tag_scores = score_tags(histograms, threshold=0.5)

    def notes(least: int) -> tuple[str, ...]:
        return few_ranked(summarise(histograms, tag_scores, min_positives=least), min_positives=least)

    enough = int(np.sort(labels.sum(axis=0))[2])  # of ten tags
    assert enough >= 10
    assert notes(enough) == ()
    counts = np.sort(labels.sum(axis=0))[::-1]
    assert "over only 5 tags: 7 tags have" in notes(int(counts[4]))[0]
    assert notes(int(counts[3])) == (
        f"Only 4 tags have {counts[3]} pictures or more in this split, so there is no mAP.",
    )
    assert notes(301) == ("No tag has 301 pictures or more in this split, so there is no mAP.",)
    assert "with only 1 positive picture in this split" in notes(1)[0]
