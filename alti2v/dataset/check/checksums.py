"""Whether a dataset's shards are what the manifest says, asked before a long job begins."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alti2v.dataset.manifest import Shard
from alti2v.dataset.shard_cache import is_cache
from alti2v.errors import DamagedError
from alti2v.records import Progress, ProgressHook, ignore_progress
from alti2v.storage.publish import publish_json, read_json

_SHA_SHOWN = 12  # digits of a SHA-256 that a message shows


def check_shards(dataset: Path, shards: Sequence[Shard]) -> None:
    """See that every shard and its table are there, and the shard of the size that the manifest says.

    Shards behind a URL were looked at when it was opened.

    Raises:
        DamagedError: one is not; the message names it.
    """
    if is_cache(dataset):
        return
    for shard in shards:
        data, table = dataset / shard.name.data, dataset / shard.name.metadata
        for file in (data, table):
            if not file.is_file():
                raise DamagedError(f"{file} is missing: run `alti2v verify {dataset} --repair`")
        size = data.stat().st_size
        if size != shard.bytes:
            raise DamagedError(
                f"{data} has {size} bytes instead of {shard.bytes}: run `alti2v verify {dataset} --repair`"
            )


def check_contents(
    dataset: Path, shards: Sequence[Shard], *, remembered: Path, progress: ProgressHook = ignore_progress
) -> None:
    """See that every shard has the bytes that the manifest says; once, and again when a file has changed.

    Shards behind a URL are looked at each time they are read.

    Args:
        dataset: its folder.
        shards: which ones.
        remembered: file that says which shards were looked at, and the state of the file then.
        progress: told after each shard that is read.

    Raises:
        DamagedError: one has not; the message names it.
    """
    if is_cache(dataset):
        return
    known = read_json(remembered) if remembered.is_file() else {}
    states = {str(shard.name): _state(dataset, shard) for shard in shards}
    due = [shard for shard in shards if known.get(str(shard.name)) != states[str(shard.name)]]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = threads.map(lambda shard: _sha256(dataset / shard.name.data), due)
        done = itertools.accumulate(shard.bytes for shard in due)
        for shard, sha256, seen in zip(due, found, done, strict=True):
            if sha256 != shard.sha256:
                raise DamagedError(
                    f"{dataset / shard.name.data} has other bytes than the manifest says (sha256 "
                    f"{sha256[:_SHA_SHOWN]} instead of {shard.sha256[:_SHA_SHOWN]}): "
                    f"run `alti2v verify {dataset} --repair`"
                )
            total = sum(shard.bytes for shard in due)
            progress(Progress(stage="checking shards", done=seen, total=total, unit="bytes"))
    if due:
        publish_json(remembered, {**known, **states})


def _state(dataset: Path, shard: Shard) -> list[str | int]:
    status = (dataset / shard.name.data).stat()
    return [shard.sha256, status.st_size, status.st_mtime_ns, status.st_ino]


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
