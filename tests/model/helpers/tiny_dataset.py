"""A small valid dataset, written through the storage layer: coloured squares whose tags name their colours."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from alti2v.dataset.manifest import Manifest, Shard, write_manifest, write_vocabulary
from alti2v.pictures.recipe import ImageRecipe
from alti2v.records import Category, Tag
from alti2v.storage.checksum import content_sha256
from alti2v.storage.columns import METADATA
from alti2v.storage.layout import DATA_DIR, INDEX_DIR, METADATA_DIR, ShardName, member_key
from alti2v.storage.table import read_table, write_table
from alti2v.storage.tar import write_shard


@dataclass(frozen=True)
class Drawn:
    """One sample: the bytes of a JPEG of the dataset's size, and its tags' names."""

    id: int
    jpeg: bytes
    tags: tuple[str, ...]


COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 200, 60),
    "blue": (50, 60, 220),
    "yellow": (230, 220, 50),
    "white": (250, 250, 250),
    "black": (10, 10, 10),
}


def square(number: int, *, size: int) -> Drawn:
    """Draw a picture whose left and right halves each have one colour; depends on `number` alone."""
    rng = np.random.default_rng([7, number])
    names = sorted(COLOURS)
    left, right = (names[i] for i in rng.integers(0, len(names), 2))
    pixels = np.empty((size, size, 3), np.uint8)
    pixels[:, : size // 2], pixels[:, size // 2 :] = COLOURS[left], COLOURS[right]
    pixels = np.clip(pixels + rng.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return Drawn(id=1000 + number, jpeg=file.getvalue(), tags=tuple(sorted({left, right})))


def write_dataset(
    path: Path,
    splits: Mapping[str, Sequence[Drawn]],
    *,
    size: int,
    tags: Sequence[str] = tuple(sorted(COLOURS)),
    shard_samples: int = 16,
    categories: Mapping[str, Category] | None = None,
) -> Path:
    """Write samples as a dataset; `tags` are the outputs of the model, in their order."""
    for folder in (DATA_DIR, INDEX_DIR, METADATA_DIR):
        (path / folder).mkdir(parents=True, exist_ok=True)
    index = {tag: number for number, tag in enumerate(tags)}
    counts = dict.fromkeys(tags, 0)
    for drawn in splits.get("train", ()):
        for tag in drawn.tags:
            if tag in counts:
                counts[tag] += 1
    shards = []
    for split, samples in splits.items():
        parts = [samples[i : i + shard_samples] for i in range(0, len(samples), shard_samples)]
        for number, part in enumerate(parts):
            shards.append(
                _write_shard(path, ShardName(split, number, len(parts)), part, index=index, size=size)
            )
    of = categories or {}
    write_vocabulary(
        path,
        tuple(
            Tag(name=tag, category=of.get(tag, Category.GENERAL), count=count) for tag, count in counts.items()
        ),
    )
    plan = hashlib.sha256(repr([(shard.name, shard.sha256) for shard in shards]).encode()).hexdigest()
    write_manifest(
        path,
        Manifest(
            plan_hash=plan,
            image=ImageRecipe(size=size),
            shards=tuple(shards),
            split_rule="as the test says",
            outcomes={"stored": sum(map(len, splits.values()))},
            made_with={},
        ),
    )
    return path


def write_squares(
    path: Path,
    *,
    size: int = 32,
    train: int = 40,
    validation: int = 12,
    test: int = 12,
    shard_samples: int = 16,
) -> Path:
    """Write a dataset of coloured squares that a few steps of training can learn."""
    numbers = iter(range(train + validation + test))
    splits = {
        split: [square(next(numbers), size=size) for _ in range(count)]
        for split, count in (("train", train), ("validation", validation), ("test", test))
        if count
    }
    return write_dataset(path, splits, size=size, shard_samples=shard_samples)


def _write_shard(
    path: Path, name: ShardName, samples: Sequence[Drawn], *, index: Mapping[str, int], size: int
) -> Shard:
    file = path / name.data
    contents = [
        (member_key(drawn.id), {"jpg": drawn.jpeg, "json": json.dumps({"id": drawn.id}).encode()})
        for drawn in samples
    ]
    spans = {member.name: member.span for member in write_shard(file, contents)}
    write_table(
        path / name.metadata,
        METADATA,
        (_row(drawn, spans[f"{member_key(drawn.id)}.jpg"].offset, index, size) for drawn in samples),
    )
    content = file.read_bytes()
    return Shard(
        name=name,
        samples=len(samples),
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        rows_sha256=content_sha256(METADATA, read_table(path / name.metadata, METADATA)),
    )


def _row(drawn: Drawn, offset: int, index: Mapping[str, int], size: int) -> dict[str, object]:
    groups = ("artist", "copyright", "character", "meta", "unknown")
    return {
        "id": drawn.id,
        "key": member_key(drawn.id),
        "offset": offset,
        "size": len(drawn.jpeg),
        "sha256": hashlib.sha256(drawn.jpeg).hexdigest(),
        "width": size,
        "height": size,
        "group_id": drawn.id,
        "labels": sorted(index[tag] for tag in drawn.tags if tag in index),
        "tags_general": list(drawn.tags),
        **{f"tags_{group}": [] for group in groups},
        "rating": "general",
        "source": "",
        "url": f"http://127.0.0.1/{drawn.id}.jpg",
        "source_width": size,
        "source_height": size,
        "source_md5": hashlib.md5(drawn.jpeg).hexdigest(),
    }
