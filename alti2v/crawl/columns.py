"""The posts of a ledger as Arrow columns, without a Python object for each tag of each post.

`tables.post_rows` says the same row by row, in twice the time and with Python's lock held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from alti2v.crawl.ledger import Ledger
from alti2v.records import Category, Post
from alti2v.storage.layout import POSTS
from alti2v.storage.table import schema

if TYPE_CHECKING:
    import pyarrow as pa

_UNKNOWN = Category.UNKNOWN.value
_ROWS = 1_000  # at a time
# What of the post table stands in the columns of the ledger, some under names of its own.
_OF_LEDGER = {
    **{name: name for name in ("status", "reason", "error", "attempts", "http_status", "duplicate_of")},
    **{name: name for name in ("fetched_url", "tar", "offset", "size")},
    **{f"stored_{name}": name for name in ("format", "width", "height", "md5")},
}
_OF_FACTS = tuple(column.name for column in POSTS.columns if column.name in Post.__dataclass_fields__)


TagCounts = dict[str, Counter[str]]  # by the group that the posts' own answers gave, then by name


def post_batches(
    ledger: Ledger, part: int, categories: Mapping[str, Category], *, counts: TagCounts | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of one part of the post table, in the order of listing.

    Args:
        ledger: of the store.
        part: its number.
        categories: what a tag API said; tags of unknown category move to these.
        counts: the tags are counted here, too.
    """
    import pyarrow as pa

    wanted = schema(POSTS)
    names = ("facts", *_OF_LEDGER.values())
    for rows in ledger.slices(names, part=part, rows=_ROWS):
        values = dict(zip(names, zip(*rows, strict=True), strict=True))
        facts = _read(values["facts"])
        groups = _groups(facts)
        if counts is not None:
            _count(groups, counts)
        columns = {name: facts[name].combine_chunks() for name in _OF_FACTS}
        columns |= {f"tags_{group}": tags for group, tags in _regrouped(groups, categories).items()}
        for name, source in _OF_LEDGER.items():
            columns[name] = pa.array(values[source], wanted.field(name).type)
        cast = [columns[field.name].cast(field.type) for field in wanted]
        yield pa.RecordBatch.from_arrays(cast, schema=wanted)


def count_tags(ledger: Ledger) -> TagCounts:
    """How many posts of the store carry each tag."""
    counts: TagCounts = {}
    for rows in ledger.slices(("facts",), rows=_ROWS):
        _count(_groups(_read([facts for (facts,) in rows], names=())), counts)
    return counts


def _count(groups: Mapping[str, pa.ListArray], counts: TagCounts) -> None:
    import pyarrow.compute as pc

    for group, tags in groups.items():
        values, numbers = pc.value_counts(tags.flatten()).flatten()
        counts.setdefault(group, Counter()).update(
            dict(zip(values.to_pylist(), numbers.to_pylist(), strict=True))
        )


def _read(facts: Sequence[str], *, names: Sequence[str] = _OF_FACTS) -> pa.Table:
    """Encoded posts as a table: these fields, times as whole seconds, and `tags` as a structure."""
    import pyarrow as pa
    import pyarrow.json

    types = {name: schema(POSTS).field(name).type for name in names}
    fields = [(name, pa.int64() if pa.types.is_timestamp(type_) else type_) for name, type_ in types.items()]
    groups = pa.struct([(category.value, pa.list_(pa.string())) for category in Category])
    lines = "\n".join(facts).encode()
    return pa.json.read_json(
        pa.BufferReader(lines),
        read_options=pa.json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        parse_options=pa.json.ParseOptions(
            explicit_schema=pa.schema([*fields, ("tags", groups)]), unexpected_field_behavior="ignore"
        ),
    )


def _groups(facts: pa.Table) -> dict[str, pa.ListArray]:
    """The tags of each group; what a post leaves out is an empty list."""
    import pyarrow as pa
    import pyarrow.compute as pc

    tags = facts["tags"].combine_chunks()
    groups = {}
    for category in Category:
        lists = tags.field(category.value)
        offsets = _offsets(pc.fill_null(pc.list_value_length(lists), 0))
        groups[category.value] = pa.ListArray.from_arrays(offsets, lists.flatten())
    return groups


def _offsets(lengths: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths.cast(pa.int32()))])


def _regrouped(
    groups: Mapping[str, pa.ListArray], categories: Mapping[str, Category]
) -> dict[str, pa.ListArray]:
    """Move tags of unknown category to the category that the tag API gave them, sorted as before."""
    import pyarrow as pa
    import pyarrow.compute as pc

    unknown = groups[_UNKNOWN]
    flat = unknown.flatten()
    if not (categories and len(flat)):
        return dict(groups)
    distinct = pc.unique(flat).to_pylist()
    of_distinct = pa.array([categories.get(name, _UNKNOWN) for name in distinct], pa.string())
    category_of = of_distinct.take(pc.index_in(flat, value_set=pa.array(distinct, pa.string())))
    moved = {}
    for group, there in groups.items():
        is_here = pc.equal(category_of, group)
        # So many of them come before each place; those before its first are where a post's list begins.
        before = _offsets(is_here)
        here = pa.ListArray.from_arrays(before.take(unknown.offsets), flat.filter(is_here))
        moved[group] = here if group == _UNKNOWN or not len(there.flatten()) else _united(there, here)
    return moved


def _united(one: pa.ListArray, other: pa.ListArray) -> pa.ListArray:
    """The tags of both, post by post, sorted."""
    import pyarrow as pa

    pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
    return pa.array([sorted({*mine, *theirs}) for mine, theirs in pairs], one.type)
