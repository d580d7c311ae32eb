"""Filters that choose the posts of a store for a dataset. Pure column expressions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alti2v.arrays import Int64Array
from alti2v.dataset.plan.tag_aliases import TagRelations, closure, resolved
from alti2v.errors import DataError
from alti2v.records import Category, Status, composed

# Columns of the post table that filters need.
FILTER_COLUMNS = (
    *("id", "status", "reason", "width", "height", "stored_width", "stored_height"),
    *("score", "rating", "created_at"),
)
_TAG_COLUMNS = tuple(category.tags_column for category in Category)
PREFIX = "filter_"  # of the reasons of posts that a filter leaves out


@dataclass(frozen=True, slots=True, eq=False)
class IdList:
    """Ids of the posts to take, (n,) int64, ascending and distinct."""

    numbers: Int64Array = field(repr=False)

    @property
    def document(self) -> dict[str, Any]:
        """Number of ids, and a SHA-256 over them."""
        digest = hashlib.sha256(self.numbers.astype("<i8").tobytes()).hexdigest()
        return {"count": len(self.numbers), "sha256": digest}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Conditions that a post must satisfy; None and () are no condition.

    Attributes:
        min_side: Minimum of width and height, px, of the original as the board states them, or of the stored
            picture if it states none.
        max_aspect: Maximum of the longer side divided by the shorter one.
        min_score: Minimum score; a post without votes has the score 0.
        rating: Ratings; the post must have one of them.
        since, until: Bounds of the time of creation, unix seconds: since <= time < until.
        any_tag: Tags; the post must have at least one; `*` matches any characters. Aliases and implied tags
            count.
        none_of: Tags; the post must have none.
        ids: Posts to take.
    """

    min_side: int | None = None
    max_aspect: float | None = None
    min_score: int | None = None
    rating: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    any_tag: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()
    ids: IdList | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The given conditions as JSON, by name of the option."""
        return {
            name: _plain(name, value)
            for name in self.__dataclass_fields__
            if (value := getattr(self, name)) not in (None, ())
        }


NO_FILTERS = Filters()


def _plain(name: str, value: Any) -> Any:  # noqa: ANN401 - a value for JSON
    if isinstance(value, IdList):
        return value.document
    if name in ("since", "until"):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return sorted(value) if isinstance(value, tuple) else value


class PostFilter:
    """Filters applied to one part of the post table after the other.

    Args:
        filters: Conditions.
        relations: Aliases and implications of the tags.
    """

    def __init__(self, filters: Filters, relations: TagRelations) -> None:
        self._filters = filters
        self._real_name = resolved(relations.aliases)
        self._implied = closure(
            (self._real_name.get(first, first), self._real_name.get(second, second))
            for first, second in relations.implications
        )
        self._wanted = {patterns: self._patterns(patterns) for patterns in (filters.any_tag, filters.none_of)}
        self._known: dict[tuple[tuple[str, ...], str], bool] = {}
        self._stored = self._dated = self._rated = 0

    def applied(self, part: pa.Table) -> pa.Table:
        """Return a part of the table in which stored posts that fail a condition are skipped."""
        stored = pc.equal(part["status"], Status.STORED.value)
        self._stored += pc.sum(stored).as_py() or 0
        self._dated += pc.sum(pc.and_(stored, pc.is_valid(part["created_at"]))).as_py() or 0
        self._rated += pc.sum(pc.and_(stored, pc.greater(pc.fill_null(part["rating"], ""), ""))).as_py() or 0
        reason = pa.chunked_array([pa.nulls(part.num_rows, pa.string())])
        for word, holds in reversed(list(self._conditions(part))):
            reason = pc.if_else(pc.coalesce(holds, pa.scalar(value=False)), reason, PREFIX + word)
        is_out = pc.and_(stored, pc.is_valid(reason))
        replaced = {
            "status": pc.if_else(is_out, Status.SKIPPED.value, part["status"]),
            "reason": pc.if_else(is_out, reason, part["reason"]),
        }
        for name, column in replaced.items():
            index = part.schema.get_field_index(name)
            part = part.set_column(index, part.schema.field(index), column.cast(part.schema.field(index).type))
        return part

    def check_facts(self) -> None:
        """Check that there were dates for a filter by date, and ratings for one by rating.

        Raises:
            DataError: No stored post has a time of creation, or no stored picture has a rating.
        """
        by_date = self._filters.since is not None or self._filters.until is not None
        if by_date and self._stored and not self._dated:
            raise DataError(
                "no stored post has a time of creation (Gelbooru boards do not list it): leave out --since and "
                "--until, or give --ids"
            )
        if self._filters.rating and self._stored and not self._rated:
            are_without = f"none of the {self._stored:,} pictures has a"
            none = "the only picture has no" if self._stored == 1 else are_without
            raise DataError(
                f"{none} rating, so --rating {' --rating '.join(self._filters.rating)} leaves none: "
                "leave it out"
            )

    def _conditions(self, part: pa.Table) -> Iterable[tuple[str, pa.ChunkedArray]]:
        """Yield the reason and the column of each condition; the first that fails is a post's reason."""
        filters = self._filters
        whole_s = pa.timestamp("s", tz=part["created_at"].type.tz)
        created_at = part["created_at"].cast(whole_s, safe=False).cast(pa.int64())
        if filters.ids is not None:
            yield "ids", pc.is_in(part["id"], value_set=pa.array(filters.ids.numbers))
        if filters.rating:
            yield "rating", pc.is_in(part["rating"], value_set=pa.array(filters.rating, pa.string()))
        if filters.since is not None:
            yield "since", pc.greater_equal(created_at, filters.since)
        if filters.until is not None:
            yield "until", pc.less(created_at, filters.until)
        if filters.min_score is not None:
            yield "min_score", pc.greater_equal(pc.fill_null(part["score"], 0), filters.min_score)
        width, height = _sides(part)
        shorter, longer = pc.min_element_wise(width, height), pc.max_element_wise(width, height)
        if filters.min_side is not None:
            yield "min_side", pc.greater_equal(shorter, filters.min_side)
        if filters.max_aspect is not None:
            fits = pc.less_equal(longer, pc.multiply(shorter.cast(pa.float64()), filters.max_aspect))
            yield "max_aspect", pc.and_(fits, pc.greater(shorter, 0))
        if filters.none_of:
            yield "none_of", pc.invert(self._has_any(part, filters.none_of))
        if filters.any_tag:
            yield "any_tag", self._has_any(part, filters.any_tag)

    def _has_any(self, part: pa.Table, patterns: tuple[str, ...]) -> pa.Array:
        """Return whether each post has a tag that a pattern matches, directly, by an alias or implied."""
        found = np.zeros(part.num_rows, np.bool_)
        for name in _TAG_COLUMNS:
            lists = part[name].combine_chunks()
            names = lists.flatten().dictionary_encode()
            if not len(names):
                continue
            matches = np.array([self._matches(tag, patterns) for tag in names.dictionary.to_pylist()])
            owners = np.repeat(np.arange(part.num_rows), pc.list_value_length(lists).fill_null(0).to_numpy())
            found[owners[matches[names.indices.to_numpy()]]] = True
        return pa.array(found)

    def _patterns(self, patterns: Sequence[str]) -> tuple[str, ...]:
        # On boards only the asterisk is special; a plain name may be an alias of the tag that is meant.
        named = (self._real_name.get(pattern, pattern) for pattern in map(composed, patterns))
        return tuple(name.replace("[", "[[]").replace("?", "[?]") for name in named)

    def _matches(self, tag: str, patterns: tuple[str, ...]) -> bool:
        key = patterns, tag
        if key not in self._known:
            name = composed(tag)
            real = self._real_name.get(name, name)
            names = (name, real, *self._implied.get(real, ()))
            self._known[key] = any(
                fnmatchcase(one, pattern) for pattern in self._wanted[patterns] for one in names
            )
        return self._known[key]


def _sides(part: pa.Table) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Return width and height of each post, px: those stated, or those measured if a side is not stated (0)."""
    is_stated = pc.and_(pc.greater(part["width"], 0), pc.greater(part["height"], 0))
    width, height = (
        pc.if_else(is_stated, part[side], pc.fill_null(part[f"stored_{side}"], 0))
        for side in ("width", "height")
    )
    return width, height


def filters_in_words(document: Mapping[str, Any]) -> str:
    """Describe recorded conditions in a line; "" if there are none."""
    return ", ".join(f"{name.replace('_', '-')} {_in_words(value)}" for name, value in document.items())


def _in_words(value: object) -> str:
    match value:
        case {"count": count, "sha256": digest}:
            return f"{count:,} listed (SHA-256 {str(digest)[:12]}…)"
        case list():
            return " or ".join(map(str, value))
    return str(value)
