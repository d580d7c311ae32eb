"""Where in a picture a tag is: the part that each place has in the tag's log-odds.

The network averages its last feature map over the places (global average pooling), multiplies by the feature
layer, sets what is negative to 0, and multiplies by the tags. For one picture that is a weighted sum over
places, so it can be taken apart exactly: Zhou et al. 2016, "Learning Deep Features for Discriminative
Localization" (class activation mapping), where the hidden layer takes the weights of its active units. A model
whose graph is not known to be of this form is asked instead: a part of the picture is covered, and the fall of
the log-odds is the part's share (Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional
Networks", section 4.2). That needs nothing but answers, and 64 of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.errors import UsageError
from alti2v.model.arrays import Float32Array, Uint8Array
from alti2v.model.onnx import runtime
from alti2v.model.taggers.description import ModelInput
from alti2v.model.taggers.session import fed

_PLACES = 8  # occlusion: so many places along a side, each covered with half of its neighbours
_LEAST = 1e-7  # a probability that float32 rounds to 0 or 1 keeps finite log-odds


class Method(StrEnum):
    """How a heat-map was found."""

    ACTIVATION = "class activation"
    OCCLUSION = "occlusion"


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Shares of the places of a picture in one tag's log-odds.

    Attributes:
        values: (H, W) float32, what speaks for the tag is positive.
        method: how it was found.
    """

    values: Float32Array
    method: Method


@dataclass(frozen=True, slots=True, kw_only=True)
class GapHead:
    """What follows the global average pooling.

    Attributes:
        positions: (S, S, 3) uint8, RGB -> (H, W, C) float32, the feature map.
        features_kernel: (C, F); features_bias: (F,).
        logits_kernel: (F, T).
    """

    positions: Callable[[Uint8Array], Float32Array]
    features_kernel: Float32Array
    features_bias: Float32Array
    logits_kernel: Float32Array


def heat_map(
    forward: Callable[[Uint8Array], tuple[Float32Array, Float32Array | None]],
    head: GapHead | None,
    picture: Uint8Array,
    output: int,
    *,
    batch_size: int,
) -> HeatMap:
    """Find out where a tag is.

    Args:
        forward: of the tagger.
        head: of the same model; None where it is not known.
        picture: (S, S, 3) uint8, RGB.
        output: the tag.
        batch_size: pictures that `forward` takes at a time, where it is asked.
    """
    if head is not None:
        parts = class_activation(head, picture, output)
        if parts.size > 1:  # of pictures of 32 px one place is left, which is everywhere
            return HeatMap(parts, Method.ACTIVATION)
    return HeatMap(occlusion(forward, picture, output, batch_size=batch_size), Method.OCCLUSION)


def class_activation(head: GapHead, picture: Uint8Array, output: int) -> Float32Array:
    """The part of every place, (H, W): their mean and the biases of the active units make the tag's logit."""
    positions = head.positions(picture)
    pooled = positions.mean(axis=(0, 1))
    active = pooled @ head.features_kernel + head.features_bias > 0
    channels = head.features_kernel @ np.where(active, head.logits_kernel[:, output], 0)
    parts: Float32Array = (positions @ channels).astype(np.float32)
    return parts


def occlusion(
    forward: Callable[[Uint8Array], tuple[Float32Array, Float32Array | None]],
    picture: Uint8Array,
    output: int,
    *,
    batch_size: int,
) -> Float32Array:
    """How much the log-odds fall when a place is covered with the picture's mean colour, (8, 8)."""
    covered = np.repeat(picture[None], _PLACES**2, axis=0)
    mean = picture.mean(axis=(0, 1)).round().astype(np.uint8)
    edges = np.linspace(0, len(picture), 2 * _PLACES + 1).round().astype(int)  # in half places
    for place in range(_PLACES**2):
        row, column = divmod(place, _PLACES)
        covered[place, _around(edges, row), _around(edges, column)] = mean
    answers = [forward(covered[i : i + batch_size])[0][:, output] for i in range(0, len(covered), batch_size)]
    whole = _log_odds(forward(picture[None])[0][:, output])
    falls: Float32Array = (whole - _log_odds(np.concatenate(answers))).astype(np.float32)
    return falls.reshape(_PLACES, _PLACES)


def _around(edges: npt.NDArray[np.int64], place: int) -> slice:
    return slice(edges[max(0, 2 * place - 1)], edges[min(2 * _PLACES, 2 * place + 3)])


def _log_odds(probabilities: Float32Array) -> npt.NDArray[np.float64]:
    inside = probabilities.astype(np.float64).clip(_LEAST, 1 - _LEAST)
    odds: npt.NDArray[np.float64] = np.log(inside / (1 - inside))
    return odds


def keras_head(network: Any) -> GapHead | None:  # noqa: ANN401 - keras.Model
    """The head of a network of `network.build_network`; None where it has no pooling."""
    from alti2v.model import backend

    layers = {layer.name: layer for layer in network.layers}
    if "pool" not in layers:
        return None
    trunk = backend.keras.Model(network.input, layers["pool"].input)

    def positions(picture: Uint8Array) -> Float32Array:
        found: Float32Array = np.asarray(trunk.predict_on_batch(picture[None]), np.float32)
        return np.asarray(found[0])

    return GapHead(
        positions=positions,
        features_kernel=np.asarray(layers["features"].kernel, np.float32),
        features_bias=np.asarray(layers["features"].bias, np.float32),
        logits_kernel=np.asarray(layers["logits"].kernel, np.float32),
    )


def onnx_head(file: Path, takes: ModelInput) -> GapHead | None:
    """The head of a model that `onnx_graph` wrote; None for any other, and where onnx is not installed.

    The weights lie in the file by name, and the feature map is what goes into its one GlobalAveragePool: that
    becomes the output of a second session.
    """
    try:
        onnx, onnxruntime = runtime.onnx, runtime.onnxruntime
    except UsageError:
        return None
    model = onnx.load(str(file), load_external_data=False)
    numbers = {one.name: one for one in model.graph.initializer}
    pools = [node for node in model.graph.node if node.op_type == "GlobalAveragePool"]
    names = ("features/kernel", "features/bias", "logits/kernel")
    if model.producer_name != "alti2v" or len(pools) != 1 or not numbers.keys() >= set(names):
        return None
    if any(numbers[name].data_location == onnx.TensorProto.EXTERNAL for name in names):
        return None  # the writer keeps all numbers in the file
    features_kernel, features_bias, logits_kernel = (
        onnx.numpy_helper.to_array(numbers[name]).astype(np.float32) for name in names
    )
    place = pools[0].input[0]
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(place, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def positions(picture: Uint8Array) -> Float32Array:
        found: Float32Array = session.run([place], {takes.name: fed(picture[None], takes)})[0][0]  # (C, H, W)
        return found.transpose(1, 2, 0)

    return GapHead(
        positions=positions,
        features_kernel=features_kernel,
        features_bias=features_bias,
        logits_kernel=logits_kernel,
    )
