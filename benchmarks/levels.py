"""A head on the frozen backbone, by the blocks whose outputs it sees.

The averages, deviations and maxima of the outputs of VGG16's five blocks over all positions are computed once;
then a head as in `training.frozen_head` is trained on each combination. The head is the recipe's: 20 epochs in
batches of 128 at 1e-3. Figures are of the test split; mAP is over the tags with at least 10 pictures there:

    python benchmarks/levels.py DATASET WEIGHTS [--seeds 1]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.dataset.manifest import read_manifest
from alti2v.model import backend
from alti2v.model.data.pipeline import evaluation_batches
from alti2v.model.evaluation.histograms import add_predictions, empty_histograms, pool
from alti2v.model.evaluation.metrics import equal_precision_recall_threshold, score_tags, summarise
from alti2v.model.network.build import Architecture, build_network, load_trunk
from alti2v.model.recipes import Head

_EPOCHS, _BATCH_SIZE, _RATE, _DECAY, _UNITS = 20, 128, 1e-3, 5e-3, 4096
_LEAST_POSITIVES = 10
_EPSILON = 1e-3  # of Keras' LayerNormalization
# Block and statistic: m for the mean, s for the standard deviation, x for the maximum.
_ROWS: Mapping[str, Sequence[str]] = {
    "5": ("5m",),
    "4": ("4m",),
    "4, 5": ("4m", "5m"),
    "3, 4, 5": ("3m", "4m", "5m"),
    "1 to 5": ("1m", "2m", "3m", "4m", "5m"),
    "3, 4, 5, means and deviations": ("3m", "4m", "5m", "3s", "4s", "5s"),
    "3, 4, 5, means and maxima": ("3m", "4m", "5m", "3x", "4x", "5x"),
}
Numbers = Mapping[str, npt.NDArray[np.float32]]  # statistic of a block, or "labels" -> (N, C)


def main() -> None:
    """Compute the statistics, train the heads, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("weights")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    splits = {split: _statistics(options.dataset, split, options.weights) for split in ("train", "test")}
    print("| blocks | seed | test mAP | micro F1 | macro F1 | CPU s |\n|---|---:|---:|---:|---:|---:|")
    for name, parts in _ROWS.items():
        for seed in range(options.seeds):
            figures = _trained(splits["train"], splits["test"], parts, seed=seed)
            print(
                f"| {name} | {seed} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |", flush=True
            )


def _statistics(dataset: Path, split: str, weights: str) -> Numbers:
    """Mean, deviation and maximum of every block's output for the pictures of a split, and their labels."""
    keras, ops = backend.keras, backend.keras.ops
    size = read_manifest(dataset).image.size
    network = build_network(
        Architecture(size=size, tags=1, head=Head.POOLED, features=1, dropout=0.0), precision="bfloat16"
    )
    load_trunk(network, weights)
    outputs = {}
    for block in range(1, 6):
        maps = ops.cast(network.trunk.get_layer(f"block{block}_pool").output, "float32")
        for letter, statistic in (("m", ops.mean), ("s", ops.std), ("x", ops.max)):
            outputs[f"{block}{letter}"] = statistic(maps, axis=(1, 2))
    model = keras.Model(network.trunk.input, outputs)
    rows: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in (*outputs, "labels")}
    for batch in evaluation_batches(dataset, split=split, batch_size=64):
        for name, values in model.predict_on_batch(batch.images).items():
            rows[name].append(np.asarray(values)[: batch.count])
        rows["labels"].append(batch.labels[: batch.count])
    return {name: np.concatenate(parts).astype(np.float32) for name, parts in rows.items()}


def _trained(train: Numbers, test: Numbers, parts: Sequence[str], *, seed: int) -> tuple[float, ...]:
    """Train a head on some statistics; return its mAP, micro F1, macro F1 and processor seconds."""
    keras = backend.keras
    keras.utils.set_random_seed(seed)
    begun_s = time.process_time()
    features, labels = _normalised(train, parts), train["labels"]
    frequencies = (labels.sum(axis=0) + 1) / (len(labels) + 2)
    numbers = keras.Input((features.shape[1],))
    units = keras.layers.Dense(_UNITS, activation="relu", kernel_initializer="he_normal")(numbers)
    last = keras.layers.Dense(
        labels.shape[1], activation="sigmoid", kernel_initializer=keras.initializers.RandomNormal(stddev=0.01)
    )
    model = keras.Model(numbers, last(units))
    last.bias.assign(np.log(frequencies / (1 - frequencies)))
    steps = _EPOCHS * -(-len(features) // _BATCH_SIZE)
    optimizer = keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(_RATE, steps, alpha=0.01), weight_decay=_DECAY
    )
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    tags = labels.shape[1]
    model.compile(optimizer, loss=lambda y, p: tags * keras.losses.binary_crossentropy(y, p))  # summed
    model.fit(features, labels, batch_size=_BATCH_SIZE, epochs=_EPOCHS, verbose=0)
    predicted = np.asarray(model.predict(_normalised(test, parts), verbose=0), np.float32)
    histograms = empty_histograms(tags)
    add_predictions(histograms, predicted, test["labels"].astype(np.uint8))
    threshold = equal_precision_recall_threshold(pool(histograms))
    scores = summarise(histograms, score_tags(histograms, threshold=threshold), min_positives=_LEAST_POSITIVES)
    found = (scores.mean_ap, scores.f1, scores.macro_f1)
    return (*(float("nan") if figure is None else figure for figure in found), time.process_time() - begun_s)


def _normalised(numbers: Numbers, parts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Join the statistics of each picture, each normalised over its channels: (N, C)."""
    joined = []
    for part in parts:
        centred = numbers[part] - numbers[part].mean(axis=1, keepdims=True)
        joined.append(centred / np.sqrt(numbers[part].var(axis=1, keepdims=True) + _EPSILON))
    return np.concatenate(joined, axis=1).astype(np.float32)


if __name__ == "__main__":
    main()
