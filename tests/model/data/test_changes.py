"""Random changes: pure functions of (seed, epoch, picture), within their bounds; the options parse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alti2v.arrays import Float32Array
from alti2v.errors import UsageError
from alti2v.model import backend
from alti2v.model.data.changes import changes_of, drawn, mixed_labels, seed_of
from alti2v.model.data.pipeline import training_batches
from alti2v.model.network.augment import PictureChange
from alti2v.model.recipes import NO_AUGMENTATION, Augmentation, parse_augmentation
from tests.model.helpers.tiny_dataset import square, write_dataset

pytestmark = pytest.mark.tf
SIZE = 40
ALL = Augmentation(flip=True, rotation=10, shift=0.1, crop=0.2, kernels=True, cutout=0.2, mixup=0.8)
EACH = [
    Augmentation(flip=True),
    Augmentation(rotation=10),
    Augmentation(shift=0.1),
    Augmentation(crop=0.2),
    Augmentation(crop=0.2, kernels=True),
    Augmentation(cutout=0.2),
    Augmentation(mixup=0.8),
    ALL,
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    squares = [square(number, size=SIZE) for number in range(22)]
    return write_dataset(
        tmp_path_factory.mktemp("changes") / "dataset", {"train": squares}, size=SIZE, shard_samples=8
    )


def epoch(dataset: Path, what: Augmentation, **options: Any) -> list[Any]:
    options = {"batch_size": 8, "seed": 3, "epoch": 0, **options}
    return list(training_batches(dataset, augmentation=what, **options).as_numpy_iterator())


def changes_in(batches: list[Any]) -> Float32Array:
    return np.concatenate([changes for (_, changes), _ in batches])


def draws_of(pictures: int, *, seed: int = 0, alpha: float = 0.0) -> Any:
    tf = backend.tf
    return tf.stack([drawn(tf.constant(n, tf.int64), seed=seed, alpha=alpha) for n in range(pictures)])


def changes(draws: Any, what: Augmentation, *, samples: int | None = None, may_mirror: bool = True) -> Any:
    tf, count = backend.tf, len(draws)
    is_sample = tf.cast(tf.range(count) < (count if samples is None else samples), tf.float32)
    made = changes_of(draws, tf.fill([count], may_mirror), is_sample, what=what, size=SIZE, first_row=0)
    return made.numpy()


@pytest.mark.parametrize("what", EACH, ids=str)
def test_the_same_seed_and_epoch_give_the_same_changes(dataset: Path, what: Augmentation) -> None:
    """Repeated calls are bit-identical, another seed changes them otherwise, and pictures are untouched."""
    batches = epoch(dataset, what)
    plain = epoch(dataset, NO_AUGMENTATION)

    np.testing.assert_array_equal(changes_in(epoch(dataset, what)), changes_in(batches))
    assert not np.array_equal(changes_in(epoch(dataset, what, seed=4)), changes_in(batches))
    for ((images, made), _), (expected, _) in zip(batches, plain, strict=True):
        np.testing.assert_array_equal(images, expected)
        assert made.shape == (len(images), len(PictureChange))
    # Except for its partner, a picture's changes do not depend on its batch.
    one_by_one = changes_in(epoch(dataset, what, batch_size=1))
    np.testing.assert_array_equal(
        one_by_one[:, : PictureChange.PARTNER], changes_in(batches)[:, : PictureChange.PARTNER]
    )


def test_another_epoch_draws_other_numbers() -> None:
    """The same picture is changed differently in another epoch, with another seed, or as another post."""
    post = backend.tf.constant(77, backend.tf.int64)
    base = drawn(post, seed=seed_of(1, 0), alpha=0.8).numpy()
    for seed, id_ in ((seed_of(1, 1), post), (seed_of(2, 0), post), (seed_of(1, 0), post + 1)):
        assert not np.isclose(drawn(id_, seed=seed, alpha=0.8), base).any()
    assert np.array_equal(drawn(post, seed=seed_of(1, 0), alpha=0.8), base)


def test_omitting_a_step_changes_no_other() -> None:
    """Every step of a full augmentation is the same when it is alone."""
    draws = draws_of(50, alpha=0.8)
    full = changes(draws, ALL)
    alone = changes(draws, Augmentation(cutout=0.2))
    covered = PictureChange.COVERED_SIDE
    np.testing.assert_array_equal(alone[:, covered], full[:, covered])
    for omitted in ("DEGREES", "DOWN", "RIGHT", "IS_MIRRORED", "KERNEL"):
        assert not alone[:, PictureChange[omitted]].any()
    assert (alone[:, PictureChange.SIDE] == SIZE).all()


def test_changes_are_within_their_bounds() -> None:
    """Every number is uniform within the strengths of the steps, and every square is inside the picture."""
    made = changes(draws_of(500, alpha=0.8), ALL).T
    assert (np.abs(made[PictureChange.DEGREES]) <= 10).all()
    assert np.abs(made[PictureChange.DEGREES]).max() > 9
    for shift in (PictureChange.DOWN, PictureChange.RIGHT):
        assert sorted(set(made[shift])) == list(range(-4, 5))
    assert sorted(set(made[PictureChange.SIDE])) == list(range(32, 41))
    for place in (PictureChange.TOP, PictureChange.LEFT):
        assert (made[place] >= 0).all()
        assert (made[place] + made[PictureChange.SIDE] <= SIZE).all()
    assert sorted(set(made[PictureChange.KERNEL])) == [0, 1, 2, 3]
    assert 200 <= made[PictureChange.IS_MIRRORED].sum() <= 300
    assert made[PictureChange.COVERED_SIDE].max() == round(SIZE * np.sqrt(0.2))
    for place in (PictureChange.COVERED_TOP, PictureChange.COVERED_LEFT):
        assert (made[place] >= 0).all()
        assert (made[place] + made[PictureChange.COVERED_SIDE] <= SIZE).all()


def test_pictures_with_a_side_are_not_mirrored() -> None:
    """A picture that must not be mirrored never is."""
    assert not changes(draws_of(50), ALL, may_mirror=False)[:, PictureChange.IS_MIRRORED].any()


def test_mixing_leaves_padding_out() -> None:
    """The last sample meets the first, and padding keeps its labels."""
    made = changes(draws_of(4, alpha=0.8), ALL, samples=3)
    assert made[:, PictureChange.PARTNER].tolist() == [1, 2, 0, 3]
    assert made[3, PictureChange.SHARE] == 1
    made[:, PictureChange.SHARE] = [0.25, 1.0, 0.5, 1.0]
    expected = np.array([[0.25, 0.75, 0, 0, 0], [0, 1, 0, 0, 0], [0.5, 0, 0.5, 0, 0], [0, 0, 0, 1, 0]])
    labels = np.eye(4, 5, dtype=np.float32)
    np.testing.assert_allclose(mixed_labels(labels, backend.tf.constant(made), first_row=0), expected)


@pytest.mark.parametrize("alpha", [0.2, 0.8, 4.0])
def test_mixing_shares_are_of_the_beta_distribution(alpha: float) -> None:
    """Weights have the mean 1/2 and the variance 1 / (4 (2 alpha + 1)) of Beta(alpha, alpha)."""
    shares = draws_of(300, seed=8, alpha=alpha).numpy()[:, -1]
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(shares.mean() - 0.5) < 4 * np.sqrt(variance / 300)
    assert shares.var() == pytest.approx(variance, rel=0.3)


def test_mixed_labels_add_up(dataset: Path) -> None:
    """The label sums of a blended batch are between the smallest and the largest of its pictures."""
    for (_, plain), (_, ours) in zip(epoch(dataset, NO_AUGMENTATION), epoch(dataset, ALL), strict=True):
        sums = plain.sum(axis=1)
        assert ((ours.sum(axis=1) >= sums.min() - 1e-5) & (ours.sum(axis=1) <= sums.max() + 1e-5)).all()
        assert ours.max() <= 1 + 1e-6


@pytest.mark.parametrize("what", [NO_AUGMENTATION, *EACH], ids=str)
def test_what_is_written_is_read(what: Any) -> None:
    """Parsing the text of an augmentation gives an equal augmentation."""
    assert parse_augmentation(str(what)) == what


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flop", "'flop' is none of flip, rotation"),
        ("flip=1", "write flip"),
        ("crop", "write crop=0.1"),
        ("crop=much", "'much' is not a number"),
        ("crop=0.5", "crop=0.5 is not between 0 and 0.49"),
        ("rotation=-1", "rotation=-1.0 is not between"),
        ("mixup=nan", "mixup=nan is not between"),
        ("kernels", "kernels needs crop"),
        ("", "'' is none of"),
    ],
)
def test_what_is_no_augmentation_is_said(text: Any, said: Any) -> None:
    """An invalid augmentation is refused with the step and its correct form."""
    with pytest.raises(UsageError, match=said):
        parse_augmentation(text)
