"""verify: read a whole dataset again and name what is wrong.

Every shard is also read with webdataset's own reader: what loads there loads for everybody. Works on the
dataset alone, and puts right what follows from good shards; `restore.py` makes shards again from a store.
From behind a URL one shard after the other comes here, and goes again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from alti2v.dataset.check.labels import TAGS_COLUMNS, TagOccurrences, renamed_tags, wrong_counts
from alti2v.dataset.check.samples import COLUMNS_IN_SHARD, fields_of, json_faults, picture_faults, row_faults
from alti2v.dataset.manifest import LOST_TABLE, Manifest, Shard, read_manifest, read_vocabulary
from alti2v.dataset.plan.posts import DROPPED, FAILED, STORED
from alti2v.dataset.versions.previous import read_removed
from alti2v.dataset.versions.publish import (
    DESCRIPTIONS,
    WORK_DIR,
    is_interrupted,
    missing_descriptions,
    publish_descriptions,
)
from alti2v.errors import DamagedError, UsageError, VersionError
from alti2v.records import Finding, Progress, ProgressHook, Span, Tag, Verification, ignore_progress
from alti2v.storage.directory import DESCRIPTION_FILES
from alti2v.storage.layout import (
    DATA_DIR,
    INDEX_DIR,
    METADATA,
    METADATA_DIR,
    OUTCOMES,
    OUTCOMES_FILE,
    POST_JSON_SUFFIX,
    REMOVED_FILE,
    SURVEY,
    SURVEY_FILE,
    TAGS_FILE,
    member_key,
)
from alti2v.storage.location import Address, brought, open_place, remove, sizes_in
from alti2v.storage.publish import TEMPORARY_PREFIX, publish_bytes, publish_json, read_json
from alti2v.storage.remote import Remote, has_folders
from alti2v.storage.table import content_sha256, read_table
from alti2v.storage.tar import Member, dali_index, json_index, members, read_span

_AGAIN = "run `alti2v build-shards` with the same options again"
_REBUILD = f"delete it, then {_AGAIN}"
_TABLES = (*DESCRIPTION_FILES.values(), TAGS_FILE, OUTCOMES_FILE, SURVEY_FILE, REMOVED_FILE, *DESCRIPTIONS)
_NAMED_AT_MOST = 5
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dataset:
    """What the checks need.

    Attributes:
        place: where it is.
        tables: the folder that has its tables, those of the shards aside.
    """

    place: Path | Remote
    tables: Path
    manifest: Manifest
    tags: Sequence[Tag]
    index_of: Mapping[str, int]


def verify_dataset(
    dataset: Address,
    *,
    repair: bool = False,
    deep: bool = False,
    progress: ProgressHook = ignore_progress,
) -> Verification:
    """Verify a dataset: sizes, hashes, indices, tables against tars, vocabulary, sums.

    Args:
        dataset: directory of a dataset, or a URL of one that fsspec knows.
        repair: write indices and a missing card again, remove what killed programs left; not behind a URL.
        deep: decode every picture, too.
        progress: told after every shard.

    Raises:
        UsageError: there is no dataset, or it is to be repaired behind a URL.
        DamagedError: the manifest or the vocabulary cannot be read, so that nothing can be judged.
        StorageError: the URL cannot be read.
    """
    place = open_place(dataset)
    if repair and isinstance(place, Remote):
        raise UsageError(
            f"{place.url} is a URL, where nothing is repaired: verify it without --repair, delete "
            "what is wrong, then run `alti2v build-shards` with the same options again"
        )
    with brought(place, _TABLES) as tables:
        manifest = read_manifest(tables)
        tags = read_vocabulary(tables)
        whole = _Dataset(
            place=place,
            tables=tables,
            manifest=manifest,
            tags=tags,
            index_of={tag.name: index for index, tag in enumerate(tags)},
        )
        return _verify(whole, repair=repair, deep=deep, progress=progress)


def _verify(whole: _Dataset, *, repair: bool, deep: bool, progress: ProgressHook) -> Verification:
    findings: list[Finding] = []
    labels = TagOccurrences()
    shard_of: dict[int, str] = {}
    total = sum(shard.samples for shard in whole.manifest.shards)
    done = 0
    for shard in whole.manifest.shards:
        with brought(whole.place, shard.name.files) as folder:
            rows = _metadata(folder, shard, findings)
            findings.extend(_check_tar(whole, folder, shard, rows, deep=deep))
            findings.extend(_check_indices(folder, shard, repair=repair))
            findings.extend(_check_rows(whole, folder, shard, rows, shard_of, labels))
            if all(finding.where != shard.name.metadata for finding in findings):
                findings.extend(_check_values(shard, rows))
        done += shard.samples
        progress(
            Progress(
                stage="verifying",
                done=done,
                total=total,
                unit="samples",
                counts={"findings": len(findings)} if findings else {},
            )
        )
    is_complete = len(shard_of) == total  # else the missing rows would be named once more for each tag
    findings.extend(_check_labels(whole, labels, is_complete=is_complete))
    if is_complete or not findings:
        findings.extend(_check_outcomes(whole, shard_of))
    findings.extend(_check_removed(whole, shard_of))
    findings.extend(_check_survey(whole, repair=repair))
    findings.extend(_check_descriptions(whole, repair=repair))
    if not isinstance(whole.place, Remote) or has_folders(whole.place):
        findings.extend(_check_folders(whole, repair=repair))
    return Verification(
        checked={
            "shards": len(whole.manifest.shards),
            "samples": total,
            "posts": sum(whole.manifest.outcomes.values()),
        },
        findings=tuple(findings),
    )


def _metadata(folder: Path, shard: Shard, findings: list[Finding]) -> pa.Table:
    """The metadata of a shard; an empty table, and a finding, if it cannot be read."""
    path = folder / shard.name.metadata
    try:
        rows = read_table(path, METADATA)
    except FileNotFoundError:
        findings.append(Finding(where=shard.name.metadata, what=f"is missing: {_AGAIN}"))
    except VersionError as exc:
        findings.append(Finding(where=shard.name.metadata, what=str(exc)))
    except DamagedError:
        what = f"is not the table that was written: {_REBUILD}"
        findings.append(Finding(where=shard.name.metadata, what=what))
    else:
        if rows.num_rows == shard.samples:
            return rows
        what = f"has {rows.num_rows} rows for {shard.samples} samples: {_REBUILD}"
        findings.append(Finding(where=shard.name.metadata, what=what))
    return pa.schema([]).empty_table()


def _check_tar(whole: _Dataset, folder: Path, shard: Shard, rows: pa.Table, *, deep: bool) -> Iterator[Finding]:
    path = folder / shard.name.data
    if not path.exists():
        yield Finding(where=shard.name.data, what=f"is missing: {_AGAIN}")
        return
    size = path.stat().st_size
    if size != shard.bytes:
        what = f"has {size} bytes instead of {shard.bytes}: {_REBUILD}"
        yield Finding(where=shard.name.data, what=what)
    else:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256:
                yield from _check_samples(whole, path, shard, rows, deep=deep)
                return
        yield Finding(where=shard.name.data, what=f"has changed since it was written: {_REBUILD}")
    yield from _some(shard.name.data, _damaged_pictures(path, rows))


def _damaged_pictures(path: Path, rows: pa.Table) -> Iterator[str]:
    with path.open("rb") as file:
        for row in _each(rows, ["key", "offset", "size", "sha256"]):
            try:
                picture = read_span(file, Span(offset=row["offset"], size=row["size"]))
            except DamagedError:
                yield f"{row['key']}: the picture is cut off"
            else:
                if hashlib.sha256(picture).hexdigest() != row["sha256"]:
                    yield f"{row['key']}: the picture has changed"


def _check_samples(
    whole: _Dataset, path: Path, shard: Shard, rows: pa.Table, *, deep: bool
) -> Iterator[Finding]:
    """Read a shard as everybody does, and hold each row of its table against it.

    The shard has the very bytes of the manifest, so where the two disagree, the table is what has changed.
    """
    found, recipe = 0, whole.manifest.image
    of_table: list[str] = []

    def faults() -> Iterator[str]:
        nonlocal found
        described = _each(rows, COLUMNS_IN_SHARD)
        for sample in _webdataset(path):
            found += 1
            row = next(described, None)
            if row is not None:
                picture = next((sample[suffix] for suffix in recipe.suffixes if suffix in sample), b"")
                fields = fields_of(sample)
                of_table.extend(row_faults(sample["__key__"], picture, fields, row))
                yield from json_faults(row["key"], fields)
                if deep:
                    yield from picture_faults(picture, row, recipe)

    yield from _some(shard.name.data, faults())
    yield from _some(shard.name.metadata, of_table)
    if found != shard.samples:
        what = f"webdataset finds {found} samples instead of {shard.samples}: {_REBUILD}"
        yield Finding(where=shard.name.data, what=what)


def _webdataset(path: Path) -> Iterator[Mapping[str, Any]]:
    from webdataset.tariterators import group_by_keys, tar_file_expander

    # What `WebDataset` does with a shard, but for opening it: webdataset 1.0.2 never closes what it opens.
    with path.open("rb") as stream:
        yield from group_by_keys(tar_file_expander([{"url": str(path), "stream": stream}]))


def _check_indices(folder: Path, shard: Shard, *, repair: bool) -> Iterator[Finding]:
    tar = folder / shard.name.data
    try:
        found = list(members(tar))
    except (DamagedError, OSError):
        return  # named by the check of the tar
    index = json_index(tar, found)
    if index["hash_lfs"] != shard.sha256:
        return  # named by the check of the tar; the indices may be right, and must not be made to fit it
    if _json_or_none(folder / shard.name.index) != index:
        if repair:
            publish_json(folder / shard.name.index, index, indent=None)
        yield Finding(where=shard.name.index, what="does not fit its shard", repaired=repair)
    lines = dali_index(found).encode()
    if _bytes_or_none(folder / shard.name.dali_index) != lines:
        if repair:
            publish_bytes(folder / shard.name.dali_index, lines)
        yield Finding(where=shard.name.dali_index, what="does not fit its shard", repaired=repair)


def _check_rows(
    whole: _Dataset,
    folder: Path,
    shard: Shard,
    rows: pa.Table,
    shard_of: dict[int, str],
    labels: TagOccurrences,
) -> Iterator[Finding]:
    spans = _member_spans(folder / shard.name.data)

    def faults() -> Iterator[str]:
        for row in _each(rows, ["id", "key", "offset", "size", "labels", *TAGS_COLUMNS]):
            key = row["key"]
            if row["id"] in shard_of:
                yield f"{key} is in {shard_of[row['id']]}, too"
            shard_of[row["id"]] = str(shard.name)
            if key != member_key(row["id"]):
                yield f"{key} is not the key of post {row['id']}"
            if spans is not None and spans.get(key) != Span(offset=row["offset"], size=row["size"]):
                yield f"{key}: offset and size are not those of the picture in the shard"
            labels.count(shard, row, whole.index_of)

    yield from _some(shard.name.metadata, faults())


def _check_values(shard: Shard, rows: pa.Table) -> Iterator[Finding]:
    """Find values that have changed and stand nowhere else, such as the group."""
    if rows.num_rows and content_sha256(METADATA, rows) != shard.rows_sha256:
        yield Finding(where=shard.name.metadata, what=f"has other values than were written: {_REBUILD}")


def _member_spans(tar: Path) -> Mapping[str, Span] | None:
    try:
        return {member.name.partition(".")[0]: member.span for member in members(tar) if _is_picture(member)}
    except (DamagedError, OSError):
        return None


def _is_picture(member: Member) -> bool:
    return not member.name.endswith(f".{POST_JSON_SUFFIX}")


def _check_labels(whole: _Dataset, labels: TagOccurrences, *, is_complete: bool) -> Iterator[Finding]:
    """Hold labels, tags and tags.parquet against each other; if that is wrong, the tables cannot be judged."""
    if renamed := list(_some(TAGS_FILE, renamed_tags(whole.tags, labels))):
        yield from renamed
        return
    for where, faults in labels.faults.items():
        yield from _some(where, faults)
    if is_complete and not labels.faults:
        yield from _some(TAGS_FILE, wrong_counts(whole.tags, labels))


def _check_outcomes(whole: _Dataset, shard_of: Mapping[int, str]) -> Iterator[Finding]:
    try:
        table = read_table(whole.tables / OUTCOMES_FILE, OUTCOMES)
    except FileNotFoundError:
        yield Finding(where=OUTCOMES_FILE, what=f"is missing: {LOST_TABLE}")
        return
    except VersionError as exc:
        yield Finding(where=OUTCOMES_FILE, what=str(exc))
        return
    except DamagedError:
        yield Finding(where=OUTCOMES_FILE, what=f"is not the table that was written: {LOST_TABLE}")
        return
    ids = table.column("id").to_numpy()
    if len(np.unique(ids)) != len(ids):
        yield Finding(where=OUTCOMES_FILE, what="names a post twice")
    counts: Counter[str] = Counter()
    stored = {}
    for row in _each(table, ["id", "outcome", "reason", "shard"]):
        has_reason = row["outcome"] in (DROPPED, FAILED) and row["reason"]
        counts[f"{row['outcome']} {row['reason']}" if has_reason else row["outcome"]] += 1
        if row["outcome"] == STORED:
            stored[row["id"]] = row["shard"]
    if counts != whole.manifest.outcomes:
        yield Finding(where=OUTCOMES_FILE, what="its sums are not those of the manifest")
    if stored != shard_of:
        yield Finding(where=OUTCOMES_FILE, what="the stored posts are not the samples of the shards")


def _check_removed(whole: _Dataset, shard_of: Mapping[int, str]) -> Iterator[Finding]:
    """What was removed must be nowhere."""
    try:
        removed = read_removed(whole.tables).column("id").to_pylist()
    except DamagedError as exc:
        yield Finding(where=REMOVED_FILE, what=str(exc))
        return
    back = (
        f"{post_id} was removed, and is in {shard_of[post_id]}" for post_id in removed if post_id in shard_of
    )
    yield from _some(REMOVED_FILE, back)


def _check_survey(whole: _Dataset, *, repair: bool) -> Iterator[Finding]:
    """A survey that is missing costs the next build a second look at the pictures, and nothing else."""
    path = whole.tables / SURVEY_FILE
    try:
        if path.exists():
            read_table(path, SURVEY, ["id"])
    except VersionError as exc:
        yield Finding(where=SURVEY_FILE, what=str(exc))
    except DamagedError:
        if repair:
            path.unlink()
        what = "is not the table that was written: without it, the next build looks at the pictures again"
        yield Finding(where=SURVEY_FILE, what=what, repaired=repair)


def _check_descriptions(whole: _Dataset, *, repair: bool) -> Iterator[Finding]:
    missing = missing_descriptions(whole.tables)
    if repair:
        publish_descriptions(whole.tables, whole.manifest, whole.tags, files=missing)
    for file in missing:
        yield Finding(where=file, what="is missing", repaired=repair)


def _check_folders(whole: _Dataset, *, repair: bool) -> Iterator[Finding]:
    """What is there and should not be."""
    if is_interrupted(whole.place):
        what = "an edition was being published: run the same command again, or any that writes, to finish it"
        yield Finding(where=WORK_DIR, what=what)
    named = {file for shard in whole.manifest.shards for file in shard.name.files}
    for folder in (DATA_DIR, INDEX_DIR, METADATA_DIR):
        for name in sorted(sizes_in(whole.place, folder)):
            file = f"{folder}/{name}"
            if file in named:
                continue
            is_leftover = name.startswith(TEMPORARY_PREFIX)
            if repair and is_leftover:
                remove(whole.place, [file])
            what = "was left by a killed program" if is_leftover else "is not in the manifest: move it away"
            yield Finding(where=file, what=what, repaired=repair and is_leftover)


def _some(where: str, faults: Iterable[str]) -> Iterator[Finding]:
    """Name the first few faults of a file, and count the rest."""
    more = 0
    for number, fault in enumerate(faults):
        if number < _NAMED_AT_MOST:
            yield Finding(where=where, what=fault)
        else:
            more += 1
    if more:
        yield Finding(where=where, what=f"{more} more faults of this kind")


def _each(rows: pa.Table, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows as dictionaries, a bounded number of them in memory; nothing from a table without columns."""
    if rows.num_rows:
        for batch in rows.select(columns).to_batches(max_chunksize=_ROWS_AT_ONCE):
            yield from batch.to_pylist()


def _json_or_none(path: Path) -> Any:  # noqa: ANN401 - compared, never used
    try:
        return read_json(path)
    except (DamagedError, FileNotFoundError):
        return None


def _bytes_or_none(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
