"""Nodes of an ONNX graph that is being written, and the constants that they use."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.model.onnx import runtime


class NodeList:
    """Nodes in order, and constants by name.

    Attributes:
        nodes: Nodes (onnx.NodeProto), each after those whose outputs it reads.
        constants: Constants (onnx.TensorProto), float32.
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

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

    def integers(self, name: str, values: list[int]) -> str:
        """Add integers (int64) under a name; return the name."""
        self.constants.append(runtime.onnx.numpy_helper.from_array(np.array(values, np.int64), name))
        return name
