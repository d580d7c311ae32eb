"""Pictures that arguments name: files, folders, patterns and lists as one stream of paths. Reads no picture.

Whatever cannot be read is an item of its own, with a problem, and does not stop the others.
"""

from __future__ import annotations

import codecs
import functools
import glob
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from alti2v.errors import UsageError
from alti2v.model.tagging.preprocess import Problem
from alti2v.pictures.suffixes import PICTURE_SUFFIXES, UNREAD_SUFFIXES

STDIN = "-"
_CHUNK_BYTES = 1 << 16
_PATH_BYTES = 4096  # of the longest path, with the NUL at its end (PATH_MAX)
_MOST_NAME_BYTES = 1 << 20
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

# The path of a picture, and the same or why it cannot be read.
Found = tuple[Path, Path | Problem]


def find_pictures(
    arguments: Sequence[str], listed: Iterable[str] = (), *, unread: Counter[str] | None = None
) -> Iterator[Found]:
    """Stream the pictures that arguments name, in their order; folders by name, without hidden entries.

    Args:
        arguments: Files, folders (searched recursively), patterns such as `art/**/*.png` unless a file has that
            name, and "-" for `listed`.
        listed: Paths. Nothing is looked up here: a file that does not exist is a problem when it is read.
        unread: Counts, by suffix, the pictures of folders and patterns whose format is not read.
    """
    unread = Counter() if unread is None else unread
    for argument in arguments:
        if argument == STDIN:
            yield from ((Path(name), Path(name)) for name in listed if name.strip())
        elif os.path.isdir(argument):  # noqa: PTH112 - os.path answers False where Path raises
            yield from _inside(Path(argument), unread)
        elif os.path.lexists(argument) or not glob.has_magic(argument):
            yield Path(argument), Path(argument)
        else:
            yield from _matching(argument, unread)


def count_pictures(arguments: Sequence[str]) -> int | None:
    """Count what `find_pictures` will find; None if some are listed, because a list can be read only once.

    Raises:
        UsageError: An argument names nothing that exists, or there is no picture.
    """
    for argument in arguments:
        _require_something(argument)
    unread = Counter[str]()
    count = sum(1 for _ in find_pictures([one for one in arguments if one != STDIN], unread=unread))
    if STDIN in arguments:
        return None
    if not count:
        others = f"; {unread_words(unread)}" if unread else ""
        raise UsageError(
            f"no picture in {', '.join(arguments)}: give files ending in {', '.join(sorted(PICTURE_SUFFIXES))}"
            f"{others}"
        )
    return count


def unread_words(unread: Mapping[str, int]) -> str:
    """Describe pictures in formats that are not read, as in `3 .bmp, 1 .jxl are not read`."""
    counts = ", ".join(f"{count:,} {suffix}" for suffix, count in sorted(unread.items()))
    return f"{counts} {'is' if sum(unread.values()) == 1 else 'are'} not read: convert to PNG"


def listed_names(stream: BinaryIO, *, exists: Callable[[bytes], bool] = os.path.lexists) -> Iterator[str]:
    """Stream the names of a list: one a line, or separated by NUL as `find -print0` writes them.

    A byte order mark and CR before a line end are left out. Names are given as they arrive; if the first line
    is no file, once the first bytes have told the two kinds apart.

    Args:
        stream: The list.
        exists: Returns whether a file has this name.

    Raises:
        UsageError: The list is UTF-16, whose bytes are not names, or a line has no end.
    """
    begin, separator = _start(stream), None
    while separator is None:
        chunk = _read_some(stream)
        begin += chunk
        separator = _separator(begin, is_all=not chunk, exists=exists)
    rest = bytearray()
    for chunk in itertools.chain([begin], iter(functools.partial(_read_some, stream), b"")):
        more, *others = chunk.split(separator)
        rest += more
        if others:
            yield from (_name(name, separator) for name in (bytes(rest), *others[:-1]))
            rest = bytearray(others[-1])
        if len(rest) > _MOST_NAME_BYTES:
            raise UsageError(
                "standard input is not a list: a line has more than 1 MB: give one path in each line"
            )
    if rest:
        yield _name(bytes(rest), separator)


def _separator(begin: bytes, *, is_all: bool, exists: Callable[[bytes], bool]) -> bytes | None:
    """Return what separates the names of a list that begins so; None if more of it is needed.

    A name may have a line break in it, and a damaged line a NUL, but few have.
    """
    first, line_end, _ = begin.partition(b"\n")
    if b"\0" in first:
        return b"\0"
    if line_end and exists(first.removesuffix(b"\r")):
        return b"\n"
    if not is_all and len(begin) < _PATH_BYTES:
        return None
    lines, ends = begin.count(b"\n"), begin.count(b"\0")
    return b"\0" if ends and lines <= ends + 1 else b"\n"


def _start(stream: BinaryIO) -> bytes:
    """Read the first bytes of a list without its byte order mark.

    Raises:
        UsageError: The list is UTF-16.
    """
    start = b""
    while len(start) < len(codecs.BOM_UTF8) and (more := stream.read(1)):
        start += more
        if start in _UTF16:
            raise UsageError("the list on standard input is UTF-16: write it as UTF-8")
    return start.removeprefix(codecs.BOM_UTF8)


def _read_some(stream: BinaryIO) -> bytes:
    """Read the bytes that have arrived, so that a slow list is processed while it is written."""
    read: bytes = getattr(stream, "read1", stream.read)(_CHUNK_BYTES)
    return read


def _name(name: bytes, separator: bytes) -> str:
    return os.fsdecode(name.removesuffix(b"\r") if separator == b"\n" else name)


def _require_something(argument: str) -> None:
    """Check that an argument is an existing path or a pattern with matches.

    Raises:
        UsageError: It names nothing that exists.
    """
    if argument == STDIN or os.path.lexists(argument):
        return
    if not glob.has_magic(argument):
        raise UsageError(f"{argument} does not exist: give files, folders, patterns, or - for a list on stdin")
    if next(_expanded(argument), None) is None:
        raise UsageError(f"nothing matches {argument}: give files, folders, patterns, or - for a list on stdin")


def _matching(pattern: str, unread: Counter[str]) -> Iterator[Found]:
    for path, source in sorted(dict(_expanded(pattern)).items()):
        is_file = not os.path.isdir(path)  # noqa: PTH112 - answers for all names
        if isinstance(source, Problem) or (is_file and _is_read(path.name, unread)):
            yield path, source


def _expanded(pattern: str) -> Iterator[Found]:
    """Expand a pattern; unlike `glob`, `**` does not follow links to folders, which may lead back."""
    parts = pattern.split("/")
    if "**" not in parts:
        # Path.glob takes no absolute patterns.
        yield from ((Path(name), Path(name)) for name in glob.glob(pattern))  # noqa: PTH207
        return
    at = parts.index("**")
    head, tail = "/".join(parts[:at]), parts[at + 1 :]
    roots = glob.glob(head) if head else ["/" if pattern.startswith("/") else "."]  # noqa: PTH207
    for root in roots:
        for folder in _folders(Path(root)):
            if folder.problem is not None:
                yield folder.path, folder.problem
            else:
                below = "/".join([glob.escape(str(folder.path)), *(tail or ["*"])])
                yield from _expanded(below)


def _inside(root: Path, unread: Counter[str]) -> Iterator[Found]:
    """Find the pictures of a folder, then those of the folders in it."""
    for folder in _folders(root):
        if folder.problem is not None:
            yield folder.path, folder.problem
        # By stem first: the first of several pictures that share a caption file is the one that gets it.
        for name in sorted(folder.others, key=lambda name: (Path(name).stem, name)):
            if _is_read(name, unread):
                yield folder.path / name, folder.path / name


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder, and the names in it that are not hidden: `folders` and `others`."""

    path: Path
    folders: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    problem: Problem | None = None


def _folders(root: Path) -> Iterator[_Folder]:
    """Stream a folder and all folders in it, by name; links to folders are not followed."""
    waiting = [root]  # not a recursion: folders can be nested more deeply than Python's stack
    while waiting:
        folder = _listed(waiting.pop())
        yield folder
        waiting.extend(folder.path / name for name in sorted(folder.folders, reverse=True))


def _listed(path: Path) -> _Folder:
    folders, others = [], []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif not (entry.is_symlink() and os.path.isdir(entry)):  # noqa: PTH112 - answers for loops, too
                    others.append(entry.name)
    except OSError as exc:
        return _Folder(path, problem=Problem("unreadable", f"this folder cannot be listed: {exc.strerror}"))
    return _Folder(path, tuple(folders), tuple(others))


def _is_read(name: str, unread: Counter[str]) -> bool:
    """Return whether a file has the name of a picture; count it if its format is not read."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - ten times as fast, for millions of names
    if suffix in UNREAD_SUFFIXES:
        unread[suffix] += 1
    return suffix in PICTURE_SUFFIXES
