"""Build of an index, with some of the vectors in memory at a time.

The number of cells that a search visits is chosen so that it finds `TARGET_RECALL` of the neighbours of an
exact search, measured on pictures of the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alti2v.arrays import Int64Array
from alti2v.errors import DataError, UsageError
from alti2v.records import Progress, ProgressHook, ignore_progress
from alti2v.storage.directory import require_plain_files
from alti2v.storage.disk_table import nameless_file
from alti2v.storage.layout import FORMAT_VERSION, INDEX_FILE, INDEX_PICTURES_FILE, INDEX_VECTORS_FILE
from alti2v.storage.publish import make_directory, publish, publish_json, read_json
from alti2v.vectors.config import Form
from alti2v.vectors.index import GROUP_ROWS, KIND, Index, faiss_module, open_index, searchable
from alti2v.vectors.inverted_lists import Runs, add_run, write_index
from alti2v.vectors.majority_cells import majority_cells
from alti2v.vectors.true_neighbours import TrueNeighbours
from alti2v.vectors.vector_file import Origin, Rows, Vectors, count_rows, read_origin, read_rows, read_vectors

if TYPE_CHECKING:
    from types import ModuleType

# Up to this size an exact search takes a few milliseconds.
EXACT_ROWS = 50_000
TARGET_RECALL = 0.97
NEIGHBOURS = 10  # neighbours per probe in the measurement of recall
_PROBES = 128  # pictures to measure the recall on
_TRAINING_PER_CELL = 40  # faiss warns below 39
_TRAINING_ROUNDS = 8
_RUN_BYTES = 1 << 25  # vectors that are added at once, 32 MB


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
    faiss = faiss_module()
    origin, rows = read_origin(vectors), count_rows(vectors)
    if not rows:
        raise DataError(f"{vectors} holds no pictures: embed some")
    cells = 1 if rows <= EXACT_ROWS else 2 ** round(math.log2(math.sqrt(rows)))
    made = _empty(faiss, origin, cells)
    # Measured on other pictures than the cells were trained on, or the recall would be too high.
    sample = _sample(vectors, rows, _PROBES + _TRAINING_PER_CELL * cells) if cells > 1 else None
    if sample is not None:
        progress(Progress(stage="finding cells", done=0, total=1, unit="steps"))
        if origin.form is Form.BINARY:
            made.quantizer.add(majority_cells(sample[_PROBES:], cells=cells, rounds=_TRAINING_ROUNDS))
        made.train(sample[_PROBES:])  # of codes, whose cells exist, this asks nothing
        progress(Progress(stage="finding cells", done=1, total=1, unit="steps"))
    make_directory(folder)
    (folder / INDEX_FILE).unlink(missing_ok=True)
    if sample is None:
        looked_into, recall = 1, 1.0
        publish(folder / INDEX_PICTURES_FILE, lambda path: _fill(made, vectors, rows, path, progress))
        writer = faiss.write_index_binary if origin.form is Form.BINARY else faiss.write_index
        publish(folder / INDEX_VECTORS_FILE, lambda path: writer(made, str(path)))
    else:
        cells_of_neighbours = _fill_cells(made, vectors, folder, sample[:_PROBES], progress)
        looked_into, recall = _tune(made, sample[:_PROBES], cells_of_neighbours)
    publish_json(
        folder / INDEX_FILE,
        {
            "kind": KIND,
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


def _sample(vectors: Path, rows: int, wanted: int) -> Vectors:
    """Draw rows from the whole file, reproducibly, in random order."""
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.choice(rows, min(rows, wanted), replace=False))
    parts, begin = [], 0
    for part in read_vectors(vectors, rows=GROUP_ROWS):
        end = begin + len(part)
        inside = chosen[np.searchsorted(chosen, begin) : np.searchsorted(chosen, end)] - begin
        parts.append(part[inside])
        begin = end
    sample: Vectors = searchable(rng.permutation(np.concatenate(parts)), read_origin(vectors))
    return sample


def _fill(made: Any, vectors: Path, rows: int, pictures: Path, progress: ProgressHook) -> None:  # noqa: ANN401
    """Add all rows to an index, and write their keys and tags to a file."""
    if not made.is_trained:  # a quantizer without cells needs no training data
        made.train(searchable(next(read_vectors(vectors, rows=GROUP_ROWS)), read_origin(vectors)))
    for part in _described(vectors, rows, pictures, progress):
        made.add(part)


def _fill_cells(
    made: Any,  # noqa: ANN401 - an index of faiss
    vectors: Path,
    folder: Path,
    probes: Vectors,
    progress: ProgressHook,
) -> Int64Array:
    """Write the index of all rows, some of them in memory at a time, and their keys and tags.

    Returns:
        (p, NEIGHBOURS) cells of the true neighbours of each probe.
    """
    spool, lengths = nameless_file(folder), []
    exact = TrueNeighbours(probes, NEIGHBOURS + 1)

    def fill(pictures: Path) -> None:
        first, rows = 0, count_rows(vectors)
        with Path(spool.path).open("wb") as file:
            for part in _joined(_described(vectors, rows, pictures, progress)):
                of_run, cells = add_run(made, part, first, file)
                lengths.append(of_run)
                exact.add(part, cells)
                first += len(part)

    publish(folder / INDEX_PICTURES_FILE, fill)
    runs = Runs(file=spool, lengths=np.array(lengths), code_bytes=made.invlists.code_size)
    publish(folder / INDEX_VECTORS_FILE, lambda path: write_index(made, runs, path))
    return exact.cells[:, 1:]  # the first neighbour is the picture itself


def _described(vectors: Path, rows: int, pictures: Path, progress: ProgressHook) -> Iterator[Vectors]:
    """Yield all vectors for faiss, and write keys and tags of their pictures to a file meanwhile."""
    origin, done = read_origin(vectors), 0
    schema = pa.schema([("key", pa.string()), ("tags", pa.list_(pa.string()))])
    with pq.ParquetWriter(pictures, schema, compression="zstd") as writer:
        for part in _even(read_rows(vectors, rows=GROUP_ROWS)):
            yield searchable(part.vectors, origin)
            writer.write_table(pa.table([pa.array(part.keys, pa.string()), part.tags], schema=schema))
            done += len(part.keys)
            progress(Progress(stage="indexing", done=done, total=rows, unit="pictures"))


def _joined(parts: Iterator[Vectors]) -> Iterator[Vectors]:
    """Join vectors until they have `_RUN_BYTES`."""
    waiting: list[Vectors] = []
    for part in parts:
        waiting.append(part)
        if sum(some.nbytes for some in waiting) >= _RUN_BYTES:
            yield np.concatenate(waiting)
            waiting.clear()
    if waiting:
        yield np.concatenate(waiting)


def _even(parts: Iterator[Rows]) -> Iterator[Rows]:
    """Regroup rows into groups of `GROUP_ROWS`, so that the group of a row can be computed."""
    held: Rows | None = None
    for part in parts:
        held = (
            part
            if held is None
            else Rows(
                held.keys + part.keys, held.tags + part.tags, np.concatenate([held.vectors, part.vectors])
            )
        )
        while len(held.keys) >= GROUP_ROWS:
            n = GROUP_ROWS
            yield Rows(held.keys[:n], held.tags[:n], held.vectors[:n])
            held = Rows(held.keys[n:], held.tags[n:], held.vectors[n:])
    if held is not None and held.keys:
        yield held


def _tune(made: Any, probes: Vectors, neighbours: Int64Array) -> tuple[int, float]:  # noqa: ANN401
    """Return the smallest power of two of cells to visit for `TARGET_RECALL`, and its recall.

    A search finds a neighbour if it visits its cell.

    Args:
        made: Index of faiss.
        probes: Pictures to search for.
        neighbours: (p, k) cells of their true neighbours.
    """
    _, order = made.quantizer.search(probes, made.nlist)
    rank = np.argsort(order, axis=1)  # of each cell, for each probe
    ranks = np.take_along_axis(rank, neighbours, axis=1)
    looked_into = 1
    while True:
        recall = float((ranks < looked_into).mean())
        if recall >= TARGET_RECALL or looked_into >= made.nlist:
            return looked_into, round(recall, 4)
        looked_into = min(2 * looked_into, made.nlist)
