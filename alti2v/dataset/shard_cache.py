"""A dataset behind a URL as a local folder: shards come when they are read, and go when the room is needed.

The folder is laid out as the dataset is, so that every reader takes it for one. `hold` brings a shard and its
table here and compares them with the manifest's hashes each time: what the local disk damaged is fetched
again. Files appear whole; what was used longest ago goes first when the bound is reached. Processes may share a
folder: at worst they fetch a shard twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from alti2v.dataset.manifest import Shard, read_manifest
from alti2v.errors import DamagedError, UsageError
from alti2v.storage.layout import CACHE_FILE, DATA_DIR, MANIFEST_FILE, METADATA, METADATA_DIR, TAGS_FILE
from alti2v.storage.publish import make_directory, publish_json, read_json, storage_errors
from alti2v.storage.remote import Remote, download, has_folders, is_url, open_remote, size_of, sizes
from alti2v.storage.table import content_sha256, read_table

_LOG = logging.getLogger(__name__)
_GB = 1e9
# A reader has a shard in memory before it asks for the next one; the rest is room for other processes.
_LEAST_SHARDS = 4
_ASKED_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheConfig:
    """Where shards of remote datasets lie on this machine.

    Attributes:
        cache: folder; None for `alti2v` in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache).
        cache_gb: GB (10^9 bytes) of shards of one dataset that lie there at most, above 0.
    """

    cache: Path | None = None
    cache_gb: float = 50.0

    def __post_init__(self) -> None:
        if not self.cache_gb > 0:
            raise UsageError(f"--cache-gb {self.cache_gb} is not above 0")


def open_dataset(address: str | Path, config: CacheConfig | None = None) -> Path:
    """Make a dataset readable as a local folder, and see that all its shards are there.

    Args:
        address: a folder, which is the answer, or a URL that fsspec knows: s3://, gs://, https:// ...
        config: for a URL.

    Raises:
        UsageError: nobody knows this kind of URL, or the bound is below four shards.
        StorageError: the URL cannot be read, or the folder not be written.
        DamagedError: a shard is missing there, or has another size than the manifest says.
    """
    if not is_url(str(address)):
        return Path(address)
    config = config or CacheConfig()
    remote = open_remote(str(address))
    named = hashlib.sha256(remote.url.encode()).hexdigest()[:16]
    folder = (config.cache or _user_cache()) / named
    for directory in (folder, folder / DATA_DIR, folder / METADATA_DIR):
        make_directory(directory)
    for name in (MANIFEST_FILE, TAGS_FILE):
        download(remote, name, folder / name)
    shards = read_manifest(folder).shards
    largest = max((shard.bytes for shard in shards), default=0)
    bound = round(config.cache_gb * _GB)
    if bound < _LEAST_SHARDS * largest:
        raise UsageError(
            f"--cache-gb {config.cache_gb:g} has no room for {_LEAST_SHARDS} shards of {largest / _GB:.3g} GB: "
            f"give at least {_LEAST_SHARDS * largest / _GB:.3g}"
        )
    _check_remote(remote, shards)
    publish_json(folder / CACHE_FILE, {"url": remote.url, "bytes": bound})
    return folder


def is_cache(dataset: Path) -> bool:
    """Whether a dataset's folder is a cache of one behind a URL."""
    return (dataset / CACHE_FILE).is_file()


def hold(dataset: Path, shard: Shard) -> None:
    """See that a shard and its table are in the folder of a remote dataset, undamaged; others are left alone.

    Raises:
        DamagedError: what is behind the URL is not what the manifest says.
        StorageError: it cannot be fetched or stored.
    """
    if not is_cache(dataset):
        return
    settings = read_json(dataset / CACHE_FILE)
    remote = open_remote(settings["url"])
    for name, is_intact in ((shard.name.data, _is_tar_intact), (shard.name.metadata, _is_table_intact)):
        file = dataset / name
        if is_intact(file, shard):
            _touch(file)
            continue
        if file.exists():
            _LOG.warning("%s is damaged: fetched again", file)
        if name == shard.name.data:
            _make_room(dataset / DATA_DIR, settings["bytes"] - shard.bytes, but=file)
        download(remote, name, file)
        if not is_intact(file, shard):
            file.unlink(missing_ok=True)
            raise DamagedError(
                f"{remote.url}/{name} has other bytes than the manifest says (sha256 {shard.sha256[:12]}): "
                "put it there again"
            )
        _touch(file)


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alti2v"


def _check_remote(remote: Remote, shards: tuple[Shard, ...]) -> None:
    """See that every shard and table is there, and every shard of the manifest's size."""
    names = [name for shard in shards for name in (shard.name.data, shard.name.metadata)]
    found = _sizes_of(remote, names)
    for shard in shards:
        data, table = shard.name.data, shard.name.metadata
        for name in (data, table):
            if name not in found:
                raise DamagedError(f"{remote.url}/{name} is missing: put it there again")
        if found[data] != shard.bytes:
            raise DamagedError(
                f"{remote.url}/{data} has {found[data]} bytes instead of {shard.bytes}: put it there again"
            )


def _sizes_of(remote: Remote, names: list[str]) -> Mapping[str, int]:
    if has_folders(remote):
        return {
            f"{folder}/{name}": size
            for folder in (DATA_DIR, METADATA_DIR)
            for name, size in sizes(remote, folder).items()
        }
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as threads:
        asked = zip(names, threads.map(lambda name: size_of(remote, name), names), strict=True)
        return {name: size for name, size in asked if size is not None}


def _is_tar_intact(file: Path, shard: Shard) -> bool:
    try:
        with file.open("rb") as content:
            return (
                file.stat().st_size == shard.bytes
                and hashlib.file_digest(content, "sha256").hexdigest() == shard.sha256
            )
    except FileNotFoundError:
        return False


def _is_table_intact(file: Path, shard: Shard) -> bool:
    try:
        rows = read_table(file, METADATA)
    except (DamagedError, FileNotFoundError):
        return False
    return rows.num_rows == shard.samples and content_sha256(METADATA, rows) == shard.rows_sha256


def _touch(file: Path) -> None:
    with storage_errors(file):
        now_ns = time.time_ns()  # finer than the kernel's own idea of now
        os.utime(file, ns=(now_ns, now_ns))


def _make_room(folder: Path, bound: int, *, but: Path) -> None:
    """Remove what was used longest ago until the rest is within the bound."""
    with storage_errors(folder):
        # What killed processes left behind is among these, and goes like everything that nobody uses.
        found = []
        for file in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process makes room, too
                status = file.stat()
                found.append((status.st_mtime_ns, status.st_size, file))
        total = sum(size for _, size, file in found if file != but)
        for _, size, file in sorted(found):
            if total <= bound:
                return
            if file != but:
                file.unlink(missing_ok=True)
                total -= size
