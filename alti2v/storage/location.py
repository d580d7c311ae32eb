"""Location of files: a local folder, or a folder behind a URL, with the few operations that a build needs.

Workers on several machines share such folders. Names are relative to the folder, with slashes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from alti2v.errors import Alti2vError, DamagedError, StorageError
from alti2v.records import Span
from alti2v.storage.publish import fsync_directory, make_directory, publish_once, storage_errors, temporary_name
from alti2v.storage.remote import (
    Remote,
    delete,
    download,
    missing,
    open_remote,
    ranges,
    size_of,
    sizes,
    upload,
    upload_once,
)

Address = Path | str
"""A local folder, or a URL as text; unlike an open location, it can be sent to another machine."""

# Limits of the ranges that are requested from a URL in parallel (a single range may be larger).
_PARALLEL_RANGES = 32
_PARALLEL_BYTES = 32 << 20


def open_location(address: Address) -> Path | Remote:
    """Prepare access to a folder without sending a request.

    Raises:
        UsageError: The kind of URL is unknown, or its driver is not installed.
    """
    return open_remote(address) if isinstance(address, str) else address


def below(address: Address, folder: str) -> Address:
    """Return the address of a folder inside a folder."""
    return f"{address}/{folder}" if isinstance(address, str) else address / folder


@contextlib.contextmanager
def staging(address: Address, name: str) -> Iterator[Path]:
    """Provide a local folder for files that `put_once` and `put` publish; it is deleted after the block.

    Args:
        address: Destination of the files; if it is local, the folder is in the same file system.
        name: Name of the work, unique within this thread.
    """
    if isinstance(address, str):
        with tempfile.TemporaryDirectory(prefix="alti2v-") as temporary:
            yield Path(temporary)
        return
    folder = address / temporary_name(name)
    make_directory(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def put_once(file: Path, location: Path | Remote, name: str) -> None:
    """Publish a local file, unless a file of that name exists.

    Raises:
        StorageError: A file with other bytes exists, and is kept; or the location cannot be written.
    """
    if isinstance(location, Remote):
        upload_once(location, file, name)
    else:
        publish_once(file, location / name)


def put(file: Path, location: Path | Remote, name: str) -> None:
    """Publish a local file, replacing an existing one; at a local location the file itself is moved.

    Raises:
        StorageError: The location cannot be written; an existing file is unchanged.
    """
    if isinstance(location, Remote):
        upload(location, file, name)
    else:
        with storage_errors(location / name):
            file.replace(location / name)
            fsync_directory((location / name).parent)


@contextlib.contextmanager
def local_copy(location: Path | Remote, name: str) -> Iterator[Path]:
    """Provide a file as a local one for the duration of the block.

    Raises:
        FileNotFoundError: There is no such file.
        StorageError: It cannot be read.
    """
    with local_copies(location, [name]) as folder:
        if not (folder / name).exists():
            raise FileNotFoundError(f"{location.url if isinstance(location, Remote) else location}/{name}")
        yield folder / name


@contextlib.contextmanager
def local_copies(location: Path | Remote, names: Iterable[str]) -> Iterator[Path]:
    """Provide files in one local folder for the duration of the block: the folder itself, or downloaded copies.

    Missing files are missing from the folder. Errors raised in the block name files by their URL.

    Raises:
        StorageError: A file cannot be read.
    """
    if not isinstance(location, Remote):
        yield location
        return
    with tempfile.TemporaryDirectory(prefix="alti2v-") as folder:
        for name in names:
            if size_of(location, name) is not None:
                make_directory((Path(folder) / name).parent)
                download(location, name, Path(folder) / name)
        try:
            yield Path(folder)
        except Alti2vError as exc:
            raise type(exc)(str(exc).replace(folder, location.url)) from exc


def sizes_in(location: Path | Remote, folder: str = "") -> Mapping[str, int]:
    """Map the names of the files directly in a folder to their sizes in bytes; empty without a folder.

    Raises:
        StorageError: The folder cannot be read.
    """
    if isinstance(location, Remote):
        return sizes(location, folder)
    return {path.name: path.stat().st_size for path in (location / folder).glob("*") if path.is_file()}


def remove(location: Path | Remote, names: Iterable[str]) -> None:
    """Remove files, ignoring missing ones.

    Raises:
        StorageError: The location cannot be written.
    """
    if isinstance(location, Remote):
        delete(location, names)
    else:
        for name in names:
            (location / name).unlink(missing_ok=True)


def read_spans(location: Path | Remote, wanted: Iterable[tuple[str, Span]]) -> Iterator[bytes]:
    """Read ranges of files in the given order, with few in memory at a time.

    A range that passes the end of its file is short; on a local disk, one that the disk cannot read is empty.

    Raises:
        DamagedError: A file is missing.
        StorageError: A file cannot be opened.
    """
    if isinstance(location, Remote):
        for some in _together(wanted):
            yield from ranges(location, some)
    else:
        yield from _read(location, wanted)


def _together(wanted: Iterable[tuple[str, Span]]) -> Iterator[list[tuple[str, Span]]]:
    some: list[tuple[str, Span]] = []
    size = 0
    for name, span in wanted:
        if some and (len(some) == _PARALLEL_RANGES or size + span.size > _PARALLEL_BYTES):
            yield some
            some, size = [], 0
        some.append((name, span))
        size += span.size
    if some:
        yield some


def _read(location: Path, wanted: Iterable[tuple[str, Span]]) -> Iterator[bytes]:
    # A shard takes samples from thousands of files, more than may be open at the same time.
    for name, of_file in itertools.groupby(wanted, key=itemgetter(0)):
        with _opened(location / name) as file:
            for _, span in of_file:
                try:
                    yield os.pread(file.fileno(), span.size, span.offset)
                except OSError:  # a bad block: the rest of the file may be sound
                    yield b""


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError as exc:
        raise DamagedError(missing(path)) from exc
    except OSError as exc:
        raise StorageError(f"{path} cannot be read: {exc.strerror}") from exc
