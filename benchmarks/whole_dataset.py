"""Time and memory of `stats`, `verify`, `remove` and opening for training, from the tables of a whole board.

The tables are invented, and there are no pictures: what reading the shards takes beside is not included, and
`remove` is asked for 100 posts that are in no shard, so that it writes its tables again and no shard. Each row
is a process of its own, on a tenth of the shards and on all of them, to show memory that grows with the
dataset. The ceiling of `stats` is pyarrow, reading the same columns without using them. Run:

    python benchmarks/whole_dataset.py [--shards 152] [--tags 5000] [--rows stats reading verify remove open]
        [--tables FOLDER]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support.dataset_tables import ROWS, write_tables

_ROOT = sys.path[0]
_JOBS = ("stats", "reading", "verify", "open", "remove")  # `remove` last: it makes another version

RUN = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import numpy as np
from benchmarks.support.dataset_tables import DROPPED
from benchmarks.support.processes import peak_rss_mb
from alti2v.dataset import remove, stats
from alti2v.dataset.check.verify import verify_dataset
from alti2v.dataset.explore.counts import COLUMNS
from alti2v.dataset.explore.duplicate_groups import batches
from alti2v.dataset.manifest import read_manifest, read_vocabulary
from alti2v.dataset.versions.publish import incomplete
dataset, job = Path(sys.argv[1]), sys.argv[2]
begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
if job == "stats":
    stats.dataset_stats(stats.StatsConfig(dataset=dataset, tags=("tag_7",)))
elif job == "verify":
    found = verify_dataset(dataset).findings
    assert all(finding.what.startswith("is missing") for finding in found), found[:3]
elif job == "remove":
    remove.remove_pictures(dataset, np.arange(1, DROPPED + 1))
elif job == "open":
    manifest = read_manifest(dataset)
    read_vocabulary(dataset)
    incomplete(dataset, manifest.shards)
else:
    for _ in batches(dataset, read_manifest(dataset), COLUMNS):
        pass
seconds = time.perf_counter() - begun_s
print(json.dumps([seconds, time.process_time() - begun_cpu_s, peak_rss_mb()]))
"""


def main() -> None:
    """Write the tables, measure, print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=152)
    parser.add_argument("--tags", type=int, default=5000)
    parser.add_argument("--rows", nargs="+", choices=_JOBS, default=_JOBS)
    parser.add_argument("--tables", type=Path, help="keep the tables in this folder, and use those that it has")
    options = parser.parse_args()
    result: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for shards in (max(1, options.shards // 10), options.shards):
            dataset = (options.tables or Path(folder)) / str(shards)
            if not dataset.exists():
                write_tables(dataset, shards, options.tags)
            for job in sorted(options.rows, key=_JOBS.index):
                command = [sys.executable, "-c", RUN, str(dataset), job, _ROOT]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                seconds, cpu_s, rss_mb = json.loads(done.stdout)
                result[f"{job}_seconds_{shards * ROWS}"] = round(seconds, 2)
                result[f"{job}_cpu_seconds_{shards * ROWS}"] = round(cpu_s, 2)
                result[f"{job}_rss_mb_{shards * ROWS}"] = round(rss_mb)
    for name, value in result.items():
        print(f"{name:32} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
