"""Reading again what was listed before: tags change for years, and posts are deleted.

Where a board lists the posts that were changed last first, only those of the last days are read. Where it
does not, every post is read again, downwards by id, or by page number where the board ignores id:<N. What such
a walk passes over is asked for by its number, and marked as deleted if the board does not have it any more; its
row and its picture stay.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from alti2v.crawl.boards.protocol import Answer, Board, Conditions, Page, PostQuery
from alti2v.crawl.http.retry import FailedTry
from alti2v.crawl.listing.api import Asker, in_words
from alti2v.crawl.listing.pages import Pager
from alti2v.crawl.store.ledger import Ledger, PostCounts
from alti2v.crawl.store.walk_state import CONFIRMATIONS
from alti2v.crawl.store.writer_thread import SingleThread
from alti2v.records import Post

_DAY_S = 86_400
# In the ledger's state: how many recorded posts the board did not count when all were read again.
_UNCOUNTED = "uncounted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresher:
    """What reading again needs.

    Attributes:
        tags: the search, in the board's own terms.
        conditions: what posts must fulfil beyond that.
        days: how far back changes matter.
        now: unix seconds: when this run looks.
        on_page: told how the posts stand and how many posts were read again so far.
        say: told what a person should know.
    """

    board: Board
    asker: Asker
    pager: Pager
    thread: SingleThread
    ledger: Ledger
    tags: str
    conditions: Conditions
    days: float
    now: int
    on_page: Callable[[PostCounts, int], None]
    say: Callable[[str], None]

    async def run(self) -> str:
        """Read again what was changed.

        Returns:
            What is missing, in words; empty if nothing is.
        """
        tags = self.board.changed_first(self.tags)
        first = await self._ask(PostQuery(tags=tags, limit=self.board.page_limit))
        if isinstance(first, Page) and _is_by_change(first):
            missing = await self._by_change(tags, first)
            return missing or (await self._all() if await self._has_lost_posts() else "")
        self.say(f"{self.board.base} does not list by time of change: every post is read again")
        return await self._all()

    async def _by_change(self, tags: str, first: Page) -> str:
        page, read = first, 0
        for number in itertools.count(1):
            read += len(page.posts)
            await self._update(page.posts, read)
            oldest = min((post.changed_at or 0 for post in page.posts), default=0)
            if oldest < self.now - self.days * _DAY_S:  # an empty page, too, is the end
                return ""
            answer = await self._ask(PostQuery(tags=tags, page=number, limit=self.board.page_limit))
            if not isinstance(answer, Page):
                return (
                    f"posts changed more than {(self.now - oldest) / _DAY_S:.1f} days ago ({in_words(answer)})"
                )
            page = answer
        raise AssertionError("counting ends")

    async def _has_lost_posts(self) -> bool:
        """Whether the board counts fewer posts of those that are recorded than when all were read again.

        What is recorded as deleted says nothing about that: some boards show such posts, and count them.
        """
        uncounted = await self._uncounted()
        return uncounted is not None and uncounted > await self.thread.run(self._known_uncounted)

    async def _uncounted(self) -> int | None:
        """How many recorded posts the board does not count; None if it does not say."""
        max_id = self.conditions.max_id
        url = self.board.count_url(self.tags, below=None if max_id is None else max_id + 1)
        count = await self.asker.ask_once(url, lambda body, status: self.board.read_count(body, status=status))
        return await self.thread.run(self.ledger.listed) - count if isinstance(count, int) else None

    async def _all(self) -> str:
        missing = await self._by_id()
        uncounted = None if missing else await self._uncounted()
        if uncounted is not None:
            await self.thread.run(self._keep_uncounted, uncounted)
        return missing

    async def _by_id(self) -> str:
        lowest, highest = await self.thread.run(self.ledger.bounds)
        below, read, page, by_page = highest + 1, 0, 0, False
        last = set[int]()
        while below > lowest:
            cursor = None if by_page else below
            answer = await self._ask(
                PostQuery(tags=self.tags, below=cursor, page=page, limit=self.board.page_limit)
            )
            if not isinstance(answer, Page):
                return f"changes of posts below id {below} ({in_words(answer)})"
            ids = {post.id for post in answer.posts}
            if not by_page and ids and max(ids) >= below:
                self.say(f"{self.board.base} ignores id:<N: posts are read again by page number")
                by_page, page, last = True, 0, set()
                continue
            if by_page and ids and ids == last:
                return f"changes: {self.board.base} ignores id:<N, and page numbers"
            there, last = ids.union(answer.ghosts), ids
            read += len(answer.posts)
            await self._update(answer.posts, read)
            page = page + 1 if by_page or not ids else 0
            if there and not ids:  # ghosts alone say nothing of where the walk is
                continue
            # An empty answer, asked for twice, says that nothing is left.
            low = min(min(ids, default=lowest), below)
            for post_id in await self.thread.run(self.ledger.present, low=low, below=below):
                missing = "" if post_id in there else await self._look_for(post_id)
                if missing:
                    return missing
            below = low
        return ""

    async def _look_for(self, post_id: int) -> str:
        """Ask for one post that a listing passed over: it may have another score or other tags by now."""
        answer = await self._ask(PostQuery(tags=f"id:{post_id}", limit=1))
        if not isinstance(answer, Page):
            return f"changes of posts below id {post_id + 1} ({in_words(answer)})"
        found = tuple(post for post in answer.posts if post.id == post_id)
        if found:
            await self._update(found, 0)
        elif answer.posts:
            return f"which posts are gone: asked for id:{post_id}, {self.board.base} answers with another"
        elif post_id not in answer.ghosts:
            await self.thread.run(self._mark_deleted, post_id)
        return ""

    async def _ask(self, query: PostQuery) -> Answer | FailedTry:
        """Ask; an empty answer is believed when it came twice in a row."""
        answer: Answer | FailedTry = Page()
        for _ in range(CONFIRMATIONS):
            answer = await self.pager.ask(query)
            if not (isinstance(answer, Page) and answer.is_empty):
                break
        return answer

    async def _update(self, posts: tuple[Post, ...], read: int) -> None:
        counts = await self.thread.run(self._keep, posts)
        self.on_page(counts, read)

    def _keep(self, posts: tuple[Post, ...]) -> PostCounts:
        known = [post for post in posts if self.ledger.is_listed(post.id)]
        with self.ledger.transaction():
            self.ledger.add_posts(known, wanted=self.conditions.hold_for, seen_at=self.now)
        return self.ledger.counts()

    def _known_uncounted(self) -> int:
        return int(self.ledger.state(_UNCOUNTED) or 0)

    def _keep_uncounted(self, posts: int) -> None:
        with self.ledger.transaction():
            self.ledger.set_state(_UNCOUNTED, str(posts))

    def _mark_deleted(self, post_id: int) -> None:
        with self.ledger.transaction():
            self.ledger.mark_deleted(post_id)


def _is_by_change(page: Page) -> bool:
    """Whether the post that was changed last comes first, and that is not just the order of ids."""
    changes = [post.changed_at for post in page.posts]
    if None in changes or not _is_falling([change or 0 for change in changes]):
        return False
    return not _is_falling([post.id for post in page.posts])


def _is_falling(numbers: list[int]) -> bool:
    return all(one >= other for one, other in itertools.pairwise(numbers))
