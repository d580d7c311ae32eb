"""Posts of a store as columns, one row per post in ascending order of id, and their outcomes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from alti2v.dataset.plan.filters import FILTER_COLUMNS, NO_FILTERS, Filters, PostFilter
from alti2v.dataset.plan.tag_aliases import TagRelations, canonical
from alti2v.dataset.plan.vocabulary import CATEGORIES, TagLists, TagTable, joined, tag_lists
from alti2v.errors import DamagedError, DataError
from alti2v.records import Category, Status
from alti2v.storage.layout import TAG_ALIASES, TAG_IMPLICATIONS
from alti2v.storage.store import Store, read_categories, read_posts, read_relations
from alti2v.storage.table import give_back_memory

_FACTS = (
    *("id", "status", "reason", "duplicate_of", "parent_id", "tar", "offset", "size", "stored_md5", "md5"),
    *("rating", "score", "source", "created_at", "fetched_url"),
)
# Few distinct values: stored as numbers and a dictionary.
_REPETITIVE = frozenset({"status", "reason", "rating"})
_TAG_COLUMNS = tuple(category.tags_column for category in CATEGORIES)

STORED, DUPLICATE, DROPPED, FAILED = "stored", "duplicate", "dropped", "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePosts:
    """All posts of a store.

    Attributes:
        facts: n rows with the columns of `layout.POSTS` that a dataset needs; ids are ascending and distinct.
        tags: The n tag lists.
        table: Tags that the codes in `tags` refer to.
        digest: SHA-256 over all of this; stores with the same posts have the same digest, even if they were
            crawled with other interruptions and retries.
    """

    facts: pa.Table
    tags: TagLists
    table: TagTable
    digest: str

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        """Post numbers, (n,) int64."""
        return self.numbers("id")

    def numbers(self, column: str) -> npt.NDArray[np.int64]:
        """Return a column of numbers, (n,) int64, with 0 for null."""
        values: npt.NDArray[np.int64] = pc.fill_null(self.facts.column(column).cast(pa.int64()), 0).to_numpy()
        return values


def load_posts(store: Store, *, ratings: bool = False, filters: Filters = NO_FILTERS) -> StorePosts:
    """Read the post tables of a store, resolve aliases, and add implied tags.

    Args:
        store: An open store.
        ratings: True to give each post its rating as a meta tag.
        filters: Conditions; stored posts that fail one are skipped.

    Raises:
        DamagedError: A table cannot be read, or contains a post twice.
        DataError: The store lists no posts, or none has a date although a filter needs it.
    """
    known = read_categories(store)
    codes: dict[str, int] = {}
    category_seen: list[int] = []
    facts, tags = [], []
    relations = TagRelations(*(read_relations(store, of) for of in (TAG_ALIASES, TAG_IMPLICATIONS)))
    for part in _filtered_posts(store, filters, relations):
        tags.append(_tag_codes(part, codes, category_seen, ratings=ratings))
        facts.append(_compact(part.select(_FACTS)))
    ids = np.concatenate([np.empty(0, np.int64), *(part.column("id").to_numpy() for part in facts)])
    order = np.argsort(ids, kind="stable")
    _check_ids(store, ids[order])
    all_facts = _ordered(facts, order)
    give_back_memory()
    table, new_code = _tag_table(codes, category_seen, known)
    all_tags = joined(_renamed(tags, new_code), room=sum(len(part.codes) for part in tags))
    if not np.array_equal(order, np.arange(len(order))):
        all_tags = all_tags.take(order)
    if relations.aliases or relations.implications:
        all_tags, table = canonical(all_tags, table, relations, known)
    digest = _digest(all_facts, all_tags, table)
    give_back_memory()
    return StorePosts(facts=all_facts, tags=all_tags, table=table, digest=digest)


def _filtered_posts(store: Store, filters: Filters, relations: TagRelations) -> Iterator[pa.Table]:
    """Yield the parts of the post table, in which posts that fail a filter are skipped."""
    if filters == NO_FILTERS:
        yield from read_posts(store, (*_FACTS, *_TAG_COLUMNS))
        return
    apply = PostFilter(filters, relations)
    for part in read_posts(store, tuple(dict.fromkeys((*_FACTS, *FILTER_COLUMNS, *_TAG_COLUMNS)))):
        yield apply.applied(part)
    apply.check_dates()


def _check_ids(store: Store, ids: npt.NDArray[np.int64]) -> None:
    if not len(ids):
        raise DataError(f"{store.path} lists no posts: crawl first")
    twice = ids[1:][ids[1:] == ids[:-1]]
    if len(twice):
        raise DamagedError(
            f"{store.path}: its tables contain post {twice[0]} twice: run `alti2v verify --repair {store.path}`"
        )


def _ordered(parts: list[pa.Table], order: npt.NDArray[np.int64]) -> pa.Table:
    """Sort all rows. Empties the list of parts, so that only one column at a time is in memory twice."""
    chunks = {name: [part.column(name) for part in parts] for name in _FACTS}
    parts.clear()
    columns = []
    for name in _FACTS:
        column = pa.chunked_array([chunk for of_part in chunks.pop(name) for chunk in of_part.chunks])
        columns.append(column.unify_dictionaries().combine_chunks().take(pa.array(order)))
    return pa.table(columns, names=_FACTS)


def _compact(part: pa.Table) -> pa.Table:
    for name in _REPETITIVE:
        index = part.schema.get_field_index(name)
        part = part.set_column(index, name, part.column(name).dictionary_encode())
    return part


def _tag_codes(part: pa.Table, codes: dict[str, int], category_seen: list[int], *, ratings: bool) -> TagLists:
    """Encode the tags of one part by order of first occurrence; extends `codes` and `category_seen`."""
    owners, found = [], []
    columns = [(number, part.column(column).combine_chunks()) for number, column in enumerate(_TAG_COLUMNS)]
    if ratings:
        columns.append((CATEGORIES.index(Category.META), _rating_tags(part.column("rating").combine_chunks())))
    for number, lists in columns:
        names = lists.flatten().dictionary_encode()
        new_codes = np.empty(len(names.dictionary), np.int32)
        for position, name in enumerate(names.dictionary.to_pylist()):
            new_codes[position] = codes.setdefault(name, len(codes))
            if new_codes[position] == len(category_seen):
                category_seen.append(number)
            elif CATEGORIES[category_seen[new_codes[position]]] is Category.UNKNOWN:
                category_seen[new_codes[position]] = number
        found.append(new_codes[names.indices.to_numpy()] if len(names) else np.empty(0, np.int32))
        owners.append(np.repeat(np.arange(part.num_rows), pc.list_value_length(lists).to_numpy()))
    return tag_lists(np.concatenate(owners), np.concatenate(found), part.num_rows)


def _renamed(parts: list[TagLists], new_code: npt.NDArray[np.int32]) -> Iterator[TagLists]:
    """Yield the parts in the codes of the tag table. Empties the list, so that little is in memory twice."""
    while parts:
        yield parts.pop(0).renamed(new_code)


def _rating_tags(ratings: pa.StringArray) -> pa.ListArray:
    """Return a list with one tag for each rating, an empty list for a post without."""
    has_rating = pc.not_equal(ratings, "").to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(has_rating))).astype(np.int32)
    names = pc.binary_join_element_wise("rating", ratings.filter(pa.array(has_rating)), ":")
    return pa.ListArray.from_arrays(pa.array(offsets), names)


def _tag_table(
    codes: Mapping[str, int], category_seen: list[int], known: Mapping[str, Category]
) -> tuple[TagTable, npt.NDArray[np.int32]]:
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
    return TagTable(names, np.where(categories == unknown, seen, categories)), new_code


def _digest(facts: pa.Table, tags: TagLists, table: TagTable) -> str:
    digest = hashlib.sha256()
    for name in facts.column_names:
        # A rerun of the crawl may move pictures, which the dataset does not show.
        if name not in ("tar", "offset"):
            for content in _canonical(facts.column(name)):
                digest.update(content)
    for array in (tags.offsets, tags.codes, table.categories):
        digest.update(np.ascontiguousarray(array).tobytes())
    for tag in table.names:
        digest.update(tag.encode() + b"\0")
    return digest.hexdigest()


def _canonical(column: pa.ChunkedArray) -> Iterator[bytes]:
    """Yield the values of a column as bytes that depend on nothing but the values."""
    values = pa.concat_arrays(column.chunks)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    yield values.is_valid().to_numpy(zero_copy_only=False).tobytes()
    if pa.types.is_string(values.type):
        filled = values.fill_null("")
        _, offsets, content = filled.buffers()
        bounds = np.frombuffer(offsets, np.int32)[filled.offset : filled.offset + len(filled) + 1]
        yield np.diff(bounds).tobytes()
        yield content[bounds[0] : bounds[-1]].to_pybytes() if content else b""
    else:
        yield values.cast(pa.int64()).fill_null(0).to_numpy().tobytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Outcome of every post, in the order of `StorePosts`.

    Attributes:
        outcome: (n,) "stored", "duplicate", "dropped" or "failed".
        reason: (n,) reason of the outcome; "" if stored.
        duplicate_of: (n,) the stored post with the same bytes; 0 if there is none.
    """

    outcome: npt.NDArray[np.object_]
    reason: npt.NDArray[np.object_]
    duplicate_of: npt.NDArray[np.int64]

    def dropped(self, rows: npt.NDArray[np.int64], reasons: Iterable[str]) -> Outcomes:
        """Return the same outcomes with some posts dropped."""
        outcome, reason = self.outcome.copy(), self.reason.copy()
        outcome[rows] = DROPPED
        reason[rows] = list(reasons)
        return Outcomes(outcome=outcome, reason=reason, duplicate_of=self.duplicate_of)

    @property
    def usable(self) -> npt.NDArray[np.int64]:
        """Rows of the posts that are stored, or will be."""
        return np.flatnonzero(self.outcome == STORED)

    def counts(self) -> dict[str, int]:
        """Count posts by outcome and reason, e.g. {"stored": 90, "dropped damaged": 2}; most frequent first."""
        return _counted(self.outcome, self.reason)


def count_outcomes(table: pa.Table) -> dict[str, int]:
    """Count the rows of outcomes.parquet, as `Outcomes.counts` does."""
    return _counted(*(table.column(name).to_pylist() for name in ("outcome", "reason")))


def _counted(outcomes: Iterable[str], reasons: Iterable[str]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for (outcome, reason), count in Counter(zip(outcomes, reasons, strict=True)).items():
        counts[f"{outcome} {reason}" if outcome in (DROPPED, FAILED) and reason else outcome] += count
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


_OUTCOME_OF_STATUS = {
    Status.STORED: STORED,
    Status.DUPLICATE: DUPLICATE,
    Status.SKIPPED: DROPPED,
    Status.FAILED: FAILED,
    Status.PENDING: FAILED,
}


@dataclass(frozen=True, slots=True)
class Removed:
    """Posts that must not return, and the MD5s of their stored bytes."""

    ids: npt.NDArray[np.int64]
    md5s: Set[str]


NONE_REMOVED = Removed(np.empty(0, np.int64), frozenset())
_NO_IDS = np.empty(0, np.int64)


def first_outcomes(
    posts: StorePosts, *, existing: npt.NDArray[np.int64] = _NO_IDS, removed: Removed = NONE_REMOVED
) -> Outcomes:
    """Derive outcomes from the tables alone: crawl failures, posts without tags, pictures with the same bytes.

    Args:
        posts: Posts of the store.
        existing: Ids of pictures in shards; they are stored, whatever the store says now.
        removed: Posts that were removed from the dataset.
    """
    status, reason = _words(posts.facts.column("status")), _words(posts.facts.column("reason"))
    outcome = np.array([_OUTCOME_OF_STATUS.get(value, FAILED) for value in status], np.object_)
    reason[status == Status.PENDING] = "not_fetched"
    reason[outcome == STORED] = ""
    untagged = (outcome == STORED) & (posts.tags.lengths == 0)
    outcome[untagged], reason[untagged] = DROPPED, "untagged"
    reason[outcome == DUPLICATE] = ""
    duplicate_of = posts.numbers("duplicate_of").copy()
    gone = _is_removed(posts, duplicate_of, removed)
    outcome[gone], reason[gone], duplicate_of[gone] = DROPPED, "removed", 0
    is_existing = np.isin(posts.ids, existing)
    outcome[is_existing], reason[is_existing], duplicate_of[is_existing] = STORED, "", 0
    stored = np.flatnonzero(outcome == STORED)
    # An existing picture keeps its outcome if an earlier post with the same bytes is found.
    rows, originals = _same_bytes(posts, stored[np.argsort(~is_existing[stored], kind="stable")])
    rows, originals = rows[~is_existing[rows]], originals[~is_existing[rows]]
    outcome[rows] = DUPLICATE
    duplicate_of[rows] = posts.ids[originals]
    give_back_memory()
    return Outcomes(outcome=outcome, reason=reason, duplicate_of=duplicate_of)


def _words(column: pa.ChunkedArray) -> npt.NDArray[np.object_]:
    """Decode a column with few distinct strings, each of which is in memory once."""
    values = pa.concat_arrays(column.chunks)
    words: npt.NDArray[np.object_] = np.array(values.dictionary.to_pylist(), np.object_)[
        values.indices.to_numpy()
    ]
    return words


def _is_removed(
    posts: StorePosts, duplicate_of: npt.NDArray[np.int64], removed: Removed
) -> npt.NDArray[np.bool_]:
    md5s = pa.array(sorted(removed.md5s), pa.string())
    has_removed_bytes = pc.is_in(posts.facts.column("stored_md5"), value_set=md5s, skip_nulls=True)
    is_gone: npt.NDArray[np.bool_] = (
        np.isin(posts.ids, removed.ids)
        | np.isin(duplicate_of, removed.ids)
        | has_removed_bytes.to_numpy(zero_copy_only=False)
    )
    return is_gone


def _same_bytes(
    posts: StorePosts, rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows whose bytes an earlier row has, and these earlier rows."""
    digests = posts.facts.column("stored_md5").take(pa.array(rows)).combine_chunks()
    has_digest = digests.is_valid().to_numpy(zero_copy_only=False)
    number = digests.fill_null("").dictionary_encode().indices.to_numpy()
    _, first, inverse = np.unique(number, return_index=True, return_inverse=True)
    original = first[inverse]
    is_repeated = has_digest & (original != np.arange(len(rows)))
    return rows[is_repeated], rows[original[is_repeated]]


def outcome_table(posts: StorePosts, outcomes: Outcomes, shard_of: Mapping[int, str]) -> pa.Table:
    """Return the rows of outcomes.parquet; `shard_of` maps post ids to shard names."""
    is_duplicate = pa.array(outcomes.duplicate_of > 0)
    return pa.table(
        {
            "id": posts.facts.column("id"),
            "outcome": pa.array(outcomes.outcome, pa.string()),
            "reason": pa.array(outcomes.reason, pa.string()),
            "duplicate_of": pc.if_else(is_duplicate, pa.array(outcomes.duplicate_of), None),
            "shard": pa.array([shard_of.get(post_id) for post_id in posts.ids.tolist()], pa.string()),
        }
    )
