"""The configuration of a crawl, and its comparison with the plan that a store was made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from alti2v.crawl.boards.known import base_url, known_dialect, pasted_tags
from alti2v.crawl.boards.protocol import Conditions, Dialect
from alti2v.crawl.boards.values import MAX_ID
from alti2v.crawl.http.retry import FailKind, RetryPolicy
from alti2v.errors import UsageError
from alti2v.option_bounds import require_between, require_choice
from alti2v.storage.directory import DirectoryKind, read_description, write_description
from alti2v.storage.layout import IMPORTED, STORE_FILE

_ONE_PROCESS_PER_S = 100.0  # files/s that one process downloads and stores easily
CHOICES: Mapping[str, tuple[str, ...]] = {
    "files": ("sample", "original", "none"),
    "tag_categories_from": ("board", "donmai", "both"),
    "tag_relations": ("donmai",),
}

MIN_RATE = 0.001  # requests/s: one in a quarter of an hour


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlConfig:
    """Settings of a crawl: the board, the posts, the store and the speed.

    Attributes:
        store: Folder of the store.
        board: "safebooru", "donmai", "gelbooru", "rule34", "danbooru", or the URL of a board.
        url: URL that finished files are uploaded to, for example s3://bucket/folder; `store` then holds the
            ledger and unfinished files. None to keep everything in `store`.
        dialect: Dialect of the board; None to know it from the name, or to detect it.
        tags: Search, in the board's own terms; "" for the one in `board`, if that is the address of a search.
        min_id, max_id: Inclusive bounds of ids; None for no bound.
        min_score: Minimum score; None for any.
        exclude: Tags that no post may have; `*` matches any characters.
        list_from: Table of posts to list in the place of the board's own listing; None to ask the board.
        limit: Maximum number of posts in the store, newest first; None for all.
        files: "sample" (about 850 px wide), "original", or "none" to list only; a later run with one of the
            others downloads the files.
        rate: Requests/s to one host for all purposes; infinity for no limit. 4 is below the 10 that
            safebooru.donmai.us enforces; its operators ask for about 1 request/s of API use.
        api_rate: Requests/s of these for the API.
        connections: Maximum number of connections to one host, 1 to 64.
        allow_private: True to connect to the board's own host although its address is not public.
        contact: Mail address or URL for the User-Agent.
        tag_categories: True to request the categories of tags if the posts come without them.
        tag_categories_from: "board", "donmai" (a thousand tags per request), or "both" to ask the board for
            what donmai does not know.
        tag_relations: "donmai" to read its tag aliases and implications; None to read none.
        donmai_url: Site that these are read from.
        tag_min_count: Tags with fewer posts in the store are not requested by name.
        keep_mismatched: True to store originals whose md5 is not the board's.
        shard_bytes: Size at which a tar file is sealed.
        max_file_bytes: Maximum size of a file.
        memory_bytes: Memory for all files that are being downloaded or wait to be written.
        retry: Limits of retries and pauses.
        refresh: Read posts again that changed in this number of days; None to read none.
        retry_failed: Kind of failures to retry without listing, or "all"; None to crawl as usual.
        netrc: File with the API key of an account at the board; None to ask without one.
        proxies: True to send requests through the proxies that the environment names.
        seed: Seed of the jitter of back-offs.
        download_in_worker: True to download in a worker process; None to do so at rates that need it.
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
    list_from: Path | None = None
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
    netrc: Path | None = None
    proxies: bool = True
    seed: int = 0
    download_in_worker: bool | None = None

    def __post_init__(self) -> None:
        base_url(self.board)
        require_choice("--dialect", self.dialect, Dialect)
        for name, choices in CHOICES.items():
            require_choice(_option(name), getattr(self, name), choices)
        base_url(self.donmai_url)
        for name in ("rate", "api_rate"):
            require_between(f"{_option(name)} (requests/s)", getattr(self, name), MIN_RATE)
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
            require_between(_option(name), getattr(self, name), low, high)
        self._check_together()
        if self.contact is not None and not (self.contact.isprintable() and self.contact.isascii()):
            raise UsageError("contact has characters that an HTTP header cannot hold: use plain ASCII")

    def _check_together(self) -> None:
        pasted = pasted_tags(self.board)
        if pasted and self.tags and self.tags.split() != pasted.split():
            raise UsageError(
                f"the board's address searches {pasted!r}, and tags is {self.tags!r}: give one of them"
            )
        if self.min_id is not None and self.max_id is not None and self.min_id > self.max_id:
            raise UsageError(f"min-id {self.min_id} is above max-id {self.max_id}: no id is between them")
        for tag in self.exclude:
            if not tag or tag.startswith("-") or len(tag.split()) != 1:
                raise UsageError(
                    f"exclude is {tag!r}: give one tag, without a leading minus and without spaces"
                )

        if self.list_from is not None and (
            self.search or self.refresh is not None or self.retry_failed is not None
        ):
            raise UsageError(
                "list-from takes the place of the board's listing: leave out tags, refresh and retry-failed"
            )
        if self.list_from is not None and not self.list_from.is_file():
            raise UsageError(
                f"{self.list_from} is not a file: give a table of posts (Parquet, CSV or JSON lines)"
            )
        if self.refresh is not None and self.retry_failed is not None:
            raise UsageError("refresh and retry-failed cannot be combined: run one after the other")
        if self.files == "none" and self.retry_failed is not None:
            raise UsageError("retry-failed needs files: give files sample or original")
        if self.retry_failed not in (None, "all", *FailKind):
            raise UsageError(f"retry-failed is {self.retry_failed!r}: give all, {', '.join(FailKind)}")

    @property
    def uses_worker(self) -> bool:
        """True if files are downloaded in a worker process, which costs time and memory at the start."""
        if self.download_in_worker is not None:
            return self.download_in_worker
        return self.files != "none" and self.rate > _ONE_PROCESS_PER_S

    @property
    def search(self) -> str:
        """Search, from `tags` or from the address of the board."""
        return self.tags or pasted_tags(self.board)

    @property
    def conditions(self) -> Conditions:
        """Conditions on posts beyond the search."""
        return Conditions(
            min_id=self.min_id, max_id=self.max_id, min_score=self.min_score, exclude=self.exclude
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def stored_dialect(store: Path) -> Dialect | None:
    """Return the dialect that a store was made with; None for a new store."""
    if not (store / STORE_FILE).exists():
        return None
    return Dialect(read_description(store, DirectoryKind.STORE)["dialect"])


def write_plan(config: CrawlConfig, dialect: Dialect) -> None:
    """Write the description that makes a folder a store, once."""
    if not (config.store / STORE_FILE).exists():
        write_description(config.store, DirectoryKind.STORE, _plan(config, dialect))


def check_plan(config: CrawlConfig) -> bool:
    """Compare a configuration with the plan of an existing store: one search of one board, one kind of files.

    A store that was only listed takes the kind of files of the configuration.

    Returns:
        True if the store was only listed before.

    Raises:
        UsageError: They differ.
    """
    plan = read_description(config.store, DirectoryKind.STORE)
    dialect = config.dialect or known_dialect(base_url(config.board)) or plan.get("dialect", "")
    wanted = _plan(config, dialect)
    was_only_listed = plan.get("files") == "none" != config.files
    if was_only_listed:
        plan["files"] = config.files
    for name in dict.fromkeys((*wanted, *(set(plan) - {"kind", "version"}))):
        if plan.get(name) != wanted.get(name):
            raise UsageError(
                f"{config.store} was {_crawled(name, plan.get(name))}, not {_asked(name, wanted.get(name))}: "
                "choose another folder, or give the same"
            )
    if was_only_listed:
        write_description(config.store, DirectoryKind.STORE, wanted)
    return was_only_listed


def _crawled(name: str, value: object) -> str:
    """Describe a crawl by one part of its plan."""
    if value == IMPORTED and name == "board":
        return "made by alti2v import"
    return f"crawled {_asked(name, value)}"


def _asked(name: str, value: object) -> str:
    """Describe one part of a plan by the option that gives it."""
    if name == "board":
        return f"from {value}"
    if name == "url":
        return f"to {value or 'a folder alone'}"
    option = f"--{name.replace('_', '-')}"
    if value in (None, ""):
        return f"without {option}"
    values = value if isinstance(value, list) else [value]
    return "with " + " ".join(f"{option} {one}" for one in values)


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
        "tags": config.search,
        "files": config.files,
        **{name: value for name, value in conditions.items() if value is not None},
    }
