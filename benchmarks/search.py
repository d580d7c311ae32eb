"""Cost and recall of an index of many codes: build time, size, memory, recall and queries per second.

The codes have 512 bytes and the structure of pictures: few units are often active, a work has units of two
themes, and the pictures of a work differ in some. The reference is an exact search of all codes for the same
queries, which are pictures that are not in the index. Run:

    python benchmarks/search.py [--codes 1500000] [--queries 200]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.storage.table import give_back_memory
from alti2v.vectors.config import Form
from alti2v.vectors.index import Index, nearest
from alti2v.vectors.index_build import NEIGHBOURS, build_index
from alti2v.vectors.vector_file import Origin, Rows, merge_files, write_rows
from benchmarks.support.processes import peak_rss_mb

_BYTES = 512
_PART = 50_000
_PER_WORK = 30  # pictures that share a subject, on average
_THEMES = 400  # subjects that share a theme


def main() -> None:
    """Measure, print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codes", type=int, default=1_500_000)
    parser.add_argument("--queries", type=int, default=200)
    options = parser.parse_args()
    world = _World(options.codes // _PER_WORK)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vectors.parquet"
        _write(file, world, options.codes)
        queries = world.codes(options.queries, seed=10**6)
        del world
        give_back_memory()
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak, see proc(5)
        begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
        index = build_index(file, Path(folder) / "index")
        build_s = time.perf_counter() - begun_s
        build_cpu_s, build_mb = time.process_time() - begun_cpu_s, peak_rss_mb()
        found, search_s = _searched(index, queries, index.looked_into)
        exact, brute_s = _searched(index, queries, index.cells)
        size = sum(part.stat().st_size for part in (Path(folder) / "index").iterdir())
    hits = [len(set(a) & set(b)) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
    result = {
        "codes": options.codes,
        "build_s": round(build_s, 1),
        "build_cpu_s": round(build_cpu_s, 1),
        "build_peak_mb": round(build_mb),
        "size_mb": round(size / 1e6),
        "codes_mb": round(options.codes * _BYTES / 1e6),
        "peak_mb": round(peak_rss_mb()),  # the exact search maps all codes
        "cells": index.cells,
        "looked_into": index.looked_into,
        "stated_recall": index.recall,
        "recall_at_10": round(sum(hits) / (NEIGHBOURS * len(queries)), 4),
        "queries_per_s": round(len(queries) / search_s, 1),
        "brute_force_per_s": round(len(queries) / brute_s, 1),
        "ratio": round(brute_s / search_s, 1),
    }
    for name, value in result.items():
        print(f"{name:20} {value}")
    print(json.dumps(result))


class _World:
    """Generator of codes: themes, works of a theme, pictures of a work."""

    def __init__(self, works: int) -> None:
        rng = np.random.default_rng(0)
        themes, first = _fresh(rng, _THEMES), _random(rng, works)
        one, other = (themes[rng.integers(0, _THEMES, works)] for _ in range(2))
        self._works = _mixed(rng, (one & first) | (other & ~first), np.full(works, 2))

    def codes(self, count: int, *, seed: int) -> np.ndarray:
        """Codes of pictures, (count, 512) uint8; some are near copies of others, some are loosely related."""
        rng = np.random.default_rng([1, seed])
        return _mixed(rng, self._works[rng.integers(0, len(self._works), count)], rng.integers(2, 7, count))


def _fresh(rng: np.random.Generator, count: int) -> np.ndarray:
    """Independent codes whose units are active in 1/2, 1/4 or 1/16 of the pictures."""
    codes = _random(rng, count)
    codes[:, 64:] &= _random(rng, count)[:, 64:]
    codes[:, 192:] &= _random(rng, count)[:, 192:] & _random(rng, count)[:, 192:]
    return codes


def _mixed(rng: np.random.Generator, codes: np.ndarray, halvings: np.ndarray) -> np.ndarray:
    """Codes with a share of 2^-halvings of their bits replaced by random ones."""
    drawn = _random(rng, len(codes))
    for step in range(1, int(halvings.max())):
        drawn &= np.where((halvings > step)[:, None], _random(rng, len(codes)), np.uint8(255))
    return (codes & ~drawn) | (_fresh(rng, len(codes)) & drawn)


def _random(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.frombuffer(rng.bytes(count * _BYTES), np.uint8).reshape(count, _BYTES).copy()


def _write(file: Path, world: _World, count: int) -> None:
    """Write a file of vectors as `alti2v embed --binary` does."""
    origin = Origin(model="none", model_sha256="0" * 64, form=Form.BINARY, width=_BYTES)
    parts = []
    for begin in range(0, count, _PART):
        rows = min(_PART, count - begin)
        parts.append(file.with_name(f"part-{begin}.parquet"))
        keys = [f"{begin + row:012d}" for row in range(rows)]
        write_rows(parts[-1], origin, Rows(keys, [["1girl", "solo"]] * rows, world.codes(rows, seed=begin)))
    merge_files(file, origin, parts)
    for part in parts:
        part.unlink()


def _searched(index: Index, queries: np.ndarray, cells: int) -> tuple[np.ndarray, float]:
    """Search in `cells` cells, exact if these are all; return the rows of the neighbours and the seconds."""
    if index.cells > 1:
        index.faiss_index.nprobe = cells
    begun_s = time.perf_counter()
    rows, _ = nearest(index, queries, NEIGHBOURS)
    return rows, time.perf_counter() - begun_s


if __name__ == "__main__":
    main()
