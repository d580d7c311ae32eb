"""Augmentation of whole batches inside the training step, on the device that trains.

`data.changes` draws what happens to each picture; here it happens, in operations of Keras that every backend
compiles. Uncovered areas become white, as in the letterbox.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any

from alti2v.model import backend
from alti2v.model.network.build import Network
from alti2v.model.recipes import Augmentation

KERNELS = ("bilinear", "bicubic", "lanczos3", "nearest")
_WHITE = 255.0


class PictureChange(IntEnum):
    """Column of the changes of a batch, (B, len(PictureChange)) float32; sizes and places are in pixels.

    A picture is rotated, then shifted, then a square of it is enlarged to the whole side, then it is mirrored
    and a part is covered; at last it is blended with another row of the batch.
    """

    DEGREES = 0  # counter-clockwise, about the centre
    DOWN = 1
    RIGHT = 2
    TOP = 3  # of the square that is enlarged
    LEFT = 4
    SIDE = 5
    KERNEL = 6  # index in `KERNELS`
    IS_MIRRORED = 7  # 0 or 1
    COVERED_TOP = 8
    COVERED_LEFT = 9
    COVERED_SIDE = 10
    SHARE = 11  # weight of the picture itself when it is blended
    PARTNER = 12  # row that it is blended with


def halving_model(network: Network) -> Any:  # noqa: ANN401 - keras.Model
    """Reduce pictures to half their side before a network: pictures to logits, over the network's own layers.

    The head must average over all positions: then the layers fit maps of any size.
    """
    keras = backend.keras
    side = network.architecture.size // 2
    small = keras.models.clone_model(
        network.logits, input_tensors=keras.Input((side, side, 3)), clone_function=lambda layer: layer
    )
    pictures = keras.Input(network.logits.input.shape[1:], name="images")
    # float32, because the number format of the layers has 8 bits for 256 levels.
    model = keras.Model(pictures, small(keras.layers.AveragePooling2D(2, dtype="float32")(pictures)))
    model.dtype_policy = network.logits.dtype_policy  # tells Keras whether to scale the loss
    return model


def augmenting_model(model: Any, what: Augmentation) -> Any:  # noqa: ANN401 - keras.Model
    """Put the augmentation before a model of pictures: (pictures, changes) to logits, with its own weights."""
    keras = backend.keras
    size = model.input.shape[1]

    class Augment(keras.layers.Layer):  # type: ignore[name-defined, misc]  # Keras is imported at first use
        """The augmentation as a layer without weights, computed in float32 whatever the network computes in."""

        def call(self, images: Any, changes: Any) -> Any:  # noqa: ANN401 - tensors
            """Change a batch of pictures, as `augmented` does."""
            return augmented(images, changes, what=what)

    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    changes = keras.Input((len(PictureChange),), dtype="float32", name="changes")
    logits = model(Augment(dtype="float32", name="augment")(images, changes))
    augmenting = keras.Model([images, changes], logits, name="alti2v_augmented")
    augmenting.dtype_policy = model.dtype_policy  # tells Keras whether to scale the loss
    return augmenting


def augmented(images: Any, changes: Any, *, what: Augmentation) -> Any:  # noqa: ANN401 - tensors
    """Apply the changes to the pictures of a batch.

    Args:
        images: (B, S, S, 3) in [0, 255].
        changes: (B, len(PictureChange)) float32, see `PictureChange`.
        what: Steps that occur; those that it leaves out are not computed.

    Returns:
        (B, S, S, 3) float32 in [0, 255].
    """
    ops = backend.keras.ops
    images = ops.cast(images, "float32")
    if what.rotation:
        images = rotated(images, changes[:, PictureChange.DEGREES])
    if what.shift or what.crop:
        images = enlarged(images, changes, kernels=KERNELS if what.kernels else KERNELS[:1])
    if what.flip:
        is_mirrored = changes[:, PictureChange.IS_MIRRORED, None, None, None] > 0
        images = ops.where(is_mirrored, ops.flip(images, axis=2), images)
    if what.cutout:
        images = covered(images, changes)
    if what.mixup:
        share = changes[:, PictureChange.SHARE, None, None, None]
        partner = ops.take(images, ops.cast(changes[:, PictureChange.PARTNER], "int32"), axis=0)
        images = share * images + (1 - share) * partner
    return images


def rotated(images: Any, degrees: Any) -> Any:  # noqa: ANN401 - tensors
    """Rotate pictures (B, S, S, 3) counter-clockwise by (B,) degrees, bilinearly; corners become white."""
    ops = backend.keras.ops
    angle = degrees * (math.pi / 180)
    cos, sin = ops.cos(angle), ops.sin(angle)
    centre = (images.shape[1] - 1) / 2
    zero = ops.zeros_like(cos)
    # Points of the output to points of the input: x = a0 x' + a1 y' + a2, y = b0 x' + b1 y' + b2.
    transforms = ops.stack(
        [
            *(cos, -sin, centre - cos * centre + sin * centre),
            *(sin, cos, centre - sin * centre - cos * centre, zero, zero),
        ],
        axis=1,
    )
    return ops.image.affine_transform(
        images,
        transforms,
        interpolation="bilinear",
        fill_mode="constant",
        fill_value=_WHITE,
        data_format="channels_last",
    )


def enlarged(images: Any, changes: Any, *, kernels: tuple[str, ...]) -> Any:  # noqa: ANN401 - tensors
    """Shift pictures (B, S, S, 3) float32 and enlarge a square of each to S.

    Along one axis this is a matrix that depends on the picture only by a few numbers, so a batch takes two
    products of matrices, whatever the kernels: about a thousandth of what VGG16 computes.
    """
    ops = backend.keras.ops
    down = _axis_weights(images.shape[1], changes, PictureChange.TOP, PictureChange.DOWN, kernels)
    across = _axis_weights(images.shape[1], changes, PictureChange.LEFT, PictureChange.RIGHT, kernels)
    ink = _WHITE - images  # what is shifted in is white, which has none
    ink = ops.einsum("bij,bjkc->bikc", down, ink)
    ink = ops.einsum("blk,bikc->bilc", across, ink)
    return ops.clip(_WHITE - ink, 0.0, _WHITE)


def _axis_weights(
    size: int,
    changes: Any,  # noqa: ANN401 - tensors
    start: PictureChange,
    shift: PictureChange,
    kernels: tuple[str, ...],
) -> Any:  # noqa: ANN401
    """Return the weight of each input row in each output row: (B, S, S).

    Rows outside the square do not count, and the weights of an output row add up to 1 over the shifted picture,
    as in Pillow's `resize(box=...)`.
    """
    ops = backend.keras.ops
    first, side = changes[:, start, None, None], changes[:, PictureChange.SIDE, None, None]
    shift_px = changes[:, shift, None, None]
    rows = ops.arange(size, dtype="float32")
    centre = (
        first + (rows[None, :, None] + 0.5) * (side / size) - 0.5
    )  # of an output row, in the shifted picture
    kernel = changes[:, PictureChange.KERNEL, None, None]

    def weights(row: Any) -> Any:  # noqa: ANN401 - tensors
        is_inside = ops.logical_and(row >= first, row < first + side)
        distance = centre - row
        values = _KERNEL_FUNCTIONS[kernels[0]](distance)
        for number, name in enumerate(kernels[1:], start=1):
            values = ops.where(ops.equal(kernel, float(number)), _KERNEL_FUNCTIONS[name](distance), values)
        return ops.where(is_inside, values, 0.0)

    total = ops.sum(weights(rows[None, None, :]), axis=2, keepdims=True)
    return weights(shift_px + rows[None, None, :]) / total


def covered(images: Any, changes: Any) -> Any:  # noqa: ANN401 - tensors
    """Cover a square of each picture (B, S, S, 3) float32 with white."""
    ops = backend.keras.ops
    places = ops.arange(images.shape[1], dtype="float32")[None]

    def is_covered(start: PictureChange) -> Any:  # noqa: ANN401 - (B, S)
        first = changes[:, start, None]
        return ops.logical_and(places >= first, places < first + changes[:, PictureChange.COVERED_SIDE, None])

    rows, columns = is_covered(PictureChange.COVERED_TOP), is_covered(PictureChange.COVERED_LEFT)
    is_white = ops.logical_and(rows[:, :, None, None], columns[:, None, :, None])
    return ops.where(is_white, _WHITE, images)


def _bilinear(distance: Any) -> Any:  # noqa: ANN401 - tensors
    ops = backend.keras.ops
    return ops.maximum(1.0 - ops.abs(distance), 0.0)


def _bicubic(distance: Any) -> Any:  # noqa: ANN401 - tensors
    """Cubic kernel (Keys 1981, "Cubic convolution interpolation", equation 15) with a = -1/2, as in Pillow."""
    ops = backend.keras.ops
    x = ops.abs(distance)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return ops.where(x < 1.0, near, ops.where(x < 2.0, far, 0.0))


def _lanczos3(distance: Any) -> Any:  # noqa: ANN401 - tensors
    """Lanczos kernel: sinc(x) sinc(x / 3) for |x| < 3."""
    ops = backend.keras.ops
    x = math.pi * distance
    is_zero = ops.abs(x) < 1e-5
    safe = ops.where(is_zero, 1.0, x)
    value = 3.0 * ops.sin(safe) * ops.sin(safe / 3.0) / (safe * safe)
    return ops.where(is_zero, 1.0, ops.where(ops.abs(distance) < 3.0, value, 0.0))


def _nearest(distance: Any) -> Any:  # noqa: ANN401 - tensors
    ops = backend.keras.ops
    return ops.cast(ops.logical_and(distance >= -0.5, distance < 0.5), "float32")


_KERNEL_FUNCTIONS = {"bilinear": _bilinear, "bicubic": _bicubic, "lanczos3": _lanczos3, "nearest": _nearest}
