"""Pictures that a table describes: files named after ids or MD5s in a folder, or members of tar files."""

from __future__ import annotations

import itertools
import os
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from alti2v.crawl.boards.protocol import Skip
from alti2v.crawl.importing.sources.files import (
    Folder,
    folders,
    parse_object,
    printable,
    read_place,
    version_of,
)
from alti2v.crawl.importing.sources.folder import PICTURE_SUFFIXES
from alti2v.crawl.importing.sources.item import Fault, Item, Lack, Place, inner_name, item_name
from alti2v.crawl.importing.sources.tar_members import tar_members
from alti2v.records import Post, Span

_LOOKED_AT = 5_000  # names of a folder of pictures
_INDEX_BYTES = 256 << 20  # of one index; a tar file of 10,000 pictures has one of 2 MB
_COMPARED = 10  # headers of a tar file, with its index: tar files are padded, so their sizes are often equal
_SUFFIXES = ("jpg", "png", "webp", "gif", "jpeg")


class PictureSource(Protocol):
    """Pictures of a source, found by the rows of a table."""

    def find(self, facts: Post) -> tuple[str, Place] | None:
        """Return the name and the place of a picture; None if there is none."""
        ...

    def left(self) -> Iterator[Item]:
        """Yield the pictures that no row described, as items without tags, and what could not be read."""
        ...


class NoPictures:
    """No pictures: a table alone."""

    def find(self, facts: Post) -> tuple[str, Place] | None:
        """Find nothing."""
        del facts
        return None

    def left(self) -> Iterator[Item]:
        """Yield nothing."""
        return iter(())


Layout = Callable[[Post, str], str]
# Where the file of a post is, by how the names in the folder look: Danbooru2021 has 1,000 folders (id modulo
# 1000), boards two levels of folders by the first digits of the md5.
_LAYOUTS: Mapping[str, Layout] = {
    "id": lambda post, suffix: f"{post.id}.{suffix}" if post.id else "",
    "bucket": lambda post, suffix: f"{post.id % 1000:04d}/{post.id}.{suffix}" if post.id else "",
    "md5": lambda post, suffix: f"{post.md5}.{suffix}" if post.md5 else "",
    "md5 folders": lambda post, suffix: (
        f"{post.md5[:2]}/{post.md5[2:4]}/{post.md5}.{suffix}" if post.md5 else ""
    ),
}
_LOOKS: Mapping[str, re.Pattern[str]] = {
    "id": re.compile(r"\d+\.\w+"),
    "bucket": re.compile(r"\d{4}"),
    "md5": re.compile(r"[0-9a-f]{32}\.\w+"),
    "md5 folders": re.compile(r"[0-9a-f]{2}"),
}


class PictureFiles:
    """Files in a folder, named after ids or MD5s.

    Args:
        folder: Folder; a folder `original` in it is searched, too.
        follows_links: True to follow links to folders, so that pictures may be spread over disks; links to
            files are never followed.
    """

    def __init__(self, folder: Path, *, follows_links: bool) -> None:
        self._source = folder.resolve().name
        self._places = [
            (base, layout)
            for base in (folder, folder / "original")
            if base.is_dir()
            for layout in _layouts(base)
        ]
        self._root = folder
        self._suffixes = _SUFFIXES
        # By folder: itself, or the first link on the way to it, in whose place reading fails.
        self._links: dict[Path, Path | None] | None = None if follows_links else {folder: None}

    def find(self, facts: Post) -> tuple[str, Place] | None:
        """Look for the file of a post with the usual suffixes, the most recently found suffix first."""
        suffixes = dict.fromkeys((facts.file_ext, *self._suffixes)) if facts.file_ext else self._suffixes
        for (base, layout), suffix in itertools.product(self._places, suffixes):
            name = layout(facts, suffix)
            if not name or suffix not in PICTURE_SUFFIXES:
                continue
            path = base / name
            try:
                found = path.lstat()
            except OSError:
                continue
            self._suffixes = tuple(dict.fromkeys((suffix, *self._suffixes)))
            place = Place(
                path=self._link_to(path.parent) or path, size=found.st_size, version=version_of(found)
            )
            return item_name(self._source, *path.relative_to(self._root).parts), place
        return None

    def _link_to(self, folder: Path) -> Path | None:
        """Return the first link on the way to a folder; None if there is none, or it is followed."""
        if self._links is None:
            return None
        if folder not in self._links:
            self._links[folder] = self._link_to(folder.parent) or (folder if folder.is_symlink() else None)
        return self._links[folder]

    def left(self) -> Iterator[Item]:
        """Yield nothing: a folder of millions of files is not listed."""
        return iter(())


@dataclass(frozen=True, slots=True)
class _Tar:
    path: Path
    name: str
    version: str


class PictureTars:
    """Members of tar files, named after ids or MD5s; their places are kept in a temporary SQLite file.

    Args:
        tars: Tar files, with the names of items in them.
        database: Empty database.
        faults: Files and folders beside them that are not read, by the names of their items.
    """

    def __init__(
        self, tars: list[_Tar], database: sqlite3.Connection, faults: Iterable[tuple[str, Fault]] = ()
    ) -> None:
        self._tars = tars
        self._database = database
        self._faults = list(faults)
        database.execute(
            "CREATE TABLE members (stem TEXT, tar INTEGER, name TEXT, offset INTEGER, size INTEGER, "
            "sha256 TEXT, is_found INTEGER)"
        )
        for number, tar in enumerate(tars):
            rows = _indexed(tar) or self._scanned(tar)
            database.executemany(
                "INSERT INTO members VALUES (?,?,?,?,?,?,0)", ((_stem(row[0]), number, *row) for row in rows)
            )
        database.execute("CREATE INDEX by_stem ON members (stem)")

    def find(self, facts: Post) -> tuple[str, Place] | None:
        """Look for the member of a post."""
        for stem in filter(None, (str(facts.id) if facts.id else "", facts.md5)):
            row = self._database.execute(
                "SELECT rowid, * FROM members WHERE stem=? LIMIT 1", (stem,)
            ).fetchone()
            if row is not None:
                self._database.execute("UPDATE members SET is_found=1 WHERE rowid=?", (row[0],))
                return self._place(row[2:])
        return None

    def left(self) -> Iterator[Item]:
        """Yield the members that no row of the table described, and the tar files that could not be read.

        Of several members with the name of one post, the row describes the first.
        """
        for name, fault in self._faults:
            yield Item(name=name, problem=fault)
        rows = self._database.execute(
            "SELECT EXISTS (SELECT 1 FROM members other WHERE other.stem=members.stem AND other.is_found), * "
            "FROM members WHERE NOT is_found ORDER BY rowid"
        )
        for is_repeated, _, *row in rows:
            name, place = self._place(tuple(row))
            problem = Lack.REPEATED_ID if is_repeated else Skip.NO_TAGS
            yield Item(name=name, place=place, problem=problem)

    def _place(self, row: tuple[Any, ...]) -> tuple[str, Place]:
        number, name, offset, size, sha256, _ = row
        tar = self._tars[number]
        span = Span(offset=offset, size=size)
        version = f"{tar.version}:{offset}"
        return inner_name(tar.name, name), Place(path=tar.path, span=span, version=version, sha256=sha256)

    def _scanned(self, tar: _Tar) -> Iterator[tuple[str, int, int, None]]:
        """Read the headers of a tar file without an index of its own."""
        for member in tar_members(tar.path):
            if isinstance(member, Fault):
                self._faults.append((tar.name, member))
            elif _is_picture(member.name):
                yield member.name, member.span.offset, member.span.size, None


@contextmanager
def open_pictures(folder: Path | None, *, store: Path, follows_links: bool) -> Iterator[PictureSource]:
    """Open the pictures in a folder; None for no folder.

    Args:
        folder: Folder.
        store: Folder of the store, which is not searched.
        follows_links: True to follow links to folders, but none inside what they name.
    """
    if folder is None:
        yield NoPictures()
        return
    found = list(_tars(folder, store, follows_links=follows_links))
    tars = [one for one in found if isinstance(one, _Tar)]
    if not tars:
        yield PictureFiles(folder, follows_links=follows_links)
        return
    with (
        tempfile.TemporaryDirectory(prefix="alti2v-") as temporary,
        closing(sqlite3.connect(f"{temporary}/members.sqlite")) as database,
    ):
        database.execute("PRAGMA journal_mode=OFF")
        database.execute("PRAGMA synchronous=OFF")
        yield PictureTars(tars, database, (one for one in found if not isinstance(one, _Tar)))


def _tars(folder: Path, store: Path, *, follows_links: bool) -> Iterator[_Tar | tuple[str, Fault]]:
    """Yield the tar files in a folder, and links that are not followed."""
    return _tars_in(
        folders(folder, without=store), (folder.resolve().name,), store, follows_links=follows_links
    )


def _tars_in(
    inside: Iterable[Folder], source: tuple[str | bytes, ...], store: Path, *, follows_links: bool
) -> Iterator[_Tar | tuple[str, Fault]]:
    for folder in inside:
        for name in folder.links:
            parts, file = (*source, *folder.parts, name), folder.file(name)
            if follows_links:
                yield from _tars_in(folders(file.path, without=store), parts, store, follows_links=False)
            elif file.fault is not None:
                yield item_name(*parts), file.fault
        for name in folder.names:
            if name.endswith(b".tar"):
                file, item = folder.file(name), item_name(*source, *folder.parts, name)
                yield _Tar(file.path, item, file.version) if file.fault is None else (item, file.fault)


def _indexed(tar: _Tar) -> list[tuple[str, int, int, str | None]] | None:
    """Read the index beside a tar file, in the form of hfutils; None if missing or that of another file.

    Format: hfutils documentation, "hfutils.index.make".
    """
    content = read_place(Place(path=tar.path.with_suffix(".json")), most_bytes=_INDEX_BYTES)
    document = content if isinstance(content, Fault) else parse_object(content, printable(tar.path))
    size = int(tar.version.partition(":")[0])
    if isinstance(document, Fault) or document.get("filesize") != size:
        return None
    files = document.get("files")
    rows = [_entry(name, entry, size) for name, entry in files.items()] if isinstance(files, dict) else [None]
    if None in rows or not _agrees(tar, {row[:3] for row in rows if row is not None}):
        return None
    return [row for row in rows if row is not None and _is_picture(row[0])]


def _agrees(tar: _Tar, places: Set[tuple[str, int, int]]) -> bool:
    """Return whether the first headers of a tar file are those of its index: names, offsets and sizes."""
    first = itertools.islice(tar_members(tar.path), _COMPARED)
    return all(
        (member.name, member.span.offset, member.span.size) in places
        for member in first
        if not isinstance(member, Fault)
    )


def _entry(name: str, entry: object, length: int) -> tuple[str, int, int, str | None] | None:
    if not isinstance(entry, dict):
        return None
    offset, size, sha256 = entry.get("offset"), entry.get("size"), entry.get("sha256")
    if type(offset) is not int or type(size) is not int or not 0 <= offset <= offset + size <= length:
        return None
    is_known = isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256)
    return name, offset, size, sha256 if is_known else None


def _is_picture(name: str) -> bool:
    return name.rpartition(".")[2].lower() in PICTURE_SUFFIXES


def _stem(name: str) -> str:
    stem = name.rpartition("/")[2].partition(".")[0].lower()
    return str(int(stem)) if stem.isascii() and stem.isdigit() and len(stem) <= 12 else stem


def _layouts(base: Path) -> list[Layout]:
    """Return the layouts that a folder may have, judging by the first names in it."""
    with os.scandir(base) as entries:
        names = [entry.name for entry in itertools.islice(entries, _LOOKED_AT)]
    return [
        _LAYOUTS[kind] for kind, pattern in _LOOKS.items() if any(pattern.fullmatch(name) for name in names)
    ]
