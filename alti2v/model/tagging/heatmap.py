"""Heat maps: the contribution of each place of a picture to a tag's log-odds.

The network averages its last feature maps over the places (global average pooling), normalises each average if
there are several, then applies the feature layer, ReLU, and the layer of the tags. For one picture the logit is
therefore a weighted sum over places, which is computed exactly: Zhou et al. 2016, "Learning Deep Features for
Discriminative Localization" (class activation mapping), with the weights of the active units of the feature
layer, and with the picture's own means and deviations of the averages. For a model of an unknown graph,
parts of the picture are covered one by one, and the contribution of a part is the fall of the log-odds (Zeiler
and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2): 64 predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from alti2v.arrays import Float32Array, Float64Array, Int64Array, Uint8Array
from alti2v.errors import UsageError
from alti2v.model.loading.description import ModelInput
from alti2v.model.loading.session import Forward, fed
from alti2v.model.network.build import NORMALISE, POOL
from alti2v.model.onnx import runtime

_PLACES = 8  # occlusion: places along a side; each is covered together with half of its neighbours
_LEAST = 1e-7  # keeps the log-odds finite of a probability that float32 rounds to 0 or 1


class Method(StrEnum):
    """Method by which a heat map was computed."""

    ACTIVATION = "class activation"
    OCCLUSION = "occlusion"


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Contributions of the places of a picture to one tag's log-odds.

    Attributes:
        values: (H, W) float32; positive where the picture supports the tag.
        method: Method by which they were computed.
    """

    values: Float32Array
    method: Method


@dataclass(frozen=True, slots=True, kw_only=True)
class GapHead:
    """Layers after the global average pooling.

    Attributes:
        positions: Function from (S, S, 3) uint8 RGB to the feature maps that are pooled, the largest first:
            (H, W, C) float32 each.
        epsilon: Number that is added to the variance when averages are normalised; None if they are not.
        features_kernel: (C, F) weights of the feature layer, for the channels of all maps.
        features_bias: (F,) biases of the feature layer.
        logits_kernel: (F, T) weights of the last layer.
    """

    positions: Callable[[Uint8Array], Sequence[Float32Array]]
    epsilon: float | None = None
    features_kernel: Float32Array
    features_bias: Float32Array
    logits_kernel: Float32Array


def heat_map(
    forward: Forward, head: GapHead | None, picture: Uint8Array, output: int, *, batch_size: int
) -> HeatMap:
    """Locate a tag in a picture.

    Args:
        forward: Function of the tagger, see `Tagger.forward`.
        head: Layers of the same model; None if they are not known.
        picture: (S, S, 3) uint8 RGB.
        output: Output of the tag.
        batch_size: Maximum number of pictures that `forward` takes at once.
    """
    if head is not None:
        parts = class_activation(head, picture, output)
        if parts.size > 1:  # a picture of 32 px has a single place
            return HeatMap(parts, Method.ACTIVATION)
    return HeatMap(occlusion(forward, picture, output, batch_size=batch_size), Method.OCCLUSION)


def class_activation(head: GapHead, picture: Uint8Array, output: int) -> Float32Array:
    """Return each place's share, (H, W): their mean plus the biases of active units is the tag's logit."""
    maps = head.positions(picture)
    averages = [one.mean(axis=(0, 1)) for one in maps]  # (C,) each
    scales = [1.0 if head.epsilon is None else 1 / np.sqrt(one.var() + head.epsilon) for one in averages]
    if head.epsilon is not None:
        averages = [(one - one.mean()) * scale for one, scale in zip(averages, scales, strict=True)]
    active = np.concatenate(averages) @ head.features_kernel + head.features_bias > 0
    channels = head.features_kernel @ np.where(active, head.logits_kernel[:, output], 0)
    parts = np.zeros(maps[0].shape[:2], np.float32)
    ends = np.cumsum([len(one) for one in averages])
    for one, scale, weights in zip(maps, scales, np.split(channels, ends[:-1]), strict=True):
        centred = weights if head.epsilon is None else weights - weights.mean()
        parts += _enlarged((one @ (centred * scale)).astype(np.float32), parts.shape)
    return parts


def _enlarged(parts: Float32Array, shape: tuple[int, ...]) -> Float32Array:
    """Enlarge a map without changing its mean."""
    rows, columns = (np.arange(side) * own // side for side, own in zip(shape, parts.shape, strict=True))
    larger: Float32Array = parts[np.ix_(rows, columns)]
    larger += parts.mean() - larger.mean()
    return larger


def occlusion(forward: Forward, picture: Uint8Array, output: int, *, batch_size: int) -> Float32Array:
    """Return the decrease of the log-odds when a place is covered with the picture's mean colour, (8, 8)."""
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


def _around(edges: Int64Array, place: int) -> slice:
    return slice(edges[max(0, 2 * place - 1)], edges[min(2 * _PLACES, 2 * place + 3)])


def _log_odds(probabilities: Float32Array) -> Float64Array:
    inside = probabilities.astype(np.float64).clip(_LEAST, 1 - _LEAST)
    odds: Float64Array = np.log(inside / (1 - inside))
    return odds


def keras_head(network: Any) -> GapHead | None:  # noqa: ANN401 - keras.Model
    """Return the head of a network of `network.build_network`; None if it has no pooling."""
    from alti2v.model import backend

    layers = {layer.name: layer for layer in network.layers}
    if POOL not in layers:
        return None
    pooling = [layers[POOL]]
    normalisations = [layer for name, layer in layers.items() if name.startswith(f"{NORMALISE}_")]
    if normalisations:
        pooling = [layer for name, layer in layers.items() if name.startswith(f"{POOL}_")]
    trunk = backend.keras.Model(network.input, [layer.input for layer in pooling])

    def positions(picture: Uint8Array) -> list[Float32Array]:
        found = trunk.predict_on_batch(picture[None])  # Keras returns the only output of a model without a list
        return [np.asarray(one, np.float32)[0] for one in (found if isinstance(found, list) else [found])]

    return GapHead(
        positions=positions,
        epsilon=normalisations[0].epsilon if normalisations else None,
        features_kernel=np.asarray(layers["features"].kernel, np.float32),
        features_bias=np.asarray(layers["features"].bias, np.float32),
        logits_kernel=np.asarray(layers["logits"].kernel, np.float32),
    )


def onnx_head(file: Path, takes: ModelInput) -> GapHead | None:
    """Return the head of a model that `onnx.writer` wrote; None for another one, or without the package onnx.

    The file holds the weights by name. The feature maps are the inputs of the GlobalAveragePool of each level,
    and become the outputs of a second session.
    """
    try:
        onnx, onnxruntime = runtime.onnx, runtime.onnxruntime
    except UsageError:
        return None
    model = onnx.load(str(file), load_external_data=False)
    numbers = {one.name: one for one in model.graph.initializer}
    names = ("features/kernel", "features/bias", "logits/kernel")
    if model.producer_name != "alti2v" or not numbers.keys() >= set(names):
        return None
    places = _pooled_maps(model.graph)
    if not places:
        return None
    if any(numbers[name].data_location == onnx.TensorProto.EXTERNAL for name in names):
        return None  # the writer keeps all numbers in the file
    units = numbers["features/bias"].dims
    if any(numbers[name].data_type != onnx.TensorProto.FLOAT for name in names) or not (
        [*numbers["features/kernel"].dims][1:] == [*units] == [*numbers["logits/kernel"].dims][:1]
    ):
        return None  # not of the writer, whatever the file says
    features_kernel, features_bias, logits_kernel = (
        onnx.numpy_helper.to_array(numbers[name]).astype(np.float32) for name in names
    )
    epsilons = [onnx.numpy_helper.to_array(numbers[name]) for name in numbers if name.endswith("/epsilon")]
    if len(places) > 1 and not epsilons:
        return None
    del model.graph.output[:]
    for place in places:
        model.graph.output.append(onnx.helper.make_tensor_value_info(place, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def positions(picture: Uint8Array) -> list[Float32Array]:
        found = session.run(list(places), {takes.name: fed(picture[None], takes)})
        return [one[0].transpose(1, 2, 0) for one in found]  # from (C, H, W)

    return GapHead(
        positions=positions,
        epsilon=epsilons[0].item() if len(places) > 1 else None,
        features_kernel=features_kernel,
        features_bias=features_bias,
        logits_kernel=logits_kernel,
    )


def _pooled_maps(graph: Any) -> list[str]:  # noqa: ANN401 - onnx.GraphProto
    """Return the maps that the head pools, of a graph of our writer; none if its head does not pool."""
    made_by = {name: node for node in graph.node for name in node.output}
    flatten = [node for node in graph.node if node.op_type == "Flatten"]
    if len(flatten) != 1:
        return []
    last = made_by.get(flatten[0].input[0])
    if last is None:
        return []
    maps = []
    for name in last.input if last.op_type == "Concat" else flatten[0].input:
        node = made_by.get(name)
        while node is not None and node.op_type in ("Div", "Sub"):  # the normalisation
            node = made_by.get(node.input[0])
        if node is None or node.op_type != "GlobalAveragePool":
            return []
        maps.append(str(node.input[0]))
    return maps
