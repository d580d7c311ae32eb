"""Damage to the files of a folder: other values in JSON and CSV, other texts, other bits."""

from __future__ import annotations

import copy
import csv
import io
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 10**6, 10**10, 10**30, 0.5, float("nan"), float("inf")),
    *("", "x", "../../evil", "\x1b[31m", [], [1], {}),
)
HOSTILE_CELLS = (
    "",
    "-1",
    str(10**6),
    "9" * 5_000,
    "0.5",
    "nan",
    "x" * 200_000,
    "../../evil",
    '"',
    "\x1b[31m",
    "1,2,3,4,5",
)
TEXTS = (
    *(b"", b"{", b"[" * 100_000, b"null", b"1" * 5_000, b"\xff\xfe", b'{"a":' * 2_000, b"[{}]", b"\0" * 100),
    *(b"a,b\n1", b'"' * 1_000, b"index,name,category,count\n" * 3),
)
_MOST_ROWS = 3  # the others of a table are alike
_FLIPS = 24  # of a file that is not text


@dataclass(frozen=True, slots=True)
class Mutation:
    """A file of a folder with other content.

    Attributes:
        file: Relative to the folder.
        what: What was done, for the message of a test.
        content: The bytes.
    """

    file: Path
    what: str
    content: bytes


def mutations(folder: Path, names: Sequence[str] = ("*",)) -> Iterator[Mutation]:
    """Every mutation of every file whose name matches, in a fixed order."""
    files = sorted({file for name in names for file in folder.rglob(name) if file.is_file()})
    for file in files:
        relative, content = file.relative_to(folder), file.read_bytes()
        if file.suffix == ".json":
            yield from (Mutation(relative, what, changed) for what, changed in _of_json(content))
        elif file.suffix == ".csv":
            yield from (Mutation(relative, what, changed) for what, changed in _of_csv(content))
        elif content:
            yield from (Mutation(relative, what, changed) for what, changed in _of_bytes(relative, content))
        yield from (Mutation(relative, f"is {text[:40]!r}", text) for text in TEXTS)


def _of_json(content: bytes) -> Iterator[tuple[str, bytes]]:
    document = json.loads(content)
    for path in _leaves(document):
        for value in HOSTILE:
            yield f"{path} is {value!r:.40}", json.dumps(_changed(document, path, value)).encode()
        yield f"{path} is missing", json.dumps(_changed(document, path)).encode()


def _leaves(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values of a JSON document, containers included."""
    if path:
        yield path
    if isinstance(document, dict):
        keys = list(document)
        alike = len(keys) > 2 * _MOST_ROWS and len({type(value) for value in document.values()}) == 1
        for key in keys[:_MOST_ROWS] if alike else keys:
            yield from _leaves(document[key], (*path, key))
    if isinstance(document, list):
        for number, value in enumerate(document[:_MOST_ROWS]):
            yield from _leaves(value, (*path, number))


def _changed(document: Any, path: tuple[Any, ...], *value: Any) -> Any:
    """Replace the value at a path, or leave it out."""
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if value:
        (inner[path[-1]],) = value
    else:
        del inner[path[-1]]
    return changed


def _of_csv(content: bytes) -> Iterator[tuple[str, bytes]]:
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    for number in range(min(len(rows), 1 + _MOST_ROWS)):
        for column in range(len(rows[number])):
            for cell in HOSTILE_CELLS:
                changed = [list(row) for row in rows]
                changed[number][column] = cell
                yield f"cell {number}, {column} is {cell[:40]!r}", _csv(changed)
        yield f"row {number} is missing", _csv([row for i, row in enumerate(rows) if i != number])
        yield f"row {number} is short", _csv([row[: 1 if i == number else None] for i, row in enumerate(rows)])


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _of_bytes(file: Path, content: bytes) -> Iterator[tuple[str, bytes]]:
    rng = random.Random(str(file))
    for _ in range(_FLIPS):
        place, bit = rng.randrange(len(content)), rng.randrange(8)
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        yield f"bit {bit} of byte {place:,} is another", bytes(damaged)
    for _ in range(_FLIPS // 4):
        length = rng.randrange(len(content))
        yield f"ends after {length:,} bytes", content[:length]
