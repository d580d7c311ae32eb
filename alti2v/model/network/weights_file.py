"""Check of a file of weights before Keras reads it: numbers only, all of them in this file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

Shape = tuple[int, ...]

_DEEPEST = 32  # groups in each other; Keras nests a network's blocks a few deep


def weight_shapes(file: Path) -> Sequence[Shape]:
    """Return the shapes of the arrays in a `.weights.h5` file.

    HDF5 arrays may be links into other files, be read from other files, or claim more numbers than the file
    holds (HDF5 file format specification, "External File List" and "Virtual Dataset"). Keras writes none of
    these.

    Raises:
        ValueError: There is one.
        OSError: It is not an HDF5 file.
    """
    import h5py

    shapes: list[Shape] = []

    def visit(group: Any, depth: int) -> None:  # noqa: ANN401 - h5py has no types
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink) or depth > _DEEPEST:
                raise ValueError(f"{name!r:.60} leads elsewhere")
            found = group[name]
            if isinstance(found, h5py.Group):
                visit(found, depth + 1)
            elif isinstance(found, h5py.Dataset):
                shapes.append(_shape(found))

    with h5py.File(file, "r") as weights:
        visit(weights, 0)
    return shapes


def _shape(array: Any) -> Shape:  # noqa: ANN401 - h5py has no types
    is_here = array.external is None and not array.is_virtual and array.id.get_storage_size() == array.nbytes
    if not is_here or array.shape is None:
        raise ValueError(f"the numbers of {array.name!r:.60} are not in the file")
    return tuple(array.shape)
