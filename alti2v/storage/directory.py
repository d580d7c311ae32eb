"""Kinds of directories (store, dataset, run), their description files, and their locks.

A description is a JSON object with `kind`, `version` and the fields of its owner.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from alti2v.errors import Alti2vError, DamagedError, UsageError
from alti2v.storage.documents import require_version
from alti2v.storage.layout import (
    FORMAT_VERSION,
    MANIFEST_FILE,
    OWN_NAMES,
    RUN_FILE,
    STORE_FILE,
    UNDESCRIBED_NAMES,
)
from alti2v.storage.publish import make_directory, publish_json, read_json, storage_errors

_LOCK_TRIES = 5
_LOCK_BYTES = 32
_LOCK_CONTENT = re.compile(rb"(\d+\n?)?")  # a hard link could name any file to truncate


class DirectoryKind(StrEnum):
    """Kind of a directory."""

    STORE = "store"
    DATASET = "dataset"
    RUN = "run"


DESCRIPTION_FILES: Mapping[DirectoryKind, str] = {
    DirectoryKind.STORE: STORE_FILE,
    DirectoryKind.DATASET: MANIFEST_FILE,
    DirectoryKind.RUN: RUN_FILE,
}


def kind_of(path: Path) -> DirectoryKind | None:
    """Return the kind of a directory by its description file; None if it has none."""
    return next((kind for kind, file in DESCRIPTION_FILES.items() if (path / file).exists()), None)


def described_kind(path: Path) -> DirectoryKind | None:
    """Return the kind that a directory's description states; None if it has none, or one of another program."""
    kind = kind_of(path)
    try:
        value = None if kind is None else read_json(path / DESCRIPTION_FILES[kind])
    except (DamagedError, OSError):
        return None
    return kind if isinstance(value, dict) and value.get("kind") == kind else None


def claim_directory(path: Path, kind: DirectoryKind) -> bool:
    """Create a directory of this kind, or accept an existing one.

    Returns:
        True if it is a directory of this kind already; False if it is new, empty, or holds only what a killed
        first run left there.

    Raises:
        UsageError: It is something else.
        StorageError: It cannot be created.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file: give a folder for the {kind}")
    found = kind_of(path)
    if path.is_dir():
        require_plain_files(path)
    if found is kind:
        return True
    if found is not None:
        raise UsageError(f"{path} is a {found}, not a {kind}: choose another folder")
    if path.is_dir() and any(_is_foreign(entry.name) for entry in path.iterdir()):
        missing = DESCRIPTION_FILES[kind]
        raise UsageError(f"{path} is not empty and not a {kind}: it has no {missing}: choose another folder")
    make_directory(path)
    return False


def read_description(path: Path, kind: DirectoryKind) -> dict[str, Any]:
    """Read the description of a directory.

    Raises:
        UsageError: There is no such directory, or it is something else.
        VersionError: A program of another format version wrote it.
        DamagedError: The description cannot be read.
    """
    found = kind_of(path)
    if found is not kind:
        what = (
            "does not exist"
            if not path.exists()
            else f"is not a {kind}: it has no {DESCRIPTION_FILES[kind]}"
            if found is None
            else f"is a {found}, not a {kind}"
        )
        raise UsageError(f"{path} {what}: give the folder of a {kind}")
    require_plain_files(path)
    file = path / DESCRIPTION_FILES[kind]
    description = read_json(file)
    if not isinstance(description, dict) or description.get("kind") != kind:
        raise DamagedError(f"{file} does not describe a {kind}: restore it from a copy")
    require_version(path, description.get("version"))
    return description


def require_plain_files(path: Path, *, any_name: bool = False) -> None:
    """Refuse a folder in which one of our names is a link, a pipe or a device.

    Such a folder may come from somebody else. A symbolic link would make this program read, overwrite or
    delete files elsewhere; a pipe or a device would be waited for, or read without an end. The folder itself
    may be a link: the user has named it. In the cache of the Hugging Face hub a folder consists of links into
    the `blobs` beside it (huggingface_hub, "Understand caching"): these are followed.

    Args:
        path: The folder.
        any_name: True to check all names directly in the folder, as that of a model has other people's names.

    Raises:
        UsageError: There is another link, a pipe, a socket or a device.
    """
    blobs = _hub_blobs(path)
    with storage_errors(path), os.scandir(path) as entries:
        for entry in entries:
            if entry.name in OWN_NAMES:
                _require_plain(entry, blobs)
            elif any_name:
                _require_kind(entry, blobs)


def _hub_blobs(folder: Path) -> Path | None:
    """Return the folder of the files of a repository in the cache of the hub; None anywhere else."""
    cache = next((one.parent for one in folder.resolve().parents if one.name == "snapshots"), None)
    blobs = None if cache is None else cache / "blobs"
    return blobs if blobs is not None and blobs.is_dir() and not blobs.is_symlink() else None


def _require_plain(entry: os.DirEntry[str], blobs: Path | None) -> None:
    left = [entry]  # not a call for each folder: they may be thousands of levels deep
    while left:
        inner = left.pop()
        _require_kind(inner, blobs)
        if inner.is_dir():
            with os.scandir(inner.path) as entries:
                left += entries


def _require_kind(entry: os.DirEntry[str], blobs: Path | None) -> None:
    if entry.is_symlink():
        target = Path(entry.path).resolve()
        if target.parent == blobs and target.is_file():
            return
        raise UsageError(
            f"{entry.path} is a symbolic link, which alti2v does not follow inside a folder: "
            "put the file or folder itself there"
        )
    if not (entry.is_file() or entry.is_dir()):
        raise UsageError(f"{entry.path} is a pipe, a socket or a device, not a file: move it away")


def write_description(path: Path, kind: DirectoryKind, fields: Mapping[str, Any]) -> None:
    """Publish the description of a directory."""
    publish_json(path / DESCRIPTION_FILES[kind], {"kind": kind, "version": FORMAT_VERSION, **fields})


@contextlib.contextmanager
def exclusive(path: Path, lock_file: str) -> Iterator[None]:
    """Hold the lock of a directory for the duration of the block.

    The kernel keeps the lock (flock), so a killed process never leaves a stale one behind. The file only
    names the process that holds it, and is deleted by `cleared_if_refused` only.

    Raises:
        UsageError: Another process holds the lock.
    """
    with storage_errors(path / lock_file):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC  # a link could name any file to truncate
        descriptor = os.open(path / lock_file, flags, 0o644)
    try:
        if not (_acquire(descriptor) and os.fstat(descriptor).st_nlink):  # or deleted before it was acquired
            raise UsageError(
                f"{path} is in use by process {_process_in(descriptor)}: wait until it ends, or stop it"
            )
        if not _LOCK_CONTENT.fullmatch(os.pread(descriptor, _LOCK_BYTES, 0)):
            raise UsageError(f"{path / lock_file} is not a lock of alti2v: move it away")
        with storage_errors(path / lock_file):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def names_in(path: Path) -> frozenset[str] | None:
    """Return the names in a directory; None if it does not exist."""
    return frozenset(entry.name for entry in path.iterdir()) if path.is_dir() else None


@contextlib.contextmanager
def cleared_if_refused(path: Path, found: Collection[str] | None) -> Iterator[None]:
    """Remove our files that came into a directory, if the block is refused before they have a description.

    Args:
        path: The directory, whose lock is held.
        found: `names_in` it before it was claimed and locked.
    """
    try:
        yield
    except Alti2vError:
        with contextlib.suppress(OSError):
            names = names_in(path) or frozenset()
            if names.isdisjoint(DESCRIPTION_FILES.values()):
                for name in names & OWN_NAMES.difference(found or ()):
                    (path / name).unlink()
                if found is None:
                    path.rmdir()
        raise


@contextlib.contextmanager
def unchanged(path: Path, lock_file: str) -> Iterator[None]:
    """Prevent other processes from writing into a directory during the block, without writing into it.

    A directory without a lock file, such as a copy, or one whose lock file cannot be read, is not locked.

    Raises:
        UsageError: Another process is writing.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            descriptor = os.open(path / lock_file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"{path} is in use by process {_process_in(descriptor)}: wait until it ends, or stop it"
                ) from None
        yield


def missing_file(folder: Path, name: str) -> DamagedError:
    """Return the error for a file that a store or dataset should have."""
    return DamagedError(f"{folder / name} is missing: {repair_advice(folder)}")


def repair_advice(folder: Path) -> str:
    """Return the advice to repair a store, or a dataset, which needs the store that it was built from."""
    return f"run `alti2v verify {folder} --repair{' STORE' * (kind_of(folder) is DirectoryKind.DATASET)}`"


def holder(path: Path, lock_file: str) -> str | None:
    """Return the ID of the process that holds the lock of a directory, or None."""
    try:
        descriptor = os.open(path / lock_file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _process_in(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _acquire(descriptor: int) -> bool:
    """Acquire the lock; retry, because `holder` takes it for microseconds."""
    for _ in range(_LOCK_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.01)
    return False


def _process_in(descriptor: int) -> str:
    return os.pread(descriptor, _LOCK_BYTES, 0).decode(errors="replace").strip() or "unknown"


def _is_foreign(name: str) -> bool:
    return not name.startswith(".") and name not in UNDESCRIBED_NAMES
