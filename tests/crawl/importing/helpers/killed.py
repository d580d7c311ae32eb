"""Imports in a process that is killed at a chosen call, and sources of every form."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import webdataset

from alti2v.storage.tar import json_index, members
from tests.crawl.helpers.killed import SIGNAL_AT_CALL
from tests.crawl.importing.helpers.sources import md5, picture, tar, write

COUNT = 60

# Runs an import, and lets a signal hit it before or after the n-th call of a function that touches the disk.
SCRIPT = (
    """
import sys
from pathlib import Path
from alti2v.crawl.importing import reading
from alti2v.crawl.importing.importer import ImportConfig, import_pictures

reading._BATCH_ITEMS = 8
store, source, pictures, reference, module, owner, name, when, calls, kind = sys.argv[1:]
"""
    + SIGNAL_AT_CALL
    + """
is_url = pictures.startswith("http:")
import_pictures(ImportConfig(store=Path(store), sources=(Path(source),), shard_bytes=20_000,
    pictures=Path(pictures) if pictures and not is_url else None, by_reference=bool(reference),
    pictures_url=pictures if is_url else None, allow_private=True, rate=99))
"""
)

Point = tuple[str, str, str, str, int]


def interrupted(
    store: Path,
    source: Path,
    point: Point,
    *,
    pictures: Path | str | None = None,
    by_reference: bool = False,
) -> int:
    """Import until a kill at a point; return the exit status, 0 if the point was not reached."""
    module, owner, name, when, calls = point
    reference = "yes" if by_reference else ""
    arguments = [str(store), str(source), str(pictures or ""), reference, module, owner, name, when, str(calls)]
    command = [sys.executable, "-c", SCRIPT, *arguments, str(int(signal.SIGKILL))]
    return subprocess.run(command, check=False, timeout=60).returncode


def folder(root: Path) -> tuple[Path, Path | None]:
    """Pictures with captions, two of them with the same bytes, one damaged."""
    files: dict[str, bytes | str] = {}
    for number in range(COUNT):
        files |= {f"{number:02}.jpg": picture(number or 1), f"{number:02}.txt": f"1girl, tag {number % 7}"}
    return write(root / "folder", {**files, "99.jpg": picture(99)[:300], "99.txt": "1girl"}), None


def gallery_dl(root: Path) -> tuple[Path, Path | None]:
    """Pictures with the metadata of gallery-dl."""
    files: dict[str, bytes | str | dict[str, object]] = {}
    for number in range(COUNT):
        facts = {"category": "danbooru", "subcategory": "tag", "id": 500 - number, "tags": ["1girl"]}
        files |= {
            f"{number}.jpg": picture(number),
            f"{number}.jpg.json": {**facts, "md5": md5(picture(number))},
        }
    return write(root / "gallery", files), None


def table(root: Path) -> tuple[Path, Path | None]:
    """A table, with pictures of most rows in tar files."""
    for number in range(3):
        some = {f"{each}.jpg": picture(each) for each in range(number + 1, COUNT + 1, 3)}
        path = tar(root / "images" / f"{number}.tar", some)
        path.with_suffix(".json").write_text(json.dumps(json_index(path, list(members(path)))))
    rows = [{"id": number + 1, "tags": f"1girl tag_{number % 5}"} for number in range(COUNT + 10)]
    pd.DataFrame(rows).to_parquet(root / "index.parquet")
    return root / "index.parquet", root / "images"


def wds(root: Path) -> tuple[Path, Path | None]:
    """A WebDataset."""
    (root / "wds").mkdir(parents=True)
    with webdataset.ShardWriter(f"{root}/wds/%05d.tar", maxcount=20, verbose=0) as writer:
        for number in range(COUNT):
            writer.write({"__key__": f"{number:04}", "jpg": picture(number), "txt": f"1girl, tag {number % 3}"})
    return root / "wds", None


SOURCES: Mapping[str, Callable[[Path], tuple[Path, Path | None]]] = {
    "folder": folder,
    "gallery-dl": gallery_dl,
    "table": table,
    "webdataset": wds,
}
