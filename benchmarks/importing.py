"""Cost of `alti2v import`: a folder and tar files beside bare loops over the same pictures; rows of a table.

Beside the import of a folder, a bare loop reads each picture, computes its MD5, writes it to another
folder, and syncs the disk at the end. Beside the import of tar files by reference, one reads each picture
and computes its MD5. The import also reads captions, checks that pictures are whole, and keeps a ledger.
All run in turns, in processes of their own, on files that were just written. Tables have rows without
pictures; memory should not depend on their number. Run:

    python benchmarks/importing.py [--pictures 4000] [--kilobytes 120] [--rows 200000 1000000] [--turns 3]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support.loopback_board import noisy_jpeg

_GROUP_ROWS = 50_000
_TAR_PICTURES = 1_000
_WORDS = [f"tag_{number:04}" for number in range(5_000)]


def main() -> None:
    """Measure; print a table and, as the last line, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=4_000)
    parser.add_argument("--kilobytes", type=int, default=120)
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000, 1_000_000])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where files are written; default: a temporary folder")
    parser.add_argument("--alone", nargs=3, metavar=("WORK", "SOURCE", "TARGET"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone is not None:
        print(json.dumps(_alone(*options.alone)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        results = _folder(Path(folder), options)
        for rows in options.rows:
            results[f"{rows:,} rows"] = _rows(Path(folder), rows)
    for name, result in results.items():
        print(f"{name:16}" + "  ".join(f"{key} {value}" for key, value in result.items()))
    print(json.dumps(results))


def _folder(folder: Path, options: argparse.Namespace) -> dict[str, Mapping[str, float]]:
    """Import the same pictures from a folder and from tar files."""
    source, tars = folder / "source", folder / "tars"
    source.mkdir()
    tars.mkdir()
    picture = noisy_jpeg(options.kilobytes)
    for number in range(options.pictures):
        note = f"{number:08}".encode()
        path = source / f"{number}.jpg"
        path.write_bytes(picture[:2] + b"\xff\xfe\x00\x0a" + note + picture[2:])
        path.with_suffix(".txt").write_text(f"1girl, {_WORDS[number % 5_000]}, solo")
    for first in range(0, options.pictures, _TAR_PICTURES):
        with tarfile.open(tars / f"{first:06}.tar", "w") as tar:
            for number in range(first, min(first + _TAR_PICTURES, options.pictures)):
                tar.add(source / f"{number}.jpg", f"{number}.jpg")
                tar.add(source / f"{number}.txt", f"{number}.txt")
    os.sync()
    megabytes = options.pictures * len(picture) / 1e6
    return {
        "folder": _compared("copy", "import", source, folder, megabytes, turns=options.turns),
        "tars": _compared("read", "refer", tars, folder, megabytes, turns=options.turns),
    }


def _compared(
    bare: str, work: str, source: Path, folder: Path, megabytes: float, *, turns: int
) -> Mapping[str, float]:
    """Run a bare loop and an import in turns."""
    taken: dict[str, list[Mapping[str, float]]] = {bare: [], work: []}
    for turn in range(turns):
        for one, results in taken.items():
            results.append(_measured(one, source, folder / f"{one}{turn}"))
    seconds = {one: statistics.median(each["seconds"] for each in results) for one, results in taken.items()}
    cpu_s = {one: statistics.median(each["cpu_s"] for each in results) for one, results in taken.items()}
    return {
        f"{bare} MB/s": round(megabytes / seconds[bare], 1),
        f"{work} MB/s": round(megabytes / seconds[work], 1),
        "ratio": round(seconds[bare] / seconds[work], 2),
        f"{bare} cpu_s": round(cpu_s[bare], 1),
        f"{work} cpu_s": round(cpu_s[work], 1),
        "peak_mb": max(one["peak_mb"] for one in taken[work]),
    }


def _rows(folder: Path, rows: int) -> Mapping[str, float]:
    """Import a flat index table like those of deepghs; every 50,000 rows, all but the id is repeated."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, table = random.Random(0), folder / f"{rows}.parquet"
    facts = [
        {
            "id": 0,
            "tags": f" {' '.join(sorted(set(rng.choices(_WORDS, k=30))))} ",
            "md5": f"{rng.getrandbits(128):032x}",
            "rating": "general",
            "width": 850,
            "height": 1_200,
            "mimetype": "image/jpeg",
            "file_url": f"https://board.example/images/1/{rng.getrandbits(128):032x}.jpg",
            "created_at": "Sat Jan 02 02:50:56 +0200 2010",
        }
        for _ in range(_GROUP_ROWS)
    ]
    group = pa.Table.from_pylist(facts)
    with pq.ParquetWriter(table, group.schema) as writer:
        for first in range(0, rows, _GROUP_ROWS):
            ids = pa.array(range(first + 1, first + 1 + min(_GROUP_ROWS, rows - first)))
            writer.write_table(group.slice(0, len(ids)).set_column(0, "id", ids))
    return _measured("import", table, folder / f"store{rows}")


def _measured(work: str, source: Path, target: Path) -> Mapping[str, float]:
    command = [sys.executable, __file__, "--alone", work, str(source), str(target)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: Mapping[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _alone(work: str, source: str, target: str) -> Mapping[str, float]:
    """Do one work in this process, which does nothing else."""
    begun_s = time.perf_counter()
    works = {"copy": _copy, "read": _read, "import": _import, "refer": partial(_import, by_reference=True)}
    works[work](Path(source), Path(target))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": round(time.perf_counter() - begun_s, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1e3),
    }


def _copy(source: Path, target: Path) -> None:
    target.mkdir()
    for path in sorted(source.glob("*.jpg")):
        content = path.read_bytes()
        hashlib.md5(content, usedforsecurity=False).hexdigest()
        (target / path.name).write_bytes(content)
    os.sync()


def _read(source: Path, target: Path) -> None:
    del target
    for path in sorted(source.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is not None and member.name.endswith(".jpg"):
                    hashlib.md5(file.read(), usedforsecurity=False).hexdigest()


def _import(source: Path, target: Path, *, by_reference: bool = False) -> None:
    from alti2v.crawl.importing.importer import ImportConfig, import_pictures

    import_pictures(ImportConfig(store=target, sources=(source,), by_reference=by_reference))


if __name__ == "__main__":
    main()
