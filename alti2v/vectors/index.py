"""Nearest-neighbour index over a file of vectors, with faiss. No TensorFlow.

Small files are searched exactly. Large ones are divided into cells (an inverted file). The number of cells that
a search visits is chosen when the index is built, so that it finds `TARGET_RECALL` of the neighbours of an
exact search, measured on pictures of the file. An index is a self-contained folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from alti2v.errors import DamagedError, DataError, UsageError, VersionError
from alti2v.records import Progress, ProgressHook, ignore_progress
from alti2v.storage.directory import require_plain_files
from alti2v.storage.documents import from_json
from alti2v.storage.layout import FORMAT_VERSION, INDEX_FILE, INDEX_PICTURES_FILE, INDEX_VECTORS_FILE
from alti2v.storage.parquet import row_groups
from alti2v.storage.publish import make_directory, publish, publish_json, read_json
from alti2v.storage.table import row_count
from alti2v.vectors.config import Form
from alti2v.vectors.vector_file import Origin, Rows, Vectors, count_rows, read_origin, read_rows

if TYPE_CHECKING:
    from types import ModuleType

_KIND = "index"
# Up to this size an exact search takes a few milliseconds.
EXACT_ROWS = 50_000
TARGET_RECALL = 0.97
NEIGHBOURS = 10  # neighbours per probe in the measurement of recall
_PROBES = 128  # pictures to measure the recall on
_TRAINING_PER_CELL = 40  # faiss warns below 39
_TRAINING_ROUNDS = 8
_GROUP_ROWS = 4096


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


def open_or_build(vectors: Path, folder: Path, *, progress: ProgressHook = ignore_progress) -> Index:
    """Open the index of a file of vectors, or build it if it is missing or outdated.

    Raises:
        UsageError: The file does not exist, or faiss is not installed.
        DataError: The file is empty.
        DamagedError: The file cannot be read.
        StorageError: The folder cannot be written to.
    """
    if folder.is_dir():
        require_plain_files(folder)
    if (folder / INDEX_FILE).is_file():
        description = read_json(folder / INDEX_FILE)
        if isinstance(description, dict) and description.get("of") == _stamp(vectors):
            return open_index(folder)
    return build_index(vectors, folder, progress=progress)


def build_index(vectors: Path, folder: Path, *, progress: ProgressHook = ignore_progress) -> Index:
    """Build the index of a file of vectors, replacing an older one; its description is written last.

    Raises the same errors as `open_or_build`.
    """
    faiss = _faiss()
    origin, rows = read_origin(vectors), count_rows(vectors)
    if not rows:
        raise DataError(f"{vectors} holds no pictures: embed some")
    cells = 1 if rows <= EXACT_ROWS else 2 ** round(math.log2(math.sqrt(rows)))
    made = _empty(faiss, origin, cells)
    # Measured on other pictures than the cells were trained on, or the recall would be too high.
    sample = _sample(vectors, rows, _PROBES + _TRAINING_PER_CELL * cells) if cells > 1 else None
    if sample is not None:
        progress(Progress(stage="finding cells", done=0, total=1, unit="steps"))
        made.train(sample[_PROBES:])
        progress(Progress(stage="finding cells", done=1, total=1, unit="steps"))
    make_directory(folder)
    (folder / INDEX_FILE).unlink(missing_ok=True)
    publish(folder / INDEX_PICTURES_FILE, lambda path: _fill(made, vectors, rows, path, progress))
    looked_into, recall = (1, 1.0) if sample is None else _tune(made, sample[:_PROBES], cells)
    writer = faiss.write_index_binary if origin.form is Form.BINARY else faiss.write_index
    publish(folder / INDEX_VECTORS_FILE, lambda path: writer(made, str(path)))
    publish_json(
        folder / INDEX_FILE,
        {
            "kind": _KIND,
            "version": FORMAT_VERSION,
            "of": _stamp(vectors),
            "origin": asdict(origin),
            "rows": rows,
            "cells": cells,
            "looked_into": looked_into,
            "recall": recall,
        },
    )
    return open_index(folder)


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
    if not isinstance(description, dict) or description.get("kind") != _KIND:
        raise UsageError(f"{folder / INDEX_FILE} does not describe an index: give another folder")
    if description.get("version") != FORMAT_VERSION:
        raise VersionError(f"{folder} has another format version: remove it, and it will be built again")
    faiss = _faiss()
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
    """Check that the parts of an index are of one another.

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


def nearest(
    index: Index, queries: Vectors, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Find the nearest pictures.

    Args:
        index: Index to search.
        queries: (n, width), in the form of the index.
        count: Maximum number of neighbours, > 0.

    Returns:
        Rows (n, k) and similarities (n, k), the most similar first; k <= count.
    """
    distances, rows = index.faiss_index.search(_searchable(queries, index.origin), min(count, index.rows))
    if index.origin.form is Form.BINARY:
        return rows, 1 - distances / (8 * index.origin.width)
    return rows, distances.astype(np.float64)


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


def _faiss() -> ModuleType:
    try:
        import faiss
    except ImportError as exc:
        raise UsageError("searching needs faiss: pip install 'alti2v[search]'") from exc
    module: ModuleType = faiss
    return module


def _stamp(vectors: Path) -> dict[str, int | str]:
    """Return facts that identify this version of a file of vectors."""
    try:
        status = vectors.stat()
    except OSError:
        raise UsageError(f"{vectors} does not exist: make it with `alti2v embed`") from None
    return {"name": vectors.name, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def _empty(faiss: ModuleType, origin: Origin, cells: int) -> Any:  # noqa: ANN401 - an index of faiss
    """Create an index without rows; it keeps numbers as float16."""
    if origin.form is Form.BINARY:
        made = faiss.index_binary_factory(8 * origin.width, "BFlat" if cells == 1 else f"BIVF{cells}")
    else:
        name = "SQfp16" if cells == 1 else f"IVF{cells},SQfp16"
        made = faiss.index_factory(origin.width, name, faiss.METRIC_INNER_PRODUCT)
    if cells > 1:
        made.cp.niter = _TRAINING_ROUNDS
    return made


def _searchable(vectors: Vectors, origin: Origin) -> Vectors:
    """Convert vectors for faiss: codes stay, numbers get length 1 so that an inner product is a cosine."""
    if origin.form is Form.BINARY:
        return np.ascontiguousarray(vectors)
    numbers = vectors.astype(np.float32)
    lengths = np.linalg.norm(numbers, axis=1, keepdims=True)
    return np.ascontiguousarray(numbers / np.maximum(lengths, np.finfo(np.float32).tiny))


def _sample(vectors: Path, rows: int, wanted: int) -> Vectors:
    """Draw rows from the whole file, reproducibly, in random order."""
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.choice(rows, min(rows, wanted), replace=False))
    parts, begin = [], 0
    for part in read_rows(vectors, rows=_GROUP_ROWS):
        end = begin + len(part.keys)
        inside = chosen[np.searchsorted(chosen, begin) : np.searchsorted(chosen, end)] - begin
        parts.append(part.vectors[inside])
        begin = end
    sample: Vectors = _searchable(rng.permutation(np.concatenate(parts)), read_origin(vectors))
    return sample


def _fill(made: Any, vectors: Path, rows: int, pictures: Path, progress: ProgressHook) -> None:  # noqa: ANN401
    """Add all rows to an index, and write their keys and tags to a file."""
    origin, done = read_origin(vectors), 0
    schema = pa.schema([("key", pa.string()), ("tags", pa.list_(pa.string()))])
    if not made.is_trained:  # a quantizer without cells needs no training data
        made.train(_searchable(next(read_rows(vectors, rows=_GROUP_ROWS)).vectors, origin))
    with pq.ParquetWriter(pictures, schema, compression="zstd") as writer:
        for part in _even(read_rows(vectors, rows=_GROUP_ROWS)):
            made.add(_searchable(part.vectors, origin))
            writer.write_table(pa.table([pa.array(part.keys, pa.string()), part.tags], schema=schema))
            done += len(part.keys)
            progress(Progress(stage="indexing", done=done, total=rows, unit="pictures"))


def _even(parts: Iterator[Rows]) -> Iterator[Rows]:
    """Regroup rows into groups of `_GROUP_ROWS`, so that the group of a row can be computed."""
    held: Rows | None = None
    for part in parts:
        held = (
            part
            if held is None
            else Rows(
                held.keys + part.keys, held.tags + part.tags, np.concatenate([held.vectors, part.vectors])
            )
        )
        while len(held.keys) >= _GROUP_ROWS:
            n = _GROUP_ROWS
            yield Rows(held.keys[:n], held.tags[:n], held.vectors[:n])
            held = Rows(held.keys[n:], held.tags[n:], held.vectors[n:])
    if held is not None and held.keys:
        yield held


def _tune(made: Any, probes: Vectors, cells: int) -> tuple[int, float]:  # noqa: ANN401 - an index of faiss
    """Return the smallest number of cells to visit for `TARGET_RECALL`, and its recall."""
    made.nprobe = cells
    _, exact = made.search(probes, NEIGHBOURS + 1)
    looked_into = 1
    while True:
        made.nprobe = looked_into
        _, found = made.search(probes, NEIGHBOURS + 1)
        # The first neighbour is the picture itself.
        hits = [len(set(a[1:]) & set(b[1:])) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
        recall = sum(hits) / (len(probes) * NEIGHBOURS)
        if recall >= TARGET_RECALL or looked_into >= cells:
            return looked_into, round(recall, 4)
        looked_into = min(2 * looked_into, cells)


def _pictures(index: Index, rows: list[int]) -> dict[int, tuple[str, tuple[str, ...]]]:
    """Read keys and tags of some rows, from only the groups that hold them."""
    found = {}
    needed = sorted({row // _GROUP_ROWS for row in rows})
    try:
        with pa.OSFile(str(index.folder / INDEX_PICTURES_FILE)) as file:
            for group, table in zip(needed, row_groups(file, groups=needed), strict=True):
                for row in rows:
                    if row // _GROUP_ROWS == group:
                        (picture,) = table.slice(row % _GROUP_ROWS, 1).to_pylist()
                        found[row] = (picture["key"], tuple(picture["tags"]))
    except (pa.ArrowException, OSError, ValueError, KeyError) as exc:
        raise DamagedError(f"{index.folder} is damaged ({exc!s:.100}): remove it") from exc
    return found
