"""Cost of planning for a whole board: `build-shards --dry-run` on millions of posts, near-duplicates included.

The store's tables are synthetic (36 draws per post from 200,000 tags, frequencies falling as a power of the
rank), and so are the working files that a build leaves when all its pictures are prepared: one picture in ten
is a copy of an earlier one with up to six bits of its hash changed. Measured in a separate process: the whole
command, which reads the tables, finds the groups, plans, and writes the table of every shard. The near pairs of
a sample are checked by brute force over all its pairs. With --write, the shards are "written", too: by two
workers that invent receipts, to measure the first process of a build from then to the published version. Run:

    python benchmarks/planning.py [--posts 1520000] [--tables FOLDER] [--write]
        [--beside CHECKOUT [--rounds 2]]

With --beside, the planner of commit ab098bb, which keeps all columns in memory, plans the same store in turn
(`git worktree add CHECKOUT ab098bb`); both plans have to be equal: the same posts, labels and groups in the
same shards. Of each planner the round with the least processor time is printed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.dataset import build, planned_version
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.manifest import Manifest, Shard
from alti2v.dataset.plan.near_duplicates import NEAR_BITS
from alti2v.dataset.plan.near_hashes import near_pairs
from alti2v.dataset.planned_version import PlannedVersion, write_and_publish
from alti2v.dataset.versions.transaction import DatasetWriter
from alti2v.dataset.write.shard import ShardSpec
from alti2v.storage.layout import WORK_DIR
from alti2v.storage.table import row_count
from benchmarks.support.board_tables import appearances, write_prepared, write_tables
from benchmarks.support.planner_in_memory import plan_digest, plan_earlier, prepare_earlier
from benchmarks.support.processes import peak_rss_mb

_SAMPLE = 20_000
_OPTIONS = {"top_tags": 5000, "test": 20_000, "validation": 10_000, "shard_samples": 10_000}


def main() -> None:
    """Make the tables, plan in a separate process, print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=1_520_000)
    parser.add_argument("--tables", type=Path, help="keep the tables in this folder, and use those that it has")
    parser.add_argument("--write", action="store_true", help="also measure the first process of a build")
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="working tree of commit ab098bb")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--measure", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(_measure(options.measure, is_written=options.write)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) if options.tables is None else options.tables
        if not (folder / "dataset").exists():
            write_tables(folder / "store", options.posts)
            hashes, thumbnails = appearances(options.posts)
            write_prepared(folder / "dataset" / WORK_DIR, folder / "store", hashes, thumbnails)
            _check_pairs(hashes[:_SAMPLE, 0])
            del hashes, thumbnails
        if options.beside is not None and not (folder / "earlier").exists():
            prepare_earlier(options.beside, folder / "store", folder / "earlier", *appearances(options.posts))
        command = [sys.executable, __file__, "--measure", str(folder), *(["--write"] if options.write else [])]
        rounds, earlier = [], []
        for _ in range(options.rounds):
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rounds.append(json.loads(done.stdout))
            if options.beside is not None:
                earlier.append(plan_earlier(options.beside, folder / "store", folder / "earlier", _OPTIONS))
        if options.beside is not None:
            digests = [plan_digest(folder / name / WORK_DIR) for name in ("dataset", "earlier")]
            assert digests[0] == digests[1], digests
    result = {"posts": options.posts, **min(rounds, key=_cpu_s)}
    if earlier:
        result |= {f"earlier_{name}": value for name, value in min(earlier, key=_cpu_s).items()}
        result["plan_digest_of_both"] = digests[0]
    for name, value in result.items():
        print(f"{name:24} {value}")
    print(json.dumps(result))


def _cpu_s(measured: Mapping[str, float]) -> float:
    return measured["cpu_seconds"]


def _measure(folder: Path, *, is_written: bool) -> dict[str, float | str]:
    begun_s, peaks = time.perf_counter(), list[float]()

    def write(plan: PlannedVersion) -> Manifest:
        peaks.append(peak_rss_mb())
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak, see proc(5)
        return write_and_publish(plan)

    build.write_and_publish = write
    planned_version.build_shard = _invented_receipt
    DatasetWriter.finish = lambda _: None  # type: ignore[method-assign] # the tables are used again
    report = build.build_shards(
        BuildConfig(
            store=folder / "store",
            dataset=folder / "dataset",
            **_OPTIONS,
            dry_run=not is_written,
            workers=2,
        )
    )
    writing = {"writing_peak_mb": round(peak_rss_mb())} if is_written else {}
    for file in (folder / "dataset").iterdir():
        if file.is_file():
            file.unlink()  # what a published version consists of, beside its shards
    return {
        "seconds": round(time.perf_counter() - begun_s, 1),
        "cpu_seconds": round(time.process_time(), 1),
        "peak_rss_mb": round(max([*peaks] or [peak_rss_mb()])),
        **writing,
        "shards": report.shards,
        "alike": report.alike,
        "plan_hash": report.plan_hash,
    }


def _invented_receipt(spec: ShardSpec) -> Shard:
    """Return the receipt of a shard with the samples of its plan, which is not written."""
    rows = row_count(Path(spec.work) / spec.plan_file)
    return Shard(name=spec.name, samples=rows, bytes=0, sha256="0" * 64, rows_sha256="0" * 64)


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
