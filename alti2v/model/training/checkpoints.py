"""Checkpoints: every number that a training step depends on, in one .npz file, written atomically.

The file is a plain zip of arrays: no pickle, and its CRC-32s reveal damage. Keras' own .weights.h5 lacks the
state of the random generators, without which dropout would not resume where it stopped. The network after the
head start and that of the best validation are stored beside the checkpoints and outlive them.
"""

from __future__ import annotations

import json
import logging
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.storage.publish import make_directory, publish, sweep_temporary_files

Arrays = Sequence[npt.NDArray[Any]]

_NAME = re.compile(r"step-(\d{9,})\.npz")
_BEST, _START = "best.npz", "start.npz"
# What zipfile, NumPy and `Position` raise for damage; also RuntimeError for a password flag, its subclass
# NotImplementedError for an unknown compression, EOFError for an empty file.
_DAMAGE = (OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile)
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Position:
    """Progress of a training apart from its variables; stored in a checkpoint as JSON.

    Attributes:
        step: Number of steps done.
        stage: Index of the phase that the optimizer belongs to.
        seconds: Time spent, including waiting for data, validating and saving.
        train_seconds: Part of `seconds` spent in steps.
        input_seconds: Part of `seconds` spent waiting for the next batch.
        epochs_train_seconds, epochs_input_seconds: The same two at the end of the last epoch.
        loss_sum: Sum of the loss over the samples of the current epoch so far.
        best_map: Highest `Validation.score`; None before the first.
        best_epoch: Epoch that reached it, counted from 1; 0 for the head start, or before the first.
        worse: Number of validations since then.
        log: Rows of log.csv so far, one per finished epoch.
        start: Row of epoch 0, the network after its head start; None without one.
        is_averaged: True if the finished network is the average of the head start and the trained network.
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
    start: dict[str, float | int | None] | None = None
    is_averaged: bool = False

    def __post_init__(self) -> None:
        counts: tuple[Any, ...] = (self.step, self.stage, self.best_epoch, self.worse)
        sums: tuple[Any, ...] = (self.seconds, self.train_seconds, self.input_seconds, self.loss_sum)
        rows: Any = self.log
        if not (
            all(isinstance(value, int) and value >= 0 for value in counts)
            and all(isinstance(value, int | float) for value in (*sums, self.best_map or 0.0))
            and isinstance(rows, list)
            and all(isinstance(row, dict) for row in (*rows, self.start or {}))
        ):
            raise ValueError("a position that no training was at")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The contents of a checkpoint file.

    Attributes:
        path: File that it was read from.
        arrays: Values of the variables.
        position: Fields of the `Position`.
    """

    path: Path
    arrays: Arrays
    position: Mapping[str, Any]

    def assign_to(self, variables: Sequence[Any]) -> bool:
        """Fill Keras variables; False, with a warning and nothing changed, if their shapes differ."""
        if [array.shape for array in self.arrays] != [tuple(variable.shape) for variable in variables]:
            _LOG.warning("%s belongs to another network: ignoring it", self.path)
            return False
        for variable, array in zip(variables, self.arrays, strict=True):
            variable.assign(array)
        return True


def save_checkpoint(
    directory: Path, step: int, *, arrays: Arrays, position: Mapping[str, Any], keep: int
) -> Path:
    """Publish a checkpoint, then remove all older ones except the newest `keep`, this one included.

    Checkpoints of later steps are removed, too: they exist only if they were skipped as damaged.

    Args:
        directory: Directory of the checkpoints; created if missing.
        step: Number of training steps done.
        arrays: Values of Keras variables, in an order that the same program reproduces.
        position: Everything else that is needed to resume; must be valid JSON.
        keep: Number of checkpoints to keep, at least 1.

    Raises:
        StorageError: The disk refuses; older checkpoints are untouched.
    """
    path = directory / f"step-{step:09d}.npz"
    _write(path, arrays, position)
    existing = _newest_first(directory)
    kept = existing[existing.index(path) :][:keep]
    for other in set(existing) - set(kept):
        other.unlink(missing_ok=True)
    return path


def read_checkpoints(directory: Path) -> Iterator[Checkpoint]:
    """Read the checkpoints, newest first; damaged ones are skipped with a warning."""
    for path in _newest_first(directory):
        checkpoint = _read(path, check=Position, otherwise="resuming from the one before it, or from the start")
        if checkpoint is not None:
            yield checkpoint


def newest_step(directory: Path) -> int | None:
    """Return the step of the newest checkpoint, by its name; None if there is no checkpoint."""
    return next((int(path.stem.partition("-")[2]) for path in _newest_first(directory)), None)


def save_best(directory: Path, *, arrays: Arrays, position: Mapping[str, Any]) -> None:
    """Publish the network of the best validation, replacing the previous one.

    Raises:
        StorageError: The disk refuses; the previous one is untouched.
    """
    _write(directory / _BEST, arrays, position)


def load_best(directory: Path, variables: Sequence[Any]) -> bool:
    """Fill variables from the network of the best validation; False, with a warning, if it is damaged."""
    return _load(directory / _BEST, variables, otherwise="using the last network instead")


def save_start(directory: Path, arrays: Arrays) -> None:
    """Publish the network after the head start.

    Raises:
        StorageError: The disk refuses.
    """
    _write(directory / _START, arrays, {})


def load_start(directory: Path, variables: Sequence[Any]) -> bool:
    """Fill variables from the network after the head start; False if there was none, or if it is damaged."""
    return _load(directory / _START, variables, otherwise="not averaging with it")


def _load(path: Path, variables: Sequence[Any], *, otherwise: str) -> bool:
    if not path.is_file():
        return False
    stored = _read(path, check=dict, otherwise=otherwise)
    return stored is not None and stored.assign_to(variables)


def is_finite(arrays: Arrays) -> bool:
    """Return whether all floating-point numbers are finite."""
    return all(bool(np.isfinite(array).all()) for array in arrays if array.dtype.kind == "f")


def _write(path: Path, arrays: Arrays, position: Mapping[str, Any]) -> None:
    make_directory(path.parent)
    sweep_temporary_files(path.parent)
    document = np.frombuffer(json.dumps(dict(position)).encode(), np.uint8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, document, *arrays)

    publish(path, write)


def _read(path: Path, *, check: Callable[..., object], otherwise: str) -> Checkpoint | None:
    """Read a file; None, with a warning, if it is damaged or `check` refuses the fields of its position."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            document, *arrays = (archive[f"arr_{number}"] for number in range(len(archive.files)))
        position = json.loads(document.tobytes())
        check(**position)  # of other types, or with other fields, it is of something else
        return Checkpoint(path=path, arrays=arrays, position=position)
    except _DAMAGE as exc:
        _LOG.warning("%s is damaged (%s): %s", path, exc, otherwise)
        return None


def _newest_first(directory: Path) -> list[Path]:
    paths = [path for path in directory.glob("step-*.npz") if _NAME.fullmatch(path.name)]
    return sorted(paths, key=lambda path: int(path.stem.partition("-")[2]), reverse=True)
