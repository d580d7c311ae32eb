"""Tables of a dataset as large as a whole board: invented rows, and no pictures."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from alti2v.dataset.images.prepare import appearance_recipe
from alti2v.dataset.manifest import Manifest, Shard, write_manifest, write_vocabulary
from alti2v.pictures.recipe import ImageRecipe
from alti2v.records import Category, Tag
from alti2v.storage.checksum import content_sha256
from alti2v.storage.columns import HASH_COLUMNS, METADATA, OUTCOMES, SURVEY, THUMBNAIL_COLUMN
from alti2v.storage.layout import METADATA_DIR, OUTCOMES_FILE, SURVEY_FILE, ShardName, member_key
from alti2v.storage.table import schema, write_arrow_table, write_parts

ROWS = 10_000
DROPPED = 100  # posts with the smallest ids, which are in no shard
_TAGS_EACH = 32
_DISTINCT_SHARDS = 8  # contents that are repeated with other ids: drawing them takes longest


def write_tables(dataset: Path, shards: int, tags: int) -> None:
    """Write all tables of a dataset with `ROWS` samples a shard, one in twenty of which duplicates another."""
    (dataset / METADATA_DIR).mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = pa.array([f"tag_{index}" for index in range(tags)])
    rates = 1 / np.arange(1, tags + 1)
    drawn = [
        np.sort(_distinct(rng.choice(tags, (ROWS, _TAGS_EACH), p=rates / rates.sum())), axis=1).astype(np.int32)
        for _ in range(_DISTINCT_SHARDS)
    ]
    written = []
    for number, labels in zip(range(shards), itertools.cycle(drawn)):
        name = ShardName("train", number, shards)
        rows = _rows(DROPPED + np.arange(number * ROWS + 1, (number + 1) * ROWS + 1), labels, names)
        write_arrow_table(dataset / name.metadata, METADATA, rows)
        digest = content_sha256(METADATA, rows)
        written.append(Shard(name=name, samples=ROWS, bytes=1 << 40, sha256="", rows_sha256=digest))
    counts = np.zeros(tags, np.int64)
    for number in range(shards):
        counts += np.bincount(drawn[number % _DISTINCT_SHARDS].ravel(), minlength=tags)
    manifest = Manifest(
        plan_hash="0",
        image=ImageRecipe(),
        shards=tuple(written),
        split_rule="",
        outcomes={"stored": shards * ROWS, "dropped too_small": DROPPED},
        made_with={},
    )
    write_parts(dataset / OUTCOMES_FILE, OUTCOMES, _outcomes(shards))
    write_parts(dataset / SURVEY_FILE, SURVEY, _survey(shards))
    vocabulary = [
        Tag(name=name, category=Category.GENERAL, count=int(count))
        for name, count in zip(names.to_pylist(), counts, strict=True)
    ]
    write_vocabulary(dataset, tuple(vocabulary))
    write_manifest(dataset, manifest)


def _distinct(labels: np.ndarray) -> np.ndarray:
    """Replace repeated labels of a row: every label of a row is there once."""
    ordered = np.sort(labels, axis=1)
    for column in range(1, ordered.shape[1]):
        ordered[:, column] = np.maximum(ordered[:, column], ordered[:, column - 1] + 1)
    return np.asarray(ordered)


def _outcomes(shards: int) -> Iterator[pa.Table]:
    yield _outcome_rows(np.arange(1, DROPPED + 1), "dropped", "too_small", None)
    for number in range(shards):
        ids = DROPPED + np.arange(number * ROWS + 1, (number + 1) * ROWS + 1)
        yield _outcome_rows(ids, "stored", "", str(ShardName("train", number, shards)))


def _outcome_rows(ids: np.ndarray, outcome: str, reason: str, shard: str | None) -> pa.Table:
    columns = {
        "id": pa.array(ids),
        "outcome": pa.array([outcome] * len(ids)),
        "reason": pa.array([reason] * len(ids)),
        "duplicate_of": pa.nulls(len(ids), pa.int64()),
        "shard": pa.array([shard] * len(ids), pa.string()),
    }
    return pa.table(columns, schema=schema(OUTCOMES))


def _survey(shards: int) -> Iterator[pa.Table]:
    rng = np.random.default_rng(1)
    recipe = {b"alti2v.looks": appearance_recipe(ImageRecipe()).encode()}
    for number in range(shards):
        ids = DROPPED + np.arange(number * ROWS + 1, (number + 1) * ROWS + 1)
        thumbnails = rng.integers(0, 256, ROWS * 256, np.uint8)
        offsets = np.arange(ROWS + 1, dtype=np.int32) * 256
        columns = {
            "id": pa.array(ids),
            "source_md5": pa.array([f"{post:032x}" for post in ids.tolist()]),
            "reason": pa.array([""] * ROWS),
            THUMBNAIL_COLUMN.name: pa.Array.from_buffers(
                pa.binary(), ROWS, [None, pa.py_buffer(offsets), pa.py_buffer(thumbnails)]
            ),
            **{column.name: pa.array(rng.integers(-(1 << 63), 1 << 63, ROWS)) for column in HASH_COLUMNS},
        }
        yield pa.table(columns).replace_schema_metadata(recipe)


def _rows(ids: np.ndarray, labels: np.ndarray, names: pa.Array) -> pa.Table:
    offsets = pa.array(np.arange(len(ids) + 1, dtype=np.int32) * labels.shape[1])
    empty = pa.ListArray.from_arrays(pa.array(np.zeros(len(ids) + 1, np.int32)), pa.array([], pa.string()))
    text = pa.array([f"https://www.host{number % 997}.example/{number}" for number in ids.tolist()])
    columns = {
        "id": pa.array(ids),
        "key": pa.array([member_key(number) for number in ids.tolist()]),
        "labels": pa.ListArray.from_arrays(offsets, pa.array(labels.ravel())),
        "group_id": pa.array(np.where(ids % 20 == 0, ids - 1, ids)),
        "tags_general": pa.ListArray.from_arrays(offsets, names.take(pa.array(labels.ravel()))),
        "rating": pa.array(["general"] * len(ids)),
        "created_at": pa.array(1_262_304_000 + ids * 300, pa.timestamp("s", tz="UTC")),
    }
    for column in METADATA.columns:
        if column.name not in columns:
            filled = {
                "list<string>": empty,
                "string": text,
                "int32": pa.array(np.full(len(ids), 850, np.int32)),
                "int64": pa.array(ids),
            }
            columns[column.name] = filled[column.type]
    return pa.table(columns)
