"""Cost of planning for a whole board: `build-shards --dry-run` on millions of posts, near-duplicates included.

The store's tables are synthetic (36 draws per post from 200,000 tags, frequencies falling as a power of the
rank), and so are the working files that a build leaves when all its pictures are prepared: one picture in ten
is a copy of an earlier one with up to six bits of its hash changed. Measured in a process of its own: the whole
command, which reads the tables, finds the groups, plans, and writes the table of every shard. The near pairs of
a sample are checked by brute force over all its pairs. Run:

    python benchmarks/planning.py [--posts 1520000] [--tables FOLDER]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.dataset.build import build_shards
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.plan.near_duplicates import NEAR_BITS, near_pairs
from alti2v.storage.layout import WORK_DIR
from benchmarks.support.board_tables import appearances, write_prepared, write_tables
from benchmarks.support.processes import peak_rss_mb

_SAMPLE = 20_000


def main() -> None:
    """Make the tables, plan in a process of its own, print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=1_520_000)
    parser.add_argument("--tables", type=Path, help="keep the tables in this folder, and use those that it has")
    parser.add_argument("--measure", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(_measure(options.measure)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) if options.tables is None else options.tables
        if not (folder / "dataset").exists():
            write_tables(folder / "store", options.posts)
            hashes, thumbnails = appearances(options.posts)
            write_prepared(folder / "dataset" / WORK_DIR, folder / "store", hashes, thumbnails)
            _check_pairs(hashes[:_SAMPLE, 0])
            del hashes, thumbnails
        done = subprocess.run(
            [sys.executable, __file__, "--measure", str(folder)], check=True, stdout=subprocess.PIPE, text=True
        )
    result = {"posts": options.posts, **json.loads(done.stdout)}
    for name, value in result.items():
        print(f"{name:24} {value}")
    print(json.dumps(result))


def _measure(folder: Path) -> dict[str, float | str]:
    begun_s = time.perf_counter()
    report = build_shards(
        BuildConfig(
            store=folder / "store",
            dataset=folder / "dataset",
            top_tags=5000,
            test=20_000,
            validation=10_000,
            shard_samples=10_000,
            dry_run=True,
        )
    )
    return {
        "seconds": round(time.perf_counter() - begun_s, 1),
        "cpu_seconds": round(time.process_time(), 1),
        "peak_rss_mb": round(peak_rss_mb()),
        "shards": report.shards,
        "alike": report.alike,
        "plan_hash": report.plan_hash,
    }


def _check_pairs(hashes: np.ndarray) -> None:
    """Find the near pairs of a sample in both ways."""
    first, second = near_pairs(hashes, hashes, near_bits=NEAR_BITS)
    found = {frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}
    wanted = set()
    for row in range(len(hashes)):
        near = np.flatnonzero(np.bitwise_count(hashes[row + 1 :] ^ hashes[row]) <= NEAR_BITS) + row + 1
        wanted |= {frozenset((row, other)) for other in near.tolist() if hashes[other] != hashes[row]}
    # The first row represents all rows with the same hash.
    _, first_row, number = np.unique(hashes, return_index=True, return_inverse=True)
    assert found == {frozenset(int(first_row[number[row]]) for row in pair) for pair in wanted}


if __name__ == "__main__":
    main()
