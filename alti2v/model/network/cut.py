"""A network cut in two, so that the output of its frozen part can be stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alti2v.model import backend
from alti2v.model.network.build import LEVELS, NORMALISE, POOL, Network
from alti2v.model.recipes import HEAD_ONLY, Head


@dataclass(frozen=True, slots=True)
class CutNetwork:
    """A network cut in two.

    Attributes:
        trunk: Frozen part (keras.Model), pictures -> (B, N) numbers: the feature map at the cut, flattened, and
            the levels that were pooled before it; behind the backbone, the input of the feature layer.
        head: Part that learns (keras.Model), these numbers -> logits, over the network's own layers.
    """

    trunk: Any
    head: Any


def cut(network: Network, first: str = HEAD_ONLY) -> CutNetwork:
    """Cut a network in front of the first layer of a block of a plain backbone, or of the feature layer."""
    head = _continued(network, first, network.logits.output)
    head.dtype_policy = network.logits.dtype_policy  # tells Keras whether to scale the loss
    trunk = backend.keras.Model(network.logits.input, _flat(_border(network, first)))
    return CutNetwork(trunk=trunk, head=head)


def between(network: Network, first: str, then: str) -> Any:  # noqa: ANN401 - keras.Model
    """Make the model from the numbers at one cut to those at a later one."""
    return _continued(network, first, _flat(_border(network, then)))


def _border(network: Network, first: str) -> list[Any]:  # KerasTensors
    """Return the outputs from which the layers behind a cut can be computed."""
    if first == HEAD_ONLY:
        name = "flatten" if network.architecture.head is Head.FLATTENED else POOL
        return [network.logits.get_layer(name).output]
    layers = [layer.name for layer in network.trunk.layers]
    maps = network.trunk.get_layer(first).input
    pooled = LEVELS[network.architecture.backbone] if network.architecture.head is Head.LEVELS else ()
    # The level of the last map is computed from the map.
    before = [name for name in pooled if layers.index(name) < layers.index(first) - 1]
    return [maps, *(network.logits.get_layer(f"{NORMALISE}_{name}").output for name in before)]


def _flat(tensors: Sequence[Any]) -> Any:  # noqa: ANN401 - KerasTensors -> KerasTensor (B, N)
    layers = backend.keras.layers
    flat = [layers.Flatten()(tensor) for tensor in tensors]
    return flat[0] if len(flat) == 1 else layers.Concatenate()(flat)


def _continued(network: Network, first: str, output: Any) -> Any:  # noqa: ANN401 - KerasTensor -> keras.Model
    """Make a model from the numbers at a cut to an output of the network behind it."""
    keras = backend.keras
    tensors = _border(network, first)
    shapes = [tensor.shape[1:] for tensor in tensors]
    ends = np.cumsum([math.prod(shape) for shape in shapes]).tolist()
    numbers = keras.Input((ends[-1],), dtype=tensors[0].dtype)
    parts = [
        keras.layers.Reshape(shape)(numbers[:, end - math.prod(shape) : end])
        for shape, end in zip(shapes, ends, strict=True)
    ]
    return keras.Model(numbers, keras.Model(tensors, output)(parts))


def is_cut(train_from: str) -> bool:
    """Return whether `train_from` freezes layers whose output can be stored."""
    return train_from in (HEAD_ONLY, *(f"block{number}_conv1" for number in range(2, 6)))
