"""Validations during a training: networks are compared by a figure that is not mostly chance."""

from __future__ import annotations

import numpy as np
import pytest

from alti2v.model.recipes import Loss
from alti2v.model.training.validation import score_predictions


@pytest.mark.parametrize(("pictures", "is_map"), [(57, True), (56, False)])
def test_networks_are_compared_by_micro_f1_where_tags_have_few_pictures(pictures: int, is_map: bool) -> None:
    """mAP decides if half of the tags have ten pictures each: with fewer, the rank of single pictures would."""
    rng = np.random.default_rng(3)
    labels = np.zeros((pictures, 6), np.uint8)
    labels[np.arange(pictures), np.arange(pictures) % 6] = 1  # ten of three tags, or of two
    found = score_predictions([(rng.random((pictures, 6), np.float32), labels)], tags=6, loss=Loss.SUMMED)

    assert found.mean_ap != found.micro_f1
    assert found.score == (found.mean_ap if is_map else found.micro_f1)


def test_without_a_tag_there_is_nothing_to_compare() -> None:
    """A validation split without any of the tags does not choose a network."""
    predictions = [(np.full((3, 2), 0.5, np.float32), np.zeros((3, 2), np.uint8))]

    assert score_predictions(predictions, tags=2, loss=Loss.SUMMED).score is None
