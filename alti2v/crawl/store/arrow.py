"""The posts of a ledger as Arrow columns, without a Python object for each tag of each post.

Row by row it would take twice the time, and hold Python's lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from alti2v.crawl.store.ledger import Ledger
from alti2v.records import Category, tag_names
from alti2v.storage.columns import POSTS
from alti2v.storage.table import schema

if TYPE_CHECKING:
    import pyarrow as pa

_UNKNOWN = Category.UNKNOWN.value
_ROWS = 1_000  # posts read at a time
_NAMES = tuple(column.name for column in POSTS.columns)
_TAG_COLUMNS = {category.value: category.tags_column for category in Category}


TagCounts = dict[str, Counter[str]]  # posts with each tag, by the group that the posts themselves give


def post_batches(
    ledger: Ledger, part: int, categories: Mapping[str, Category], *, counts: TagCounts | None = None
) -> Iterator[pa.RecordBatch]:
    """Return the rows of one part of the post table, in the order of listing.

    Args:
        ledger: Ledger of the store.
        part: Number of the part.
        categories: Categories from a tag API, for the tags that the posts give without one.
        counts: Counts to which the tags of the part are added; None to count nothing.
    """
    import pyarrow as pa

    wanted = schema(POSTS)
    for rows in ledger.posts.slices(_NAMES, part=part, rows=_ROWS):
        values = dict(zip(_NAMES, zip(*rows, strict=True), strict=True))
        groups = {group: _lists(values.pop(column)) for group, column in _TAG_COLUMNS.items()}
        if counts is not None:
            _count(groups, counts)
        columns = {name: pa.array(of_rows, wanted.field(name).type) for name, of_rows in values.items()}
        for group, lists in _regrouped(groups, categories).items():
            columns[_TAG_COLUMNS[group]] = lists
        yield pa.RecordBatch.from_arrays([columns[name] for name in _NAMES], schema=wanted)


def count_tags(ledger: Ledger, *, part: int | None = None) -> TagCounts:
    """Count the posts with each tag, in one part or, if None, in the whole store."""
    counts: TagCounts = {}
    for rows in ledger.posts.slices(tuple(_TAG_COLUMNS.values()), part=part, rows=_ROWS):
        columns = zip(*rows, strict=True)
        _count({group: _lists(texts) for group, texts in zip(_TAG_COLUMNS, columns, strict=True)}, counts)
    return counts


def _count(groups: Mapping[str, pa.ListArray], counts: TagCounts) -> None:
    import pyarrow.compute as pc

    for group, tags in groups.items():
        values, numbers = pc.value_counts(tags.flatten()).flatten()
        counts.setdefault(group, Counter()).update(
            dict(zip(values.to_pylist(), numbers.to_pylist(), strict=True))
        )


def _lists(texts: Sequence[str]) -> pa.ListArray:
    """Split texts of tags into lists of tags, sorted and without repetition."""
    import pyarrow as pa
    import pyarrow.compute as pc

    of_posts = pa.array([text or None for text in texts], pa.string())
    lists = pc.split_pattern(of_posts, " ")
    flat, offsets = lists.flatten(), _offsets(pc.fill_null(pc.list_value_length(lists), 0))
    # Boards sort the tags: each is greater than the one before it, unless it is a post's first.
    falls = pc.indices_nonzero(pc.less_equal(flat[1:], flat[:-1]))
    if pc.all(pc.is_in(pc.add(falls.cast(pa.int32()), 1), value_set=offsets)).as_py() is False:
        return pa.array(map(tag_names, texts), pa.list_(pa.string()))
    return pa.ListArray.from_arrays(offsets, flat)


def _offsets(lengths: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths.cast(pa.int32()))])


def _regrouped(
    groups: Mapping[str, pa.ListArray], categories: Mapping[str, Category]
) -> dict[str, pa.ListArray]:
    """Move tags without a category to the category that the tag API gave them; keep the lists sorted."""
    import pyarrow as pa
    import pyarrow.compute as pc

    unknown = groups[_UNKNOWN]
    flat = unknown.flatten()
    if not (categories and len(flat)):
        return dict(groups)
    distinct = pc.unique(flat).to_pylist()
    of_distinct = pa.array([categories.get(name, _UNKNOWN) for name in distinct], pa.string())
    category_of = of_distinct.take(pc.index_in(flat, value_set=pa.array(distinct, pa.string())))
    regrouped = {}
    for group, given in groups.items():
        is_moved = pc.equal(category_of, group)
        # Number of moved tags before each tag; for a post's first tag, this is where its new list begins.
        before = _offsets(is_moved)
        added = pa.ListArray.from_arrays(before.take(unknown.offsets), flat.filter(is_moved))
        regrouped[group] = added if group == _UNKNOWN or not len(given.flatten()) else _merged(given, added)
    return regrouped


def _merged(one: pa.ListArray, other: pa.ListArray) -> pa.ListArray:
    """Merge two lists of tags post by post, sorted."""
    import pyarrow as pa

    pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
    return pa.array([sorted({*left, *right}) for left, right in pairs], one.type)
