"""Quick checks of the shards before a long job: sizes, and SHA-256 of files that have changed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alti2v.dataset.manifest import Shard
from alti2v.dataset.shard_cache import is_cache
from alti2v.errors import DamagedError
from alti2v.records import Progress, ProgressHook, ignore_progress
from alti2v.storage.checksum import file_sha256
from alti2v.storage.directory import missing_file, repair_advice
from alti2v.storage.publish import publish_json, read_json
from alti2v.storage.tar import BLOCK

_SHA_SHOWN = 12  # digits of a SHA-256 that a message shows


def check_shards(dataset: Path, shards: Sequence[Shard]) -> None:
    """Check that each shard and its table exist, and that its size fits the manifest.

    The shards of a dataset behind a URL are skipped: `shard_cache.open_dataset` has checked them.

    Raises:
        DamagedError: A file is missing, or has another size or too few bytes; the message names it.
    """
    if is_cache(dataset):
        return
    for shard in shards:
        for name in (shard.name.data, shard.name.metadata):
            if not (dataset / name).is_file():
                raise missing_file(dataset, name)
        data = dataset / shard.name.data
        size = data.stat().st_size
        if size != shard.bytes:
            raise DamagedError(f"{data} has {size} bytes instead of {shard.bytes}: {repair_advice(dataset)}")
        if shard.samples * 2 * BLOCK > size:  # a picture has a header and at least one block
            raise DamagedError(f"{data} is too small for {shard.samples} pictures: {repair_advice(dataset)}")


def check_contents(
    dataset: Path, shards: Sequence[Shard], *, remembered: Path, progress: ProgressHook = ignore_progress
) -> None:
    """Compare every shard with its SHA-256, unless that was done since the file last changed.

    The shards of a dataset behind a URL are skipped: they are checked each time they are read.

    Args:
        dataset: Folder of the dataset.
        shards: Shards to check.
        remembered: JSON file with the state of each file at its last check.
        progress: Called after each shard that is read.

    Raises:
        DamagedError: A shard has changed; the message names it.
    """
    if is_cache(dataset):
        return
    known = read_json(remembered) if remembered.is_file() else {}
    states = {str(shard.name): _state(dataset, shard) for shard in shards}
    due = [shard for shard in shards if known.get(str(shard.name)) != states[str(shard.name)]]
    total = sum(shard.bytes for shard in due)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        hashes = threads.map(lambda shard: file_sha256(dataset / shard.name.data), due)
        done = itertools.accumulate(shard.bytes for shard in due)
        for shard, sha256, bytes_read in zip(due, hashes, done, strict=True):
            if sha256 != shard.sha256:
                raise DamagedError(
                    f"{dataset / shard.name.data} differs from the manifest (sha256 "
                    f"{sha256[:_SHA_SHOWN]} instead of {shard.sha256[:_SHA_SHOWN]}): "
                    f"{repair_advice(dataset)}"
                )
            progress(Progress(stage="checking shards", done=bytes_read, total=total, unit="bytes"))
    if due:
        publish_json(remembered, {**known, **states})


def remembered_shards(remembered: Path) -> Mapping[str, str]:
    """Return the SHA-256 of the shards that `check_contents` has checked, by name; none if it checked none."""
    try:
        known = read_json(remembered) if remembered.is_file() else {}
    except DamagedError:
        return {}
    states = known.items() if isinstance(known, dict) else ()
    return {name: state[0] for name, state in states if isinstance(state, list) and state}


def _state(dataset: Path, shard: Shard) -> list[str | int]:
    status = (dataset / shard.name.data).stat()
    return [shard.sha256, status.st_size, status.st_mtime_ns, status.st_ino]
