"""Which board is meant, and which dialect it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from alti2v.crawl.asking import Asker, in_words
from alti2v.crawl.boards.board import Board, Dialect, Page, Query, Refusal, Unreadable, Wall
from alti2v.crawl.boards.danbooru import Danbooru
from alti2v.crawl.boards.gelbooru import Gelbooru
from alti2v.crawl.policy import HEALABLE, FailKind, Failure
from alti2v.errors import RemoteError, UsageError


@dataclass(frozen=True, slots=True)
class KnownBoard:
    """A board that has a name of its own on the command line."""

    base: str
    dialect: Dialect


KNOWN_BOARDS: Mapping[str, KnownBoard] = {
    "safebooru": KnownBoard("https://safebooru.org", Dialect.GELBOORU),
    "donmai": KnownBoard("https://safebooru.donmai.us", Dialect.DANBOORU),
}

# An error message with one of these is that of some other program, which knows nothing of the address.
_UNKNOWN_THERE = frozenset({400, 404, 405, 422})


def base_url(board: str) -> str:
    """The address of a board from its name or from any URL of it, without a slash at the end.

    Raises:
        UsageError: it is neither.
    """
    if board in KNOWN_BOARDS:
        return KNOWN_BOARDS[board].base
    parts = _split(board)
    if parts is None:
        names = ", ".join(KNOWN_BOARDS)
        raise UsageError(f"board {board!r} is unknown: give {names}, or the board's http(s):// address")
    path = parts.path
    for page in ("/index.php", "/posts", "/posts.json"):
        path = path.removesuffix(page)
    return f"{parts.scheme}://{parts.netloc.lower()}{path.rstrip('/')}"


def board_of(base: str, dialect: Dialect) -> Gelbooru | Danbooru:
    """The board at an address."""
    return Gelbooru(base) if dialect is Dialect.GELBOORU else Danbooru(base)


def known_dialect(base: str) -> Dialect | None:
    """The dialect of an address that has a name."""
    return next((known.dialect for known in KNOWN_BOARDS.values() if known.base == base), None)


async def detect(base: str, asker: Asker) -> Dialect:
    """Find out a board's dialect by asking for one post in each.

    Raises:
        RemoteError: nobody answers, or whoever does refuses.
        UsageError: whoever answers is no board of either dialect, or its address is not public.
    """
    seen: list[Refusal | Unreadable | Failure] = []
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
    failed = next((answer for answer in seen if isinstance(answer, Failure)), None)
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


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is no number
    except ValueError:
        return None
    usable = parts.scheme in ("http", "https") and parts.hostname and parts.username is None
    return parts if usable else None


def _may_pass(answer: Refusal | Unreadable | Failure) -> bool:
    """Whether asking again may bring something else."""
    match answer:
        case Failure(kind=kind):
            return kind in HEALABLE
        case Refusal(is_final=is_final):
            return not is_final
    return False


async def _one_post(board: Board, asker: Asker) -> Page | Refusal | Unreadable | Failure:
    def read(body: bytes, status: int) -> Page | Refusal | Unreadable:
        answer = board.read_posts(body, status=status)
        if isinstance(answer, Page) and (body.strip() or board.dialect is Dialect.DANBOORU):
            return answer
        if isinstance(answer, Refusal | Wall) and status not in _UNKNOWN_THERE:
            return answer if isinstance(answer, Refusal) else Refusal(answer.message)
        # An empty body is an answer in Gelbooru's dialect, but not one to tell it by.
        return answer if isinstance(answer, Unreadable) else Unreadable("an error message")

    return await asker.ask_once(board.posts_url(Query(tags="", limit=1, xml=True)), read)
