"""An earlier planner, which keeps all columns in memory, on the tables of `board_tables`; digests of plans."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from alti2v.dataset.write.shard import SHARD_PLAN
from benchmarks.support.board_tables import SIZES

# Written for commit ab098bb, one of the last that planned in memory; it runs with the modules of that commit.
_PROGRAM = """
import json, shutil, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from alti2v.dataset.build import WORK_DIR, build_shards
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.manifest import ImageRecipe
from alti2v.dataset.prepare import PREPARED, Chunk
from alti2v.dataset.survey import made_with
from alti2v.storage.layout import HASH_COLUMNS, POSTS, THUMBNAIL_COLUMN
from alti2v.storage.table import write_arrow_table
store, dataset, job = Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
ours = dataset.with_name("earlier-store")
if job == "prepare":
    (ours / "posts").mkdir(parents=True)
    shutil.copy(store / "store.json", ours)
    shutil.copy(store / "tags.parquet", ours)
    for part in sorted((store / "posts").iterdir()):  # today's tables have more columns
        table = pq.read_table(part, columns=[column.name for column in POSTS.columns])
        write_arrow_table(ours / "posts" / part.name, POSTS, table)
    work, (in_tar, in_chunk, size) = dataset / WORK_DIR, map(int, sys.argv[5].split())
    work.mkdir(parents=True)
    hashes = np.load(dataset.parent / "hashes.npy", mmap_mode="r")
    thumbnails = np.load(dataset.parent / "thumbnails.npy", mmap_mode="r")
    facts = {"store": ours, "recipe": ImageRecipe(), "made_with": repr(sorted(made_with().items()))}
    for tar in range(-(-len(hashes) // in_tar)):
        end = min(len(hashes), (tar + 1) * in_tar)
        for first in range(tar * in_tar, end, in_chunk):
            at = np.arange(first, min(first + in_chunk, end))
            ids, count = at * 3 + 1, len(at)
            pictures = tuple((post, row % in_tar * size, size) for post, row in zip(ids.tolist(), at.tolist()))
            chunk = Chunk(work=work, tar=tar, pictures=pictures, **facts)
            (work / chunk.pixels).touch()
            columns = {
                "id": pa.array(ids), "reason": pa.array([""] * count), "crc32": pa.array(ids),
                "sha256": pa.array([f"{post:064x}" for post in ids]),
                "chunk_offset": pa.array(np.arange(count) * 12_000), "size": pa.array(np.full(count, 12_000)),
                "source_width": pa.array(np.full(count, 1000, np.int32)),
                "source_height": pa.array(np.full(count, 1230, np.int32)),
                THUMBNAIL_COLUMN.name: pa.array([each.tobytes() for each in thumbnails[at]], pa.binary()),
            }
            for column, values in zip(HASH_COLUMNS, hashes[at].T.copy()):
                columns[column.name] = pa.array(values.view(np.int64))
            write_arrow_table(work / chunk.table, PREPARED, pa.table(columns))
else:
    begun_s = time.perf_counter()
    build_shards(BuildConfig(store=ours, dataset=dataset, dry_run=True, workers=2, **json.loads(sys.argv[5])))
    status = Path("/proc/self/status").read_text()
    print(json.dumps({
        "seconds": round(time.perf_counter() - begun_s, 1), "cpu_seconds": round(time.process_time(), 1),
        "peak_rss_mb": round(int(status.partition("VmHWM:")[2].split()[0]) / 1024),
    }))
"""


def prepare_earlier(
    checkout: Path, store: Path, dataset: Path, hashes: np.ndarray, thumbnails: np.ndarray
) -> None:
    """Write the working files that a killed build of an earlier version leaves.

    Args:
        checkout: Working tree of commit ab098bb.
        store: Folder of the tables.
        dataset: Folder to write.
        hashes: Hashes of the pictures, see `board_tables.appearances`.
        thumbnails: Their thumbnails.
    """
    dataset.mkdir()
    np.save(dataset.parent / "hashes.npy", hashes)
    np.save(dataset.parent / "thumbnails.npy", thumbnails)
    _run(checkout, store, dataset, "prepare", " ".join(map(str, SIZES)))


def plan_earlier(checkout: Path, store: Path, dataset: Path, options: dict[str, int]) -> dict[str, float]:
    """Plan with an earlier version; return seconds, processor time and peak memory."""
    measured: dict[str, float] = json.loads(_run(checkout, store, dataset, "plan", json.dumps(options)))
    return measured


def _run(checkout: Path, store: Path, dataset: Path, *arguments: str) -> str:
    command = [sys.executable, "-c", _PROGRAM, *map(str, (checkout, store, dataset)), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def plan_digest(work: Path) -> str:
    """SHA-256 over posts, labels and groups of all planned shards, in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted(work.rglob("*.parquet")):
        if (pq.read_schema(file).metadata or {}).get(b"alti2v.table") != SHARD_PLAN.name.encode():
            continue
        table = pq.read_table(file, columns=["id", "labels", "group_id"]).combine_chunks()
        labels = table["labels"].combine_chunks()
        for values in (table["id"], labels.offsets, labels.flatten(), table["group_id"]):
            digest.update(np.ascontiguousarray(values.to_numpy()).tobytes())
        digest.update(file.name.encode())
    return digest.hexdigest()
