"""How fast training from shards is, beside the ceiling: `model.fit` on one batch that is repeated in memory.

The same network, the same compiled step, the same batch size; the ceiling needs no input at all. Rounds
alternate, so that a busy machine slows both; the ratio is the median over rounds. Run:

    python benchmarks/training.py [--samples 256] [--size 32] [--batch-size 32] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.model import backend
from alti2v.model.augment import Augmentation
from alti2v.model.input import training_batches
from alti2v.model.input_wait import InputWait
from alti2v.model.losses import loss_of
from alti2v.model.network import Architecture, build_network
from alti2v.model.recipes import MODERN
from tests.model.tiny_dataset import square, write_dataset

_TAGS = 1_000


def main() -> None:
    """Measure, print a table, end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    keras = backend.keras
    architecture = Architecture(
        size=options.size, tags=_TAGS + 6, head=MODERN.head, features=512, dropout=0.0, pixel_scale=1 / 64
    )
    model = build_network(architecture).logits
    is_jax = keras.backend.backend() == "jax"
    model.compile(keras.optimizers.Adam(1e-5), loss_of(MODERN.loss, None), jit_compile=is_jax)
    with tempfile.TemporaryDirectory() as folder:
        samples = [square(number, size=options.size) for number in range(options.samples)]
        names = [f"tag_{number}" for number in range(_TAGS)]
        colours = sorted({name for sample in samples for name in sample.tags})
        dataset = write_dataset(
            Path(folder) / "dataset",
            {"train": samples},
            size=options.size,
            tags=(*names, *colours)[-(_TAGS + 6) :],
            shard_samples=-(-options.samples // 8),
        )
        ratios, rates, waits = [], [], []
        for number in range(options.rounds + 1):
            batches = training_batches(
                dataset,
                batch_size=options.batch_size,
                seed=0,
                epoch=number,
                augmentation=Augmentation(flip=True),
            )
            wait = InputWait()
            repeated = backend.tf.data.Dataset.from_tensors(next(iter(batches))).repeat(
                options.samples // options.batch_size
            )
            from_memory = _seconds(model, repeated)
            from_shards = _seconds(model, wait.timed(batches))
            if number:  # the first one compiles
                ratios.append(from_memory / from_shards)
                rates.append((options.samples / from_memory, options.samples / from_shards))
                waits.append(wait.seconds / from_shards)
    ceiling, ours = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio, waited = statistics.median(ratios), statistics.median(waits)
    print(f"VGG16, {options.size} px, batches of {options.batch_size}, {keras.backend.backend()}")
    print(f"one batch repeated in memory {ceiling:8.1f} samples/s")
    print(f"from shards, flipped         {ours:8.1f} samples/s   {ratio:.3f} of the ceiling")
    print(f"input wait {waited:.1%}")
    print(json.dumps({**vars(options), "ratio": round(ratio, 4), "rounds": [round(r, 4) for r in ratios]}))


def _seconds(model: Any, batches: Any) -> float:
    begun = time.perf_counter()
    model.fit(batches, epochs=1, verbose=0, shuffle=False)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
