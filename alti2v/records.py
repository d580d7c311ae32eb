"""Values that move between functions: frozen, stdlib only, without behaviour beyond their own consistency.

Terms used throughout the program:

- a **post** is what a board lists: an id, tags, URLs of files;
- a **store** is the result of a crawl; a **dataset** is built from a store;
- a **sample**, in code, is one picture of a dataset with its tags; messages say "picture";
- a **shard** is one tar file of samples;
- every post ends with exactly one **status**, and with a **reason** unless it is stored.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import NamedTuple

_SUGGESTIONS = 3  # names that a message offers, at most


class Category(StrEnum):
    """Category of a tag; `code` is the number that Danbooru, Gelbooru and the WD taggers use."""

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
        """Field of `Post`, and column of tables, with the tags of this category."""
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
    """Status of a post; every status but PENDING is final for the run that set it."""

    PENDING = "pending"  # listed; the file has not been recorded yet
    STORED = "stored"
    DUPLICATE = "duplicate"  # another post of the same store has the same bytes
    SKIPPED = "skipped"  # left out on purpose; the reason tells why
    FAILED = "failed"  # could not be fetched; the reason is the kind of failure


@dataclass(frozen=True, slots=True, kw_only=True)
class TagGroups:
    """Tags of one post, each in exactly one group, each group sorted and free of repetition.

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
        """Return the tags of one category."""
        group: tuple[str, ...] = getattr(self, category.value)
        return group


class Post(NamedTuple):
    """One post as a board describes it, normalised.

    A flat tuple of plain values, so that a million of them pass from a board's responses to the ledger and to
    the tables without being taken apart.

    Attributes:
        id: The board's number, > 0.
        tags_general, tags_artist, tags_copyright, tags_character, tags_meta, tags_unknown: Tags of each
            category that the response contains, separated by spaces, in the board's order; entities are
            unescaped, and no tag contains white space. `tags` splits them.
        rating: "general", "sensitive", "questionable", "explicit", or "" if the board reports none.
        score: Votes; None if nobody voted.
        source: Origin of the picture, free text; "" if unknown.
        parent_id: Id of the parent post, None without one.
        created_at, changed_at: Unix time, s; None if the response does not contain it.
        width, height: Size of the original, px; 0 if unknown.
        md5: MD5 of the original as the board imported it, 32 lower-case hex digits; None if hidden.
        file_ext: File extension of the original, lower case, without the dot; "" if unknown.
        board_status: The board's own word: "active", "deleted", "pending", "flagged", "banned".
        file_url, sample_url: Absolute URLs; None if the board shows none. `sample_url` is None if the sample
            would be the original itself.
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
        """The tags as groups."""
        return TagGroups(
            general=tag_names(self.tags_general),
            artist=tag_names(self.tags_artist),
            copyright=tag_names(self.tags_copyright),
            character=tag_names(self.tags_character),
            meta=tag_names(self.tags_meta),
            unknown=tag_names(self.tags_unknown),
        )


def outcome_label(name: str) -> str:
    """Write the name of an outcome, such as "dropped too_small", for people: "dropped: too_small"."""
    return name.replace(" ", ": ", 1)


def composed(tag: str) -> str:
    """Return a tag in Unicode's composed form (NFC), in which tags are compared.

    A tag typed or stored on macOS may be decomposed; it looks the same and means the same. Full-width and other
    compatible forms stay apart, because boards have them as tags of their own.
    """
    return tag if tag.isascii() else unicodedata.normalize("NFC", tag)


def nearest(name: str, known: Iterable[str], *, otherwise: str = "check its spelling") -> str:
    """Return advice for a name that is not known: those of `known` that are spelled alike, or `otherwise`."""
    near = difflib.get_close_matches(name, known, n=_SUGGESTIONS)
    return f"did you mean {' or '.join(near)}?" if near else otherwise


def tag_names(text: str) -> tuple[str, ...]:
    """Split a text of tags at spaces; sorted, each once."""
    return tuple(sorted(set(filter(None, text.split(" "))))) if text else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Position of a member's bytes in a tar file: `[offset, offset + size)`, in bytes."""

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
    """Fault that `verify` found, or several of a kind.

    Attributes:
        where: File, and the key or row in it, relative to the verified directory.
        what: Description of the fault.
        repaired: True if it has been repaired.
        count: Number of faults.
    """

    where: str
    what: str
    repaired: bool = False
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Result of `verify`.

    Attributes:
        checked: Number of checked items by kind, e.g. {"pictures": 1200}.
        findings: Faults.
    """

    checked: Mapping[str, int]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of a stage, passed to a `ProgressHook` as often as the stage likes.

    Attributes:
        stage: Name of the stage, a noun or a gerund: "listing", "building".
        done: Number of finished units; never decreases within a stage.
        total: Total number of units, None while unknown.
        unit: Plural noun: "posts", "files", "steps".
        counts: Further figures in the order of display: {"failed http_503": 3}.
        note: Reason for a pause: "board asked for 30 s of silence".
        milestone: Line to print once and keep, such as the result of an epoch.
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
    """Do nothing: the `ProgressHook` for callers without a progress display."""
