"""Categories of tags from a table, for tags whose source gives none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from alti2v.crawl.boards.values import clean_tag, integer
from alti2v.crawl.importing.sources.facts import category_of
from alti2v.crawl.importing.sources.item import Fault
from alti2v.crawl.importing.sources.rows import table_columns, table_rows
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.tag_counts import total_counts
from alti2v.errors import DataError
from alti2v.records import Category, Tag

# Names of the columns in the tables of the WD taggers (selected_tags.csv), of deepghs, and of our own stores.
_NAMES = ("name", "tag")
_CATEGORIES = ("category", "type")
_COLUMNS = (*_NAMES, *_CATEGORIES, "count", "post_count")


def check_tag_table(path: Path) -> None:
    """Check that a table has the columns of tags and categories.

    Raises:
        DataError: It has not.
    """
    columns = table_columns(path)
    if columns.isdisjoint(_NAMES) or columns.isdisjoint(_CATEGORIES):
        raise DataError(f"{path} has no columns `name` and `category`: give a table of tags (CSV or Parquet)")


def learn_categories(ledger: Ledger, path: Path) -> int:
    """Record the categories of those tags of the store that have none; return their number."""
    unknown = set(total_counts(ledger).get(Category.UNKNOWN, ()))
    tags = [tag for tag in _tags(path) if tag.name in unknown]
    with ledger.transaction():
        ledger.tags.add(tags, counted=False)
    return len(tags)


def _tags(path: Path) -> Iterator[Tag]:
    for row in table_rows(path, columns=_COLUMNS):
        if isinstance(row, Fault):
            continue
        name = next((row[column] for column in _NAMES if isinstance(row.get(column), str)), "")
        category = category_of(next((row[column] for column in _CATEGORIES if column in row), None))
        if category is not Category.UNKNOWN and name:
            yield Tag(name=clean_tag(name), category=category, count=integer(row.get("count")) or 0)
