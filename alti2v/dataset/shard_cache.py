"""Local cache of a dataset behind a URL: shards are downloaded on first use and evicted when space is needed.

The cache folder has the layout of a dataset, so every reader can use it. `hold` downloads a shard and its
table, and compares them with the manifest's hashes each time, so damage of the local disk is repaired. Files
appear whole, and the least recently used ones are evicted first. Processes may share a cache; at worst they
download a shard twice.

A folder is a cache only if `open_dataset` has made it in this process. Nothing in the folder says so, because a
dataset that somebody else published could then claim to be one, and have files deleted and requests sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from alti2v.dataset.manifest import Shard, is_shard_file, read_manifest
from alti2v.errors import DamagedError, UsageError
from alti2v.numerals import short_number
from alti2v.storage.checksum import content_sha256, file_sha256
from alti2v.storage.columns import METADATA
from alti2v.storage.layout import DATA_DIR, MANIFEST_FILE, METADATA_DIR, TAGS_FILE, ShardName
from alti2v.storage.publish import make_directory, storage_errors
from alti2v.storage.remote import Remote, download, has_folders, is_url, open_remote, size_of, sizes
from alti2v.storage.table import read_table

_LOG = logging.getLogger(__name__)
_GB = 1e9
# A reader loads a shard before it requests the next one; the others are for other processes.
_MIN_SHARDS = 4
_PARALLEL_REQUESTS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheConfig:
    """Settings of the cache.

    Attributes:
        cache: Folder of all caches; None for `alti2v` in the user's cache folder ($XDG_CACHE_HOME, else
            ~/.cache).
        cache_gb: Maximum size of one dataset's shards in the cache, GB (10^9 bytes), above 0.
    """

    cache: Path | None = None
    cache_gb: float = 50.0

    def __post_init__(self) -> None:
        if not self.cache_gb > 0:
            raise UsageError(f"--cache-gb {self.cache_gb} is not above 0")


@dataclass(frozen=True, slots=True)
class _Cache:
    """Source of a cache's files, and the maximum size of its shards in bytes."""

    remote: Remote
    max_bytes: int


# The caches that this process has made, by folder. The one piece of process-wide state: see the module's text.
_caches: dict[Path, _Cache] = {}


def open_dataset(address: str | Path, config: CacheConfig | None = None) -> Path:
    """Return a local folder from which a dataset can be read; check that all its shards exist.

    Args:
        address: Folder, which is returned as it is, or a URL that fsspec knows: s3://, gs://, https:// ...
        config: Settings of the cache, for a URL.

    Raises:
        UsageError: The kind of URL is unknown, or the cache is too small for four shards.
        StorageError: The URL cannot be read, or the cache cannot be written.
        DamagedError: A shard behind the URL is missing or has another size than in the manifest.
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
    if bound < _MIN_SHARDS * largest:
        shard = f"{short_number(largest / _GB, digits=3)} GB"
        raise UsageError(
            f"--cache-gb {config.cache_gb:g} cannot hold {_MIN_SHARDS} shards of {shard}: "
            f"give at least {math.ceil(_MIN_SHARDS * largest / _GB * 1000) / 1000:.3f}"
        )
    _check_remote(remote, shards)
    _caches[folder] = _Cache(remote, bound)
    return folder


def is_cache(dataset: Path) -> bool:
    """Return whether this process has made a folder as the cache of a dataset behind a URL."""
    return dataset in _caches


def held(dataset: Path, shards: Iterable[Shard]) -> Iterator[ShardName]:
    """Yield the names of shards; each shard is held when its name is yielded, see `hold`."""
    for shard in shards:
        hold(dataset, shard)
        yield shard.name


def hold(dataset: Path, shard: Shard) -> None:
    """Download a shard and its table unless the cache holds them undamaged; do nothing for a local dataset.

    Raises:
        DamagedError: The files behind the URL are not those of the manifest.
        StorageError: They cannot be downloaded or stored.
    """
    cache = _caches.get(dataset)
    if cache is None:
        return
    remote = cache.remote
    for name, is_intact in ((shard.name.data, _is_tar_intact), (shard.name.metadata, _is_table_intact)):
        file = dataset / name
        if is_intact(file, shard):
            _touch(file)
            continue
        if file.exists():
            _LOG.warning("%s is damaged: downloading it again", file)
        if name == shard.name.data:
            _make_room(dataset / DATA_DIR, cache.max_bytes - shard.bytes, but=file)
        download(remote, name, file)
        if not is_intact(file, shard):
            file.unlink(missing_ok=True)
            raise DamagedError(
                f"{remote.url}/{name} differs from the manifest (sha256 {shard.sha256[:12]}): upload it again"
            )
        _touch(file)


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alti2v"


def _check_remote(remote: Remote, shards: tuple[Shard, ...]) -> None:
    """Check that every shard and table exists, and that every shard has the size in the manifest."""
    names = [name for shard in shards for name in (shard.name.data, shard.name.metadata)]
    found = _sizes_of(remote, names)
    for shard in shards:
        data, table = shard.name.data, shard.name.metadata
        for name in (data, table):
            if name not in found:
                raise DamagedError(f"{remote.url}/{name} is missing: upload it again")
        if found[data] != shard.bytes:
            raise DamagedError(
                f"{remote.url}/{data} has {found[data]} bytes instead of {shard.bytes}: upload it again"
            )


def _sizes_of(remote: Remote, names: list[str]) -> Mapping[str, int]:
    if has_folders(remote):
        return {
            f"{folder}/{name}": size
            for folder in (DATA_DIR, METADATA_DIR)
            for name, size in sizes(remote, folder).items()
        }
    with ThreadPoolExecutor(_PARALLEL_REQUESTS) as threads:
        asked = zip(names, threads.map(lambda name: size_of(remote, name), names), strict=True)
        return {name: size for name, size in asked if size is not None}


def _is_tar_intact(file: Path, shard: Shard) -> bool:
    try:
        return file.stat().st_size == shard.bytes and file_sha256(file) == shard.sha256
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
        now_ns = time.time_ns()  # finer than the timestamp that the kernel would set
        os.utime(file, ns=(now_ns, now_ns))


def _make_room(folder: Path, bound: int, *, but: Path) -> None:
    """Remove the least recently used files until the others are within the bound."""
    with storage_errors(folder):
        found = []
        for file in folder.iterdir():
            if not is_shard_file(f"{DATA_DIR}/{file.name}"):
                continue
            with contextlib.suppress(FileNotFoundError):  # another process evicts files, too
                status = file.lstat()
                found.append((status.st_mtime_ns, status.st_size, file))
        total = sum(size for _, size, file in found if file != but)
        for _, size, file in sorted(found):
            if total <= bound:
                return
            if file != but:
                file.unlink(missing_ok=True)
                total -= size
