"""Augmentation of training pictures inside the graph: pure functions of (seed, epoch, picture).

The random numbers of a picture are derived from its id, so they depend neither on the order of the samples nor
on the number of readers, and omitting a step does not change the others. Only MixUp needs a second picture: the
next one of the batch. Uncovered areas become white, as in the letterbox. The steps are those of JAX-CV's
WDTaggerGen.py, which are common for taggers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alti2v.model import backend
from alti2v.model.recipes import Augmentation

if TYPE_CHECKING:
    import numpy.typing as npt

_NAMES_A_SIDE = re.compile(r"(?<![^\W_])(left|right)(?![^\W_])", re.IGNORECASE)  # as a separate word
_KERNELS = ("bilinear", "bicubic", "lanczos3", "nearest")  # of tf.image.resize
_WHITE = 255
_DRAWS = 11  # random numbers per picture, one for each use below


def names_a_side(tags: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which tags name left or right, and would be wrong for a mirrored picture: (T,)."""
    return np.array([_NAMES_A_SIDE.search(tag) is not None for tag in tags], bool)


def seed_of(seed: int, epoch: int) -> int:
    """Derive the seed of an epoch, which each picture combines with its id."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64).astype(np.int64)[0])


def augmented(image: Any, id_: Any, *, what: Augmentation, seed: int, may_flip: Any) -> Any:  # noqa: ANN401
    """Apply all random changes to a picture except MixUp.

    Args:
        image: (S, S, 3) uint8.
        id_: Scalar int64, post number.
        what: Steps and their strengths.
        seed: Seed of the epoch, from `seed_of`.
        may_flip: Scalar bool, False if a tag names a side.

    Returns:
        (S, S, 3) uint8.
    """
    tf = backend.tf
    draws = tf.random.stateless_uniform([_DRAWS], seed=tf.stack([tf.constant(seed, tf.int64), id_]))
    if what.flip:
        is_flipped = tf.logical_and(draws[0] < 0.5, may_flip)
        image = tf.cond(is_flipped, lambda: tf.reverse(image, axis=[1]), lambda: image)
    if what.rotation:
        image = rotated(image, (2 * draws[3] - 1) * what.rotation)
    if what.shift:
        image = shifted(image, draws[1:3], furthest=round(what.shift * image.shape[0]))
    if what.crop:
        image = cropped(image, draws[4:7], most=what.crop, kernel=draws[7] if what.kernels else None)
    if what.cutout:
        image = cut_out(image, draws[8:11], most=what.cutout)
    return image


def rotated(image: Any, degrees: Any) -> Any:  # noqa: ANN401 - tensors
    """Rotate a picture (S, S, 3) uint8 counter-clockwise about its centre, bilinearly; corners become white."""
    tf = backend.tf
    angle = tf.cast(degrees, tf.float32) * (np.pi / 180)
    cos, sin = tf.cos(angle), tf.sin(angle)
    centre = (image.shape[0] - 1) / 2
    # The op maps points of the output to points of the input: x = a0 x' + a1 y' + a2, y = b0 x' + b1 y' + b2.
    zero = tf.zeros_like(cos)
    transform = [cos, -sin, centre - cos * centre + sin * centre]
    transform += [sin, cos, centre - sin * centre - cos * centre, zero, zero]
    turned = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=tf.stack(transform)[tf.newaxis],
        output_shape=image.shape[:2],
        fill_value=float(_WHITE),
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(turned[0], image.shape)


def shifted(image: Any, draws: Any, *, furthest: int) -> Any:  # noqa: ANN401 - tensors
    """Shift a picture (S, S, 3) uint8 by up to `furthest` px along both axes, by draws (2,) in [0, 1)."""
    tf = backend.tf
    size = image.shape[0]
    start = tf.cast(tf.floor(draws * (2 * furthest + 1)), tf.int32)
    padded = tf.pad(image, [[furthest, furthest], [furthest, furthest], [0, 0]], constant_values=_WHITE)
    return tf.ensure_shape(tf.slice(padded, [start[0], start[1], 0], [size, size, 3]), (size, size, 3))


def cropped(image: Any, draws: Any, *, most: float, kernel: Any) -> Any:  # noqa: ANN401 - tensors
    """Crop a square from a picture (S, S, 3) uint8 and enlarge it to S.

    Args:
        image: The picture.
        draws: (3,) in [0, 1): how much to remove, and the square's position, down and across.
        most: Maximum share of the side to remove.
        kernel: Scalar in [0, 1) that selects the kernel; None for bilinear.
    """
    tf = backend.tf
    size = image.shape[0]
    gone = tf.cast(tf.floor(draws[0] * (round(most * size) + 1)), tf.int32)
    start = tf.cast(tf.floor(draws[1:3] * tf.cast(gone + 1, tf.float32)), tf.int32)
    square = tf.slice(image, [start[0], start[1], 0], [size - gone, size - gone, 3])

    def resized(method: str) -> Any:  # noqa: ANN401 - tensor
        return tf.cast(tf.image.resize(square, [size, size], method=method), tf.float32)

    if kernel is None:
        large = resized(_KERNELS[0])
    else:
        chosen = tf.cast(tf.floor(kernel * len(_KERNELS)), tf.int32)
        large = tf.switch_case(chosen, [lambda method=method: resized(method) for method in _KERNELS])
    return tf.ensure_shape(tf.saturate_cast(tf.round(large), tf.uint8), (size, size, 3))


def cut_out(image: Any, draws: Any, *, most: float) -> Any:  # noqa: ANN401 - tensors
    """Cover a square of a picture (S, S, 3) uint8 with white.

    Args:
        image: The picture.
        draws: (3,) in [0, 1): the square's position, down and across, and its area.
        most: Maximum share of the picture's area.
    """
    tf = backend.tf
    size = image.shape[0]
    side = tf.cast(tf.round(size * tf.sqrt(draws[2] * most)), tf.int32)
    start = tf.cast(tf.floor(draws[:2] * tf.cast(size - side + 1, tf.float32)), tf.int32)
    end = size - start - side
    square = tf.fill([side, 3 * side], tf.constant(_WHITE, tf.uint8))
    cover = tf.pad(square, [[start[0], end[0]], [3 * start[1], 3 * end[1]]])
    # White has all bits set; in two dimensions this is several times as fast as selecting pixel by pixel.
    covered = tf.bitwise.bitwise_or(
        tf.reshape(image, (size, 3 * size)), tf.ensure_shape(cover, (size, 3 * size))
    )
    return tf.reshape(covered, (size, size, 3))


def mixing_share(id_: Any, *, alpha: float, seed: int) -> Any:  # noqa: ANN401 - tensors
    """Draw the weight of a picture in MixUp: scalar float32 from Beta(alpha, alpha)."""
    tf = backend.tf
    # A Beta variable is the share of one of two Gamma variables in their sum.
    own_seed = tf.stack([tf.constant(seed ^ 1, tf.int64), id_])
    gammas = tf.random.stateless_gamma([2], seed=own_seed, alpha=alpha)
    return tf.math.divide_no_nan(gammas[0], tf.reduce_sum(gammas))


def mixed(images: Any, labels: Any, shares: Any, count: Any) -> tuple[Any, Any]:  # noqa: ANN401 - tensors
    """Blend every picture of a batch with the next one; the last sample is followed by the first.

    Args:
        images: (B, S, S, 3) uint8.
        labels: (B, T) float32.
        shares: (B,) float32 in [0, 1], weight of the picture itself.
        count: Scalar int32, number of rows that are samples; the padding after them is not changed.

    Returns:
        Images (B, S, S, 3) uint8 and labels (B, T) float32.
    """
    tf = backend.tf
    rows = tf.range(tf.shape(images)[0])
    is_sample = rows < count
    partner = tf.where(is_sample, (rows + 1) % tf.maximum(count, 1), rows)
    shares = tf.where(is_sample, shares, 1.0)
    of_labels, of_images = shares[:, tf.newaxis], shares[:, tf.newaxis, tf.newaxis, tf.newaxis]
    own = tf.cast(images, tf.float32)
    blended = of_images * own + (1 - of_images) * tf.gather(own, partner)
    return (
        tf.cast(tf.round(blended), tf.uint8),
        of_labels * labels + (1 - of_labels) * tf.gather(labels, partner),
    )
