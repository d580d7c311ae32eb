"""Reader of folders with an ONNX model: WD taggers, kohya's second format, or alti2v's own. No TensorFlow.

`contract` describes the formats. The WD format (SmilingWolf's wd-*-tagger-v3 repositories and
their clients) has one input (N, S, S, 3) float32, BGR in [0, 255], padded with white. The first output holds
probabilities in the order of the rows of `selected_tags.csv`; an optional second one holds the vectors.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.errors import DamagedError, UsageError
from alti2v.model.arrays import Float32Array, Uint8Array
from alti2v.model.onnx.contract import (
    CL_CATEGORIES,
    CL_RATING,
    CONTRACTS,
    MOST_SIDE_PX,
    ONNX_FILE,
    REPORT_FILE,
    WD_RATING_CATEGORY,
    Contract,
    Format,
)
from alti2v.model.vocabulary import RATING, OutputTags, make_vocabulary
from alti2v.records import CATEGORY_OF_CODE, Category
from alti2v.storage.directory import require_plain_files
from alti2v.storage.documents import read_text_file
from alti2v.storage.publish import read_json

WD_TAGS_FILE = CONTRACTS[Format.WD].labels_file
_MOST_BATCH = 1024
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")  # the available ones are used, in this order


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModel:
    """A loaded model.

    Attributes:
        forward: Maps (B, S, S, 3) uint8 RGB to probabilities (B, T) float32, vectors (B, F) float32 or None.
        vocabulary: Names and categories of the T outputs.
        size: Side S of the pictures, px.
        features: Length F of a vector; None if the model gives no vectors.
        threshold: Threshold at which precision equals recall on the validation split; None if the folder does
            not say.
        form: Format of the folder; only ONNX takes pictures converted as for training.
    """

    forward: Callable[[Uint8Array], tuple[Float32Array, Float32Array | None]]
    vocabulary: OutputTags
    size: int
    features: int | None
    threshold: float | None
    form: Format


def form_of(folder: Path) -> Format | None:
    """Recognise the format of a folder by its files; None if it holds no model of these formats."""
    has = {form: (folder / contract.labels_file).is_file() for form, contract in CONTRACTS.items()}
    if (folder / CONTRACTS[Format.CL].model_file).is_file() and has[Format.CL]:
        return Format.CL
    if not (folder / ONNX_FILE).is_file():
        return None
    return Format.ONNX if has[Format.ONNX] and not has[Format.WD] else Format.WD


def load_onnx_folder(folder: Path) -> OnnxModel:
    """Load the model of a folder and its table of tags.

    Raises:
        UsageError: Onnxruntime is not installed, the table of tags is missing, or a link leads elsewhere.
        DamagedError: The model or the table is damaged, or they do not match.
    """
    require_plain_files(folder, any_name=True)
    form = form_of(folder) or Format.WD
    contract = CONTRACTS[form]
    table = folder / contract.labels_file
    if not table.is_file():
        raise UsageError(f"{folder} holds {ONNX_FILE} but no {WD_TAGS_FILE}: put the model's table beside it")
    vocabulary = read_tag_mapping(table) if form is Format.CL else read_tag_table(table)
    session = _session(folder / contract.model_file)
    name, size, batch, takes = _input(session, folder, contract)
    widths = [_width(output.shape) for output in session.get_outputs()]
    tags = len(vocabulary)
    if widths[0] not in (None, tags):
        raise DamagedError(
            f"{folder}: {table.name} has {tags} rows for {widths[0]} outputs: it is of another model"
        )

    def forward(images: Uint8Array) -> tuple[Float32Array, Float32Array | None]:
        parts = [images] if batch is None else [images[i : i + batch] for i in range(0, len(images), batch)]
        try:
            answers = [_run(session, name, fed(part, contract).astype(takes), batch) for part in parts]
        except Exception as exc:  # as in `_session`; a constant may claim more numbers than fit into memory
            raise DamagedError(
                f"{folder}: {contract.model_file} does not run ({_first_line(exc)}): get it again"
            ) from exc
        probabilities, *others = (np.concatenate(column) for column in zip(*answers, strict=True))
        if contract.logits:
            probabilities = 1 / (1 + np.exp(-probabilities))
        _check(probabilities, tags, folder, table)
        return probabilities, others[0] if others else None

    return OnnxModel(
        forward=forward,
        vocabulary=vocabulary,
        size=size,
        features=widths[1] if len(widths) > 1 else None,
        threshold=_threshold(folder / REPORT_FILE),
        form=form,
    )


def fed(images: Uint8Array, contract: Contract) -> npt.NDArray[Any]:
    """Convert pictures (B, S, S, 3) uint8 RGB to the axes, channels and range of a format."""
    fed: npt.NDArray[Any] = images[..., ::-1] if contract.bgr else images
    if (contract.low, contract.high) != (0.0, 255.0):
        fed = fed.astype(np.float32) * ((contract.high - contract.low) / 255) + contract.low
    return np.ascontiguousarray(fed.transpose(0, 3, 1, 2)) if contract.channels_first else fed


def read_tag_mapping(file: Path) -> OutputTags:
    """Read `tag_mapping.json` of kohya's second format: number of an output -> tag and category.

    Raises:
        DamagedError: The file is something else.
    """
    words = {name.lower(): category.value for category, name in CL_CATEGORIES.items() if name != "General"}
    words |= {CL_RATING.lower(): RATING, "general": Category.GENERAL.value}
    try:
        rows = {int(number): row for number, row in read_json(file).items()}
        return make_vocabulary(
            (_filled(rows[number]["tag"]), words.get(rows[number]["category"].lower(), Category.UNKNOWN.value))
            for number in range(len(rows))
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise DamagedError(f"{file} is not the table of a tagger's tags ({exc!r}): get it again") from exc


def read_tag_table(table: Path) -> OutputTags:
    """Read `selected_tags.csv` of a WD tagger or alti2v's own `tags.csv`: row i is output i.

    Raises:
        DamagedError: The file is something else.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_text_file(table).decode("utf-8-sig"), newline="")))
        outputs = [(_filled(row["name"]), _category(row["category"])) for row in rows]
    except (KeyError, UnicodeDecodeError, ValueError, csv.Error) as exc:
        what = f"no column {exc}" if isinstance(exc, KeyError) else str(exc)
        raise DamagedError(f"{table} is not the table of a tagger's tags ({what}): get it again") from exc
    if not outputs:
        raise DamagedError(f"{table} has no tags: get it again")
    return make_vocabulary(outputs)


def _threshold(report: Path) -> float | None:
    """Read the threshold from the report of an export; None if the file is something else."""
    value = read_json(report) if report.is_file() else None
    found = value.get("threshold") if isinstance(value, dict) else None
    return float(found) if isinstance(found, int | float) and 0 <= found <= 1 else None


def _filled(cell: object) -> str:
    if not isinstance(cell, str) or not cell:
        raise ValueError("a row without a name")
    return cell


def _category(cell: str | None) -> str:
    """Convert a WD tagger's number or alti2v's own word to a category."""
    if cell is None:
        raise ValueError("a row without a category")
    if not cell.isdecimal():
        return Category(cell).value
    if cell == WD_RATING_CATEGORY:
        return RATING
    return CATEGORY_OF_CODE.get(int(cell), Category.UNKNOWN).value


def _session(file: Path) -> Any:  # noqa: ANN401 - onnxruntime has no type information
    try:
        import onnxruntime
    except ImportError as exc:
        raise UsageError(f"{file} needs onnxruntime: pip install 'alti2v[onnx]'") from exc
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; warnings are for authors of models
    there = onnxruntime.get_available_providers()
    try:
        return onnxruntime.InferenceSession(
            str(file), options, providers=[name for name in _PROVIDERS if name in there]
        )
    except Exception as exc:  # onnxruntime derives its exceptions from Exception alone
        raise DamagedError(f"{file} cannot be loaded ({_first_line(exc)}): get it again") from exc


def _input(
    session: Any,  # noqa: ANN401
    folder: Path,
    contract: Contract,
) -> tuple[str, int, int | None, type[np.generic]]:
    """Return name, side in px, fixed batch size or None, and number type of the only input."""
    inputs = session.get_inputs()
    shape = list(inputs[0].shape) if len(inputs) == 1 else []
    if contract.channels_first and len(shape) == 4:
        shape = [shape[0], *shape[2:], shape[1]]
    kinds: dict[str, type[np.generic]] = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}
    takes = kinds.get(inputs[0].type) if inputs else None
    if (
        len(shape) != 4
        or shape[3] != 3
        or not isinstance(shape[1], int)
        or shape[1] != shape[2]
        or not 1 <= shape[1] <= MOST_SIDE_PX
        or (isinstance(shape[0], int) and not 1 <= shape[0] <= _MOST_BATCH)
        or takes is None
    ):
        found = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        raise DamagedError(
            f"{folder}: {contract.model_file} takes {found or 'nothing'} instead of pictures such as "
            "(N, S, S, 3) float32 of a WD tagger: it is a model of another kind"
        )
    return inputs[0].name, shape[1], shape[0] if isinstance(shape[0], int) else None, takes


def _width(shape: list[Any]) -> int | None:
    return shape[1] if len(shape) == 2 and isinstance(shape[1], int) else None


def _run(session: Any, name: str, part: npt.NDArray[Any], batch: int | None) -> list[Float32Array]:  # noqa: ANN401
    """Return all outputs for some pictures; a fixed batch is filled up with zeros."""
    count = len(part)
    if batch is not None and count < batch:
        part = np.concatenate([part, np.zeros((batch - count, *part.shape[1:]), part.dtype)])
    answers: list[Float32Array] = [answer[:count] for answer in session.run(None, {name: part})]
    return answers


def _check(probabilities: Float32Array, tags: int, folder: Path, table: Path) -> None:
    if probabilities.ndim != 2 or probabilities.shape[1] != tags:
        raise DamagedError(
            f"{folder}: {table.name} has {tags} rows, the outputs are {probabilities.shape}: "
            "it is of another model"
        )
    if not bool(((probabilities >= 0) & (probabilities <= 1)).all()):
        raise DamagedError(f"{folder}: {ONNX_FILE} gives numbers outside [0, 1]: they are not probabilities")


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).splitlines()), type(exc).__name__)[:150]
