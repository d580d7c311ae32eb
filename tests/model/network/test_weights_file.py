"""Files of weights hold numbers, and nothing that leads out of the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from alti2v.model.network.weights_file import weight_shapes


def _written(path: Path) -> Any:
    file = h5py.File(path, "w")
    file.create_dataset("layers/dense/vars/0", data=np.ones((3, 4), np.float32))
    return file


def test_arrays_in_the_file_are_listed(tmp_path: Path) -> None:
    """As Keras writes them: groups in groups, then arrays."""
    _written(tmp_path / "w.h5").close()

    assert weight_shapes(tmp_path / "w.h5") == [(3, 4)]


def test_arrays_that_are_elsewhere_are_refused(tmp_path: Path) -> None:
    """Links into other files, arrays stored in other files, and arrays that claim more than they store."""
    _written(tmp_path / "other.h5").close()
    secret = str(tmp_path / "secret")
    Path(secret).write_bytes(bytes(48))
    layout = h5py.VirtualLayout(shape=(3, 4), dtype=np.float32)
    layout[...] = h5py.VirtualSource(tmp_path / "other.h5", "layers/dense/vars/0", shape=(3, 4))
    changes: tuple[Callable[[Any], object], ...] = (
        lambda file: file.__setitem__("x", h5py.ExternalLink("other.h5", "layers")),
        lambda file: file.__setitem__("x", h5py.SoftLink("/layers")),
        lambda file: file.create_dataset("x", (12,), np.float32, external=[(secret, 0, 48)]),
        lambda file: file.create_virtual_dataset("x", layout),
        lambda file: file.create_dataset("x", (1 << 30, 1 << 20), np.float32, chunks=(1, 1024)),
        lambda file: file.create_dataset("x", (1 << 20,), np.float32),
    )
    for number, change in enumerate(changes):
        with _written(tmp_path / f"{number}.h5") as file:
            change(file)
        with pytest.raises(ValueError, match=r"leads elsewhere|not in the file"):
            weight_shapes(tmp_path / f"{number}.h5")


def test_a_group_that_contains_itself_is_refused(tmp_path: Path) -> None:
    """Hard links can close a circle, which would be walked without an end."""
    with _written(tmp_path / "w.h5") as file:
        file["layers/again"] = file["layers"]

    with pytest.raises(ValueError, match="leads elsewhere"):
        weight_shapes(tmp_path / "w.h5")
