"""Detection of a board's dialect, and of the rights of an account on it, by trial requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alti2v.crawl.boards.danbooru import Danbooru
from alti2v.crawl.boards.known import board_of
from alti2v.crawl.boards.protocol import Board, Dialect, Page, PostQuery, Refusal, Unreadable, Wall
from alti2v.crawl.http.retry import HEALABLE, FailedTry, FailKind
from alti2v.crawl.listing.requests import ApiRequests, describe
from alti2v.errors import RemoteError, UsageError

# With these statuses, an error message is that of another program, which does not know the address.
_UNKNOWN_ADDRESS = frozenset({400, 404, 405, 422})


async def detect(base: str, requests: ApiRequests) -> Dialect:
    """Find out a board's dialect by requesting one post in each.

    Raises:
        RemoteError: The board does not answer, or refuses.
        UsageError: It is not a board of either dialect, or its address is not public.
    """
    answers: list[Refusal | Unreadable | FailedTry] = []
    for attempt in range(requests.tries):
        if attempt:
            await requests.pause(attempt)
        answers = []
        for dialect in Dialect:
            answer = await _one_post(board_of(base, dialect), requests)
            if isinstance(answer, Page):
                return dialect
            answers.append(answer)
        if not any(map(_is_temporary, answers)):
            break
    failed = next((answer for answer in answers if isinstance(answer, FailedTry)), None)
    if failed is not None and failed.kind is FailKind.PRIVATE_ADDRESS:
        raise private_address(base)
    _raise_missing_key(answers)
    refusal = next((answer for answer in answers if isinstance(answer, Refusal)), None)
    if refusal is not None:
        raise RemoteError(f"{base}: {describe(refusal)}: run again later")
    if failed is not None:
        raise RemoteError(f"{base} does not answer ({failed.message}): check the address, or run again later")
    what = " and ".join(dict.fromkeys(answer.what for answer in answers if isinstance(answer, Unreadable)))
    raise UsageError(f"{base} is not a board of a known dialect: it answers with {what}: check the address")


def _raise_missing_key(answers: Sequence[object]) -> None:
    for answer in answers:
        if isinstance(answer, FailedTry) and answer.kind is FailKind.UNAUTHORIZED:
            raise UsageError(answer.message)


async def with_term_limit(board: Danbooru, requests: ApiRequests) -> Danbooru:
    """Return a board with the number of search terms that the account may use, if the board states it.

    Raises:
        UsageError: The board refuses the API key.
    """
    answer = await requests.send_once(board.account_url(), board.read_term_limit)
    if isinstance(answer, FailedTry) and answer.kind is FailKind.UNAUTHORIZED:
        raise UsageError(answer.message)
    return replace(board, max_terms=answer) if isinstance(answer, int) else board


def private_address(base: str) -> UsageError:
    """Return the error for a board whose address is not public."""
    return UsageError(f"the address of {base} is not public: give --allow-private if it is the one you mean")


def _is_temporary(answer: Refusal | Unreadable | FailedTry) -> bool:
    """Return whether another request may bring a different answer."""
    match answer:
        case FailedTry(kind=kind):
            return kind in HEALABLE
        case Refusal(is_final=is_final):
            return not is_final
    return False


async def _one_post(board: Board, requests: ApiRequests) -> Page | Refusal | Unreadable | FailedTry:
    def read(body: bytes, /, *, status: int) -> Page | Refusal | Unreadable:
        answer = board.read_posts(body, status=status)
        if isinstance(answer, Page) and body.strip():
            return answer
        if isinstance(answer, Refusal | Wall) and status not in _UNKNOWN_ADDRESS:
            return answer if isinstance(answer, Refusal) else Refusal(answer.message)
        # An empty body is a valid answer in Gelbooru's dialect, but does not identify it.
        return answer if isinstance(answer, Unreadable) else Unreadable("an error message")

    return await requests.send_once(board.posts_url(PostQuery(tags="", limit=1, xml=True)), read)
