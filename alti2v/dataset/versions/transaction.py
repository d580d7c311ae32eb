"""One transaction on a dataset, local or behind a URL: open it for writing, publish a version, clean up.

A local folder always holds the tables. For a dataset behind a URL it is the work folder: the tables come from
the URL when the transaction begins, and go back when a version is published; workers upload the shards
themselves. A transaction that is cut off leaves its work folder; the next one finishes or resumes it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from alti2v.dataset.manifest import Manifest, read_manifest
from alti2v.dataset.versions.publish import finish_interrupted, publish_version
from alti2v.dataset.versions.remote import (
    claim_work,
    clear_work,
    fetch_version,
    send_descriptions,
    send_version,
)
from alti2v.records import Tag
from alti2v.storage.directory import DirectoryKind, claim_directory, exclusive
from alti2v.storage.layout import BUILD_LOCK_FILE, DATA_DIR, INDEX_DIR, MANIFEST_FILE, METADATA_DIR, WORK_DIR
from alti2v.storage.location import open_location
from alti2v.storage.publish import make_directory, sweep_temporary_files
from alti2v.storage.remote import Remote


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetWriter:
    """A dataset that only this process writes.

    Attributes:
        folder: Local folder with the tables of the dataset.
        location: Folder or URL of the dataset itself.
        manifest: Manifest of the current version; None if there is no dataset yet.
    """

    folder: Path
    location: Path | Remote
    manifest: Manifest | None

    @property
    def work(self) -> Path:
        """Folder of unfinished files."""
        return self.folder / WORK_DIR

    def publish(
        self, manifest: Manifest, tags: tuple[Tag, ...], tables: Mapping[str, Iterable[pa.Table]]
    ) -> None:
        """Publish a version whose shards are in place.

        Args:
            manifest: Manifest of the version.
            tags: Vocabulary of the version.
            tables: Changed ones among outcomes.parquet, survey.parquet and removed.parquet, by file name, in
                parts that `table.write_parts` takes.

        Raises:
            StorageError: A write failed. The published version is unchanged, or the next transaction finishes
                the new one.
        """
        publish_version(self.folder, manifest, tags, tables)
        if isinstance(self.location, Remote):
            send_version(self.location, self.folder, manifest)

    def finish(self) -> None:
        """Delete the work folder of a complete dataset, with everything that only an unfinished build needs."""
        if isinstance(self.location, Remote):
            send_descriptions(self.location, self.folder)
            clear_work(self.location)
        shutil.rmtree(self.work)


@contextlib.contextmanager
def open_for_writing(folder: Path, url: str | None = None) -> Iterator[DatasetWriter]:
    """Become the only writer of a dataset, after finishing an interrupted publication.

    Args:
        folder: Folder of the dataset, or the local work folder of a dataset behind a URL.
        url: URL of the dataset; None for a local one.

    Raises:
        UsageError: The folder or the URL holds something else, or another process writes.
        DamagedError: The manifest is damaged.
        StorageError: The dataset cannot be read or written.
    """
    if url is None:
        claim_directory(folder, DirectoryKind.DATASET)
    else:
        claim_work(folder, url)
    location = open_location(folder if url is None else url)
    folders = [folder / name for name in (WORK_DIR, DATA_DIR, INDEX_DIR, METADATA_DIR)]
    for directory in folders:
        make_directory(directory)
    with exclusive(folder / WORK_DIR, BUILD_LOCK_FILE):
        for directory in (folder, *folders):
            sweep_temporary_files(directory)
        finish_interrupted(folder)
        if isinstance(location, Remote):
            fetch_version(location, folder)
        manifest = read_manifest(folder) if (folder / MANIFEST_FILE).exists() else None
        yield DatasetWriter(folder=folder, location=location, manifest=manifest)
