"""Listing of a board into the ledger: requests the pages that `cursor` chooses, and records each answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from alti2v.crawl.boards.protocol import Page, Refusal, Unreadable, Wall
from alti2v.crawl.http.retry import FailedTry
from alti2v.crawl.listing.api import Api, ListingQuery, read_count
from alti2v.crawl.listing.cursor import (
    after_count,
    after_page,
    after_wall,
    bounds_to_count,
    next_listing,
    next_query,
)
from alti2v.crawl.listing.requests import describe
from alti2v.crawl.store.ledger.outcomes import PostCounts
from alti2v.crawl.store.listing_state import Ending, ListingState


@dataclass(frozen=True, slots=True)
class ListingStopped:
    """A listing that cannot continue.

    Attributes:
        where: Position of the listing, in words.
        answer: Answer in place of posts.
    """

    where: str
    answer: Refusal | Unreadable | Wall | FailedTry

    @property
    def message(self) -> str:
        """Description for users."""
        return f"listing stopped {self.where}: {describe(self.answer)}"


async def list_posts(
    api: Api,
    query: ListingQuery,
    *,
    limit: int | None,
    before_first: Callable[[], None],
    on_page: Callable[[PostCounts], None],
) -> ListingState | ListingStopped:
    """List the missing posts: the rest of an unfinished listing, then newer posts.

    Args:
        api: Access to the board and the ledger.
        query: Posts to list.
        limit: Number of posts after which to stop, counting those of earlier runs; None for no limit.
        before_first: Called in the store's thread before the first post is recorded.
        on_page: Called with the counts of posts after each page.

    Returns:
        The last state; its `ending` is None if the limit was reached.
    """
    former = await api.thread.run(api.ledger.state.listing)
    listing = _next(query, former)
    # An unfinished listing was begun some time ago: look for newer posts once it ends.
    is_resumed = former is not None and former.ending is None
    last = Page()
    while True:
        listed = (await api.thread.run(api.ledger.posts.counts)).listed
        if limit is not None and listed >= limit:
            return listing
        if listing.ending is Ending.COMPLETE and is_resumed:
            listing, is_resumed = _next(query, listing), False
        if listing.ending is not None:
            return listing
        if listing.needs_count:
            listing = await _confirm_end(api, query, listing)
            continue
        remaining = None if limit is None else limit - listed
        answer = await api.pager.get(
            next_query(listing, tags=query.terms, page_limit=api.board.page_limit, remaining=remaining)
        )
        if isinstance(answer, Page) and not answer.is_empty and answer == last and listing.page:
            answer = Unreadable("the same page again, whatever the page number")
        if isinstance(answer, Page):
            last = answer
            page = _first(answer, remaining)
            listing, counts = await _record_page(api, query, listing, page, before_first)
            on_page(counts)
            continue
        at_wall = after_wall(listing) if isinstance(answer, Wall) else None
        if at_wall is None:
            where = "at the newest post" if listing.below is None else f"below id {listing.below}"
            return ListingStopped(where, answer)
        listing = at_wall
        api.say(listing.shortfall)
        await api.thread.run(_commit_listing, api, listing)


def _next(query: ListingQuery, former: ListingState | None) -> ListingState:
    return next_listing(former, min_id=query.conditions.min_id, max_id=query.conditions.max_id)


async def _record_page(
    api: Api, query: ListingQuery, listing: ListingState, page: Page, before_first: Callable[[], None]
) -> tuple[ListingState, PostCounts]:
    was_by_page = listing.by_page
    listing, counts = await api.thread.run(_commit_page, api, query, listing, page, before_first)
    if listing.by_page and not was_by_page:
        api.say(f"{api.board.base} ignores id:<N: listing by page number instead")
    return listing, counts


def _commit_page(
    api: Api, query: ListingQuery, listing: ListingState, page: Page, before_first: Callable[[], None]
) -> tuple[ListingState, PostCounts]:
    if page.posts or page.deleted_ids:
        before_first()
    low = query.conditions.min_id
    # Where a search cannot have a lowest id, the last page continues below it.
    is_cut = low is not None and not api.board.takes_lower_bound and not listing.by_page
    with api.ledger.transaction():
        new = api.ledger.posts.add(
            [post for post in page.posts if post.id >= (low or 0)] if is_cut else page.posts,
            deleted_ids=page.deleted_ids,
            wanted=query.conditions.hold_for,
            skip=query.skip_reason,
            seen_at=query.now,
        )
        listing = after_page(listing, page, new=new)
        api.ledger.state.set_listing(listing)
    return listing, api.ledger.posts.counts()


def _commit_listing(api: Api, listing: ListingState) -> None:
    with api.ledger.transaction():
        api.ledger.state.set_listing(listing)


async def _confirm_end(api: Api, query: ListingQuery, listing: ListingState) -> ListingState:
    """Compare what is recorded with the board's own counts, to see whether this is the end."""
    if listing.doubts:
        await api.requests.pause(1 + listing.doubts)
    low = None if api.board.takes_lower_bound or listing.by_page else query.conditions.min_id
    uncounted = 0 if low is None else await _missing_below(api, query, low, listing.top) or 0
    differences = [await _missing_below(api, query, bound, listing.top) for bound in bounds_to_count(listing)]
    if all(difference is None for difference in differences):  # for example one search term too many
        differences = [await _missing_below(api, query, None, listing.top)]
    missing = max((number - uncounted for number in differences if number is not None), default=None)
    counted = after_count(listing, missing=missing)
    await api.thread.run(_commit_listing, api, counted)
    if counted.by_page and not listing.by_page:
        api.say(f"{api.board.base} does not list by id: listing by page number as well")
    return counted


async def _missing_below(api: Api, query: ListingQuery, bound: int | None, top: int) -> int | None:
    """Return the number of posts below a bound that the board counts beyond those recorded; None if unknown."""
    url = api.board.count_url(query.terms, below=bound)
    count = await api.requests.send((url,), partial(read_count, api.board))
    if not isinstance(count, int):
        return None
    return count - await api.thread.run(api.ledger.posts.count_listed, below=bound, top=top)


def _first(page: Page, limit: int | None) -> Page:
    """Return the newest `limit` entries of a page; all if None."""
    if limit is None or len(page.posts) + len(page.deleted_ids) <= limit:
        return page
    newest = sorted(page.posts, key=lambda post: post.id, reverse=True)[:limit]
    return Page(tuple(newest), page.deleted_ids[: limit - len(newest)], page.unusable)
