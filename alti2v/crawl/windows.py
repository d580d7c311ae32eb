"""Comparison of a store with the board's own counts, in windows of ids."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from alti2v.crawl.boards.known import board_of
from alti2v.crawl.boards.protocol import Board, Conditions, Dialect
from alti2v.crawl.config import CrawlConfig
from alti2v.crawl.download.factory import make_downloads, net_config
from alti2v.crawl.listing.api import read_count
from alti2v.crawl.listing.requests import ApiRequests, describe
from alti2v.crawl.store.ledger import Ledger, require_ledger
from alti2v.errors import RemoteError, UsageError
from alti2v.records import Progress, ProgressHook, ignore_progress
from alti2v.storage.directory import DirectoryKind, read_description
from alti2v.storage.layout import IMPORTED


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowConfig:
    """Settings of a comparison with the board by windows of ids.

    Attributes:
        store: Folder of the store.
        size: Number of ids in a window.
        netrc, allow_private, contact, api_rate: See `CrawlConfig`.
    """

    store: Path
    size: int
    netrc: Path | None = None
    allow_private: bool = False
    contact: str | None = None
    api_rate: float = 1.0

    def __post_init__(self) -> None:
        if not 100 <= self.size <= 10**9:
            raise UsageError(f"--windows {self.size}: give 100 to 1,000,000,000 ids")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window of ids.

    Attributes:
        first, last: Its ids; `last` is None for the window above the newest post of the store.
        listed, stored: Posts of the store in it.
        board: Posts that the board counts in it.
    """

    first: int
    last: int | None
    listed: int
    stored: int
    board: int


def count_windows(config: WindowConfig, *, progress: ProgressHook = ignore_progress) -> tuple[Window, ...]:
    """Ask the board for its count below the border of each window: one request each, at the API's pace.

    Raises:
        UsageError: The folder is not a store of a board, or the board wants an API key.
        RemoteError: The board does not count by id.
        DamagedError: The ledger cannot be read.
    """
    plan = read_description(config.store, DirectoryKind.STORE)
    if plan.get("board") == IMPORTED:
        raise UsageError(f"{config.store} was imported: it has no board to compare with")
    crawl = CrawlConfig(
        store=config.store,
        board=str(plan["board"]),
        dialect=Dialect(str(plan["dialect"])),
        tags=str(plan.get("tags", "")),
        files="none",
        netrc=config.netrc,
        allow_private=config.allow_private,
        contact=config.contact,
        api_rate=config.api_rate,
    )
    with Ledger(require_ledger(config.store), readonly=True) as ledger:
        ours, top = ledger.ids.counts(config.size), ledger.ids.highest()
    first = int(plan.get("min_id", 0)) // config.size
    board = board_of(str(plan["board"]), Dialect(str(plan["dialect"])))
    # The conditions without bounds of ids, which the windows give.
    conditions = Conditions(min_score=plan.get("min_score"), exclude=tuple(plan.get("exclude", ())))
    terms = board.terms(crawl.tags, conditions).text
    borders = [number * config.size for number in range(first, top // config.size + 2)]
    below = asyncio.run(_counts_below(crawl, board, terms, borders, progress))
    return _windows(borders, below, ours, config.size)


async def _counts_below(
    crawl: CrawlConfig, board: Board, terms: str, borders: Sequence[int], progress: ProgressHook
) -> list[int]:
    """Return the board's count of posts below each border, and of all posts."""
    found: list[int] = []
    net = net_config(crawl)

    def say(words: str, _seconds: float = 0.0) -> None:
        progress(
            Progress(stage="counting", done=len(found), total=len(borders) + 1, unit="windows", milestone=words)
        )

    async with make_downloads(crawl, net, on_pause=say, on_notice=say) as downloads:
        requests = ApiRequests(crawl, downloads, asyncio.sleep, net.key)
        for border in (*borders, None):
            if border == 0:
                found.append(0)
                continue
            url = board.count_url(terms, below=border)
            answer = await requests.send((url,), partial(read_count, board))
            if not isinstance(answer, int):
                raise RemoteError(f"{board.base} does not count its posts: {describe(answer)}")
            found.append(answer)
            progress(Progress(stage="counting", done=len(found), total=len(borders) + 1, unit="windows"))
    return found


def _windows(
    borders: Sequence[int], below: Sequence[int], ours: Mapping[int, tuple[int, int]], size: int
) -> tuple[Window, ...]:
    first = next(position for position, border in enumerate(borders) if border)
    # It counts nothing above the first border, where we have posts.
    if below[first] == below[-1] and any(number >= borders[first] // size for number in ours):
        raise RemoteError("the board ignores id:<N: it cannot be compared by windows of ids")
    made = []
    for position, border in enumerate(borders):
        listed, stored = ours.get(border // size, (0, 0))
        is_last = position + 1 == len(borders)
        made.append(
            Window(
                first=max(1, border),
                last=None if is_last else border + size - 1,
                listed=listed,
                stored=stored,
                board=below[position + 1] - below[position],
            )
        )
    return tuple(made)
