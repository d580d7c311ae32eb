"""Augmentation: each step changes pictures as documented, depends on (seed, epoch, picture) alone, parses."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from alti2v.errors import UsageError
from alti2v.model import backend
from alti2v.model.data.augment import augmented, cropped, cut_out, mixed, mixing_share, rotated, seed_of
from alti2v.model.data.pipeline import training_batches
from alti2v.model.recipes import NO_AUGMENTATION, Augmentation, parse_augmentation
from tests.model.helpers.tiny_dataset import Drawn, square, write_dataset

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


def picture(seed: Any = 0) -> Any:
    """Smooth colours, darker than white."""
    small = np.random.default_rng(seed).integers(0, 200, (5, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Any:
    drawn = [square(number, size=SIZE) for number in range(22)]
    return write_dataset(
        tmp_path_factory.mktemp("augment") / "dataset", {"train": drawn}, size=SIZE, shard_samples=8
    )


def epoch(dataset: Path, what: Any, **options: Any) -> Any:
    options = {"batch_size": 8, "seed": 3, "epoch": 0, **options}
    return list(training_batches(dataset, augmentation=what, **options).as_numpy_iterator())


def are_equal(ours: Any, others: Any) -> Any:
    return all(
        np.array_equal(a, b)
        for one, other in zip(ours, others, strict=True)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("what", EACH, ids=str)
def test_the_same_seed_and_epoch_give_the_same_batches(dataset: Path, what: Any) -> None:
    """Repeated calls are bit-identical; another seed or epoch, or no augmentation, gives other pictures."""
    batches = epoch(dataset, what)
    plain = epoch(dataset, NO_AUGMENTATION)

    assert are_equal(epoch(dataset, what), batches)
    assert not are_equal(plain, batches)
    assert [images.shape for images, _ in batches] == [images.shape for images, _ in plain]
    assert {images.dtype for images, _ in batches} == {np.dtype("uint8")}

    one_by_one = [image for images, _ in epoch(dataset, what, batch_size=1) for image in images]
    if not what.mixup:  # which needs a neighbour
        assert np.array_equal(np.concatenate([images for images, _ in batches]), np.stack(one_by_one))


def test_another_epoch_draws_other_numbers() -> None:
    """The same picture is changed differently in another epoch, with another seed, or as another post."""
    image, post = picture(), backend.tf.constant(77, backend.tf.int64)
    base = augmented(image_tensor(image), post, what=ALL, seed=seed_of(1, 0), may_flip=True).numpy()

    for seed, id_ in ((seed_of(1, 1), post), (seed_of(2, 0), post), (seed_of(1, 0), post + 1)):
        assert not np.array_equal(augmented(image_tensor(image), id_, what=ALL, seed=seed, may_flip=True), base)
    again = augmented(image_tensor(image), post, what=ALL, seed=seed_of(1, 0), may_flip=True)
    assert np.array_equal(again, base)


def image_tensor(image: Any) -> Any:
    return backend.tf.constant(image)


def test_eager_and_in_the_graph_are_one(tmp_path: Path) -> None:
    """A step applied by hand equals the chain."""
    jpeg = io.BytesIO()
    Image.fromarray(picture()).save(jpeg, "PNG")
    what = Augmentation(flip=True, rotation=10, shift=0.1, crop=0.2, kernels=True, cutout=0.2)
    drawn = [Drawn(id=9000 + n, jpeg=jpeg.getvalue(), tags=("red",)) for n in range(6)]
    dataset = write_dataset(tmp_path / "dataset", {"train": drawn}, size=SIZE)

    seen = {image.tobytes() for images, _ in epoch(dataset, what, epoch=4) for image in images}
    by_hand = {
        augmented(
            image_tensor(picture()),
            backend.tf.constant(one.id, backend.tf.int64),
            what=what,
            seed=seed_of(3, 4),
            may_flip=True,
        )
        .numpy()
        .tobytes()
        for one in drawn
    }
    assert seen == by_hand


def test_tags_that_name_a_side_keep_their_pictures_from_being_flipped() -> None:
    """A picture that must not be mirrored never is; another one is mirrored in about half of the draws."""
    image = image_tensor(picture())
    flips = {True: 0, False: 0}
    for may_flip in flips:
        for id_ in range(40):
            post = backend.tf.constant(id_, backend.tf.int64)
            out = augmented(image, post, what=Augmentation(flip=True), seed=5, may_flip=may_flip)
            flips[may_flip] += np.array_equal(out, picture()[:, ::-1])
    assert flips[False] == 0
    assert 10 <= flips[True] <= 30


@pytest.mark.parametrize("degrees", [-30.0, 7.0, 90.0, 180.0])
def test_rotation_turns_about_the_centre_and_fills_with_white(degrees: Any) -> None:
    """Rotation equals Pillow's up to rounding; a quarter turn is lossless; corners are white."""
    ours = rotated(image_tensor(picture()), degrees).numpy()
    large = Image.fromarray(picture())
    theirs = np.asarray(large.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=(255, 255, 255)))

    inner = slice(9, -9)
    assert np.abs(ours[inner, inner].astype(int) - theirs[inner, inner]).max() <= 2
    if degrees in (90.0, 180.0):
        quarters = round(degrees / 90)
        assert np.abs(ours.astype(int) - np.rot90(picture(), quarters)).max() <= 1
    else:
        corner = (0, 0) if degrees == 7.0 else (0, -1)
        assert (rotated(image_tensor(picture()), 45.0).numpy()[corner] == 255).all()


@pytest.mark.parametrize("kernel", [None, 0.1, 0.3, 0.6, 0.9])
def test_crop_enlarges_a_square(kernel: Any) -> None:
    """The drawn square is enlarged nearly as Pillow does it, with the drawn kernel."""
    draws = np.array([0.99, 0.0, 0.99], np.float32)  # a quarter goes; top right
    ours = cropped(image_tensor(picture()), image_tensor(draws), most=0.25, kernel=kernel).numpy()
    square_ = picture()[:30, 10:]
    filters = {
        None: Image.Resampling.BILINEAR,
        0.1: Image.Resampling.BILINEAR,
        0.3: Image.Resampling.BICUBIC,
        0.6: Image.Resampling.LANCZOS,
        0.9: Image.Resampling.NEAREST,
    }
    theirs = np.asarray(Image.fromarray(square_).resize((SIZE, SIZE), filters[kernel]))

    assert np.abs(ours.astype(int) - theirs).mean() < 1
    untouched = cropped(image_tensor(picture()), image_tensor(0 * draws), most=0.25, kernel=kernel)
    assert np.array_equal(untouched, picture())


@given(draws=st.lists(st.integers(0, 1023).map(lambda number: number / 1024), min_size=3, max_size=3))
def test_cutout_covers_one_square_with_white(draws: Any) -> None:
    """Cutout draws one white square of at most the given share and changes nothing else."""
    out = cut_out(image_tensor(picture()), image_tensor(np.array(draws, np.float32)), most=0.2).numpy()
    covered = (out != picture()).any(axis=2)
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))

    assert (out[covered] == 255).all()
    assert covered.sum() == rows.size * columns.size
    assert rows.size == columns.size == round(SIZE * np.sqrt(np.float32(draws[2]) * np.float32(0.2)))


def test_mixing_lays_pictures_and_labels_over_each_other() -> None:
    """Pictures and labels get the same weights; the last sample meets the first; padding is unchanged."""
    images = np.stack([picture(n) for n in range(3)] + [np.zeros((SIZE, SIZE, 3), np.uint8)])
    labels = np.eye(4, 5, dtype=np.float32)
    shares = np.array([0.25, 1.0, 0.5, 0.3], np.float32)

    out, of_tags = (part.numpy() for part in mixed(images, labels, shares, 3))

    expected_labels = np.array([[0.25, 0.75, 0, 0, 0], [0, 1, 0, 0, 0], [0.5, 0, 0.5, 0, 0], [0, 0, 0, 1, 0]])
    np.testing.assert_allclose(of_tags, expected_labels)
    expected = np.round(0.25 * images[0].astype(float) + 0.75 * images[1])
    assert np.abs(out[0] - expected).max() <= 1
    assert np.array_equal(out[1], images[1])
    assert not out[3].any()


def test_mixing_shares_are_of_the_beta_distribution() -> None:
    """Weights have the mean 1/2 and the variance 1 / (4 (2 alpha + 1)) of Beta(alpha, alpha)."""
    for alpha in (0.2, 0.8, 4.0):
        drawn = [
            float(mixing_share(backend.tf.constant(n, backend.tf.int64), alpha=alpha, seed=8))
            for n in range(300)
        ]
        variance = 1 / (4 * (2 * alpha + 1))
        assert abs(np.mean(drawn) - 0.5) < 4 * np.sqrt(variance / 300)
        assert np.var(drawn) == pytest.approx(variance, rel=0.3)


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
