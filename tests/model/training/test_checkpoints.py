"""Checkpoints: a file is either read as saved, or skipped with a warning."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alti2v.model.training.checkpoints import Checkpoint, read_checkpoints, save_checkpoint

_ARRAYS = (np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(3, dtype=np.int64))
_POSITION = {"step": 5, "stage": 0}


class Variable:
    """The parts of a Keras variable that a checkpoint needs."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape
        self.value: Any = None

    def assign(self, value: Any) -> None:
        """Store the value."""
        self.value = value


def fresh() -> Any:
    return [Variable(array.shape) for array in _ARRAYS]


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    return save_checkpoint(tmp_path, 5, arrays=_ARRAYS, position=_POSITION, keep=2)


def newest(directory: Path, variables: list[Variable]) -> Checkpoint | None:
    """Fill the variables from the newest checkpoint that fits."""
    usable = (one for one in read_checkpoints(directory) if one.assign_to(variables))
    return next(usable, None)


def assert_whole_or_skipped(path: Any, caplog: pytest.LogCaptureFixture) -> Any:
    variables = fresh()
    caplog.clear()
    checkpoint = newest(path.parent, variables)
    if checkpoint is None:
        assert path.name in caplog.text
        assert [variable.value for variable in variables] == [None, None]
        return False
    assert checkpoint.position == _POSITION
    for variable, array in zip(variables, _ARRAYS, strict=True):
        assert np.array_equal(variable.value, np.asarray(array))
    return True


def test_a_truncated_file_is_skipped(saved: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A truncated file is skipped, at any length including 0."""
    caplog.set_level(logging.WARNING)
    content = saved.read_bytes()
    for length in range(len(content)):
        saved.write_bytes(content[:length])
        assert not assert_whole_or_skipped(saved, caplog)


@pytest.mark.parametrize("mask", [0x01, 0x08, 0xFF])
def test_a_changed_byte_is_detected_or_harmless(
    saved: Any, caplog: pytest.LogCaptureFixture, mask: Any
) -> None:
    """A file with any one byte changed gives the saved numbers, or is skipped."""
    caplog.set_level(logging.WARNING)
    content = saved.read_bytes()
    detected = 0
    for place in range(len(content)):
        other = bytearray(content)
        other[place] ^= mask
        saved.write_bytes(other)
        detected += not assert_whole_or_skipped(saved, caplog)
    assert detected > len(content) / 2


def test_the_one_before_is_taken(saved: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An empty newest file is skipped with a warning, and the one before it is used."""
    empty = saved.with_name("step-000000009.npz")
    empty.write_bytes(b"")
    variables = fresh()

    checkpoint = newest(saved.parent, variables)
    assert checkpoint is not None
    assert checkpoint.position == _POSITION
    assert empty.name in caplog.text
    assert np.array_equal(variables[0].value, _ARRAYS[0])


def test_only_the_newest_stay(saved: Any) -> None:
    """Of many checkpoints the newest `keep` are kept."""
    for step in (6, 7, 12):
        save_checkpoint(saved.parent, step, arrays=_ARRAYS, position=_POSITION, keep=2)

    assert sorted(path.name for path in saved.parent.iterdir()) == ["step-000000007.npz", "step-000000012.npz"]


def test_damaged_checkpoints_do_not_displace_new_ones(saved: Any) -> None:
    """Damaged checkpoints of later steps are removed when training continues before them."""
    for step in (8, 9):
        saved.with_name(f"step-{step:09d}.npz").write_bytes(b"")

    save_checkpoint(saved.parent, 6, arrays=_ARRAYS, position={**_POSITION, "step": 6}, keep=2)

    assert sorted(path.name for path in saved.parent.iterdir()) == ["step-000000005.npz", "step-000000006.npz"]
    checkpoint = newest(saved.parent, fresh())
    assert checkpoint is not None
    assert checkpoint.position == {**_POSITION, "step": 6}


@pytest.mark.parametrize(
    "position", [{"step": -1}, {"step": "1"}, {"stage": 0.5}, {"log": [1]}, {"seconds": "x"}, {"other": 1}]
)
def test_a_position_that_no_training_was_at_is_damage(tmp_path: Path, position: Any) -> None:
    """The folder of a run may be somebody else's: such a checkpoint is skipped, not believed."""
    save_checkpoint(tmp_path, 1, arrays=[np.ones(2)], position=position, keep=2)

    assert not list(read_checkpoints(tmp_path))
