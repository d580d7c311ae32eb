"""Which files are meant: paths, folders, patterns and lists become one stream of pictures. Reads no picture."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from alti2v.errors import DataError, UsageError

# Of the formats that are read (`layout.IMAGE_SUFFIX_OF_FORMAT`); a file that is named may be called anything.
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp"})
STDIN = "-"


def find_pictures(arguments: Sequence[str], listed: Iterable[str] = ()) -> Iterator[Path]:
    """Stream the pictures that arguments mean, in their order; folders by name, what is hidden left out.

    Args:
        arguments: files, folders (with all inside them), patterns such as `art/**/*.png` where no file is
            called so, and "-" for what is listed.
        listed: lines, a path each; blank ones are left out. They are not looked for here: who names a file
            that is not there learns it when the file is read.

    Raises:
        UsageError: an argument means nothing that exists.
    """
    for argument in arguments:
        if argument == STDIN:
            yield from (Path(line) for line in listed if line.strip())
        elif os.path.isdir(argument):  # noqa: PTH112 - os.path answers False where Path raises, e.g. for "a\0b"
            yield from _inside(Path(argument))
        elif os.path.lexists(argument):
            yield Path(argument)
        else:
            yield from _matching(argument)


def count_pictures(arguments: Sequence[str]) -> int | None:
    """Count what `find_pictures` will find; None where some are listed, which can be read only once.

    Raises:
        UsageError: an argument means nothing that exists.
        DataError: there is no picture.
    """
    if STDIN in arguments:
        _ = sum(1 for argument in arguments if argument != STDIN for _ in find_pictures([argument]))
        return None
    count = sum(1 for _ in find_pictures(arguments))
    if not count:
        raise DataError(
            f"no picture in {', '.join(arguments)}: files ending in {', '.join(sorted(PICTURE_SUFFIXES))}"
        )
    return count


def _matching(pattern: str) -> Iterator[Path]:
    if not glob.has_magic(pattern):
        raise UsageError(f"{pattern} does not exist: give files, folders, patterns, or - for a list on stdin")
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute patterns
    if not found:
        raise UsageError(f"nothing matches {pattern}")
    for name in found:
        path = Path(name)
        if path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES:
            yield path


def _inside(folder: Path) -> Iterator[Path]:
    """Pictures of a folder, then of those in it; links to folders are not followed, they may lead back."""
    try:
        with os.scandir(folder) as entries:
            visible = [
                (entry.name, entry.is_dir(follow_symlinks=False), entry.is_file())
                for entry in entries
                if not entry.name.startswith(".")
            ]
    except OSError as exc:
        raise UsageError(f"{folder} cannot be listed ({exc.strerror}): leave it out") from exc
    names = [name for name, _, is_file in visible if is_file]
    # By stem first: pictures that would share a sidecar are neighbours.
    for name in sorted(names, key=lambda name: (Path(name).stem, name)):
        if Path(name).suffix.lower() in PICTURE_SUFFIXES:
            yield folder / name
    for name, is_folder, _ in sorted(visible):
        if is_folder:
            yield from _inside(folder / name)
