"""Thresholds of single tags: the best ones are found, stored, and applied as "at least"."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alti2v.errors import DamagedError, UsageError, VersionError
from alti2v.model.evaluation.histograms import THRESHOLDS, add_predictions, empty_histograms
from alti2v.model.evaluation.thresholds import (
    BETAS,
    TunedThresholds,
    best_thresholds,
    own_thresholds,
    read_thresholds,
    tune,
    tuned_sources,
    write_thresholds,
)
from alti2v.model.options.choices import Rule
from alti2v.model.tagging.selection import Criterion, passing
from alti2v.model.vocabulary import make_vocabulary

NAMES = ("blue", "red", "never")


@pytest.fixture
def tuning_split() -> Any:
    """Histograms of 200 pictures with three tags, the last of which no picture carries."""
    rng = np.random.default_rng(3)
    labels = (rng.random((200, 3)) < [0.5, 0.1, 0.0]).astype(np.uint8)
    probabilities = np.clip(labels * 0.3 + rng.random((200, 3)) * 0.7, 0, 1).astype(np.float32)
    histograms = empty_histograms(3)
    add_predictions(histograms, probabilities, labels)
    return histograms, probabilities, labels


@pytest.mark.parametrize("beta", BETAS.values())
def test_no_threshold_is_better(tuning_split: Any, beta: Any) -> None:
    """No bin edge has a higher F-beta, computed pair by pair, than the tuned threshold."""
    histograms, probabilities, labels = tuning_split

    def score(threshold: Any, tag: Any) -> Any:
        predicted = probabilities[:, tag] >= np.float32(threshold)
        correct = (predicted & (labels[:, tag] == 1)).sum()
        return (1 + beta**2) * correct / max(beta**2 * labels[:, tag].sum() + predicted.sum(), 1)

    found = best_thresholds(histograms, beta=beta, fallback=0.35)
    for tag in range(2):
        assert score(found[tag], tag) == pytest.approx(max(score(edge, tag) for edge in THRESHOLDS))


def test_recall_asks_for_lower_thresholds(tuning_split: Any) -> None:
    """Thresholds for F2 are the lowest and for F0.5 the highest. Unseen tags keep the fallback."""
    low, middle, high = (best_thresholds(tuning_split[0], beta=beta, fallback=0.35) for beta in (2.0, 1.0, 0.5))

    assert (low <= middle).all()
    assert (middle <= high).all()
    assert (low < high).any()
    assert [low[2], middle[2], high[2]] == pytest.approx([0.35] * 3)


def test_few_pictures_do_not_move_a_threshold() -> None:
    """A tag with fewer than 5 pictures keeps the common threshold under every rule; with 5 it has its own."""
    labels = np.zeros((200, 2), np.uint8)
    labels[:4, 0] = labels[:5, 1] = 1
    scores = np.where(labels == 1, 0.02, 0.01).astype(np.float32)
    histograms = empty_histograms(2)
    add_predictions(histograms, scores, labels)
    tuned = tune(histograms, ("four", "five"), fallback=0.35)

    for rule, beta in BETAS.items():
        assert best_thresholds(histograms, beta=beta, fallback=0.35)[0] == pytest.approx(0.35)
        assert list(tuned.rules[rule.value]) == ["five"]
        assert tuned.rules[rule.value]["five"] < 0.03
    four, five = tuned_sources(tuned, Rule.F1, ("four", "five"))
    assert four == "common threshold of tags with fewer than 5 pictures there"
    assert five == "f1, tuned for each tag on the validation split"


def test_written_thresholds_are_read(tmp_path: Path, tuning_split: Any) -> None:
    """Thresholds are read as written, and found by name in any order of the outputs."""
    tuned = tune(tuning_split[0], NAMES, fallback=0.35)
    write_thresholds(tmp_path, tuned)
    read = read_thresholds(tmp_path)

    assert read == tuned
    assert read.images == 200
    limits = own_thresholds(read, Rule.F1, ("red", "unheard_of", "blue"))
    assert limits == pytest.approx([tuned.rules["f1"]["red"], 0.35, tuned.rules["f1"]["blue"]], abs=1e-6)


@given(st.sampled_from(THRESHOLDS.tolist()))
def test_tuned_thresholds_mean_at_least(threshold: float) -> None:
    """A tag passes at its own tuned threshold and above, not below."""
    edge = np.float32(threshold)
    row = np.array([[np.nextafter(edge, np.float32(-1)), edge, np.nextafter(edge, np.float32(2))]], np.float32)
    row = np.clip(row, 0, 1)
    vocabulary = make_vocabulary([("a", "general"), ("b", "general"), ("c", "general")])
    tuned = TunedThresholds(rules={"f1": dict.fromkeys("abc", threshold)}, fallback=0.5, images=1)
    criterion = Criterion(rule=Rule.F1, own=own_thresholds(tuned, Rule.F1, vocabulary.names))

    assert passing(row, vocabulary, criterion).tolist() == (row >= edge).tolist()


def test_rules_that_were_not_tuned_are_refused() -> None:
    """Without tuned thresholds, the F rules are refused, and the message names alternatives."""
    with pytest.raises(UsageError, match=r"no thresholds for the rule f0\.5.*constant or mcut"):
        own_thresholds(None, Rule.F05, NAMES)


def test_no_file_is_no_thresholds(tmp_path: Path) -> None:
    """A model without thresholds.json has no tuned thresholds."""
    assert read_thresholds(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"{", DamagedError),
        (b"[]", DamagedError),
        (b'{"kind": "manifest"}', DamagedError),
        (json.dumps({"kind": "thresholds", "version": 99}).encode(), VersionError),
        (
            json.dumps(
                {"kind": "thresholds", "version": 1, "rules": {"f1": {"a": 2}}, "fallback": 0.3, "images": 1}
            ).encode(),
            DamagedError,
        ),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: Any, error: Any) -> None:
    """A file with other content is named."""
    (tmp_path / "thresholds.json").write_bytes(content)

    with pytest.raises(error, match=r"thresholds\.json"):
        read_thresholds(tmp_path)
