"""Declared inputs and outputs of an ONNX file, as plain values. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from alti2v.errors import UsageError

PICTURE_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}

MASK_TYPE = "tensor(bool)"
NUMBER_TYPES = frozenset({"tensor(float)", "tensor(float16)", "tensor(double)"})


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """An input or output as declared.

    Attributes:
        name: Name in the file.
        type: Type as onnxruntime spells it, such as "tensor(float)".
        shape: Lengths of the axes; None for an open length.
    """

    name: str
    type: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        lengths = ", ".join("?" if length is None else str(length) for length in self.shape)
        return f"{self.name} {self.type} ({lengths})"


@dataclass(frozen=True, slots=True)
class Graph:
    """All inputs and outputs of a model."""

    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]

    def output(self, *names: str) -> GraphTensor:
        """Return the first output that has one of these names; the first of all if none has."""
        found = {tensor.name: tensor for tensor in self.outputs}
        return next((found[name] for name in names if name in found), self.outputs[0])

    def input(self, name: str | None) -> GraphTensor:
        """Return the input of this name, or for None the only one that takes pictures.

        Raises:
            UsageError: There is none.
        """
        found = [one for one in self.inputs if one.name == name or (name is None and is_picture(one))]
        if not found and name is not None:
            raise UsageError(
                f"the model has no input {name!r}, only {named_tensors(self.inputs)}: give the name of one"
            )
        if len(found) != 1:
            raise UsageError(
                f"the model takes {named_tensors(self.inputs)} instead of pictures such as (N, S, S, 3) "
                "float32: it is a model of another kind"
            )
        return found[0]


def is_picture(tensor: GraphTensor) -> bool:
    """Return whether a tensor can hold pictures with three channels."""
    return tensor.type in PICTURE_TYPES and len(tensor.shape) == 4 and 3 in (tensor.shape[1], tensor.shape[3])


def named_tensors(tensors: Iterable[GraphTensor]) -> str:
    """Name tensors for a message."""
    return f"{', '.join(map(str, tensors)) or 'nothing':.200}"
