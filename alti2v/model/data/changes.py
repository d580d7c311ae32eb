"""Random changes of training pictures, drawn in the input pipeline: pure functions of (seed, epoch, picture).

Only numbers are drawn here, a row for each picture; the training step applies them to whole batches
(`network.augment`). The numbers of a picture are derived from its id, so they depend neither on the order of
the samples nor on the number of readers, and omitting a step does not change the others. Only MixUp needs a
second picture: the next one of the batch. The steps are those of JAX-CV's WDTaggerGen.py, which are common for
taggers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from alti2v.arrays import BoolArray
from alti2v.model import backend
from alti2v.model.network.augment import KERNELS, PictureChange
from alti2v.model.recipes import Augmentation

_NAMES_A_SIDE = re.compile(r"(?<![^\W_])(left|right)(?![^\W_])", re.IGNORECASE)  # as a separate word


_DRAWS = 12  # uniform random numbers of a picture, one for each use in `changes_of`


def names_a_side(tags: Sequence[str]) -> BoolArray:
    """Return a mask of the tags that name left or right, which a mirrored picture would make wrong: (T,)."""
    return np.array([_NAMES_A_SIDE.search(tag) is not None for tag in tags], bool)


def seed_of(seed: int, epoch: int) -> int:
    """Derive the seed of an epoch, which each picture combines with its id."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64).astype(np.int64)[0])


def drawn(id_: Any, *, seed: int, alpha: float) -> Any:  # noqa: ANN401 - tensors
    """Draw the random numbers of a picture.

    Args:
        id_: Scalar int64, post number.
        seed: Seed of the epoch, from `seed_of`.
        alpha: Alpha of MixUp; 0 if it is off.

    Returns:
        (13,) float32: twelve numbers in [0, 1), and the picture's weight in MixUp.
    """
    tf = backend.tf
    own_seed = tf.stack([tf.constant(seed, tf.int64), id_])
    uniform = tf.random.stateless_uniform([_DRAWS], seed=own_seed)
    share = _mixing_share(id_, alpha=alpha, seed=seed) if alpha else tf.constant(1.0)
    return tf.concat([uniform, share[tf.newaxis]], axis=0)


def _mixing_share(id_: Any, *, alpha: float, seed: int) -> Any:  # noqa: ANN401 - tensors
    """Draw the weight of a picture in MixUp: scalar float32 from Beta(alpha, alpha)."""
    tf = backend.tf
    # A Beta variable is the share of one of two Gamma variables in their sum.
    own_seed = tf.stack([tf.constant(seed ^ 1, tf.int64), id_])
    gammas = tf.random.stateless_gamma([2], seed=own_seed, alpha=alpha)
    return tf.math.divide_no_nan(gammas[0], tf.reduce_sum(gammas))


def changes_of(
    draws: Any,  # noqa: ANN401 - tensors
    may_mirror: Any,  # noqa: ANN401
    is_sample: Any,  # noqa: ANN401
    *,
    what: Augmentation,
    size: int,
    first_row: int,
) -> Any:  # noqa: ANN401
    """Make the changes of a batch of its random numbers.

    Args:
        draws: (B, 13) float32, a row of `drawn` for each picture.
        may_mirror: (B,) bool, False if a tag of the picture names a side.
        is_sample: (B,) float32, 1.0 for samples; the rows after them are padding, which is not changed.
        what: Steps and their strengths.
        size: Side of the pictures, px.
        first_row: Number of this batch's first row in the batch of all processes.

    Returns:
        (B, len(PictureChange)) float32.
    """
    tf = backend.tf
    u = tf.unstack(draws, axis=1)
    furthest = round(what.shift * size)
    side = size - tf.floor(u[3] * (round(what.crop * size) + 1))
    covered = tf.round(size * tf.sqrt(u[10] * what.cutout))
    count = tf.math.count_nonzero(is_sample, dtype=tf.int32)
    rows = tf.range(tf.shape(draws)[0])
    columns: dict[PictureChange, Any] = {
        PictureChange.DEGREES: (2 * u[0] - 1) * what.rotation,
        PictureChange.DOWN: tf.floor(u[1] * (2 * furthest + 1)) - furthest,
        PictureChange.RIGHT: tf.floor(u[2] * (2 * furthest + 1)) - furthest,
        PictureChange.TOP: tf.floor(u[4] * (size - side + 1)),
        PictureChange.LEFT: tf.floor(u[5] * (size - side + 1)),
        PictureChange.SIDE: side,
        PictureChange.KERNEL: tf.floor(u[6] * len(KERNELS)) if what.kernels else tf.zeros_like(side),
        PictureChange.IS_MIRRORED: tf.cast((u[7] < 0.5) & may_mirror & what.flip, tf.float32),
        PictureChange.COVERED_TOP: tf.floor(u[8] * (size - covered + 1)),
        PictureChange.COVERED_LEFT: tf.floor(u[9] * (size - covered + 1)),
        PictureChange.COVERED_SIDE: covered,
        PictureChange.SHARE: tf.where(rows < count, draws[:, _DRAWS], 1.0),
        PictureChange.PARTNER: tf.cast(
            first_row + tf.where(rows < count, (rows + 1) % tf.maximum(count, 1), rows), tf.float32
        ),
    }
    return tf.stack([columns[change] for change in PictureChange], axis=1)


def mixed_labels(labels: Any, changes: Any, *, first_row: int) -> Any:  # noqa: ANN401 - tensors
    """Blend the labels (B, T) float32 as `network.augment` blends the pictures."""
    tf = backend.tf
    share = changes[:, PictureChange.SHARE, tf.newaxis]
    partner = tf.cast(changes[:, PictureChange.PARTNER], tf.int32) - first_row
    return share * labels + (1 - share) * tf.gather(labels, partner)
