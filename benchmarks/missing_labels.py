"""Training with incomplete tags, with and without soft labels: some training labels are removed at random.

The features of the frozen backbone are computed once. For each seed, a head is trained on all labels and on
those that are left, each with and without soft labels. Figures are of the test split, which keeps its labels:

    python benchmarks/missing_labels.py DATASET WEIGHTS OUT [--seeds 3] [--missing 0.2]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.arrays import sigmoid
from alti2v.dataset.manifest import read_manifest, read_vocabulary
from alti2v.model.evaluation.frozen_head import stored_features
from alti2v.model.evaluation.histograms import Histograms, add_predictions, empty_histograms, pool
from alti2v.model.evaluation.metrics import equal_precision_recall_threshold, score_tags, summarise
from alti2v.model.network.build import load_trunk
from alti2v.model.network.cut import cut
from alti2v.model.options.training import TrainConfig
from alti2v.model.training.compiled_model import build_for
from alti2v.model.training.features.batches import read_features
from alti2v.model.training.features.files import feature_file
from alti2v.model.training.frozen_head import compute_head_features, fit_head, head_epochs
from alti2v.model.training.job import Job
from alti2v.model.training.settings import resolve_settings
from alti2v.model.training.soft_labels import compute_soft_labels
from alti2v.records import ignore_progress
from alti2v.storage.layout import SPLITS
from alti2v.storage.publish import make_directory

_LEAST_POSITIVES = 10
_COLUMNS = ("test mAP", "mAP of all tags", "validation mAP of all tags", "micro F1", "macro F1", "CPU s")
Figures = Sequence[float]


def main() -> None:
    """Compute the features, train the heads, print each and the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("weights")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--missing", type=float, default=0.2)
    options = parser.parse_args()
    pictures = _job(options.dataset, options.out / "pictures", seed=0)
    network = build_for(pictures)
    load_trunk(network, options.weights)
    compute_head_features(pictures, network, splits=SPLITS, progress=ignore_progress)
    print(f"| labels | seed | {' | '.join(_COLUMNS)} |\n|---|---|{'---:|' * len(_COLUMNS)}")
    rows: dict[str, list[Figures]] = {}
    for seed in range(options.seeds):
        for name, missing, is_soft in (
            ("all", 0.0, False),
            ("all, soft labels", 0.0, True),
            (f"{options.missing:.0%} missing", options.missing, False),
            (f"{options.missing:.0%} missing, soft labels", options.missing, True),
        ):
            job = _job(options.dataset, options.out / f"{seed}-{missing:g}-{is_soft}", seed=seed, soft=is_soft)
            _copy_features(pictures, job, missing=missing)
            figures = _trained(job)
            rows.setdefault(name, []).append(figures)
            print(f"| {name} | {seed} | {' | '.join(f'{figure:.3f}' for figure in figures)} |", flush=True)
    for name, found in rows.items():
        means = [statistics.mean(column) for column in zip(*found, strict=True)]
        print(f"| {name} | mean | {' | '.join(f'{figure:.3f}' for figure in means)} |")


def _job(dataset: Path, run: Path, *, seed: int, soft: bool = False) -> Job:
    """Make the job of a head on the frozen backbone."""
    manifest = read_manifest(dataset)
    config = TrainConfig(
        dataset=dataset,
        run=run,
        weights="imagenet",
        seed=seed,
        train_from="head",
        cache_features=True,
        soft_labels=soft,
    )
    return Job(
        run=run,
        settings=resolve_settings(config, manifest, devices=1),
        manifest=manifest,
        tags=read_vocabulary(dataset),
        validate_every=1,
        patience=None,
        checkpoint_s=300,
        keep=1,
    )


def _copy_features(pictures: Job, job: Job, *, missing: float) -> None:
    """Copy the stored features to another run, without some of the training labels."""
    draws = np.random.default_rng(job.settings.seed)
    make_directory(feature_file(job, job.manifest.shards[0], "head").parent)
    for shard in job.manifest.shards:
        table = read_features(pictures, shard)
        if shard.name.split == "train":
            labels = [
                [label for label in row if draws.random() >= missing] for row in table["labels"].to_pylist()
            ]
            place = table.schema.get_field_index("labels")
            table = table.set_column(place, "labels", pa.array(labels, pa.list_(pa.int32())))
        pq.write_table(table, feature_file(job, shard, "head"), write_page_checksum=True)


def _trained(job: Job) -> Figures:
    """Train a head, and score it."""
    begun_s = time.process_time()
    network = build_for(job)
    if job.soft_labels is not None:
        compute_soft_labels(job, network, progress=ignore_progress)
    model = cut(network).head
    for _ in fit_head(model, job, epochs=head_epochs(job.train_samples)):
        pass
    cpu_s = time.process_time() - begun_s
    counted = {split: _counted(job, model, split) for split in ("validation", "test")}
    threshold = equal_precision_recall_threshold(pool(counted["validation"]))
    scores = {
        (split, least): summarise(found, score_tags(found, threshold=threshold), min_positives=least)
        for split, found in counted.items()
        for least in (1, _LEAST_POSITIVES)
    }
    test, test_of_all = scores["test", _LEAST_POSITIVES], scores["test", 1]
    validation = scores["validation", 1]
    figures = (test.mean_ap, test_of_all.mean_ap, validation.mean_ap, test.f1, test.macro_f1, cpu_s)
    return [float("nan") if figure is None else figure for figure in figures]


def _counted(job: Job, model: Any, split: str) -> Histograms:
    histograms = empty_histograms(len(job.tags))
    for shard in job.manifest.split(split):
        file = feature_file(job, shard, "head")
        for features, labels in stored_features(file, rows=shard.samples, tags=len(job.tags)):
            logits = np.asarray(model.predict_on_batch(features), np.float32)
            add_predictions(histograms, sigmoid(logits), labels)
    return histograms


if __name__ == "__main__":
    main()
