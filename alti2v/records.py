"""What moves between functions: frozen values, stdlib only, no behaviour beyond their own consistency.

The vocabulary of the whole program:

- a **post** is what a board lists: an id, tags, URLs of files;
- a **store** is what a crawl leaves behind; a **dataset** is what is built from a store;
- a **sample** is one picture of a dataset with its tags;
- a **shard** is one tar file of samples;
- every post ends with exactly one **status**, and with a **reason** unless it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import NamedTuple


class Category(StrEnum):
    """A tag's category; `code` is the number that Danbooru, Gelbooru and the WD taggers use."""

    GENERAL = "general"
    ARTIST = "artist"
    COPYRIGHT = "copyright"
    CHARACTER = "character"
    META = "meta"
    UNKNOWN = "unknown"

    @property
    def code(self) -> int | None:
        """The boards' number (Danbooru API, help:tags), None for UNKNOWN."""
        return CATEGORY_CODES.get(self)

    @property
    def tags_column(self) -> str:
        """The field of `Post`, and the column of tables, that holds the tags of this category."""
        return f"tags_{self.value}"


CATEGORY_CODES: Mapping[Category, int] = {
    Category.GENERAL: 0,
    Category.ARTIST: 1,
    Category.COPYRIGHT: 3,
    Category.CHARACTER: 4,
    Category.META: 5,
}
CATEGORY_OF_CODE: Mapping[int, Category] = {code: name for name, code in CATEGORY_CODES.items()}


class Status(StrEnum):
    """How a post stands. Every status but PENDING is final for the run that set it."""

    PENDING = "pending"  # listed, its file not yet settled
    STORED = "stored"
    DUPLICATE = "duplicate"  # another post of the same store has the same bytes
    SKIPPED = "skipped"  # left out on purpose; the reason says why
    FAILED = "failed"  # wanted, and not got; the reason is the kind of failure


@dataclass(frozen=True, slots=True, kw_only=True)
class TagGroups:
    """The tags of one post, each in exactly one group, each group sorted and free of repetition.

    Field names are the values of `Category`, and the columns `tags_<name>` of the tables.
    """

    general: tuple[str, ...] = ()
    artist: tuple[str, ...] = ()
    copyright: tuple[str, ...] = ()
    character: tuple[str, ...] = ()
    meta: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every tag, sorted."""
        return tuple(sorted(tag for group in fields(self) for tag in getattr(self, group.name)))

    def of(self, category: Category) -> tuple[str, ...]:
        """The tags of one category."""
        group: tuple[str, ...] = getattr(self, category.value)
        return group


class Post(NamedTuple):
    """One post as a board describes it, normalised.

    A flat tuple of plain values, so that a million of them go from a board's answers into the ledger and from
    there into the tables without being taken apart.

    Attributes:
        id: the board's number, > 0.
        tags_general, tags_artist, tags_copyright, tags_character, tags_meta, tags_unknown: the tags of each
            category, as far as the board's answer gives them, between spaces and in the board's order; entities
            unescaped, no white space inside a tag. `tags` has them one by one.
        rating: "general", "sensitive", "questionable", "explicit", or "" where the board says none.
        score: None where nobody voted.
        source: where the picture comes from; free text, "" if unknown.
        parent_id: None for no parent.
        created_at, changed_at: unix seconds, None where this answer does not say.
        width, height: of the original, in px; 0 if unknown.
        md5: of the original as the board imported it, 32 lower-case hex digits; None if hidden.
        file_ext: of the original, lower case, without the dot; "" if unknown.
        board_status: the board's own word: "active", "deleted", "pending", "flagged", "banned".
        file_url, sample_url: absolute URLs; None if the board shows none. `sample_url` is None
            where the sample would be the original itself.
    """

    id: int
    tags_general: str = ""
    tags_artist: str = ""
    tags_copyright: str = ""
    tags_character: str = ""
    tags_meta: str = ""
    tags_unknown: str = ""
    rating: str = ""
    score: int | None = None
    source: str = ""
    parent_id: int | None = None
    created_at: int | None = None
    changed_at: int | None = None
    width: int = 0
    height: int = 0
    md5: str | None = None
    file_ext: str = ""
    board_status: str = "active"
    file_url: str | None = None
    sample_url: str | None = None

    @property
    def tags(self) -> TagGroups:
        """The tags one by one."""
        return TagGroups(
            general=tag_names(self.tags_general),
            artist=tag_names(self.tags_artist),
            copyright=tag_names(self.tags_copyright),
            character=tag_names(self.tags_character),
            meta=tag_names(self.tags_meta),
            unknown=tag_names(self.tags_unknown),
        )


def tag_names(text: str) -> tuple[str, ...]:
    """The tags of a text of tags, sorted, each once."""
    return tuple(sorted(set(filter(None, text.split(" "))))) if text else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where the bytes of a member lie inside a tar file: `[offset, offset + size)`, in bytes."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """One row of a tag table; in a dataset, its position is the index of the model's output."""

    name: str
    category: Category
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that `verify` found wrong.

    Attributes:
        where: the file, and the key or row inside it, relative to the directory that was verified.
        what: what is wrong, in words.
        repaired: whether it is right now.
    """

    where: str
    what: str
    repaired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What `verify` read and found: `checked` counts items by kind, e.g. {"pictures": 1200}."""

    checked: Mapping[str, int]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a stage is; stages hand these to a `ProgressHook`, as often as they like.

    Attributes:
        stage: what is being done, a noun or a gerund: "listing", "building".
        done: units finished; never decreases within a stage.
        total: units in all, None while unknown.
        unit: plural noun: "posts", "files", "steps".
        counts: what else is worth seeing, in the order of display: {"failed http_503": 3}.
        note: why nothing moves just now: "board asked for 30 s of silence".
        milestone: a line worth keeping, shown once, as it is: what an epoch came to.
    """

    stage: str
    done: int
    total: int | None
    unit: str
    counts: Mapping[str, int | float | str] = field(default_factory=dict)
    note: str = ""
    milestone: str = ""


ProgressHook = Callable[[Progress], None]


def ignore_progress(_: Progress) -> None:
    """The `ProgressHook` of a caller who does not want to know."""
