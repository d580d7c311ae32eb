"""Files in an untrusted folder: found and read without following links or waiting for pipes."""

from __future__ import annotations

import bisect
import errno
import json
import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from alti2v.crawl.importing.sources.item import Fault, ItemFault, Place
from alti2v.records import Span

SIDECAR_BYTES = 1 << 20  # a text of tags has a few kB, a JSON object of gallery-dl up to 100
OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class FolderFile:
    """File in a folder: path, reason not to read it, size in bytes, and a text that changes with the file."""

    path: Path
    fault: Fault | None
    size: int
    version: str


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a source, and the names of the files in it.

    Attributes:
        path: Folder.
        parts: Path from the source to the folder.
        names: Names of the files without hidden ones, sorted by their NFC forms; no other facts,
            because there may be a million.
        forms: The NFC forms of the names; the same object if all names are in ASCII.
        links: Names of the links to folders, and of those that lead nowhere the system can tell, such as
            to themselves; sorted.
        fault: Reason why the folder could not be read; None if it could.
    """

    path: bytes
    parts: tuple[bytes, ...]
    names: tuple[bytes, ...]
    forms: tuple[bytes, ...]
    links: tuple[bytes, ...] = ()
    fault: Fault | None = None

    def named(self, name: bytes) -> bytes | None:
        """Return the file of this name, or of the same name in another Unicode form; None if there is none."""
        key = in_nfc(name)
        at = bisect.bisect_left(self.forms, key)
        same = list(takewhile(lambda each: self.forms[each] == key, range(at, len(self.forms))))
        if not same:
            return None
        return next((self.names[each] for each in same if self.names[each] == name), self.names[same[0]])

    def beginning_with(self, prefix: bytes) -> Iterator[bytes]:
        """Return the names that begin with a text, in any Unicode form."""
        key = in_nfc(prefix)
        at = bisect.bisect_left(self.forms, key)
        places = takewhile(lambda each: self.forms[each].startswith(key), range(at, len(self.forms)))
        return (self.names[each] for each in places)

    def path_of(self, name: bytes) -> Path:
        """Return the path of a file."""
        return Path(os.fsdecode(self.bytes_path_of(name)))

    def bytes_path_of(self, name: bytes) -> bytes:
        """Return the path of a file as the system takes it; making a `Path` takes 5 us."""
        return self.path + b"/" + name

    def file(self, name: bytes) -> FolderFile:
        """Return size and modification time of a file, or the reason not to read it."""
        path = self.path_of(name)
        try:
            found = os.lstat(self.bytes_path_of(name))
        except OSError as exc:
            return FolderFile(path, unreadable(path, exc), 0, "")
        fault = None
        if stat.S_ISLNK(found.st_mode):
            fault = Fault(ItemFault.LINK, f"{printable(path)} is a symbolic link, which is not followed")
        elif not stat.S_ISREG(found.st_mode):
            fault = Fault(ItemFault.NOT_A_FILE, f"{printable(path)} is not a file")
        return FolderFile(path, fault, found.st_size, version_of(found))


def version_of(found: os.stat_result) -> str:
    """Return a text that changes with a file."""
    return f"{found.st_size}:{found.st_mtime_ns}"


def in_nfc(name: bytes) -> bytes:
    """Return a name in Unicode's form NFC: macOS writes NFD, and other systems keep what they are given."""
    if name.isascii():
        return name
    try:
        return unicodedata.normalize("NFC", name.decode()).encode()
    except UnicodeDecodeError:
        return name


def folders(root: Path, *, without: Path) -> Iterator[Folder]:
    """Yield a folder and all folders in it, in the order of their names; hidden ones and links are left out.

    Args:
        root: Folder; it may be a link itself, because the user has named it.
        without: Folder that is left out: the store.
    """
    left_out = _identity(without)
    waiting: list[tuple[bytes, ...]] = [()]
    base = os.fsencode(root)
    while waiting:
        parts = waiting.pop()
        path = b"/".join((base, *parts))
        names: list[bytes] = []
        inner: list[bytes] = []
        links: list[bytes] = []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith(b"."):
                        continue
                    if entry.is_symlink() and _is_folder_or_loop(entry):
                        links.append(entry.name)
                    else:
                        (inner if entry.is_dir(follow_symlinks=False) else names).append(entry.name)
        except OSError as exc:
            yield Folder(path, parts, (), (), fault=unreadable(path, exc))
            continue
        yield Folder(path, parts, *_sorted(names), tuple(sorted(links)))
        waiting += [
            (*parts, name) for name in sorted(inner, reverse=True) if _identity(path + b"/" + name) != left_out
        ]


def _is_folder_or_loop(link: os.DirEntry[bytes]) -> bool:
    """Return whether a link leads to a folder, or cannot be followed: to itself, or past a closed folder."""
    try:
        return link.is_dir()
    except OSError:
        return True


def _sorted(names: Sequence[bytes]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return names in the order of their NFC forms, and these forms."""
    if all(map(bytes.isascii, names)):
        same = tuple(sorted(names))
        return same, same
    pairs = sorted((in_nfc(name), name) for name in names)
    return tuple(name for _, name in pairs), tuple(form for form, _ in pairs)


def read_place(place: Place, *, most_bytes: int) -> bytes | Fault:
    """Read the bytes of a picture, `most_bytes` at most; return a fault if that is impossible."""
    return _read(place.path, place.span, most_bytes)


def _read(path: Path | bytes, span: Span | None, most_bytes: int) -> bytes | Fault:
    try:
        descriptor = os.open(path, OPEN_FLAGS)
    except OSError as exc:
        return unreadable(path, exc)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return Fault(ItemFault.NOT_A_FILE, f"{printable(path)} is not a file")
        size = found.st_size if span is None else span.size
        offset = 0 if span is None else span.offset
        if size > most_bytes:
            return Fault(ItemFault.TOO_LARGE, f"{printable(path)} has {size:,} bytes")
        content = os.pread(descriptor, size, offset)
        while len(content) < size and (
            more := os.pread(descriptor, size - len(content), offset + len(content))
        ):
            content += more  # a read returns at most 2 GB, and less if a signal comes
    except OSError as exc:
        return unreadable(path, exc)
    finally:
        os.close(descriptor)
    if len(content) < size:
        return Fault(ItemFault.UNREADABLE, f"{printable(path)} ends before byte {offset + size:,}")
    return content


def read_text(path: Path | bytes) -> str | Fault:
    """Read a text file of at most 1 MiB in UTF-8, or in UTF-16 with a byte order mark."""
    content = _read(path, None, SIDECAR_BYTES)
    if isinstance(content, Fault):
        return Fault(ItemFault.BAD_METADATA, content.message)
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return Fault(ItemFault.BAD_METADATA, f"{printable(path)} is not UTF-8 text")


def read_object(path: Path | bytes) -> dict[str, Any] | Fault:
    """Read a JSON object of at most 1 MiB."""
    text = read_text(path)
    return text if isinstance(text, Fault) else parse_object(text, printable(path))


def parse_object(text: str | bytes, where: str) -> dict[str, Any] | Fault:
    """Parse a JSON object; `where` names it in the message of a fault."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):  # also numbers of thousands of digits, and nesting without an end
        return Fault(ItemFault.BAD_METADATA, f"{where} is not valid JSON")
    if not isinstance(document, dict):
        return Fault(ItemFault.BAD_METADATA, f"{where} is not a JSON object")
    return document


def unreadable(path: Path | bytes, exc: OSError) -> Fault:
    """Return the fault for a file or folder that the system refuses to open."""
    kind = ItemFault.LINK if exc.errno == errno.ELOOP else ItemFault.UNREADABLE
    return Fault(kind, f"{printable(path)}: {exc.strerror}")


def printable(path: Path | bytes) -> str:
    """Return a path as text; bytes that are not UTF-8 become escapes."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _identity(path: Path | bytes) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - bytes
    except OSError:
        return None
    return found.st_dev, found.st_ino
