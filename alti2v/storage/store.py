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

from alti2v.errors import DamagedError, DataError, UsageError
from alti2v.records import Category, Span
from alti2v.storage.directory import DirectoryKind, holder, read_description
from alti2v.storage.layout import (
    CRAWL_LOCK_FILE,
    POSTS,
    POSTS_DIR,
    STORE_FILE,
    STORE_TAGS,
    TAGS_FILE,
    Table,
    images_tar,
    member_key,
)
from alti2v.storage.location import Address, open_location, read_spans
from alti2v.storage.publish import make_directory
from alti2v.storage.remote import Remote, download, versions
from alti2v.storage.table import read_open_table, read_table
from alti2v.storage.tar import BLOCK

_SNAPSHOT_TRIES = 100
_FETCH_TRIES = 5
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
    description = read_description(path, DirectoryKind.STORE)
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
            process = holder(path, CRAWL_LOCK_FILE)
            then = (
                f"wait until process {process} ends" if process else "run `alti2v crawl` on it again to the end"
            )
            raise DataError(f"{path} has no finished tables yet: {then}")
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


def read_pictures(
    store: Address, number: int, wanted: Sequence[tuple[int, Span]]
) -> Iterator[tuple[int, memoryview]]:
    """Read pictures of one tar file of a store, each after a look at the tar header in front of it.

    Args:
        store: the folder, or its URL.
        number: of the tar file.
        wanted: post number and place of each, ascending by offset.

    Yields:
        The post number and the bytes of each.

    Raises:
        DamagedError: the tar file is missing or ends early, or a member belongs to another post.
        StorageError: it cannot be read.
    """
    tar = images_tar(number)
    where, advice = f"{store}/{tar}", f"run `alti2v verify --repair` on {store}"
    spans = ((tar, Span(offset=span.offset - BLOCK, size=BLOCK + span.size)) for _, span in wanted)
    for (post_id, span), block in zip(wanted, read_spans(open_location(store), spans), strict=True):
        if len(block) != BLOCK + span.size:
            raise DamagedError(f"{where} ends inside the member at {span.offset}: {advice}")
        name = block[:_NAME_BYTES].rstrip(b"\0").decode("ascii", "replace")
        if name.partition(".")[0] != member_key(post_id):
            raise DamagedError(
                f"{where}: post {post_id} should lie at {span.offset}, but there is {name!r}: {advice}"
            )
        # A copy would be a second block of memory that the system hands out and takes back each time.
        yield post_id, memoryview(block)[BLOCK:]


def fetch_tables(remote: Remote, folder: Path) -> None:
    """Copy everything but the pictures of a store behind a URL, as it was at one moment.

    Raises:
        UsageError: there is no store.
        DataError: a crawl goes on replacing its tables.
        StorageError: it cannot be read.
    """
    make_directory(folder / POSTS_DIR)
    for _ in range(_FETCH_TRIES):
        before = _tables_of(remote)
        if STORE_FILE not in before:
            raise UsageError(f"{remote.url} is not a store: give the URL that `alti2v crawl` wrote to")
        for name in before:
            download(remote, name, folder / name)
        if _tables_of(remote) == before:
            return
    raise DataError(f"{remote.url}: the crawl rewrites its tables without pause: try again when it has ended")


def _tables_of(remote: Remote) -> Mapping[str, object]:
    parts = {f"{POSTS_DIR}/{name}": fact for name, fact in versions(remote, POSTS_DIR).items()}
    return {**versions(remote, ""), **parts}


def _part_paths(path: Path) -> list[Path]:
    return sorted((path / POSTS_DIR).glob("posts-*.parquet"))


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_ino, found.st_mtime_ns
