"""The pictures of a report: the right ones, whatever order they come in."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from alti2v.model.gallery import (
    MAX_SIDE,
    Pick,
    Shortlists,
    Verdict,
    encode_jpeg,
    offer,
    pictures,
    suggestions,
)


def split(images: int = 40, tags: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random((images, tags)) < 0.4).astype(np.uint8)
    labels[3] = 0  # a picture without a tag
    return {
        "images": rng.integers(0, 256, (images, 16, 16, 3), dtype=np.uint8),
        "labels": labels,
        "ids": np.arange(100, 100 + images),
        "probabilities": rng.random((images, tags)).astype(np.float32),
    }


def collected(data: dict[str, np.ndarray], batch: int, *, size: int = 5) -> Shortlists:
    shortlists = Shortlists(threshold=0.5, size=size)
    for start in range(0, len(data["ids"]), batch):
        offer(shortlists, **{name: values[start : start + batch] for name, values in data.items()})
    return shortlists


def f1(data: dict[str, np.ndarray], row: int) -> float:
    true, predicted = data["labels"][row] > 0, data["probabilities"][row] >= 0.5
    return 2 * (true & predicted).sum() / (true.sum() + predicted.sum())


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_picks_do_not_depend_on_order_or_batches(batch: int) -> None:
    """The same split in another order gives the same gallery and suggestions."""
    data = split()
    order = np.random.default_rng(1).permutation(40)
    shuffled = {name: values[order] for name, values in data.items()}

    assert pictures(collected(data, 40)) == pictures(collected(shuffled, batch))
    assert suggestions(collected(data, 40)) == suggestions(collected(shuffled, batch))


def test_the_most_wrong_and_the_best_are_the_extremes() -> None:
    """No picture with tags has a lower F1 than the most wrong ones, and none a higher one than the best."""
    data = split()
    tagged = [row for row in range(40) if row != 3]
    ranked = sorted(f1(data, row) for row in tagged)
    # Random pictures are shown as such first; without them the lists are whole.
    shown = pictures(collected(data, 8))
    random = {picture.id for picture in shown if picture.pick is Pick.RANDOM}
    by_id = {picture.id: picture.f1 for picture in shown}

    worst = sorted(by_id[p.id] for p in shown if p.pick is Pick.WORST)
    best = sorted(by_id[p.id] for p in shown if p.pick is Pick.BEST)
    missing = sorted(f1(data, identity - 100) for identity in random if identity != 103)
    assert set(worst) <= set(ranked[:5])
    assert set(best) <= set(ranked[-5:])
    assert len(worst) + sum(value <= ranked[4] for value in missing) >= 5
    assert len({picture.id for picture in shown}) == len(shown)


def test_every_tag_of_a_picture_has_its_verdict() -> None:
    """Hits, missed and extra tags are told apart, counted, and sorted by probability."""
    data = split()
    for picture in pictures(collected(data, 8)):
        row = picture.id - 100
        true, predicted = data["labels"][row] > 0, data["probabilities"][row] >= 0.5
        found = {tag.index: tag.verdict for tag in picture.tags}

        assert {i for i, v in found.items() if v is Verdict.HIT} == set(np.flatnonzero(true & predicted))
        assert {i for i, v in found.items() if v is Verdict.MISSED} == set(np.flatnonzero(true & ~predicted))
        assert {i for i, v in found.items() if v is Verdict.EXTRA} == set(np.flatnonzero(predicted & ~true))
        assert (picture.hits, picture.missed, picture.extra) == tuple(
            sum(v is verdict for v in found.values()) for verdict in Verdict
        )
        probabilities = [tag.probability for tag in picture.tags]
        assert probabilities == sorted(probabilities, reverse=True)


def test_suggestions_are_the_most_confident_absent_tags() -> None:
    """One for a picture, none that the board has, none below the threshold, most confident first."""
    data = split()
    absent = np.where(data["labels"] > 0, 0, data["probabilities"]).max(axis=1)
    found = suggestions(collected(data, 8))

    assert [suggestion.probability for suggestion in found] == pytest.approx(sorted(absent, reverse=True)[:5])
    for suggestion in found:
        assert not data["labels"][suggestion.id - 100, suggestion.index]


def test_a_perfect_tagger_gets_no_suggestion() -> None:
    """Nothing is suggested where every confident prediction is on the board."""
    data = split()
    data["probabilities"] = data["labels"].astype(np.float32)

    assert suggestions(collected(data, 8)) == ()


def test_shortlists_do_not_hold_on_to_batches() -> None:
    """What is kept is a copy, so that later changes of the batch's memory do not show."""
    data = split()
    shortlists = collected(data, 40)
    before = pictures(shortlists)
    data["images"][:] = 0
    data["labels"][:] = 1

    assert pictures(shortlists) == before


def test_large_pictures_are_reduced() -> None:
    """A report stays a file that can be sent."""
    with Image.open(io.BytesIO(encode_jpeg(np.zeros((800, 400, 3), np.uint8)))) as picture:
        assert (picture.size, picture.format) == ((MAX_SIDE // 2, MAX_SIDE), "JPEG")


def test_a_picture_without_tags_is_neither_wrong_nor_right() -> None:
    """Its F1 is 0 whatever the model says, so it is never shown as one of the most wrong or the best."""
    picks = {
        picture.pick
        for seed in range(10)
        for picture in pictures(collected(split(seed=seed), 8, size=3))
        if picture.id == 103
    }

    assert picks <= {Pick.RANDOM}
