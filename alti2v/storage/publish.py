"""All-or-nothing publication of files on a local disk.

A reader sees a file whole or not at all, also after kill -9 and after a power cut: the bytes go to
a temporary name in the same directory, are fsynced, renamed, and the directory is fsynced.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from alti2v.errors import DamagedError, StorageError

TEMPORARY_PREFIX = ".tmp-"
# What link(2) says where the file system has no hard links, such as exFAT and some network file systems.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Translate an OSError of the block into a StorageError that says which path and what to do."""
    try:
        yield
    except OSError as exc:
        advice = {
            errno.ENOSPC: "the disk is full: make room, then run the same command again",
            errno.EDQUOT: "your disk quota is used up: make room, then run the same command again",
            errno.EROFS: "the file system is read-only: choose another folder",
            errno.EACCES: "permission denied: choose a folder that you may write to",
            errno.EPERM: "permission denied: choose a folder that you may write to",
            errno.ENOTDIR: "a part of the path is a file, not a folder: choose another path",
            errno.EEXIST: "a file is in the way: choose another path",
        }.get(exc.errno or 0, f"{exc.strerror or exc}")
        raise StorageError(f"cannot write {path}: {advice}") from exc


def make_directory(path: Path) -> None:
    """Create a directory and its parents; its name survives a power cut.

    Raises:
        StorageError: the file system refuses.
    """
    with storage_errors(path):
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            fsync_directory(path.parent)


def fsync_directory(path: Path) -> None:
    """Make the names in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file, then give it its final name, replacing what was there.

    Raises:
        StorageError: the file system refuses; `path` is as it was before.
    """
    temporary = path.with_name(temporary_name(path.name))
    with storage_errors(path):
        try:
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            fsync_directory(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def temporary_name(name: str) -> str:
    """A name for an unfinished file or folder that no other thread, process or machine uses."""
    # Workers of several machines may share a folder, and have the same process numbers.
    return f"{TEMPORARY_PREFIX}{socket.gethostname()}-{threading.get_native_id()}-{name}"


def publish_once(file: Path, path: Path) -> None:
    """Give a finished file a second name in the same file system, unless another file has that name.

    So whoever does the same work twice, or late, changes nothing.

    Raises:
        StorageError: what has the name has other bytes, and stays; or the file system refuses.
    """
    with storage_errors(path):
        if not _named(file, path) and not filecmp.cmp(file, path, shallow=False):
            raise StorageError(taken(path))
        fsync_directory(path.parent)


def taken(path: Path | str) -> str:
    """What to say of a name that has other bytes than those that were to be published under it."""
    return (
        f"{path} has other bytes than this build makes: another build writes there; "
        "run the same command again when it has ended"
    )


def publish_bytes(path: Path, content: bytes) -> None:
    """Publish `content` as the whole of a file."""
    publish(path, lambda temporary: _write(temporary, content))


def publish_json(path: Path, value: Any, *, indent: int | None = 1) -> None:  # noqa: ANN401 - as json_bytes
    """Publish a JSON document, as `json_bytes` writes it."""
    publish_bytes(path, json_bytes(value, indent=indent))


def json_bytes(value: Any, *, indent: int | None = 1) -> bytes:  # noqa: ANN401 - whatever json can write
    """Write a JSON document: sorted keys, newline at the end, so equal values give equal bytes.

    Without an indent all is in one line, which takes a tenth of the time.
    """
    return (json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_json(path: Path) -> Any:  # noqa: ANN401 - the caller checks the shape
    """Read a JSON document.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is not JSON.
    """
    content = path.read_bytes()
    try:
        return json.loads(content)
    except ValueError as exc:
        raise DamagedError(f"{path} is not valid JSON ({exc}): restore it from a copy") from exc


def sweep_temporary_files(directory: Path) -> None:
    """Remove what killed processes left behind; call it only while holding the directory's lock."""
    for leftover in directory.glob(f"{TEMPORARY_PREFIX}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def _named(file: Path, path: Path) -> bool:
    try:
        os.link(file, path)  # unlike a rename it fails if the name is taken
    except FileExistsError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        if path.exists():
            return False
        file.replace(path)
    return True


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
