"""Check of an exported table against the contract of its format. Pure: bytes in, one line per breach out."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from alti2v.model.onnx.check_beside import is_share
from alti2v.model.onnx.contract import (
    CL_ALL_CATEGORIES,
    CL_RATING,
    NATIVE_COLUMNS,
    RATINGS,
    WD_CHARACTER_CATEGORY,
    WD_COLUMNS,
    WD_GENERAL_CATEGORY,
    WD_RATING_CATEGORY,
    WD_RATING_IDS,
    fault_of,
)
from alti2v.model.options.choices import Format
from alti2v.records import Category
from alti2v.storage.documents import MOST_ROWS

_SHOWN = 3  # examples in one line


@dataclass(frozen=True, slots=True)
class ParsedTable:
    """A table as its readers see it.

    Attributes:
        rows: Rows by column name; empty if the file holds no table.
        breaches: Breaches of the contract, one line each.
    """

    rows: tuple[Mapping[str, str], ...]
    breaches: tuple[str, ...]


def check_labels(content: bytes, format_: Format) -> ParsedTable:
    """Check the table of output tags."""
    try:
        text = content.decode()
    except UnicodeDecodeError as exc:
        return ParsedTable((), (f"is not UTF-8 (byte {exc.start}): every reader decodes it as that",))
    if content.count(b"\n") > MOST_ROWS:
        return ParsedTable((), (f"has more than {MOST_ROWS:,} lines",))
    if format_ is Format.CL:
        return _check_mapping(text)
    if format_ is Format.DEEPGHS:
        return _check_deepghs(text)
    columns, check = (
        (NATIVE_COLUMNS, _native_breaches) if format_ is Format.ONNX else (WD_COLUMNS, _wd_breaches)
    )
    return _check_csv(text, columns, check)


def _check_csv(
    text: str, columns: Sequence[str], check: Callable[[Sequence[Mapping[str, str]]], Iterator[str]]
) -> ParsedTable:
    try:
        header, *lines = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    except csv.Error as exc:
        return ParsedTable((), (f"is not CSV ({exc})",))
    if header != list(columns):
        return ParsedTable((), (f"begins with {','.join(header)!r:.80} instead of {','.join(columns)!r}",))
    breaches = []
    if "\r" in text:
        breaches.append("has carriage returns: lines end with LF alone")
    if short := [number for number, line in enumerate(lines) if len(line) != len(columns)]:
        return ParsedTable((), (*breaches, f"{_some('row', short)} has not {len(columns)} cells"))
    rows = tuple(dict(zip(columns, line, strict=True)) for line in lines)
    number, *_, count = columns
    breaches += [
        f"{_some('row', wrong)} has a {column} that is no number"
        for column in (number, count)
        if (wrong := [i for i, row in enumerate(rows) if not row[column].isdecimal()])
    ]
    return ParsedTable(rows, (*breaches, *check(rows)))


def _check_deepghs(text: str) -> ParsedTable:
    """Check what imgutils' generic reader needs: names, categories, thresholds; other columns are free."""
    try:
        rows = tuple(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as exc:
        return ParsedTable((), (f"is not CSV ({exc})",))
    if not rows or not {"name", "category"} <= rows[0].keys():
        return ParsedTable((), ("has no rows with the columns name and category",))
    breaches = []
    if wrong := [i for i, row in enumerate(rows) if not (row["category"] or "").isdecimal()]:
        breaches.append(f"{_some('row', wrong)} has a category that is no number")
    if repeated := _repeated(row["name"] or "" for row in rows):
        breaches.append(f"{_some('name', repeated)} occurs more than once")
    if wrong := [i for i, row in enumerate(rows) if not is_share(row.get("best_threshold", "0"))]:
        breaches.append(f"{_some('row', wrong)} has a best_threshold outside [0, 1]")
    return ParsedTable(rows, tuple(breaches))


def _wd_breaches(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Check the order that all readers of WD taggers accept, see `labels.wd_labels`."""
    order = (WD_RATING_CATEGORY, WD_GENERAL_CATEGORY, WD_CHARACTER_CATEGORY)
    categories = [row["category"] for row in rows]
    if tuple(row["name"] for row in rows[:4]) != RATINGS or set(categories[:4]) != {WD_RATING_CATEGORY}:
        yield (
            f"rows 0 to 3 are not {', '.join(RATINGS)} of category 9: "
            "kohya and the webui taggers take the first four outputs for ratings, whatever they are"
        )
    if tuple(row["tag_id"] for row in rows[:4]) != tuple(map(str, WD_RATING_IDS)):
        yield f"the tag_id of rows 0 to 3 are not {', '.join(map(str, WD_RATING_IDS))}"
    if repeated := _repeated(row["tag_id"] for row in rows):
        yield f"{_some('tag_id', repeated)} occurs more than once"
    if foreign := [i for i, category in enumerate(categories) if category not in order]:
        yield (
            f"{_some('row', foreign)} has a category other than 9, 0 and 4: kohya ends with an IndexError, "
            "ComfyUI shows it as general or character"
        )
    found = [category for category, _ in groupby(categories)]
    if not foreign and any(order.index(left) >= order.index(right) for left, right in pairwise(found)):
        yield (
            f"categories come in the order {', '.join(found[:8])} instead of 9, 0, 4: "
            "kohya gives tags the names of others"
        )
    if WD_GENERAL_CATEGORY not in categories:
        yield "has no row of category 0: ComfyUI then shows ratings as tags"
    if WD_CHARACTER_CATEGORY not in categories:
        yield "has no row of category 4: ComfyUI then shows every tag twice, ratings among them"
    yield from _name_breaches([row["name"] for row in rows])


def _native_breaches(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    if [row["index"] for row in rows] != [str(i) for i in range(len(rows))]:
        yield "the index column is not 0, 1, 2, ..."
    if foreign := [i for i, row in enumerate(rows) if row["category"] not in set(Category)]:
        yield f"{_some('row', foreign)} has a category other than {', '.join(Category)}"
    if repeated := _repeated(row["name"] for row in rows):
        yield f"{_some('name', repeated)} occurs more than once"


def _check_mapping(text: str) -> ParsedTable:
    try:
        mapping = json.loads(text)
    except (ValueError, RecursionError) as exc:
        return ParsedTable((), (f"is not JSON ({exc})",))
    if not isinstance(mapping, dict) or set(mapping) != {str(i) for i in range(len(mapping))}:
        return ParsedTable((), ('is not an object with the keys "0", "1", "2", ...',))
    entries = [mapping[str(i)] for i in range(len(mapping))]
    if wrong := [i for i, entry in enumerate(entries) if not _is_entry(entry)]:
        return ParsedTable((), (f"{_some('entry', wrong)} has no tag and category",))
    breaches = []
    if foreign := [i for i, entry in enumerate(entries) if entry["category"] not in CL_ALL_CATEGORIES]:
        breaches.append(
            f"{_some('entry', foreign)} has a category other than {', '.join(sorted(CL_ALL_CATEGORIES))}"
        )
    if not any(entry["category"] == CL_RATING for entry in entries):
        breaches.append(f"has no entry of category {CL_RATING}")
    breaches += _name_breaches([entry["tag"] for entry in entries])
    rows = tuple({"name": entry["tag"], "category": entry["category"]} for entry in entries)
    return ParsedTable(rows, tuple(breaches))


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("tag", "category"))


def _name_breaches(names: Sequence[str]) -> Iterator[str]:
    faults: dict[str, list[str]] = {}
    for name in names:
        if fault := fault_of(name):
            faults.setdefault(fault, []).append(name)
    for fault, faulty in faults.items():
        yield f"{_some('name', faulty)} {fault}"
    if repeated := _repeated(names):
        yield f"{_some('name', repeated)} occurs more than once: readers look tags up by name"


def _repeated(values: Iterable[str]) -> list[str]:
    return [value for value, count in Counter(values).items() if count > 1]


def _some(what: str, examples: Sequence[object]) -> str:
    """List the first few: `row 3`, `name 'a,b' and 17 more`."""
    shown = ", ".join(repr(example) for example in examples[:_SHOWN])
    more = len(examples) - _SHOWN
    return f"{what} {shown}" + (f" and {more:,} more" if more > 0 else "")
