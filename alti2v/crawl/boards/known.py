"""Boards that are known by name, and the base addresses of boards. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlsplit

from alti2v.crawl.boards.danbooru import Danbooru
from alti2v.crawl.boards.gelbooru import Gelbooru
from alti2v.crawl.boards.protocol import Board, Dialect
from alti2v.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBoard:
    """A board that is known by name.

    Attributes:
        base: Address of its API.
        dialect: Dialect of the board.
        site: Name of the host of its pages, if that is not the API's.
        api_rate: Maximum of API requests/s that its terms allow; infinity if they give no number.
    """

    base: str
    dialect: Dialect
    site: str = ""
    api_rate: float = math.inf


KNOWN_BOARDS: Mapping[str, KnownBoard] = {
    "safebooru": KnownBoard(base="https://safebooru.org", dialect=Dialect.GELBOORU),
    "donmai": KnownBoard(base="https://safebooru.donmai.us", dialect=Dialect.DANBOORU),
    # Its API wants a key since 2025-06-15 (gallery-dl #7674).
    "gelbooru": KnownBoard(base="https://gelbooru.com", dialect=Dialect.GELBOORU),
    # Its API has a host of its own, wants a key since 2025-08-19, and allows 60 requests a minute (gallery-dl
    # #8119, rule34Py #35).
    "rule34": KnownBoard(
        base="https://api.rule34.xxx", dialect=Dialect.GELBOORU, site="rule34.xxx", api_rate=1.0
    ),
    # Operators enforce 10 requests/s (safebooru.donmai.us is the same server).
    "danbooru": KnownBoard(base="https://danbooru.donmai.us", dialect=Dialect.DANBOORU),
}


# Parameters of a list page or of the API that do not narrow the search, or that are the search.
_OF_A_SEARCH = frozenset(("page", "s", "q", "json", "pid", "limit", "tags", "z", "utf8", "commit", "format"))
_LISTS = frozenset(("list", "post"))


_KEY_ADVICE = "leave it out of the address, so that nobody sees it, put it into ~/.netrc and give --netrc"


def base_url(board: str) -> str:
    """Return the base address of a board, given its name or any of its URLs, without a trailing slash.

    Raises:
        UsageError: It is neither a name nor a URL.
    """
    if board in KNOWN_BOARDS:
        return KNOWN_BOARDS[board].base
    parts = _split(board)
    if parts is None and "@" in board:
        raise UsageError(f"board {board.rpartition('@')[2]!r} comes with a password: {_KEY_ADVICE}")
    if parts is None:
        names = ", ".join(KNOWN_BOARDS)
        raise UsageError(f"board {board!r} is unknown: give {names}, or the board's http(s):// address")
    for known in KNOWN_BOARDS.values():
        if known.site and parts.hostname in (known.site, f"www.{known.site}"):
            return known.base
    path = parts.path
    for page in ("/index.php", "/posts", "/posts.json"):
        path = path.removesuffix(page)
    return f"{parts.scheme}://{parts.netloc.lower()}{path.rstrip('/')}"


def pasted_tags(board: str) -> str:
    """Return the search terms in the address of a board's page, as pasted from a browser; "" if it has none.

    Raises:
        UsageError: The address names something that is not a search.
    """
    parts = None if board in KNOWN_BOARDS else _split(board)
    if parts is None:
        return ""
    query = parse_qsl(parts.query, keep_blank_values=True)
    if any(name == "s" and value not in _LISTS for name, value in query):
        raise UsageError(
            f"board {parts.netloc}{parts.path} is a single page: give the board's address and --tags"
        )
    others = [name for name, _ in query if name not in _OF_A_SEARCH]
    if "api_key" in others:
        raise UsageError(f"the board's address contains an API key: {_KEY_ADVICE}")
    if others:
        what = ", ".join(dict.fromkeys(others))
        raise UsageError(
            f"the board's address contains {what!r:.60}, which is not a search: give --board and --tags"
        )
    words = " ".join(value for name, value in query if name == "tags").split()
    return "" if words == ["all"] else " ".join(words)


def board_of(base: str, dialect: Dialect) -> Board:
    """Return the board at an address."""
    match dialect:
        case Dialect.DANBOORU:
            return Danbooru(base)
        case Dialect.GELBOORU:
            site = next((known.site for known in KNOWN_BOARDS.values() if known.base == base), "")
            return Gelbooru(base, pages=f"https://{site}" if site else "")


def key_names(base: str) -> tuple[str, ...]:
    """Return the names under which a netrc file may have a board: host (curl's), site, board (gallery-dl's)."""
    host = urlsplit(base).hostname or ""
    named = [(known.site, name) for name, known in KNOWN_BOARDS.items() if known.base == base]
    return tuple(filter(None, (host, *(text for pair in named for text in pair))))


def allowed_api_rate(base: str) -> float:
    """Return the maximum of API requests/s that a board's terms allow; infinity if they give no number."""
    return min((known.api_rate for known in KNOWN_BOARDS.values() if known.base == base), default=math.inf)


def known_dialect(base: str) -> Dialect | None:
    """Return the dialect of a board that is known by name; None for others."""
    return next((known.dialect for known in KNOWN_BOARDS.values() if known.base == base), None)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is not a number
    except ValueError:
        return None
    usable = parts.scheme in ("http", "https") and parts.hostname and parts.username is None
    return parts if usable else None
