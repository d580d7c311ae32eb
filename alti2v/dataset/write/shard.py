"""One shard: from its planned table and the prepared pictures to the four files that readers use.

`build_shard` needs nothing but its spec and the dataset's folder; running it twice gives the same bytes.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from zlib_ng import zlib_ng

from alti2v.arrays import Int64Array
from alti2v.dataset.images.prepare import pixels_name
from alti2v.dataset.manifest import Shard
from alti2v.dataset.plan.posts import PostRows
from alti2v.dataset.plan.vocabulary import CATEGORIES, StoreTagTable, Vocabulary, labels_of
from alti2v.errors import DamagedError
from alti2v.pictures.header import format_of
from alti2v.pictures.recipe import ORIGINAL, ImageRecipe
from alti2v.records import Span
from alti2v.storage.checksum import content_sha256
from alti2v.storage.columns import METADATA, Column, Table
from alti2v.storage.documents import from_json
from alti2v.storage.layout import (
    DATA_DIR,
    IMAGE_SUFFIX_OF_FORMAT,
    INDEX_DIR,
    METADATA_DIR,
    POST_JSON_SUFFIX,
    ShardName,
    member_key,
)
from alti2v.storage.location import Address, local_copy, open_location, put, put_once, read_spans, staging
from alti2v.storage.publish import make_directory, publish, publish_bytes, publish_json, read_json
from alti2v.storage.remote import Remote
from alti2v.storage.table import read_table, write_arrow_table
from alti2v.storage.tar import Member, dali_index, json_index, write_shard

SHARD_PLAN = Table(
    "shard_plan",
    (
        *(column for column in METADATA.columns if column.name != "offset"),
        Column("chunk", "string", "the chunk that holds the prepared picture"),
        Column("chunk_offset", "int64", "first byte of the prepared picture in it"),
        Column("crc32", "int64", "of the prepared picture"),
    ),
)
# Position and checksum of a prepared picture.
PLACE_COLUMNS = ("chunk", "chunk_offset", "crc32")
# Columns of a shard's plan that come with the prepared pictures, and all that a plan takes from them.
_COPIED_COLUMNS = ("sha256", "size", "source_width", "source_height", *PLACE_COLUMNS)
PREPARED_COLUMNS = (*_COPIED_COLUMNS, "width", "height")
_METADATA_COLUMNS = [column.name for column in METADATA.columns if column.name != "offset"]
# Fields of a sample's JSON, with Hugging Face's names of their types. Every sample has all keys, without nulls
# and lists, because `datasets` infers the types from the first five samples of a shard (datasets#7549).
SAMPLE_FIELDS: Mapping[str, str] = {
    "id": "int64",
    "width": "int64",
    "height": "int64",
    "score": "int64",
    "created_at": "string",
    "md5": "string",
    "rating": "string",
    "source": "string",
    "url": "string",
    **{category.tags_column: "string" for category in CATEGORIES},
}
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSpec:
    """A shard to build.

    Attributes:
        dataset: Folder or URL of the dataset.
        work: Folder of working files, `plan_file` among them.
        name: Name of the shard.
        plan_hash: Hash of the plan that the shard belongs to.
        keeps_shape: True if its index names the sides of the pictures, which differ.
    """

    dataset: Address
    work: Address
    name: ShardName
    plan_hash: str
    keeps_shape: bool = False

    @property
    def plan_file(self) -> str:
        """Name of the shard's planned table: one row per sample, in the order of the tar."""
        return f"{self.name}.plan.parquet"

    @property
    def receipt_file(self) -> str:
        """Name of the receipt; the shard is built if it exists and has the hash of the plan."""
        return f"{self.name}.receipt.json"

    @property
    def staged_in(self) -> Address:
        """Folder to make the files in: in the dataset's file system if it is local."""
        return self.work if isinstance(self.dataset, str) else self.dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSamples:
    """Samples of one or more shards, in the order of their tar files.

    Attributes:
        posts: Their posts.
        table: Tags that the codes of the posts refer to.
        vocabulary: Tags that become labels.
        group: (n,) smallest id of each sample's near-duplicate group.
        prepared: Rows of `appearance.prepare` for the samples, with `PREPARED_COLUMNS`.
    """

    posts: PostRows
    table: StoreTagTable
    vocabulary: Vocabulary
    group: Int64Array
    prepared: pa.Table


def shard_plans(samples: PlannedSamples, sizes: Sequence[int], image: ImageRecipe) -> Iterator[pa.Table]:
    """Yield the planned table of each shard; the sizes are the numbers of its samples."""
    names = pa.array(samples.table.names, pa.string())
    for size, last in zip(sizes, itertools.accumulate(sizes), strict=True):
        rows = np.arange(last - size, last)
        yield _shard_plan(samples, rows, names, image)


def _shard_plan(
    samples: PlannedSamples, rows: Int64Array, names: pa.StringArray, image: ImageRecipe
) -> pa.Table:
    some = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)
    facts = samples.posts.facts.slice(some.start, len(rows))
    prepared = samples.prepared.slice(some.start, len(rows))
    tags = samples.posts.tags.take(rows)
    width = height = pa.array(np.full(len(rows), image.size, np.int32))
    if image.format == ORIGINAL:
        width, height = prepared.column("source_width"), prepared.column("source_height")
    elif image.keeps_shape:
        width, height = prepared.column("width"), prepared.column("height")
    columns: dict[str, Any] = {
        "id": facts.column("id"),
        "key": pa.array([member_key(post_id) for post_id in facts.column("id").to_pylist()]),
        "width": width,
        "height": height,
        "labels": labels_of(tags, samples.vocabulary).as_arrow(),
        "group_id": pa.array(samples.group[some]),
        "rating": facts.column("rating"),
        "source_md5": pc.fill_null(facts.column("stored_md5"), ""),
        "original_md5": facts.column("md5"),
        "url": pc.fill_null(facts.column("fetched_url"), ""),
    }
    for name in ("score", "source", "parent_id", "created_at"):
        columns[name] = facts.column(name)
    for number, category in enumerate(CATEGORIES):
        of_category = tags.keep(samples.table.categories == number)
        columns[category.tags_column] = of_category.named(names)
    for name in _COPIED_COLUMNS:
        columns[name] = prepared.column(name)
    return pa.table(columns)


def build_shard(spec: ShardSpec) -> Shard:
    """Build one shard from its planned table, unless that has been done.

    Files are published only if their names are free, so that a process that is late, or builds another plan,
    cannot replace published files.

    Raises:
        DamagedError: A working file is damaged.
        StorageError: The dataset cannot be written, or has a file of that name with other bytes.
    """
    if (receipt := read_receipt(spec)) is not None:
        return receipt
    work, dataset = open_location(spec.work), open_location(spec.dataset)
    with local_copy(work, spec.plan_file) as path:
        plan = read_table(path, SHARD_PLAN)
    rows = plan.select(_METADATA_COLUMNS)
    samples = _samples(spec, plan)
    shard = put_shard(dataset, spec.name, rows, samples, staged_in=spec.staged_in, keeps_shape=spec.keeps_shape)
    with staging(spec.work, str(spec.name)) as folder:
        facts = {**asdict(shard), "name": str(shard.name), "plan_hash": spec.plan_hash}
        publish_json(folder / spec.receipt_file, facts)
        put(folder / spec.receipt_file, work, spec.receipt_file)
    return shard


def put_shard(
    dataset: Path | Remote,
    name: ShardName,
    rows: pa.Table,
    samples: Iterable[tuple[str, Mapping[str, bytes]]],
    *,
    staged_in: Address,
    keeps_shape: bool,
) -> Shard:
    """Publish the four files of a shard, unless files of that name exist.

    Args:
        dataset: Folder or URL of the dataset.
        name: Name of the shard.
        rows: Metadata without the offsets, in the order of the samples.
        samples: Key and members of each sample; the pictures have the SHA-256 in `rows`.
        staged_in: Folder to make the files in, in the dataset's file system if it is local.
        keeps_shape: True to name the sides of each picture in the index.

    Raises:
        StorageError: The dataset cannot be written, or has a file of that name with other bytes.
    """
    with staging(staged_in, str(name)) as folder:
        for part in (DATA_DIR, INDEX_DIR, METADATA_DIR):
            make_directory(folder / part)
        shard = _write_files(folder, name, rows, samples, keeps_shape=keeps_shape)
        for file in name.files:
            put_once(folder / file, dataset, file)
    return shard


def _write_files(
    folder: Path,
    name: ShardName,
    rows: pa.Table,
    samples: Iterable[tuple[str, Mapping[str, bytes]]],
    *,
    keeps_shape: bool,
) -> Shard:
    tar = folder / name.data
    members: list[Member] = []
    publish(tar, lambda temporary: members.extend(write_shard(temporary, samples)))
    pictures = [member for member in members if not member.name.endswith(f".{POST_JSON_SUFFIX}")]
    names = [member.name for member in pictures]
    sha256s = dict(zip(names, rows.column("sha256").to_pylist(), strict=True))
    columns = (rows.column(side).to_pylist() for side in ("width", "height"))
    sides = dict(zip(names, zip(*columns, strict=True), strict=True)) if keeps_shape else None
    index = json_index(tar, members, sha256s, sides=sides)
    publish_json(folder / name.index, index, indent=None)
    publish_bytes(folder / name.dali_index, dali_index(members).encode())
    offsets = pa.array([member.span.offset for member in pictures], pa.int64())
    rows = rows.append_column("offset", offsets)
    write_arrow_table(folder / name.metadata, METADATA, rows)
    return Shard(
        name=name,
        samples=rows.num_rows,
        bytes=index["filesize"],
        sha256=index["hash_lfs"],
        rows_sha256=content_sha256(METADATA, rows),
    )


def write_plan(spec: ShardSpec, table: pa.Table) -> None:
    """Publish the planned table of a shard, with the columns of `SHARD_PLAN`."""
    with staging(spec.work, str(spec.name)) as folder:
        write_arrow_table(folder / spec.plan_file, SHARD_PLAN, table)
        put(folder / spec.plan_file, open_location(spec.work), spec.plan_file)


def read_receipt(spec: ShardSpec) -> Shard | None:
    """Return the shard if it has been built to this plan, by this version of the program, else None."""
    try:
        with local_copy(open_location(spec.work), spec.receipt_file) as path:
            receipt = read_json(path)
        if receipt.pop("plan_hash") != spec.plan_hash:
            return None
        return from_json(Shard, receipt, name=spec.name)
    except (FileNotFoundError, DamagedError, AttributeError, KeyError, TypeError, ValueError):
        return None


def sample_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of a sample, with the keys of `SAMPLE_FIELDS`, from a row of the metadata.

    Tags are joined by spaces, as boards write them; a missing score is 0, a missing date "".
    """
    return {
        "id": row["id"],
        "width": row["source_width"],
        "height": row["source_height"],
        "score": row["score"] or 0,
        "created_at": row["created_at"].isoformat() if row["created_at"] else "",
        "md5": row["source_md5"],
        **{name: row[name] for name in ("rating", "source", "url")},
        **{name: " ".join(row[name]) for name in SAMPLE_FIELDS if name.startswith("tags_")},
    }


def sample_json(row: Mapping[str, Any]) -> bytes:
    """Encode `sample_fields` of a row of the metadata."""
    return json.dumps(sample_fields(row), ensure_ascii=False).encode()


def sample_members(picture: bytes, row: Mapping[str, Any]) -> Mapping[str, bytes]:
    """Return the members of a sample by suffix: the picture, and `sample_json`."""
    image_format = format_of(picture)
    assert image_format is not None, "a picture of the dataset"
    return {IMAGE_SUFFIX_OF_FORMAT[image_format]: picture, POST_JSON_SUFFIX: sample_json(row)}


def _samples(spec: ShardSpec, plan: pa.Table) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    batches = plan.drop_columns(["labels", "width", "height"]).to_batches(max_chunksize=_ROWS_AT_ONCE)
    rows, again = itertools.tee(row for batch in batches for row in batch.to_pylist())
    wanted = ((pixels_name(row["chunk"]), Span(offset=row["chunk_offset"], size=row["size"])) for row in again)
    for row, picture in zip(rows, read_spans(open_location(spec.work), wanted), strict=True):
        # Protects against a failing disk, not against attackers.
        if zlib_ng.crc32(picture) != row["crc32"]:
            raise DamagedError(
                f"{spec.work}/{pixels_name(row['chunk'])} has changed since it was written: "
                "remove it, then run the same command"
            )
        yield row["key"], sample_members(picture, row)
