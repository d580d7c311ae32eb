"""The paging state machine, against a model board."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alti2v.crawl.boards.protocol import Page, PostQuery, Wall
from alti2v.crawl.listing.cursor import (
    DOUBTS,
    after_count,
    after_page,
    after_wall,
    bounds_to_count,
    next_listing,
    next_query,
)
from alti2v.crawl.store.listing_state import CONFIRMATIONS, Ending, ListingState, read_listing
from alti2v.records import Post


@dataclass
class ModelBoard:
    """Model of a board between and during answers; ids are its posts.

    Attributes:
        events: one for each answer: "empty", ("arrive", n), ("vanish", index) or None.
        deleted_ids: ids without a post, some far above every real one.
    """

    ids: set[int]
    deleted_ids: set[int] = field(default_factory=set)
    events: list[object] = field(default_factory=list)
    cap: int = 7
    obeys_cursor: bool = True
    is_shuffled: bool = False
    wall: int | None = None
    vanished: set[int] = field(default_factory=set)

    def answer(self, query: PostQuery) -> Page | Wall:
        event = self.events.pop() if self.events else None
        if event == "empty":
            return Page()
        limit = min(query.limit, self.cap)
        if self.wall is not None and query.page * limit > self.wall:
            return Wall("too deep")
        found = sorted(self.matching(query.below), reverse=True)[query.page * limit :][:limit]
        if self.is_shuffled:
            found = found[1:] + found[:1]
        posts = tuple(Post(id=number) for number in found if number in self.ids)
        page = Page(posts, tuple(number for number in found if number in self.deleted_ids))
        self.happen(event)
        return page

    def happen(self, event: object) -> None:
        """Posts arrive and vanish after the answer was made."""
        match event:
            case ("arrive", int(count)):
                top = max(self.ids | self.vanished, default=0)
                self.ids |= set(range(top + 1, top + 1 + count))
            case ("vanish", int(index)) if self.ids:
                victim = sorted(self.ids)[index % len(self.ids)]
                self.ids.discard(victim)
                self.vanished.add(victim)

    def matching(self, below: int | None) -> set[int]:
        entries = self.ids | self.deleted_ids
        return {number for number in entries if below is None or not self.obeys_cursor or number < below}


def listed_by(
    board: ModelBoard, walk: ListingState, recorded: list[int], *, patience: int = 2000
) -> ListingState:
    """Drive a walk to its end as the lister does; `recorded` gets each id as it is met."""
    for _ in range(patience):
        if walk.ending is not None:
            return walk
        if walk.needs_count:
            missing = [
                len(board.matching(bound)) - sum(bound is None or number < bound for number in set(recorded))
                for bound in bounds_to_count(walk)
            ]
            walk = after_count(walk, missing=max(missing))
            continue
        answer = board.answer(next_query(walk, tags="", page_limit=10, remaining=None))
        if isinstance(answer, Wall):
            walk = after_wall(walk) or walk
            continue
        entries = [post.id for post in answer.posts] + list(answer.deleted_ids)
        new = len(set(entries) - set(recorded))
        recorded += entries
        walk = read_listing(asdict(after_page(walk, answer, new=new)))
    pytest.fail("the walk does not end")


ids = st.sets(st.integers(1, 400), min_size=1, max_size=120)
changes = st.one_of(
    st.none(),
    st.just("empty"),
    st.tuples(st.just("arrive"), st.integers(1, 9)),
    st.tuples(st.just("vanish"), st.integers(0, 400)),
)


@given(
    ids,
    st.sets(st.one_of(st.integers(1, 400), st.integers(10**6, 10**6 + 50)), max_size=30),
    st.lists(changes, max_size=30),
    st.booleans(),
)
@example(
    present={1},
    deleted_ids={3, 4, 5, *range(10**6, 10**6 + 5)},
    events=[("arrive", 1), ("vanish", 0), None],
    is_shuffled=False,
)
@settings(deadline=None)
def test_nothing_is_lost_whatever_happens_meanwhile(
    present: set[int], deleted_ids: set[int], events: list[object], is_shuffled: bool
) -> None:
    """Every post that was there from the beginning to the end of a complete walk is recorded."""
    board = ModelBoard(set(present), deleted_ids - present, list(events), is_shuffled=is_shuffled)
    recorded: list[int] = []

    walk = listed_by(board, ListingState(), recorded)

    if walk.ending is Ending.COMPLETE:
        assert present - board.vanished <= set(recorded)
    else:  # only a board that says "empty" at every confirmation can get this far
        assert events.count("empty") >= CONFIRMATIONS * (DOUBTS + 1)
        assert walk.missing > 0


@given(ids, st.lists(st.sampled_from([None, ("arrive", 3)]), max_size=20))
@settings(deadline=None)
def test_by_cursor_no_post_is_asked_for_twice(present: set[int], events: list[object]) -> None:
    """While posts only arrive, each is met once, however many pages there are."""
    recorded: list[int] = []

    walk = listed_by(ModelBoard(set(present), events=list(events)), ListingState(), recorded)

    assert walk.ending is Ending.COMPLETE
    assert len(recorded) == len(set(recorded))
    assert walk.below == min(present)


@given(ids, st.lists(st.sampled_from([None, "empty", ("arrive", 3)]), max_size=12))
@settings(deadline=None)
def test_a_board_that_ignores_the_cursor_is_walked_by_page(present: set[int], events: list[object]) -> None:
    """The ignored cursor is noticed, and paging by number finds every post all the same."""
    recorded: list[int] = []

    walk = listed_by(
        ModelBoard(set(present), events=list(events), obeys_cursor=False), ListingState(), recorded
    )

    assert walk.ending is Ending.COMPLETE or events.count("empty") >= CONFIRMATIONS
    assert present <= set(recorded) or walk.ending is Ending.SHORT


def test_posts_that_vanish_while_paging_by_number_are_noticed() -> None:
    """A vanished post moves another across the page border; the count shows it and the walk is repeated."""
    board = ModelBoard(set(range(1, 30)), events=[("vanish", 27), None, None], obeys_cursor=False)
    recorded: list[int] = []

    walk = listed_by(board, ListingState(), recorded)

    assert walk.ending is Ending.COMPLETE
    assert board.ids <= set(recorded)


def test_the_wall_ends_a_walk_by_page_and_says_so() -> None:
    """Where the board ignores the cursor and has a wall, the listing is short, not complete."""
    walk = listed_by(ModelBoard(set(range(1, 90)), obeys_cursor=False, wall=30), ListingState(), [])

    assert walk.ending is Ending.WALL
    assert "refuses to list beyond page 5" in walk.shortfall


def test_the_wall_does_not_stand_in_a_cursors_way() -> None:
    """By cursor, every question is for the first page, which has no wall."""
    recorded: list[int] = []

    walk = listed_by(ModelBoard(set(range(1, 90)), wall=0), ListingState(), recorded)

    assert walk.ending is Ending.COMPLETE
    assert set(range(1, 90)) == set(recorded)


def test_one_empty_answer_is_not_the_end() -> None:
    """The first empty answer asks again; the second asks for the count; a count of more asks again."""
    walk = after_page(ListingState(), Page((Post(id=9),)), new=1)

    once = after_page(walk, Page(), new=0)
    twice = after_page(once, Page(), new=0)
    doubted = after_count(twice, missing=3)

    assert not once.needs_count
    assert twice.needs_count
    assert doubted.ending is None
    assert not doubted.needs_count


def test_a_board_that_counts_more_than_it_lists_is_short() -> None:
    """After several doubts the walk ends short, with the number that is missing."""
    walk = ListingState(top=9, below=1)
    for _ in range(DOUBTS + 1):
        walk = after_count(replace(walk, empties=CONFIRMATIONS), missing=3)

    assert walk.ending is Ending.SHORT
    assert walk.shortfall == "the board counts 3 more posts than it lists"
    assert next_listing(walk) == ListingState()


@given(ids, ids, st.integers(1, 12))
@settings(deadline=None)
def test_a_later_walk_lists_only_what_is_newer(present: set[int], later: set[int], cap: int) -> None:
    """After a complete walk, the next one ends at the first known post and finds every newer one."""
    recorded: list[int] = []
    first = listed_by(ModelBoard(set(present), cap=cap), ListingState(), recorded)
    newer = {max(present) + number for number in later}
    found: list[int] = list(recorded)

    second = listed_by(ModelBoard(present | newer, cap=cap), next_listing(first), found)

    fresh = found[len(recorded) :]
    assert second.ending is Ending.COMPLETE
    assert newer <= set(fresh)
    assert len(fresh) <= len(newer) + cap
    assert second.top == max(newer)


@given(ids, st.integers(0, 10))
@settings(deadline=None)
def test_an_interrupted_walk_goes_on_where_it_stopped(present: set[int], pages: int) -> None:
    """Whatever the page after which it stopped, the rest is listed and nothing twice."""
    board, recorded, walk = ModelBoard(set(present)), [], ListingState()
    for _ in range(pages):
        page = board.answer(next_query(walk, tags="", page_limit=10, remaining=None))
        assert isinstance(page, Page)
        recorded += [post.id for post in page.posts]
        walk = after_page(walk, page, new=len(page.posts))

    walk = listed_by(board, next_listing(walk) if walk.ending is None else walk, recorded)

    assert sorted(present) == sorted(recorded)


def test_pages_of_ghosts_alone_are_passed() -> None:
    """A ghost is never a cursor: behind a page of nothing else, the walk goes on by page number."""
    deleted_ids = set(range(1000, 1040))
    recorded: list[int] = []

    walk = listed_by(ModelBoard({1, 2, 3, 1050}, deleted_ids, cap=5), ListingState(), recorded)

    assert walk.ending is Ending.COMPLETE
    assert deleted_ids | {1, 2, 3, 1050} == set(recorded)
    assert walk.top == 1050


def test_a_limit_asks_for_no_more_than_is_wanted() -> None:
    """A walk by cursor asks for few posts; one by page number keeps to full pages."""
    assert next_query(ListingState(), tags="a", page_limit=1000, remaining=20) == PostQuery(tags="a", limit=20)
    assert next_query(ListingState(full=True), tags="a", page_limit=1000, remaining=20).limit == 1000
