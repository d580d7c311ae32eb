"""Comparison of taggers on the same pictures and tags, with intervals of the differences from the first one.

Pictures that a run was trained or tuned on are left out, whatever dataset they come from: a model that has seen
the answers cannot be compared. The training pictures of other taggers are unknown, and the report says so.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from alti2v.arrays import Int64Array
from alti2v.dataset.explore.file_names import file_names
from alti2v.dataset.manifest import read_manifest, read_vocabulary
from alti2v.dataset.shard_cache import held
from alti2v.errors import DataError, UsageError
from alti2v.model.comparison.contestant import Contestant, open_contestants
from alti2v.model.comparison.disputes import most_disputed
from alti2v.model.comparison.fair_pictures import fair_pictures
from alti2v.model.comparison.feeding import FedBatch, fed_batches, feeding, ids_of, previews
from alti2v.model.comparison.figures import TunedThreshold, compared_models, tuned, untuned
from alti2v.model.comparison.notes import label_notes, network_notes, picture_notes, size_notes, tag_notes
from alti2v.model.comparison.originals import Originals, open_originals, require_used
from alti2v.model.comparison.outcomes import Counted, Judged, count
from alti2v.model.comparison.result import ComparedModel, Comparison, DisputedPicture
from alti2v.model.comparison.shared_tags import SharedTags, shared_tags
from alti2v.model.evaluation.metrics import few_ranked, fewest_positives
from alti2v.model.evaluation.paired_bootstrap import ModelOutcomes, PairedScores, TagGroup, compare_models
from alti2v.model.evaluation.scoring import groups_of
from alti2v.model.options.evaluation import CompareConfig
from alti2v.records import Progress, ProgressHook, Tag, composed, ignore_progress
from alti2v.storage.publish import make_directory, storage_errors


def compare(config: CompareConfig, *, out: Path, progress: ProgressHook = ignore_progress) -> Comparison:
    """Compare models.

    Args:
        config: Options of the comparison.
        out: Directory for temporary files of 2 bytes per picture, tag and model.
        progress: Called after each batch of each split.

    Raises:
        UsageError: A model is not finished or given twice, a dataset or store is missing or does not fit, or
            there is no common tag.
        DamagedError: A model, a dataset or the store is damaged.
        DataError: No picture is left, no picture carries a common tag, or a model answers NaN.
        RemoteError: The hub does not answer.
        StorageError: `out` cannot be written.
    """
    begun_s = time.monotonic()
    contestants = open_contestants(config.models, config.dataset, precision=config.precision)
    _require_pictures(contestants, config)
    kept, notes = fair_pictures(contestants, config.split)
    originals = _originals(contestants, config)
    common, labels_of = _match(contestants, {} if originals is None else originals.aliases)
    groups = tuple(groups_of(common.tags))
    make_directory(out)
    with storage_errors(out), contextlib.ExitStack() as stack:
        judged = _judged(contestants, common, labels_of, out, stack)
        thresholds = _tune(judged, common.tags, originals, config, progress)
        counted = _count(judged, originals, kept, config, progress)
        require_used(originals)
        positives = counted[0].histograms.positives.sum(axis=1, dtype=np.int64)
        config = replace(config, min_positives=fewest_positives(positives, config.min_positives))
        paired = _paired(counted, thresholds, groups, min_positives=config.min_positives)
        disputed = most_disputed(
            [one.codes for one in counted], [one.value for one in thresholds], kept, most=config.gallery
        )
        if len(labels_of) > 1:
            notes += label_notes([one.codes for one in counted])
    models = compared_models(contestants, common, counted, thresholds, paired, groups, config)
    return Comparison(
        models=models,
        dataset=contestants[0].dataset,
        dataset_tags=len(read_vocabulary(contestants[0].dataset)),
        split=config.split,
        images=len(kept),
        tags=common.tags,
        positives=positives,
        min_positives=config.min_positives,
        disputed=_with_pictures(disputed, contestants[0].dataset, config.split),
        notes=(*notes, *_notes(contestants, models, common.tags, kept, originals, config)),
        seconds=round(time.monotonic() - begun_s, 3),
        file_names=_file_names(disputed, contestants[0].dataset, config.split),
    )


def _notes(
    contestants: Sequence[Contestant],
    models: Sequence[ComparedModel],
    tags: Sequence[Tag],
    kept: Int64Array,
    originals: Originals | None,
    config: CompareConfig,
) -> Iterator[str]:
    """Yield warnings for readers, about everything but the choice of the pictures."""
    yield from size_notes(len(kept))
    yield from few_ranked(models[0].overall.scores, min_positives=config.min_positives)
    yield from network_notes(contestants, config.precision)
    yield from picture_notes(contestants, originals)
    yield from tag_notes(models, len(tags))


def _require_pictures(contestants: Sequence[Contestant], config: CompareConfig) -> None:
    """Check that every model can be fed from its dataset or the store.

    Raises:
        UsageError: A run takes pictures of another size than its dataset has, and there is no store.
        DataError: A split is empty.
    """
    for one in contestants:
        manifest = read_manifest(one.dataset)
        size = one.tagger.preprocessing.size
        if one.is_run and manifest.image.size != size and config.store is None:
            raise UsageError(
                f"{one.dataset} has pictures of {manifest.image.size} px, the model takes {size} px: "
                f"build it with --size {size}, or give the --store that it was built from"
            )
        if not manifest.samples(config.split):
            raise DataError(
                f"{one.dataset} has no {config.split} pictures: give another --split or build it with a "
                f"{config.split} split"
            )


def _originals(contestants: Sequence[Contestant], config: CompareConfig) -> Originals | None:
    if config.store is None:
        return None
    splits = (config.split, "validation")
    wanted = [ids_of(dataset, splits) for dataset in {one.dataset for one in contestants}]
    return open_originals(config.store, np.unique(np.concatenate(wanted)))


# Common tags ------------------------------------------------------------------------------------


def _match(
    contestants: Sequence[Contestant], aliases: Mapping[str, str]
) -> tuple[SharedTags, Mapping[Path, Int64Array]]:
    """Match the tags of the first dataset with the models', and with the labels of each dataset."""
    first = contestants[0].dataset
    found = shared_tags(read_vocabulary(first), [one.tagger.vocabulary for one in contestants], aliases)
    for one, known in zip(contestants, found.known, strict=True):
        if not known:
            raise UsageError(
                f"{first} and {one.model} have no tag in common: leave it out, or give another --dataset"
            )
    if not found.tags:
        raise UsageError(f"{first} and the models have no tag in common: compare fewer models")
    labels = {first: found.labels}
    for dataset in {one.dataset for one in contestants} - {first}:
        labels[dataset] = _labels_of(found.tags, dataset)
    return found, labels


def _labels_of(tags: Sequence[Tag], dataset: Path) -> Int64Array:
    """Find tags among the labels of another dataset."""
    label_of = {composed(tag.name): label for label, tag in enumerate(read_vocabulary(dataset))}
    lost = [tag.name for tag in tags if composed(tag.name) not in label_of]
    if lost:
        raise UsageError(
            f"{dataset} lacks {len(lost):,} tags that the models know ({lost[0]!r} ...): "
            "give one --dataset for all"
        )
    return np.array([label_of[composed(tag.name)] for tag in tags], np.int64)


# Predictions --------------------------------------------------------------------------------------


def _judged(
    contestants: Sequence[Contestant],
    common: SharedTags,
    labels_of: Mapping[Path, Int64Array],
    out: Path,
    stack: contextlib.ExitStack,
) -> list[Judged]:
    """Give each model its tags, its labels, and a temporary file for its outcomes, which `stack` closes."""
    return [
        Judged(
            contestant=one,
            outputs=outputs,
            labels=labels_of[one.dataset],
            codes=stack.enter_context(tempfile.TemporaryFile(dir=out)),
        )
        for one, outputs in zip(contestants, common.outputs, strict=True)
    ]


def _paired(
    counted: Sequence[Counted],
    thresholds: Sequence[TunedThreshold],
    groups: Sequence[TagGroup],
    *,
    min_positives: int,
) -> Sequence[PairedScores]:
    """Compare the outcomes of all models, picture by picture.

    Raises:
        DataError: No picture carries a common tag.
    """
    if not counted[0].histograms.positives.any():
        raise DataError("no picture has a tag that all models know: give another --split")
    outcomes = [
        ModelOutcomes(histograms=one.histograms, codes=one.codes, threshold=threshold.value)
        for one, threshold in zip(counted, thresholds, strict=True)
    ]
    return compare_models(outcomes, groups=groups, min_positives=min_positives)


def _tune(
    judged: Sequence[Judged],
    tags: Sequence[Tag],
    originals: Originals | None,
    config: CompareConfig,
    progress: ProgressHook,
) -> list[TunedThreshold]:
    """Tune the thresholds of all models by the same rule, each on the validation split of its dataset."""
    found: dict[int, TunedThreshold] = {}
    for dataset, members in _by_dataset(judged):
        if not read_manifest(dataset).samples("validation"):
            found |= {number: untuned(judged[number].contestant) for number in members}
            continue
        some = [replace(judged[number], codes=None) for number in members]
        batches = _batches(some, originals, "validation", None, config, progress)
        counted = count(some, batches, np.array([], np.int64))
        found |= {number: tuned(one.histograms, tags) for number, one in zip(members, counted, strict=True)}
    return [found[number] for number in range(len(judged))]


def _count(
    judged: Sequence[Judged],
    originals: Originals | None,
    kept: Int64Array,
    config: CompareConfig,
    progress: ProgressHook,
) -> list[Counted]:
    found: dict[int, Counted] = {}
    for _, members in _by_dataset(judged):
        some = [judged[number] for number in members]
        batches = _batches(some, originals, config.split, kept, config, progress)
        found |= dict(zip(members, count(some, batches, kept), strict=True))
    return [found[number] for number in range(len(judged))]


def _by_dataset(judged: Sequence[Judged]) -> Iterator[tuple[Path, list[int]]]:
    """Yield each dataset, and the numbers of the models that are evaluated on it."""
    for dataset in dict.fromkeys(one.contestant.dataset for one in judged):
        yield dataset, [number for number, one in enumerate(judged) if one.contestant.dataset == dataset]


def _batches(
    judged: Sequence[Judged],
    originals: Originals | None,
    split: str,
    kept: Int64Array | None,
    config: CompareConfig,
    progress: ProgressHook,
) -> Iterator[FedBatch]:
    """Yield the pictures for models of one dataset, and report progress."""
    dataset = judged[0].contestant.dataset
    total = read_manifest(dataset).samples(split) if kept is None else len(kept)
    fed = feeding(dataset, [one.contestant.tagger.preprocessing for one in judged], originals)
    stage, done = f"evaluating {split}", 0
    progress(Progress(stage=stage, done=0, total=total, unit="pictures"))
    for batch in fed_batches(
        fed, split=split, kept=kept, tags=len(read_vocabulary(dataset)), batch_size=config.batch_size
    ):
        yield batch
        done += len(batch.ids)
        progress(Progress(stage=stage, done=done, total=total, unit="pictures"))


def _file_names(disputed: Sequence[DisputedPicture], dataset: Path, split: str) -> dict[int, str]:
    shards = held(dataset, read_manifest(dataset).split(split))
    return file_names(dataset, shards, [one.id for one in disputed])


def _with_pictures(
    disputed: Sequence[DisputedPicture], dataset: Path, split: str
) -> tuple[DisputedPicture, ...]:
    jpegs = previews(dataset, split, [one.id for one in disputed]) if disputed else {}
    return tuple(replace(one, jpeg=jpegs.get(one.id, b"")) for one in disputed)
