r"""Training from shards, beside the ceiling: `model.fit` on one batch that is repeated in memory.

Network, compiled step and batch size are the same; the ceiling needs no input at all. Rounds alternate, so that
a busy machine slows both; a ratio is the median over rounds of the ratio within a round. With `--peak`, the
speed of the steps is also compared with that of a large matrix product in the same precision. On two cores, and
on a GPU:

    python benchmarks/training.py
    KERAS_BACKEND=jax python benchmarks/training.py --samples 15360 --size 224 --tags 5000 --features 4096 \
        --batch-size 256 --precision bfloat16 --peak
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.model import backend
from alti2v.model.data.input_wait import InputWait
from alti2v.model.data.pipeline import training_batches
from alti2v.model.network.augment import augmenting_model
from alti2v.model.network.build import Architecture, build_network
from alti2v.model.network.losses import loss_of
from alti2v.model.options.choices import PRECISIONS
from alti2v.model.recipes import MODERN, NO_AUGMENTATION, parse_augmentation
from benchmarks.support.drawn_shards import draw_samples, write_samples

_SHARDS = 8
_MATRIX, _PRODUCTS = 8192, 20
_PASSES = 3  # forward, and backward to the weights and to the layer below


def main() -> None:
    """Measure, print a table, end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--tags", type=int, default=1_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--augmentation", default=str(MODERN.augmentation))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak", action="store_true", help="measure the peak speed of the device, too")
    options = parser.parse_args()
    keras = backend.keras
    architecture = Architecture(
        size=options.size,
        tags=options.tags,
        head=MODERN.head,
        features=options.features,
        dropout=0.0,
        pixel_scale=1 / 64,
    )
    augmentation = parse_augmentation(options.augmentation)
    network = build_network(architecture, precision=options.precision)
    model = network.logits
    if augmentation != NO_AUGMENTATION:
        model = augmenting_model(model, augmentation)
    is_jax = keras.backend.backend() == "jax"
    model.compile(keras.optimizers.Adam(1e-5), loss_of(MODERN.loss, None), jit_compile=is_jax)
    ratios, rates, waits = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        samples = draw_samples(options.samples, size=options.size, tags=options.tags)
        dataset = write_samples(
            Path(folder) / "dataset", samples, size=options.size, tags=options.tags, shards=_SHARDS
        )
        for number in range(options.rounds + 1):
            batches = training_batches(
                dataset,
                batch_size=options.batch_size,
                seed=0,
                epoch=number,
                augmentation=augmentation,
            )
            repeated = backend.tf.data.Dataset.from_tensors(next(iter(batches))).repeat(
                options.samples // options.batch_size
            )
            if not number:  # compiles
                _seconds(model, repeated.take(2))
                continue
            wait = InputWait()
            from_memory = _seconds(model, repeated)
            from_shards = _seconds(model, wait.timed(batches))
            ratios.append(from_memory / from_shards)
            rates.append((options.samples / from_memory, options.samples / from_shards))
            waits.append(wait.seconds / from_shards)
            print(f"round {number}: ratio {ratios[-1]:.3f}, input wait {waits[-1]:.2%}", file=sys.stderr)
    ceiling, ours = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio, waited = statistics.median(ratios), statistics.median(waits)
    cores = len(os.sched_getaffinity(0))
    print(
        f"VGG16, {options.size} px, {options.tags:,} tags, batches of {options.batch_size}, "
        f"{options.precision}, {keras.backend.backend()}, {cores} cores"
    )
    print(f"one batch repeated in memory {ceiling:10,.1f} samples/s")
    print(f"from shards                  {ours:10,.1f} samples/s   {ratio:.3f} of the ceiling")
    print(f"input wait {waited:.2%}")
    found: dict[str, Any] = {
        "samples_per_s": round(ours, 1),
        "ratio": round(ratio, 4),
        "wait": round(waited, 5),
    }
    if options.peak:
        flops = _PASSES * forward_flops(model)
        peak = peak_flops(options.precision)
        print(f"{flops / 1e9:.1f} GFLOP a sample and step, {ours * flops / 1e12:.1f} TFLOP/s from shards")
        print(
            f"{ours * flops / peak:.3f} of the {peak / 1e12:.1f} TFLOP/s of a product of {_MATRIX} x {_MATRIX}"
        )
        found |= {"tflops": round(ours * flops / 1e12, 2), "peak_tflops": round(peak / 1e12, 2)}
    print(json.dumps({**vars(options), **found, "rounds": [round(r, 4) for r in ratios]}))


def _seconds(model: Any, batches: Any) -> float:
    begun = time.perf_counter()
    model.fit(batches, epochs=1, verbose=0, shuffle=False)
    return time.perf_counter() - begun


def forward_flops(model: Any) -> int:
    """Operations of one sample in the layers with kernels; a multiplication and an addition count as two."""
    keras = backend.keras
    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)
    ]
    return sum(2 * math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape) for layer in layers)


def peak_flops(precision: str, *, side: int = _MATRIX) -> float:
    """Operations per second in the product of two square matrices."""
    ops = backend.keras.ops
    matrix = ops.cast(backend.keras.random.uniform((side, side), seed=0), precision)
    times = []
    for _ in range(3):  # the first one warms up
        begun = time.perf_counter()
        product = matrix
        for _ in range(_PRODUCTS):
            product = ops.matmul(matrix, product) / side
        float(product[0, 0])
        times.append(time.perf_counter() - begun)
    return 2 * side**3 * _PRODUCTS / min(times[1:])


if __name__ == "__main__":
    main()
