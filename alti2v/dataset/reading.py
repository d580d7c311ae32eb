"""Single samples out of a dataset, by the board's numbers: here or behind HTTP, without reading a shard.

A picture is one range of one tar file; which one, the tables say. Of those only the footers and the row groups
that hold the wanted rows are read.
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
from alti2v.storage.layout import METADATA, OUTCOMES, OUTCOMES_FILE, Table, parse_shard_name
from alti2v.storage.table import check_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSample:
    """One sample of a dataset.

    Attributes:
        id: the board's post number.
        shard: the name that its tar file and its tables share.
        picture: the file as it lies in the shard.
        facts: its row of the table `metadata` (docs/FORMAT.md).
    """

    id: int
    shard: str
    picture: bytes
    facts: Mapping[str, Any]


def read_sample(dataset: str | Path, post_id: int) -> StoredSample:
    """Read one sample.

    Args:
        dataset: a folder, or an address of one that fsspec knows: http(s)://, s3:// ... The server has to
            answer byte ranges.
        post_id: the board's number.

    Raises:
        UsageError: the dataset has no such picture; the message says what became of the post.
        RemoteError: the address does not answer as it should.
        DamagedError: a table or a shard is not what was written.
    """
    return next(read_samples(dataset, [post_id]))


def read_samples(dataset: str | Path, post_ids: Iterable[int]) -> Iterator[StoredSample]:
    """Read some samples, shard by shard, those of one shard in the order of the shard.

    Raises:
        UsageError: the dataset lacks one of the pictures; known before the first sample comes.
        RemoteError: the address does not answer as it should.
        DamagedError: a table or a shard is not what was written.
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
        name = parse_shard_name(shard)
        for row in folder.rows(name.metadata, METADATA, None, ids):
            picture = folder.read(name.data, row["offset"], row["size"])
            if hashlib.sha256(picture).hexdigest() != row["sha256"]:
                raise DamagedError(
                    f"{dataset}: {name.data} has other bytes at post {row['id']} than were written: "
                    "run `alti2v verify` on it"
                )
            yield StoredSample(id=row["id"], shard=shard, picture=picture, facts=row)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A dataset's folder on whatever file system: `root` there, `shown` as the user wrote it."""

    files: Any  # fsspec has no types
    root: str
    shown: str

    def read(self, path: str, offset: int, size: int) -> bytes:
        """A range of bytes."""
        try:
            content: bytes = self.files.cat_file(self._at(path), start=offset, end=offset + size)
        except Exception as exc:
            raise self._refused(path, exc) from exc
        # A server that knows no ranges (`python -m http.server`) sends the whole file, RFC 9110, 14.2.
        return content if len(content) <= size else content[offset : offset + size]

    def rows(
        self, path: str, table: Table, columns: Sequence[str] | None, ids: Sequence[int]
    ) -> list[dict[str, Any]]:
        """The rows of some posts, in the order of the file."""
        wanted = pc.field("id") == ids[0] if len(ids) == 1 else pc.field("id").isin(ids)
        try:
            with self.files.open(self._at(path)) as file:
                check_schema(Path(path), table, pq.ParquetFile(file).schema_arrow)
                file.seek(0)
                names = None if columns is None else list(columns)
                # In this thread: why, says `storage.table.read_open_table`.
                rows = pq.read_table(file, columns=names, filters=wanted, use_threads=False)
                found: list[dict[str, Any]] = rows.to_pylist()
        except Alti2vError:
            raise
        except Exception as exc:
            raise self._refused(path, exc) from exc
        return found

    def _at(self, path: str) -> str:
        return posixpath.join(self.root, path)

    def _refused(self, path: str, exc: Exception) -> Alti2vError:
        """What a file system of any kind says, as one of ours: fsspec's backends raise what they like."""
        # fsspec calls it "not found", too, when a host does not answer.
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
            raise UsageError(f"{dataset} knows no post {post_id}")
        if row["shard"] is None:
            outcome = f"{row['outcome']} {row['reason']}".strip()
            raise UsageError(f"{dataset} has no picture of post {post_id}: {outcome}")
