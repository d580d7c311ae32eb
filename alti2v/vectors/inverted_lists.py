"""Inverted lists of an index: the codes and row numbers of each cell, written without all of them in memory.

faiss keeps all lists in memory until it writes them. Here it adds some rows at a time; their lists go to a
temporary file, run after run, and in the end each cell is collected from all runs. The file is the same, to the
byte, as if faiss had written it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from alti2v.arrays import Int64Array
from alti2v.storage.disk_table import NamelessFile
from alti2v.vectors.vector_file import Vectors

# Last section of an index file (faiss 1.15, impl/index_write.cpp, write_InvertedLists, ArrayInvertedLists): its
# name, number of cells, bytes of a code, "full", number of lengths, the lengths; then for each cell its codes
# and its row numbers. All numbers have 64 bits. Without rows it has 32 bytes: "sprs" and 0 instead of lengths.
_SECTION, _ALL_LENGTHS, _EMPTY_BYTES = b"ilar", b"full", 32
_ROW_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Lists of an index, some rows at a time, in a temporary file.

    Attributes:
        file: The file; a run has for each cell its codes, then its row numbers.
        lengths: (runs, cells) number of rows of each cell in each run.
        code_bytes: Size of a code.
    """

    file: NamelessFile
    lengths: Int64Array
    code_bytes: int


def add_run(
    made: Any,  # noqa: ANN401 - an index of faiss
    vectors: Vectors,
    first: int,
    spool: BinaryIO,
) -> tuple[Int64Array, Int64Array]:
    """Add rows to an index of cells without rows, and move its lists to a file.

    Args:
        made: Trained index; it has no rows afterwards, either.
        vectors: (n, width) rows as faiss takes them.
        first: Number of the first row.
        spool: File to append the run to.

    Returns:
        (cells,) number of rows of each cell, and (n,) cell of each row.
    """
    import faiss

    made.add_with_ids(vectors, np.arange(first, first + len(vectors)))
    lists, of_row = made.invlists, np.empty(len(vectors), np.int64)
    lengths = np.array([lists.list_size(cell) for cell in range(made.nlist)], np.int64)
    for cell in np.flatnonzero(lengths).tolist():
        length = int(lengths[cell])
        rows = faiss.rev_swig_ptr(lists.get_ids(cell), length)
        of_row[rows - first] = cell
        spool.write(faiss.rev_swig_ptr(lists.get_codes(cell), length * lists.code_size).tobytes())
        spool.write(rows.tobytes())
    made.reset()
    return lengths, of_row


def write_index(made: Any, runs: Runs, path: Path) -> None:  # noqa: ANN401 - an index of faiss
    """Write a trained index with the rows of all runs to a file, as `faiss.write_index` would."""
    with path.open("wb") as out, Path(runs.file.path).open("rb") as spool:
        out.write(_head(made, int(runs.lengths.sum())))
        totals = runs.lengths.sum(axis=0)
        for number in (made.nlist, runs.code_bytes):
            out.write(_number(number))
        out.write(_ALL_LENGTHS + _number(made.nlist) + totals.astype("<u8").tobytes())
        ends = np.cumsum(runs.lengths.ravel() * (runs.code_bytes + _ROW_BYTES)).reshape(runs.lengths.shape)
        for cell in range(made.nlist):
            rows = []
            for length, end in zip(runs.lengths[:, cell].tolist(), ends[:, cell].tolist(), strict=True):
                size = length * (runs.code_bytes + _ROW_BYTES)
                content = os.pread(spool.fileno(), size, end - size)
                out.write(memoryview(content)[: length * runs.code_bytes])
                rows.append(content[length * runs.code_bytes :])
            out.write(b"".join(rows))


def _head(made: Any, rows: int) -> bytes:  # noqa: ANN401 - an index of faiss
    """Return an index file up to the name of its last section, as if the index had rows."""
    import faiss

    serialize = faiss.serialize_index_binary if isinstance(made, faiss.IndexBinary) else faiss.serialize_index
    made.ntotal = rows
    content: bytes = serialize(made).tobytes()
    made.ntotal = 0
    head, section = content[: -_EMPTY_BYTES + len(_SECTION)], content[-_EMPTY_BYTES:]
    assert section.startswith(_SECTION), "the section that faiss 1.7 to 1.15 write"
    return head


def _number(value: int) -> bytes:
    return value.to_bytes(8, "little")
