"""Reading a store: a consistent snapshot of its tables, and pictures out of its tar files.

Knows where things lie and what they are called; what becomes of them is for the dataset stage to say.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from alti2v.errors import DamagedError, DataError
from alti2v.records import Category, Span
from alti2v.storage.directory import Kind, read_description
from alti2v.storage.layout import POSTS, POSTS_DIR, STORE_TAGS, TAGS_FILE, Table, images_tar, member_key
from alti2v.storage.table import read_open_table, read_table
from alti2v.storage.tar import BLOCK, read_span

_SNAPSHOT_TRIES = 100
_NAME_BYTES = 100  # POSIX.1-2017 pax, "ustar Interchange Format": the name is the first field of a header


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A store as it was at one moment; a crawl may go on writing into it meanwhile.

    Attributes:
        description: store.json.
        parts: the parts of the post table, open, in the order of their numbers.
    """

    path: Path
    description: Mapping[str, Any]
    parts: tuple[BinaryIO, ...]


@contextlib.contextmanager
def open_store(path: Path) -> Iterator[Store]:
    """Open a store for reading; the parts stay what they are until the block ends, whatever a crawl does.

    The crawler replaces whole files, so an open file never changes, and bytes that a table names are in
    the tar before the table is published.

    Raises:
        UsageError: the directory does not exist or is no store.
        VersionError: a program of another format version wrote it.
        DamagedError: its description cannot be read.
        DataError: its tables do not exist yet.
    """
    description = read_description(path, Kind.STORE)
    with contextlib.ExitStack() as stack:
        for _ in range(_SNAPSHOT_TRIES):
            parts = tuple(stack.enter_context(part.open("rb")) for part in _part_paths(path))
            if [_identity(part.stat()) for part in _part_paths(path)] == [
                _identity(os.fstat(part.fileno())) for part in parts
            ]:
                break
            stack.close()
        else:
            raise DataError(f"{path}: the crawl rewrites its tables without pause: try again when it has ended")
        if not parts or not (path / TAGS_FILE).exists():
            raise DataError(f"{path} has no finished tables yet: run `alti2v crawl` on it again to the end")
        yield Store(path=path, description=description, parts=parts)


def read_posts(store: Store, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield some columns of the post table, one part at a time, in the order of listing.

    Raises:
        VersionError: a program of another format version wrote a part.
        DamagedError: a part cannot be read.
    """
    for part in store.parts:
        part.seek(0)
        yield read_open_table(part, POSTS, columns)


def read_categories(store: Store) -> Mapping[str, Category]:
    """Read the category of every tag of the store.

    Raises:
        VersionError: a program of another format version wrote the table.
        DamagedError: it cannot be read, or names a category that does not exist.
    """
    path = store.path / TAGS_FILE
    table = read_table(path, STORE_TAGS, ["name", "category"])
    names, categories = (table.column(name).to_pylist() for name in ("name", "category"))
    try:
        return {name: Category(category) for name, category in zip(names, categories, strict=True)}
    except ValueError as exc:
        raise DamagedError(f"{path}: {exc}: run `alti2v verify --repair {store.path}`") from exc


def read_relations(store: Store, of: Table) -> Sequence[tuple[str, str]]:
    """Read the pairs of `layout.TAG_ALIASES` or `TAG_IMPLICATIONS`; none if the store does not have them.

    Raises:
        VersionError: a program of another format version wrote the table.
        DamagedError: it cannot be read.
    """
    try:
        table = read_table(store.path / f"{of.name}.parquet", of)
    except FileNotFoundError:
        return ()
    ends = (table.column(name).to_pylist() for name in ("antecedent", "consequent"))
    return list(zip(*ends, strict=True))


@contextlib.contextmanager
def open_images(store: Path, number: int) -> Iterator[BinaryIO]:
    """Open one tar file of a store.

    Raises:
        DamagedError: it is missing.
    """
    path = store / images_tar(number)
    try:
        file = path.open("rb")
    except FileNotFoundError as exc:
        raise DamagedError(
            f"{path} is missing, but the tables name it: run `alti2v verify --repair {store}`"
        ) from exc
    with file:
        yield file


def read_picture(file: BinaryIO, post_id: int, span: Span) -> bytes:
    """Read the picture of a post, after a look at the tar header in front of it.

    Raises:
        DamagedError: the member there belongs to another post, or the file ends before it does.
    """
    block = read_span(file, Span(offset=span.offset - BLOCK, size=BLOCK + span.size))
    name = block[:_NAME_BYTES].rstrip(b"\0").decode("ascii", "replace")
    if name.partition(".")[0] != member_key(post_id):
        raise DamagedError(
            f"{file.name}: post {post_id} should lie at {span.offset}, but there is {name!r}: "
            "run `alti2v verify --repair` on the store"
        )
    return block[BLOCK:]


def _part_paths(path: Path) -> list[Path]:
    return sorted((path / POSTS_DIR).glob("posts-*.parquet"))


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_ino, found.st_mtime_ns
