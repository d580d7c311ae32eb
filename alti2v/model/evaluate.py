"""Judge a tagger on pictures that it has never seen: run -> `Evaluation`.

The thresholds are found on the validation split and applied to the split that is judged. Here a dataset and a
network become predictions; `judging` says what they are worth, `report.evaluation` writes it down.
"""

from __future__ import annotations

import csv
import platform
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

import alti2v
from alti2v.dataset.manifest import Manifest
from alti2v.errors import UsageError
from alti2v.model.evaluation.predict import CommonTags, common_tags, dataset_of, open_split, predict
from alti2v.model.evaluation.result import Evaluation, Thresholds
from alti2v.model.evaluation.scoring import Predictions, fallback_thresholds, score, tune_thresholds
from alti2v.model.fingerprint import model_hash
from alti2v.model.saved_model import SavedModel, load_model
from alti2v.records import ProgressHook, ignore_progress
from alti2v.storage.layout import EVALUATION_DIR, LOG_FILE, SPLITS
from alti2v.storage.publish import make_directory, storage_errors


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """What to judge.

    Attributes:
        run: directory of a finished run.
        dataset: another dataset than the one that the run was trained on; tags are matched by name.
        split: what to judge on, one of `SPLITS`.
        out: directory of the report; None for RUN/eval.
        batch_size: pictures at a time, > 0.
        min_positives: positive pictures that a tag needs for a place in the mean of average precisions, > 0.
        gallery: how many pictures to show of each kind (see `gallery.Pick`), and suggested tags.
    """

    run: Path
    dataset: Path | None = None
    split: str = "test"
    out: Path | None = None
    batch_size: int = 64
    min_positives: int = 10
    gallery: int = 9

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise UsageError(f"--split {self.split!r} is none of {', '.join(SPLITS)}")
        for name in ("batch_size", "min_positives", "gallery"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)} is less than 1")

    @property
    def report_dir(self) -> Path:
        """Where the report goes."""
        return self.run / EVALUATION_DIR if self.out is None else self.out


def evaluate(config: EvalConfig, *, progress: ProgressHook = ignore_progress) -> Evaluation:
    """Judge a run.

    Raises:
        UsageError: no finished run, no such dataset, or one that does not fit the model.
        DamagedError: the run or the dataset is damaged.
        DataError: the split is empty or without known tags, or the model's output is no probability.
        StorageError: `config.report_dir` cannot be written to; intermediate results go there.
    """
    begun_s = time.monotonic()
    model = load_model(config.run)
    dataset = dataset_of(model, config.run, config.dataset)
    manifest = open_split(dataset, model, split=config.split)
    common = common_tags([model.tags], dataset)
    frequencies = np.clip([tag.count / model.train_samples for tag in common.tags], 0.0, 1.0)

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
    return Evaluation(
        run=config.run,
        dataset=dataset,
        split=config.split,
        tags=common.tags,
        result=result,
        log=_read_log(config.run / LOG_FILE),
        training=model.training,
        provenance=_provenance(config, model, dataset, manifest),
        notes=_notes(config, model, common, manifest, thresholds),
        seconds=round(time.monotonic() - begun_s, 3),
    )


# How it was made --------------------------------------------------------------------------------


def _read_log(file: Path) -> tuple[Mapping[str, float], ...]:
    """Rows of the training log; cells that are no number are left out. Empty if there is no log."""
    if not file.is_file():
        return ()
    with file.open(encoding="utf-8", newline="") as lines:
        return tuple(
            {name: number for name, cell in row.items() if (number := _number(cell)) is not None}
            for row in csv.DictReader(lines)
        )


def _number(cell: object) -> float | None:
    try:
        number = float(str(cell))
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _provenance(config: EvalConfig, model: SavedModel, dataset: Path, manifest: Manifest) -> Mapping[str, str]:
    command = ["alti2v", "eval", str(config.run), "--dataset", str(dataset), "--split", config.split]
    versions = ", ".join(f"{name} {version(name)}" for name in ("keras", "tensorflow", "numpy"))
    return {
        "command": shlex.join(command),
        "run": str(config.run),
        "recipe": model.recipe,
        "network": f"{model.network.name}, {model.size} px, {len(model.tags):,} tags",
        "weights": f"SHA-256 {model_hash(config.run)}",
        "trained on": f"{model.train_samples:,} pictures, plan {model.plan_hash}",
        "judged on": f"{manifest.samples(config.split):,} pictures of the {config.split} split of {dataset}",
        "plan of that dataset": manifest.plan_hash,
        "split rule": manifest.split_rule,
        "made with": f"alti2v {alti2v.__version__}, Python {platform.python_version()}, {versions}",
    }


def _notes(
    config: EvalConfig, model: SavedModel, common: CommonTags, manifest: Manifest, thresholds: Thresholds
) -> tuple[str, ...]:
    """What a reader should know before believing the figures."""
    notes = []
    if config.split == "train":
        notes.append("These are the training pictures: the figures say how well they were learnt by heart.")
    if config.split == "validation":
        notes.append("The thresholds were found on these very pictures: F1 is a little too good.")
    if manifest.plan_hash != model.plan_hash:
        notes.append(
            "This is not the dataset of the training: pictures may be in both, nobody kept them apart."
        )
    if len(common.tags) < len(model.tags):
        missing = len(model.tags) - len(common.tags)
        notes.append(f"{missing:,} of the model's tags are not in this dataset and were not judged.")
    if not thresholds.images:
        notes.append(f"The threshold is {thresholds.source}.")
    return tuple(notes)
