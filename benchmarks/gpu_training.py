"""Ways to get more out of a device: batch, layout, compiler flags, recomputation, and the price of each block.

Every variant is a process of its own that trains VGG16 on one batch repeated in memory, and reports samples per
second and the share of a large matrix product's speed in the same precision. Each changes one thing.
`blocks` trains with the first blocks frozen, which tells what each costs. Variants that do not start on this
device are listed with the reason. The best becomes the default only if it is the best twice:

    KERAS_BACKEND=jax python benchmarks/gpu_training.py                     on a GPU, about ten minutes
    python benchmarks/gpu_training.py --size 32 --batch-size 16 --tags 100  on a processor, to try the script
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.model import backend
from alti2v.model.network.build import Architecture, build_network, freeze_before
from alti2v.model.network.losses import loss_of
from alti2v.model.options.choices import TRUNK_LAYERS
from alti2v.model.recipes import MODERN
from benchmarks.training import forward_flops, peak_flops

_PASSES = 3  # forward, and backward to the weights and to the layer below
_STEPS = 20
_LEAST_S = 3.0
_LARGE, _SMALL = 8_192, 1_024  # sides of the matrices: a processor would take minutes for the large ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to train.

    Attributes:
        batch: Factor of the batch size.
        flags: XLA's flags.
        recomputes: True to compute activations again in the backward pass instead of keeping them.
        has_xla: True to compile with XLA; False for the library's own kernels.
        train_from: First layer that learns.
    """

    batch: float = 1.0
    flags: str = ""
    recomputes: bool = False
    has_xla: bool = True
    train_from: str = "block1_conv1"


_VARIANTS: Mapping[str, Variant] = {
    "as it is": Variant(),
    "half the batch": Variant(batch=0.5),
    "twice the batch": Variant(batch=2.0),
    "four times the batch": Variant(batch=4.0),
    "layout: channels first": Variant(flags="--xla_gpu_force_conv_nchw=true"),
    "layout: channels last": Variant(flags="--xla_gpu_force_conv_nhwc=true"),
    "activations recomputed, twice the batch": Variant(recomputes=True, batch=2.0),
    "without XLA": Variant(has_xla=False),
    "latency hiding": Variant(flags="--xla_gpu_enable_latency_hiding_scheduler=true"),
    "autotuning 4": Variant(flags="--xla_gpu_autotune_level=4"),
    "command buffers off": Variant(flags="--xla_gpu_enable_command_buffer="),
    "bias and ReLU not fused into convolutions": Variant(
        flags="--xla_disable_hlo_passes=cudnn-fused-convolution-rewriter"
    ),
    "blocks: from block2": Variant(train_from="block2_conv1"),
    "blocks: from block3": Variant(train_from="block3_conv1"),
    "blocks: from block4": Variant(train_from="block4_conv1"),
    "blocks: from block5": Variant(train_from="block5_conv1"),
}


def main() -> None:
    """Measure each variant, print a table, end with one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--tags", type=int, default=5_000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--only", nargs="+", default=list(_VARIANTS), choices=_VARIANTS, metavar="VARIANT")
    parser.add_argument("--seconds", type=float, default=120.0, help="limit of each variant")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone is not None:
        print(json.dumps(_measure(options, _VARIANTS[options.alone])))
        return
    found = {}
    print("| | batch | samples/s | TFLOP/s | share of a product |\n|---|---:|---:|---:|---:|")
    for name in options.only:
        found[name] = _alone(name, options.seconds)
        if "error" in found[name]:
            print(f"| {name} | | {found[name]['error']} | | |", flush=True)
            continue
        figures = "{batch:.0f} | {samples_per_s:,.1f} | {tflops:.2f}".format(**found[name])
        # Frozen blocks are not passed backward: their share of a product says nothing.
        is_whole = _VARIANTS[name].train_from == "block1_conv1"
        share = f"{float(found[name]['share']):.3f}" if is_whole else ""
        print(f"| {name} | {figures} | {share} |", flush=True)
    variants = {name: asdict(_VARIANTS[name]) for name in found}
    print(json.dumps({**vars(options), "variants": variants, "found": found}))


def _alone(name: str, limit_s: float) -> dict[str, float | str]:
    """Measure a variant in a separate process, because flags are read once."""
    variant = _VARIANTS[name]
    flags = f"{os.environ.get('XLA_FLAGS', '')} {variant.flags}".strip()
    environment = {**os.environ, "XLA_FLAGS": flags, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, *sys.argv, "--alone", name]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"more than {limit_s:.0f} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        reason = next((line for line in reversed(lines) if "Error" in line), lines[-1])
        return {"error": reason[:100].replace("|", "/")}
    found: dict[str, float | str] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measure(options: argparse.Namespace, variant: Variant) -> dict[str, float]:
    keras = backend.keras
    batch = max(1, round(options.batch_size * variant.batch))
    architecture = Architecture(
        size=options.size,
        tags=options.tags,
        head=MODERN.head,
        features=MODERN.features,
        dropout=0.0,
        pixel_scale=1 / 64,
    )
    if variant.recomputes:
        # Not all layers: Keras 3.15 passes the inputs of Concatenate as a tuple then, which it refuses.
        with keras.RematScope(mode="list_of_layers", layer_names=list(TRUNK_LAYERS)):
            network = build_network(architecture, precision=options.precision)
    else:
        network = build_network(architecture, precision=options.precision)
    freeze_before(network, variant.train_from)
    model = network.logits
    is_cpu = keras.backend.backend() == "tensorflow" and not backend.tf.config.list_physical_devices("GPU")
    model.compile(
        keras.optimizers.Adam(1e-5), loss_of(MODERN.loss, None), jit_compile=variant.has_xla and not is_cpu
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, options.size, options.size, 3), np.uint8)
    labels = (rng.random((batch, options.tags)) < 0.01).astype(np.float32)
    repeated = backend.tf.data.Dataset.from_tensors((images, labels))
    model.fit(repeated.repeat(2), epochs=1, verbose=0)  # compiles
    steps, spent_s = 0, 0.0
    while spent_s < _LEAST_S:
        begun = time.perf_counter()
        model.fit(repeated.repeat(_STEPS), epochs=1, verbose=0)
        steps, spent_s = steps + _STEPS, spent_s + time.perf_counter() - begun
    rate = steps * batch / spent_s
    flops = _PASSES * forward_flops(model) * rate
    product = peak_flops(options.precision, side=_SMALL if is_cpu else _LARGE)
    return {"batch": batch, "samples_per_s": rate, "tflops": flops / 1e12, "share": flops / product}


if __name__ == "__main__":
    main()
