"""Reading a store: a consistent snapshot of its tables, and pictures from its tar files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from alti2v.errors import DamagedError, DataError, UsageError
from alti2v.records import Category, Span, composed
from alti2v.storage.columns import POSTS, STORE_TAGS, Table
from alti2v.storage.directory import DirectoryKind, holder, read_description
from alti2v.storage.layout import (
    CRAWL_LOCK_FILE,
    FIRST_LINKED,
    IMPORTED,
    POSTS_DIR,
    STORE_FILE,
    TAGS_FILE,
    images_tar,
    member_key,
    number_in,
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
    """A snapshot of a store; a crawl may continue to write meanwhile.

    Attributes:
        path: Folder of the store.
        description: Content of store.json.
        parts: Open parts of the post table, in the order of their numbers.
    """

    path: Path
    description: Mapping[str, Any]
    parts: tuple[BinaryIO, ...]


@contextlib.contextmanager
def open_store(path: Path) -> Iterator[Store]:
    """Open a store for reading; the parts do not change until the block ends, whatever a crawl does.

    The crawler replaces whole files, so an open file never changes. Bytes that a table refers to are in the tar
    file before the table is published.

    Raises:
        UsageError: The directory does not exist or is not a store.
        VersionError: A program of another format version wrote it.
        DamagedError: Its description cannot be read.
        DataError: Its tables do not exist yet.
    """
    description = read_description(path, DirectoryKind.STORE)
    with contextlib.ExitStack() as stack:
        for _ in range(_SNAPSHOT_TRIES):
            parts = tuple(stack.enter_context(part.open("rb")) for part in post_tables(path))
            if [_identity(part.stat()) for part in post_tables(path)] == [
                _identity(os.fstat(part.fileno())) for part in parts
            ]:
                break
            stack.close()
        else:
            raise DataError(f"{path}: the crawl keeps rewriting its tables: try again after it has ended")
        if not parts or not (path / TAGS_FILE).exists():
            process = holder(path, CRAWL_LOCK_FILE)
            again = f"run `alti2v {command_of(description)}` on it again to the end"
            then = f"wait until process {process} ends" if process else again
            raise DataError(f"{path} has no finished tables yet: {then}")
        yield Store(path=path, description=description, parts=parts)


def command_of(description: Mapping[str, Any]) -> str:
    """Return the command that fills a store with this store.json: "import" or "crawl"."""
    return "import" if description.get("board") == IMPORTED else "crawl"


def read_posts(store: Store, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield some columns of the post table, one part at a time, in the order of listing.

    Raises:
        VersionError: A program of another format version wrote a part.
        DamagedError: A part cannot be read.
    """
    for part in store.parts:
        part.seek(0)
        yield read_open_table(part, POSTS, columns)


def read_categories(store: Store) -> Mapping[str, Category]:
    """Read the category of every tag of the store.

    Raises:
        VersionError: A program of another format version wrote the table.
        DamagedError: The table cannot be read, or contains an unknown category.
    """
    path = store.path / TAGS_FILE
    table = read_table(path, STORE_TAGS, ["name", "category"])
    names, categories = (table.column(name).to_pylist() for name in ("name", "category"))
    try:
        return {composed(name): Category(category) for name, category in zip(names, categories, strict=True)}
    except ValueError as exc:
        raise DamagedError(f"{path}: {exc}: run `alti2v verify --repair {store.path}`") from exc


def read_relations(store: Store, of: Table) -> Sequence[tuple[str, str]]:
    """Read the pairs of `columns.TAG_ALIASES` or `TAG_IMPLICATIONS`; none if the store has no such table.

    Raises:
        VersionError: A program of another format version wrote the table.
        DamagedError: The table cannot be read.
    """
    try:
        table = read_table(store.path / f"{of.name}.parquet", of)
    except FileNotFoundError:
        return ()
    ends = (map(composed, table.column(name).to_pylist()) for name in ("antecedent", "consequent"))
    return list(zip(*ends, strict=True))


def read_pictures(
    store: Address, number: int, wanted: Sequence[tuple[int, Span]]
) -> Iterator[tuple[int, memoryview | None]]:
    """Read pictures from one tar file of a store, checking the tar header before each.

    Args:
        store: Folder or URL of the store.
        number: Number of the tar file.
        wanted: Post number and span of each picture, ascending by offset.

    Yields:
        Post number and bytes of each picture; None for the bytes if the file ends before them, the disk cannot
            read them, or a member of another post is there.

    Raises:
        DamagedError: The tar file is missing.
        StorageError: It cannot be opened.
    """
    tar = images_tar(number)
    spans = ((tar, Span(offset=span.offset - BLOCK, size=BLOCK + span.size)) for _, span in wanted)
    for (post_id, span), block in zip(wanted, read_spans(open_location(store), spans), strict=True):
        is_whole = len(block) == BLOCK + span.size
        # Members of linked tar files have names of their own; whoever reads compares MD5s.
        is_there = is_whole and (number >= FIRST_LINKED or _key(block) == member_key(post_id))
        # A view, because a copy would allocate and free a second block of memory each time.
        yield post_id, memoryview(block)[BLOCK:] if is_there else None


def _key(header: bytes) -> str:
    """Return the key of a member from its tar header."""
    return header[:_NAME_BYTES].rstrip(b"\0").decode("ascii", "replace").partition(".")[0]


def read_originals(store: Path, ids: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """Read the pictures of some posts, as the board had them; posts without one are left out, and damaged ones.

    Raises:
        UsageError: It is not a store.
        DamagedError: A table is damaged, or a tar file is missing.
    """
    wanted: dict[int, list[tuple[int, Span]]] = {}
    with open_store(store) as opened:
        for table in read_posts(opened, ("id", "tar", "offset", "size")):
            for row in table.filter(pc.is_in(table.column("id"), pa.array(ids, pa.int64()))).to_pylist():
                if row["tar"] is not None:
                    span = Span(offset=row["offset"], size=row["size"])
                    wanted.setdefault(row["tar"], []).append((row["id"], span))
    for number, spans in sorted(wanted.items()):
        in_order = sorted(spans, key=lambda item: item[1].offset)
        found = read_pictures(store, number, in_order)
        yield from ((post_id, bytes(content)) for post_id, content in found if content is not None)


def fetch_tables(remote: Remote, folder: Path) -> None:
    """Copy all files except the pictures of a store behind a URL, as a consistent snapshot.

    Raises:
        UsageError: There is no store.
        DataError: A crawl keeps replacing its tables.
        StorageError: It cannot be read.
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
    raise DataError(f"{remote.url}: the crawl keeps rewriting its tables: try again after it has ended")


def _tables_of(remote: Remote) -> Mapping[str, object]:
    parts = {f"{POSTS_DIR}/{name}": fact for name, fact in versions(remote, POSTS_DIR).items()}
    return {**versions(remote, ""), **parts}


def post_tables(store: Path) -> list[Path]:
    """Return the parts of the post table, in order; other files in their folder belong to the user."""
    files = (store / POSTS_DIR).glob("posts-*.parquet")
    return sorted(file for file in files if number_in(file.name) is not None)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_ino, found.st_mtime_ns
