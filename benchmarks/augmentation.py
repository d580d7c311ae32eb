r"""Price of each augmentation in a training step: `model.fit` on one batch in memory, with it and without.

Network, precision and batch size are the same. Rounds alternate, so that a busy machine slows all rows; a ratio
is the median over rounds of the ratio within a round, of processor seconds where the processor trains, and of
seconds elsewhere. On two cores, and on a GPU:

    python benchmarks/augmentation.py
    KERAS_BACKEND=jax python benchmarks/augmentation.py --size 224 --batch-size 256 --tags 5000 --steps 50
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.model import backend
from alti2v.model.data.changes import changes_of, drawn
from alti2v.model.network.augment import augmenting_model
from alti2v.model.network.build import Architecture, Network, build_network
from alti2v.model.network.losses import loss_of
from alti2v.model.options.choices import PRECISIONS
from alti2v.model.recipes import MODERN, parse_augmentation
from alti2v.model.training.cost.memory import trains_on_cpu

_STEPS = ("flip", "rotation=10", "shift=0.05", "crop=0.13", "kernels,crop=0.13", "cutout=0.1", "mixup=0.8")
_ALL_STEPS = "flip,rotation=10,shift=0.05,crop=0.13,kernels,cutout=0.1,mixup=0.8"
_PLAIN = "none"


def main() -> None:
    """Measure, print a table, end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--tags", type=int, default=1_000)
    parser.add_argument("--features", type=int, default=4096)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--precision", choices=PRECISIONS, default="bfloat16")
    parser.add_argument("--steps", type=int, default=3, help="training steps in a measurement")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    architecture = Architecture(
        size=options.size,
        tags=options.tags,
        head=MODERN.head,
        features=options.features,
        dropout=0.0,
        pixel_scale=1 / 64,
    )
    network = build_network(architecture, precision=options.precision)
    clock = time.process_time if trains_on_cpu() else time.perf_counter
    rows = {name: _training(network, name, options.batch_size) for name in (_PLAIN, *_STEPS, _ALL_STEPS)}
    for fit in rows.values():
        fit(1)  # compiles
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for number in range(options.rounds):
        for name, fit in rows.items():
            begun_s = clock()
            fit(options.steps)
            seconds[name].append(clock() - begun_s)
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    ratios = {
        name: statistics.median(own / plain for own, plain in zip(found, seconds[_PLAIN], strict=True))
        for name, found in seconds.items()
    }
    step_s = statistics.median(seconds[_PLAIN]) / options.steps
    print(f"a step of {options.batch_size} pictures of {options.size} px, {options.precision}: {step_s:.3f} s")
    for name, ratio in ratios.items():
        print(f"{name:<75} {ratio:.3f} of a step without")
    print(
        json.dumps({**vars(options), "step_s": round(step_s, 4), **{k: round(v, 4) for k, v in ratios.items()}})
    )


def _training(network: Network, name: str, batch_size: int) -> Callable[[int], None]:
    """Compile the training behind one augmentation; returns a function that takes a number of steps."""
    tf, keras = backend.tf, backend.keras
    architecture, what = network.architecture, parse_augmentation(name)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch_size, architecture.size, architecture.size, 3), np.uint8)
    labels = (rng.random((batch_size, architecture.tags)) < 0.01).astype(np.float32)
    inputs: Any = images
    model = network.logits
    if name != _PLAIN:
        draws = tf.stack([drawn(tf.constant(n, tf.int64), seed=0, alpha=what.mixup) for n in range(batch_size)])
        changes = changes_of(
            draws,
            tf.fill([batch_size], value=True),
            tf.ones(batch_size),
            what=what,
            size=architecture.size,
            first_row=0,
        )
        inputs, model = (images, changes.numpy()), augmenting_model(network.logits, what)
    model.compile(
        keras.optimizers.Adam(1e-5),
        loss_of(MODERN.loss, None),
        jit_compile=keras.backend.backend() == "jax",
    )
    batches = tf.data.Dataset.from_tensors((inputs, labels)).repeat()

    def fit(steps: int) -> None:
        model.fit(batches, steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False)

    return fit


if __name__ == "__main__":
    main()
