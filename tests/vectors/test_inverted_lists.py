"""An index that was put together from runs is the one that faiss writes, and its true neighbours are true."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from alti2v.storage.disk_table import nameless_file
from alti2v.vectors.inverted_lists import Runs, add_run, write_index
from alti2v.vectors.majority_cells import majority_cells
from alti2v.vectors.true_neighbours import TrueNeighbours

faiss = pytest.importorskip("faiss", reason="faiss is not installed: pip install 'alti2v[search]'")
BATCHES = (0, 700, 701, 2000)


@pytest.mark.parametrize("is_binary", [True, False])
def test_the_file_is_that_of_faiss(tmp_path: Path, *, is_binary: bool) -> None:
    """To the byte, from batches of any length, for codes and for numbers."""
    rng = np.random.default_rng(0)
    if is_binary:
        made, vectors = faiss.index_binary_factory(64, "BIVF16"), rng.integers(0, 256, (2000, 8), np.uint8)
    else:
        made = faiss.index_factory(8, "IVF16,SQfp16", faiss.METRIC_INNER_PRODUCT)
        vectors = rng.normal(size=(2000, 8)).astype(np.float32)
    made.train(vectors)
    spool, lengths, cells = nameless_file(tmp_path), [], []
    with Path(spool.path).open("wb") as file:
        for first, last in itertools.pairwise(BATCHES):
            of_run, of_row = add_run(made, vectors[first:last], first, file)
            lengths.append(of_run)
            cells.append(of_row)
    runs = Runs(file=spool, lengths=np.array(lengths), code_bytes=made.invlists.code_size)
    write_index(made, runs, tmp_path / "ours")
    made.add(vectors)
    (faiss.write_index_binary if is_binary else faiss.write_index)(made, str(tmp_path / "theirs"))

    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert [made.invlists.list_size(cell) for cell in range(16)] == np.bincount(np.concatenate(cells)).tolist()


def test_true_neighbours_are_those_of_all_batches_together() -> None:
    """However the rows are divided; here the cell of a row is its number."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 8)).astype(np.float32)
    found = TrueNeighbours(vectors[:20], 5)
    for first, last in ((0, 3), (3, 400), (400, 500)):
        found.add(vectors[first:last], np.arange(first, last))

    products = vectors[:20] @ vectors.T
    np.testing.assert_array_equal(found.cells, np.argsort(-products, axis=1)[:, :5])


def test_centres_are_majorities_and_no_cell_is_lost() -> None:
    """Each of four clouds gets centres near its own; more cells than distinct codes are all filled."""
    rng = np.random.default_rng(0)
    clouds = rng.integers(0, 256, (4, 32), np.uint8)
    noise = np.packbits(rng.random((400, 256)) < 0.05, axis=1)
    centres = majority_cells(rng.permutation(np.tile(clouds, (100, 1)) ^ noise), cells=20, rounds=8)
    distances = np.bitwise_count(centres[:, None] ^ clouds[None]).sum(axis=2)

    assert set(distances.argmin(axis=1).tolist()) == {0, 1, 2, 3}
    assert distances.min(axis=1).max() < 256 * 0.15
    assert majority_cells(np.tile(clouds, (3, 1)), cells=12, rounds=2).shape == (12, 32)
