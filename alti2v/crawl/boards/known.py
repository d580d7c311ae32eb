"""Boards that are known by name, and the base addresses of boards. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

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
