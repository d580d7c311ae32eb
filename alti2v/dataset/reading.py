"""Single samples of a dataset by post number, local or over HTTP, without downloading a shard.

A picture is one range of bytes in one tar file; the tables say which. Of the tables, only the footers and the
row groups with the wanted rows are read.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alti2v.errors import Alti2vError, DamagedError, RemoteError, UsageError
from alti2v.storage.columns import METADATA, OUTCOMES, Table
from alti2v.storage.layout import OUTCOMES_FILE, parse_shard_name
from alti2v.storage.table import check_bounds, check_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSample:
    """One sample of a dataset.

    Attributes:
        id: Post number of the board.
        shard: Name of the shard.
        picture: Bytes of the picture file in the shard.
        facts: Row of the table `metadata` (docs/FORMAT.md).
    """

    id: int
    shard: str
    picture: bytes
    facts: Mapping[str, Any]


def read_sample(dataset: str | Path, post_id: int) -> StoredSample:
    """Read one sample.

    Args:
        dataset: Folder, or an address that fsspec knows: http(s)://, s3:// ... A server should support byte
            ranges.
        post_id: Post number of the board.

    Raises:
        UsageError: The dataset has no such picture; the message gives the outcome of the post.
        RemoteError: The address cannot be read.
        DamagedError: A table or a shard is damaged.
    """
    return next(read_samples(dataset, [post_id]))


def read_samples(dataset: str | Path, post_ids: Iterable[int]) -> Iterator[StoredSample]:
    """Read several samples, shard by shard, and within a shard in its order.

    Raises:
        UsageError: The dataset lacks one of the pictures; raised before the first sample.
        RemoteError: The address cannot be read.
        DamagedError: A table or a shard is damaged.
    """
    files, root = fsspec.core.url_to_fs(str(dataset))
    folder = _Folder(files, root, str(dataset))
    wanted = sorted(set(post_ids))
    outcomes = folder.rows(OUTCOMES_FILE, OUTCOMES, ["id", "outcome", "reason", "shard"], wanted)
    _check_stored(outcomes, wanted, str(dataset))
    by_shard: dict[str, list[int]] = {}
    for row in outcomes:
        by_shard.setdefault(row["shard"], []).append(row["id"])
    for shard, ids in sorted(by_shard.items()):
        try:
            name = parse_shard_name(shard)
        except ValueError as exc:
            raise DamagedError(f"{dataset}: {OUTCOMES_FILE}: {exc}: run `alti2v verify` on it") from exc
        for row in folder.rows(name.metadata, METADATA, None, ids):
            picture = folder.read(name.data, row["offset"], row["size"])
            if hashlib.sha256(picture).hexdigest() != row["sha256"]:
                raise DamagedError(
                    f"{dataset}: {name.data} has changed at post {row['id']} since it was written: "
                    "run `alti2v verify` on it"
                )
            yield StoredSample(id=row["id"], shard=shard, picture=picture, facts=row)


@dataclass(frozen=True, slots=True)
class _Folder:
    """Folder of a dataset on any file system: path `root` there, `shown` in messages."""

    files: Any  # fsspec has no types
    root: str
    shown: str

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Read a range of bytes."""
        try:
            content: bytes = self.files.cat_file(self._at(path), start=offset, end=offset + size)
        except Exception as exc:
            raise self._refused(path, exc) from exc
        # A server without ranges (`python -m http.server`) sends the whole file, RFC 9110, 14.2.
        return content if len(content) <= size else content[offset : offset + size]

    def rows(
        self, path: str, table: Table, columns: Sequence[str] | None, ids: Sequence[int]
    ) -> list[dict[str, Any]]:
        """Read the rows of some posts, in the order of the file."""
        wanted = pc.field("id") == ids[0] if len(ids) == 1 else pc.field("id").isin(ids)
        try:
            with self.files.open(self._at(path)) as file:
                check_schema(Path(path), table, pq.ParquetFile(file).schema_arrow)
                file.seek(0)
                names = None if columns is None else list(columns)
                # In this thread, for the reason in `storage.table.read_open_table`.
                rows = pq.read_table(file, columns=names, filters=wanted, use_threads=False)
                check_bounds(Path(path), table, rows)
                found: list[dict[str, Any]] = rows.to_pylist()
        except Alti2vError:
            raise
        except Exception as exc:
            raise self._refused(path, exc) from exc
        return found

    def _at(self, path: str) -> str:
        return posixpath.join(self.root, path)

    def _refused(self, path: str, exc: Exception) -> Alti2vError:
        """Translate an exception of a file system; every backend of fsspec has its own."""
        # fsspec also reports "not found" when a host does not respond.
        if isinstance(exc, FileNotFoundError) and not isinstance(exc.__cause__, OSError):
            return UsageError(f"{self.shown} has no {path}: give the folder or the address of a dataset")
        if isinstance(exc, pa.ArrowException):
            return DamagedError(f"{self.shown}: {path} cannot be read as Parquet: {exc}")
        return RemoteError(f"{self.shown}: {path} cannot be read: {str(exc) or type(exc).__name__}")


def _check_stored(outcomes: Sequence[Mapping[str, Any]], wanted: Sequence[int], dataset: str) -> None:
    found = {row["id"]: row for row in outcomes}
    for post_id in wanted:
        row = found.get(post_id)
        if row is None:
            raise UsageError(f"{dataset} does not contain post {post_id}")
        if row["shard"] is None:
            outcome = f"{row['outcome']} {row['reason']}".strip()
            raise UsageError(f"{dataset} has no picture of post {post_id}: {outcome}")
