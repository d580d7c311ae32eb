"""Files of post numbers, one per line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alti2v.arrays import Int64Array
from alti2v.errors import UsageError
from alti2v.storage.documents import open_named

_MOST_DIGITS = 40  # leading zeros are allowed; Python refuses to read thousands


@dataclass(frozen=True, slots=True, kw_only=True)
class IdLines:
    """Contents of a file of post numbers.

    Attributes:
        ids: (n,) int64, ascending and distinct.
        unusable: A line for each line of the file that is not a post number.
    """

    ids: Int64Array
    unusable: tuple[str, ...]


def read_ids(path: Path) -> Int64Array:
    """Read a file with one post number per line; blank lines and lines that begin with # are ignored.

    Raises:
        UsageError: The file cannot be read, a line is not a number, or there is no number.
    """
    lines = read_id_lines(path)
    if lines.unusable:
        raise UsageError(lines.unusable[0])
    return lines.ids


def read_id_lines(path: Path) -> IdLines:
    """Read a file as `read_ids` does, but return lines that are not numbers instead of refusing the file.

    Raises:
        UsageError: The file cannot be read, or there is no number.
    """
    try:
        with open_named(path) as file:
            content = file.read()
    except OSError as exc:
        raise UsageError(
            f"{path} cannot be read ({exc.strerror}): give a file with one post number per line"
        ) from exc
    lines = content.decode("utf-8-sig", "surrogateescape").splitlines()  # a comment need not be UTF-8
    ids, unusable = set(), []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS and 0 < int(text) < 10**12:
            ids.add(int(text))
        else:
            unusable.append(
                f"{path}, line {number}: {_quoted(text[:40])} is not a post number: give that of the column id "
                "of the tables in metadata/"
            )
    if not ids:
        raise UsageError(
            unusable[0] if unusable else f"{path} contains no post number: give one post number per line"
        )
    return IdLines(ids=np.array(sorted(ids), np.int64), unusable=tuple(unusable))


def _quoted(text: str) -> str:
    """Return text in quotes; bytes that were not UTF-8, and characters that do not print, become escapes."""
    plain = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return f"'{''.join(one if one.isprintable() else ascii(one)[1:-1] for one in plain)}'"
