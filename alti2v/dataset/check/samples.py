"""Check of the samples of a shard: pictures, JSON, and the rows of the shard's table."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from alti2v.dataset.check.labels import TAGS_COLUMNS
from alti2v.dataset.write.shard import SAMPLE_FIELDS, sample_fields
from alti2v.errors import DamagedError
from alti2v.pictures.decoder_process import process_decoders
from alti2v.pictures.jobs import CheckJob
from alti2v.pictures.recipe import ORIGINAL, ImageRecipe
from alti2v.records import Span
from alti2v.storage.layout import IMAGE_SUFFIX_OF_FORMAT, POST_JSON_SUFFIX
from alti2v.storage.tar import read_span

_COLUMNS = (
    *("id", "key", "sha256", "width", "height", "source_width", "source_height", "source_md5"),
    *("score", "created_at", "rating", "source", "url"),
    *TAGS_COLUMNS,
)
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class SampleFaults:
    """Faults of the samples of one shard.

    Attributes:
        count: Number of samples that webdataset reads.
        in_tar: Faults of the samples themselves.
        in_table: Differences between a sample and its row.
    """

    count: int
    in_tar: list[str]
    in_table: list[str]


def sample_faults(tar: Path, rows: pa.Table, recipe: ImageRecipe, *, deep: bool) -> SampleFaults:
    """Read a shard with webdataset's own reader, and compare each sample with its row; deep: decode them."""
    count = 0
    in_tar: list[str] = []
    in_table: list[str] = []
    table_rows = each_row(rows, _COLUMNS)
    for sample in _webdataset(tar):
        count += 1
        row = next(table_rows, None)
        if row is not None:
            picture = next((sample[suffix] for suffix in recipe.suffixes if suffix in sample), b"")
            fields = _fields_of(sample)
            in_table += _row_faults(sample["__key__"], picture, fields, row)
            in_tar += _json_faults(row["key"], fields)
            if deep:
                in_tar += _picture_faults(picture, row, recipe)
    return SampleFaults(count, in_tar, in_table)


def changed_pictures(tar: Path, rows: pa.Table) -> list[str]:
    """List the pictures of a damaged shard that differ from their row."""
    faults = []
    with tar.open("rb") as file:
        for row in each_row(rows, ["key", "offset", "size", "sha256"]):
            try:
                picture = read_span(file, Span(offset=row["offset"], size=row["size"]))
            except DamagedError:
                faults.append(f"{row['key']}: the picture is cut off")
            else:
                if hashlib.sha256(picture).hexdigest() != row["sha256"]:
                    faults.append(f"{row['key']}: the picture has changed")
    return faults


def each_row(rows: pa.Table, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield rows as dictionaries, with a bounded number in memory; nothing from a table without rows."""
    if rows.num_rows:
        for batch in rows.select(columns).to_batches(max_chunksize=_ROWS_AT_ONCE):
            yield from batch.to_pylist()


def _webdataset(path: Path) -> Iterator[Mapping[str, Any]]:
    from webdataset.tariterators import group_by_keys, tar_file_expander

    # The stages of `WebDataset`, except that it opens the file: webdataset 1.0.2 never closes what it opens.
    with path.open("rb") as stream:
        yield from group_by_keys(tar_file_expander([{"url": str(path), "stream": stream}]))


def _fields_of(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """Parse the JSON of a sample; empty if it is invalid."""
    try:
        fields = json.loads(sample.get(POST_JSON_SUFFIX, b""))
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _row_faults(key: str, picture: bytes, fields: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    if key != row["key"]:
        return [f"{key} is at the position of {row['key']}"]
    faults = []
    if hashlib.sha256(picture).hexdigest() != row["sha256"]:
        faults.append(f"{key}: the picture has another hash than its metadata")
    expected = sample_fields(row)
    if other := [name for name in expected if name in fields and fields[name] != expected[name]]:
        faults.append(f"{key}: the JSON in the shard has another {', '.join(other)}")
    return faults


def _json_faults(key: str, fields: Mapping[str, Any]) -> list[str]:
    if not fields:
        return [f"{key}: the JSON cannot be read"]
    if list(fields) != list(SAMPLE_FIELDS):
        return [f"{key}: the JSON has different keys from docs/FORMAT.md"]
    return []


def _picture_faults(picture: bytes, row: Mapping[str, Any], recipe: ImageRecipe) -> list[str]:
    formats = tuple(IMAGE_SUFFIX_OF_FORMAT) if recipe.format == ORIGINAL else (recipe.format,)
    with process_decoders().borrowed() as decoder:  # somebody else's picture may take hours, or all memory
        unusable = decoder.run(CheckJob(), picture)
    if unusable is not None:
        return [f"{row['key']}: the picture does not decode ({unusable.reason})"]
    try:
        with Image.open(io.BytesIO(picture), formats=formats) as image:  # reads the header alone
            mode, size = image.mode, image.size
    except Exception as exc:  # noqa: BLE001 - decoders raise nearly anything on hostile bytes
        return [f"{row['key']}: the picture does not decode ({exc})"]
    wanted_mode = mode if recipe.format == ORIGINAL else "RGB"
    if (mode, size) != (wanted_mode, (row["width"], row["height"])):
        wanted = f"{wanted_mode} {row['width']} x {row['height']}"
        return [f"{row['key']}: the picture is {mode} {size}, not {wanted}"]
    return []
