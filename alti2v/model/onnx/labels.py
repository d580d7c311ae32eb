"""Tables of the outputs of exported models. Pure: tags in, tables out.

A row refers to an output of the network or to a constant. The weights of the last layer are arranged by these
rows, so the order of the outputs is decided only here.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from alti2v.model.onnx.contract import (
    CATEGORIES_FILE,
    CATEGORY_THRESHOLDS_FILE,
    CL_CATEGORIES,
    CL_RATING,
    DEEPGHS_CATEGORIES,
    DEEPGHS_COLUMNS,
    DEEPGHS_UNKNOWN_CATEGORY,
    PLACEHOLDER,
    PREPROCESS_FILE,
    RATINGS,
    WD_CATEGORY_NAMES,
    WD_CHARACTER_CATEGORY,
    WD_COLUMNS,
    WD_GENERAL_CATEGORY,
    WD_RATING_CATEGORY,
    WD_RATING_IDS,
    fault_of,
    reads_as_missing,
)
from alti2v.records import Category, Tag
from alti2v.storage.publish import json_bytes

# sigmoid(-20) = 2e-9: below every threshold, and well within the range of float32.
_NEVER_LOG_ODDS = -20.0


@dataclass(frozen=True, slots=True)
class Rating:
    """A rating with the same probability for every picture.

    Attributes:
        name: One of `RATINGS`.
        count: Number of training pictures that have it.
        probability: Constant output of the model, in (0, 1).
    """

    name: str
    count: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One output of the exported model.

    Attributes:
        id: ID of the tag; unique in the table.
        name: Name in the table.
        category: Category in the table: "9", "0", "4", or "Rating", "General" and so on.
        count: Number of training pictures that have the tag.
        output: Output of the network; None for a constant.
        log_odds: Log-odds of the constant; 0 for an output.
    """

    id: int
    name: str
    category: str
    count: int
    output: int | None = None
    log_odds: float = 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """A tag that differs between the vocabulary and the table.

    Attributes:
        tag: Name in the vocabulary.
        became: Name in the table; None if it is left out.
        why: Reason, in words.
    """

    tag: str
    became: str | None
    why: str


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Rows of a table, and the changes made for it."""

    rows: tuple[Label, ...]
    changes: tuple[Change, ...]


def rating_constants(counts: Mapping[str, int]) -> tuple[Rating, ...]:
    """Return the ratings' shares of the training pictures, as constants for a model that learnt no ratings.

    (count + 1) / (pictures + 4) is Laplace's rule of succession for four mutually exclusive kinds. The four sum
    to 1, all lie strictly between 0 and 1, and without counts each is 1/4.

    Args:
        counts: Rating -> number of training pictures; other names are ignored.
    """
    total = sum(counts.get(name, 0) for name in RATINGS)
    return tuple(
        Rating(name, counts.get(name, 0), (counts.get(name, 0) + 1) / (total + len(RATINGS)))
        for name in RATINGS
    )


def wd_labels(
    tags: Sequence[Tag], ratings: Sequence[Rating], *, with_copyrights: bool = True, placeholder: bool = False
) -> LabelTable:
    """Arrange tags in the only order that all readers of WD taggers accept.

    The order is: four ratings; general tags; copyright tags and tags without a category, exported as general
    because the format lacks these categories; characters. Artist and meta tags are left out. Each part is
    sorted by falling count.

    Args:
        tags: Output i of the network is tags[i].
        ratings: Constants in the order of `RATINGS`.
        with_copyrights: True to include copyright tags.
        placeholder: True to add a character that is never predicted if there is none.
    """
    places = [Category.GENERAL, *([Category.COPYRIGHT] if with_copyrights else []), Category.UNKNOWN]
    as_general = [item for category in places for item in _most_frequent(tags, category)]
    characters = list(_most_frequent(tags, Category.CHARACTER))
    left_out = [
        Change(tag.name, None, f"{tag.category.value} tags do not exist in this format")
        for tag in tags
        if tag.category not in (*places, Category.CHARACTER)
    ]
    taken = (*RATINGS, PLACEHOLDER) if placeholder else RATINGS
    names, changes = _unique_names([*as_general, *characters], taken=taken)
    moved = [
        Change(tag.name, names[output], f"{tag.category.value} tags count as general in this format")
        for output, tag in as_general
        if tag.category is not Category.GENERAL and output in names
    ]
    rows = [
        *_constants(ratings, WD_RATING_CATEGORY, ids=WD_RATING_IDS),
        *_outputs(as_general, names, dict.fromkeys(Category, WD_GENERAL_CATEGORY)),
        *_outputs(characters, names, {Category.CHARACTER: WD_CHARACTER_CATEGORY}),
    ]
    if placeholder and not any(row.category == WD_CHARACTER_CATEGORY for row in rows):
        rows.append(
            Label(
                id=len(tags),
                name=PLACEHOLDER,
                category=WD_CHARACTER_CATEGORY,
                count=0,
                log_odds=_NEVER_LOG_ODDS,
            )
        )
    return LabelTable(tuple(rows), (*changes, *moved, *left_out))


def cl_labels(tags: Sequence[Tag], ratings: Sequence[Rating]) -> LabelTable:
    """Arrange tags for kohya's second format, which keeps all categories; readers find rows by number."""
    order = [item for category in CL_CATEGORIES for item in _most_frequent(tags, category)]
    names, changes = _unique_names(order, taken=RATINGS)
    rows = [
        *_constants(ratings, CL_RATING, ids=WD_RATING_IDS),
        *_outputs(order, names, CL_CATEGORIES),
    ]
    return LabelTable(tuple(rows), changes)


def deepghs_labels(tags: Sequence[Tag]) -> LabelTable:
    """Keep the vocabulary, for imgutils' generic reader, which has a number for every category."""
    return LabelTable(
        tuple(
            Label(
                id=output,
                name=tag.name,
                category=DEEPGHS_UNKNOWN_CATEGORY if tag.category.code is None else str(tag.category.code),
                count=tag.count,
                output=output,
            )
            for output, tag in enumerate(tags)
        ),
        (),
    )


def count_categories(rows: Iterable[Label]) -> Mapping[str, int]:
    """Count rows by category, named in lower case, in the order of the table."""
    names = {**DEEPGHS_CATEGORIES, **WD_CATEGORY_NAMES}
    return Counter(names.get(row.category, row.category.lower()) for row in rows)


def native_labels(tags: Sequence[Tag]) -> LabelTable:
    """Return the vocabulary unchanged."""
    return LabelTable(
        tuple(
            Label(id=output, name=tag.name, category=tag.category.value, count=tag.count, output=output)
            for output, tag in enumerate(tags)
        ),
        (),
    )


def selected_tags_csv(rows: Iterable[Label]) -> bytes:
    """Write the table of the WD taggers."""
    return table_csv(WD_COLUMNS, ((row.id, row.name, row.category, row.count) for row in rows))


def deepghs_csv(rows: Iterable[Label], thresholds: Mapping[str, float], *, otherwise: float) -> bytes:
    """Write the table of imgutils' generic form, with the thresholds of tags by name, otherwise this one."""
    return table_csv(
        DEEPGHS_COLUMNS,
        (
            (row.id, row.id, row.name, row.category, row.count, thresholds.get(row.name, otherwise))
            for row in rows
        ),
    )


def deepghs_files(rows: Iterable[Label], *, side_px: int, threshold: float) -> dict[str, bytes]:
    """Write the files beside that table: names of categories, a threshold for each, and the preparation."""
    present = {row.category for row in rows}
    names = {
        number: name
        for number, name in sorted(DEEPGHS_CATEGORIES.items(), key=lambda item: int(item[0]))
        if number in present
    }
    stages = [
        {
            "type": "pad_to_size",
            "size": [side_px, side_px],
            "background_color": "white",
            "interpolation": "bicubic",
        },
        {"type": "maybe_to_tensor"},
        {"type": "normalize", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    ]
    categories = [{"category": int(number), "name": name} for number, name in names.items()]
    return {
        CATEGORIES_FILE: json_bytes(categories),
        CATEGORY_THRESHOLDS_FILE: table_csv(
            ("category", "name", "threshold"),
            ((number, name, threshold) for number, name in names.items()),
        ),
        PREPROCESS_FILE: json_bytes({"test": stages, "val": stages}),
    }


def tag_mapping_json(rows: Iterable[Label]) -> bytes:
    """Write the table of kohya's second format."""
    mapping = {str(i): {"tag": row.name, "category": row.category} for i, row in enumerate(rows)}
    return (json.dumps(mapping, indent=1, ensure_ascii=False) + "\n").encode()


def table_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Write a table as CSV: UTF-8, LF, quotes only where needed (RFC 4180 except for the line ends)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def _most_frequent(tags: Sequence[Tag], category: Category) -> Iterator[tuple[int, Tag]]:
    """Sort (output, tag) of one category by falling count; equal counts keep the vocabulary's order."""
    of_category = [(output, tag) for output, tag in enumerate(tags) if tag.category is category]
    return iter(sorted(of_category, key=lambda item: -item[1].count))


def _unique_names(
    order: Iterable[tuple[int, Tag]], *, taken: Iterable[str]
) -> tuple[dict[int, str], tuple[Change, ...]]:
    """Return a unique, safe name for each output; outputs without one are left out of the table."""
    names: dict[int, str] = {}
    changes = []
    seen = set(taken)
    # Safe names first, so that no tag loses its name to a repaired one.
    for output, tag in sorted(order, key=lambda item: bool(fault_of(item[1].name))):
        name, why = _repaired(tag.name), fault_of(tag.name)
        if name in seen:
            name, why = f"{name}_(tag)", why or "is the name of another row"
        if not name or name in seen:
            changes.append(Change(tag.name, None, f"{why}, and no other name is free"))
            continue
        seen.add(name)
        names[output] = name
        if name != tag.name:
            changes.append(Change(tag.name, name, why))
    return names, tuple(changes)


def _repaired(name: str) -> str:
    """Remove harmful characters; qualify a name as boards do, with a word in parentheses."""
    printable = "".join("_" if letter.isspace() else letter for letter in name.replace(",", ""))
    printable = "".join(letter for letter in printable if letter.isprintable())
    return f"{printable}_(tag)" if printable and reads_as_missing(printable) else printable


def _constants(ratings: Sequence[Rating], category: str, *, ids: Sequence[int]) -> Iterator[Label]:
    for number, rating in zip(ids, ratings, strict=True):
        log_odds = math.log(rating.probability / (1 - rating.probability))
        yield Label(id=number, name=rating.name, category=category, count=rating.count, log_odds=log_odds)


def _outputs(
    order: Iterable[tuple[int, Tag]], names: Mapping[int, str], category_of: Mapping[Category, str]
) -> Iterator[Label]:
    for output, tag in order:
        if output in names:
            category = category_of[tag.category]
            yield Label(id=output, name=names[output], category=category, count=tag.count, output=output)
