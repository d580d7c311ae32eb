"""Listing of posts from a table instead of from the board."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from alti2v.crawl.config import CrawlConfig, write_plan
from alti2v.crawl.importing.sources.facts import without_overfull
from alti2v.crawl.importing.sources.files import version_of
from alti2v.crawl.importing.sources.item import Fault, Item, Lack
from alti2v.crawl.importing.sources.table import table_items
from alti2v.crawl.listing.api import Api
from alti2v.crawl.store.ledger.outcomes import PostCounts
from alti2v.crawl.store.ledger.state import StateKey
from alti2v.crawl.store.listing_state import Ending, ListingState
from alti2v.errors import DataError
from alti2v.numerals import counted

_ROWS = 1_000  # that are committed together


@dataclass(slots=True)
class _Read:
    """Progress in a table: numbers of posts, rows without one, and posts with an address; the highest id."""

    posts: int = 0
    without_post: int = 0
    with_address: int = 0
    top: int = 0


async def list_table(api: Api, config: CrawlConfig, *, on_page: Callable[[PostCounts], None]) -> None:
    """Record the rows of a table as listed posts, until its end or the limit, without requests to the board.

    A later listing of the board begins at the newest post and ends at the highest id of the table. A table that
    was read to its end is not read again unless it has changed.

    Args:
        api: Access to the store; nothing is requested.
        config: Configuration of the crawl, with a table to list from.
        on_page: Called with the counts of posts after each part.

    Raises:
        DataError: No row is a post, or none has the address of a file.
    """
    assert config.list_from is not None
    version = await api.thread.run(_version, config.list_from)
    if await api.thread.run(api.ledger.state.get, StateKey.LISTED_TABLE) == version:
        api.say(f"{config.list_from} is listed already")
        return
    rows, read = table_items(config.list_from, pictures=None, store=config.store), _Read()
    items = without_overfull(rows)
    while True:
        counts = await api.thread.run(_commit_rows, api, config, items, read)
        if counts is None:
            break
        on_page(counts)
        if config.limit is not None and counts.listed >= config.limit:
            return
    if not read.posts:
        raise DataError(f"{config.list_from} has no row with an id: give a table of posts")
    if not read.with_address:
        raise DataError(
            f"{config.list_from} has no row with a file_url or sample_url: give a table with addresses of files"
        )
    if read.without_post:
        api.say(f"{config.list_from}: {counted(read.without_post, 'row')} unreadable or without an id")
    await api.thread.run(_commit_end, api, read.top, version)


def _commit_rows(api: Api, config: CrawlConfig, items: Iterator[Item], read: _Read) -> PostCounts | None:
    """Read and record some rows; return None at the end of the table."""
    rows = list(itertools.islice(items, _ROWS))
    if not rows:
        return None
    posts = [item.facts for item in rows if item.facts.id and not isinstance(item.problem, Fault | Lack)]
    read.without_post += len(rows) - len(posts)
    read.posts += len(posts)
    read.with_address += sum(bool(post.file_url or post.sample_url) for post in posts)
    read.top = max((read.top, *(post.id for post in posts)))
    if config.limit is not None:
        posts = posts[: config.limit - api.ledger.posts.counts().listed]
    write_plan(config, api.board.dialect)
    with api.ledger.transaction():
        api.ledger.posts.add(posts, wanted=config.conditions.hold_for, seen_at=int(time.time()))
    return api.ledger.posts.counts()


def _commit_end(api: Api, top: int, version: str) -> None:
    with api.ledger.transaction():
        api.ledger.state.set(StateKey.LISTED_TABLE, version)
        if api.ledger.state.listing() is None:
            api.ledger.state.set_listing(ListingState(top=top, ending=Ending.COMPLETE))


def _version(table: Path) -> str:
    return version_of(table.stat())
