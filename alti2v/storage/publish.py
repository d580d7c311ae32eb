"""All-or-nothing publication of files on a local disk.

A reader sees a file whole or not at all, even after kill -9 or a power cut: the bytes are written under a
temporary name in the same directory and fsynced, the file is renamed, and the directory is fsynced.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import hashlib
import itertools
import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from alti2v.errors import DamagedError, StorageError
from alti2v.storage.documents import read_text_file

TEMPORARY_PREFIX = ".tmp-"
_MAX_NAME_BYTES = 255  # NAME_MAX of Linux
_KEPT_SUFFIX = 10  # letters; some writers look at it
# Errors of link(2) on file systems without hard links, such as exFAT and some network file systems.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Translate an OSError of the block into a StorageError with the path and advice."""
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
            errno.EEXIST: "a file of that name exists: choose another path",
            errno.ELOOP: "it is a symbolic link: put the file itself there",
        }.get(exc.errno or 0, f"{exc.strerror or exc}")
        raise StorageError(f"cannot write {path}: {advice}") from exc


def make_directory(path: Path) -> None:
    """Create a directory and its parents; their names survive a power cut.

    Raises:
        StorageError: The file system refuses.
    """
    with storage_errors(path):
        new = list(itertools.takewhile(lambda folder: not folder.is_dir(), (path, *path.parents)))
        if new:
            path.mkdir(parents=True, exist_ok=True)
        for folder in reversed(new):
            fsync_directory(folder.parent)


def fsync_directory(path: Path) -> None:
    """Make the names in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file, then rename it, replacing an existing file.

    Raises:
        StorageError: The file system refuses; an existing file is unchanged.
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
    """Return a name for an unfinished file or folder that no other thread, process or machine uses."""
    # Workers on several machines may share a folder, and have the same process IDs.
    start = f"{TEMPORARY_PREFIX}{socket.gethostname()}-{threading.get_native_id()}-"
    if len(os.fsencode(start + name)) > _MAX_NAME_BYTES:  # the name itself may have as many
        digest = hashlib.blake2b(os.fsencode(name), digest_size=12).hexdigest()
        name = digest + Path(name).suffix[:_KEPT_SUFFIX]
    return start + name


def publish_once(file: Path, path: Path) -> None:
    """Publish a finished file under another name in the same file system, unless that name exists.

    Doing the same work twice, or late, therefore changes nothing.

    Raises:
        StorageError: The name exists with other bytes, and is kept; or the file system refuses.
    """
    with storage_errors(path):
        if not _named(file, path) and not filecmp.cmp(file, path, shallow=False):
            raise StorageError(taken(path))
        fsync_directory(path.parent)


def taken(path: Path | str) -> str:
    """Write the message for a name that exists with other bytes than those to be published."""
    return (
        f"{path} has other bytes than this build makes: another build is writing there; "
        "run the same command again after it has ended"
    )


def publish_bytes(path: Path, content: bytes) -> None:
    """Publish `content` as the content of a file."""
    publish(path, lambda temporary: _write(temporary, content))


def publish_json(path: Path, value: Any, *, indent: int | None = 1) -> None:  # noqa: ANN401 - as json_bytes
    """Publish a JSON document, see `json_bytes`."""
    publish_bytes(path, json_bytes(value, indent=indent))


def json_bytes(value: Any, *, indent: int | None = 1) -> bytes:  # noqa: ANN401 - whatever json can write
    """Encode a JSON document with sorted keys and a final newline, so that equal values give equal bytes.

    Args:
        value: A value that JSON can represent.
        indent: Indentation; None writes a single line, in a tenth of the time.
    """
    return (json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_json(path: Path) -> Any:  # noqa: ANN401 - the caller checks the shape
    """Read a JSON document.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: It is not JSON, or too large.
    """
    content = read_text_file(path)
    try:
        return json.loads(content)
    # Also numbers of thousands of digits, and nesting without an end.
    except (ValueError, RecursionError) as exc:
        raise DamagedError(f"{path} is not valid JSON ({exc}): restore it from a copy") from exc


def sweep_temporary_files(directory: Path) -> None:
    """Remove what killed processes left behind; the caller must hold the directory's lock."""
    for leftover in directory.glob(f"{TEMPORARY_PREFIX}*"):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def _named(file: Path, path: Path) -> bool:
    try:
        os.link(file, path)  # unlike a rename, it fails if the name exists
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
