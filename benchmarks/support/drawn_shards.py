"""Datasets whose pictures have about the file sizes of drawings, for benchmarks of readers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from tests.model.helpers.tiny_dataset import Drawn, write_dataset

TAGS_PER_PICTURE = 30
_DISTINCT = 200  # pictures, which are repeated under other ids


def draw_samples(count: int, *, size: int, tags: int) -> list[Drawn]:
    """Make `count` samples of `size` px, each with `TAGS_PER_PICTURE` of `tags` tags."""
    rng = np.random.default_rng(0)
    jpegs = []
    for _ in range(min(count, _DISTINCT)):
        # Smooth colours with some grain have about as many bytes per pixel as a drawing at this quality.
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC).filter(ImageFilter.SMOOTH))
        grain = np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(grain).save(file, "JPEG", quality=95)
        jpegs.append(file.getvalue())
    return [
        Drawn(
            id=number + 1,
            jpeg=jpegs[number % len(jpegs)],
            tags=tuple(f"tag_{tag}" for tag in sorted(rng.choice(tags, TAGS_PER_PICTURE, replace=False))),
        )
        for number in range(count)
    ]


def write_samples(
    path: Path, samples: Sequence[Drawn], *, size: int, tags: int, shards: int, validation: int = 0
) -> Path:
    """Write a dataset with `shards` training shards; the last `validation` samples are that split."""
    train = samples[: len(samples) - validation]
    splits = {"train": train, "validation": samples[len(train) :]}
    return write_dataset(
        path,
        {split: part for split, part in splits.items() if part},
        size=size,
        tags=[f"tag_{number}" for number in range(tags)],
        shard_samples=-(-len(train) // shards),
    )
