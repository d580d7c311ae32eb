"""Standard errors without resampling: derivatives that are right, and intervals like the bootstrap's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from alti2v.model.histograms import (
    BINS,
    MIDDLES,
    THRESHOLDS,
    Histograms,
    add_predictions,
    bin_probabilities,
    empty_histograms,
)
from alti2v.model.intervals import (
    Table,
    encode,
    f1_influence,
    headline_intervals,
    macro_f1_influence,
    mean_ap_influence,
    skill_influence,
    standard_errors,
)
from alti2v.model.metrics import score_tags, summarise

THRESHOLD = 0.35
STEP = 1e-5


def random_split(seed: int, images: int, tags: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random((images, tags)) < np.linspace(0.5, 0.1, tags)).astype(np.uint8)
    labels[0] = 1
    logits = rng.normal(-1, 1.2, (images, tags)) + rng.normal(0, 0.5, (images, 1)) + 1.5 * labels
    return (1 / (1 + np.exp(-logits))).astype(np.float32), labels


def histograms_of(scores: np.ndarray, labels: np.ndarray) -> Histograms:
    histograms = empty_histograms(scores.shape[1])
    add_predictions(histograms, scores, labels)
    return histograms


def derivatives(table: Table, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    codes = encode(bin_probabilities(scores), labels)
    return np.take_along_axis(table.T, codes.astype(int), axis=0).sum(axis=1)


def numeric(figure, images: int) -> np.ndarray:
    """Central differences of a figure by the weight of each picture."""
    found = []
    for image in range(images):
        up, down = np.ones(images), np.ones(images)
        up[image] += STEP
        down[image] -= STEP
        found.append((figure(up) - figure(down)) / (2 * STEP))
    return np.array(found)


def test_the_influence_on_mean_ap_is_its_derivative() -> None:
    """Reweighting a picture in scikit-learn moves the mean average precision as the table says."""
    scores, labels = random_split(0, images=40, tags=3)
    rounded = THRESHOLDS[bin_probabilities(scores)]
    ranked = np.array([True, False, True])

    def mean_ap(weights: np.ndarray) -> float:
        return np.mean(
            [
                reference.average_precision_score(labels[:, tag], rounded[:, tag], sample_weight=weights)
                for tag in np.flatnonzero(ranked)
            ]
        )

    table = mean_ap_influence(histograms_of(scores, labels), ranked)
    np.testing.assert_allclose(derivatives(table, scores, labels), numeric(mean_ap, 40), atol=1e-6)


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_the_influence_on_f1_is_its_derivative(average: str) -> None:
    """The same for micro and macro F1."""
    scores, labels = random_split(1, images=40, tags=3)
    histograms = histograms_of(scores, labels)
    found = score_tags(histograms, threshold=THRESHOLD)
    predicted = scores >= np.float32(THRESHOLD)

    def f1(weights: np.ndarray) -> float:
        return reference.f1_score(labels, predicted, average=average, sample_weight=weights)

    table = (
        f1_influence(found, THRESHOLD, f1=f1(np.ones(40)))
        if average == "micro"
        else macro_f1_influence(found, THRESHOLD)
    )
    np.testing.assert_allclose(derivatives(table, scores, labels), numeric(f1, 40), atol=1e-6)


def test_the_influence_on_skill_is_its_derivative() -> None:
    """The same for the Brier skill of probabilities at the middles of their bins."""
    scores, labels = random_split(2, images=40, tags=3)
    scores = MIDDLES[bin_probabilities(scores)].astype(np.float32)
    frequencies = np.array([0.5, 0.3, 0.1])
    own = np.square(scores.astype(float) - labels).sum(axis=1)
    theirs = np.square(frequencies - labels).sum(axis=1)

    table = skill_influence(frequencies, error=own.sum(), baseline=theirs.sum())
    expected = numeric(lambda weights: 1 - (weights @ own) / (weights @ theirs), 40)
    np.testing.assert_allclose(derivatives(table, scores, labels), expected, atol=1e-6)


def test_the_standard_error_does_not_depend_on_the_batches() -> None:
    """Codes may come in any portions."""
    scores, labels = random_split(3, images=50, tags=4)
    table = mean_ap_influence(histograms_of(scores, labels), np.ones(4, bool))
    codes = encode(bin_probabilities(scores), labels)

    np.testing.assert_allclose(
        standard_errors([codes], [table]), standard_errors(np.array_split(codes, 7), [table])
    )


def test_the_intervals_are_those_of_the_bootstrap() -> None:
    """Drawing the pictures 400 times with replacement gives the same widths within a fifth."""
    images, tags, draws = 400, 6, 400
    scores, labels = random_split(4, images=images, tags=tags)
    frequencies = labels.mean(axis=0)

    def figures(rows: np.ndarray) -> tuple[float, float, float, float]:
        part, of_part = scores[rows], labels[rows]
        histograms = histograms_of(part, of_part)
        found = summarise(histograms, score_tags(histograms, threshold=THRESHOLD), min_positives=1)
        theirs = np.square(frequencies - of_part).mean()
        return found.mean_ap, found.f1, found.macro_f1, 1 - found.squared_error / theirs

    rng = np.random.default_rng(5)
    drawn = np.array([figures(rng.integers(0, images, images)) for _ in range(draws)])
    histograms = histograms_of(scores, labels)
    found = score_tags(histograms, threshold=THRESHOLD)
    intervals = headline_intervals(
        [encode(bin_probabilities(scores), labels)],
        histograms,
        scores=summarise(histograms, found, min_positives=1),
        tag_scores=found,
        min_positives=1,
        threshold=THRESHOLD,
        frequencies=frequencies,
    )

    for column, interval in enumerate((intervals.mean_ap, intervals.f1, intervals.macro_f1, intervals.skill)):
        assert interval.high - interval.low == pytest.approx(2 * 1.96 * drawn[:, column].std(), rel=0.2)
        assert interval.low < drawn[:, column].mean() < interval.high


def test_one_picture_has_no_interval() -> None:
    """Where nothing can be said about spread, nothing is said."""
    scores, labels = random_split(6, images=1, tags=2)
    histograms = histograms_of(scores, labels)
    found = score_tags(histograms, threshold=THRESHOLD)

    assert (
        headline_intervals(
            [],
            histograms,
            scores=summarise(histograms, found, min_positives=1),
            tag_scores=found,
            min_positives=1,
            threshold=THRESHOLD,
            frequencies=labels.mean(axis=0),
        )
        is None
    )


def test_a_code_holds_bin_and_label() -> None:
    """Two bytes are enough for both."""
    codes = encode(np.array([[0, BINS - 1]]), np.array([[1, 1]]))

    assert codes.dtype == np.uint16
    assert codes.tolist() == [[BINS, 2 * BINS - 1]]
