"""The paging state machine: which page to ask for next, and when a listing is complete. Pure.

A walk goes downwards by id: "the newest posts below the lowest id so far". That has no depth limit and
loses nothing while posts arrive or vanish. Where a board ignores the bound (it answers with ids that
are not below it), the walk goes by page number instead. There a post that vanishes moves another one
across a page border, unseen, so such a walk is repeated until it meets nothing new. So it goes as well where
the order is not that of ids and the count shows that something was passed over.

An empty answer is not the end: boards send one now and then where posts exist (gallery-dl #5830).
The end is believed when the board said so twice in a row and its own count agrees.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from alti2v.crawl.boards.protocol import Page, PostQuery
from alti2v.crawl.store.walk_state import Ending, Walk

# Ends in a row that the count may contradict before the walk gives in.
DOUBTS = 3


def question(walk: Walk, *, tags: str, page_limit: int, wanted: int | None) -> PostQuery:
    """What to ask next.

    Args:
        walk: where the listing stands.
        tags: the search.
        page_limit: posts that the board puts into one answer at most.
        wanted: how many more posts are wanted, None for all.
    """
    limit = page_limit if wanted is None or walk.full else min(page_limit, max(wanted, 1))
    return PostQuery(tags=tags, below=walk.below, page=walk.page, limit=limit)


def bounds_to_count(walk: Walk) -> tuple[int | None, ...]:
    """Below which ids to hold the board's count against what is recorded.

    Below the cursor nothing may be left. And below the newest post seen the sums must agree, which shows
    a hole that a page left; what arrived since lies above it.
    """
    if walk.below is None:
        return (None,)
    return (walk.below, walk.top + 1)


def after_page(walk: Walk, page: Page, *, new: int) -> Walk:
    """Go on after an answer; `new` of its posts and ghosts were recorded for the first time."""
    if page.is_empty:
        return replace(walk, empties=walk.empties + 1)
    ids = [post.id for post in page.posts]
    if not ids:  # nothing here can be a cursor: look behind it
        return replace(walk, page=walk.page + 1 if walk.full else 0, full=True, empties=0)
    is_falling = all(one > other for one, other in itertools.pairwise(ids))
    walk = replace(walk, top=max(walk.top, *ids), empties=0, unsorted=walk.unsorted or not is_falling)
    if not walk.by_page and walk.below is not None and min(ids) >= walk.below:
        return replace(walk, by_page=True, full=True, page=0, below=None)
    # In another order, posts above the floor may follow those below it.
    if min(ids) <= walk.floor and not (walk.by_page and walk.unsorted):
        return replace(walk, ending=Ending.COMPLETE, below=min(ids))
    if walk.by_page:
        return replace(walk, page=walk.page + 1, fresh=walk.fresh + new)
    return replace(walk, below=min(ids), page=0)


def after_wall(walk: Walk) -> Walk | None:
    """Go on after a wall; None if this page cannot have a wall, so that it is worth asking again."""
    return replace(walk, ending=Ending.WALL) if walk.page else None


def after_count(walk: Walk, *, missing: int | None) -> Walk:
    """Believe the end or not.

    Args:
        walk: one that `wants_count`.
        missing: how many posts the board counts beyond those recorded, None if it does not count.
    """
    is_short = missing is not None and missing > 0
    if walk.doubts < DOUBTS and (is_short or (walk.by_page and walk.fresh)):
        # From the first page of this cursor: behind pages of ghosts alone, what arrived since would not be met.
        return replace(walk, doubts=walk.doubts + 1, empties=0, fresh=0, page=0)
    if is_short and walk.unsorted and not walk.by_page:
        return replace(walk, by_page=True, full=True, page=0, below=None, fresh=0, empties=0, doubts=0)
    if is_short:
        return replace(walk, ending=Ending.SHORT, missing=missing or 0)
    return replace(walk, ending=Ending.COMPLETE)


def next_walk(walk: Walk | None, *, min_id: int | None = None, max_id: int | None = None) -> Walk:
    """The walk of a new run: on from where the last one stopped, or from the newest post down to it.

    Args:
        walk: the last one, None if there was none.
        min_id: where walks end, None for no such bound.
        max_id: where they begin.
    """
    below = None if max_id is None else max_id + 1
    if walk is None or walk.ending in (Ending.SHORT, Ending.WALL):
        floor = 0 if min_id is None else min_id - 1
        return Walk(floor=floor, below=below)  # everything again: what is missing may lie anywhere
    if walk.ending is Ending.COMPLETE:
        below = None if walk.by_page else below
        return Walk(
            floor=walk.top,
            below=below,
            top=walk.top,
            by_page=walk.by_page,
            unsorted=walk.by_page and walk.unsorted,
            full=walk.full,
        )
    return replace(walk, empties=0, doubts=0, fresh=1)  # of the first half of a walk nothing is known
