"""The listing stage of a crawl: posts, changes of posts, and categories and relations of tags."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from alti2v.crawl.boards.danbooru_tags import TagSite
from alti2v.crawl.boards.known import base_url
from alti2v.crawl.boards.protocol import Refusal, TagBoard, Unreadable
from alti2v.crawl.config import CrawlConfig, write_plan
from alti2v.crawl.http.retry import FailedTry, FailKind
from alti2v.crawl.listing.api import Api, ListingQuery, count_posts
from alti2v.crawl.listing.detect import detect, private_address
from alti2v.crawl.listing.lister import ListingStopped, list_posts
from alti2v.crawl.listing.refresh import refresh
from alti2v.crawl.listing.requests import describe
from alti2v.crawl.listing.second_look import look_again
from alti2v.crawl.listing.tag_categories import read_tag_categories
from alti2v.crawl.listing.tag_relations import read_tag_relations
from alti2v.crawl.store.ledger.outcomes import PostCounts
from alti2v.crawl.store.ledger.state import StateKey
from alti2v.crawl.store.listing_state import ListingState
from alti2v.errors import DataError, RemoteError, UsageError
from alti2v.records import Progress, ProgressHook


async def report_api_rules(api: Api) -> None:
    """Report if the board's robots.txt disallows its documented API, which follows its own terms.

    Danbooru's does (`Disallow: /*.json`), although its help describes the same addresses to programs; and a
    robots.txt that keeps crawlers from the pages of Gelbooru keeps them from index.php.
    """
    path = api.board.api_path
    if await api.requests.client.may_crawl(f"{api.board.base}/{path}") is False:
        api.say(
            f"the robots.txt of {api.board.base} disallows {path} to crawlers: this is a documented API, "
            "used under its own terms and rate; files are fetched as robots.txt allows"
        )


async def read_board_count(api: Api, config: CrawlConfig) -> int | None:
    """Ask the board for the number of posts of this crawl, and record it; None if it does not say."""
    count = await count_posts(api, _query(api, config))
    if count is not None:
        await api.thread.run(api.ledger.state.commit, StateKey.BOARD_COUNT, str(count))
    return count


async def list_all_posts(
    api: Api, config: CrawlConfig, *, on_page: Callable[[PostCounts], None], on_progress: ProgressHook
) -> list[str]:
    """List posts into the ledger and, if configured, read changed posts again.

    Args:
        api: Access to the board and the ledger.
        config: Configuration of the crawl.
        on_page: Called with the counts of posts after each page.
        on_progress: Called with the progress of reading changed posts.

    Returns:
        Descriptions of what is missing.

    Raises:
        UsageError: The board refuses the search, or speaks another dialect.
        RemoteError: The board lists nothing although it has posts.
        DataError: No post matches.
    """
    left = api.board.terms(config.search, config.conditions).left
    if left:
        api.say(f"{api.board.base} takes no more search terms: applying {' '.join(left)} here")
    listed_before = (await api.thread.run(api.ledger.posts.counts)).listed
    query = _query(api, config)
    listing = await list_posts(
        api,
        query,
        limit=config.limit,
        before_first=lambda: write_plan(config, api.board.dialect),
        on_page=on_page,
    )
    missing = await _check_ending(api, config, listing)
    await look_again(api, query, on_page=on_page)
    if config.refresh is not None and listed_before and not missing:

        def on_refreshed(counts: PostCounts, read: int) -> None:
            on_page(counts)
            on_progress(Progress(stage="reading again", done=read, total=None, unit="posts"))

        query = replace(query, now=int(time.time()))
        missing = await refresh(api, query, days=config.refresh, on_page=on_refreshed)
    return [missing] if missing else []


async def read_tags(api: Api, config: CrawlConfig, *, on_progress: ProgressHook) -> list[str]:
    """Request categories and relations of tags, if configured; return descriptions of what is missing."""

    def on_tags(done: int, total: int) -> None:
        on_progress(Progress(stage="tag categories", done=done, total=total, unit="tags"))

    def on_relations(done: int) -> None:
        on_progress(Progress(stage="tag relations", done=done, total=None, unit="pairs"))

    site = TagSite(base_url(config.donmai_url))
    missing = []
    board = api.board.tag_board
    if config.tag_categories and board is not None:
        sources: dict[str, tuple[TagBoard, ...]] = {
            "board": (board,),
            "donmai": (site,),
            "both": (site, board),
        }
        missing += [
            await read_tag_categories(api, source, min_count=config.tag_min_count, on_progress=on_tags)
            for source in sources[config.tag_categories_from]
        ]
    if config.tag_relations is not None:
        missing.append(await read_tag_relations(api, site, config.store, on_progress=on_relations))
    return [description for description in missing if description]


def _query(api: Api, config: CrawlConfig) -> ListingQuery:
    terms = api.board.terms(config.search, config.conditions).text
    return ListingQuery(
        terms=terms,
        conditions=config.conditions,
        samples=config.files != "original",
        now=int(time.time()),
    )


async def _check_ending(api: Api, config: CrawlConfig, ended: ListingState | ListingStopped) -> str:
    """Return what a listing misses; raise if nothing is listed at all."""
    listed = (await api.thread.run(api.ledger.posts.counts)).listed
    base = api.board.base
    if isinstance(ended, ListingStopped):
        if not listed:
            await _raise_reason(api, ended)
        return ended.message
    if ended.shortfall:
        if not listed:
            raise RemoteError(f"{base} lists nothing, but {ended.shortfall}: run again later")
        return ended.shortfall
    if not listed:
        problem = f"no post matches {config.search!r}" if config.search else "there are no posts"
        raise DataError(f"{problem} at {base}: check --tags and the address")
    return ""


async def _raise_reason(api: Api, stopped: ListingStopped) -> None:
    """Raise the reason why the listing of a new store could not begin."""
    base, answer = api.board.base, stopped.answer
    if isinstance(answer, Refusal) and answer.is_final:
        raise UsageError(f"{base} refuses this search: {answer.message}")
    if isinstance(answer, FailedTry) and answer.kind is FailKind.PRIVATE_ADDRESS:
        raise private_address(base)
    if isinstance(answer, FailedTry) and answer.kind is FailKind.UNAUTHORIZED:
        raise UsageError(answer.message)
    if isinstance(answer, Unreadable):
        dialect = await detect(base, api.requests)
        if dialect is not api.board.dialect:
            raise UsageError(
                f"{base} does not speak {api.board.dialect}: it looks like {dialect}, "
                f"so give --dialect {dialect}"
            )
    raise RemoteError(f"{base}: {describe(answer)}: run again later")
