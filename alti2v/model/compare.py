"""Comparison of two runs on the same pictures and tags, with intervals of the differences.

Pictures that either run was trained or tuned on are left out, whatever dataset they come from: a model that has
seen the answers cannot be compared.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from alti2v.dataset.manifest import read_manifest
from alti2v.errors import DataError, UsageError
from alti2v.model.arrays import Int64Array
from alti2v.model.evaluation.bootstrap import Codes, encode
from alti2v.model.evaluation.histograms import BINS, Histograms, add_predictions, empty_histograms
from alti2v.model.evaluation.paired_bootstrap import Difference, ModelOutcomes, TagDifferences, compare_sides
from alti2v.model.evaluation.predict import (
    CommonTags,
    common_tags,
    dataset_of,
    frequencies_of,
    open_split,
    predict,
)
from alti2v.model.evaluation.scoring import fallback_thresholds, tune_thresholds
from alti2v.model.network.precision import CHOICES as PRECISION_CHOICES
from alti2v.model.network.precision import choose_precision
from alti2v.model.saved_model import SavedModel, load_model
from alti2v.option_bounds import require_between, require_choice
from alti2v.records import ProgressHook, Tag, ignore_progress
from alti2v.storage.layout import METADATA, SPLITS
from alti2v.storage.publish import make_directory, storage_errors
from alti2v.storage.table import read_table


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareConfig:
    """Options of a comparison.

    Attributes:
        first, second: Directories of finished runs.
        dataset: Directory of a dataset for both; None for each run's own, with pictures matched by post.
        split: Split to evaluate on, one of `SPLITS`.
        out: Directory of the report; None for FIRST/eval/against-SECOND.
        batch_size: Pictures at a time, at least 1.
        min_positives: Positive pictures that a tag needs to count in the mean average precision, at least 1.
        precision: Number format that the layers of both compute in, or "auto"
            (`network.precision.choose_precision`).
    """

    first: Path
    second: Path
    dataset: Path | None = None
    split: str = "test"
    out: Path | None = None
    batch_size: int = 64
    min_positives: int = 10
    precision: str = "auto"

    def __post_init__(self) -> None:
        require_choice("--split", self.split, SPLITS)
        require_between("--batch-size", self.batch_size, 1)
        require_between("--min-positives", self.min_positives, 1)
        require_choice("--precision", self.precision, PRECISION_CHOICES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Result of a comparison.

    Attributes:
        first, second: Directories of the runs.
        split: Split that they were evaluated on.
        images: Number of pictures, none of which either run was trained on.
        tags: The T common tags, in the first model's order.
        positives: (T,) number of pictures with each tag.
        thresholds: Thresholds of the first and the second, each tuned on its own validation split.
        differences: Differences over all tags, then by category.
        tag_differences: Differences of each tag.
        notes: Warnings for the reader, in sentences.
        seconds: Duration.
    """

    first: Path
    second: Path
    split: str
    images: int
    tags: tuple[Tag, ...]
    positives: Int64Array
    thresholds: tuple[float, float]
    differences: tuple[Difference, ...]
    tag_differences: TagDifferences
    notes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class _Half:
    """One of the two models, and the dataset that it is evaluated on."""

    run: Path
    model: SavedModel
    dataset: Path


def compare(config: CompareConfig, *, out: Path, progress: ProgressHook = ignore_progress) -> Comparison:
    """Compare two runs.

    Args:
        config: Options of the comparison.
        out: Directory for temporary files of 4 bytes per picture and tag.
        progress: Called after each batch of each split and model.

    Raises:
        UsageError: A run is not finished, a dataset is missing or does not fit, or there is no common tag.
        DamagedError: A run or a dataset is damaged.
        DataError: No picture is left, or no picture carries a tag.
        StorageError: `out` cannot be written.
    """
    begun_s = time.monotonic()
    precision = choose_precision(config.precision)
    halves = [_open(run, config, precision) for run in (config.first, config.second)]
    common = common_tags([half.model.tags for half in halves], halves[0].dataset)
    labels_of = [common if half is halves[0] else _with_labels_of(common, half.dataset) for half in halves]
    kept, notes = _fair_pictures(halves, config.split)
    make_directory(out)
    with (
        storage_errors(out),
        tempfile.TemporaryFile(dir=out) as first_codes,
        tempfile.TemporaryFile(dir=out) as second_codes,
    ):
        files = (first_codes, second_codes)
        sides = [
            _score(half, labels_of[index], index, kept, files[index], config, progress)
            for index, half in enumerate(halves)
        ]
        differing = _differing_labels(sides[0].codes, sides[1].codes)
        if differing:
            notes.append(
                f"{differing:,} labels differ between the two datasets: each run was compared with its own."
            )
        if not sides[0].histograms.positives.any():
            raise DataError("no picture carries a tag that both models know: give another --split")
        differences, tag_differences = compare_sides(
            *sides, tags=common.tags, min_positives=config.min_positives
        )
    return Comparison(
        first=config.first,
        second=config.second,
        split=config.split,
        images=len(kept),
        tags=common.tags,
        positives=sides[0].histograms.positives.sum(axis=1, dtype=np.int64),
        thresholds=(sides[0].threshold, sides[1].threshold),
        differences=differences,
        tag_differences=tag_differences,
        notes=(*notes, *_tag_notes(halves, common)),
        seconds=round(time.monotonic() - begun_s, 3),
    )


def _open(run: Path, config: CompareConfig, precision: str) -> _Half:
    model = load_model(run, precision=precision)
    dataset = dataset_of(model, run, config.dataset)
    open_split(dataset, model, split=config.split)
    return _Half(run=run, model=model, dataset=dataset)


def _with_labels_of(common: CommonTags, dataset: Path) -> CommonTags:
    """Match the same tags with the labels of another dataset."""
    there = common_tags([common.tags], dataset)
    if len(there.tags) < len(common.tags):
        known = {tag.name for tag in there.tags}
        lost = next(tag.name for tag in common.tags if tag.name not in known)
        raise UsageError(
            f"{dataset} lacks {len(common.tags) - len(there.tags):,} tags that both models know "
            f"({lost!r} ...): give one --dataset for both"
        )
    return replace(common, labels=there.labels)


# Pictures that neither run has seen --------------------------------------------------------------------------


def _fair_pictures(halves: Sequence[_Half], split: str) -> tuple[Int64Array, list[str]]:
    """Return the posts in the split of both datasets that neither run was trained on, ascending; and notes."""
    first, second = (ids_of(half.dataset, (split,)) for half in halves)
    shared = np.intersect1d(first, second)
    notes = []
    if len(shared) < max(len(first), len(second)):
        lacking = max(len(first), len(second)) - len(shared)
        notes.append(f"{lacking:,} pictures of the {split} split are in one dataset only and were left out.")
    seen: list[Int64Array] = []
    for half in halves:
        trained_on = _trained_on(half)
        if trained_on is None:
            notes.append(
                f"The dataset that {half.run} was trained on is no longer at {half.model.dataset}: "
                "pictures that it has seen cannot be left out."
            )
        elif split == "test":
            seen.append(trained_on)
    fair = np.setdiff1d(shared, np.concatenate(seen)) if seen else shared
    if len(fair) < len(shared):
        notes.append(
            f"{len(shared) - len(fair):,} pictures were left out because one of the runs was trained on them."
        )
    if split != "test":
        notes.append(f"These are {split} pictures: the runs were trained or tuned on them.")
    if not len(fair):
        raise DataError("no picture is left to compare the runs on: give another --dataset")
    return fair, notes


def ids_of(dataset: Path, splits: Sequence[str]) -> Int64Array:
    """Return the posts of some splits of a dataset, ascending."""
    shards = [shard for split in splits for shard in read_manifest(dataset).split(split)]
    columns = [read_table(dataset / shard.name.metadata, METADATA, ["id"])["id"].to_numpy() for shard in shards]
    return np.sort(np.concatenate(columns)) if columns else np.array([], np.int64)


def _trained_on(half: _Half) -> Int64Array | None:
    """Return the posts that a run was trained or tuned on; None if its dataset is gone or was rebuilt."""
    dataset = Path(half.model.dataset)
    if not dataset.is_dir() or read_manifest(dataset).plan_hash != half.model.plan_hash:
        return None
    return ids_of(dataset, ("train", "validation"))


# Scoring ------------------------------------------------------------------------------------------


def _score(
    half: _Half,
    common: CommonTags,
    index: int,
    kept: Int64Array,
    scratch: IO[bytes],
    config: CompareConfig,
    progress: ProgressHook,
) -> ModelOutcomes:
    """Count one model's predictions for the kept pictures; the codes are in the order of `kept`."""
    model = half.model
    frequencies = frequencies_of(common.tags, train_samples=model.train_samples)
    threshold = fallback_thresholds(model.threshold, frequencies, model.train_samples).model
    if read_manifest(half.dataset).samples("validation"):
        validation = predict(
            model,
            half.dataset,
            common,
            index=index,
            split="validation",
            batch_size=config.batch_size,
            progress=progress,
        )
        threshold = tune_thresholds(validation, tags=common.tags, frequencies=frequencies).model
    histograms: Histograms = empty_histograms(len(common.tags))
    ids: list[Int64Array] = []
    for batch in predict(
        model,
        half.dataset,
        common,
        index=index,
        split=config.split,
        batch_size=config.batch_size,
        progress=progress,
    ):
        rows = np.isin(batch.ids, kept)
        labels = batch.labels[rows]
        bins = add_predictions(histograms, batch.probabilities[rows], labels)
        scratch.write(encode(bins, labels).tobytes())
        ids.append(batch.ids[rows])
    scratch.flush()
    codes: Codes = np.memmap(scratch, np.uint16, "r", shape=(len(kept), len(common.tags)))
    order = np.argsort(np.concatenate(ids))
    in_order = bool((order == np.arange(len(order))).all())
    return ModelOutcomes(histograms=histograms, codes=codes if in_order else codes[order], threshold=threshold)


def _differing_labels(first: Codes, second: Codes) -> int:
    return sum(int(((first[row] >= BINS) != (second[row] >= BINS)).sum()) for row in range(len(first)))


def _tag_notes(halves: Sequence[_Half], common: CommonTags) -> list[str]:
    return [
        f"{lost:,} tags of {half.run} are not in common and were not compared."
        for half in halves
        if (lost := len(half.model.tags) - len(common.tags))
    ]
