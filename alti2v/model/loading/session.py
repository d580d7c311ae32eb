"""Networks in ONNX Runtime: loading, feeding, and checks of their answers. Does not import TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.arrays import Float32Array, Uint8Array, sigmoid
from alti2v.errors import DamagedError, first_line
from alti2v.model.loading.description import ModelDescription, ModelInput
from alti2v.model.loading.graph import Graph, GraphTensor
from alti2v.model.onnx import runtime
from alti2v.pictures.framing import Framing

_PROVIDERS = (
    "CUDAExecutionProvider",
    "ROCMExecutionProvider",
    "CoreMLExecutionProvider",
    "CPUExecutionProvider",
)
Forward = Callable[[Uint8Array], tuple[Float32Array, Float32Array | None]]


@dataclass(frozen=True, slots=True)
class OnnxSession:
    """A loaded network.

    Attributes:
        session: Session of type onnxruntime.InferenceSession.
        graph: Declared inputs and outputs.
        device: Device that it runs on, for display: "CPU", "CUDA".
    """

    session: Any
    graph: Graph
    device: str


def open_model(file: Path) -> OnnxSession:
    """Load a network, on a GPU if onnxruntime can use one.

    Raises:
        UsageError: Onnxruntime is not installed.
        DamagedError: The file is damaged.
    """
    ort = runtime.onnxruntime
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors; warnings are for authors of models
    there = ort.get_available_providers()
    try:
        session = ort.InferenceSession(
            str(file), options, providers=[name for name in _PROVIDERS if name in there]
        )
    except Exception as exc:  # onnxruntime derives its exceptions from Exception alone
        raise DamagedError(f"{file} cannot be loaded ({_reason(exc, file):.150}): get it again") from exc
    return OnnxSession(
        session=session,
        graph=Graph(_tensors(session.get_inputs()), _tensors(session.get_outputs())),
        device=session.get_providers()[0].removesuffix("ExecutionProvider"),
    )


def forward_of(loaded: OnnxSession, description: ModelDescription, folder: Path) -> Forward:
    """Make the function from pictures to probabilities and vectors.

    Raises:
        DamagedError: Raised by the function: the answers are not probabilities of these tags.
    """
    takes, gives = description.input, description.output
    wanted = [gives.tags, *([gives.vectors] if gives.vectors else [])]

    def forward(images: Uint8Array) -> tuple[Float32Array, Float32Array | None]:
        step = takes.batch or len(images)
        parts = [images[start : start + step] for start in range(0, len(images), step)]
        try:
            answers = [_run(loaded.session, wanted, part, takes) for part in parts]
        except Exception as exc:  # as in `open_model`; a constant may claim more numbers than fit into memory
            reason = _reason(exc, folder / description.model_file)
            raise DamagedError(
                f"{folder}: {description.model_file} does not run ({reason:.150}): get it again"
            ) from exc
        probabilities, *vectors = (np.concatenate(column) for column in zip(*answers, strict=True))
        fault = _fault(description, len(images), probabilities, vectors)
        if fault:
            raise DamagedError(f"{folder}: {fault}")
        return sigmoid(probabilities) if gives.logits else probabilities, vectors[0] if vectors else None

    return forward


def _fault(
    description: ModelDescription, pictures: int, outputs: Float32Array, vectors: Sequence[Float32Array]
) -> str:
    """Return what is wrong with the answers of a model; "" if nothing is."""
    file, tags = description.model_file, len(description.vocabulary)
    if len(outputs) != pictures:
        return (
            f"{file} answers {len(outputs)} rows for {pictures} pictures: give --batch-size 1, or export it "
            "again with an open batch"
        )
    if outputs.ndim != 2 or outputs.shape[1] != tags:
        return f"the table has {tags} rows, the outputs are {outputs.shape}: it belongs to another model"
    if vectors and (vectors[0].ndim != 2 or len(vectors[0]) != pictures):
        return f"{file} answers vectors of shape {vectors[0].shape} for {pictures} pictures: get it again"
    if not np.isfinite(outputs).all():
        return f"{file} gives NaN or infinity: get it again"
    if not description.output.logits and (outputs.min(initial=0) < 0 or outputs.max(initial=0) > 1):
        return (
            f"{file} gives numbers outside [0, 1]: they are not probabilities; a model.json can say that they "
            "are logits (docs/MODELS.md)"
        )
    return ""


def white_pictures(takes: ModelInput, count: int) -> Uint8Array:
    """Make pictures for a trial."""
    preparation = takes.preparation
    channels = preparation.channels if isinstance(preparation, Framing) else 3
    return np.full((count, takes.size, takes.size, channels), 255, np.uint8)


def fed(images: Uint8Array, takes: ModelInput) -> npt.NDArray[Any]:
    """Convert pictures (B, S, S, 3 or 4) uint8 RGB to the axes, channels and range of a network."""
    if takes.dtype == "uint8":
        turned = images[..., 2::-1] if takes.bgr else images[..., :3]
        return np.ascontiguousarray(turned.transpose(0, 3, 1, 2) if takes.channels_first else turned)
    count, height, width, _ = images.shape
    shape = (count, 3, height, width) if takes.channels_first else (count, height, width, 3)
    values = np.empty(shape, np.float32)
    planes = values if takes.channels_first else values.transpose(0, 3, 1, 2)
    mean, std = np.array(takes.mean, np.float32), np.array(takes.std, np.float32)
    factors, offsets = np.float32(takes.scale) / std, mean / std
    is_scaled = bool((factors != 1).any() or offsets.any())
    scaled = np.empty((height, width), np.float32)
    # Plane by plane: on interleaved channels, numpy takes two to four times as long.
    for number, place in np.ndindex(count, 3):
        plane = images[number, ..., 2 - place if takes.bgr else place]
        if is_scaled:
            np.multiply(plane, factors[place], out=scaled)
            np.subtract(scaled, offsets[place], out=scaled)
        planes[number, place] = scaled if is_scaled else plane
    return values.astype(takes.dtype, copy=False)


def _run(session: Any, wanted: Sequence[str], part: Uint8Array, takes: ModelInput) -> list[Float32Array]:  # noqa: ANN401
    """Return outputs for some pictures; a fixed batch is filled up with zeros."""
    count = len(part)
    if takes.batch is not None and count < takes.batch:
        part = np.concatenate([part, np.zeros((takes.batch - count, *part.shape[1:]), part.dtype)])
    inputs: dict[str, npt.NDArray[Any]] = {takes.name: fed(part, takes)}
    if takes.mask is not None:
        inputs[takes.mask] = part[..., 3] == 0
    return [np.asarray(answer[:count], np.float32) for answer in session.run(list(wanted), inputs)]


def _reason(exc: Exception, file: Path) -> str:
    """Return the first line of an error of onnxruntime, without its codes and the path of the model."""
    line = first_line(exc) or type(exc).__name__
    if line.startswith(
        "[ONNXRuntimeError]"
    ):  # "[ONNXRuntimeError] : 1 : FAIL : Load model from ... failed: ..."
        line = line.split(" : ", 3)[-1]
    return line.replace(str(file), file.name)


def _tensors(declared: Sequence[Any]) -> tuple[GraphTensor, ...]:
    return tuple(
        GraphTensor(
            one.name, one.type, tuple(length if isinstance(length, int) else None for length in one.shape or ())
        )
        for one in declared
    )
