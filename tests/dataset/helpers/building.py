"""Small builds, and functions that read their results."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import webdataset

from alti2v.dataset.build import build_shards
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.report import BuildReport
from alti2v.records import ProgressHook, ignore_progress


def build(store: Path, dataset: Path, **options: Any) -> BuildReport:
    """Build a small dataset in this process; `progress` may be among the options."""
    progress = options.pop("progress", ignore_progress)
    settings = {"size": 32, "test": 6, "validation": 4, "shard_samples": 9, "workers": 1} | options
    return build_shards(BuildConfig(store=store, dataset=dataset, **settings), progress=progress)


def milestones(said: list[str]) -> ProgressHook:
    """Return a hook that appends what is said to a list."""
    return lambda progress: said.append(progress.milestone) if progress.milestone else None


def sides(dataset: Path) -> dict[int, str]:
    """Return the split of every picture, by id."""
    rows = pd.read_parquet(dataset / "outcomes.parquet")
    stored = rows[rows["outcome"] == "stored"]
    return {int(i): name.split("-")[0] for i, name in zip(stored["id"], stored["shard"], strict=True)}


def digests(dataset: Path) -> dict[str, str]:
    """Return the SHA-256 of every file, by relative path."""
    files = (path for path in dataset.rglob("*") if path.is_file())
    return {str(path.relative_to(dataset)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def samples(dataset: Path, split: str) -> list[dict[str, Any]]:
    """Read the samples of a split with webdataset's own reader."""
    shards = [str(path) for path in sorted((dataset / "data").glob(f"{split}-*.tar"))]
    return list(webdataset.WebDataset(shards, shardshuffle=False))
