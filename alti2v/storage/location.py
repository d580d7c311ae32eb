"""A folder on this machine or behind a URL, with the few things that a build does in either.

Workers on several machines meet in such folders. Names are relative to the folder, with slashes.
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

from alti2v.errors import Alti2vError, DamagedError
from alti2v.records import Span
from alti2v.storage.publish import (
    fsync_directory,
    make_directory,
    publish_once,
    storage_errors,
    temporary_name,
)
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
"""A local folder, or a URL as text: what a task carries from one machine to another."""

# Behind a URL so many ranges are asked for at once, with so many bytes together (one range may have more).
_AT_ONCE = 32
_BYTES_AT_ONCE = 32 << 20


def open_location(address: Address) -> Path | Remote:
    """Prepare a folder for use; sends nothing.

    Raises:
        UsageError: nobody knows this kind of URL, or its driver is not installed.
    """
    return open_remote(address) if isinstance(address, str) else address


def below(address: Address, folder: str) -> Address:
    """A folder inside a folder."""
    return f"{address}/{folder}" if isinstance(address, str) else address / folder


@contextlib.contextmanager
def staging(address: Address, name: str) -> Iterator[Path]:
    """A local folder to make files in that `put_once` and `put` take; it is gone after the block.

    Args:
        address: where the files are to go; a local one must be in the same file system.
        name: what is made, unique among what this thread makes.
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


def put_once(file: Path, place: Path | Remote, name: str) -> None:
    """Publish a local file, unless there is one of that name.

    Raises:
        StorageError: what is there has other bytes, and stays; or the place refuses.
    """
    if isinstance(place, Remote):
        upload_once(place, file, name)
    else:
        publish_once(file, place / name)


def put(file: Path, place: Path | Remote, name: str) -> None:
    """Publish a local file, replacing what is there; a local place takes the file itself.

    Raises:
        StorageError: the place refuses; what was there is as it was.
    """
    if isinstance(place, Remote):
        upload(place, file, name)
    else:
        with storage_errors(place / name):
            file.replace(place / name)
            fsync_directory((place / name).parent)


@contextlib.contextmanager
def local_copy(place: Path | Remote, name: str) -> Iterator[Path]:
    """A file as a local one, for the length of the block.

    Raises:
        FileNotFoundError: there is none.
        StorageError: it cannot be read.
    """
    with local_copies(place, [name]) as folder:
        if not (folder / name).exists():
            raise FileNotFoundError(f"{place.url if isinstance(place, Remote) else place}/{name}")
        yield folder / name


@contextlib.contextmanager
def local_copies(place: Path | Remote, names: Iterable[str]) -> Iterator[Path]:
    """Files as local ones for the length of the block, each under its name in one folder.

    What is missing there is missing here. A local place is that folder itself. Errors that leave the block
    name files by their URL.

    Raises:
        StorageError: one cannot be read.
    """
    if not isinstance(place, Remote):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="alti2v-") as folder:
        for name in names:
            if size_of(place, name) is not None:
                make_directory((Path(folder) / name).parent)
                download(place, name, Path(folder) / name)
        try:
            yield Path(folder)
        except Alti2vError as exc:
            raise type(exc)(str(exc).replace(folder, place.url)) from exc


def sizes_in(place: Path | Remote, folder: str = "") -> Mapping[str, int]:
    """The files directly in a folder: name relative to it -> bytes; none if there is no such folder.

    Raises:
        StorageError: it cannot be read.
    """
    if isinstance(place, Remote):
        return sizes(place, folder)
    return {path.name: path.stat().st_size for path in (place / folder).glob("*") if path.is_file()}


def remove(place: Path | Remote, names: Iterable[str]) -> None:
    """Remove files; one that is not there is removed already.

    Raises:
        StorageError: the place refuses.
    """
    if isinstance(place, Remote):
        delete(place, names)
    else:
        for name in names:
            (place / name).unlink(missing_ok=True)


def read_spans(place: Path | Remote, wanted: Iterable[tuple[str, Span]]) -> Iterator[bytes]:
    """Read ranges of files, in the order in which they are asked for, a few in memory at a time.

    A range is short where its file is.

    Raises:
        DamagedError: a file is missing.
        StorageError: one cannot be read.
    """
    if isinstance(place, Remote):
        for some in _together(wanted):
            yield from ranges(place, some)
    else:
        yield from _read(place, wanted)


def _together(wanted: Iterable[tuple[str, Span]]) -> Iterator[list[tuple[str, Span]]]:
    some: list[tuple[str, Span]] = []
    size = 0
    for name, span in wanted:
        if some and (len(some) == _AT_ONCE or size + span.size > _BYTES_AT_ONCE):
            yield some
            some, size = [], 0
        some.append((name, span))
        size += span.size
    if some:
        yield some


def _read(place: Path, wanted: Iterable[tuple[str, Span]]) -> Iterator[bytes]:
    # A shard takes its samples from all over the store: thousands of files, more than may be open at once.
    for name, of_file in itertools.groupby(wanted, key=itemgetter(0)):
        with _opened(place / name) as file:
            for _, span in of_file:
                yield os.pread(file.fileno(), span.size, span.offset)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError as exc:
        raise DamagedError(missing(path)) from exc
