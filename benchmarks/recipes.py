"""Comparison of recipes in equal processor time: seed, modern and scratch, and single changes to scratch.

On the dataset of `alti2v demo` (drawn illustrations, 32 px, 100 tags), without pretrained weights. Each recipe
gets the number of epochs whose steps take about `--budget` seconds of processor time, rounded up for `seed`;
the changes get one epoch of 75 steps. The table shows the mean over seeds with the lowest and highest value,
the processor time of the steps, and the seconds of the whole, evaluation included. Every finished training is
appended to `--out`; run again, the script continues after them:

    make demo
    python benchmarks/recipes.py demo-out/dataset --out recipes.jsonl [--budget 60] [--seeds 3]
    python benchmarks/recipes.py demo-out/dataset --out recipes.jsonl --table
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.model.evaluation.histograms import add_predictions, empty_histograms
from alti2v.model.evaluation.metrics import average_precisions
from alti2v.model.evaluation.predict import common_tags, predict
from alti2v.model.recipes import (
    HEAD_ONLY,
    MODERN,
    NO_AUGMENTATION,
    RECIPES,
    SCRATCH,
    SEED,
    Head,
    Loss,
    Recipe,
    parse_augmentation,
)
from alti2v.model.saved_model import load_model
from alti2v.model.train import TrainConfig, train
from alti2v.records import Progress, ignore_progress

_PROBED_STEPS = 6
_MIN_POSITIVES = 10  # as in `alti2v eval`
_PLAIN = replace(SCRATCH, augmentation=NO_AUGMENTATION, epochs=1)
_RECIPES: Mapping[str, Recipe] = {"modern": MODERN, "seed": SEED, "scratch": SCRATCH}
_CHANGES: Mapping[str, Recipe] = {
    "scratch, one epoch, no augmentation": _PLAIN,
    "head flattened": replace(_PLAIN, head=Head.FLATTENED),
    "loss mean": replace(_PLAIN, loss=Loss.MEAN),
    "loss asymmetric": replace(_PLAIN, loss=Loss.ASYMMETRIC),
    "trunk frozen": replace(_PLAIN, train_from=HEAD_ONLY),
    "flip, shift 0.05": replace(_PLAIN, augmentation=SCRATCH.augmentation),
    "flip, crop 0.13, kernels": replace(_PLAIN, augmentation=parse_augmentation("flip,crop=0.13,kernels")),
    "mixup 0.8": replace(_PLAIN, augmentation=parse_augmentation("mixup=0.8")),
    "frozen before block4": replace(_PLAIN, train_from="block4_conv1"),
    "features 512": replace(_PLAIN, features=512),
    "no prior bias": replace(_PLAIN, prior_bias=False),
    "no standardised start": replace(_PLAIN, standardised_start=False),
    "rotation 10, cutout 0.1": replace(_PLAIN, augmentation=parse_augmentation("rotation=10,cutout=0.1")),
}


class _EnoughError(Exception):
    """End a training whose steps have been measured."""


def main() -> None:
    """Train what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, default=Path("recipes.jsonl"))
    parser.add_argument("--budget", type=float, default=60.0, help="processor time of each recipe, seconds")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="names of the rows to train, as the table prints them")
    parser.add_argument("--table", action="store_true", help="print the table only")
    options = parser.parse_args()
    rows = _read(options.out)
    if not options.table:
        _train_all(options, rows)
    _print(rows)


def _train_all(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    epochs: dict[str, int] = {row["name"]: row["epochs"] for row in rows}
    todo = [(name, recipe, seed) for seed in range(options.seeds) for name, recipe in _RECIPES.items()]
    todo += [(name, recipe, seed) for name, recipe in _CHANGES.items() for seed in range(options.seeds)]
    done = {(row["name"], row["seed"]) for row in rows}
    for name, recipe, seed in todo:
        if (name, seed) in done or (options.only and name not in options.only):
            continue
        if name in _RECIPES and name not in epochs:
            epochs[name] = _epochs(options.dataset, name, recipe, options.budget)
        row = _measure(options.dataset, name, replace(recipe, epochs=epochs.get(name, recipe.epochs)), seed)
        rows.append(row)
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def _epochs(dataset: Path, name: str, recipe: Recipe, budget_s: float) -> int:
    """Number of epochs that the budget allows, at least one."""
    spent = _Spent(_PROBED_STEPS)
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(RECIPES, {name: recipe}),
        contextlib.suppress(_EnoughError),
    ):
        train(_config(dataset, Path(folder) / "run", name, 0), progress=spent.after_step)
    affordable = budget_s / (spent.per_step_s * spent.total / recipe.epochs)
    return max(1, math.ceil(affordable) if name == "seed" else math.floor(affordable))


def _measure(dataset: Path, name: str, recipe: Recipe, seed: int) -> dict[str, Any]:
    begun = time.perf_counter()
    spent = _Spent()
    with tempfile.TemporaryDirectory() as folder, patch.dict(RECIPES, {name: recipe}):
        run = Path(folder) / "run"
        report = train(_config(dataset, run, name, seed), progress=spent.after_step)
        mean_ap = _test_map(run, dataset)
    return {
        "name": name,
        "seed": seed,
        "map": round(mean_ap, 4),
        "epochs": recipe.epochs,
        "steps": report.steps,
        "parameters": report.parameters,
        "cpu_s": round(spent.per_step_s * report.steps, 1),
        "wall_s": round(time.perf_counter() - begun, 1),
    }


def _config(dataset: Path, run: Path, name: str, seed: int) -> TrainConfig:
    return TrainConfig(
        dataset=dataset,
        run=run,
        recipe=name,
        weights="none",
        seed=seed,
        validate_every=1_000,
        checkpoint_s=1e9,
    )


class _Spent:
    """Processor time of steps, without the first, which compiles."""

    def __init__(self, enough: int | None = None) -> None:
        self._enough = enough
        self._first = self._last = 0.0
        self._steps = self.total = 0

    @property
    def per_step_s(self) -> float:
        """Processor time per step, seconds."""
        return (self._last - self._first) / (self._steps - 1)

    def after_step(self, progress: Progress) -> None:
        """Note the time after a step; a progress hook."""
        if progress.stage != "training" or progress.milestone:
            return
        self._last, self._steps, self.total = time.process_time(), progress.done, progress.total or 0
        if progress.done == 1:
            self._first = self._last
        if self._steps == self._enough:
            raise _EnoughError


def _test_map(run: Path, dataset: Path) -> float:
    model = load_model(run)
    common = common_tags([model.tags], dataset)
    histograms = empty_histograms(len(common.tags))
    positives = np.zeros(len(common.tags), np.int64)
    for part in predict(model, dataset, common, split="test", batch_size=64, progress=ignore_progress):
        add_predictions(histograms, part.probabilities, part.labels)
        positives += part.labels.sum(axis=0, dtype=np.int64)
    return float(np.mean(average_precisions(histograms)[0][positives >= _MIN_POSITIVES]))


def _read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    print("| | test mAP | lowest - highest | seeds | epochs | steps | CPU s | s | parameters |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name in (*_RECIPES, *_CHANGES):
        own = [row for row in rows if row["name"] == name]
        if not own:
            continue
        maps = [row["map"] for row in own]
        print(
            f"| {name} | {statistics.mean(maps):.3f} | {min(maps):.3f} - {max(maps):.3f} | {len(own)} "
            f"| {own[0]['epochs']} | {own[0]['steps']} | {statistics.mean(row['cpu_s'] for row in own):.0f} "
            f"| {statistics.mean(row['wall_s'] for row in own):.0f} | {own[0]['parameters']:,} |"
        )


if __name__ == "__main__":
    main()
