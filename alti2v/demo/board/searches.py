"""Searches on the stand-in board, by arithmetic: 1.5 M posts are counted and paged without visiting them.

Post `index` shows picture `index % pictures`, so a search is a set of pictures and a range of indices; its
count and its pages follow by division. Only terms about single posts inside `-` or `( ~ )`, such as `-id:5`,
are tested post by post.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from alti2v.demo.board.ids import count_below, index_of
from alti2v.demo.board.queries import (
    NO_LIMIT,
    Between,
    ChildOf,
    Either,
    Equal,
    HasMd5,
    Not,
    OneOf,
    ParsedSearch,
    Term,
    Word,
)
from alti2v.demo.drawing.corpus import Illustration

Test = Callable[[int], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A query, resolved as far as possible without visiting single posts.

    Attributes:
        pictures: Numbers of the matching pictures, ascending; None for all.
        low, high: Range of matching posts, `low <= index < high`.
        tests: Predicates on the index of a post, all of which must hold.
        ascending: True for the oldest post first.
    """

    pictures: tuple[int, ...] | None = None
    low: int = 0
    high: int = NO_LIMIT
    tests: tuple[Test, ...] = ()
    ascending: bool = False


class Catalogue:
    """Index of a board's pictures, and searches in it.

    Args:
        pictures: Number of distinct pictures.
        shown: Function from the number of a picture to its description.
        rating_of: Function from the number of a picture to its rating as the board spells it.
        seed: Seed of the ids.
    """

    def __init__(
        self,
        *,
        pictures: int,
        shown: Callable[[int], Illustration],
        rating_of: Callable[[int], str],
        seed: int,
    ) -> None:
        self._pictures_in_all = pictures
        self._shown = shown
        self._seed = seed
        self._rating_of = rating_of
        self._by_tag: dict[str, frozenset[int]] = {}

    def pictures_by_tag(self) -> Mapping[str, frozenset[int]]:
        """Numbers of the pictures of each tag in use."""
        if not self._by_tag:
            by_tag: dict[str, set[int]] = {}
            for number in range(self._pictures_in_all):
                for tag in self._shown(number).tags.all:
                    by_tag.setdefault(tag, set()).add(number)
            self._by_tag = {tag: frozenset(numbers) for tag, numbers in by_tag.items()}
        return self._by_tag

    def resolve(self, query: ParsedSearch, index_of_md5: Mapping[str, int | None]) -> Search:
        """Prepare a search; `index_of_md5` has every hash of `md5_terms`, None where no post has it."""
        search = Search(ascending=query.ascending)
        for term in query.terms:
            search = self._narrow(search, term, index_of_md5)
        return search

    def count(self, search: Search, *, shown: int, gone: Collection[int]) -> int:
        """Number of matching posts among the first `shown` posts, without those at the indices `gone`."""
        if search.tests:
            return sum(1 for _ in self._matches(search, shown, gone))
        lowest, highest = self._places(search, shown)
        return highest - lowest - sum(self._matches_one(search, index) for index in gone if index < shown)

    def page(self, search: Search, *, offset: int, limit: int, shown: int, gone: Collection[int]) -> list[int]:
        """Indices of at most `limit` matching posts after the first `offset`, in the order of the search."""
        if search.tests:
            return list(islice(self._matches(search, shown, gone), offset, offset + limit))
        lowest, highest = self._places(search, shown)
        first = offset
        missing = (self._before(search, index) for index in gone if self._matches_one(search, index))
        for place in sorted(missing, reverse=not search.ascending):
            first += (place - lowest if search.ascending else highest - 1 - place) <= first
        places = (
            range(lowest + first, highest) if search.ascending else range(highest - 1 - first, lowest - 1, -1)
        )
        found = (self._nth(search, place) for place in places)
        return list(islice((index for index in found if index not in gone), limit))

    def _matches(self, search: Search, shown: int, gone: Collection[int]) -> Iterator[int]:
        """All matching posts in the order of the search, tested one by one."""
        lowest, highest = self._places(search, shown)
        places = range(lowest, highest) if search.ascending else range(highest - 1, lowest - 1, -1)
        for place in places:
            index = self._nth(search, place)
            if index not in gone and all(test(index) for test in search.tests):
                yield index

    def _places(self, search: Search, shown: int) -> tuple[int, int]:
        """Range of the search's posts in the sequence of all posts that show its pictures."""
        lowest = self._before(search, search.low)
        return lowest, max(lowest, self._before(search, min(search.high, shown)))

    def _before(self, search: Search, index: int) -> int:
        """Number of posts below `index` that show one of the search's pictures."""
        if search.pictures is None:
            return index
        turns, picture = divmod(index, self._pictures_in_all)
        return turns * len(search.pictures) + bisect_left(search.pictures, picture)

    def _nth(self, search: Search, place: int) -> int:
        """Index of the post at `place` in the sequence of all posts that show the search's pictures."""
        if search.pictures is None:
            return place
        turns, rank = divmod(place, len(search.pictures))
        return turns * self._pictures_in_all + search.pictures[rank]

    def _matches_one(self, search: Search, index: int) -> bool:
        if not search.low <= index < search.high or not all(test(index) for test in search.tests):
            return False
        return search.pictures is None or self._before(search, index + 1) > self._before(search, index)

    def _narrow(self, search: Search, term: Term, index_of_md5: Mapping[str, int | None]) -> Search:
        """Add one more required term."""
        match term:
            case Between(field="id", low=low, high=high):
                return _within(search, count_below(self._seed, low), count_below(self._seed, high + 1))
            case HasMd5(md5):
                index = index_of_md5[md5]
                return _within(search, 0, 0) if index is None else _within(search, index, index + 1)
            case ChildOf(parent_id):
                return self._require_parent(search, parent_id)
        if not _is_about_pictures(term):
            return replace(search, tests=(*search.tests, self._test(term, index_of_md5)))
        return _among(search, self._pictures(term))

    def _require_parent(self, search: Search, parent_id: int) -> Search:
        """Require a parent, whose children show children of its picture in the same round of the pictures."""
        parent = index_of(self._seed, parent_id)
        if parent is None:
            return _within(search, 0, 0)
        turn, picture = divmod(parent, self._pictures_in_all)
        children = self._where(lambda shown: shown.is_child and shown.near_duplicate_of == picture)
        first = turn * self._pictures_in_all
        return _among(_within(search, first, first + self._pictures_in_all), children)

    def _test(self, term: Term, index_of_md5: Mapping[str, int | None]) -> Test:
        """Convert a term to a predicate on the index of a post."""
        match term:
            case Not(inner):
                holds = self._test(inner, index_of_md5)
                return lambda index: not holds(index)
            case Either(terms):
                tests = [self._test(inner, index_of_md5) for inner in terms]
                return lambda index: any(test(index) for test in tests)
            case OneOf(ids):
                wanted = {index_of(self._seed, post_id) for post_id in ids}
                return lambda index: index in wanted
        only = self._narrow(Search(), term, index_of_md5)
        return lambda index: self._matches_one(only, index)

    def _pictures(self, term: Term) -> frozenset[int]:
        """Numbers of the pictures for which a term about pictures holds."""
        match term:
            case Not(inner):
                return frozenset(range(self._pictures_in_all)) - self._pictures(inner)
            case Either(terms):
                return frozenset().union(*(self._pictures(inner) for inner in terms))
            case Between(field, low, high):
                return self._where(
                    lambda shown: (number := getattr(shown, field)) is not None and low <= number <= high
                )
            case Equal("rating", text):
                return frozenset(
                    number
                    for number in range(self._pictures_in_all)
                    if text in (word := self._rating_of(number), word[0])
                )
            case Equal(field, text):
                pattern = _pattern(text)
                attribute = "owner" if field == "user" else field
                return self._where(
                    lambda shown: pattern.fullmatch(getattr(shown, attribute).lower()) is not None
                )
            case Word(text) if "*" in text and text not in self.pictures_by_tag():
                pattern = _pattern(text)
                tagged = self.pictures_by_tag().items()
                return frozenset().union(*(numbers for tag, numbers in tagged if pattern.fullmatch(tag)))
            case Word(text):
                return self.pictures_by_tag().get(text, frozenset())
        raise AssertionError(f"{term} is about single posts")

    def _where(self, holds: Callable[[Illustration], bool]) -> frozenset[int]:
        numbers = range(self._pictures_in_all)
        return frozenset(number for number in numbers if holds(self._shown(number)))


def md5_terms(query: ParsedSearch) -> frozenset[str]:
    """All hashes in the query. To find their posts, the caller has to draw pictures."""

    def of(term: Term) -> frozenset[str]:
        match term:
            case HasMd5(md5):
                return frozenset((md5,))
            case Not(inner):
                return of(inner)
            case Either(terms):
                return frozenset().union(*map(of, terms))
        return frozenset()

    return frozenset().union(*map(of, query.terms))


def _is_about_pictures(term: Term) -> bool:
    match term:
        case Not(inner):
            return _is_about_pictures(inner)
        case Either(terms):
            return all(map(_is_about_pictures, terms))
        case Between(field=field):
            return field != "id"
        case Word() | Equal():
            return True
    return False


def _within(search: Search, low: int, high: int) -> Search:
    return replace(search, low=max(search.low, low), high=min(search.high, high))


def _among(search: Search, pictures: frozenset[int]) -> Search:
    kept = pictures if search.pictures is None else pictures.intersection(search.pictures)
    return replace(search, pictures=tuple(sorted(kept)))


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)
