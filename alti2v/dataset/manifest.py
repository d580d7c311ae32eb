"""The manifest of a dataset: which shards exist, what is in them, and the recipe that made them.

A shard exists only if the manifest says so; readers start here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alti2v.errors import DamagedError, VersionError
from alti2v.records import Category, Tag
from alti2v.storage.directory import DirectoryKind, read_description, write_description
from alti2v.storage.layout import (
    DATASET_TAGS,
    IMAGE_SUFFIX_OF_FORMAT,
    SPLITS,
    TAGS_FILE,
    ShardName,
    Table,
    parse_shard_name,
)
from alti2v.storage.table import read_table, write_table

if TYPE_CHECKING:
    import pyarrow as pa

# What to do about a table that nobody can make again.
LOST_TABLE = "restore it from a copy, or build with --new-plan"
ORIGINAL = "original"  # the format of a recipe that leaves bytes as they came


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecipe:
    """How pictures were made; equal recipes give equal bytes.

    Attributes:
        size: side of the square, px.
        fit: "letterbox": the whole picture, centred on white; "squash": the whole picture, stretched to the
            square; "crop": the middle of it.
        format: "JPEG", "WEBP", or "original": the bytes as the store holds them, whatever the rest says.
        quality: 1 to 100.
        chroma: "4:2:0" or "4:4:4", the JPEG's sampling of colours.
    """

    size: int = 224
    fit: str = "letterbox"
    format: str = "JPEG"
    quality: int = 95
    chroma: str = "4:2:0"

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Member suffixes that pictures may have in the shards."""
        known = IMAGE_SUFFIX_OF_FORMAT
        return tuple(known.values()) if self.format == ORIGINAL else (known[self.format],)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One published shard.

    Attributes:
        bytes, sha256: of the tar file.
        rows_sha256: over the values of its table `metadata`, as `table.content_sha256` has it; "" in a dataset
            of an earlier state of the format.
    """

    name: ShardName
    samples: int
    bytes: int
    sha256: str
    rows_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a dataset holds.

    Attributes:
        plan_hash: SHA-256 over the plan; equal hashes promise equal shards.
        shards: in the order of split and number.
        split_rule: how a post's side was decided, in words.
        outcomes: posts by outcome ("stored", "duplicate", "dropped too_small", "failed timeout" ...);
            their sum is the number of posts in the store. Most frequent first.
        made_with: versions of the programs whose output the bytes depend on.
        request_hash: SHA-256 over the options and the content of the store: what is known before any
            picture is opened. The same command on the same store finds its work done.
        alike: pictures that share a group, and therefore a side, with another picture.
        rare, left_out, unmet: as in `tags.Vocabulary`.
        groups: groups of two or more pictures.
        astray: pictures that stand on another side than some picture of their group.
        edition: counts what was published: 1 at first, one more for each growth or removal.
        options: `plan.as_json` of the options.
        source: what store.json says of the board.
        command: the command line that asked for it, without folders.
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

    def split(self, split: str) -> tuple[Shard, ...]:
        """The shards of one split, in order."""
        return tuple(shard for shard in self.shards if shard.name.split == split)

    def samples(self, split: str) -> int:
        """How many samples a split has."""
        return sum(shard.samples for shard in self.split(split))


def in_order(shards: Iterable[Shard]) -> tuple[Shard, ...]:
    """Shards in the order of split and number."""
    return tuple(sorted(shards, key=lambda shard: (SPLITS.index(shard.name.split), shard.name.number)))


_LATER_FIELDS = (
    *("request_hash", "alike", "rare", "left_out", "unmet", "groups", "astray", "edition"),
    *("options", "source", "command"),
)


def write_manifest(dataset: Path, manifest: Manifest) -> None:
    """Publish the manifest: from this moment on, its shards exist."""
    fields = asdict(manifest)
    fields["shards"] = [{**asdict(shard), "name": str(shard.name)} for shard in manifest.shards]
    write_description(dataset, DirectoryKind.DATASET, fields)


def read_manifest(dataset: Path) -> Manifest:
    """Read the manifest of a dataset.

    Raises:
        UsageError: the directory is no dataset.
        VersionError: a program of another format version wrote it.
        DamagedError: the manifest lacks something.
    """
    fields = read_description(dataset, DirectoryKind.DATASET)
    try:
        shards = tuple(
            Shard(**{**shard, "name": parse_shard_name(shard["name"])}) for shard in fields["shards"]
        )
        return Manifest(
            plan_hash=fields["plan_hash"],
            image=ImageRecipe(**fields["image"]),
            shards=shards,
            split_rule=fields["split_rule"],
            outcomes=dict(sorted(fields["outcomes"].items(), key=lambda item: (-item[1], item[0]))),
            made_with=fields["made_with"],
            **{name: fields[name] for name in _LATER_FIELDS if name in fields},
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise DamagedError(f"{dataset}: the manifest is incomplete ({exc}): build the dataset again") from exc


def read_lasting(path: Path, table: Table) -> pa.Table:
    """Read a table that nobody can make again.

    Raises:
        VersionError: a program of another format version wrote it.
        DamagedError: it is missing, or is not the table that the contract prescribes.
    """
    try:
        return read_table(path, table)
    except FileNotFoundError as exc:
        raise DamagedError(f"{path} is missing: {LOST_TABLE}") from exc
    except VersionError:
        raise
    except DamagedError as exc:
        raise DamagedError(f"{path} is not the table that was written: {LOST_TABLE}") from exc


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
        DamagedError: it is missing, or is not the table that the contract prescribes.
    """
    rows = read_lasting(dataset / TAGS_FILE, DATASET_TAGS).to_pylist()
    if [row["index"] for row in rows] != list(range(len(rows))):
        raise DamagedError(f"{dataset / TAGS_FILE}: the index column is not 0, 1, 2, ...: {LOST_TABLE}")
    return tuple(Tag(name=row["name"], category=Category(row["category"]), count=row["count"]) for row in rows)
