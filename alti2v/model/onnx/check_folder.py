"""Check of an exported folder against the contract of its format, from its files alone, without TensorFlow.

Works on any folder, including those of other programs. The files cannot show the order of colours and the value
of white; for these `export` compares the exported model with the network on random pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.arrays import Float32Array
from alti2v.errors import UsageError
from alti2v.model.onnx import runtime
from alti2v.model.onnx.check_beside import FILES, check_beside
from alti2v.model.onnx.check_labels import check_labels
from alti2v.model.onnx.contract import CONTRACTS, MOST_SIDE_PX, PREPROCESS_FILE, PRODUCER, REPORT_FILE, Contract
from alti2v.model.options.choices import Format
from alti2v.storage.directory import require_plain_files
from alti2v.storage.documents import read_text_file

_DTYPES = {1: "float32", 2: "uint8"}  # onnx.TensorProto.DataType; the only types in the contracts
# Batches of different sizes use different kernels, which sum in another order.
# 4.3e-5 was seen with a table of 10,861 rows.
_BATCH_TOLERANCE = 1e-4
_PICTURES = 3  # noise, white and black


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Result of a check.

    Attributes:
        folder: Folder that was checked.
        format: One of `Format`, recognised by its files, or another family's name.
        labels: Number of rows of the table.
        breaches: One line for each breach: the file, the fault, and usually the readers it breaks.
    """

    folder: Path
    format: str
    labels: int
    breaches: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Input or output as declared in the file; open dimensions are None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


def check_folder(folder: Path) -> Checked:
    """Check an exported folder.

    Raises:
        UsageError: There is no exported model, a link leads out of it, or the extra `export` is not installed.
    """
    format_ = _recognise(folder)
    require_plain_files(folder, any_name=True)
    contract = CONTRACTS[format_]
    breaches: list[str] = []
    table_file, model_file = folder / contract.labels_file, folder / contract.model_file
    table = check_labels(read_text_file(table_file), format_)
    breaches += [f"{contract.labels_file}: {breach}" for breach in table.breaches]
    if format_ is Format.DEEPGHS:
        beside = {name: read_text_file(folder / name) for name in FILES if (folder / name).is_file()}
        breaches += check_beside(beside, {row["category"] for row in table.rows})
    model = _load(model_file) if model_file.is_file() else None
    if not model_file.is_file():
        breaches.append(f"{contract.model_file} is missing: clients request exactly this name")
    elif model is None:
        breaches.append(f"{contract.model_file} is not an ONNX model")
    else:
        if format_ is Format.WD and len(model.graph.output) == 2:
            format_ = Format.WD_EMBEDDING
        contract = CONTRACTS[format_]
        found = list(_graph_breaches(model, contract, labels=len(table.rows)))
        # If the declarations are wrong, running the model would only report the same faults again.
        found = found or list(_run_breaches(model_file, contract, labels=len(table.rows)))
        breaches += [f"{contract.model_file}: {breach}" for breach in found]
    return Checked(folder=folder, format=format_, labels=len(table.rows), breaches=tuple(breaches))


def is_of_others(folder: Path) -> bool:
    """Return whether a folder has a model that was not made by this program, by its file and its report."""
    if (folder / REPORT_FILE).is_file() and _is_report(folder / REPORT_FILE):
        return False
    files = {CONTRACTS[format_].model_file for format_ in Format}
    models = [_load(folder / name) for name in sorted(files) if (folder / name).is_file()]
    return any(model is None or model.producer_name != PRODUCER for model in models)


def _is_report(file: Path) -> bool:
    try:
        value = json.loads(read_text_file(file))
    except (ValueError, RecursionError):
        return True  # an export whose report is damaged
    return isinstance(value, dict) and value.get("kind") == "export"


def open_session(model: Path | bytes) -> Any:  # noqa: ANN401 - onnxruntime.InferenceSession
    """Load a model into ONNX Runtime on the CPU, without its warnings.

    Raises:
        UsageError: Onnxruntime is not installed.
    """
    ort = runtime.onnxruntime
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors
    source = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _recognise(folder: Path) -> Format:
    """Recognise a format by the name of its table."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: give the folder of an exported model")
    if all((folder / name).is_file() for name in (PREPROCESS_FILE, CONTRACTS[Format.DEEPGHS].labels_file)):
        return Format.DEEPGHS
    # WD stands for both WD formats here; the number of outputs tells them apart.
    formats = (Format.WD, Format.CL, Format.ONNX)
    for format_ in formats:
        if (folder / CONTRACTS[format_].labels_file).is_file():
            return format_
    tables = ", ".join(CONTRACTS[format_].labels_file for format_ in formats)
    raise UsageError(f"{folder} has none of {tables}: give the folder of an exported model")


def _load(file: Path) -> Any | None:  # noqa: ANN401 - onnx.ModelProto
    onnx = runtime.onnx
    try:
        model = onnx.load(str(file), load_external_data=False)
    except Exception:  # noqa: BLE001 - protobuf's DecodeError, in one of several modules by its version
        return None
    return model if model.graph.node else None


def _graph_breaches(model: Any, contract: Contract, *, labels: int) -> Iterator[str]:  # noqa: ANN401 - onnx
    """List breaches in the declarations of the graph."""
    external = runtime.onnx.TensorProto.EXTERNAL
    constants = {tensor.name for tensor in model.graph.initializer}
    if any(tensor.data_location == external for tensor in model.graph.initializer):
        yield "keeps its weights in another file, which no client downloads"
    inputs = [_tensor(value) for value in model.graph.input if value.name not in constants]
    outputs = [_tensor(value) for value in model.graph.output]
    if len(model.graph.input) != 1 or len(inputs) != 1:
        names = ", ".join(value.name for value in model.graph.input)
        yield f"has {len(model.graph.input)} inputs ({names:.100}): clients give exactly one"
    if contract.finds_by_name:
        missing = ", ".join(contract.outputs.keys() - {tensor.name for tensor in outputs})
        if missing:
            yield f"has no output {missing}: clients ask for it by name"
    elif len(outputs) != len(contract.outputs):
        yield f"has {len(outputs)} outputs instead of {len(contract.outputs)}"
    if inputs:
        yield from _input_breaches(inputs[0], contract)
    if outputs:
        yield from _output_breaches(outputs[min(contract.tags, len(outputs) - 1)], labels=labels)


def _input_breaches(tensor: _Tensor, contract: Contract) -> Iterator[str]:
    if tensor.dtype != contract.dtype:
        yield f"takes {tensor.dtype} instead of {contract.dtype}"
    side = contract.side_px or (tensor.shape[contract.side_axis] if len(tensor.shape) == 4 else None) or 0
    wanted = contract.shape(side)
    if tensor.shape[1:] != wanted or not side:
        reason = ": kohya always gives 448 px" if contract.side_px else ""
        shown = ", ".join(str(length or "?") for length in tensor.shape)
        expected = ", ".join(str(length or "SIDE") for length in wanted)
        yield f"takes pictures of shape ({shown}) instead of (batch, {expected}){reason}"
    elif side > MOST_SIDE_PX:
        yield f"takes pictures of {side} px: {MOST_SIDE_PX} is the largest side"
    elif tensor.shape[0] is not None:
        yield f"takes batches of {tensor.shape[0]} only: clients send batches of any size"


def _output_breaches(tensor: _Tensor, *, labels: int) -> Iterator[str]:
    if tensor.dtype != "float32":
        yield f"output {tensor.name!r} is {tensor.dtype} instead of float32"
    if len(tensor.shape) == 2 and tensor.shape[1] not in (None, labels):
        yield f"has {tensor.shape[1]} values for {labels} rows of the table"


def _run_breaches(file: Path, contract: Contract, *, labels: int) -> Iterator[str]:
    """List breaches that only appear when the model runs."""
    try:
        session = open_session(file)
        name = session.get_inputs()[0].name
        side = contract.side_px or session.get_inputs()[0].shape[contract.side_axis]
        pictures = _pictures(contract, side)
        together = session.run(None, {name: pictures})
        alone = session.run(None, {name: pictures[:1]})
        breaches = list(_value_breaches(together, alone, contract, labels=labels))
    except UsageError:
        raise
    except Exception as exc:  # noqa: BLE001 - ONNX Runtime's exceptions have no common base class
        reason = " ".join(str(exc).split())
        breaches = [f"does not run in ONNX Runtime: {reason:.200}"]
    yield from breaches


def _value_breaches(
    together: Sequence[npt.NDArray[Any]], alone: Sequence[npt.NDArray[Any]], contract: Contract, *, labels: int
) -> Iterator[str]:
    """List faults of the outputs for some pictures in one batch, and for the first one alone."""
    values = together[contract.tags]
    if values.shape != (_PICTURES, labels) or not labels:
        yield f"gives values of shape {values.shape} for {_PICTURES} pictures and {labels} rows"
        return
    if not all(np.isfinite(output).all() for output in together):
        yield "gives values that are not finite numbers"
        return
    looks_like_probabilities = values.min() >= 0 and values.max() <= 1
    if contract.logits and looks_like_probabilities:
        yield "gives probabilities instead of logits: clients apply the sigmoid a second time"
    if not contract.logits and not looks_like_probabilities:
        yield f"gives values from {values.min():.3g} to {values.max():.3g} instead of probabilities"
    difference = max(
        float(np.abs(one[0] - many[0]).max() / max(1.0, float(np.abs(many[0]).max())))
        for one, many in zip(alone, together, strict=True)
    )
    if difference > _BATCH_TOLERANCE:
        yield f"gives values for a picture that depend on its batch, by {difference:.2g}"


def _pictures(contract: Contract, side: int) -> npt.NDArray[Any]:
    """Return noise, white and black as clients send them, (3, ...)."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3))
    pixels = np.stack([noise, np.full_like(noise, 255), np.zeros_like(noise)])
    return as_fed(pixels.astype(np.float32), contract)


def as_fed(pixels: Float32Array, contract: Contract) -> npt.NDArray[Any]:
    """Convert pixels (B, S, S, 3), 0 to 255 in the contract's order of colours, to the model's input."""
    scaled = contract.low + pixels * ((contract.high - contract.low) / 255)
    moved = scaled.transpose(0, 3, 1, 2) if contract.channels_first else scaled
    return np.ascontiguousarray(moved, contract.dtype)


def _tensor(value: Any) -> _Tensor:  # noqa: ANN401 - onnx.ValueInfoProto
    kind = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim)
    return _Tensor(value.name, _DTYPES.get(kind.elem_type, f"type {kind.elem_type}"), shape)
