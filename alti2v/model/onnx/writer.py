"""Writer of ONNX files, node by node from the network's layers and weights.

A converter would trace the compiled graph instead. tf2onnx needs a TensorFlow session, names outputs
`Identity:0`, and turns constants into further inputs (of a Normalization layer, for example), with which all
clients fail. Here equal weights give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alti2v import __version__
from alti2v.arrays import Float32Array
from alti2v.errors import DataError
from alti2v.model.network.build import Architecture
from alti2v.model.onnx import runtime
from alti2v.model.onnx.backbone import add_backbone, normalisation_of
from alti2v.model.onnx.contract import IR_VERSION, MAX_BYTES, OPSET, PRODUCER, Contract, OutputRole
from alti2v.model.onnx.labels import Label
from alti2v.model.onnx.nodes import NodeList
from alti2v.model.onnx.reduction import YCBCR_OF_RGB, bicubic_weights
from alti2v.model.recipes import Head

LayerWeights = Mapping[str, Float32Array]  # "block1_conv1/kernel" -> array, shaped as in Keras

_BATCH = "batch"  # the only open dimension


def head_weights(network: Any) -> LayerWeights:  # noqa: ANN401 - keras.Model
    """Return the weights of the head of a network of `network.build_network`, as float32.

    Batch normalisation becomes the scale and offset that it has after training: x * scale + offset.
    """
    names = [layer.name for layer in network.layers]
    weights = {
        f"{name}/{weight.name}": np.asarray(weight, np.float32)
        for name in ("features", "logits")
        for weight in network.get_layer(name).weights
    }
    if "normalise" in names:
        scale, offset = normalisation_of(network.get_layer("normalise"))
        weights |= {"normalise/scale": scale, "normalise/offset": offset}
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


def write_onnx(
    network: Any,  # noqa: ANN401 - keras.Model
    architecture: Architecture,
    weights: LayerWeights,
    contract: Contract,
) -> bytes:
    """Write the network with the inputs and outputs that a contract prescribes.

    Args:
        network: Network of `network.build_network`, computing in float32; its backbone is written.
        architecture: Description of the network.
        weights: Weights of the head, from `head_weights`, the last layer possibly arranged anew.
        contract: Required inputs and outputs.

    Returns:
        The content of a self-contained ONNX file; equal arguments give equal bytes.

    Raises:
        DataError: It would be larger than an ONNX file can be.
        UsageError: The package onnx is not installed, or the backbone has a layer that cannot be written.
    """
    size = 4 * int(network.count_params())
    if size > MAX_BYTES - 2**20:  # names and nodes take less than a megabyte
        raise DataError(
            f"the network has {size:,} bytes of weights and an ONNX file holds 2 GiB: "
            "train with the modern recipe, a smaller --size or fewer --top-tags"
        )
    nodes = NodeList()
    pictures = _add_input(nodes, architecture, contract)
    first = "flatten" if architecture.head is Head.FLATTENED else "features"
    x = add_backbone(nodes, network, pictures, until=first, blue_first=contract.bgr)
    _add_head(nodes, x, architecture, weights, contract)
    tags = weights["logits/bias"].size
    content: bytes = _model(nodes, architecture, contract, tags).SerializeToString(deterministic=True)
    runtime.onnx.checker.check_model(content, full_check=True)
    return content


def _add_input(nodes: NodeList, architecture: Architecture, contract: Contract) -> str:
    """Append the nodes that turn the contract's input into pictures for the network."""
    pictures = _network_pictures(
        nodes, contract, side=contract.side_px or architecture.size, size=architecture.size
    )
    return _with_halved_colour(nodes, pictures, blue_first=contract.bgr) if contract.halves_colour else pictures


def _add_head(
    nodes: NodeList, x: str, architecture: Architecture, weights: LayerWeights, contract: Contract
) -> None:
    """Append the nodes from the backbone's output (B, C, H, W), pooled or not, to the contract's outputs."""
    names = {role: name for name, role in contract.outputs.items()}
    flat = _flat(nodes, x, architecture.head, weights)
    features = nodes.add(
        "Relu", _dense(nodes, flat, "features", weights), output=names.get(OutputRole.FEATURES, "features")
    )
    logits = _dense(nodes, features, "logits", weights, output=names.get(OutputRole.LOGITS, ""))
    if not contract.logits:
        nodes.add("Sigmoid", logits, output=names[OutputRole.PROBABILITIES])


def _dense(nodes: NodeList, x: str, layer: str, weights: LayerWeights, *, output: str = "") -> str:
    """Append a dense layer: (B, F) -> (B, U)."""
    kernel, bias = (
        nodes.constant(f"{layer}/{name}", weights[f"{layer}/{name}"]) for name in ("kernel", "bias")
    )
    return nodes.add("Gemm", x, kernel, bias, output=output)


def _model(  # onnx.ModelProto
    nodes: NodeList, architecture: Architecture, contract: Contract, tags: int
) -> Any:  # noqa: ANN401
    """Assemble the ONNX model, with its declared inputs and outputs."""
    helper, types = runtime.onnx.helper, runtime.onnx.TensorProto
    shape = contract.shape(contract.side_px or architecture.size)
    graph = helper.make_graph(
        nodes.nodes,
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
        initializer=nodes.constants,
    )
    return helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name=PRODUCER,
        producer_version=__version__,
    )


def _network_pictures(nodes: NodeList, contract: Contract, *, side: int, size: int) -> str:
    """Convert the input to (B, 3, S, S) float32 of the network's size, 0 to 255; colours keep their order."""
    x = contract.input
    if contract.dtype == "uint8":
        x = nodes.add("Cast", x, to=runtime.onnx.TensorProto.FLOAT)
    if not contract.channels_first:
        x = nodes.add("Transpose", x, perm=[0, 3, 1, 2])
    if (contract.low, contract.high) != (0.0, 255.0):
        x = nodes.add("Sub", x, nodes.constant("black", contract.low))
        x = nodes.add("Mul", x, nodes.constant("range", 255.0 / (contract.high - contract.low)))
    if side == size:
        return x
    weights = bicubic_weights(side, size)
    x = nodes.add("MatMul", x, nodes.constant("columns", weights.T))
    x = nodes.add("MatMul", nodes.constant("rows", weights), x)
    return nodes.add("Clip", x, nodes.constant("least", 0.0), nodes.constant("most", 255.0))


def _with_halved_colour(nodes: NodeList, x: str, *, blue_first: bool) -> str:
    """Average colour differences over 2 x 2 pixels and interpolate them again, as a JPEG with 4:2:0 does.

    libjpeg's upsampling is triangular (jdsample.c, h2v2_fancy_upsample), which is linear interpolation between
    the centres of the pixels.
    """
    turned = YCBCR_OF_RGB[:, ::-1] if blue_first else YCBCR_OF_RGB
    back = np.linalg.inv(turned)
    brightness = nodes.add("Conv", x, nodes.constant("brightness", turned[:1, :, np.newaxis, np.newaxis]))
    colour = nodes.add("Conv", x, nodes.constant("colour", turned[1:, :, np.newaxis, np.newaxis]))
    colour = nodes.add("AveragePool", colour, kernel_shape=[2, 2], strides=[2, 2])
    colour = nodes.add(
        "Resize",
        colour,
        "",
        nodes.constant("twice", [1.0, 1.0, 2.0, 2.0]),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    x = nodes.add("Concat", brightness, colour, axis=1)
    x = nodes.add("Conv", x, nodes.constant("colours", back[:, :, np.newaxis, np.newaxis]))
    return nodes.add("Clip", x, nodes.constant("darkest", 0.0), nodes.constant("brightest", 255.0))


def _flat(nodes: NodeList, x: str, head: Head, weights: LayerWeights) -> str:
    """Convert (B, C, H, W) to the head's input (B, F)."""
    if head is not Head.FLATTENED:
        return nodes.add("Flatten", x)  # pooled already, with one position
    # Keras flattens with the channels last.
    x = nodes.add("Flatten", nodes.add("Transpose", x, perm=[0, 2, 3, 1]))
    x = nodes.add("Mul", x, nodes.constant("normalise/scale", weights["normalise/scale"]))
    return nodes.add("Add", x, nodes.constant("normalise/offset", weights["normalise/offset"]))
