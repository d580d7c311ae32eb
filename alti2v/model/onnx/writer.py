"""Writer of ONNX files, node by node from the network's architecture and weights.

A converter would trace the Keras graph instead. For a chain of a dozen kinds of operations that is more
complicated: it needs a TensorFlow session, names outputs `Identity:0`, and turns constants into further inputs
(of a Normalization layer, for example), with which all clients fail. Here equal weights give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v import __version__
from alti2v.errors import DataError
from alti2v.model.arrays import Float32Array
from alti2v.model.network.build import TRUNK_LAYERS, Architecture
from alti2v.model.onnx import runtime
from alti2v.model.onnx.contract import IR_VERSION, MAX_BYTES, OPSET, PRODUCER, Contract, OutputRole
from alti2v.model.onnx.labels import Label
from alti2v.model.onnx.reduction import YCBCR_OF_RGB, bicubic_weights
from alti2v.model.recipes import Head

LayerWeights = Mapping[str, Float32Array]  # "block1_conv1/kernel" -> array, shaped as in Keras

_BATCH = "batch"  # the only open dimension
_LAST_OF_BLOCK = frozenset({"block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3"})


def weights_of(network: Any) -> LayerWeights:  # noqa: ANN401 - keras.Model
    """Return the weights of a network of `network.build_network` as float32, whatever its precision.

    Batch normalisation becomes the scale and offset that it has after training: x * scale + offset.
    """
    weights = {
        f"{layer.name}/{weight.name}": np.asarray(weight, np.float32)
        for layer in network.layers
        for weight in layer.weights
    }
    centre = network.get_layer("centre")  # blue, green, red
    weights["centre/scale"] = np.full(3, centre.scale, np.float32)
    weights["centre/offset"] = np.asarray(centre.offset, np.float32)
    if "normalise/gamma" in weights:
        gamma, beta, mean, variance = (
            weights.pop(f"normalise/{name}").astype(np.float64)
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        # Ioffe and Szegedy 2015, "Batch Normalization", algorithm 2, line 11.
        scale = gamma / np.sqrt(variance + network.get_layer("normalise").epsilon)
        weights["normalise/scale"] = scale.astype(np.float32)
        weights["normalise/offset"] = (beta - mean * scale).astype(np.float32)
    return weights


def arrange_outputs(weights: LayerWeights, rows: Sequence[Label]) -> LayerWeights:
    """Return weights whose last layer gives one logit per row: an output of the network, or a constant."""
    # Arranged in the kernel, so that the graph needs no gather and computes nothing for tags that are left out.
    kernel, bias = weights["logits/kernel"], weights["logits/bias"]
    new_kernel = np.zeros((kernel.shape[0], len(rows)), np.float32)
    new_bias = np.array([row.log_odds for row in rows], np.float32)
    columns = [column for column, row in enumerate(rows) if row.output is not None]
    outputs = [row.output for row in rows if row.output is not None]
    new_kernel[:, columns], new_bias[columns] = kernel[:, outputs], bias[outputs]
    return {**weights, "logits/kernel": new_kernel, "logits/bias": new_bias}


def write_onnx(architecture: Architecture, weights: LayerWeights, contract: Contract) -> bytes:
    """Write the network with the inputs and outputs that a contract prescribes.

    Args:
        architecture: of the network.
        weights: of `weights_of`, the last layer possibly arranged anew.
        contract: what comes in, and what goes out.

    Returns:
        The content of a self-contained ONNX file; equal arguments give equal bytes.

    Raises:
        DataError: it would be larger than an ONNX file can be.
        UsageError: onnx is not installed.
    """
    size = sum(array.nbytes for array in weights.values())
    if size > MAX_BYTES - 2**20:  # names and nodes take some 20 kB
        raise DataError(
            f"the network has {size:,} bytes of weights and an ONNX file holds 2 GiB: "
            "train with the modern recipe, a smaller --size or fewer --top-tags"
        )
    chain = _Chain(weights)
    _add_network(chain, architecture, contract)
    content: bytes = _model(chain, architecture, contract).SerializeToString(deterministic=True)
    runtime.onnx.checker.check_model(content, full_check=True)
    return content


def _add_network(chain: _Chain, architecture: Architecture, contract: Contract) -> None:
    """Append everything between the contract's input and its outputs."""
    names = {role: name for name, role in contract.outputs.items()}
    pictures = _network_pictures(
        chain, contract, side=contract.side_px or architecture.size, size=architecture.size
    )
    if contract.halves_colour:
        pictures = _with_halved_colour(chain, pictures, blue_first=contract.bgr)
    positions = _trunk(chain, pictures, blue_first=contract.bgr)
    flat = _flat(chain, positions, architecture.head)
    features = chain.add(
        "Relu", chain.dense(flat, "features"), output=names.get(OutputRole.FEATURES, "features")
    )
    logits = chain.dense(features, "logits", output=names.get(OutputRole.LOGITS, ""))
    if not contract.logits:
        chain.add("Sigmoid", logits, output=names[OutputRole.PROBABILITIES])


def _model(chain: _Chain, architecture: Architecture, contract: Contract) -> Any:  # noqa: ANN401 - onnx.ModelProto
    """Declare what goes in and out."""
    helper, types = runtime.onnx.helper, runtime.onnx.TensorProto
    shape = contract.shape(contract.side_px or architecture.size)
    tags = chain.weight("logits/bias").size
    graph = helper.make_graph(
        chain.nodes,
        "alti2v",
        [
            helper.make_tensor_value_info(
                contract.input, types.UINT8 if contract.dtype == "uint8" else types.FLOAT, [_BATCH, *shape]
            )
        ],
        [
            helper.make_tensor_value_info(
                name, types.FLOAT, [_BATCH, architecture.features if role is OutputRole.FEATURES else tags]
            )
            for name, role in contract.outputs.items()
        ],
        initializer=chain.constants,
    )
    return helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name=PRODUCER,
        producer_version=__version__,
    )


class _Chain:
    """Nodes in order, and the constants they use."""

    def __init__(self, weights: LayerWeights) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._weights = weights

    def add(self, operation: str, *inputs: str, output: str = "", **attributes: object) -> str:
        """Append a node with one output; return the output's name."""
        name = output or f"{operation.lower()}_{len(self.nodes)}"
        node = runtime.onnx.helper.make_node(operation, list(inputs), [name], name, **attributes)
        self.nodes.append(node)
        return name

    def constant(self, name: str, array: npt.ArrayLike) -> str:
        """Add numbers under a name; return the name."""
        values = np.ascontiguousarray(array, np.float32)
        self.constants.append(runtime.onnx.numpy_helper.from_array(values, name))
        return name

    def weight(self, name: str) -> Float32Array:
        """A weight of the network, as in Keras."""
        return self._weights[name]

    def dense(self, x: str, layer: str, *, output: str = "") -> str:
        """(B, F) -> (B, U)."""
        kernel = self.constant(f"{layer}/kernel", self.weight(f"{layer}/kernel"))
        return self.add(
            "Gemm", x, kernel, self.constant(f"{layer}/bias", self.weight(f"{layer}/bias")), output=output
        )


def _network_pictures(chain: _Chain, contract: Contract, *, side: int, size: int) -> str:
    """What comes in -> (B, 3, S, S) float32 of the network's size, 0 to 255; colours in the order they came."""
    x = contract.input
    if contract.dtype == "uint8":
        x = chain.add("Cast", x, to=runtime.onnx.TensorProto.FLOAT)
    if not contract.channels_first:
        x = chain.add("Transpose", x, perm=[0, 3, 1, 2])
    if (contract.low, contract.high) != (0.0, 255.0):
        x = chain.add("Sub", x, chain.constant("black", contract.low))
        x = chain.add("Mul", x, chain.constant("range", 255.0 / (contract.high - contract.low)))
    if side == size:
        return x
    weights = bicubic_weights(side, size)
    x = chain.add("MatMul", x, chain.constant("columns", weights.T))
    x = chain.add("MatMul", chain.constant("rows", weights), x)
    return chain.add("Clip", x, chain.constant("least", 0.0), chain.constant("most", 255.0))


def _with_halved_colour(chain: _Chain, x: str, *, blue_first: bool) -> str:
    """Average colour differences over 2 x 2 pixels and interpolate them again, as a JPEG with 4:2:0 does.

    libjpeg's upsampling is triangular (jdsample.c, h2v2_fancy_upsample), which is linear interpolation between
    the centres of the pixels.
    """
    turned = YCBCR_OF_RGB[:, ::-1] if blue_first else YCBCR_OF_RGB
    back = np.linalg.inv(turned)
    brightness = chain.add("Conv", x, chain.constant("brightness", turned[:1, :, np.newaxis, np.newaxis]))
    colour = chain.add("Conv", x, chain.constant("colour", turned[1:, :, np.newaxis, np.newaxis]))
    colour = chain.add("AveragePool", colour, kernel_shape=[2, 2], strides=[2, 2])
    colour = chain.add(
        "Resize",
        colour,
        "",
        chain.constant("twice", [1.0, 1.0, 2.0, 2.0]),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    x = chain.add("Concat", brightness, colour, axis=1)
    x = chain.add("Conv", x, chain.constant("colours", back[:, :, np.newaxis, np.newaxis]))
    return chain.add("Clip", x, chain.constant("darkest", 0.0), chain.constant("brightest", 255.0))


def _trunk(chain: _Chain, x: str, *, blue_first: bool) -> str:
    """VGG16 without top (Simonyan and Zisserman 2014, table 1, D): (B, 3, S, S) -> (B, 512, S/32, S/32)."""
    # The network takes RGB and turns it into BGR; here the means and the first kernel are turned instead.
    colours = slice(None) if blue_first else slice(None, None, -1)
    for operation, name in (("Mul", "centre/scale"), ("Add", "centre/offset")):
        x = chain.add(operation, x, chain.constant(name, chain.weight(name)[colours].reshape(1, 3, 1, 1)))
    for layer in TRUNK_LAYERS:
        kernel = chain.weight(f"{layer}/kernel")  # (height, width, in, out)
        if layer == TRUNK_LAYERS[0]:
            kernel = kernel[:, :, colours]
        x = chain.add(
            "Conv",
            x,
            chain.constant(f"{layer}/kernel", kernel.transpose(3, 2, 0, 1)),
            chain.constant(f"{layer}/bias", chain.weight(f"{layer}/bias")),
            kernel_shape=[3, 3],
            pads=[1, 1, 1, 1],
        )
        x = chain.add("Relu", x)
        if layer in _LAST_OF_BLOCK:
            x = chain.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    return x


def _flat(chain: _Chain, x: str, head: Head) -> str:
    """Convert (B, 512, H, W) to the head's input (B, F)."""
    if head is Head.POOLED:
        return chain.add("Flatten", chain.add("GlobalAveragePool", x))
    # Keras flattens with the channels last.
    x = chain.add("Flatten", chain.add("Transpose", x, perm=[0, 2, 3, 1]))
    x = chain.add("Mul", x, chain.constant("normalise/scale", chain.weight("normalise/scale")))
    return chain.add("Add", x, chain.constant("normalise/offset", chain.weight("normalise/offset")))
