"""The backbone in ONNX, layer by layer from Keras: networks of keras.applications made of layers in `_LAYERS`.

Channels are the last axis in Keras and axis 1 in ONNX. Sides are known, so Keras' padding "same" becomes
numbers. Training-only layers (dropout) are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alti2v.arrays import Float32Array
from alti2v.errors import UsageError
from alti2v.model.onnx.nodes import NodeList

_REVERSED, _AS_THEY_ARE = slice(None, None, -1), slice(None)


@dataclass(frozen=True, slots=True)
class LayerContext:
    """Context that the writer of a layer needs besides the layer.

    Attributes:
        inputs: Names of its inputs, (B, C, H, W) or (B, C, 1, 1).
        nodes: Nodes to append to.
        colours: Order of the channels of a picture, for the layers up to the first convolution.
    """

    inputs: Sequence[str]
    nodes: NodeList
    colours: slice


def add_backbone(nodes: NodeList, network: Any, x: str, *, until: str, blue_first: bool) -> str:  # noqa: ANN401
    """Append the layers between a network's input and its head.

    Args:
        nodes: Nodes to append to.
        network: Network (keras.Model) from pictures (B, S, S, 3), RGB in [0, 255].
        x: Name of the pictures (B, 3, S, S) in [0, 255].
        until: Name of the head's first layer.
        blue_first: True if `x` has the channels blue, green, red.

    Returns:
        Name of the backbone's output (B, C, H, W).

    Raises:
        UsageError: The backbone has a layer that cannot be written.
    """
    names = {id(network.input): x}
    # No node turns the channels: the constants of the layers up to the first convolution are turned instead.
    colours = _REVERSED if blue_first else _AS_THEY_ARE
    for layer in _layers(network, until=until):
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        context = LayerContext([names[id(one)] for one in inputs], nodes, colours)
        if type(layer).__name__ == "Flip":  # ours, from RGB to BGR
            colours = _AS_THEY_ARE if blue_first else _REVERSED
            names[id(layer.output)] = context.inputs[0]
            continue
        names[id(layer.output)], colours = _written(layer, context)
        x = names[id(layer.output)]
    return x


def _layers(network: Any, *, until: str) -> Iterator[Any]:  # noqa: ANN401 - keras.Operation
    for layer in network.operations:
        if layer.name == until:
            return
        if type(layer).__name__ != "InputLayer":
            yield layer


def _written(layer: Any, context: LayerContext) -> tuple[str, slice]:  # noqa: ANN401 - keras.Operation
    """Write a layer; return its output, and the order of the output's channels."""
    kind = type(layer).__name__
    if kind == "Sequential":
        (x,), colours = context.inputs, context.colours
        for inner in layer.layers:
            x, colours = _written(inner, LayerContext([x], context.nodes, colours))
        return x, colours
    if kind not in _LAYERS:
        raise UsageError(
            f"the backbone's layer {layer.name} is a {kind}, which cannot be written as ONNX: train with "
            "another --backbone, such as vgg16, resnet50v2, efficientnetv2s or convnexttiny"
        )
    return _LAYERS[kind](layer, context), _AS_THEY_ARE if kind == "Conv2D" else context.colours


# Weights, and numbers for each channel --------------------------------------------------------------


def _values(variable: Any) -> Float32Array:  # noqa: ANN401 - keras.Variable
    return np.asarray(variable, np.float32)


def _per_channel(context: LayerContext, name: str, values: Any) -> str:  # noqa: ANN401 - array-like
    """Add a constant for each channel, or one for all, in the shape (1, C, 1, 1)."""
    numbers = np.asarray(values, np.float32).reshape(-1)
    turned = numbers[context.colours] if numbers.size > 1 else numbers
    return context.nodes.constant(name, turned.reshape(1, -1, 1, 1))


def _affine(context: LayerContext, x: str, name: str, scale: Any, offset: Any) -> str:  # noqa: ANN401
    x = context.nodes.add("Mul", x, _per_channel(context, f"{name}/scale", scale))
    return context.nodes.add("Add", x, _per_channel(context, f"{name}/offset", offset))


# Convolutions -------------------------------------------------------------------------------------


def _conv(layer: Any, context: LayerContext) -> str:  # noqa: ANN401
    kernel = _values(layer.kernel)[:, :, context.colours]  # (height, width, in, out)
    x = _convolved(layer, context, context.inputs[0], kernel.transpose(3, 2, 0, 1), groups=layer.groups)
    return _activated(layer.activation, context, x)


def _depthwise(layer: Any, context: LayerContext) -> str:  # noqa: ANN401
    kernel = _values(layer.kernel)  # (height, width, in, multiplier)
    height, width, channels, times = kernel.shape
    kernel = kernel.transpose(2, 3, 0, 1).reshape(channels * times, 1, height, width)
    x = _convolved(layer, context, context.inputs[0], kernel, groups=channels)
    return _activated(layer.activation, context, x)


def _convolved(
    layer: Any,  # noqa: ANN401
    context: LayerContext,
    x: str,
    kernel: Float32Array,
    *,
    groups: int,
) -> str:
    nodes = context.nodes
    inputs = [x, nodes.constant(f"{layer.name}/kernel", kernel)]
    if layer.use_bias:
        inputs.append(nodes.constant(f"{layer.name}/bias", _values(layer.bias)))
    sides = list(kernel.shape[2:])
    return nodes.add(
        "Conv",
        *inputs,
        kernel_shape=sides,
        strides=list(layer.strides),
        dilations=list(layer.dilation_rate),
        pads=_pads(layer, sides, layer.dilation_rate),
        group=groups,
    )


def _pads(layer: Any, sides: Sequence[int], dilation: Sequence[int] = (1, 1)) -> list[int]:  # noqa: ANN401
    """Return the padding (top, left, bottom, right) of a layer.

    "same" as TensorFlow defines it (tf.nn, "Notes on padding"): ceil(input / stride) outputs, the odd pixel
    below and right.
    """
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    before, after = [], []
    for size, side, stride, step in zip(layer.input.shape[1:3], sides, layer.strides, dilation, strict=True):
        reach = (side - 1) * step + 1
        total = max((math.ceil(size / stride) - 1) * stride + reach - size, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return [*before, *after]


# Other layers -------------------------------------------------------------------------------------


def _dense(layer: Any, context: LayerContext) -> str:  # noqa: ANN401
    """Multiply the channels of every position: a convolution of 1 x 1."""
    nodes = context.nodes
    kernel = nodes.constant(f"{layer.name}/kernel", _values(layer.kernel).T[:, :, np.newaxis, np.newaxis])
    inputs = [context.inputs[0], kernel]
    if layer.use_bias:
        inputs.append(nodes.constant(f"{layer.name}/bias", _values(layer.bias)))
    return _activated(layer.activation, context, nodes.add("Conv", *inputs, kernel_shape=[1, 1]))


def _batch_normalised(layer: Any, context: LayerContext) -> str:  # noqa: ANN401
    scale, offset = normalisation_of(layer)
    return _affine(context, context.inputs[0], layer.name, scale, offset)


def normalisation_of(layer: Any) -> tuple[Float32Array, Float32Array]:  # noqa: ANN401
    """Return scale and offset of a trained batch normalisation, x * scale + offset: (C,) each.

    Ioffe and Szegedy 2015, "Batch Normalization", algorithm 2, line 11.
    """
    variance = _values(layer.moving_variance).astype(np.float64)
    scale = (_values(layer.gamma) if layer.scale else 1.0) / np.sqrt(variance + layer.epsilon)
    offset = (_values(layer.beta) if layer.center else 0.0) - _values(layer.moving_mean) * scale
    return scale.astype(np.float32), offset.astype(np.float32)


def _layer_normalised(layer: Any, context: LayerContext) -> str:  # noqa: ANN401
    """Normalise each position over its channels (Ba et al. 2016, "Layer Normalization")."""
    nodes, (x,) = context.nodes, context.inputs
    centred = nodes.add("Sub", x, nodes.add("ReduceMean", x, axes=[1], keepdims=1))
    variance = nodes.add("ReduceMean", nodes.add("Mul", centred, centred), axes=[1], keepdims=1)
    epsilon = nodes.constant(f"{layer.name}/epsilon", layer.epsilon)
    deviation = nodes.add("Sqrt", nodes.add("Add", variance, epsilon))
    x = nodes.add("Div", centred, deviation)
    if not layer.scale and not layer.center:
        return x
    return _affine(context, x, layer.name, _values(layer.gamma), _values(layer.beta))


def _rescaled(layer: Any, context: LayerContext) -> str:  # noqa: ANN401
    return _affine(context, context.inputs[0], layer.name, layer.scale, layer.offset)


def _standardised(layer: Any, context: LayerContext) -> str:  # noqa: ANN401
    mean, variance = _values(layer.mean), _values(layer.variance)
    deviation = np.maximum(np.sqrt(variance), 1e-7)  # keras.layers.Normalization, with keras.backend.epsilon()
    return _affine(context, context.inputs[0], layer.name, 1 / deviation, -mean / deviation)


def _layer_scaled(layer: Any, context: LayerContext) -> str:  # noqa: ANN401
    gamma = _per_channel(context, f"{layer.name}/gamma", _values(layer.gamma))
    return context.nodes.add("Mul", context.inputs[0], gamma)


def _zero_padded(layer: Any, context: LayerContext) -> str:  # noqa: ANN401
    (top, bottom), (left, right) = layer.padding
    pads = context.nodes.integers(f"{layer.name}/pads", [0, 0, top, left, 0, 0, bottom, right])
    return context.nodes.add("Pad", context.inputs[0], pads)


def _max_pooled(layer: Any, context: LayerContext) -> str:  # noqa: ANN401
    return _pooled("MaxPool", layer, context)


def _average_pooled(layer: Any, context: LayerContext) -> str:  # noqa: ANN401
    return _pooled("AveragePool", layer, context)


def _pooled(operation: str, layer: Any, context: LayerContext) -> str:  # noqa: ANN401
    sides = list(layer.pool_size)
    return context.nodes.add(
        operation,
        context.inputs[0],
        kernel_shape=sides,
        strides=list(layer.strides),
        pads=_pads(layer, sides),
    )


def _averaged(_: Any, context: LayerContext) -> str:  # noqa: ANN401
    """Average over all positions; the two axes stay, with one position."""
    return context.nodes.add("GlobalAveragePool", context.inputs[0])


def _unchanged(_: Any, context: LayerContext) -> str:  # noqa: ANN401
    return context.inputs[0]


def _reshaped(layer: Any, context: LayerContext) -> str:  # noqa: ANN401
    if tuple(layer.target_shape[:2]) != (1, 1):
        raise UsageError(f"the backbone's layer {layer.name} reshapes, which cannot be written as ONNX")
    return context.inputs[0]  # from (B, C) to (B, 1, 1, C) in Keras; here it has that shape already


def _combined(operation: str) -> _LayerWriter:
    def write(layer: Any, context: LayerContext) -> str:  # noqa: ANN401
        first, *others = context.inputs
        if not others:
            raise UsageError(
                f"the backbone's layer {layer.name} has a constant, which cannot be written as ONNX"
            )
        for other in others:
            first = context.nodes.add(operation, first, other)
        return first

    return write


def _concatenated(_: Any, context: LayerContext) -> str:  # noqa: ANN401
    return context.nodes.add("Concat", *context.inputs, axis=1)


def _rectified(layer: Any, context: LayerContext) -> str:  # noqa: ANN401
    x = context.nodes.add("Relu", context.inputs[0])
    if layer.max_value is None:
        return x
    return context.nodes.add("Min", x, context.nodes.constant(f"{layer.name}/most", layer.max_value))


def _activation_layer(layer: Any, context: LayerContext) -> str:  # noqa: ANN401
    return _activated(layer.activation, context, context.inputs[0])


def _activated(activation: Any, context: LayerContext, x: str) -> str:  # noqa: ANN401
    """Apply one of Keras' activation functions, given as the function."""
    name = "linear" if activation is None else activation.__name__
    nodes = context.nodes
    if name == "linear":
        return x
    if name in ("relu", "sigmoid"):
        return nodes.add(name.capitalize(), x)
    if name == "silu":
        return nodes.add("Mul", x, nodes.add("Sigmoid", x))
    if name == "gelu":  # x times the normal distribution's cumulative function at x
        numbers = [nodes.constant(f"{x}/{word}", value) for word, value in _GELU.items()]
        error = nodes.add("Erf", nodes.add("Mul", x, numbers[0]))
        return nodes.add("Mul", nodes.add("Mul", x, numbers[1]), nodes.add("Add", error, numbers[2]))
    raise UsageError(f"the backbone's activation {name} cannot be written as ONNX")


_GELU = {"root_half": math.sqrt(0.5), "half": 0.5, "one": 1.0}
_LayerWriter = Callable[[Any, LayerContext], str]
_LAYERS: Mapping[str, _LayerWriter] = {
    "Activation": _activation_layer,
    "Add": _combined("Add"),
    "AveragePooling2D": _average_pooled,
    "BatchNormalization": _batch_normalised,
    "Concatenate": _concatenated,
    "Conv2D": _conv,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Dropout": _unchanged,
    "GlobalAveragePooling2D": _averaged,
    "LayerNormalization": _layer_normalised,
    "LayerScale": _layer_scaled,
    "MaxPooling2D": _max_pooled,
    "Multiply": _combined("Mul"),
    "Normalization": _standardised,
    "ReLU": _rectified,
    "Rescaling": _rescaled,
    "Reshape": _reshaped,
    "StochasticDepth": _unchanged,
    "ZeroPadding2D": _zero_padded,
}
