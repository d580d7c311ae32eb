"""Tag files, and write sidecars: the orchestrator of `alti2v tag`.

Each result goes to the caller as soon as it is known. Only counts are kept, and hashes of the sidecars' paths.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from alti2v.errors import DataError, UsageError
from alti2v.model.options.tagging import SidecarConfig, TagConfig
from alti2v.model.tagging.inputs import Found, count_pictures, find_pictures
from alti2v.model.tagging.relation_sources import load_relations
from alti2v.model.tagging.relations import TagNames, relate_with, tag_names_with
from alti2v.model.tagging.selection import (
    Criterion,
    ScoredTag,
    Selection,
    least_passing,
    passing,
    ratings,
    select,
)
from alti2v.model.tagging.sidecars import pictures_to_caption, sidecar_of, write_sidecar
from alti2v.model.tagging.tagger import Prediction, Tagger, UntaggedPicture, load_tagger, predictions
from alti2v.model.tagging.tally import Tally
from alti2v.model.tagging.used_thresholds import UsedThresholds, used_thresholds
from alti2v.model.vocabulary import OutputTags, find_tag, find_tags
from alti2v.records import ProgressHook, ignore_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """A picture and its tags.

    Attributes:
        path: File of the picture.
        tags: Tags in the requested order.
        vocabulary: Outputs of the model, for grouping.
        ratings: All ratings with their probabilities, the most probable first; empty if the model has none.
        thresholds: Thresholds that its tags had to reach.
        sidecar: Sidecar that was written; None if none was.
    """

    path: Path
    tags: tuple[ScoredTag, ...]
    vocabulary: OutputTags
    ratings: tuple[tuple[str, float], ...]
    thresholds: UsedThresholds
    sidecar: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagReport:
    """Counts of a finished `tag_files`. `pictures` is the sum of `tagged`, `skipped` and all of `failed`.

    Attributes:
        model: Path of the model, as given.
        pictures: Number of pictures found.
        tagged: Number of pictures tagged.
        skipped: Number of pictures skipped because they had a sidecar.
        failed: Kind of problem -> number of pictures.
        unread: Suffix -> number of pictures in folders whose format is not read; not counted in `pictures`.
        tags: Number of tags of all pictures together.
        thresholds: Thresholds that the tags had to reach; empty if the model was not needed.
        device: What the model ran on; "" if it was not needed.
        seconds: Wall-clock time, including loading the model.
    """

    model: Path
    pictures: int
    tagged: int
    skipped: int
    failed: Mapping[str, int]
    unread: Mapping[str, int]
    tags: int
    thresholds: UsedThresholds
    device: str
    seconds: float


def tag_files(
    config: TagConfig,
    *,
    show: Callable[[Tagged | UntaggedPicture[Path]], None],
    listed: Iterable[str] = (),
    progress: ProgressHook = ignore_progress,
) -> TagReport:
    """Tag files; a picture that cannot be tagged is shown and counted, and does not stop the others.

    Args:
        config: Options.
        show: Called with each result but skipped pictures, in order, after the sidecar is written.
        listed: Paths to use for "-".
        progress: Called after each picture.

    Raises:
        UsageError: A file, the model, a tag or a category does not exist, or the model has no thresholds for
            the rule.
        DamagedError: The model is damaged.
        DataError: Standard input names no picture.
        StorageError: The disk is full.
    """
    begun_s = time.monotonic()
    tally = Tally(stage="tagging", total=count_pictures(config.paths), hook=progress)
    number_of_tags, task = 0, None
    if tally.total is None or _is_work_left(config):
        tagger = load_tagger(
            config.model, batch_size=config.batch_size, precision=config.precision, pictures=tally.total
        )
        task = _task(config, tagger)
        tally.tell()
        for result in predictions(tagger, _waiting(config, listed, tally)):
            done = result if isinstance(result, UntaggedPicture) else _finish(result, task)
            show(done)
            if isinstance(done, UntaggedPicture):
                tally.fail(done.problem)
            else:
                number_of_tags += len(done.tags)
                tally.finish()
    else:
        for _ in _waiting(config, (), tally):  # all are skipped
            pass
    if not tally.done:
        raise DataError("standard input named no picture: give a path in each line")
    return TagReport(
        model=config.model,
        pictures=tally.done,
        tagged=tally.finished,
        skipped=tally.skipped,
        failed=dict(tally.failed),
        unread=dict(tally.unread),
        tags=number_of_tags,
        thresholds=UsedThresholds() if task is None else task.thresholds,
        device="" if task is None else task.device,
        seconds=round(time.monotonic() - begun_s, 3),
    )


# Planning ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Task:
    """Options with their names resolved in the model's vocabulary."""

    vocabulary: OutputTags
    criterion: Criterion
    selection: Selection
    thresholds: UsedThresholds
    device: str
    sidecars: SidecarConfig | None


def _task(config: TagConfig, tagger: Tagger) -> _Task:
    vocabulary = tagger.vocabulary
    for category in (*config.categories, *config.by_category):
        if category not in vocabulary.members:
            raise UsageError(f"the model has no {category} tags, only {', '.join(vocabulary.members)}")
    relations = load_relations(config.relations, tagger)
    names = tag_names_with(relations, vocabulary)
    thresholds = {find_tag(names.known, tag): value for tag, value in config.by_tag.items()}
    criterion = tagger.criterion(
        config.rule,
        threshold=config.threshold,
        by_category=config.by_category,
        by_tag=_of_outputs(thresholds, names),
        is_strict=config.is_strict,
    )
    of_relations = {names.known.names[i]: value for i, value in thresholds.items() if i >= names.outputs}
    exclude = find_tags(names.known, config.exclude)
    return _Task(
        vocabulary=vocabulary,
        criterion=criterion,
        thresholds=used_thresholds(vocabulary, criterion, of_relations=of_relations),
        device=tagger.device,
        selection=Selection(
            categories=frozenset(config.categories) or None,
            exclude=frozenset(output for found in exclude for output in names.outputs_of(found)),
            exclude_names=frozenset(names.known.names[i] for i in exclude if i >= names.outputs),
            least={name: least_passing(value, criterion) for name, value in of_relations.items()},
            top=config.top,
            sort=config.sort,
            relate=None if relations is None else relate_with(relations, vocabulary),
        ),
        sidecars=None if config.sidecars is None else _with_printed_names(config.sidecars, names),
    )


def _of_outputs(thresholds: Mapping[int, float], names: TagNames) -> dict[str, float]:
    """Map tags to thresholds; one for the tag itself takes precedence over one for its new name."""
    renamed = {output: value for found, value in thresholds.items() for output in names.outputs_of(found)}
    own = {found: value for found, value in thresholds.items() if found < names.outputs}
    return {names.known.names[output]: value for output, value in {**renamed, **own}.items()}


def _with_printed_names(sidecars: SidecarConfig, names: TagNames) -> SidecarConfig:
    """Respell the tags named in the style as they are printed."""
    printed, style = names.printed, sidecars.style
    return replace(
        sidecars,
        style=replace(
            style,
            replace={printed[find_tag(names.known, tag)]: text for tag, text in style.replace.items()},
            always_first=tuple(printed[index] for index in find_tags(names.known, style.always_first)),
        ),
    )


def _is_work_left(config: TagConfig) -> bool:
    """Return whether any picture still has to be tagged; if not, the model need not be loaded."""
    return next(_waiting(config, (), Tally(stage="tagging", total=None)), None) is not None


def _waiting(config: TagConfig, listed: Iterable[str], tally: Tally) -> Iterator[Found]:
    """Yield the pictures to tag, and those that cannot be tagged."""
    found = find_pictures(config.paths, listed, unread=tally.unread)
    return found if config.sidecars is None else pictures_to_caption(found, config.sidecars, tally)


# One picture -------------------------------------------------------------------------------------


def _finish(prediction: Prediction[Path], task: _Task) -> Tagged | UntaggedPicture[Path]:
    """Select the tags of a picture, and write its sidecar if requested."""
    probabilities = prediction.probabilities
    passed = passing(probabilities[None], task.vocabulary, task.criterion)[0]
    tags = select(probabilities, passed, task.vocabulary, task.selection)
    sidecar = None
    if task.sidecars is not None:
        sidecar = sidecar_of(prediction.picture, task.sidecars)
        problem = write_sidecar(prediction.picture, tags, task.sidecars)
        if problem is not None:
            return UntaggedPicture(prediction.picture, problem)
    return Tagged(
        path=prediction.picture,
        tags=tags,
        vocabulary=task.vocabulary,
        ratings=tuple(ratings(probabilities, task.vocabulary)),
        thresholds=task.thresholds,
        sidecar=sidecar,
    )
