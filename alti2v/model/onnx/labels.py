"""What the outputs of an exported model mean, in the rows that its readers take. Pure: tags in, tables out.

A row names the network's output that stands behind it, or the constant that does. The weights of the last layer
are arranged by these rows, so the table is the only place where the order is decided.
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
    CL_CATEGORIES,
    CL_RATING,
    PLACEHOLDER,
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

# sigmoid(-20) = 2e-9: below every threshold, and far from what float32 cannot hold.
_NEVER_LOG_ODDS = -20.0


@dataclass(frozen=True, slots=True)
class Rating:
    """A rating that every picture gets alike.

    Attributes:
        count: training pictures that carry it.
        probability: what the model says of it, of whatever picture; in (0, 1).
    """

    name: str
    count: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One output of the exported model.

    Attributes:
        id: the tag's number; unique in the table.
        name: as the table has it.
        category: as the table has it: "9", "0", "4", or "Rating", "General" ...
        count: training pictures that carry it.
        output: which output of the network it is; None for a constant.
        log_odds: of the constant; 0 where there is an output.
    """

    id: int
    name: str
    category: str
    count: int
    output: int | None = None
    log_odds: float = 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """A tag that is not in the table as it is in the vocabulary.

    Attributes:
        became: its name in the table; None if it is not there.
        why: in words.
    """

    tag: str
    became: str | None
    why: str


@dataclass(frozen=True, slots=True)
class LabelTable:
    """The rows of a table, and what was changed for it."""

    rows: tuple[Label, ...]
    changes: tuple[Change, ...]


def rating_constants(counts: Mapping[str, int]) -> tuple[Rating, ...]:
    """What to say of a picture's rating when nothing was learnt about it: the training pictures' shares.

    (count + 1) / (pictures + 4): Laplace's rule of succession for four kinds that exclude each other. The four
    sum to 1, none is 0 or 1, and without any count each is 1/4.

    Args:
        counts: training pictures by rating; other names are left out.
    """
    total = sum(counts.get(name, 0) for name in RATINGS)
    return tuple(
        Rating(name, counts.get(name, 0), (counts.get(name, 0) + 1) / (total + len(RATINGS)))
        for name in RATINGS
    )


def wd_labels(
    tags: Sequence[Tag], ratings: Sequence[Rating], *, with_copyrights: bool = True, placeholder: bool = False
) -> LabelTable:
    """Arrange tags in the only order that every reader of WD taggers takes.

    Four ratings; general tags; copyrights and tags without a category, as if they were general, because no
    reader has a place for them; characters. Artists and metadata are left out. In each part the most frequent
    comes first.

    Args:
        tags: output i of the network is tags[i].
        ratings: in the order of `RATINGS`.
        with_copyrights: whether copyrights come in.
        placeholder: whether to add a character that is never predicted if there is none.
    """
    places = [Category.GENERAL, *([Category.COPYRIGHT] if with_copyrights else []), Category.UNKNOWN]
    as_general = [item for category in places for item in _most_frequent(tags, category)]
    characters = list(_most_frequent(tags, Category.CHARACTER))
    left_out = [
        Change(tag.name, None, f"{tag.category.value} tags have no place in this format")
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
    """Arrange tags for kohya's second form, which keeps all categories; readers find each row by its number."""
    order = [item for category in CL_CATEGORIES for item in _most_frequent(tags, category)]
    names, changes = _unique_names(order, taken=RATINGS)
    rows = [
        *_constants(ratings, CL_RATING, ids=WD_RATING_IDS),
        *_outputs(order, names, CL_CATEGORIES),
    ]
    return LabelTable(tuple(rows), changes)


def count_categories(rows: Iterable[Label]) -> Mapping[str, int]:
    """How many rows each category has, by its name in lower case, in the order of the table."""
    return Counter(WD_CATEGORY_NAMES.get(row.category, row.category.lower()) for row in rows)


def native_labels(tags: Sequence[Tag]) -> LabelTable:
    """The vocabulary as it is."""
    return LabelTable(
        tuple(
            Label(id=output, name=tag.name, category=tag.category.value, count=tag.count, output=output)
            for output, tag in enumerate(tags)
        ),
        (),
    )


def selected_tags_csv(rows: Iterable[Label]) -> bytes:
    """The table of the WD taggers."""
    return table_csv(WD_COLUMNS, ((row.id, row.name, row.category, row.count) for row in rows))


def tag_mapping_json(rows: Iterable[Label]) -> bytes:
    """The table of kohya's second form."""
    mapping = {str(i): {"tag": row.name, "category": row.category} for i, row in enumerate(rows)}
    return (json.dumps(mapping, indent=1, ensure_ascii=False) + "\n").encode()


def table_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A table as CSV: UTF-8, LF, quotes only where they are needed (RFC 4180 but for the line end)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def _most_frequent(tags: Sequence[Tag], category: Category) -> Iterator[tuple[int, Tag]]:
    """(output, tag) of one category; equal counts stay in the order of the vocabulary."""
    of_category = [(output, tag) for output, tag in enumerate(tags) if tag.category is category]
    return iter(sorted(of_category, key=lambda item: -item[1].count))


def _unique_names(
    order: Iterable[tuple[int, Tag]], *, taken: Iterable[str]
) -> tuple[dict[int, str], tuple[Change, ...]]:
    """Names that no reader stumbles over, by output; an output without a name has to be left out."""
    names: dict[int, str] = {}
    changes = []
    seen = set(taken)
    # Sound names first: no tag loses its own to one that has to be mended.
    for output, tag in sorted(order, key=lambda item: bool(fault_of(item[1].name))):
        name, why = _mended(tag.name), fault_of(tag.name)
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


def _mended(name: str) -> str:
    """The name without what harms; the boards' own way to qualify a name is a word in parentheses."""
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
