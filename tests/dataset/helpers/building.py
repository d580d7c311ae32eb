"""Small builds, and functions that read their results."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import webdataset

from alti2v.dataset.build import build_shards
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.report import BuildReport


def build(store: Path, dataset: Path, **options: Any) -> BuildReport:
    """Build a small dataset in this process."""
    settings = {"size": 32, "test": 6, "validation": 4, "shard_samples": 9, "workers": 1} | options
    return build_shards(BuildConfig(store=store, dataset=dataset, **settings))


def digests(dataset: Path) -> dict[str, str]:
    """Return the SHA-256 of every file, by relative path."""
    files = (path for path in dataset.rglob("*") if path.is_file())
    return {str(path.relative_to(dataset)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def samples(dataset: Path, split: str) -> list[dict[str, Any]]:
    """Read the samples of a split with webdataset's own reader."""
    shards = [str(path) for path in sorted((dataset / "data").glob(f"{split}-*.tar"))]
    return list(webdataset.WebDataset(shards, shardshuffle=False))
