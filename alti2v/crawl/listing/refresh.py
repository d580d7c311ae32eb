"""Refresh of posts that were listed before: tags change for years, and posts are deleted.

If the board can list the posts that were changed last first, only those of the last days are read. If not,
every post is read again, downwards by id, or by page number if the board ignores id:<N. Posts that this listing
skips are requested by id, and marked as deleted if the board no longer has them; their rows and pictures
are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from alti2v.crawl.boards.protocol import Answer, Page, PostQuery
from alti2v.crawl.http.retry import FailedTry
from alti2v.crawl.listing.api import Api, ListingQuery, count_posts
from alti2v.crawl.listing.requests import describe
from alti2v.crawl.store.ledger.outcomes import PostCounts
from alti2v.crawl.store.ledger.state import StateKey
from alti2v.crawl.store.listing_state import CONFIRMATIONS
from alti2v.records import Post

_DAY_S = 86_400


async def refresh(
    api: Api, query: ListingQuery, *, days: float, on_page: Callable[[PostCounts, int], None]
) -> str:
    """Read changed posts again.

    Args:
        api: Access to the board and the ledger.
        query: Posts to read.
        days: Age of the oldest change that is read.
        on_page: Called after each page with the counts of posts and the number of posts read so far.

    Returns:
        Description of what is missing; "" if nothing is.
    """
    return await _Refresh(api, query, on_page).run(days)


@dataclass(slots=True)
class _Refresh:
    """A refresh in progress; `read` counts the posts read so far."""

    api: Api
    query: ListingQuery
    on_page: Callable[[PostCounts, int], None]
    read: int = 0

    async def run(self, days: float) -> str:
        terms = self.api.board.changed_first(self.query.terms)
        first = await self._get(PostQuery(tags=terms, limit=self.api.board.page_limit))
        if isinstance(first, Page) and _is_by_change(first):
            missing = await self._by_change(terms, first, since=self.query.now - days * _DAY_S)
            return missing or (await self._all() if await self._has_lost_posts() else "")
        self.api.say(f"{self.api.board.base} does not list by time of change: reading every post again")
        return await self._all()

    async def _by_change(self, terms: str, first: Page, *, since: float) -> str:
        page = first
        for number in itertools.count(1):
            await self._record(page.posts)
            oldest = min((post.changed_at or 0 for post in page.posts), default=0)
            if oldest < since:  # also after an empty page, which is the end
                return ""
            answer = await self._get(PostQuery(tags=terms, page=number, limit=self.api.board.page_limit))
            if not isinstance(answer, Page):
                age = (self.query.now - oldest) / _DAY_S
                return f"posts changed more than {age:.1f} days ago ({describe(answer)})"
            page = answer
        raise AssertionError("counting ends")

    async def _has_lost_posts(self) -> bool:
        """Return whether the board counts fewer of the recorded posts than after the last full refresh.

        The number of posts marked as deleted cannot tell: some boards list and count such posts.
        """
        uncounted = await self._uncounted()
        if uncounted is None:
            return False
        former = await self.api.thread.run(self.api.ledger.state.number, StateKey.UNCOUNTED)
        return uncounted > (former or 0)

    async def _uncounted(self) -> int | None:
        """Return the number of recorded posts that the board does not count; None if it does not say."""
        count = await count_posts(self.api, self.query)
        return None if count is None else await self.api.thread.run(self.api.ledger.posts.count_listed) - count

    async def _all(self) -> str:
        missing = await self._by_id()
        uncounted = None if missing else await self._uncounted()
        if uncounted is not None:
            await self.api.thread.run(self.api.ledger.state.commit, StateKey.UNCOUNTED, str(uncounted))
        return missing

    async def _by_id(self) -> str:
        board, terms = self.api.board, self.query.terms
        lowest, highest = await self.api.thread.run(self.api.ledger.posts.id_bounds)
        below, page, by_page = highest + 1, 0, False
        last = set[int]()
        while below > lowest:
            cursor = None if by_page else below
            answer = await self._get(PostQuery(tags=terms, below=cursor, page=page, limit=board.page_limit))
            if not isinstance(answer, Page):
                return f"changes of posts below id {below} ({describe(answer)})"
            ids = {post.id for post in answer.posts}
            if not by_page and ids and max(ids) >= below:
                self.api.say(f"{board.base} ignores id:<N: reading posts again by page number")
                by_page, page, last = True, 0, set()
                continue
            if by_page and ids and ids == last:
                return f"changes: {board.base} ignores id:<N, and page numbers"
            last = ids
            await self._record(answer.posts)
            page = page + 1 if by_page or not ids else 0
            if answer.deleted_ids and not ids:  # deleted ids alone do not tell the position of the listing
                continue
            # An empty answer, confirmed by `_get`, means that no post is left.
            low = min(min(ids, default=lowest), below)
            missing = await self._check_skipped(ids.union(answer.deleted_ids), low=low, below=below)
            if missing:
                return missing
            below = low
        return ""

    async def _check_skipped(self, listed: set[int], *, low: int, below: int) -> str:
        """Check the posts with ids in [low, below) that a page did not list."""
        for post_id in await self.api.thread.run(self.api.ledger.posts.present_ids, low=low, below=below):
            missing = "" if post_id in listed else await self._check_post(post_id)
            if missing:
                return missing
        return ""

    async def _check_post(self, post_id: int) -> str:
        """Request a single post that the listing skipped: its score or tags may no longer match."""
        answer = await self._get(PostQuery(tags=f"id:{post_id}", limit=1))
        if not isinstance(answer, Page):
            return f"changes of posts below id {post_id + 1} ({describe(answer)})"
        matching = tuple(post for post in answer.posts if post.id == post_id)
        if matching:
            self.on_page(await self.api.thread.run(self._commit, matching), self.read)
        elif answer.posts:
            return f"which posts are gone: {self.api.board.base} answers id:{post_id} with another post"
        elif post_id not in answer.deleted_ids:
            await self.api.thread.run(self._commit_deleted, post_id)
        return ""

    async def _get(self, query: PostQuery) -> Answer | FailedTry:
        """Request a page; accept an empty answer when it came twice in a row."""
        answer: Answer | FailedTry = Page()
        for _ in range(CONFIRMATIONS):
            answer = await self.api.pager.get(query)
            if not (isinstance(answer, Page) and answer.is_empty):
                break
        return answer

    async def _record(self, posts: tuple[Post, ...]) -> None:
        self.read += len(posts)
        self.on_page(await self.api.thread.run(self._commit, posts), self.read)

    def _commit(self, posts: tuple[Post, ...]) -> PostCounts:
        ledger = self.api.ledger
        known = [post for post in posts if ledger.posts.is_listed(post.id)]
        with ledger.transaction():
            ledger.posts.add(
                known,
                wanted=self.query.conditions.hold_for,
                skip=self.query.skip_reason,
                seen_at=self.query.now,
            )
        return ledger.posts.counts()

    def _commit_deleted(self, post_id: int) -> None:
        with self.api.ledger.transaction():
            self.api.ledger.posts.mark_deleted(post_id)


def _is_by_change(page: Page) -> bool:
    """Return whether the post that was changed last comes first, and the order is not simply that of ids."""
    changes = [post.changed_at for post in page.posts]
    if None in changes or not _is_falling([change or 0 for change in changes]):
        return False
    return not _is_falling([post.id for post in page.posts])


def _is_falling(numbers: list[int]) -> bool:
    return all(one >= other for one, other in itertools.pairwise(numbers))
