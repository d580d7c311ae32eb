"""Folders of pictures as people have them, and what a store holds after their import."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from alti2v.crawl.importing.config import ImportConfig
from alti2v.crawl.importing.importer import import_pictures
from alti2v.crawl.importing.report import ImportReport
from tests.dataset.helpers.tiny_store import drawing, encoded


def picture(seed: int, *, side: int = 48, form: str = "JPEG") -> bytes:
    """The bytes of a small picture unlike any other."""
    return encoded(drawing(seed, width=side, height=side), form)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def write(folder: Path, files: Mapping[str, bytes | str | dict[str, Any]]) -> Path:
    """Write files into a folder, and return it; an object is written as JSON."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


def tar(path: Path, pictures: dict[str, bytes]) -> Path:
    """Write a tar file as Python's own module does, with the times and owners that it likes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, bytes_ in pictures.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(bytes_), 1_700_000_000
            file.addfile(info, io.BytesIO(bytes_))
    return path


def run(store: Path, *sources: Path, **options: Any) -> ImportReport:
    return import_pictures(ImportConfig(store=store, sources=sources, **options))


def posts(store: Path) -> pd.DataFrame:
    """The post table of a store, in the order of listing."""
    return pd.read_parquet(store / "posts")


def content(store: Path) -> pd.DataFrame:
    """The post table without what the division into batches decides."""
    return posts(store).set_index("id").sort_index().drop(columns=["tar", "offset"])


def tags(row: Any) -> set[str]:
    """All tags of a row."""
    return {tag for name, names in row.items() if str(name).startswith("tags_") for tag in names}
