"""`remove`: remove pictures from a dataset permanently, without moving any other picture.

Only the shards that hold them are written again, under the names of the next version; no picture changes its
split, and indices of tags stay. Removed posts are recorded, so that no later build brings them back under the
same number or with the same bytes. Works on the dataset alone, local or behind a URL.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alti2v.arrays import Int64Array
from alti2v.dataset.manifest import Manifest, Shard, check_rows, in_order, read_manifest
from alti2v.dataset.plan.outcomes import DROPPED, count_outcomes
from alti2v.dataset.versions.lineage import plan_hash_without
from alti2v.dataset.versions.previous import History, read_history
from alti2v.dataset.versions.publish import remove_unplanned
from alti2v.dataset.versions.transaction import DatasetWriter, open_for_writing
from alti2v.dataset.write.shard import put_shard, sample_members
from alti2v.errors import DamagedError, DataError, UsageError
from alti2v.records import Progress, ProgressHook, Span, ignore_progress
from alti2v.storage.columns import METADATA, OUTCOMES, REMOVED
from alti2v.storage.directory import DirectoryKind, read_description
from alti2v.storage.layout import MANIFEST_FILE, OUTCOMES_FILE, REMOVED_FILE, SURVEY_FILE
from alti2v.storage.location import Address, local_copy, open_location
from alti2v.storage.remote import Remote, size_of
from alti2v.storage.table import read_table, schema
from alti2v.storage.tar import read_span

_ROWS_AT_ONCE = 1000
_CHECKED_COLUMNS = ("id", "key", "offset", "size", "group_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveReport:
    """Result of `remove`.

    Attributes:
        dataset: Folder or URL of the dataset.
        edition: Version of the dataset after the removal.
        removed: Number of pictures removed from shards.
        noted: Number of further ids that were not in the dataset; they are excluded from later builds.
        shards_rewritten: Number of shards that held removed pictures; a shard without pictures is deleted.
        train, validation, test: Number of remaining pictures.
    """

    dataset: Address
    edition: int
    removed: int
    noted: int
    shards_rewritten: int
    train: int
    validation: int
    test: int


def remove_pictures(
    dataset: Path, ids: Int64Array, *, url: str | None = None, progress: ProgressHook = ignore_progress
) -> RemoveReport:
    """Remove pictures from a dataset, or finish an interrupted removal; do nothing if they are gone already.

    Args:
        dataset: Directory of a dataset; for a dataset behind a URL, a local folder for its tables.
        ids: Post numbers, distinct, ascending.
        url: URL of the dataset; None for a local one.
        progress: Called after each shard.

    Raises:
        UsageError: There is no dataset, or it is in use.
        DataError: Nothing would be left to train on.
        DamagedError: A shard is damaged.
        StorageError: A write failed; run the same command again to resume.
    """
    address: Address = dataset if url is None else url
    _check_dataset(open_location(address))
    with open_for_writing(dataset, url) as writer:
        manifest = read_manifest(dataset) if writer.manifest is None else writer.manifest
        history = read_history(dataset, manifest, writer.work)
        new = np.setdiff1d(ids, history.removed.column("id").to_numpy())
        pictures = history.pictures
        leaves = np.isin(pictures.ids, new)
        touched = {pictures.names[code] for code in np.unique(pictures.shard[leaves]).tolist()}
        if len(new):
            manifest = _Removal(address, writer, history, new).run(touched, progress)
        writer.finish()
    return RemoveReport(
        dataset=address,
        edition=manifest.edition,
        removed=int(leaves.sum()),
        noted=len(new) - int(leaves.sum()),
        shards_rewritten=len(touched),
        train=manifest.samples("train"),
        validation=manifest.samples("validation"),
        test=manifest.samples("test"),
    )


def _check_dataset(location: Path | Remote) -> None:
    """Check that there is a dataset, before a work folder is created in something else."""
    if not isinstance(location, Remote):
        read_description(location, DirectoryKind.DATASET)
    elif size_of(location, MANIFEST_FILE) is None:
        raise UsageError(f"{location.url} is not a dataset: give the URL of a dataset")


class _Removal:
    """A removal of pictures from a dataset.

    Args:
        address: Folder or URL, as the user named it.
        writer: Writer of the dataset.
        history: The dataset so far.
        ids: Pictures to remove that were not removed before, in the dataset or not.
    """

    def __init__(self, address: Address, writer: DatasetWriter, history: History, ids: Int64Array) -> None:
        self._address = address
        self._writer = writer
        self._history = history
        self._ids = ids
        self._edition = history.manifest.edition + 1
        self._shards: list[Shard] = []
        self._lost: Counter[int] = Counter()  # training pictures that each tag loses
        self._renamed: dict[str, str] = {}
        self._group_ids = [np.empty(0, np.int64)]  # of the pictures that remain

    def run(self, touched: Collection[str], progress: ProgressHook) -> Manifest:
        """Write the shards `touched` again without the pictures, and publish the new version."""
        shards = self._history.manifest.shards
        # An interrupted removal of other pictures may have left shards with the names used below.
        remove_unplanned(self._writer.location, shards)
        for done, shard in enumerate(shards, 1):
            self._take_over(shard, is_touched=str(shard.name) in touched)
            progress(Progress(stage="removing", done=done, total=len(shards), unit="shards"))
        if not any(shard.name.split == "train" for shard in self._shards):
            raise DataError(f"{self._address}: no training picture would be left: delete the dataset instead")
        return self._publish()

    def _take_over(self, shard: Shard, *, is_touched: bool) -> None:
        rows = self._metadata(shard, None if is_touched else _CHECKED_COLUMNS)
        is_out = np.isin(rows.column("id").to_numpy(), self._ids)
        kept = rows.filter(pa.array(~is_out))
        self._group_ids.append(kept.column("group_id").to_numpy())
        if not is_touched:
            self._shards.append(shard)
            return
        if shard.name.split == "train":
            self._lost.update(pc.list_flatten(rows.filter(pa.array(is_out)).column("labels")).to_pylist())
        if kept.num_rows:
            self._shards.append(self._rewritten(shard, kept))
            self._renamed[str(shard.name)] = str(self._shards[-1].name)

    def _publish(self) -> Manifest:
        history = self._history
        groups, alike = _groups(np.concatenate(self._group_ids))
        self._group_ids.clear()
        manifest = replace(
            history.manifest,
            plan_hash=plan_hash_without(history.manifest.plan_hash, self._ids.tolist()),
            shards=in_order(self._shards),
            outcomes=count_outcomes(self._outcomes()),
            groups=groups,
            alike=alike,
            edition=self._edition,
        )
        tags = tuple(
            replace(tag, count=tag.count - self._lost[label]) for label, tag in enumerate(history.tags)
        )
        tables = {
            OUTCOMES_FILE: self._outcomes(),
            SURVEY_FILE: history.index.parts(~np.isin(history.index.ids, self._ids)),
            REMOVED_FILE: [self._removed()],
        }
        self._writer.publish(manifest, tags, tables)
        return manifest

    def _metadata(self, shard: Shard, columns: Sequence[str] | None) -> pa.Table:
        name = shard.name.metadata
        try:
            with local_copy(self._writer.location, name) as path:
                rows = read_table(path, METADATA, columns).combine_chunks()
        except FileNotFoundError as exc:
            raise DamagedError(f"{self._address}/{name} is missing: {self._advice}") from exc
        check_rows(Path(name), rows, shard)
        return rows

    def _rewritten(self, shard: Shard, kept: pa.Table) -> Shard:
        """Write the shard again with the remaining pictures."""
        return put_shard(
            self._writer.location,
            replace(shard.name, edition=self._edition),
            kept.drop_columns(["offset"]),
            self._samples(shard, kept),
            staged_in=self._writer.folder,
            keeps_shape=self._history.manifest.image.keeps_shape,
        )

    def _samples(self, shard: Shard, kept: pa.Table) -> Iterator[tuple[str, Mapping[str, bytes]]]:
        with local_copy(self._writer.location, shard.name.data) as path, path.open("rb") as file:
            for batch in kept.drop_columns(["labels"]).to_batches(max_chunksize=_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    picture = read_span(file, Span(offset=row["offset"], size=row["size"]))
                    if hashlib.sha256(picture).hexdigest() != row["sha256"]:
                        raise DamagedError(
                            f"{self._address}/{shard.name.data}: {row['key']} has changed since it was "
                            f"written: {self._advice}"
                        )
                    yield row["key"], sample_members(picture, row)

    @property
    def _advice(self) -> str:
        """Advice for a damaged dataset."""
        if isinstance(self._writer.location, Remote):
            return "run `alti2v build-shards` with the same options first"
        return f"run `alti2v verify {self._address} --repair STORE` first"

    def _outcomes(self) -> Iterator[pa.Table]:
        gone = pa.array(self._ids)
        for part in self._history.outcomes():
            is_gone = pc.or_(
                pc.is_in(part["id"], value_set=gone), pc.is_in(part["duplicate_of"], value_set=gone)
            )
            shard = part["shard"].combine_chunks().dictionary_encode()
            names = [self._renamed.get(name, name) for name in shard.dictionary.to_pylist()]
            columns = {
                "id": part["id"],
                "outcome": pc.if_else(is_gone, DROPPED, part["outcome"]),
                "reason": pc.if_else(is_gone, "removed", part["reason"]),
                "duplicate_of": pc.if_else(is_gone, None, part["duplicate_of"]),
                "shard": pc.if_else(is_gone, None, pa.array(names, pa.string()).take(shard.indices)),
            }
            yield pa.table(columns, schema=schema(OUTCOMES))

    def _removed(self) -> pa.Table:
        history = self._history
        at = np.flatnonzero(np.isin(history.index.ids, self._ids))
        found = history.index.rows.take(at, ["id", "source_md5"])
        known = dict(zip(*(found[name].to_pylist() for name in ("id", "source_md5")), strict=True))
        rows = [
            {"id": post_id, "edition": self._edition, "source_md5": known.get(post_id) or None}
            for post_id in self._ids.tolist()
        ]
        return pa.concat_tables([history.removed, pa.Table.from_pylist(rows, schema(REMOVED))]).sort_by("id")


def _groups(group: Int64Array) -> tuple[int, int]:
    """Sort the groups of pictures in place; count those of two or more pictures, and their pictures."""
    group.sort()
    is_same = group[1:] == group[:-1]  # as the picture before
    begins = is_same & ~np.append(np.False_, is_same[:-1])
    return int(begins.sum()), int(is_same.sum() + begins.sum())
