"""The configuration of an import."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from alti2v.crawl.boards.known import base_url, known_dialect
from alti2v.crawl.boards.protocol import Dialect
from alti2v.crawl.config import MIN_RATE
from alti2v.crawl.http.retry import RetryPolicy
from alti2v.crawl.importing.addresses import origin_of_pictures
from alti2v.crawl.importing.sources.detect import SourceForm
from alti2v.errors import UsageError
from alti2v.option_bounds import require_between


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportConfig:
    """Settings of an import: the sources and the store.

    Attributes:
        store: Folder of the store; made by an earlier import, or new.
        sources: Folders and files to import, one after the other.
        form: Form of all sources; None to recognise the form of each.
        pictures: Folder with the pictures of a table; None if they are beside the table, or if there are none.
        pictures_url: Address from which the missing pictures are fetched, see `addresses.with_addresses`;
            None to fetch nothing.
        tag_categories: CSV or Parquet file with the categories of tags; None for no file.
        tag_site: Name or address of a Danbooru site that is asked for categories of tags; None to ask none.
        keep_mismatched: True to store pictures whose MD5 differs from the source's.
        by_reference: True to leave pictures in their tar files, to which the store gets hard links.
        shard_bytes: Size at which a tar file of the store is sealed.
        max_file_bytes: Maximum size of a picture.
        rate: Requests/s to one host; infinity for no limit.
        retry: Limits of retries and pauses.
        contact: Mail address or URL for the User-Agent.
        allow_private: True to fetch from the host of `pictures_url`, or else of `tag_site`, although its
            address is not public.
    """

    store: Path
    sources: tuple[Path, ...]
    form: SourceForm | None = None
    pictures: Path | None = None
    pictures_url: str | None = None
    tag_categories: Path | None = None
    tag_site: str | None = None
    keep_mismatched: bool = False
    by_reference: bool = False
    shard_bytes: int = 1_000_000_000
    max_file_bytes: int = 50_000_000
    rate: float = 4.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    contact: str | None = None
    allow_private: bool = False

    def __post_init__(self) -> None:
        if not self.sources:
            raise UsageError("there is nothing to import: give at least one folder or file")
        for path in (*self.sources, *filter(None, (self.pictures, self.tag_categories))):
            if not path.exists():
                raise UsageError(f"{path} does not exist: give a folder or a file")
        for name, low, high in (("shard_bytes", 10_000, 10**12), ("max_file_bytes", 1_000, 10**9)):
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name.replace('_', '-')} is {getattr(self, name)}: give {low:,} to {high:,}")
        if self.pictures_url is not None:
            origin_of_pictures(self.pictures_url)
        dialect = None if self.tag_site is None else known_dialect(base_url(self.tag_site))
        if dialect not in (None, Dialect.DANBOORU):
            raise UsageError(
                f"--tag-categories {self.tag_site} is not a Danbooru site: give donmai, danbooru, or its URL"
            )
        require_between("--rate (requests/s)", self.rate, MIN_RATE)

    @property
    def is_online(self) -> bool:
        """True if the import sends requests."""
        return self.pictures_url is not None or self.tag_site is not None
