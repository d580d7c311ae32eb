"""Requests and answers that all dialects have in common. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Protocol

from alti2v.crawl.boards.values import url_extension
from alti2v.records import Post, Tag, composed

VIDEO = frozenset({"mp4", "webm", "m4v", "mov", "avi", "mkv"})
PICTURE = frozenset({"jpg", "jpeg", "jpe", "jfif", "png", "gif", "webp", "avif", ""})


class Dialect(StrEnum):
    """Software of a board, which decides how it is asked and how it answers."""

    GELBOORU = "gelbooru"
    DANBOORU = "danbooru"


class Skip(StrEnum):
    """Reason to skip a listed post: the values of the column `reason`."""

    GHOST = "ghost"  # a deleted post: everything but the id is null
    HIDDEN = "hidden"  # the board shows no address of the file
    VIDEO = "video"
    FLASH = "flash"
    UGOIRA = "ugoira"
    UNSUPPORTED = "unsupported"  # another kind of file, according to the board
    ROBOTS = "robots"  # robots.txt forbids the file
    OPT_OUT = "opt_out"  # the file came with X-Robots-Tag: noai or noimageai
    FILTERED = "filtered"  # listed, but excluded by --min-id or another condition
    NO_PICTURE = "no_picture"  # an import found the post, but no file of it
    NO_TAGS = "no_tags"  # an import found the file, but nothing that describes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Conditions on posts beyond the search.

    Attributes:
        min_id, max_id: Inclusive bounds of the id; None for no bound.
        min_score: Minimum score; a post without votes has the score 0. None for any.
        exclude: Tags that no post may have; `*` matches any characters.
    """

    min_id: int | None = None
    max_id: int | None = None
    min_score: int | None = None
    exclude: tuple[str, ...] = ()

    def hold_for(self, post: Post) -> bool:
        """Return whether a post fulfils all conditions."""
        return (
            (self.min_id is None or post.id >= self.min_id)
            and (self.max_id is None or post.id <= self.max_id)
            and (self.min_score is None or (post.score or 0) >= self.min_score)
            and not (self.exclude and self._excludes(post.tags.all))
        )

    def _excludes(self, tags: Sequence[str]) -> bool:
        return any(fnmatchcase(composed(tag), name) for name in self._patterns() for tag in tags)

    def _patterns(self) -> tuple[str, ...]:
        # On boards, only the asterisk is special.
        return tuple(name.replace("[", "[[]").replace("?", "[?]") for name in map(composed, self.exclude))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A search in a board's terms.

    Attributes:
        text: Search terms, separated by spaces.
        left: Conditions that do not fit into the search, so that they are applied after listing.
    """

    text: str
    left: tuple[str, ...] = ()


def terms_of(conditions: Conditions) -> list[str]:
    """Return conditions as search terms; not `max_id`, because the listing starts there."""
    bounds = {"id": conditions.min_id, "score": conditions.min_score}
    terms = [f"{name}:>={bound}" for name, bound in bounds.items() if bound is not None]
    return terms + [f"-{tag}" for tag in conditions.exclude]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostQuery:
    """A request for posts, newest first.

    Attributes:
        tags: Search, as a user of the board would type it.
        below: Bound of ids, exclusive; None for no bound.
        page: 0-based page of the search.
        limit: Maximum number of posts; boards cut it to their own limit.
        xml: True for XML, if the dialect has both.
        tag_info: True to ask for the types of the tags, which some boards add to JSON.
    """

    tags: str
    below: int | None = None
    page: int = 0
    limit: int
    xml: bool = False
    tag_info: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """An answer with posts in the board's order; empty if the board lists nothing.

    Attributes:
        deleted_ids: Ids of deleted posts, which have no facts; unsuitable as a cursor.
        unusable: Number of entries without a usable id.
        has_tag_types: True if the posts came with the types of their tags, as requested.
    """

    posts: tuple[Post, ...] = ()
    deleted_ids: tuple[int, ...] = ()
    unusable: int = 0
    has_tag_types: bool = False

    @property
    def is_empty(self) -> bool:
        """True if the board listed nothing."""
        return not (self.posts or self.deleted_ids or self.unusable)


@dataclass(frozen=True, slots=True)
class Wall:
    """A refusal to list pages this deep."""

    message: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal in the board's dialect; `is_final` if another try cannot help."""

    message: str
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An answer that is not in the board's dialect; `what` describes it."""

    what: str


Answer = Page | Wall | Refusal | Unreadable


class Board(Protocol):
    """A board: its address and its dialect."""

    @property
    def base(self) -> str:
        """Scheme, host and path prefix, without a trailing slash."""
        ...

    @property
    def dialect(self) -> Dialect:
        """Program that the board runs on."""
        ...

    @property
    def api_path(self) -> str:
        """Path and query of the API below `base`, as far as robots.txt can name it."""
        ...

    @property
    def page_limit(self) -> int:
        """Maximum number of posts in one answer."""
        ...

    @property
    def may_tell_tag_types(self) -> bool:
        """True if the board may add the types of tags to posts when asked."""
        ...

    @property
    def takes_lower_bound(self) -> bool:
        """True if a search can have a lowest id."""
        ...

    @property
    def takes_lists_of_ids(self) -> bool:
        """True if a search can name posts, as `id:1,2,3`."""
        ...

    @property
    def tag_board(self) -> TagBoard | None:
        """The board's API for the categories of tags; None if its posts come with the categories."""
        ...

    def terms(self, tags: str, conditions: Conditions) -> Terms:
        """Return the search terms, with as many of the conditions as the board accepts."""
        ...

    def changed_first(self, tags: str) -> str:
        """Return the search for the same posts, the last changed first."""
        ...

    def posts_url(self, query: PostQuery) -> str:
        """Return the address of a page of posts."""
        ...

    def count_url(self, tags: str, *, below: int | None = None) -> str:
        """Return the address of the number of matching posts."""
        ...

    def read_posts(self, body: bytes, *, status: int) -> Answer:
        """Read an answer to `posts_url`."""
        ...

    def read_count(self, body: bytes, *, status: int) -> int | Wall | Refusal | Unreadable:
        """Read an answer to `count_url`."""
        ...


class TagBoard(Protocol):
    """A site with an API for the categories of tags."""

    @property
    def batch(self) -> int:
        """Number of tags to request by name together."""
        ...

    @property
    def counts_are_the_boards(self) -> bool:
        """True if its counts are those of the crawled board."""
        ...

    def frequent_tags_url(self, page: int) -> str:
        """Return the address of a page of tags, the most frequent first."""
        ...

    def tag_urls(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the addresses of some tags, at most `batch`; each may give some of them."""
        ...

    def read_tags(self, body: bytes, *, status: int) -> tuple[Tag, ...] | Refusal | Unreadable:
        """Read the tags in a response of the tag API; or return the refusal, or an unreadable response."""
        ...


def skip_reason(post: Post, *, samples: bool = False) -> Skip | None:
    """Return the reason to skip a post; None if its file is wanted.

    Args:
        post: Post.
        samples: True if the sample will do, whatever the kind of the original.
    """
    extension = post.file_ext
    if extension not in PICTURE and not (samples and _has_readable_sample(post)):
        named = {"swf": Skip.FLASH, "zip": Skip.UGOIRA}
        return Skip.VIDEO if extension in VIDEO else named.get(extension, Skip.UNSUPPORTED)
    return Skip.HIDDEN if post.file_url is None and post.sample_url is None else None


def _has_readable_sample(post: Post) -> bool:
    return post.sample_url is not None and url_extension(post.sample_url) in PICTURE
