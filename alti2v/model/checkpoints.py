"""Checkpoints: every number that a training step depends on, in one .npz file, published whole or not at all.

The file is a plain zip of arrays: no pickle, and its CRC-32s tell a damaged one. Keras' own .weights.h5 does
not carry the state of random generators, without which dropout would not go on where it stopped.
"""

from __future__ import annotations

import json
import logging
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alti2v.storage.publish import make_directory, publish, sweep_temporary_files

_NAME = re.compile(r"step-(\d{9,})\.npz")
_LOG = logging.getLogger(__name__)


def save_checkpoint(
    directory: Path, step: int, *, variables: Sequence[Any], position: Mapping[str, Any], keep: int = 2
) -> Path:
    """Publish a checkpoint, then remove all but the newest `keep`.

    Args:
        directory: of the checkpoints; made if missing.
        step: training steps done.
        variables: Keras variables, in an order that the same program reproduces.
        position: what else is needed to go on; anything that JSON can hold.
        keep: at least 1.

    Raises:
        StorageError: the disk refuses; older checkpoints are untouched.
    """
    make_directory(directory)
    sweep_temporary_files(directory)
    where = np.frombuffer(json.dumps(dict(position)).encode(), np.uint8)

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, where, *(np.asarray(variable) for variable in variables))

    path = directory / f"step-{step:09d}.npz"
    publish(path, write)
    prune(directory, keep=keep)
    return path


def prune(directory: Path, *, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints."""
    for old in _newest_first(directory)[keep:]:
        old.unlink(missing_ok=True)


def load_newest(directory: Path, variables: Sequence[Any]) -> dict[str, Any] | None:
    """Fill `variables` from the newest whole checkpoint.

    A damaged one is passed over with a warning in the log, and the one before it is taken.

    Returns:
        Its position, or None if there is no usable checkpoint; then no variable is changed.
    """
    for path in _newest_first(directory):
        try:
            arrays, position = _read(path)
            _check(arrays, variables)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as exc:
            _LOG.warning("%s is damaged (%s): going on from the checkpoint before it", path, exc)
            continue
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        return position
    return None


def _read(path: Path) -> tuple[list[np.ndarray[Any, Any]], dict[str, Any]]:
    with np.load(path, allow_pickle=False) as archive:
        where, *arrays = (archive[f"arr_{number}"] for number in range(len(archive.files)))
    return arrays, json.loads(where.tobytes())


def _check(arrays: Sequence[np.ndarray[Any, Any]], variables: Sequence[Any]) -> None:
    shapes = [tuple(variable.shape) for variable in variables]
    if [array.shape for array in arrays] != shapes:
        raise ValueError("it belongs to another network")


def _newest_first(directory: Path) -> list[Path]:
    found = [path for path in directory.glob("step-*.npz") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.stem.partition("-")[2]), reverse=True)
