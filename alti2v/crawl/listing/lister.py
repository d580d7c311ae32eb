"""Listing a board into the ledger: asks what `listing` says, and records answers page by page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alti2v.crawl.boards.protocol import Board, Conditions, Page, Refusal, Unreadable, Wall
from alti2v.crawl.http.retry import FailedTry
from alti2v.crawl.listing.api import Asker, in_words
from alti2v.crawl.listing.cursor import (
    after_count,
    after_page,
    after_wall,
    bounds_to_count,
    next_walk,
    question,
)
from alti2v.crawl.listing.pages import Pager
from alti2v.crawl.store.ledger import Ledger, PostCounts
from alti2v.crawl.store.walk_state import Ending, Walk
from alti2v.crawl.store.writer_thread import SingleThread


@dataclass(frozen=True, slots=True)
class Stopped:
    """Listing could not go on; `answer` is what came instead of posts."""

    where: str
    answer: Refusal | Unreadable | Wall | FailedTry

    @property
    def words(self) -> str:
        """What happened, for a person."""
        return f"listing stopped {self.where}: {in_words(self.answer)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lister:
    """What listing needs.

    Attributes:
        tags: the search, in the board's own terms.
        conditions: what posts must fulfil beyond that; those that do not are recorded as skipped.
        limit: posts that the store shall list in all, None for no limit.
        now: unix seconds: when this run looks.
        before_first: called in the store's thread before the first post is recorded.
        on_page: told how the posts stand after each page.
        say: told once what a person should know: walls, and ways around what a board does not do.
    """

    board: Board
    asker: Asker
    pager: Pager
    thread: SingleThread
    ledger: Ledger
    tags: str
    conditions: Conditions
    limit: int | None
    now: int
    before_first: Callable[[], None]
    on_page: Callable[[PostCounts], None]
    say: Callable[[str], None]

    async def run(self) -> Walk | Stopped:
        """List what is missing: the rest of an unfinished listing, then what is newer.

        Returns:
            The last walk; its `ending` is None if the limit was reached.
        """
        former = await self.thread.run(self.ledger.walk)
        walk = self._next_walk(former)
        # A walk that a kill interrupted was begun some time ago: look for newer posts once it ends.
        is_resumed = former is not None and former.ending is None
        while True:
            listed = (await self.thread.run(self.ledger.counts)).listed
            if self.limit is not None and listed >= self.limit:
                return walk
            if walk.ending is Ending.COMPLETE and is_resumed:
                walk, is_resumed = self._next_walk(walk), False
            if walk.ending is not None:
                return walk
            if walk.wants_count:
                walk = await self._count(walk)
                continue
            wanted = None if self.limit is None else self.limit - listed
            query = question(walk, tags=self.tags, page_limit=self.board.page_limit, wanted=wanted)
            was_by_page = walk.by_page
            answer = await self.pager.ask(query)
            if isinstance(answer, Page):
                walk = await self._record(walk, _first(answer, wanted))
                if walk.by_page and not was_by_page:
                    self.say(f"{self.board.base} ignores id:<N: it is listed by page number instead")
                continue
            behind = after_wall(walk) if isinstance(answer, Wall) else None
            if behind is None:
                return Stopped("at the newest post" if walk.below is None else f"below id {walk.below}", answer)
            walk = behind
            self.say(walk.shortfall)
            await self.thread.run(self._commit_walk, walk)

    async def total(self) -> int | None:
        """How many posts the board counts; None if it does not say."""
        max_id = self.conditions.max_id
        url = self.board.count_url(self.tags, below=None if max_id is None else max_id + 1)
        count = await self.asker.ask_once(url, self._read_count)
        return count if isinstance(count, int) else None

    def _next_walk(self, former: Walk | None) -> Walk:
        return next_walk(former, min_id=self.conditions.min_id, max_id=self.conditions.max_id)

    async def _record(self, walk: Walk, page: Page) -> Walk:
        walk, counts = await self.thread.run(self._commit_page, walk, page)
        self.on_page(counts)
        return walk

    def _commit_page(self, walk: Walk, page: Page) -> tuple[Walk, PostCounts]:
        if page.posts or page.ghosts:
            self.before_first()
        with self.ledger.transaction():
            new = self.ledger.add_posts(
                page.posts, ghosts=page.ghosts, wanted=self.conditions.hold_for, seen_at=self.now
            )
            walk = after_page(walk, page, new=new)
            self.ledger.set_walk(walk)
        return walk, self.ledger.counts()

    def _commit_walk(self, walk: Walk) -> None:
        with self.ledger.transaction():
            self.ledger.set_walk(walk)

    async def _count(self, walk: Walk) -> Walk:
        """Hold the end against the board's own counts."""
        if walk.doubts:
            policy = self.asker.policy
            await self.asker.sleep(min(policy.ceiling_s, policy.base_s * 2**walk.doubts))
        differences = [await self._missing_below(bound, walk.top) for bound in bounds_to_count(walk)]
        if all(difference is None for difference in differences):  # e.g. one search term too many
            differences = [await self._missing_below(None, walk.top)]
        missing = max((number for number in differences if number is not None), default=None)
        counted = after_count(walk, missing=missing)
        await self.thread.run(self._commit_walk, counted)
        if counted.by_page and not walk.by_page:
            self.say(f"{self.board.base} does not list by id: it is listed by page number, too")
        return counted

    async def _missing_below(self, bound: int | None, top: int) -> int | None:
        """How many posts below a bound the board counts beyond those recorded; None if it does not say."""
        url = self.board.count_url(self.tags, below=bound)
        count = await self.asker.ask((url,), self._read_count)
        if not isinstance(count, int):
            return None
        return count - await self.thread.run(self.ledger.listed, below=bound, top=top)

    def _read_count(self, body: bytes, status: int) -> int | Refusal | Unreadable:
        answer = self.board.read_count(body, status=status)
        return Refusal(answer.message, is_final=True) if isinstance(answer, Wall) else answer


def _first(page: Page, wanted: int | None) -> Page:
    """The newest `wanted` entries of a page; all if None."""
    if wanted is None or len(page.posts) + len(page.ghosts) <= wanted:
        return page
    newest = sorted(page.posts, key=lambda post: post.id, reverse=True)[:wanted]
    return Page(tuple(newest), page.ghosts[: wanted - len(newest)], page.unusable)
