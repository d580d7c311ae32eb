"""Access to the API of the crawled board, shared by the functions of the listing stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from alti2v.crawl.boards.protocol import Board, Conditions, Refusal, Skip, Unreadable, Wall, skip_reason
from alti2v.crawl.listing.pages import Pager
from alti2v.crawl.listing.requests import ApiRequests
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.writer_thread import StoreThread
from alti2v.records import Post


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """Access to the API of the crawled board, and to the ledger that records its answers.

    Attributes:
        board: Board and its dialect.
        requests: Requests to its API, with retries.
        pager: Requests for pages of posts.
        ledger: Ledger of the store; used only in `thread`.
        thread: Thread that works on the store.
        say: Called with messages for users, once each.
    """

    board: Board
    requests: ApiRequests
    pager: Pager
    ledger: Ledger
    thread: StoreThread
    say: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingQuery:
    """The posts that a crawl lists.

    Attributes:
        terms: Search in the board's own terms.
        conditions: Conditions on posts beyond the search; posts that fail them are recorded as skipped.
        samples: True unless the originals are wanted.
        now: Time of the listing, unix seconds.
    """

    terms: str
    conditions: Conditions
    samples: bool = False
    now: int

    def skip_reason(self, post: Post) -> Skip | None:
        """Return the reason to skip a post that fulfils the conditions; None if its file is wanted."""
        return skip_reason(post, samples=self.samples)

    @property
    def below(self) -> int | None:
        """Id above all posts of the query; None for no bound."""
        max_id = self.conditions.max_id
        return None if max_id is None else max_id + 1


async def count_posts(api: Api, query: ListingQuery) -> int | None:
    """Ask the board once for the number of posts that match; None if it does not say."""
    count = await _count_below(api, query, query.below)
    low = query.conditions.min_id
    if count is None or low is None or api.board.takes_lower_bound:
        return count
    lower = await _count_below(api, query, low)
    # A board that ignores id:<N as well counts everything twice.
    return None if lower is None or lower >= count else count - lower


async def _count_below(api: Api, query: ListingQuery, below: int | None) -> int | None:
    url = api.board.count_url(query.terms, below=below)
    count = await api.requests.send_once(url, partial(read_count, api.board))
    return count if isinstance(count, int) else None


def read_count(board: Board, body: bytes, *, status: int) -> int | Refusal | Unreadable:
    """Read the board's count of posts; a wall is a final refusal."""
    answer = board.read_count(body, status=status)
    return Refusal(answer.message, is_final=True) if isinstance(answer, Wall) else answer
