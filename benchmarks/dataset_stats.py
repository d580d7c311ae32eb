"""Time and memory of `alti2v stats` on invented tables of 1.5 M pictures.

Each run is a process of its own, on a tenth of the shards and on all of them, to show memory that grows with
the dataset. The ceiling is pyarrow, reading the same columns without using them. Run:

    python benchmarks/dataset_stats.py [--shards 152] [--tags 5000]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from alti2v.dataset.manifest import Manifest, Shard, write_manifest, write_vocabulary
from alti2v.pictures.recipe import ImageRecipe
from alti2v.records import Category, Tag
from alti2v.storage.layout import METADATA, METADATA_DIR, ShardName, member_key
from alti2v.storage.table import write_arrow_table

_ROOT = str(Path(__file__).resolve().parent.parent)
ROWS = 10_000
TAGS_EACH = 32

RUN = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from benchmarks.support.processes import peak_rss_mb
from alti2v.dataset import stats
from alti2v.dataset.explore.duplicate_groups import batches
from alti2v.dataset.manifest import read_manifest
dataset, job = Path(sys.argv[1]), sys.argv[2]
begun_s = time.perf_counter()
if job == "stats":
    stats.dataset_stats(stats.StatsConfig(dataset=dataset, tags=("tag_7",)))
else:
    columns = (*stats._FACTS, *stats._TAG_COLUMNS)
    for _ in batches(dataset, read_manifest(dataset), columns):
        pass
seconds = time.perf_counter() - begun_s
print(json.dumps([seconds, peak_rss_mb()]))
"""


def main() -> None:
    """Write the tables, measure, print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=152)
    parser.add_argument("--tags", type=int, default=5000)
    options = parser.parse_args()
    result: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for shards in (max(1, options.shards // 10), options.shards):
            dataset = _write(Path(folder) / str(shards), shards, options.tags)
            for job in ("stats", "reading"):
                command = [sys.executable, "-c", RUN, str(dataset), job, _ROOT]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                seconds, rss_mb = json.loads(done.stdout)
                result[f"{job}_seconds_{shards * ROWS}"] = round(seconds, 2)
                result[f"{job}_rss_mb_{shards * ROWS}"] = round(rss_mb)
    for name, value in result.items():
        print(f"{name:32} {value}")
    print(json.dumps(result))


def _write(dataset: Path, shards: int, tags: int) -> Path:
    """Write a dataset without pictures: invented rows, one in twenty of which duplicates the one before."""
    (dataset / METADATA_DIR).mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = pa.array([f"tag_{index}" for index in range(tags)])
    rates = 1 / np.arange(1, tags + 1)
    written = []
    for number in range(shards):
        name = ShardName("train", number, shards)
        labels = rng.choice(tags, (ROWS, TAGS_EACH), p=rates / rates.sum()).astype(np.int32)
        labels.sort(axis=1)
        ids = np.arange(number * ROWS + 1, (number + 1) * ROWS + 1)
        write_arrow_table(dataset / name.metadata, METADATA, _rows(ids, labels, names))
        written.append(Shard(name=name, samples=ROWS, bytes=0, sha256="", rows_sha256=""))
    manifest = Manifest(
        plan_hash="0",
        image=ImageRecipe(),
        shards=tuple(written),
        split_rule="",
        outcomes={"stored": shards * ROWS},
        made_with={},
    )
    write_manifest(dataset, manifest)
    vocabulary = [Tag(name=name, category=Category.GENERAL, count=1) for name in names.to_pylist()]
    write_vocabulary(dataset, tuple(vocabulary))
    return dataset


def _rows(ids: np.ndarray, labels: np.ndarray, names: pa.Array) -> pa.Table:
    offsets = pa.array(np.arange(len(ids) + 1, dtype=np.int32) * labels.shape[1])
    empty = pa.ListArray.from_arrays(pa.array(np.zeros(len(ids) + 1, np.int32)), pa.array([], pa.string()))
    text = pa.array([f"https://www.host{number % 997}.example/{number}" for number in ids.tolist()])
    columns = {
        "id": pa.array(ids),
        "key": pa.array([member_key(number) for number in ids.tolist()]),
        "labels": pa.ListArray.from_arrays(offsets, pa.array(labels.ravel())),
        "group_id": pa.array(np.where(ids % 20 == 0, ids - 1, ids)),
        "tags_general": pa.ListArray.from_arrays(offsets, names.take(pa.array(labels.ravel()))),
        "rating": pa.array(["general"] * len(ids)),
        "created_at": pa.array(1_262_304_000 + ids * 300, pa.timestamp("s", tz="UTC")),
    }
    for column in METADATA.columns:
        if column.name not in columns:
            filled = {
                "list<string>": empty,
                "string": text,
                "int32": pa.array(np.full(len(ids), 850, np.int32)),
                "int64": pa.array(ids),
            }
            columns[column.name] = filled[column.type]
    return pa.table(columns)


if __name__ == "__main__":
    main()
