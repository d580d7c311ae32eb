"""Boards that are known by name, and the base addresses of boards. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlsplit

from alti2v.crawl.boards.danbooru import Danbooru
from alti2v.crawl.boards.gelbooru import Gelbooru
from alti2v.crawl.boards.protocol import Dialect
from alti2v.errors import UsageError


@dataclass(frozen=True, slots=True)
class KnownBoard:
    """A board that is known by name."""

    base: str
    dialect: Dialect


KNOWN_BOARDS: Mapping[str, KnownBoard] = {
    "safebooru": KnownBoard("https://safebooru.org", Dialect.GELBOORU),
    "donmai": KnownBoard("https://safebooru.donmai.us", Dialect.DANBOORU),
}


# Parameters of a list page or of the API that do not narrow the search, or that are the search.
_OF_A_SEARCH = frozenset(("page", "s", "q", "json", "pid", "limit", "tags", "z", "utf8", "commit", "format"))
_LISTS = frozenset(("list", "post"))


def base_url(board: str) -> str:
    """Return the base address of a board, given its name or any of its URLs, without a trailing slash.

    Raises:
        UsageError: it is neither a name nor a URL.
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


def pasted_tags(board: str) -> str:
    """Return the search terms in the address of a board's page, as pasted from a browser; "" if it has none.

    Raises:
        UsageError: the address names something that is not a search.
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
    if others:
        what = ", ".join(dict.fromkeys(others))
        raise UsageError(
            f"the board's address contains {what!r:.60}, which is no search: give --board and --tags"
        )
    words = " ".join(value for name, value in query if name == "tags").split()
    return "" if words == ["all"] else " ".join(words)


def board_of(base: str, dialect: Dialect) -> Gelbooru | Danbooru:
    """Return the board at an address."""
    return Gelbooru(base) if dialect is Dialect.GELBOORU else Danbooru(base)


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
