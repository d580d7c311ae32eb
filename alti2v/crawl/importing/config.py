"""The configuration of an import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alti2v.crawl.importing.sources.detect import SourceForm
from alti2v.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportConfig:
    """Settings of an import: the sources and the store.

    Attributes:
        store: Folder of the store; made by an earlier import, or new.
        sources: Folders and files to import, one after the other.
        form: Form of all sources; None to recognise the form of each.
        pictures: Folder with the pictures of a table; None if they are beside the table, or if there are none.
        tag_categories: CSV or Parquet file with the categories of tags; None for no file.
        keep_mismatched: True to store pictures whose MD5 differs from the source's.
        by_reference: True to leave pictures in their tar files, to which the store gets hard links.
        shard_bytes: Size at which a tar file of the store is sealed.
        max_file_bytes: Maximum size of a picture.
    """

    store: Path
    sources: tuple[Path, ...]
    form: SourceForm | None = None
    pictures: Path | None = None
    tag_categories: Path | None = None
    keep_mismatched: bool = False
    by_reference: bool = False
    shard_bytes: int = 1_000_000_000
    max_file_bytes: int = 50_000_000

    def __post_init__(self) -> None:
        if not self.sources:
            raise UsageError("there is nothing to import: give at least one folder or file")
        for path in (*self.sources, *filter(None, (self.pictures, self.tag_categories))):
            if not path.exists():
                raise UsageError(f"{path} does not exist: give a folder or a file")
        for name, low, high in (("shard_bytes", 10_000, 10**12), ("max_file_bytes", 1_000, 10**9)):
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name.replace('_', '-')} is {getattr(self, name)}: give {low:,} to {high:,}")
