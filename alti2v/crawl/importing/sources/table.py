"""Reader of tables of posts: metadata of Danbooru, and index tables with a row for each post."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from alti2v.crawl.boards.protocol import Skip
from alti2v.crawl.importing.sources.facts import KEYS, TAG_KEYS, facts_of, facts_of_columns, unusable_tags
from alti2v.crawl.importing.sources.files import folders, printable
from alti2v.crawl.importing.sources.item import Fault, Item, Lack, item_name
from alti2v.crawl.importing.sources.pictures import PictureSource, open_pictures
from alti2v.crawl.importing.sources.rows import ColumnBatch, TableRow, table_batches, table_columns, table_rows
from alti2v.errors import DataError
from alti2v.records import Post

TABLE_SUFFIXES = ("parquet", "csv", "jsonl", "ndjson")
_OF_TAGS = ("tags", "tag_string", "tag_string_general", "tags_general", "caption")
_OF_IDS = ("id", "md5", "hash")
_LOOKED_AT = 100  # rows, for a column of tags


def table_items(root: Path, *, pictures: Path | None, store: Path, base: str = "") -> Iterator[Item]:
    """Yield the rows of a table, or of all tables of posts in a folder, with their pictures.

    Args:
        root: Table or folder.
        pictures: Folder with the pictures; None if they are in the folder of tables, or if there are none.
        store: Folder of the store, which is not searched.
        base: Base of relative addresses of files; "" for none.
    """
    tables = find_tables(root, store=store) if root.is_dir() else [root]
    folder = pictures or (root if root.is_dir() else None)
    # Links in a folder that was named for its pictures are the user's own; those in a source may be anybody's.
    with open_pictures(folder, store=store, follows_links=pictures is not None) as found:
        for table in tables:
            name = item_name(table.name)
            for number, (row, board) in enumerate(_posts(table, base), 1):
                yield _item(row, board, f"{name}/{number}", found)
        yield from found.left()


def find_tables(root: Path, *, store: Path) -> Sequence[Path]:
    """Return the tables of posts in a folder: those with ids and tags."""
    return [path for path in tables_in(root, store=store) if is_of_posts(table_columns(path))]


def tables_in(root: Path, *, store: Path) -> Iterator[Path]:
    """Yield the files in a folder that may be tables, in the order of their names."""
    for folder in folders(root, without=store):
        for name in folder.names:
            suffix = name.rpartition(b".")[2].decode("ascii", "replace").lower()
            is_metadata = suffix == "json" and name.startswith(b"posts")  # Danbooru2021: lines in posts*.json
            if (suffix in TABLE_SUFFIXES or is_metadata) and folder.file(name).fault is None:
                yield folder.path_of(name)


def is_of_posts(columns: frozenset[str]) -> bool:
    """Return whether a table with these columns has a row for each post."""
    return not columns.isdisjoint(_OF_TAGS) and not columns.isdisjoint(_OF_IDS)


def check_table(table: Path) -> None:
    """Check that the rows of a table may have tags, if its first rows can be read.

    Raises:
        DataError: They have no column of tags, or no row can be read.
    """
    rows = list(itertools.islice(table_rows(table), _LOOKED_AT))
    sound = [row for row in rows if not isinstance(row, Fault)]
    faults = [row for row in rows if isinstance(row, Fault)]
    if faults and not sound:
        raise DataError(f"{faults[0].message}: no row of the table can be read")
    columns = set(itertools.chain.from_iterable(sound))
    if sound and columns.isdisjoint(TAG_KEYS):
        found = ", ".join(sorted(columns))
        raise DataError(
            f"{printable(table)} has no column of tags, only {found!a:.200}: name one `tags`, in lower case"
        )


def _posts(table: Path, base: str) -> Iterator[tuple[Post | Fault, str]]:
    """Yield the facts of each row, and the site of its id."""
    before = 0  # rows
    for batch in table_batches(table, columns=KEYS):
        if isinstance(batch, Fault):
            found: list[tuple[Post | Fault, str]] = [(batch, "")]
        elif not isinstance(batch, ColumnBatch):
            found = [_of_row(batch, base, table, before + 1)]
        elif (posts := facts_of_columns(batch.columns, base)) is not None:
            found = [(post, "") for post in posts]
        else:
            found = [_of_row(row, base, table, number) for number, row in enumerate(batch.rows(), before + 1)]
        before += len(found)
        yield from found


def _of_row(row: TableRow, base: str, table: Path, number: int) -> tuple[Post | Fault, str]:
    """Return the facts of a row, the first of which has number 1, and the site of its id."""
    facts = facts_of(row, base)
    fault = unusable_tags(row, facts, f"{printable(table)}, row {number:,}")
    return (facts, _board(row)) if fault is None else (fault, "")


def _board(row: TableRow) -> str:
    return "danbooru" if "tag_string_general" in row else ""


def _item(facts: Post | Fault, board: str, name: str, pictures: PictureSource) -> Item:
    if isinstance(facts, Fault):
        return Item(name=name, problem=facts)
    found = pictures.find(facts) if facts.id or facts.md5 else None
    if found is not None:
        return Item(name=found[0], facts=facts, board=board, place=found[1])
    problem = Skip.NO_PICTURE if facts.id or facts.md5 else Lack.NO_ID
    return Item(name=name, facts=facts, board=board, problem=problem)
