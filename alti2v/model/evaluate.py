"""Judge a tagger on pictures that it has never seen: run -> `Evaluation`.

The thresholds are found on the validation split and applied to the split that is judged. Both splits stream by
once, in memory that depends on the number of tags, not of pictures. `report.evaluation` writes the results.
"""

from __future__ import annotations

import csv
import platform
import shlex
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

import alti2v
from alti2v.dataset.manifest import Manifest, read_manifest, read_vocabulary
from alti2v.errors import DataError, UsageError
from alti2v.model.bundle import Bundle, load_bundle
from alti2v.model.evaluation import Evaluation, Group, Thresholds
from alti2v.model.gallery import Shortlists, offer, pictures, suggestions
from alti2v.model.histograms import (
    Floats,
    Histograms,
    add_predictions,
    constant_histograms,
    empty_histograms,
)
from alti2v.model.input import Batch, evaluation_batches
from alti2v.model.intervals import Codes, encode, headline_intervals
from alti2v.model.metrics import (
    Mask,
    TagScores,
    best_thresholds,
    equal_precision_recall_threshold,
    pool,
    precision_recall_curve,
    reliability,
    score_tags,
    skill,
    summarise,
)
from alti2v.records import Category, Progress, ProgressHook, Tag, ignore_progress
from alti2v.storage.layout import EVALUATION_DIR, LOG_FILE, SPLITS
from alti2v.storage.publish import make_directory, storage_errors

_FIXED_THRESHOLD = 0.5
_CODE_ROWS = 256  # pictures at a time when the codes are read back: 2.5 MB at 5000 tags


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
        gallery: how many pictures to show of each kind (random, most wrong, best), and suggested tags.
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


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """The common tags: where they are among the model's outputs and among the dataset's labels, (T,) each."""

    tags: tuple[Tag, ...]
    outputs: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Predicted:
    """A batch without padding: (B, S, S, 3), (B, T), (B,), (B, T)."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    ids: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]


def evaluate(config: EvalConfig, *, progress: ProgressHook = ignore_progress) -> Evaluation:
    """Judge a run.

    Raises:
        UsageError: no finished run, no such dataset, or one that does not fit the model.
        DamagedError: the run or the dataset is damaged.
        DataError: the split is empty or without known tags, or the model's output is no probability.
        StorageError: `config.report_dir` cannot be written to; intermediate results go there.
    """
    begun_s = time.monotonic()
    bundle = load_bundle(config.run)
    dataset = _dataset_of(config, bundle)
    manifest = _open(dataset, bundle, split=config.split)
    vocabulary = _common_tags(bundle, dataset)
    frequencies = np.clip([tag.count / bundle.train_samples for tag in vocabulary.tags], 0.0, 1.0)

    def predict(split: str) -> Iterator[_Predicted]:
        batches = evaluation_batches(dataset, split=split, batch_size=config.batch_size)
        predicted = _predictions(bundle, vocabulary, batches)
        return _counted(predicted, stage=f"judging {split}", total=manifest.samples(split), hook=progress)

    thresholds = (
        _found_thresholds(predict("validation"), frequencies)
        if manifest.samples("validation")
        else _assumed_thresholds(bundle, frequencies)
    )
    shortlists = Shortlists(threshold=thresholds.model, size=config.gallery)
    make_directory(config.report_dir)
    with storage_errors(config.report_dir), tempfile.TemporaryFile(dir=config.report_dir) as codes:
        histograms = _judge(predict(config.split), codes, shortlists, tags=len(vocabulary.tags))
        judged = _score(histograms, frequencies, thresholds, min_positives=config.min_positives)
        groups = tuple(_group(judged, *group) for group in _groups_of(vocabulary.tags))
        intervals = headline_intervals(
            _read_codes(codes, tags=len(vocabulary.tags)),
            histograms,
            scores=groups[0].model,
            tag_scores=judged.tag_scores,
            min_positives=judged.min_positives,
            threshold=thresholds.model,
            frequencies=frequencies,
        )
    return Evaluation(
        run=config.run,
        dataset=dataset,
        split=config.split,
        images=histograms.images,
        tags=vocabulary.tags,
        frequencies=frequencies,
        thresholds=thresholds,
        min_positives=judged.min_positives,
        groups=groups,
        intervals=intervals,
        tag_scores=judged.tag_scores,
        baseline_scores=judged.baseline_scores,
        baseline_curve=precision_recall_curve(pool(judged.baseline)),
        pictures=pictures(shortlists),
        suggestions=suggestions(shortlists),
        log=_read_log(config.run / LOG_FILE),
        training=bundle.training,
        provenance=_provenance(config, bundle, dataset, manifest),
        notes=_notes(config, bundle, vocabulary, manifest, thresholds),
        seconds=round(time.monotonic() - begun_s, 3),
    )


# What is judged ---------------------------------------------------------------------------------


def _dataset_of(config: EvalConfig, bundle: Bundle) -> Path:
    dataset = config.dataset or Path(bundle.dataset)
    if config.dataset is None and not dataset.is_dir():
        raise UsageError(f"{dataset}, which {config.run} was trained on, is not there: give --dataset")
    return dataset


def _open(dataset: Path, bundle: Bundle, *, split: str) -> Manifest:
    manifest = read_manifest(dataset)
    if manifest.image.size != bundle.size:
        raise UsageError(
            f"{dataset} has pictures of {manifest.image.size} px, the model takes {bundle.size} px: "
            f"build it with --size {bundle.size}"
        )
    if not manifest.samples(split):
        raise DataError(
            f"{dataset} has no {split} samples: give another --split or build it with a {split} split"
        )
    return manifest


def _common_tags(bundle: Bundle, dataset: Path) -> _Vocabulary:
    label_of = {tag.name: index for index, tag in enumerate(read_vocabulary(dataset))}
    outputs = [index for index, tag in enumerate(bundle.tags) if tag.name in label_of]
    if not outputs:
        raise UsageError(f"{dataset} and the model have no tag in common: give another --dataset")
    return _Vocabulary(
        tags=tuple(bundle.tags[index] for index in outputs),
        outputs=np.array(outputs),
        labels=np.array([label_of[bundle.tags[index].name] for index in outputs]),
    )


def _predictions(bundle: Bundle, vocabulary: _Vocabulary, batches: Iterable[Batch]) -> Iterator[_Predicted]:
    """Let the network look at every picture; padding is cut off, tags are those in common."""
    for batch in batches:
        outputs = np.asarray(bundle.network.predict_on_batch(batch.images)["probabilities"], np.float32)
        rows = slice(batch.count)
        yield _Predicted(
            images=batch.images[rows],
            labels=batch.labels[rows][:, vocabulary.labels],
            ids=batch.ids[rows],
            probabilities=outputs[rows][:, vocabulary.outputs],
        )


def _counted(
    batches: Iterable[_Predicted], *, stage: str, total: int, hook: ProgressHook
) -> Iterator[_Predicted]:
    done = 0
    hook(Progress(stage=stage, done=0, total=total, unit="pictures"))
    for batch in batches:
        yield batch
        done += len(batch.ids)
        hook(Progress(stage=stage, done=done, total=total, unit="pictures"))


# Thresholds -------------------------------------------------------------------------------------


def _found_thresholds(batches: Iterable[_Predicted], frequencies: Floats) -> Thresholds:
    """Find them on the validation split, the model's and the baseline's by the same rule."""
    histograms = empty_histograms(len(frequencies))
    for batch in batches:
        add_predictions(histograms, batch.probabilities, batch.labels)
    model = equal_precision_recall_threshold(pool(histograms))
    baseline = constant_histograms(frequencies, histograms.positives.sum(axis=1), histograms.images)
    return Thresholds(
        model=model,
        baseline=equal_precision_recall_threshold(pool(baseline)),
        own=best_thresholds(histograms, fallback=model),
        source=f"found on the {histograms.images:,} pictures of the validation split",
        images=histograms.images,
    )


def _assumed_thresholds(bundle: Bundle, frequencies: Floats) -> Thresholds:
    """Without a validation split: the model's own threshold if it has one, else 0.5; never the judged split's.

    The baseline's is where it predicts as many pairs as the training pictures have.
    """
    model = _FIXED_THRESHOLD if bundle.threshold is None else bundle.threshold
    of_training = constant_histograms(
        frequencies, np.rint(frequencies * bundle.train_samples), bundle.train_samples
    )
    return Thresholds(
        model=model,
        baseline=equal_precision_recall_threshold(pool(of_training)),
        own=np.full(len(frequencies), model),
        source="fixed, because there is no validation split"
        if bundle.threshold is None
        else "found when the model was trained, because this dataset has no validation split",
        images=0,
    )


# Figures ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Judged:
    histograms: Histograms
    tag_scores: TagScores
    baseline: Histograms
    baseline_scores: TagScores
    min_positives: int


def _judge(batches: Iterable[_Predicted], codes: IO[bytes], shortlists: Shortlists, *, tags: int) -> Histograms:
    """Count every prediction, write its code to a file, and shortlist pictures for the gallery."""
    histograms = empty_histograms(tags)
    for batch in batches:
        bins = add_predictions(histograms, batch.probabilities, batch.labels)
        codes.write(encode(bins, batch.labels).tobytes())
        offer(
            shortlists,
            images=batch.images,
            labels=batch.labels,
            ids=batch.ids,
            probabilities=batch.probabilities,
        )
    return histograms


def _read_codes(file: IO[bytes], *, tags: int) -> Iterator[Codes]:
    file.seek(0)
    while content := file.read(_CODE_ROWS * tags * np.dtype(np.uint16).itemsize):
        yield np.frombuffer(content, np.uint16).reshape(-1, tags)


def _score(
    histograms: Histograms, frequencies: Floats, thresholds: Thresholds, *, min_positives: int
) -> _Judged:
    positives = histograms.positives.sum(axis=1)
    if not positives.any():
        raise DataError("no picture of the split carries a tag that the model knows: give another --split")
    baseline = constant_histograms(frequencies, positives, histograms.images)
    return _Judged(
        histograms=histograms,
        tag_scores=score_tags(histograms, threshold=thresholds.model, own_thresholds=thresholds.own),
        baseline=baseline,
        baseline_scores=score_tags(baseline, threshold=thresholds.baseline),
        # A handful of pictures should still give a figure; `Evaluation.min_positives` says which rule it is.
        min_positives=min_positives if positives.max() >= min_positives else 1,
    )


def _groups_of(tags: tuple[Tag, ...]) -> Iterator[tuple[str, str, Mask]]:
    """(kind, name, mask): all tags, each category that occurs, each decade of training counts that occurs."""
    yield "all", "all", np.ones(len(tags), bool)
    for category in Category:
        mask = np.array([tag.category is category for tag in tags])
        if mask.any():
            yield "category", category.value, mask
    counts = np.array([tag.count for tag in tags])
    decades = np.floor(np.log10(np.maximum(counts, 1))).astype(int)
    for decade in sorted(set(decades.tolist()), reverse=True):
        yield "frequency", f"{10**decade:,} to {10 ** (decade + 1) - 1:,}", decades == decade


def _group(judged: _Judged, kind: str, name: str, mask: Mask) -> Group:
    model = summarise(judged.histograms, judged.tag_scores, min_positives=judged.min_positives, tags=mask)
    baseline = summarise(judged.baseline, judged.baseline_scores, min_positives=judged.min_positives, tags=mask)
    pooled = pool(judged.histograms, mask)
    return Group(
        name=name,
        kind=kind,
        model=model,
        baseline=baseline,
        skill=skill(model.squared_error, baseline.squared_error),
        curve=precision_recall_curve(pooled),
        reliability=reliability(pooled),
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


def _provenance(config: EvalConfig, bundle: Bundle, dataset: Path, manifest: Manifest) -> Mapping[str, str]:
    command = ["alti2v", "eval", str(config.run), "--dataset", str(dataset), "--split", config.split]
    versions = ", ".join(f"{name} {version(name)}" for name in ("keras", "tensorflow", "numpy"))
    return {
        "command": shlex.join(command),
        "run": str(config.run),
        "recipe": bundle.recipe,
        "network": f"{bundle.network.name}, {bundle.size} px, {len(bundle.tags):,} tags",
        "trained on": f"{bundle.train_samples:,} pictures, plan {bundle.plan_hash}",
        "judged on": f"{manifest.samples(config.split):,} pictures of the {config.split} split of {dataset}",
        "plan of that dataset": manifest.plan_hash,
        "split rule": manifest.split_rule,
        "made with": f"alti2v {alti2v.__version__}, Python {platform.python_version()}, {versions}",
    }


def _notes(
    config: EvalConfig, bundle: Bundle, vocabulary: _Vocabulary, manifest: Manifest, thresholds: Thresholds
) -> tuple[str, ...]:
    """What a reader should know before believing the figures."""
    notes = []
    if config.split == "train":
        notes.append("These are the training pictures: the figures say how well they were learnt by heart.")
    if config.split == "validation":
        notes.append("The thresholds were found on these very pictures: F1 is a little too good.")
    if manifest.plan_hash != bundle.plan_hash:
        notes.append(
            "This is not the dataset of the training: pictures may be in both, nobody kept them apart."
        )
    if len(vocabulary.tags) < len(bundle.tags):
        missing = len(bundle.tags) - len(vocabulary.tags)
        notes.append(f"{missing:,} of the model's tags are not in this dataset and were not judged.")
    if not thresholds.images:
        notes.append(f"The threshold is {thresholds.source}.")
    return tuple(notes)
