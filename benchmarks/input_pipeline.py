"""How fast shards become batches, beside the ceiling: decoding the same bytes from memory.

Both decode with `tf.io.decode_jpeg` and batch alike; the pipeline also reads shards, shuffles, and makes
multi-hot labels of 5,000 tags. Rounds alternate, so that a busy machine slows both; the ratio is the median
over rounds of the ratio within a round. Run:

    python benchmarks/input_pipeline.py [--samples 4000] [--size 224] [--batch-size 64] [--rounds 5]
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.model import backend
from alti2v.model.augment import Augmentation
from alti2v.model.input import training_batches
from tests.model.tiny_dataset import Drawn, write_dataset

_TAGS = 5_000
_TAGS_PER_PICTURE = 30
_SHARDS = 8
_DISTINCT = 200  # pictures; their bytes are repeated under other ids


def main() -> None:
    """Measure, print a table, end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=4_000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples = _samples(options.samples, options.size)
        dataset = write_dataset(
            Path(folder) / "dataset",
            {"train": samples},
            size=options.size,
            tags=[f"tag_{number}" for number in range(_TAGS)],
            shard_samples=-(-options.samples // _SHARDS),
        )
        jpegs = [sample.jpeg for sample in samples]
        batch_size = options.batch_size
        rounds = []
        for number in range(options.rounds + 1):
            measured = {
                "from memory": _rate(_from_memory(jpegs, batch_size), options.samples),
                "from shards": _rate(_from_shards(dataset, batch_size, number), options.samples),
                "from shards, flipped": _rate(
                    _from_shards(dataset, batch_size, number, Augmentation(flip=True)), options.samples
                ),
            }
            if number:  # the first one warms the page cache and the libraries up
                rounds.append(measured)
    _print(rounds, options, statistics.mean(map(len, jpegs)))


def _samples(count: int, size: int) -> list[Drawn]:
    rng = np.random.default_rng(0)
    jpegs = []
    for _ in range(min(count, _DISTINCT)):
        # Smooth colours with some grain: about the bytes per pixel of a drawing at this quality.
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
            tags=tuple(f"tag_{tag}" for tag in sorted(rng.choice(_TAGS, _TAGS_PER_PICTURE, replace=False))),
        )
        for number in range(count)
    ]


def _from_memory(jpegs: Sequence[bytes], batch_size: int) -> Any:
    tf = backend.tf
    data = tf.data.Dataset.from_tensor_slices(jpegs)
    data = data.map(
        lambda content: tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return data.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _from_shards(dataset: Path, batch_size: int, epoch: int, what: Augmentation | None = None) -> Any:
    return training_batches(
        dataset, batch_size=batch_size, seed=0, epoch=epoch, augmentation=what or Augmentation()
    )


def _rate(batches: Any, samples: int) -> float:
    begun = time.perf_counter()
    for _ in batches:
        pass
    return samples / (time.perf_counter() - begun)


def _print(rounds: Sequence[dict[str, float]], options: argparse.Namespace, mean_bytes: float) -> None:
    ceiling = "from memory"
    rates = {name: statistics.median(round_[name] for round_ in rounds) for name in rounds[0]}
    ratios = {
        name: statistics.median(round_[name] / round_[ceiling] for round_ in rounds) for name in rounds[0]
    }
    print(f"{options.samples} pictures of {options.size} px, {mean_bytes / 1e3:.1f} kB, {_TAGS} tags")
    for name, rate in rates.items():
        print(f"{name:22} {rate:8.0f} images/s   {ratios[name]:.3f} of the ceiling")
    print(
        json.dumps(
            {
                "samples": options.samples,
                "size": options.size,
                "batch_size": options.batch_size,
                "rounds": options.rounds,
                "images_per_s": {name: round(rate, 1) for name, rate in rates.items()},
                "ratio": {name: round(ratio, 4) for name, ratio in ratios.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
