"""Checkpoints: every number that a training step depends on, in one .npz file, published whole or not at all.

The file is a plain zip of arrays: no pickle, and its CRC-32s tell a damaged one. Keras' own .weights.h5 does
not carry the state of random generators, without which dropout would not go on where it stopped.
Beside them lies the network of the best validation, which no newer checkpoint pushes out.
"""

from __future__ import annotations

import json
import logging
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.storage.publish import make_directory, publish, sweep_temporary_files

Arrays = Sequence[npt.NDArray[Any]]

_NAME = re.compile(r"step-(\d{9,})\.npz")
_BEST = "best.npz"
# What zip and NumPy say of other bytes than were written: compression that nobody knows (NotImplementedError),
# a password (RuntimeError), nothing at all (EOFError) ...
_DAMAGE = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile)
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Position:
    """Where a training stands, beside the variables; what a checkpoint holds as JSON.

    Attributes:
        step: steps done.
        stage: the number of the stage that the optimizer belongs to.
        seconds: spent, waiting for the data, validating and saving included.
        train_seconds: of these, spent in steps.
        input_seconds: of these, spent waiting for the next batch.
        epochs_train_seconds, epochs_input_seconds: the same at the end of the last epoch.
        loss_sum: over the samples seen in the epoch that `step` lies in.
        best_map: highest mean average precision on the validation split.
        best_epoch: after which it was found, counted from 1; 0 for none yet.
        worse: validations since then.
        log: the rows of log.csv so far, one for each epoch that is done.
    """

    step: int = 0
    stage: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    input_seconds: float = 0.0
    epochs_train_seconds: float = 0.0
    epochs_input_seconds: float = 0.0
    loss_sum: float = 0.0
    best_map: float | None = None
    best_epoch: int = 0
    worse: int = 0
    log: list[dict[str, float | int | None]] = field(default_factory=list)


def save_checkpoint(
    directory: Path, step: int, *, arrays: Arrays, position: Mapping[str, Any], keep: int
) -> Path:
    """Publish a checkpoint, then remove all but the newest `keep` up to it.

    Those of later steps go, too: they are there only if they were passed over as damaged.

    Args:
        directory: of the checkpoints; made if missing.
        step: training steps done.
        arrays: the values of Keras variables, in an order that the same program reproduces.
        position: what else is needed to go on; anything that JSON can hold.
        keep: at least 1.

    Raises:
        StorageError: the disk refuses; older checkpoints are untouched.
    """
    path = directory / f"step-{step:09d}.npz"
    _write(path, arrays, position)
    found = _newest_first(directory)
    kept = found[found.index(path) :][:keep]
    for other in set(found) - set(kept):
        other.unlink(missing_ok=True)
    return path


def load_newest(
    directory: Path, variables_of: Callable[[Mapping[str, Any]], Sequence[Any]]
) -> Mapping[str, Any] | None:
    """Fill variables from the newest whole checkpoint.

    A damaged one is passed over with a warning in the log, and the one before it is taken.

    Args:
        directory: of the checkpoints.
        variables_of: makes the Keras variables that belong to a position.

    Returns:
        Its position, or None if there is no usable checkpoint; then no variable is changed.
    """
    for path in _newest_first(directory):
        position = _load(path, variables_of, otherwise="going on from the one before it, or from the start")
        if position is not None:
            return position
    return None


def newest_step(directory: Path) -> int | None:
    """How many steps the newest checkpoint had done, by its name; None without one."""
    return next((int(path.stem.partition("-")[2]) for path in _newest_first(directory)), None)


def save_best(directory: Path, *, arrays: Arrays, position: Mapping[str, Any]) -> None:
    """Publish the network of the best validation so far in the place of the one before.

    Raises:
        StorageError: the disk refuses; the one before is untouched.
    """
    _write(directory / _BEST, arrays, position)


def load_best(directory: Path, variables: Sequence[Any]) -> Mapping[str, Any] | None:
    """Fill `variables` from the network of the best validation; None, and a warning, where it is damaged."""
    path = directory / _BEST
    if not path.is_file():
        return None
    return _load(path, lambda _: variables, otherwise="taking the last network instead")


def is_finite(arrays: Arrays) -> bool:
    """Whether no number among them is infinite or none at all."""
    return all(bool(np.isfinite(array).all()) for array in arrays if array.dtype.kind == "f")


def _write(path: Path, arrays: Arrays, position: Mapping[str, Any]) -> None:
    make_directory(path.parent)
    sweep_temporary_files(path.parent)
    where = np.frombuffer(json.dumps(dict(position)).encode(), np.uint8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, where, *arrays)

    publish(path, write)


def _load(
    path: Path, variables_of: Callable[[Mapping[str, Any]], Sequence[Any]], *, otherwise: str
) -> Mapping[str, Any] | None:
    try:
        arrays, position = _read(path)
    except _DAMAGE as exc:
        _LOG.warning("%s is damaged (%s): %s", path, exc, otherwise)
        return None
    variables = variables_of(position)
    if [array.shape for array in arrays] != [tuple(variable.shape) for variable in variables]:
        _LOG.warning("%s belongs to another network: %s", path, otherwise)
        return None
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
    return position


def _read(path: Path) -> tuple[list[npt.NDArray[Any]], Mapping[str, Any]]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        where, *arrays = (archive[f"arr_{number}"] for number in range(len(archive.files)))
    return arrays, json.loads(where.tobytes())


def _newest_first(directory: Path) -> list[Path]:
    found = [path for path in directory.glob("step-*.npz") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.stem.partition("-")[2]), reverse=True)
