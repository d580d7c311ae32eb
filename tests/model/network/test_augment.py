"""Augmentation of batches: every step equals its reference, and the training model learns the same weights."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from alti2v.arrays import Float32Array
from alti2v.model import backend
from alti2v.model.network.augment import KERNELS, PictureChange, augmented, augmenting_model, rotated
from alti2v.model.network.build import Architecture, build_network
from alti2v.model.recipes import Augmentation, Head

pytestmark = pytest.mark.tf
SIZE = 40
FILTERS = dict(
    zip(
        KERNELS,
        (
            Image.Resampling.BILINEAR,
            Image.Resampling.BICUBIC,
            Image.Resampling.LANCZOS,
            Image.Resampling.NEAREST,
        ),
        strict=True,
    )
)


def picture(seed: int = 0) -> np.ndarray:
    """Smooth colours, darker than white."""
    small = np.random.default_rng(seed).integers(0, 200, (5, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def change(**columns: float) -> Float32Array:
    """One row of changes; what is not given changes nothing."""
    row = np.zeros((1, len(PictureChange)), np.float32)
    row[0, PictureChange.SIDE], row[0, PictureChange.SHARE] = SIZE, 1
    for name, value in columns.items():
        row[0, PictureChange[name]] = value
    return row


def result(image: np.ndarray, row: Float32Array, what: Augmentation) -> Float32Array:
    found: Float32Array = backend.keras.ops.convert_to_numpy(augmented(image[None], row, what=what))[0]
    return found


ALL = Augmentation(flip=True, rotation=10, shift=0.1, crop=0.2, kernels=True, cutout=0.2, mixup=0.8)


def test_no_change_leaves_every_pixel() -> None:
    """A row that asks for nothing gives the picture, to the bit, for every kernel."""
    for kernel in range(len(KERNELS)):
        found = result(picture(), change(KERNEL=kernel), ALL)
        np.testing.assert_allclose(found, picture(), atol=1e-3)


def test_pictures_are_mirrored() -> None:
    """Left and right change places."""
    np.testing.assert_array_equal(
        result(picture(), change(IS_MIRRORED=1), Augmentation(flip=True)), picture()[:, ::-1]
    )


@pytest.mark.parametrize(("down", "right"), [(3, -4), (-2, 1), (0, 0)])
def test_shift_moves_and_fills_with_white(down: int, right: int) -> None:
    """Pixels move by whole pixels, and the uncovered area is white."""
    expected = np.full((SIZE, SIZE, 3), 255, np.uint8)
    expected[max(down, 0) : SIZE + min(down, 0), max(right, 0) : SIZE + min(right, 0)] = picture()[
        max(-down, 0) : SIZE - max(down, 0), max(-right, 0) : SIZE - max(right, 0)
    ]
    found = result(picture(), change(DOWN=down, RIGHT=right), Augmentation(shift=0.1))
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_crop_enlarges_a_square_as_pillow_does(kernel: str) -> None:
    """The square is enlarged with the drawn kernel, within two levels of Pillow's."""
    row = change(TOP=0, LEFT=10, SIDE=30, KERNEL=KERNELS.index(kernel))
    theirs = np.asarray(Image.fromarray(picture()[:30, 10:]).resize((SIZE, SIZE), FILTERS[kernel]))
    found = result(picture(), row, Augmentation(crop=0.25, kernels=True))
    assert np.abs(found - theirs).max() <= 1.6  # Pillow rounds after each axis


def test_rows_of_a_batch_are_changed_apart() -> None:
    """Each picture gets its own numbers and kernel."""
    images = np.stack([picture(n) for n in range(3)])
    rows = np.concatenate(
        [change(TOP=2, LEFT=3, SIDE=33, KERNEL=1), change(DOWN=2), change(COVERED_SIDE=10, COVERED_TOP=4)]
    )
    together = np.asarray(backend.keras.ops.convert_to_numpy(augmented(images, rows, what=ALL)))
    for number in range(3):
        np.testing.assert_allclose(
            together[number], result(images[number], rows[number : number + 1], ALL), atol=1e-3
        )


@pytest.mark.parametrize("degrees", [-30.0, 7.0, 90.0, 180.0])
def test_rotation_turns_about_the_centre_and_fills_with_white(degrees: float) -> None:
    """Rotation equals Pillow's up to rounding; a quarter turn is lossless; corners are white."""

    def turned(by: float) -> np.ndarray:
        images = backend.keras.ops.convert_to_tensor(picture()[None].astype(np.float32))
        found: np.ndarray = backend.keras.ops.convert_to_numpy(rotated(images, np.array([by], np.float32)))[0]
        return found

    ours = turned(degrees)
    theirs = np.asarray(
        Image.fromarray(picture()).rotate(degrees, Image.Resampling.BILINEAR, fillcolor=(255, 255, 255))
    )
    inner = slice(9, -9)
    assert np.abs(ours[inner, inner] - theirs[inner, inner]).max() <= 2
    if degrees in (90.0, 180.0):
        assert np.abs(ours - np.rot90(picture(), round(degrees / 90))).max() <= 1
    else:
        corner = (0, 0) if degrees == 7.0 else (0, -1)
        assert (turned(45.0)[corner] == 255).all()


@pytest.mark.parametrize(("top", "left", "side"), [(0, 0, 0), (5, 30, 10), (0, 0, SIZE)])
def test_cutout_covers_one_square_with_white(top: int, left: int, side: int) -> None:
    """The square becomes white, and nothing else changes."""
    expected = picture().copy()
    expected[top : top + side, left : left + side] = 255
    row = change(COVERED_TOP=top, COVERED_LEFT=left, COVERED_SIDE=side)
    np.testing.assert_array_equal(result(picture(), row, Augmentation(cutout=0.2)), expected)


def test_mixing_blends_a_picture_with_its_partner() -> None:
    """Each picture is blended with the row that its changes name, by its share."""
    images = np.stack([picture(n) for n in range(2)])
    rows = np.concatenate([change(SHARE=0.25, PARTNER=1), change(SHARE=1.0, PARTNER=0)])
    found = np.asarray(
        backend.keras.ops.convert_to_numpy(augmented(images, rows, what=Augmentation(mixup=0.8)))
    )
    np.testing.assert_allclose(found[0], 0.25 * images[0] + 0.75 * images[1], rtol=1e-5)
    np.testing.assert_array_equal(found[1], images[1])


def test_the_augmenting_model_is_the_network_behind_the_changes() -> None:
    """Same variables; with changes that change nothing, the same logits."""
    network = build_network(Architecture(size=32, tags=5, head=Head.POOLED, features=8, dropout=0.0))
    model = augmenting_model(network.logits, ALL)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    row = change()
    row[0, PictureChange.SIDE] = 32
    rows = np.repeat(row, 3, axis=0)
    assert [id(one) for one in model.trainable_variables] == [
        id(one) for one in network.logits.trainable_variables
    ]
    np.testing.assert_allclose(
        model.predict_on_batch([images, rows]), network.logits.predict_on_batch(images), atol=2e-3
    )
