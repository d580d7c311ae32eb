"""Every value of every description, replaced by one that no program writes: a line, never a traceback."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.foreign.helpers.commands import READING, exit_status

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**6,
    10**10,
    10**30,
    0.5,
    float("nan"),
    "",
    "x",
    "../../evil",
    "\x1b[31m",
    [],
    [1],
    {},
)
TEXTS = (b"", b"{", b"[" * 100_000, b"null", b"1" * 5_000, b"\xff\xfe", b'{"a":' * 2_000)


def leaves(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values of a JSON document, containers included."""
    if path:
        yield path
    if isinstance(document, dict | list):
        for key in document if isinstance(document, dict) else range(len(document)):
            yield from leaves(document[key], (*path, key))


def mutated(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def trials(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Each JSON file of a folder with each mutation of it."""
    for file in sorted(folder.rglob("*.json")):
        if file.name == "croissant.json":  # nobody reads it here
            continue
        document = json.loads(file.read_bytes())
        for path in leaves(document):
            for value in HOSTILE:
                yield file, json.dumps(mutated(document, path, value)).encode()
        for text in TEXTS:
            yield file, text


@pytest.mark.parametrize("every", [97, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["store", "dataset"])
def test_mutated_descriptions_are_told_in_a_line(original: Path, tmp_path: Path, kind: str, every: int) -> None:
    """Status 0 where the value does not matter, 2 or 4 where it does."""
    folder = tmp_path / kind
    shutil.copytree(original / kind, folder)
    seen: dict[int, int] = {}
    for number, (file, content) in enumerate(trials(original / kind)):
        if number % every:
            continue
        target = folder / file.relative_to(original / kind)
        kept = target.read_bytes()
        target.write_bytes(content)
        for command in READING[kind]:
            try:
                status = exit_status(*command, folder)
            except BaseException as exc:
                raise AssertionError(f"{command} on {file.name} with {content[:300]!r}") from exc
            assert status in (0, 2, 4), (command, file.name, content[:300])
            seen[status] = seen.get(status, 0) + 1
        target.write_bytes(kept)

    assert seen
