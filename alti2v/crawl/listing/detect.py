"""Which board is meant, and which dialect it speaks."""

from __future__ import annotations

from alti2v.crawl.boards.known import board_of
from alti2v.crawl.boards.protocol import Board, Dialect, Page, PostQuery, Refusal, Unreadable, Wall
from alti2v.crawl.http.retry import HEALABLE, FailedTry, FailKind
from alti2v.crawl.listing.api import Asker, in_words
from alti2v.errors import RemoteError, UsageError

# An error message with one of these is that of some other program, which knows nothing of the address.
_UNKNOWN_THERE = frozenset({400, 404, 405, 422})


async def detect(base: str, asker: Asker) -> Dialect:
    """Find out a board's dialect by asking for one post in each.

    Raises:
        RemoteError: nobody answers, or whoever does refuses.
        UsageError: whoever answers is no board of either dialect, or its address is not public.
    """
    seen: list[Refusal | Unreadable | FailedTry] = []
    for attempt in range(asker.policy.tries):
        if attempt:
            await asker.sleep(min(asker.policy.ceiling_s, asker.policy.base_s * 2 ** (attempt - 1)))
        seen = []
        for dialect in Dialect:
            answer = await _one_post(board_of(base, dialect), asker)
            if isinstance(answer, Page):
                return dialect
            seen.append(answer)
        if not any(map(_may_pass, seen)):
            break
    failed = next((answer for answer in seen if isinstance(answer, FailedTry)), None)
    if failed is not None and failed.kind is FailKind.PRIVATE_ADDRESS:
        raise private_address(base)
    refusal = next((answer for answer in seen if isinstance(answer, Refusal)), None)
    if refusal is not None:
        raise RemoteError(f"{base}: {in_words(refusal)}: run again later")
    if failed is not None:
        raise RemoteError(f"{base} does not answer ({failed.message}): check the address, or run again later")
    what = " and ".join(dict.fromkeys(answer.what for answer in seen if isinstance(answer, Unreadable)))
    raise UsageError(f"{base} is no board of a known dialect: it answers with {what}: check the address")


def private_address(base: str) -> UsageError:
    """What to say of a board whose address is not public: waiting would not help."""
    return UsageError(f"the address of {base} is not public: give --allow-private if it is the one you mean")


def _may_pass(answer: Refusal | Unreadable | FailedTry) -> bool:
    """Whether asking again may bring something else."""
    match answer:
        case FailedTry(kind=kind):
            return kind in HEALABLE
        case Refusal(is_final=is_final):
            return not is_final
    return False


async def _one_post(board: Board, asker: Asker) -> Page | Refusal | Unreadable | FailedTry:
    def read(body: bytes, status: int) -> Page | Refusal | Unreadable:
        answer = board.read_posts(body, status=status)
        if isinstance(answer, Page) and (body.strip() or board.dialect is Dialect.DANBOORU):
            return answer
        if isinstance(answer, Refusal | Wall) and status not in _UNKNOWN_THERE:
            return answer if isinstance(answer, Refusal) else Refusal(answer.message)
        # An empty body is an answer in Gelbooru's dialect, but not one to tell it by.
        return answer if isinstance(answer, Unreadable) else Unreadable("an error message")

    return await asker.ask_once(board.posts_url(PostQuery(tags="", limit=1, xml=True)), read)
