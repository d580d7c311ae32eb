"""Nearest-neighbour index over a file of vectors, with faiss. No TensorFlow.

Small files are searched exactly. Large ones are divided into cells (an inverted file), some of which a search
visits. An index is a self-contained folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from alti2v.arrays import Float64Array, Int64Array
from alti2v.errors import DamagedError, UsageError, VersionError
from alti2v.storage.directory import require_plain_files
from alti2v.storage.documents import from_json
from alti2v.storage.layout import FORMAT_VERSION, INDEX_FILE, INDEX_PICTURES_FILE, INDEX_VECTORS_FILE
from alti2v.storage.parquet import row_groups
from alti2v.storage.publish import read_json
from alti2v.storage.table import row_count
from alti2v.vectors.config import Form
from alti2v.vectors.vector_file import Origin, Vectors

if TYPE_CHECKING:
    from types import ModuleType

KIND = "index"
GROUP_ROWS = 4096  # pictures in a row group of their table, so that the group of a row can be computed


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A loaded index.

    Attributes:
        faiss_index: Index of faiss, a faiss.Index or faiss.IndexBinary.
        origin: Origin of the vectors.
        folder: Folder of the index.
        rows: Number of pictures.
        cells: Number of cells; 1 for an exact search.
        looked_into: Number of cells that a search visits.
        recall: Share of the true neighbours that a search finds, measured when the index was built.
    """

    faiss_index: Any
    origin: Origin
    folder: Path
    rows: int
    cells: int
    looked_into: int
    recall: float


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A similar picture.

    Attributes:
        key: Key of the picture: its path, or its key in the dataset.
        similarity: Cosine of the vectors, or share of equal bits; 1 for equal vectors.
        tags: Tags that the model predicts for it.
    """

    key: str
    similarity: float
    tags: tuple[str, ...]


def open_index(folder: Path) -> Index:
    """Open an existing index.

    Raises:
        UsageError: There is none, or faiss is not installed.
        VersionError: It has another format version.
        DamagedError: A part is missing or damaged.
    """
    if not (folder / INDEX_FILE).is_file():
        raise UsageError(
            f"{folder} is not an index: `alti2v search VECTORS.parquet --index {folder}` builds one"
        )
    require_plain_files(folder)
    description = read_json(folder / INDEX_FILE)
    if not isinstance(description, dict) or description.get("kind") != KIND:
        raise UsageError(f"{folder / INDEX_FILE} does not describe an index: give another folder")
    if description.get("version") != FORMAT_VERSION:
        raise VersionError(f"{folder} has another format version: remove it, and it will be built again")
    faiss = faiss_module()
    facts = {
        name: value for name, value in description.items() if name not in ("kind", "version", "of", "origin")
    }
    try:
        origin = from_json(Origin, description["origin"], form=Form(description["origin"]["form"]))
        reader = faiss.read_index_binary if origin.form is Form.BINARY else faiss.read_index
        # Mapped, so that the vectors of a whole board need not fit into memory.
        made = reader(str(folder / INDEX_VECTORS_FILE), faiss.IO_FLAG_MMAP)
        index = from_json(
            Index,
            {**facts, "faiss_index": None, "origin": None, "folder": None},
            faiss_index=made,
            origin=origin,
            folder=folder,
        )
        _check(index)
    except (
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        MemoryError,
        DamagedError,
    ) as exc:  # faiss: RuntimeError
        raise DamagedError(f"{folder} is damaged ({str(exc).partition(chr(10))[0]:.100}): remove it") from exc
    if index.cells > 1:
        index.faiss_index.nprobe = index.looked_into
    return index


def _check(index: Index) -> None:
    """Check that the parts of an index belong together.

    Raises:
        ValueError: They are not.
        DamagedError: The table of the pictures cannot be read.
    """
    origin, made = index.origin, index.faiss_index
    units = origin.width * (8 if origin.form is Form.BINARY else 1)
    try:
        pictures = row_count(index.folder / INDEX_PICTURES_FILE)
    except FileNotFoundError as exc:
        raise ValueError(f"{INDEX_PICTURES_FILE} is missing") from exc
    if (made.d, made.ntotal, pictures) != (units, index.rows, index.rows):
        raise ValueError(f"{pictures} pictures and {made.ntotal} vectors for {index.rows} rows")
    cells = getattr(made, "nlist", 1)  # an exact index has none
    if index.cells != cells or not 1 <= index.looked_into <= cells:
        raise ValueError(f"a search visits {index.looked_into} of {index.cells} cells")


def nearest(index: Index, queries: Vectors, count: int) -> tuple[Int64Array, Float64Array]:
    """Find the nearest pictures.

    Args:
        index: Index to search.
        queries: (n, width), in the form of the index.
        count: Maximum number of neighbours, > 0.

    Returns:
        Rows (n, k) and similarities (n, k), the most similar first; k <= count.
    """
    distances, rows = index.faiss_index.search(searchable(queries, index.origin), min(count, index.rows))
    if index.origin.form is Form.BINARY:
        return rows, 1 - distances / (8 * index.origin.width)
    return rows, distances.astype(np.float64).clip(-1, 1)  # faiss rounds the vectors to 16 bits


def neighbours(index: Index, query: Vectors, count: int) -> tuple[Neighbour, ...]:
    """Find the pictures nearest to one vector (width,), with their keys and tags."""
    rows, similarities = nearest(index, query[None], count)
    found = [
        (row, value)
        for row, value in zip(rows[0].tolist(), similarities[0].tolist(), strict=True)
        if 0 <= row < index.rows
    ]
    known = _pictures(index, [row for row, _ in found])
    return tuple(Neighbour(known[row][0], round(value, 4), known[row][1]) for row, value in found)


def faiss_module() -> ModuleType:
    """Import faiss.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import faiss
    except ImportError as exc:
        raise UsageError("searching needs faiss: pip install 'alti2v[search]'") from exc
    module: ModuleType = faiss
    return module


def searchable(vectors: Vectors, origin: Origin) -> Vectors:
    """Convert vectors for faiss: codes stay, numbers get length 1 so that an inner product is a cosine."""
    if origin.form is Form.BINARY:
        return np.ascontiguousarray(vectors)
    numbers = vectors.astype(np.float32)
    lengths = np.linalg.norm(numbers, axis=1, keepdims=True)
    return np.ascontiguousarray(numbers / np.maximum(lengths, np.finfo(np.float32).tiny))


def _pictures(index: Index, rows: list[int]) -> dict[int, tuple[str, tuple[str, ...]]]:
    """Read keys and tags of some rows, from only the groups that hold them."""
    found = {}
    needed = sorted({row // GROUP_ROWS for row in rows})
    try:
        with pa.OSFile(str(index.folder / INDEX_PICTURES_FILE)) as file:
            for group, table in zip(needed, row_groups(file, groups=needed), strict=True):
                for row in rows:
                    if row // GROUP_ROWS == group:
                        (picture,) = table.slice(row % GROUP_ROWS, 1).to_pylist()
                        found[row] = (picture["key"], tuple(picture["tags"]))
    except (pa.ArrowException, OSError, ValueError, KeyError) as exc:
        raise DamagedError(f"{index.folder} is damaged ({exc!s:.100}): remove it") from exc
    return found
