"""Shards of WebP pictures and of original pictures: complete, readable, refused where they are useless."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from alti2v.dataset.build import build_shards
from alti2v.dataset.check.verify import verify_dataset
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.manifest import read_manifest
from alti2v.dataset.reading import read_sample
from alti2v.dataset.remove import remove_pictures
from alti2v.errors import UsageError
from alti2v.storage.tar import members
from tests.dataset.helpers.tiny_store import TinyPost, drawing, encoded, write_store

FORMATS = (("JPEG", "jpg"), ("PNG", "png"), ("GIF", "gif"), ("WEBP", "webp"))


def contents(count: int) -> dict[int, tuple[str, bytes]]:
    """Return suffix and bytes by id, all formats in turn."""
    found = {}
    for post_id in range(1, count + 1):
        file_format, suffix = FORMATS[post_id % 4]
        found[post_id] = suffix, encoded(drawing(post_id, width=70, height=80 + post_id), file_format)
    return found


def store_of(path: Path, pictures: dict[int, tuple[str, bytes]]) -> Path:
    return write_store(
        path,
        [
            # A wrong suffix, as on boards: the content counts.
            TinyPost(id=post_id, content=content, suffix="jpg")
            for post_id, (_, content) in pictures.items()
        ],
    )


def config(root: Path, **options: object) -> BuildConfig:
    return BuildConfig(
        store=root / "store",
        dataset=root / "dataset",
        test=4,
        validation=2,
        shard_samples=7,
        workers=1,
        **options,  # type: ignore[arg-type]
    )


def pictures_in(dataset: Path) -> dict[str, bytes]:
    """Return the bytes of every picture by member name, read by offset."""
    found = {}
    for shard in read_manifest(dataset).shards:
        content = (dataset / shard.name.data).read_bytes()
        at = {
            member.span.offset: member.name
            for member in members(dataset / shard.name.data)
            if not member.name.endswith(".json")
        }
        rows = pq.read_table(dataset / shard.name.metadata).to_pylist()
        assert [row["offset"] for row in rows] == sorted(at)
        index = json.loads((dataset / shard.name.index).read_text())["files"]
        for row in rows:
            name = at[row["offset"]]
            assert name in index
            found[name] = content[row["offset"] : row["offset"] + row["size"]]
    return found


def test_kept_originals_are_the_bytes_of_the_store(tmp_path: Path) -> None:
    """They have the suffix of their real format; verify, remove and random access handle them."""
    pictures = contents(20)
    store_of(tmp_path / "store", pictures)
    build_shards(config(tmp_path, keep_original=True))
    dataset = tmp_path / "dataset"
    rows = [
        row
        for shard in read_manifest(dataset).shards
        for row in pq.read_table(dataset / shard.name.metadata).to_pylist()
    ]

    assert pictures_in(dataset) == {
        f"{post_id:012d}.{suffix}": content for post_id, (suffix, content) in pictures.items()
    }
    assert {(row["id"], row["width"], row["height"]) for row in rows} == {
        (post_id, 70, 80 + post_id) for post_id in pictures
    }
    assert verify_dataset(dataset, deep=True).findings == ()
    assert read_sample(dataset, 5).picture == pictures[5][1]

    remove_pictures(dataset, np.array([6]))
    assert verify_dataset(dataset, deep=True).findings == ()
    assert sorted(pictures_in(dataset)) == sorted(
        f"{post_id:012d}.{suffix}" for post_id, (suffix, _) in pictures.items() if post_id != 6
    )
    card = (dataset / "README.md").read_text()
    assert "as they came" in card
    assert "features:" not in card
    assert "load_dataset" not in card


def test_damaged_originals_are_dropped_all_the_same(tmp_path: Path) -> None:
    """Original bytes are stored only if they are a complete picture."""
    pictures = contents(12)
    pictures[3] = "jpg", pictures[4][1][:-200]
    store_of(tmp_path / "store", pictures)
    report = build_shards(config(tmp_path, keep_original=True))

    assert report.outcomes == {"stored": 11, "dropped damaged": 1}


def test_webp_shards(tmp_path: Path) -> None:
    """Square WebP pictures with that suffix, also in the card's features; another quality gives other bytes."""
    store_of(tmp_path / "store", contents(12))
    build_shards(config(tmp_path, size=48, format="webp", quality=80))
    dataset = tmp_path / "dataset"
    pictures = pictures_in(dataset)
    with Image.open(io.BytesIO(pictures["000000000001.webp"])) as image:
        found = (image.format, image.mode, image.size)

    assert found == ("WEBP", "RGB", (48, 48))
    assert len(pictures) == 12
    assert all(name.endswith(".webp") for name in pictures)
    assert verify_dataset(dataset, deep=True).findings == ()
    card = (dataset / "README.md").read_text()
    assert "  - name: webp\n    dtype: image" in card
    assert "48 × 48 px, letterbox, WEBP of quality 80" in card
    assert "--format webp --quality 80" in card


def test_options_of_prepared_pictures_do_not_go_with_kept_ones(tmp_path: Path) -> None:
    """Options without effect are refused; WebP has one chroma subsampling."""
    for options in ({"size": 64}, {"format": "webp"}, {"quality": 90}, {"fit": "crop"}, {"chroma": "4:4:4"}):
        with pytest.raises(UsageError, match=f"leave out --{next(iter(options))}"):
            config(tmp_path, keep_original=True, **options)
    with pytest.raises(UsageError, match="always 4:2:0"):
        config(tmp_path, format="webp", chroma="4:4:4")
