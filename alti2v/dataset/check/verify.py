"""`verify`: read a whole dataset again and list its faults.

Every shard is also read with webdataset's own reader, because other programs read it with that. Works on the
dataset alone, and repairs what follows from intact shards; `repair.py` makes shards again from a store. Shards
behind a URL are downloaded one at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alti2v.dataset.check.indices import check_indices, picture_spans
from alti2v.dataset.check.labels import TagOccurrences, renamed_tags, wrong_counts
from alti2v.dataset.check.samples import changed_pictures, sample_faults
from alti2v.dataset.check.seen import SeenPictures
from alti2v.dataset.manifest import LOST_TABLE, Manifest, Shard, keys_of, read_manifest, read_vocabulary
from alti2v.dataset.plan.outcomes import count_outcomes
from alti2v.dataset.versions.previous import PicturesInShards, pictures_in_shards, read_removed
from alti2v.dataset.versions.publish import is_interrupted, missing_descriptions, publish_descriptions
from alti2v.errors import DamagedError, UsageError, VersionError
from alti2v.numerals import counted
from alti2v.records import Finding, Progress, ProgressHook, Span, Tag, Verification, ignore_progress
from alti2v.storage.checksum import content_sha256, file_sha256
from alti2v.storage.columns import METADATA, OUTCOMES, SURVEY
from alti2v.storage.directory import DESCRIPTION_FILES
from alti2v.storage.layout import (
    DATA_DIR,
    DESCRIPTIONS,
    INDEX_DIR,
    METADATA_DIR,
    OUTCOMES_FILE,
    REMOVED_FILE,
    SURVEY_FILE,
    TAGS_FILE,
    WORK_DIR,
)
from alti2v.storage.location import Address, local_copies, open_location, remove, sizes_in
from alti2v.storage.order import distinct
from alti2v.storage.publish import TEMPORARY_PREFIX
from alti2v.storage.remote import Remote, has_folders
from alti2v.storage.table import read_parts, read_table, row_count

_AGAIN = "run `alti2v build-shards` with the same options again"
_REBUILD = f"delete it, then {_AGAIN}"
_TABLES = (*DESCRIPTION_FILES.values(), TAGS_FILE, OUTCOMES_FILE, SURVEY_FILE, REMOVED_FILE, *DESCRIPTIONS)
_MAX_NAMED = 5  # faults of one kind in one file that are named; the rest is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dataset:
    """A dataset to verify.

    Attributes:
        location: Folder or URL of the dataset.
        tables: Local folder with its tables, except those of the shards.
        repair: True to repair what follows from intact shards.
        deep: True to decode every picture.
    """

    location: Path | Remote
    tables: Path
    manifest: Manifest
    tags: Sequence[Tag]
    repair: bool
    deep: bool

    def to_rebuild(self, advice: str) -> str:
        """Return the advice for a file of a shard; "" in a folder, where `verify --repair STORE` works."""
        return f": {advice}" if isinstance(self.location, Remote) else ""


@dataclass(frozen=True, slots=True)
class _Seen:
    """Samples of the shards read so far: the shard of each picture, and the labels."""

    labels: TagOccurrences
    pictures: SeenPictures

    def add(self, shard: Shard, rows: pa.Table, spans: Mapping[str, Span] | None) -> list[str]:
        """Add the rows of a shard's table; return their faults. `spans` is None if the tar file is damaged."""
        if not rows.num_rows:
            return []
        faults: dict[int, list[str]] = defaultdict(list)
        ids, keys = rows["id"].to_numpy(), rows["key"].to_pylist()
        for row, other in self.pictures.add(ids, str(shard.name)).items():
            faults[row].append(f"{keys[row]} is also in {other}")
        is_key = pc.equal(rows["key"], keys_of(rows["id"])).to_numpy()
        for row in np.flatnonzero(~is_key).tolist():
            faults[row].append(f"{keys[row]} is not the key of post {ids[row]}")
        if spans is not None:
            places = zip(rows["offset"].to_pylist(), rows["size"].to_pylist(), strict=True)
            for row, (key, (offset, size)) in enumerate(zip(keys, places, strict=True)):
                if spans.get(key) != Span(offset=offset, size=size):
                    faults[row].append(f"{key}: offset and size are not those of the picture in the shard")
        self.labels.add(shard, rows)
        return [fault for _, of_row in sorted(faults.items()) for fault in of_row]


def verify_dataset(
    address: Address,
    *,
    repair: bool = False,
    deep: bool = False,
    progress: ProgressHook = ignore_progress,
) -> Verification:
    """Verify a dataset: sizes, hashes, indices, tables against tar files, vocabulary, sums.

    Args:
        address: Directory of a dataset, or its URL.
        repair: True to write indices and missing descriptions again and to remove files of killed programs;
            not possible behind a URL.
        deep: True to decode every picture.
        progress: Called after each shard.

    Raises:
        UsageError: There is no dataset, or `repair` is True for a URL.
        DamagedError: The manifest or the vocabulary cannot be read, so nothing can be checked.
        StorageError: The URL cannot be read.
    """
    location = open_location(address)
    if repair and isinstance(location, Remote):
        raise UsageError(
            f"{location.url} is a URL, and only a local dataset can be repaired: verify it without --repair, "
            "delete what is wrong, then run `alti2v build-shards` with the same options again"
        )
    with local_copies(location, _TABLES) as tables:
        dataset = _Dataset(
            location=location,
            tables=tables,
            manifest=read_manifest(tables),
            tags=read_vocabulary(tables),
            repair=repair,
            deep=deep,
        )
        return _verify(dataset, progress)


def _verify(dataset: _Dataset, progress: ProgressHook) -> Verification:
    findings: list[Finding] = []
    labels = TagOccurrences({tag.name: index for index, tag in enumerate(dataset.tags)})
    seen = _Seen(labels, SeenPictures())
    manifest, done = dataset.manifest, 0
    for shard in manifest.shards:
        with local_copies(dataset.location, shard.name.files) as folder:
            findings += _check_shard(dataset, folder, shard, seen)
        done += shard.samples
        counts = {"faults": sum(finding.count for finding in findings)} if findings else {}
        progress(Progress(stage="verifying", done=done, total=manifest.total, unit="pictures", counts=counts))
    pictures = seen.pictures.whole()
    is_complete = len(pictures.ids) == manifest.total  # else missing rows would make every tag a finding
    findings += _check_labels(dataset, seen.labels, is_complete=is_complete)
    if is_complete or not findings:
        findings += _check_outcomes(dataset, pictures)
    findings += _check_removed(dataset, pictures)
    findings += _check_index_table(dataset)
    findings += _check_descriptions(dataset)
    if not isinstance(dataset.location, Remote) or has_folders(dataset.location):
        findings += _check_folders(dataset)
    return Verification(
        checked={
            "shards": len(manifest.shards),
            "samples": manifest.total,
            "posts": sum(manifest.outcomes.values()),
        },
        findings=tuple(findings),
    )


def _check_shard(dataset: _Dataset, folder: Path, shard: Shard, seen: _Seen) -> list[Finding]:
    """Check the four files of a shard, and add its samples to those seen."""
    rows, findings = _read_rows(dataset, folder, shard)
    findings += _check_tar(dataset, folder, shard, rows)
    sided = rows if dataset.manifest.image.keeps_shape else None
    findings += check_indices(folder, shard, sided, repair=dataset.repair)
    findings += _some(shard.name.metadata, seen.add(shard, rows, picture_spans(folder / shard.name.data)))
    if all(finding.where != shard.name.metadata for finding in findings):
        findings += _check_values(dataset, shard, rows)
    return findings


def _read_rows(dataset: _Dataset, folder: Path, shard: Shard) -> tuple[pa.Table, list[Finding]]:
    """Read the metadata of a shard; an empty table and a finding if they are damaged."""
    try:
        count = row_count(folder / shard.name.metadata)  # before the rows are read: there may be billions
        if count == shard.samples:
            return read_table(folder / shard.name.metadata, METADATA), []
        what = f"has {count} rows for {shard.samples} pictures{dataset.to_rebuild(_REBUILD)}"
    except FileNotFoundError:
        what = f"is missing{dataset.to_rebuild(_AGAIN)}"
    except VersionError as exc:
        what = str(exc)
    except DamagedError:
        what = f"is damaged{dataset.to_rebuild(_REBUILD)}"
    return pa.schema([]).empty_table(), [Finding(where=shard.name.metadata, what=what)]


def _check_tar(dataset: _Dataset, folder: Path, shard: Shard, rows: pa.Table) -> list[Finding]:
    path, where = folder / shard.name.data, shard.name.data
    if not path.exists():
        return [Finding(where=where, what=f"is missing{dataset.to_rebuild(_AGAIN)}")]
    size = path.stat().st_size
    if size != shard.bytes:
        what = f"has {size} bytes instead of {shard.bytes}{dataset.to_rebuild(_REBUILD)}"
    elif file_sha256(path) != shard.sha256:
        what = f"has changed since it was written{dataset.to_rebuild(_REBUILD)}"
    else:
        return _check_samples(dataset, path, shard, rows)
    return [Finding(where=where, what=what), *_some(where, changed_pictures(path, rows))]


def _check_samples(dataset: _Dataset, path: Path, shard: Shard, rows: pa.Table) -> list[Finding]:
    """Compare the samples of an intact shard with its table; where they differ, the table has changed."""
    faults = sample_faults(path, rows, dataset.manifest.image, deep=dataset.deep)
    findings = [*_some(shard.name.data, faults.in_tar), *_some(shard.name.metadata, faults.in_table)]
    if faults.count != shard.samples:
        what = (
            f"webdataset finds {faults.count} pictures instead of {shard.samples}{dataset.to_rebuild(_REBUILD)}"
        )
        findings.append(Finding(where=shard.name.data, what=what))
    return findings


def _check_values(dataset: _Dataset, shard: Shard, rows: pa.Table) -> list[Finding]:
    """Compare the hash of all values; it finds changes in values that are stored nowhere else."""
    if rows.num_rows and content_sha256(METADATA, rows) != shard.rows_sha256:
        what = f"has values that differ from those written{dataset.to_rebuild(_REBUILD)}"
        return [Finding(where=shard.name.metadata, what=what)]
    return []


def _check_labels(dataset: _Dataset, labels: TagOccurrences, *, is_complete: bool) -> list[Finding]:
    """Compare labels, tags and tags.parquet; a wrong tags.parquet says nothing about the other tables."""
    if renamed := _some(TAGS_FILE, renamed_tags(dataset.tags, labels)):
        return renamed
    findings = [finding for where, faults in labels.faults.items() for finding in _some(where, faults)]
    if is_complete and not findings:
        findings = _some(TAGS_FILE, wrong_counts(dataset.tags, labels))
    return findings


def _check_outcomes(dataset: _Dataset, pictures: PicturesInShards) -> list[Finding]:
    path = dataset.tables / OUTCOMES_FILE
    try:
        ids = np.concatenate([part["id"].to_numpy() for part in read_parts(path, OUTCOMES, ["id"])])
        counts = count_outcomes(read_parts(path, OUTCOMES, ["outcome", "reason"]))
        stored = pictures_in_shards(read_parts(path, OUTCOMES, ["id", "outcome", "shard"]))
    except FileNotFoundError:
        return [Finding(where=OUTCOMES_FILE, what=f"is missing: {LOST_TABLE}")]
    except VersionError as exc:
        return [Finding(where=OUTCOMES_FILE, what=str(exc))]
    except DamagedError:
        return [Finding(where=OUTCOMES_FILE, what=f"is damaged: {LOST_TABLE}")]
    faults = {
        "contains a post twice": len(distinct(ids)) != len(ids),
        "its totals differ from the manifest's": counts != dataset.manifest.outcomes,
        "the stored posts differ from the pictures of the shards": not stored.same_as(pictures),
    }
    return [Finding(where=OUTCOMES_FILE, what=what) for what, is_so in faults.items() if is_so]


def _check_removed(dataset: _Dataset, pictures: PicturesInShards) -> list[Finding]:
    """Check that removed pictures are in no shard."""
    try:
        removed = read_removed(dataset.tables).column("id").to_numpy()
    except DamagedError as exc:
        return [Finding(where=REMOVED_FILE, what=str(exc))]
    present = [
        f"{pictures.ids[row]} was removed, but is in {pictures.names[pictures.shard[row]]}"
        for row in np.flatnonzero(np.isin(pictures.ids, removed)).tolist()
    ]
    return _some(REMOVED_FILE, present)


def _check_index_table(dataset: _Dataset) -> list[Finding]:
    """Check survey.parquet; without it, the next build decodes the pictures again, and nothing is lost."""
    path = dataset.tables / SURVEY_FILE
    try:
        if path.exists():
            for _ in read_parts(path, SURVEY, ["id"]):
                pass
    except VersionError as exc:
        return [Finding(where=SURVEY_FILE, what=str(exc))]
    except DamagedError:
        if dataset.repair:
            path.unlink()
        what = "is damaged: without it, the next build decodes the pictures again"
        return [Finding(where=SURVEY_FILE, what=what, repaired=dataset.repair)]
    return []


def _check_descriptions(dataset: _Dataset) -> list[Finding]:
    missing = missing_descriptions(dataset.tables)
    if dataset.repair:
        publish_descriptions(dataset.tables, dataset.manifest, dataset.tags, files=missing)
    return [Finding(where=file, what="is missing", repaired=dataset.repair) for file in missing]


def _check_folders(dataset: _Dataset) -> list[Finding]:
    """Find files that do not belong to the dataset."""
    findings = []
    if is_interrupted(dataset.location):
        what = "a publication was interrupted: run the same command again, or any that writes, to finish it"
        findings.append(Finding(where=WORK_DIR, what=what))
    known = {file for shard in dataset.manifest.shards for file in shard.name.files}
    known |= {file for shard in dataset.manifest.shards for file in shard.name.indices_of_readers}
    for folder in (DATA_DIR, INDEX_DIR, METADATA_DIR):
        for name in sorted(sizes_in(dataset.location, folder)):
            file = f"{folder}/{name}"
            if file in known:
                continue
            is_leftover = name.startswith(TEMPORARY_PREFIX)
            is_repaired = dataset.repair and is_leftover
            if is_repaired:
                remove(dataset.location, [file])
            what = (
                "was left behind by a killed program" if is_leftover else "is not in the manifest: move it away"
            )
            findings.append(Finding(where=file, what=what, repaired=is_repaired))
    return findings


def _some(where: str, faults: Sequence[str]) -> list[Finding]:
    """Name the first few faults of a file, and count the rest."""
    findings = [Finding(where=where, what=fault) for fault in faults[:_MAX_NAMED]]
    if more := len(faults) - len(findings):
        findings.append(Finding(where=where, what=f"{counted(more, 'more fault')} of this kind", count=more))
    return findings
