"""What a crawl is asked to do, what it reports, and which plan a store was made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from alti2v.crawl.boards.known import base_url, known_dialect
from alti2v.crawl.boards.protocol import Conditions, Dialect
from alti2v.crawl.boards.values import MAX_ID
from alti2v.crawl.http.retry import FailKind, RetryPolicy
from alti2v.errors import UsageError
from alti2v.storage.directory import DirectoryKind, read_description, write_description
from alti2v.storage.layout import STORE_FILE

_ONE_PROCESS_PER_S = 100.0  # files/s that one process fetches and stores with ease
_CHOICES: Mapping[str, tuple[str | None, ...]] = {
    "files": ("sample", "original", "none"),
    "tag_categories_from": ("board", "donmai", "both"),
    "tag_relations": (None, "donmai"),
}

SLOWEST = 0.001  # requests/s: one in a quarter of an hour


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlConfig:
    """What to crawl, where to, and how gently.

    Attributes:
        store: the directory.
        url: where finished files go, s3://bucket/folder or the like; `store` then holds the ledger and what
            is not finished. None: everything stays in `store`.
        board: "safebooru", "donmai", or the URL of a board.
        dialect: None: known from the name, else found out by asking.
        tags: the search, as the board's own search takes it.
        min_id, max_id: bounds of the ids, inclusive; None for none.
        min_score: of the votes; None for any.
        exclude: tags that no post may have; `*` stands for any characters.
        limit: posts that the store shall list in all, newest first; None for all.
        files: "sample" (about 850 px wide), "original", or "none" to list only: a later run that
            gives one of the others fetches the files.
        rate: requests/s to one host, everything; infinity for no pacing. 4 is under the 10 that
            safebooru.donmai.us enforces, and its operators ask for about 1 request/s of API use.
        api_rate: the API's share of it, requests/s.
        connections: open at once to one host, 1 to 64.
        allow_private: talk to addresses that are not public.
        contact: mail address or URL for the User-Agent.
        tag_categories: ask for the tags' categories where posts come without.
        tag_categories_from: "board", "donmai" (a thousand tags for one question), or "both", in which case the
            board is asked for what donmai does not know.
        tag_relations: "donmai" to read its tag aliases and implications; None not to.
        donmai_url: where these two are asked for.
        tag_min_count: tags that fewer posts of the store carry are not asked for by name.
        keep_mismatched: store originals whose md5 is not the one that the board says.
        shard_bytes: tar files are sealed when they have grown to this size.
        max_file_bytes: larger files are refused.
        memory_bytes: for files that are being fetched or wait to be written, together.
        retry: patience.
        refresh: read posts again that changed in the last so many days; None not to.
        retry_failed: do not list, but try again what failed: "all", or one kind; None to crawl as usual.
        seed: of the back-off's jitter.
        network_apart: fetch in a process of its own; None: where the rates ask for it.
    """

    store: Path
    board: str
    url: str | None = None
    dialect: Dialect | None = None
    tags: str = ""
    min_id: int | None = None
    max_id: int | None = None
    min_score: int | None = None
    exclude: tuple[str, ...] = ()
    limit: int | None = None
    files: str = "sample"
    rate: float = 4.0
    api_rate: float = 1.0
    connections: int = 4
    allow_private: bool = False
    contact: str | None = None
    tag_categories: bool = True
    tag_categories_from: str = "board"
    tag_relations: str | None = None
    donmai_url: str = "donmai"
    tag_min_count: int = 1
    keep_mismatched: bool = False
    shard_bytes: int = 1_000_000_000
    max_file_bytes: int = 50_000_000
    memory_bytes: int = 256_000_000
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    refresh: float | None = None
    retry_failed: str | None = None
    seed: int = 0
    network_apart: bool | None = None

    def __post_init__(self) -> None:
        base_url(self.board)
        if self.dialect is not None and self.dialect not in tuple(Dialect):
            raise UsageError(f"dialect {self.dialect!r} is none of {', '.join(Dialect)}")
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                wanted = " or ".join(choice for choice in choices if choice)
                raise UsageError(f"{name.replace('_', '-')} is {value!r}: give {wanted}")
        base_url(self.donmai_url)
        for name in ("rate", "api_rate"):
            if not getattr(self, name) >= SLOWEST:
                raise UsageError(
                    f"{name.replace('_', '-')} is {getattr(self, name)}: give at least {SLOWEST} requests/s"
                )
        bounds = {
            "min_id": (1, MAX_ID),
            "max_id": (1, MAX_ID),
            "min_score": (-(10**9), 10**9),
            "refresh": (0, 36_500),
            "limit": (1, 10**12),
            "connections": (1, 64),
            "tag_min_count": (1, 10**12),
            "shard_bytes": (10_000, 10**12),
            "max_file_bytes": (1_000, 10**9),
            "memory_bytes": (1_000, 10**12),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"{name.replace('_', '-')} is {value}: give {low:,} to {high:,}")
        self._check_together()
        if self.contact is not None and not (self.contact.isprintable() and self.contact.isascii()):
            raise UsageError("contact has characters that do not fit into an HTTP header: use plain ASCII")

    def _check_together(self) -> None:
        if self.min_id is not None and self.max_id is not None and self.min_id > self.max_id:
            raise UsageError(f"min-id {self.min_id} is above max-id {self.max_id}: no post lies between")
        for tag in self.exclude:
            if not tag or tag.startswith("-") or len(tag.split()) != 1:
                raise UsageError(
                    f"exclude is {tag!r}: give one tag, without a minus in front and without spaces"
                )

        if self.refresh is not None and self.retry_failed is not None:
            raise UsageError("refresh and retry-failed do not go together: run one after the other")
        if self.files == "none" and self.retry_failed is not None:
            raise UsageError("retry-failed fetches files, which files none leaves out: give sample or original")
        if self.retry_failed not in (None, "all", *FailKind):
            raise UsageError(f"no failure is of kind {self.retry_failed!r}: give all, {', '.join(FailKind)}")

    @property
    def is_network_apart(self) -> bool:
        """Whether the network gets a process of its own: the price, 0.3 s and 40 MB, is for fast crawls."""
        if self.network_apart is not None:
            return self.network_apart
        return self.files != "none" and self.rate > _ONE_PROCESS_PER_S

    @property
    def conditions(self) -> Conditions:
        """What posts must fulfil beyond the search."""
        return Conditions(
            min_id=self.min_id, max_id=self.max_id, min_score=self.min_score, exclude=self.exclude
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlReport:
    """What a store holds after a crawl, and what this run added.

    Attributes:
        listed: posts in the store; the sum of all outcomes.
        pending: posts whose file was not tried to the end: run again.
        skipped, failed: posts by reason and by kind of failure.
        new: files that this run stored.
        bytes: size of all stored pictures.
        complete: nothing is missing that a later run could get.
        missing: what is missing, in words; "" if complete.
    """

    store: Path
    board: str
    dialect: str
    listed: int
    stored: int
    duplicate: int
    pending: int
    skipped: Mapping[str, int]
    failed: Mapping[str, int]
    new: int
    bytes: int
    seconds: float
    complete: bool
    missing: str

    def __post_init__(self) -> None:
        settled = self.stored + self.duplicate + sum(self.skipped.values()) + sum(self.failed.values())
        assert self.listed == settled + self.pending, "the outcomes do not add up to the listed posts"


def stored_dialect(store: Path) -> Dialect | None:
    """The dialect that a store was made with; None for a new one."""
    if not (store / STORE_FILE).exists():
        return None
    return Dialect(read_description(store, DirectoryKind.STORE)["dialect"])


def write_plan(config: CrawlConfig, dialect: Dialect) -> None:
    """Make a directory a store, once."""
    if not (config.store / STORE_FILE).exists():
        write_description(config.store, DirectoryKind.STORE, _plan(config, dialect))


def check_plan(config: CrawlConfig) -> None:
    """Hold the config against the plan of an old store: one search of one board, in one kind of files.

    A store that was only listed takes on the kind of files that is wanted now.

    Raises:
        UsageError: they differ.
    """
    found = read_description(config.store, DirectoryKind.STORE)
    dialect = config.dialect or known_dialect(base_url(config.board)) or found.get("dialect", "")
    wanted = _plan(config, dialect)
    was_only_listed = found.get("files") == "none" != config.files
    if was_only_listed:
        found["files"] = config.files
    for name in dict.fromkeys((*wanted, *(set(found) - {"kind", "version"}))):
        if found.get(name) != wanted.get(name):
            raise UsageError(
                f"{config.store} was made with {name} {found.get(name)!r}, not {wanted.get(name)!r}: "
                "choose another folder, or give the same"
            )
    if was_only_listed:
        write_description(config.store, DirectoryKind.STORE, wanted)


def _plan(config: CrawlConfig, dialect: str) -> dict[str, object]:
    conditions = {
        "min_id": config.min_id,
        "max_id": config.max_id,
        "min_score": config.min_score,
        "exclude": sorted(set(config.exclude)) or None,
        "url": config.url,
    }
    return {
        "board": base_url(config.board),
        "dialect": str(dialect),
        "tags": config.tags,
        "files": config.files,
        **{name: value for name, value in conditions.items() if value is not None},
    }
