"""Dataset of a folder of pictures, each with its tags beside it: `FOLDER/{id}.png`, `FOLDER/{id}.txt`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from alti2v.dataset.build import build_shards
from alti2v.dataset.config import BuildConfig
from tests.dataset.helpers.tiny_store import TinyPost, write_store

_ARTIST = "artist:"


def build_dataset(folder: Path, out: Path, *, size: int, min_count: int, test: int, validation: int) -> Path:
    """Build a dataset of the folder's pictures once; a finished one is kept.

    Args:
        folder: Pictures named by a number, with tags separated by ", "; "artist:NAME" is an artist.
        out: Folder for the store (removed afterwards) and the dataset.
        size: Side of the pictures, px.
        min_count: Training pictures that a tag needs.
        test: Pictures of the test split.
        validation: Pictures of the validation split.

    Returns:
        Directory of the dataset.
    """
    dataset, store = out / f"dataset-{size}", out / f"store-{size}"
    if (dataset / "manifest.json").is_file():
        return dataset
    shutil.rmtree(store, ignore_errors=True)
    posts = list(_posts(folder))
    categories = {
        tag: "artist" if tag.startswith(_ARTIST) else "general" for post in posts for tag in post.tags
    }
    write_store(store, posts, posts_per_tar=500, rows_per_part=5_000, category_of=categories)
    build_shards(
        BuildConfig(
            store=store,
            dataset=dataset,
            size=size,
            min_count=min_count,
            test=test,
            validation=validation,
            shard_samples=1_000,
        )
    )
    shutil.rmtree(store)
    return dataset


def _posts(folder: Path) -> Iterator[TinyPost]:
    for caption in sorted(folder.glob("*.txt")):
        picture = next(
            caption.with_suffix(suffix) for suffix in (".png", ".jpg") if caption.with_suffix(suffix).exists()
        )
        yield TinyPost(
            id=int(caption.stem),
            content=picture.read_bytes(),
            tags=caption.read_text(encoding="utf-8").strip().split(", "),
            suffix=picture.suffix[1:],
        )
