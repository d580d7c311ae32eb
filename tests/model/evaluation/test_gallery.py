"""The gallery selects the right pictures, in any order of input."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from alti2v.model.evaluation.gallery import MAX_SIDE, GalleryReason, Shortlists, TagVerdict, encode_jpeg


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
        shortlists.offer(**{name: values[start : start + batch] for name, values in data.items()})
    return shortlists


def f1(data: dict[str, np.ndarray], row: int) -> float:
    true, predicted = data["labels"][row] > 0, data["probabilities"][row] >= 0.5
    return float(2 * (true & predicted).sum() / (true.sum() + predicted.sum()))


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_picks_do_not_depend_on_order_or_batches(batch: int) -> None:
    """The same split in another order gives the same gallery, suggestions and additions."""
    data = split()
    order = np.random.default_rng(1).permutation(40)
    shuffled = {name: values[order] for name, values in data.items()}

    assert collected(data, 40).pictures() == collected(shuffled, batch).pictures()
    assert collected(data, 40).suggestions() == collected(shuffled, batch).suggestions()
    assert collected(data, 40).additions() == collected(shuffled, batch).additions()


def test_the_most_wrong_and_the_best_are_the_extremes() -> None:
    """The most wrong and the best are the pictures with the lowest and the highest F1 among those with tags."""
    data = split()
    ranked = sorted(f1(data, row) for row in range(40) if row != 3)
    shown = collected(data, 8).pictures()

    assert sorted(p.f1 for p in shown if GalleryReason.WORST in p.picks) == pytest.approx(ranked[:5])
    assert sorted(p.f1 for p in shown if GalleryReason.BEST in p.picks) == pytest.approx(ranked[-5:])
    assert len({picture.id for picture in shown}) == len(shown)


def test_the_most_confident_are_those_that_expect_the_least_errors() -> None:
    """Confident predictions come first, right or wrong; predicting no tag is not confident."""
    data = split()
    data["probabilities"][:] = 0.55
    data["probabilities"][7], data["probabilities"][9] = 0.99, [0.98, *[0.02] * 7]
    data["probabilities"][11] = 0.01
    data["labels"][7] = 0
    shown = [
        picture.id
        for picture in collected(data, 8, size=2).pictures()
        if GalleryReason.CONFIDENT in picture.picks
    ]

    assert sorted(shown) == [107, 109]


def test_every_filter_shows_as_many_as_asked_for() -> None:
    """A picture in several lists appears once, with all its reasons."""
    shown = collected(split(images=12), 8).pictures()

    for pick in GalleryReason:
        assert sum(pick in picture.picks for picture in shown) == 5
    assert any(len(picture.picks) > 1 for picture in shown)


def test_every_tag_of_a_picture_has_its_verdict() -> None:
    """Hits, missed and extra tags are distinguished, counted, and sorted by probability."""
    data = split()
    for picture in collected(data, 8).pictures():
        row = picture.id - 100
        true, predicted = data["labels"][row] > 0, data["probabilities"][row] >= 0.5
        found = {tag.index: tag.verdict for tag in picture.tags}

        assert {i for i, v in found.items() if v is TagVerdict.HIT} == set(np.flatnonzero(true & predicted))
        assert {i for i, v in found.items() if v is TagVerdict.MISSED} == set(np.flatnonzero(true & ~predicted))
        assert {i for i, v in found.items() if v is TagVerdict.EXTRA} == set(np.flatnonzero(predicted & ~true))
        assert (picture.hits, picture.missed, picture.extra) == tuple(
            sum(v is verdict for v in found.values()) for verdict in TagVerdict
        )
        probabilities = [tag.probability for tag in picture.tags]
        assert probabilities == sorted(probabilities, reverse=True)


def test_suggestions_are_the_most_confident_absent_tags() -> None:
    """There is one suggestion per picture, of at least the threshold, that the board lacks; confident first."""
    data = split()
    absent = np.where(data["labels"] > 0, 0, data["probabilities"]).max(axis=1)
    found = collected(data, 8).suggestions()

    assert [suggestion.probability for suggestion in found] == pytest.approx(sorted(absent, reverse=True)[:5])
    for suggestion in found:
        assert not data["labels"][suggestion.id - 100, suggestion.index]


def test_additions_are_all_that_pass_and_are_absent() -> None:
    """Additions are all pairs of at least the threshold that the board lacks, up to a maximum."""
    data = split()
    found = collected(data, 8).additions()
    rows, tags = np.nonzero((data["labels"] == 0) & (data["probabilities"] >= 0.5))

    assert {(one.id - 100, one.index) for one in found} == set(zip(rows.tolist(), tags.tolist(), strict=True))
    assert len(collected(split(images=600), 100).additions()) == 1000


def test_a_perfect_tagger_gets_no_suggestion() -> None:
    """Nothing is suggested if every confident prediction is on the board."""
    data = split()
    data["probabilities"] = data["labels"].astype(np.float32)

    assert collected(data, 8).suggestions() == ()


def test_shortlists_do_not_hold_on_to_batches() -> None:
    """Kept rows are copies, so later changes of the batch have no effect."""
    data = split()
    shortlists = collected(data, 40)
    before = shortlists.pictures()
    data["images"][:] = 0
    data["labels"][:] = 1

    assert shortlists.pictures() == before


def test_large_pictures_are_reduced() -> None:
    """Large pictures are reduced to the maximum side."""
    with Image.open(io.BytesIO(encode_jpeg(np.zeros((800, 400, 3), np.uint8)))) as picture:
        assert (picture.size, picture.format) == ((MAX_SIDE // 2, MAX_SIDE), "JPEG")


def test_a_picture_without_tags_is_neither_wrong_nor_right() -> None:
    """A picture without tags always has F1 0, so it is never shown as most wrong or best."""
    picks = {
        pick
        for seed in range(10)
        for picture in collected(split(seed=seed), 8, size=3).pictures()
        if picture.id == 103
        for pick in picture.picks
    }

    assert picks <= {GalleryReason.RANDOM, GalleryReason.CONFIDENT}
