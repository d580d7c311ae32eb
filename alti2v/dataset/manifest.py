"""The manifest and the lasting tables of a dataset.

A shard exists only if the manifest lists it, so readers start here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from dataclasses import fields as dataclass_fields
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from alti2v.errors import DamagedError, VersionError
from alti2v.pictures.recipe import ImageRecipe
from alti2v.records import Category, Tag
from alti2v.storage.columns import DATASET_TAGS, METADATA, Table
from alti2v.storage.directory import DirectoryKind, missing_file, read_description, write_description
from alti2v.storage.documents import from_json
from alti2v.storage.layout import SPLITS, TAGS_FILE, ShardName, member_key, parse_shard_name
from alti2v.storage.publish import TEMPORARY_PREFIX
from alti2v.storage.table import read_parts, read_table, write_table

if TYPE_CHECKING:
    import pyarrow as pa

# Advice for a table that the program cannot make again.
LOST_TABLE = "restore it from a copy, or build with --new-plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One published shard.

    Attributes:
        samples: Number of samples.
        bytes: Size of the tar file.
        sha256: SHA-256 of the tar file.
        rows_sha256: SHA-256 over the values of the shard's `metadata` table, see `checksum.content_sha256`.
    """

    name: ShardName
    samples: int
    bytes: int
    sha256: str
    rows_sha256: str

    def __post_init__(self) -> None:
        if self.samples < 0 or self.bytes < 0:
            raise ValueError(f"shard {self.name} has {self.samples} pictures in {self.bytes} bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Content of a dataset.

    Attributes:
        plan_hash: SHA-256 over the plan; equal hashes promise equal shards.
        image: Recipe of the pictures.
        shards: Shards in the order of split and number.
        split_rule: Rule that assigned the splits, in words.
        outcomes: Number of posts by outcome ("stored", "duplicate", "dropped too_small", "failed timeout" ...),
            most frequent first; their sum is the number of posts in the store.
        made_with: Versions of the programs that the bytes depend on.
        request_hash: SHA-256 over the options and the content of the store. It is known before any picture is
            opened, so the same command on the same store recognises a finished build.
        alike: Pictures that share a near-duplicate group, and therefore a split, with another picture.
        rare, left_out, unmet: See `vocabulary.Vocabulary`.
        groups: Near-duplicate groups of two or more pictures.
        astray: Pictures in another split than some picture of their group.
        edition: Version of the dataset: 1 at first, one more after each growth or removal.
        options: Options of the build, as `planner.as_json` writes them.
        source: Facts about the crawl from store.json.
        command: Command line of the build, without folders.
    """

    plan_hash: str
    image: ImageRecipe
    shards: tuple[Shard, ...]
    split_rule: str
    outcomes: Mapping[str, int]
    made_with: Mapping[str, str]
    request_hash: str = ""
    alike: int = 0
    rare: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    unmet: Sequence[str] = ()
    groups: int = 0
    astray: int = 0
    edition: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""

    @property
    def total(self) -> int:
        """Number of samples of all splits."""
        return sum(shard.samples for shard in self.shards)

    def split(self, split: str) -> tuple[Shard, ...]:
        """Return the shards of one split, in order."""
        return tuple(shard for shard in self.shards if shard.name.split == split)

    def samples(self, split: str) -> int:
        """Return the number of samples of one split."""
        return sum(shard.samples for shard in self.split(split))


def in_order(shards: Iterable[Shard]) -> tuple[Shard, ...]:
    """Sort shards by split and number."""
    return tuple(sorted(shards, key=lambda shard: (SPLITS.index(shard.name.split), shard.name.number)))


def is_shard_file(file: str) -> bool:
    """Return whether a path in a dataset is a file of some shard, or the leftover of a killed program.

    Only files of which this is true are ever removed; others belong to the user.
    """
    path = PurePosixPath(file)
    try:
        name = parse_shard_name(path.stem)
    except ValueError:
        return path.name.startswith(TEMPORARY_PREFIX)
    return file in name.files


def write_manifest(dataset: Path, manifest: Manifest) -> None:
    """Publish the manifest; from this moment on, its shards exist."""
    fields = asdict(manifest)
    fields["shards"] = [{**asdict(shard), "name": str(shard.name)} for shard in manifest.shards]
    write_description(dataset, DirectoryKind.DATASET, fields)


def read_manifest(dataset: Path) -> Manifest:
    """Read the manifest of a dataset.

    Raises:
        UsageError: The directory is not a dataset.
        VersionError: A program of another format version wrote it.
        DamagedError: The manifest is incomplete.
    """
    fields = read_description(dataset, DirectoryKind.DATASET)
    try:
        shards = tuple(_shard(shard) for shard in fields["shards"])
        image = from_json(ImageRecipe, fields["image"])
        others = {name: value for name, value in fields.items() if name not in ("kind", "version")}
        if missing := {one.name for one in dataclass_fields(Manifest)} - others.keys():
            raise ValueError(f"it has no {min(missing)}")
        manifest = from_json(Manifest, others, image=image, shards=shards)
    except (KeyError, TypeError, ValueError) as exc:
        raise DamagedError(f"{dataset}: the manifest is damaged ({exc}): build the dataset again") from exc
    by_count = sorted(manifest.outcomes.items(), key=lambda item: (-item[1], item[0]))
    return replace(manifest, outcomes=dict(by_count))


def _shard(fields: Mapping[str, Any]) -> Shard:
    return from_json(Shard, fields, name=parse_shard_name(fields["name"]))


@contextlib.contextmanager
def _lasting(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise DamagedError(f"{path} is missing: {LOST_TABLE}") from exc
    except VersionError:
        raise
    except DamagedError as exc:
        raise DamagedError(f"{path} is damaged: {LOST_TABLE}") from exc


def read_lasting_parts(path: Path, table: Table) -> Iterator[pa.Table]:
    """Yield a table that the program cannot make again, one row group at a time.

    Raises:
        VersionError: A program of another format version wrote it.
        DamagedError: It is missing or damaged.
    """
    with _lasting(path):
        yield from read_parts(path, table)


def read_metadata(dataset: Path, shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the metadata of a shard: one row per sample, all columns or some.

    Raises:
        VersionError: A program of another format version wrote the table.
        DamagedError: The table is missing, damaged, or of another shard.
    """
    path = dataset / shard.name.metadata
    try:
        rows = read_table(path, METADATA, columns)
    except FileNotFoundError as exc:
        raise missing_file(dataset, shard.name.metadata) from exc
    check_rows(path, rows, shard)
    return rows


def check_rows(path: Path, rows: pa.Table, shard: Shard) -> None:
    """Check the rows of a metadata table, or some columns of them.

    As many as samples, member names that are those of the ids, and pictures inside the shard.

    Raises:
        DamagedError: The table is of another shard, or damaged.
    """
    import pyarrow.compute as pc

    if rows.num_rows != shard.samples:
        raise DamagedError(
            f"{path} has {rows.num_rows} rows for {shard.samples} pictures: run `alti2v verify` on its folder"
        )
    check_keys(path, rows)
    if not {"id", "offset", "size"} <= set(rows.column_names):
        return
    beyond = pc.greater(rows["size"], pc.subtract(shard.bytes, rows["offset"]))
    if (row := _first(beyond)) is not None:
        post_id, offset, size = (rows[name][row].as_py() for name in ("id", "offset", "size"))
        raise DamagedError(
            f"{path}: post {post_id} ends at byte {offset + size} of a shard of {shard.bytes} bytes: "
            "run `alti2v verify` on its folder"
        )


def check_keys(path: Path, rows: pa.Table) -> None:
    """Check that the member names of a metadata table are those of its ids: they become names in a tar file.

    Raises:
        DamagedError: One is not.
    """
    import pyarrow.compute as pc

    if not {"id", "key"} <= set(rows.column_names):
        return
    if (row := _first(pc.not_equal(rows["key"], keys_of(rows["id"])))) is not None:
        post_id, key = rows["id"][row].as_py(), rows["key"][row].as_py()
        raise DamagedError(f"{path}: post {post_id} has the key {key!r:.60}: run `alti2v verify` on its folder")


def keys_of(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the member names of posts: `layout.member_key`, for all rows at once."""
    import pyarrow.compute as pc

    return pc.utf8_lpad(ids.cast("string"), len(member_key(0)), padding="0")


def check_labels(path: Path, rows: pa.Table, *, tags: int) -> None:
    """Check that the labels of a metadata table are indices of tags.

    Raises:
        DamagedError: One is not.
    """
    import pyarrow.compute as pc

    ends = pc.min_max(pc.list_flatten(rows["labels"])).as_py()
    if ends["min"] is not None and not 0 <= ends["min"] <= ends["max"] < tags:
        raise DamagedError(
            f"{path} has labels from {ends['min']} to {ends['max']} for {tags} tags: "
            "run `alti2v verify` on its folder"
        )


def _first(is_wrong: pa.ChunkedArray) -> int | None:
    import pyarrow.compute as pc

    place = int(pc.index(is_wrong, value=True).as_py())
    return None if place < 0 else place


def write_vocabulary(dataset: Path, tags: tuple[Tag, ...]) -> None:
    """Publish tags.parquet: row i is output i of the model."""
    rows = (
        {"index": index, "name": tag.name, "category": tag.category.value, "count": tag.count}
        for index, tag in enumerate(tags)
    )
    write_table(dataset / TAGS_FILE, DATASET_TAGS, rows)


def read_vocabulary(dataset: Path) -> tuple[Tag, ...]:
    """Read tags.parquet; position i is output i of the model.

    Raises:
        DamagedError: It is missing or damaged.
    """
    file = dataset / TAGS_FILE
    with _lasting(file):
        rows = read_table(file, DATASET_TAGS).to_pylist()
    if [row["index"] for row in rows] != list(range(len(rows))):
        raise DamagedError(f"{file}: the index column is not 0, 1, 2, ...: {LOST_TABLE}")
    try:
        return tuple(
            Tag(name=row["name"], category=Category(row["category"]), count=row["count"]) for row in rows
        )
    except ValueError as exc:
        raise DamagedError(f"{file}: {exc}: {LOST_TABLE}") from exc
