"""The paging state machine: which page to request next, and when a listing is complete. Pure.

A listing goes downwards by id: "the newest posts below the lowest id so far". That has no depth limit, and
loses nothing while posts arrive or vanish. If a board ignores the bound (it answers with ids that are not
below it), the listing goes by page number instead. There, a post that vanishes moves another one across a
page border, unseen, so the pass is repeated until it meets nothing new. The same is done if the board's order
is not that of ids, and its count shows that posts were skipped.

An empty answer is not the end: boards send one now and then although posts remain (gallery-dl #5830).
The end is accepted when the board said so twice in a row and its own count agrees.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from alti2v.crawl.boards.protocol import Page, PostQuery
from alti2v.crawl.store.listing_state import Ending, ListingState

# Contradictions between end and count after which the end is accepted: counts of boards lag, or are wrong.
DOUBTS = 3


def next_query(listing: ListingState, *, tags: str, page_limit: int, remaining: int | None) -> PostQuery:
    """Return the request for the next page of posts.

    Args:
        listing: State of the listing.
        tags: Search.
        page_limit: Maximum number of posts in one answer of the board.
        remaining: Number of posts that are still wanted; None for all.
    """
    limit = page_limit if remaining is None or listing.full else min(page_limit, max(remaining, 1))
    return PostQuery(tags=tags, below=listing.below, page=listing.page, limit=limit)


def bounds_to_count(listing: ListingState) -> tuple[int | None, ...]:
    """Return the ids below which the board's count is compared with the recorded posts.

    Below the cursor nothing may be left. Below the newest post seen, the counts must agree; a difference is a
    hole that a page left. Posts that arrived since are above it.
    """
    if listing.below is None:
        return (None,)
    return (listing.below, listing.top + 1)


def after_page(listing: ListingState, page: Page, *, new: int) -> ListingState:
    """Continue after a page, of which `new` posts and deleted ids were recorded for the first time."""
    if page.is_empty:
        return replace(listing, empties=listing.empties + 1)
    ids = [post.id for post in page.posts]
    if not ids:  # only deleted ids, none of which can be the cursor: this page in full, then those after it
        return replace(listing, page=listing.page + 1 if listing.full else 0, full=True, empties=0)
    is_falling = all(one > other for one, other in itertools.pairwise(ids))
    listing = replace(
        listing, top=max(listing.top, *ids), empties=0, unsorted=listing.unsorted or not is_falling
    )
    if not listing.by_page and listing.below is not None and min(ids) >= listing.below:  # it is ignored
        return replace(listing, by_page=True, full=True, page=0, below=None)
    # Where the order is not that of ids, posts above the floor may follow those below it.
    if min(ids) <= listing.floor and not (listing.by_page and listing.unsorted):
        return replace(listing, ending=Ending.COMPLETE, below=min(ids))
    if listing.by_page:
        return replace(listing, page=listing.page + 1, fresh=listing.fresh + new)
    return replace(listing, below=min(ids), page=0)


def after_wall(listing: ListingState) -> ListingState | None:
    """Return the ended listing after a wall; None if this page cannot be a wall, so another try may help."""
    return replace(listing, ending=Ending.WALL) if listing.page else None


def after_count(listing: ListingState, *, missing: int | None) -> ListingState:
    """Return the listing, ended or continued, after the board's count of posts.

    Args:
        listing: State that `needs_count`.
        missing: Number of posts that the board counts beyond those recorded; None if it does not count.
    """
    is_short = missing is not None and missing > 0
    if listing.doubts < DOUBTS and (is_short or (listing.by_page and listing.fresh)):
        # From the first page of this cursor: after pages of deleted ids only, newer posts would be missed.
        return replace(listing, doubts=listing.doubts + 1, empties=0, fresh=0, page=0)
    if is_short and listing.unsorted and not listing.by_page:
        return replace(listing, by_page=True, full=True, page=0, below=None, fresh=0, empties=0, doubts=0)
    if is_short:
        return replace(listing, ending=Ending.SHORT, missing=missing or 0)
    return replace(listing, ending=Ending.COMPLETE)


def next_listing(
    former: ListingState | None, *, min_id: int | None = None, max_id: int | None = None
) -> ListingState:
    """Return the first state of a run: continue the last listing, or list from the newest post down to it.

    Args:
        former: Last state; None if there is none.
        min_id: Lowest wanted id; None for no bound.
        max_id: Highest wanted id; None for no bound.
    """
    below = None if max_id is None else max_id + 1
    if former is None or former.ending in (Ending.SHORT, Ending.WALL):
        floor = 0 if min_id is None else min_id - 1
        return ListingState(floor=floor, below=below)  # everything again: what is missing may be anywhere
    if former.ending is Ending.COMPLETE:
        below = None if former.by_page else below
        return ListingState(
            floor=former.top,
            below=below,
            top=former.top,
            by_page=former.by_page,
            unsorted=former.by_page and former.unsorted,
            full=former.full,
        )
    # `fresh` of the interrupted pass counts only its first part: assume that it met something new.
    return replace(former, empties=0, doubts=0, fresh=1)
