"""Posts of a store as columns on disk, one row per post in ascending order of id."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alti2v.arrays import Int32Array, Int64Array
from alti2v.dataset.plan.filters import FILTER_COLUMNS, NO_FILTERS, Filters, PostFilter
from alti2v.dataset.plan.md5s import Md5s, md5s_of
from alti2v.dataset.plan.tag_aliases import TagRelations, Widening, widening
from alti2v.dataset.plan.vocabulary import CATEGORIES, StoreTagTable, TagLists, tag_lists
from alti2v.errors import DamagedError, DataError
from alti2v.records import Category, composed
from alti2v.storage.columns import POSTS, TAG_ALIASES, TAG_IMPLICATIONS
from alti2v.storage.disk_table import DiskTable, disk_table, divided, in_order_of_id
from alti2v.storage.store import Store, read_categories, read_posts, read_relations
from alti2v.storage.table import give_back_memory, schema

_FACTS = (
    *("id", "status", "reason", "duplicate_of", "parent_id", "tar", "offset", "size", "stored_md5", "md5"),
    "stored_crc32",
    *("rating", "score", "source", "created_at", "fetched_url"),
)
# Columns of the facts that shards show.
_SHOWN = ("id", "parent_id", "stored_md5", "md5", "rating", "score", "source", "created_at", "fetched_url")
_TAG_COLUMNS = tuple(category.tags_column for category in CATEGORIES)
_TAGS = "tags"  # column of tag codes
_UNKNOWN = CATEGORIES.index(Category.UNKNOWN)


@dataclass(frozen=True, slots=True)
class StoredTags:
    """Tags of all posts, on disk; see `TagLists`.

    Attributes:
        table: Table with the lists of codes.
        lengths: (n,) number of tags of each post.
    """

    table: DiskTable
    lengths: Int32Array

    def take(self, rows: Int64Array) -> TagLists:
        """Return the tags of some posts, in the given order."""
        return _lists(self.table.take(rows, [_TAGS]))

    def counts(self, rows: Int64Array, *, tags: int) -> Int64Array:
        """Count the posts among `rows` that have each of `tags` tags, (tags,) int64."""
        times = np.bincount(rows, minlength=len(self.table))
        counts, first = np.zeros(tags, np.int64), 0
        for block in self.blocks():
            weights = times[first : first + len(block)]
            first += len(block)
            counted = np.bincount(block.codes, np.repeat(weights, block.lengths), minlength=tags)
            counts += counted.astype(np.int64)  # whole numbers below 2^53 are exact
        return counts

    def blocks(self) -> Iterator[TagLists]:
        """Yield the tags of all posts in order, some posts at a time."""
        for block in self.table.blocks([_TAGS]):
            yield _lists(block)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostRows:
    """Some posts in memory: those of their facts that shards show, and their tags."""

    facts: pa.Table
    tags: TagLists


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePosts:
    """All posts of a store.

    Attributes:
        facts: Facts of the n posts: the columns of `columns.POSTS` that a dataset needs, and codes of tags.
        ids: (n,) int64, ascending and distinct.
        tags: The n tag lists.
        table: Tags that the codes refer to.
        digest: SHA-256 over all of this; stores with the same posts have the same digest, even if they were
            crawled with other interruptions and retries.
    """

    facts: DiskTable
    ids: Int64Array
    tags: StoredTags
    table: StoreTagTable
    digest: str

    def numbers(self, column: str) -> Int64Array:
        """Return a column of numbers, (n,) int64, with 0 for null."""
        return self.facts.numbers(column)

    def md5s(self) -> Md5s:
        """Read the MD5 of the stored bytes of each post; 17 bytes a post, which are not kept."""
        return md5s_of((block.column(0) for block in self.facts.blocks(["stored_md5"])), room=len(self.ids))

    def take(self, rows: Int64Array) -> PostRows:
        """Return some posts, in the given order."""
        return post_rows(self.facts.take(rows, [*_SHOWN, _TAGS]))

    def divided(self, into: Int32Array, scratch: Path) -> list[DiskTable]:
        """Divide the posts, see `disk_table.divided`; for `post_rows`."""
        return divided(self.facts, into, scratch, [*_SHOWN, _TAGS])


def post_rows(found: pa.Table) -> PostRows:
    """Convert posts read from disk to the facts and tags that shards contain."""
    return PostRows(facts=found.drop_columns([_TAGS]), tags=_lists(found))


def load_posts(
    store: Store, scratch: Path, *, ratings: bool = False, filters: Filters = NO_FILTERS
) -> StorePosts:
    """Read the post tables of a store, resolve aliases, and add implied tags.

    Memory holds 12 bytes a post and the names of the tags; the rest is on disk, about 800 bytes a post.

    Args:
        store: An open store.
        scratch: Folder on whose disk the temporary files are.
        ratings: True to give each post its rating as a meta tag.
        filters: Conditions; stored posts that fail one are skipped.

    Raises:
        DamagedError: A table cannot be read, or contains a post twice.
        DataError: The store lists no posts, or none has a date although a filter needs it.
        StorageError: The disk is full.
    """
    known = read_categories(store)
    codes: dict[str, int] = {}
    category_seen: list[int] = []
    relations = TagRelations(*(read_relations(store, of) for of in (TAG_ALIASES, TAG_IMPLICATIONS)))
    columns = [
        *(field for field in schema(POSTS) if field.name in _FACTS),
        pa.field(_TAGS, pa.list_(pa.int32())),
    ]
    listed = (
        part.select(_FACTS).append_column(
            columns[-1], _tag_codes(part, codes, category_seen, ratings=ratings).as_arrow()
        )
        for part in _filtered_posts(store, filters, relations)
    )
    # The first block comes after all parts have been read, so that the codes are complete.
    ordered = in_order_of_id(listed, pa.schema(columns), scratch)
    first = next(ordered)
    table, new_code = _tag_table(codes, category_seen, known)
    wider = widening(table, relations, known) if relations.aliases or relations.implications else None
    facts = disk_table(_coded(first, ordered, new_code, wider), pa.schema(columns), scratch)
    table = table if wider is None else wider.table
    ids = facts.numbers("id")
    _check_ids(store, ids)
    tags = StoredTags(facts, np.concatenate([np.diff(_bounds(block)) for block in facts.blocks([_TAGS])]))
    digest = _digest(facts, tags, table)
    give_back_memory()
    return StorePosts(facts=facts, ids=ids, tags=tags, table=table, digest=digest)


def _filtered_posts(store: Store, filters: Filters, relations: TagRelations) -> Iterator[pa.Table]:
    """Yield the parts of the post table, in which posts that fail a filter are skipped."""
    if filters == NO_FILTERS:
        yield from read_posts(store, (*_FACTS, *_TAG_COLUMNS))
        return
    apply = PostFilter(filters, relations)
    for part in read_posts(store, tuple(dict.fromkeys((*_FACTS, *FILTER_COLUMNS, *_TAG_COLUMNS)))):
        yield apply.applied(part)
    apply.check_facts()


def _check_ids(store: Store, ids: Int64Array) -> None:
    if not len(ids):
        raise DataError(f"{store.path} lists no posts: crawl first")
    twice = ids[1:][ids[1:] == ids[:-1]]
    if len(twice):
        raise DamagedError(
            f"{store.path}: its tables contain post {twice[0]} twice: run `alti2v verify --repair {store.path}`"
        )


def _coded(
    first: pa.Table, others: Iterable[pa.Table], new_code: Int32Array, wider: Widening | None
) -> Iterator[pa.Table]:
    """Yield blocks of posts with the codes of the tag table in place of those of the order of occurrence."""
    for block in itertools.chain([first], others):
        tags = _lists(block).renamed(new_code)
        if wider is not None:
            tags = wider.applied(tags)
        yield block.drop_columns([_TAGS]).append_column(_TAGS, tags.as_arrow())


def _lists(block: pa.Table) -> TagLists:
    bounds = _bounds(block)
    codes = block.column(_TAGS).combine_chunks().flatten().to_numpy()
    return TagLists(bounds.astype(np.int64), codes)


def _bounds(block: pa.Table) -> Int32Array:
    lengths = pc.list_value_length(block.column(_TAGS)).to_numpy()
    return np.concatenate([np.zeros(1, np.int32), np.cumsum(lengths, dtype=np.int32)])


def _tag_codes(part: pa.Table, codes: dict[str, int], category_seen: list[int], *, ratings: bool) -> TagLists:
    """Encode the tags of one part by order of first occurrence; extends `codes` and `category_seen`.

    As positions in a table of names, tags take a fifth of the memory of text.
    """
    owners, found = [], []
    columns = [(number, part.column(column).combine_chunks()) for number, column in enumerate(_TAG_COLUMNS)]
    if ratings:
        columns.append((CATEGORIES.index(Category.META), _rating_tags(part.column("rating").combine_chunks())))
    for number, lists in columns:
        names = lists.flatten().dictionary_encode()
        of_name = [codes.setdefault(composed(name), len(codes)) for name in names.dictionary.to_pylist()]
        category_seen += [number] * (len(codes) - len(category_seen))
        if number != _UNKNOWN:
            for code in of_name:
                if category_seen[code] == _UNKNOWN:
                    category_seen[code] = number
        new_codes = np.array(of_name, np.int32)
        found.append(new_codes[names.indices.to_numpy()] if len(names) else np.empty(0, np.int32))
        owners.append(np.repeat(np.arange(part.num_rows), pc.list_value_length(lists).to_numpy()))
    return tag_lists(np.concatenate(owners), np.concatenate(found), part.num_rows)


def _rating_tags(ratings: pa.StringArray) -> pa.ListArray:
    """Return a list with one tag for each rating, an empty list for a post without."""
    has_rating = pc.not_equal(ratings, "").to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(has_rating))).astype(np.int32)
    names = pc.binary_join_element_wise("rating", ratings.filter(pa.array(has_rating)), ":")
    return pa.ListArray.from_arrays(pa.array(offsets), names)


def _tag_table(
    codes: Mapping[str, int], category_seen: list[int], known: Mapping[str, Category]
) -> tuple[StoreTagTable, Int32Array]:
    """Return the tags in the order of names, and the new code of each old one.

    A part that was written before the board reported a tag's category says "unknown", so the store's tag table
    has priority.
    """
    names = sorted(codes)
    old = np.array([codes[name] for name in names], np.int64)
    new_code = np.empty(len(names), np.int32)
    new_code[old] = np.arange(len(names), dtype=np.int32)
    position = {category: number for number, category in enumerate(CATEGORIES)}
    unknown = position[Category.UNKNOWN]
    categories = np.array([position[known.get(name, Category.UNKNOWN)] for name in names], np.int8)
    seen = np.array(category_seen, np.int8)[old]
    return StoreTagTable(names, np.where(categories == unknown, seen, categories)), new_code


def _digest(facts: DiskTable, tags: StoredTags, table: StoreTagTable) -> str:
    digest = hashlib.sha256()
    for name in _FACTS:
        # A rerun of the crawl may move pictures, which the dataset does not show; MD5s tell files apart.
        if name not in ("tar", "offset", "stored_crc32"):
            for content in _canonical(facts, name):
                digest.update(content)
    ends = np.cumsum(tags.lengths, dtype=np.int64)
    digest.update(np.concatenate([np.zeros(1, np.int64), ends]).tobytes())
    for block in tags.blocks():
        digest.update(np.ascontiguousarray(block.codes).tobytes())
    digest.update(table.categories.tobytes())
    for tag in table.names:
        digest.update(tag.encode() + b"\0")
    return digest.hexdigest()


def _canonical(facts: DiskTable, name: str) -> Iterator[bytes]:
    """Yield validity, lengths and content of a column as bytes that depend on nothing but the values."""
    valid, numbers = [], []
    is_text = pa.types.is_string(facts.schema.field(name).type)
    for block in facts.blocks([name]):
        values = block.column(0).combine_chunks()
        valid.append(values.is_valid().to_numpy(zero_copy_only=False))
        if is_text:
            numbers.append(np.diff(_text(values)[0]))
        else:
            numbers.append(values.cast(pa.int64()).fill_null(0).to_numpy())
    yield np.concatenate(valid).tobytes()
    yield np.concatenate(numbers).tobytes()
    if is_text:
        for block in facts.blocks([name]):
            bounds, content = _text(block.column(0).combine_chunks())
            yield bytes(content[bounds[0] : bounds[-1]])


def _text(values: pa.StringArray) -> tuple[Int32Array, memoryview]:
    """Return (n + 1,) positions of the values in their bytes, with null as empty, and the bytes."""
    filled = values.fill_null("")
    _, offsets, content = filled.buffers()
    bounds = np.frombuffer(offsets, np.int32)[filled.offset : filled.offset + len(filled) + 1]
    return bounds, memoryview(content) if content else memoryview(b"")
