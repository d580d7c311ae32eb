"""What one run asks a board's API: which posts there are, what changed, and the categories of their tags."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from alti2v.crawl.boards.danbooru import Danbooru
from alti2v.crawl.boards.danbooru_tags import TagSite
from alti2v.crawl.boards.gelbooru import Gelbooru
from alti2v.crawl.boards.known import base_url
from alti2v.crawl.boards.protocol import Board, Refusal, TagBoard, Unreadable
from alti2v.crawl.config import CrawlConfig, write_plan
from alti2v.crawl.http.retry import FailedTry, FailKind
from alti2v.crawl.listing.api import Asker, in_words
from alti2v.crawl.listing.detect import detect, private_address
from alti2v.crawl.listing.lister import Lister, Stopped
from alti2v.crawl.listing.pages import Pager
from alti2v.crawl.listing.refresh import Refresher
from alti2v.crawl.listing.tag_categories import Categoriser
from alti2v.crawl.listing.tag_relations import RelationReader
from alti2v.crawl.store.ledger import Ledger, PostCounts
from alti2v.crawl.store.walk_state import Walk
from alti2v.crawl.store.writer_thread import SingleThread
from alti2v.errors import DataError, RemoteError, UsageError
from alti2v.records import Progress, ProgressHook


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What the questions of one run need.

    Attributes:
        on_page: told how the posts stand after each page of posts.
        on_progress: told how far the rest is.
        say: told what a person should know.
    """

    config: CrawlConfig
    board: Board
    asker: Asker
    thread: SingleThread
    ledger: Ledger
    on_page: Callable[[PostCounts], None]
    on_progress: ProgressHook
    say: Callable[[str], None]

    async def tell_api_rules(self) -> None:
        """Say once if the board's robots.txt disallows its documented API, which follows its own terms.

        Danbooru's does (`Disallow: /*.json`), while its help describes the same addresses to programs; and a
        robots.txt that keeps crawlers from the pages of Gelbooru keeps them from index.php.
        """
        api = "posts.json" if isinstance(self.board, Danbooru) else "index.php?page=dapi"
        if await self.asker.network.may_crawl(f"{self.board.base}/{api}") is False:
            self.say(
                f"the robots.txt of {self.board.base} disallows {api} to crawlers: a documented API, "
                "it is asked under its own terms and rate; files are fetched as robots.txt allows"
            )

    async def total(self) -> int | None:
        """How many posts the board counts for this search; None if it does not say."""
        total = await self._lister(self._pager()).total()
        if total is not None:
            await self.thread.run(self._keep_total, total)
        return total

    async def posts(self) -> list[str]:
        """List posts into the ledger, and read again what changed, where that is asked for.

        Returns:
            What is missing, in words.

        Raises:
            UsageError: the board refuses the search, or speaks another dialect.
            RemoteError: the board lists nothing although there is something.
            DataError: no post matches.
        """
        left = self.board.terms(self.config.tags, self.config.conditions).left
        if left:
            self.say(f"{self.board.base} takes no more search terms: {' '.join(left)} is held here")
        listed_before = (await self.thread.run(self.ledger.counts)).listed
        pager = self._pager()
        missing = await self._judge(await self._lister(pager).run())
        if self.config.refresh is not None and listed_before and not missing:
            missing = [await self._refresher(self.config.refresh, pager).run()]
        return [words for words in missing if words]

    async def tags(self) -> list[str]:
        """Ask for what is wanted to know about tags; returns what is missing, in words."""
        config = self.config
        site = TagSite(base_url(config.donmai_url))
        missing = []
        if config.tag_categories and isinstance(self.board, Gelbooru):
            if config.tag_categories_from != "board":
                missing.append(await self._categoriser(site).run())
            if config.tag_categories_from != "donmai":
                missing.append(await self._categoriser(self.board).run())
        if config.tag_relations is not None:
            missing.append(await self._relation_reader(site).run())
        return [words for words in missing if words]

    def _categoriser(self, source: TagBoard) -> Categoriser:
        return Categoriser(
            board=source,
            asker=self.asker,
            thread=self.thread,
            ledger=self.ledger,
            min_count=self.config.tag_min_count,
            on_progress=self._on_tags,
        )

    def _relation_reader(self, site: TagSite) -> RelationReader:
        return RelationReader(
            site=site,
            asker=self.asker,
            thread=self.thread,
            ledger=self.ledger,
            store=self.config.store,
            on_progress=self._on_relations,
        )

    def _pager(self) -> Pager:
        return Pager(self.board, self.asker, self.say)

    def _lister(self, pager: Pager) -> Lister:
        return Lister(
            board=self.board,
            asker=self.asker,
            pager=pager,
            thread=self.thread,
            ledger=self.ledger,
            tags=self.board.terms(self.config.tags, self.config.conditions).text,
            conditions=self.config.conditions,
            limit=self.config.limit,
            now=int(time.time()),
            before_first=self._write_plan,
            on_page=self.on_page,
            say=self.say,
        )

    def _refresher(self, days: float, pager: Pager) -> Refresher:
        return Refresher(
            board=self.board,
            asker=self.asker,
            pager=pager,
            thread=self.thread,
            ledger=self.ledger,
            tags=self.board.terms(self.config.tags, self.config.conditions).text,
            conditions=self.config.conditions,
            days=days,
            now=int(time.time()),
            on_page=self._on_refreshed,
            say=self.say,
        )

    async def _judge(self, ended: Walk | Stopped) -> list[str]:
        listed = (await self.thread.run(self.ledger.counts)).listed
        board = self.board
        if isinstance(ended, Stopped):
            if listed:
                return [ended.words]
            await self._explain(ended)
        elif ended.shortfall:
            if not listed:
                raise RemoteError(f"{board.base} lists nothing, but {ended.shortfall}: run again later")
            return [ended.shortfall]
        elif not listed:
            search = f" matches {self.config.tags!r}" if self.config.tags else " is there"
            raise DataError(f"no post{search} at {board.base}: check --tags and the address")
        return []

    async def _explain(self, stopped: Stopped) -> None:
        """Say why a new store could not even begin: always raises."""
        if isinstance(stopped.answer, Refusal) and stopped.answer.is_final:
            raise UsageError(f"{self.board.base} refuses this search: {stopped.answer.message}")
        if isinstance(stopped.answer, FailedTry) and stopped.answer.kind is FailKind.PRIVATE_ADDRESS:
            raise private_address(self.board.base)
        if isinstance(stopped.answer, Unreadable):
            found = await detect(self.board.base, self.asker)
            if found is not self.board.dialect:
                raise UsageError(
                    f"{self.board.base} does not speak {self.board.dialect}: it looks like {found}, "
                    f"so give --dialect {found}"
                )
        raise RemoteError(f"{self.board.base}: {in_words(stopped.answer)}: run again later")

    def _keep_total(self, total: int) -> None:
        with self.ledger.transaction():
            self.ledger.set_state("board_count", str(total))

    def _write_plan(self) -> None:
        write_plan(self.config, self.board.dialect)

    def _on_refreshed(self, counts: PostCounts, read: int) -> None:
        self.on_page(counts)
        self.on_progress(Progress(stage="reading again", done=read, total=None, unit="posts"))

    def _on_tags(self, done: int, total: int) -> None:
        self.on_progress(Progress(stage="tag categories", done=done, total=total, unit="tags"))

    def _on_relations(self, done: int) -> None:
        self.on_progress(Progress(stage="tag relations", done=done, total=None, unit="pairs"))
