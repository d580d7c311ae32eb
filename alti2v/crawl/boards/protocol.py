"""What every dialect answers in: questions and answers. Pure: knows no network and no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Protocol

from alti2v.records import Post, Tag

VIDEO = frozenset({"mp4", "webm", "m4v", "mov", "avi", "mkv"})
PICTURE = frozenset({"jpg", "jpeg", "jpe", "jfif", "png", "gif", "webp", ""})


class Dialect(StrEnum):
    """The programs that boards run on."""

    GELBOORU = "gelbooru"
    DANBOORU = "danbooru"


class Skip(StrEnum):
    """Why a listed post is left out on purpose: the values of the column `reason`."""

    GHOST = "ghost"  # a number without a post: everything but the id is null
    HIDDEN = "hidden"  # the board shows no file address to us
    VIDEO = "video"
    FLASH = "flash"
    UGOIRA = "ugoira"
    UNSUPPORTED = "unsupported"  # another kind of file, by the board's own word
    ROBOTS = "robots"  # robots.txt forbids the file
    OPT_OUT = "opt_out"  # the file came with X-Robots-Tag: noai or noimageai
    FILTERED = "filtered"  # listed by the board, but not what --min-id and its like ask for


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What posts must fulfil beyond the search itself.

    Attributes:
        min_id, max_id: bounds of the id, inclusive.
        min_score: a post without votes has the score 0.
        exclude: tags that no post may have; `*` stands for any characters.
    """

    min_id: int | None = None
    max_id: int | None = None
    min_score: int | None = None
    exclude: tuple[str, ...] = ()

    def hold_for(self, post: Post) -> bool:
        """Whether a post fulfils them all."""
        return (
            (self.min_id is None or post.id >= self.min_id)
            and (self.max_id is None or post.id <= self.max_id)
            and (self.min_score is None or (post.score or 0) >= self.min_score)
            and not (self.exclude and self._excludes(post.tags.all))
        )

    def _excludes(self, tags: Sequence[str]) -> bool:
        return any(fnmatchcase(tag, name) for name in self._patterns() for tag in tags)

    def _patterns(self) -> tuple[str, ...]:
        # Only the asterisk is special on boards.
        return tuple(name.replace("[", "[[]").replace("?", "[?]") for name in self.exclude)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A search as a board takes it.

    Attributes:
        text: the search terms, separated by spaces.
        left: conditions that the board would refuse beside the others, so that they are held here.
    """

    text: str
    left: tuple[str, ...] = ()


def terms_of(conditions: Conditions) -> list[str]:
    """The conditions as search terms of both dialects; `max_id` is where the walk begins, so no term."""
    bounds = {"id": conditions.min_id, "score": conditions.min_score}
    terms = [f"{name}:>={bound}" for name, bound in bounds.items() if bound is not None]
    return terms + [f"-{tag}" for tag in conditions.exclude]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostQuery:
    """One question for posts, newest first.

    Attributes:
        tags: the search, as a user of the board would type it.
        below: only ids below this one; None for no such bound.
        page: 0-based page of that search.
        limit: posts wanted in one answer; boards cut it to their own limit.
        xml: ask for XML where the dialect has both.
    """

    tags: str
    below: int | None = None
    page: int = 0
    limit: int
    xml: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """An answer with posts in the board's order; empty if the board says that there is nothing.

    Attributes:
        ghosts: ids of entries without a post; never fit to be a cursor.
        unusable: entries without a usable id.
    """

    posts: tuple[Post, ...] = ()
    ghosts: tuple[int, ...] = ()
    unusable: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether the board listed nothing at all."""
        return not (self.posts or self.ghosts or self.unusable)


@dataclass(frozen=True, slots=True)
class Wall:
    """The board refuses to page this deep."""

    message: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The board understood and said no; `is_final` if asking again cannot help."""

    message: str
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The answer is none of this dialect; `what` names what it looks like."""

    what: str


Answer = Page | Wall | Refusal | Unreadable


class Board(Protocol):
    """One board: its address and its dialect.

    Attributes:
        base: scheme, host and path prefix, without a slash at the end.
        page_limit: posts that one answer holds at most.
        has_tag_groups: whether a post's answer gives the categories of its tags.
    """

    @property
    def base(self) -> str:
        """The address in front of every path."""
        ...

    @property
    def dialect(self) -> Dialect:
        """The program that the board runs on."""
        ...

    @property
    def page_limit(self) -> int:
        """Posts that one answer holds at most."""
        ...

    @property
    def has_tag_groups(self) -> bool:
        """Whether the posts come with the categories of their tags."""
        ...

    def terms(self, tags: str, conditions: Conditions) -> Terms:
        """The search to ask for, with as many of the conditions as the board takes."""
        ...

    def changed_first(self, tags: str) -> str:
        """The search for the same posts, the one that was changed last first."""
        ...

    def posts_url(self, query: PostQuery) -> str:
        """Where to ask for posts."""
        ...

    def count_url(self, tags: str, *, below: int | None = None) -> str:
        """Where to ask how many posts match."""
        ...

    def read_posts(self, body: bytes, *, status: int) -> Answer:
        """Read an answer to `posts_url`."""
        ...

    def read_count(self, body: bytes, *, status: int) -> int | Wall | Refusal | Unreadable:
        """Read an answer to `count_url`."""
        ...


class TagBoard(Protocol):
    """Something that knows the categories of tags.

    Attributes:
        batch: about how many tags one question by name can ask for.
        counts_are_the_boards: whether its counts are those of the board that is crawled.
    """

    @property
    def batch(self) -> int:
        """About how many tags one question by name can ask for."""
        ...

    @property
    def counts_are_the_boards(self) -> bool:
        """Whether its counts are those of the board that is crawled."""
        ...

    def frequent_tags_url(self, page: int) -> str:
        """Where to ask for a page of tags, the most frequent first."""
        ...

    def tag_urls(self, names: Sequence[str]) -> tuple[str, ...]:
        """Where to ask for some tags, at most `batch`; each address may tell some of them."""
        ...

    def read_tags(self, body: bytes, *, status: int) -> tuple[Tag, ...] | Refusal | Unreadable:
        """Read an answer to either."""
        ...


def skip_reason(post: Post) -> Skip | None:
    """Why the file of a post is not wanted; None if it is."""
    extension = post.file_ext
    if extension in VIDEO:
        return Skip.VIDEO
    if extension == "swf":
        return Skip.FLASH
    if extension == "zip":
        return Skip.UGOIRA
    if extension not in PICTURE:
        return Skip.UNSUPPORTED
    return Skip.HIDDEN if post.file_url is None and post.sample_url is None else None
