"""Rights of an account on a board."""

from __future__ import annotations

from dataclasses import replace

from alti2v.crawl.boards.danbooru import Danbooru
from alti2v.crawl.http.retry import FailedTry, FailKind
from alti2v.crawl.listing.requests import ApiRequests
from alti2v.errors import UsageError


async def with_term_limit(board: Danbooru, requests: ApiRequests) -> Danbooru:
    """Return a board with the number of search terms that the account may use, if the board states it.

    Raises:
        UsageError: The board refuses the API key.
    """
    answer = await requests.send_once(
        board.account_url(), lambda body, status: board.read_term_limit(body, status=status)
    )
    if isinstance(answer, FailedTry) and answer.kind is FailKind.UNAUTHORIZED:
        raise UsageError(answer.message)
    return replace(board, max_terms=answer) if isinstance(answer, int) else board
