"""Tables of tags of published models: CSV and JSON to names, categories and thresholds. Pure.

Row i is output i. Faults are `ValueError`s whose text names the file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alti2v.arrays import Float32Array
from alti2v.model.options.choices import RATING
from alti2v.model.vocabulary import IGNORED, OutputTags, make_vocabulary
from alti2v.numerals import counted
from alti2v.records import CATEGORY_OF_CODE, Category, composed
from alti2v.storage.documents import csv_rows

# Word of a table -> category; those that are no category of boards are facts about the file or the picture.
CATEGORY_OF_WORD: Mapping[str, str] = {
    **{category.value: category.value for category in Category},
    RATING: RATING,
    "species": Category.GENERAL.value,
    **dict.fromkeys(("quality", "model", "year", "lore"), Category.META.value),
}
# Danbooru's numbers, and the WD taggers' 9 for ratings.
CATEGORY_OF_NUMBER: Mapping[str, str] = {
    **{str(code): category.value for code, category in CATEGORY_OF_CODE.items()},
    "9": RATING,
}
# e621's numbers (its help on tag categories): 5 is species, 7 meta, 8 lore.
E621_CATEGORY_OF_NUMBER: Mapping[str, str] = {
    **{str(code): category.value for code, category in CATEGORY_OF_CODE.items() if code != 5},
    "5": Category.GENERAL.value,
    "7": Category.META.value,
    "8": Category.META.value,
}
THRESHOLD_COLUMN = "best_threshold"
_PLACEHOLDERS = frozenset({"<pad>", "<unk>"})  # OppaiOracle's first two outputs, which are no tags
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggerTags:
    """A table of tags.

    Attributes:
        vocabulary: Names and categories of the outputs.
        thresholds: (T,) float32 from the column `best_threshold`, NaN where a cell is empty; None without one.
        threshold_source: Origin of the thresholds, for display; "" if there is none.
        copyright_of: Character -> its copyrights.
        notes: Remarks about the table for the user, one line each.
    """

    vocabulary: OutputTags
    thresholds: Float32Array | None = None
    threshold_source: str = ""
    copyright_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_tag_csv(
    content: bytes,
    file: str,
    *,
    category_of: Mapping[str, str] = CATEGORY_OF_NUMBER,
    name_columns: Sequence[str] = ("name",),
) -> TaggerTags:
    """Read a table with a header: column `name`, and `category`, `best_threshold` and `ips` if they are there.

    Args:
        content: Content of the file; UTF-8, with or without a byte order mark, any line ends.
        file: Name of the file, for messages.
        category_of: Category of each number or word.
        name_columns: Columns that may hold the name; without a column `category` all tags are general.

    Raises:
        ValueError: It is another file, names a tag twice, or has a threshold outside [0, 1].
    """
    rows = _csv_rows(content, file)
    column = next((name for name in name_columns if name in rows[0]), None)
    if column is None:
        raise ValueError(
            f"{file} is not the table of a tagger's tags (no column {name_columns[0]!r}): get it again"
        )
    if any(row[column] in (None, "") for row in rows):
        raise ValueError(f"{file} is not the table of a tagger's tags (a row without a name): get it again")
    words = [row["category"] for row in rows] if "category" in rows[0] else ["general"] * len(rows)
    names = [row[column] for row in rows]
    table = make_tag_table(names, words, file, category_of={**CATEGORY_OF_WORD, **category_of})
    thresholds = _column_of_thresholds([row.get(THRESHOLD_COLUMN) for row in rows], file)
    return TaggerTags(
        vocabulary=table.vocabulary,
        thresholds=thresholds,
        threshold_source="" if thresholds is None else f"{THRESHOLD_COLUMN} in {file}",
        copyright_of=_copyrights(names, [row["ips"] for row in rows], file) if "ips" in rows[0] else {},
        notes=table.notes,
    )


def make_tag_table(
    names: Sequence[str], words: Sequence[str | None], file: str, *, category_of: Mapping[str, str]
) -> TaggerTags:
    """Make a table from names and the words or numbers of their categories.

    A category that is not known counts as unknown, with a note.

    Raises:
        ValueError: No category is known, or a tag is there twice.
    """
    unknown = Counter(word for word in words if (word or "").lower() not in category_of)
    if not names:
        raise ValueError(f"{file} has no tags: get it again")
    if unknown.total() == len(words):
        shown = ", ".join(repr(word) for word, _ in unknown.most_common(_SHOWN))
        raise ValueError(f"{file} is not the table of a tagger's tags (no category is known: {shown:.80})")
    categories = [category_of.get((word or "").lower(), Category.UNKNOWN.value) for word in words]
    categories = [
        IGNORED if name.lower() in _PLACEHOLDERS else RATING if name.startswith("rating:") else category
        for name, category in zip(names, categories, strict=True)
    ]
    _require_unique(names, categories, file)
    notes = tuple(
        f"{counted(count, 'tag')} of {file} with the category {word!r} count as unknown"
        for word, count in unknown.most_common(_SHOWN)
    )
    return TaggerTags(vocabulary=make_vocabulary(zip(names, categories, strict=True), file=file), notes=notes)


def read_category_thresholds(content: bytes, file: str, category_of: Mapping[str, str]) -> dict[str, float]:
    """Read thresholds.csv of imgutils: columns `category`, `threshold`, and perhaps `name` and `alpha`.

    Of rows that differ only in `alpha`, the first counts.

    Raises:
        ValueError: It is another file, has two thresholds for a category, or another name for its number.
    """
    found: dict[str, float] = {}
    first: dict[tuple[str, str | None], float] = {}
    rows = _csv_rows(content, file, holds="thresholds")
    if not {"threshold", "category"} <= rows[0].keys():
        raise ValueError(f"{file} has no columns category and threshold: get it again")
    for row in rows:
        word = (row["category"] or "").lower()
        category, named = category_of.get(word), CATEGORY_OF_WORD.get((row.get("name") or "").lower())
        if None not in (category, named) and category != named:
            raise ValueError(
                f"{file} names the category {word!r:.40} {named}, and it is {category}: get it again"
            )
        threshold = probability(row["threshold"], file)
        if first.setdefault((word, row.get("alpha")), threshold) != threshold:
            raise ValueError(f"{file} has two thresholds for the category {word!r:.40}: leave one of them")
        if category is not None:
            found.setdefault(category, threshold)
    return found


def read_document(content: bytes, file: str) -> Any:  # noqa: ANN401 - the caller checks the shape
    """Parse the JSON of a downloaded file.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"{file} is not JSON ({exc!s:.80}): get it again") from exc


def ordered(mapping: Mapping[str, Any], file: str) -> list[Any]:
    """Return the values of {"0": ..., "1": ...} in the order of their numbers.

    Raises:
        ValueError: The keys are not 0, 1 and so on.
    """
    if set(mapping) != {str(number) for number in range(len(mapping))}:
        raise ValueError(
            f"{file} is not the table of a tagger's tags (its numbers are not 0 to {len(mapping) - 1}): "
            "get it again"
        )
    return [mapping[str(number)] for number in range(len(mapping))]


def probability(value: object, file: str) -> float:
    """Convert a cell or a JSON number to a threshold.

    Raises:
        ValueError: It is not a number in [0, 1].
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if not 0 <= number <= 1:
        raise ValueError(f"{file} has the threshold {value!r:.40}, which is not in [0, 1]")
    return number


def _csv_rows(content: bytes, file: str, *, holds: str = "tags") -> list[dict[str, Any]]:
    try:
        rows = csv_rows(content)
    except ValueError as exc:
        raise ValueError(f"{file} is not the table of a tagger's {holds} ({exc}): get it again") from exc
    if not rows:
        raise ValueError(f"{file} has no {holds} below a header: get it again")
    return rows


def _column_of_thresholds(cells: Iterable[str | None], file: str) -> Float32Array | None:
    """Read a threshold of each tag; a cell that is empty or nan, which a table of pandas may have, is none."""
    empty = (None, "", "nan")
    found = np.array(
        [np.nan if (cell or "").lower() in empty else probability(cell, file) for cell in cells], np.float32
    )
    return None if bool(np.isnan(found).all()) else found


def _copyrights(names: Sequence[str], cells: Sequence[str | None], file: str) -> dict[str, tuple[str, ...]]:
    """Read the column `ips` of PixAI's table: a JSON list of copyrights for each character."""
    found = {}
    for name, cell in zip(names, cells, strict=True):
        if cell and cell != "[]":
            copyrights = read_document(cell.encode(), f"{file}, column ips")
            if not isinstance(copyrights, list) or not all(isinstance(one, str) for one in copyrights):
                raise ValueError(f"{file} has {cell!r:.60} in the column ips instead of a list of copyrights")
            found[name] = tuple(copyrights)
    return found


def _require_unique(names: Sequence[str], categories: Sequence[str], file: str) -> None:
    """Require names that differ as `find_tag` compares them: composed, with underscores."""
    first: dict[tuple[str, str], int] = {}
    for row, (name, category) in enumerate(zip(names, categories, strict=True)):
        key = composed(name).replace(" ", "_"), category
        if first.setdefault(key, row) != row:
            raise ValueError(f"rows {first[key]} and {row} of {file} are both {key[0]!r:.60}: get it again")
