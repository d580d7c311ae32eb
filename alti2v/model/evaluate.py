"""Evaluate a tagger on pictures that it has never seen: run -> `Evaluation`.

Thresholds are tuned on the validation split and applied to the evaluated split. This module makes the
predictions; `evaluation.scoring` scores them, and `report.evaluation` writes the report.
"""

from __future__ import annotations

import platform
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

import alti2v
from alti2v.dataset.explore.file_names import file_names
from alti2v.dataset.manifest import Manifest
from alti2v.dataset.shard_cache import held
from alti2v.errors import DamagedError
from alti2v.model.evaluation.frozen_head import read_frozen_head, score_frozen_head
from alti2v.model.evaluation.metrics import Scores, few_ranked
from alti2v.model.evaluation.predict import (
    CommonTags,
    common_tags,
    dataset_of,
    frequencies_of,
    open_split,
    predict,
)
from alti2v.model.evaluation.result import Evaluation, Thresholds
from alti2v.model.evaluation.scoring import Predictions, fallback_thresholds, score, tune_thresholds
from alti2v.model.loading.fingerprint import model_hash
from alti2v.model.network.precision import choose_precision
from alti2v.model.options.evaluation import EvalConfig
from alti2v.model.saved_model import SavedModel, load_model
from alti2v.model.trained_on import change_since
from alti2v.numerals import counted
from alti2v.records import ProgressHook, ignore_progress
from alti2v.storage.documents import csv_rows, read_text_file
from alti2v.storage.layout import LOG_FILE
from alti2v.storage.publish import make_directory, storage_errors


def evaluate(config: EvalConfig, *, progress: ProgressHook = ignore_progress) -> Evaluation:
    """Evaluate a run.

    Raises:
        UsageError: The run is not finished, or the dataset is missing or does not fit the model.
        DamagedError: The run or the dataset is damaged.
        DataError: The split is empty or has no known tag, or an output of the model is not a probability.
        StorageError: `config.report_dir`, which also holds intermediate results, cannot be written.
    """
    begun_s = time.monotonic()
    precision = choose_precision(config.precision)
    model = load_model(config.run, precision=precision)
    dataset = dataset_of(model, config.run, config.dataset)
    manifest = open_split(dataset, model, split=config.split)
    common = common_tags(model.tags, dataset)
    frequencies = frequencies_of(common.tags, train_samples=model.train_samples)

    def predictions(split: str) -> Iterator[Predictions]:
        return predict(model, dataset, common, split=split, batch_size=config.batch_size, progress=progress)

    thresholds = (
        tune_thresholds(predictions("validation"), tags=common.tags, frequencies=frequencies)
        if manifest.samples("validation")
        else fallback_thresholds(model.threshold, frequencies, model.train_samples)
    )
    make_directory(config.report_dir)
    with storage_errors(config.report_dir), tempfile.TemporaryFile(dir=config.report_dir) as scratch:
        result = score(
            predictions(config.split),
            tags=common.tags,
            frequencies=frequencies,
            thresholds=thresholds,
            min_positives=config.min_positives,
            gallery=config.gallery,
            scratch=scratch,
        )
    shown = [picture.id for picture in result.pictures] + [one.id for one in result.suggestions]
    frozen_head, frozen_notes = _score_frozen_head(config, model, common, manifest, result.min_positives)
    return Evaluation(
        run=config.run,
        dataset=dataset,
        split=config.split,
        tags=common.tags,
        result=result,
        log=_read_log(config.run / LOG_FILE),
        training=model.training,
        frozen_head=frozen_head,
        provenance=_provenance(config, model, dataset, manifest, precision),
        notes=(
            *_notes(config, model, common, dataset, manifest, thresholds),
            *few_ranked(result.overall.model, min_positives=result.min_positives),
            *frozen_notes,
        ),
        seconds=round(time.monotonic() - begun_s, 3),
        file_names=file_names(dataset, held(dataset, manifest.split(config.split)), shown),
    )


def _score_frozen_head(
    config: EvalConfig, model: SavedModel, common: CommonTags, manifest: Manifest, min_positives: int
) -> tuple[Scores | None, tuple[str, ...]]:
    """Score the head on the frozen backbone by the same rules, and note why it is not shown."""
    head = read_frozen_head(config.run, tags=len(model.tags))
    if head is None:
        return None, ()
    if manifest.plan_hash != model.plan_hash:
        return None, (
            "The head on the frozen backbone is not shown: it is stored for the training's dataset only.",
        )
    return (
        score_frozen_head(config.run, head, manifest, common, split=config.split, min_positives=min_positives),
        (),
    )


# How it was made --------------------------------------------------------------------------------


def _read_log(file: Path) -> tuple[Mapping[str, float], ...]:
    """Read the rows of the training log, without cells that are not numbers; empty if there is no log."""
    if not file.is_file():
        return ()
    try:
        return tuple(
            {name: number for name, cell in row.items() if name and (number := _number(cell)) is not None}
            for row in csv_rows(read_text_file(file))
        )
    except ValueError as exc:
        raise DamagedError(f"{file} is not the log of a training ({exc!s:.100}): move it away") from exc


def _number(cell: object) -> float | None:
    try:
        number = float(str(cell))
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _provenance(
    config: EvalConfig, model: SavedModel, dataset: Path, manifest: Manifest, precision: str
) -> Mapping[str, str]:
    command = ["alti2v", "eval", str(config.run), "--dataset", str(dataset), "--split", config.split]
    versions = ", ".join(f"{name} {version(name)}" for name in ("keras", "tensorflow", "numpy"))
    return {
        "command": shlex.join(command),
        "run": str(config.run),
        "recipe": model.recipe,
        "network": f"{model.network.name}, {model.size} px, {counted(len(model.tags), 'tag')}, {precision}",
        "weights": f"SHA-256 {model_hash(config.run)}",
        "trained on": f"{model.train_samples:,} pictures, plan {model.plan_hash}",
        "evaluated on": f"{manifest.samples(config.split):,} pictures of the {config.split} split of {dataset}",
        "plan of that dataset": manifest.plan_hash,
        "split rule": manifest.split_rule,
        "made with": f"alti2v {alti2v.__version__}, Python {platform.python_version()}, {versions}",
    }


def _notes(
    config: EvalConfig,
    model: SavedModel,
    common: CommonTags,
    dataset: Path,
    manifest: Manifest,
    thresholds: Thresholds,
) -> tuple[str, ...]:
    """Warnings about the figures."""
    notes = []
    if config.split == "train":
        notes.append("These are the training pictures: the figures say how well they were memorised.")
    if config.split == "validation":
        notes.append("The thresholds were tuned on these same pictures: F1 is slightly too high.")
    if manifest.plan_hash != model.plan_hash:
        notes.append(_note_of_dataset(config, dataset, manifest, model.plan_hash))
    if len(common.tags) < len(model.tags):
        missing = len(model.tags) - len(common.tags)
        notes.append(f"{missing:,} of the model's tags are not in this dataset and were not evaluated.")
    if not thresholds.images:
        notes.append(f"The threshold is {thresholds.source}.")
    return tuple(notes)


def _note_of_dataset(config: EvalConfig, dataset: Path, manifest: Manifest, plan_hash: str) -> str:
    """Describe how the dataset differs from the training dataset, whose plan is different."""
    change = change_since(dataset, manifest, plan_hash=plan_hash, run=config.run)
    if change is None:
        return "This is not the dataset of the training: some pictures may be in both."
    trained = "" if config.split == "train" else f" No picture of the {config.split} split was trained on."
    return f"Since the training {change} the dataset; nothing else changed.{trained}"
