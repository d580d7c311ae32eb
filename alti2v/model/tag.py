"""Tag files: the orchestrator of `alti2v tag`. Streams pictures through a tagger, and writes sidecars.

What is seen of each picture goes to the caller as it comes; nothing is kept but counts.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from alti2v.errors import DataError, UsageError
from alti2v.model.evaluation.thresholds import Rule, just_below
from alti2v.model.tagging.captions import CaptionStyle, caption
from alti2v.model.tagging.inputs import count_pictures, find_pictures
from alti2v.model.tagging.preprocess import Problem
from alti2v.model.tagging.selection import Criterion, ScoredTag, Sort, Wish, passing, ratings, select
from alti2v.model.tagging.tagger import (
    DEFAULT_BATCH_SIZE,
    Prediction,
    Tagger,
    UntaggedPicture,
    load_tagger,
    predictions,
)
from alti2v.model.vocabulary import CATEGORIES, OutputTags, find_tag, find_tags
from alti2v.records import Progress, ProgressHook, ignore_progress
from alti2v.storage.publish import publish_bytes

# kohya-ss/sd-scripts and SmilingWolf's space start from it; for models that do not know their own.
DEFAULT_THRESHOLD = 0.35


class Existing(StrEnum):
    """What to do about a sidecar that is there already."""

    SKIP = "skip"  # the picture is done
    APPEND = "append"  # keep what it says, add what is new
    OVERWRITE = "overwrite"


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarConfig:
    """How to write a text file beside each picture.

    Attributes:
        suffix: what the file ends in, in place of the picture's suffix.
        existing: what to do about one that is there.
        style: how to write tags.
    """

    suffix: str = ".txt"
    existing: Existing = Existing.SKIP
    style: CaptionStyle = field(default_factory=CaptionStyle)

    def __post_init__(self) -> None:
        if not self.suffix.startswith(".") or len(self.suffix) < 2 or "/" in self.suffix:
            raise UsageError(f"--suffix {self.suffix!r} is no suffix: give one such as .txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class TagConfig:
    """What to tag, and what counts as a tag.

    Attributes:
        model: see `tagger.load_tagger`.
        paths: see `picture_files.find_pictures`.
        rule: where thresholds come from.
        threshold: for the rule constant; None for the model's own, and where it has none for
            `DEFAULT_THRESHOLD`.
        by_category: category -> threshold in its place.
        by_tag: tag -> threshold in place of both.
        categories: those wanted; none for all but the rating.
        exclude: tags that are not wanted.
        top: at most so many tags of a picture; None for all.
        sort: their order.
        sidecars: None to write none.
        batch_size: pictures at a time.
    """

    model: Path
    paths: tuple[str, ...]
    rule: Rule = Rule.CONSTANT
    threshold: float | None = None
    by_category: Mapping[str, float] = field(default_factory=dict)
    by_tag: Mapping[str, float] = field(default_factory=dict)
    categories: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    top: int | None = None
    sort: Sort = Sort.SCORE
    sidecars: SidecarConfig | None = None
    batch_size: int = DEFAULT_BATCH_SIZE

    def __post_init__(self) -> None:
        given = self.threshold is not None or self.by_category or self.by_tag
        if self.rule is not Rule.CONSTANT and given:
            raise UsageError(f"--threshold goes with --threshold-rule constant, not with {self.rule}: give one")
        if self.top is not None and self.top < 1:
            raise UsageError(f"--top {self.top} is less than 1")
        if self.batch_size < 1:
            raise UsageError(f"--batch-size {self.batch_size} is less than 1")
        for category in self.categories:
            if category not in CATEGORIES:
                raise UsageError(f"no category {category!r}: choose of {', '.join(CATEGORIES)}")
        Criterion(threshold=self.threshold or 0.0, by_category=self.by_category)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """A picture and its tags.

    Attributes:
        path: the picture.
        tags: in the order that was asked for.
        vocabulary: of the model, for grouping.
        ratings: every rating with its probability, the most probable first; empty where the model has none.
        sidecar: the file that was written; None if none was.
    """

    path: Path
    tags: tuple[ScoredTag, ...]
    vocabulary: OutputTags
    ratings: tuple[tuple[str, float], ...]
    sidecar: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagReport:
    """What was done. `pictures` is the sum of `tagged`, `skipped` and the numbers in `failed`.

    Attributes:
        model: the model, as it was given.
        pictures: found.
        tagged: of them.
        skipped: of them, because they had their sidecar already.
        failed: of them, by kind of problem.
        tags: how many were given in all.
        seconds: wall-clock, loading the model included.
    """

    model: Path
    pictures: int
    tagged: int
    skipped: int
    failed: Mapping[str, int]
    tags: int
    seconds: float


def tag_files(
    config: TagConfig,
    *,
    show: Callable[[Tagged | UntaggedPicture[Path]], None],
    listed: Iterable[str] = (),
    progress: ProgressHook = ignore_progress,
) -> TagReport:
    """Tag files.

    A picture that cannot be tagged is shown and counted, and the others go on.

    Args:
        config: what to do.
        show: is told of every picture but the skipped ones, in their order, after its sidecar is written.
        listed: the paths that "-" stands for.
        progress: told after every picture.

    Raises:
        UsageError: no such file, no model, no such tag or category, or nothing was tuned for the rule.
        DamagedError: the model is damaged.
        DataError: there is no picture.
        StorageError: a sidecar cannot be written.
    """
    begun_s = time.monotonic()
    tally = _Tally(total=count_pictures(config.paths), hook=progress)
    if tally.total is None or _is_work_left(config):
        tagger = load_tagger(config.model, batch_size=config.batch_size)
        task = _task(config, tagger)
        tally.tell()
        waiting = _waiting(find_pictures(config.paths, listed), config.sidecars, tally)
        for result in predictions(tagger, waiting):
            done = result if isinstance(result, UntaggedPicture) else _finish(result, task)
            show(done)
            tally.add(done)
    else:
        tally.skipped = tally.total
        tally.tell()
    if not tally.done:
        raise DataError("standard input named no picture: give a path in each line")
    return TagReport(
        model=config.model,
        pictures=tally.done,
        tagged=tally.tagged,
        skipped=tally.skipped,
        failed=dict(tally.failed),
        tags=tally.tags,
        seconds=round(time.monotonic() - begun_s, 3),
    )


# What is to be done ------------------------------------------------------------------------------


@dataclass(slots=True)
class _Tally:
    """How far it is: what became of each picture, counted."""

    total: int | None
    hook: ProgressHook
    tagged: int = 0
    skipped: int = 0
    tags: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        return self.tagged + self.skipped + self.failed.total()

    def add(self, result: Tagged | UntaggedPicture[Path]) -> None:
        if isinstance(result, UntaggedPicture):
            self.failed[result.problem.kind] += 1
        else:
            self.tagged += 1
            self.tags += len(result.tags)
        self.tell()

    def tell(self) -> None:
        counts = {"skipped": self.skipped, "failed": self.failed.total()}
        shown = {name: count for name, count in counts.items() if count}
        self.hook(Progress(stage="tagging", done=self.done, total=self.total, unit="pictures", counts=shown))


@dataclass(frozen=True, slots=True)
class _Task:
    """A configuration with its names looked up in the model's vocabulary."""

    vocabulary: OutputTags
    criterion: Criterion
    wish: Wish
    sidecars: SidecarConfig | None


def _task(config: TagConfig, tagger: Tagger) -> _Task:
    vocabulary = tagger.vocabulary
    for category in (*config.categories, *config.by_category):
        if category not in vocabulary.members:
            raise UsageError(f"the model has no {category} tags, only {', '.join(vocabulary.members)}")
    threshold = default_threshold(tagger) if config.threshold is None else config.threshold
    return _Task(
        vocabulary=vocabulary,
        criterion=tagger.criterion(
            config.rule, threshold=threshold, by_category=config.by_category, by_tag=config.by_tag
        ),
        wish=Wish(
            categories=frozenset(config.categories) or None,
            exclude=frozenset(find_tags(vocabulary, config.exclude)),
            top=config.top,
            sort=config.sort,
        ),
        sidecars=None if config.sidecars is None else _with_known_names(config.sidecars, vocabulary),
    )


def default_threshold(tagger: Tagger) -> float:
    """From which probability on a tag counts where nobody says: the model's own threshold, if it has one."""
    return DEFAULT_THRESHOLD if tagger.threshold is None else max(0.0, float(just_below(tagger.threshold)))


def _with_known_names(sidecars: SidecarConfig, vocabulary: OutputTags) -> SidecarConfig:
    """Write the tags that the style speaks of as the model does."""
    names = vocabulary.names
    style = sidecars.style
    return replace(
        sidecars,
        style=replace(
            style,
            replace={names[find_tag(vocabulary, tag)]: text for tag, text in style.replace.items()},
            always_first=tuple(names[index] for index in find_tags(vocabulary, style.always_first)),
        ),
    )


def _is_work_left(config: TagConfig) -> bool:
    """Whether any picture is not done yet; a model need not be loaded to find that none is."""
    nobody = _Tally(total=None, hook=ignore_progress)
    waiting = _waiting(find_pictures(config.paths), config.sidecars, nobody)
    return next(waiting, None) is not None


def _waiting(
    paths: Iterable[Path], sidecars: SidecarConfig | None, tally: _Tally
) -> Iterator[tuple[Path, Path | Problem]]:
    """Pictures that have to be tagged; one whose sidecar is its neighbour's too is a problem."""
    last: Path | None = None
    for path in paths:
        sidecar = None if sidecars is None else path.with_suffix(sidecars.suffix)
        if sidecar is None or sidecars is None:
            yield path, path
        elif sidecar == last:
            yield path, Problem("same_sidecar", f"shares {sidecar.name} with the picture before: rename it")
        elif sidecars.existing is Existing.SKIP and sidecar.exists():
            tally.skipped += 1
            tally.tell()
        else:
            yield path, path
        last = sidecar


# One picture -------------------------------------------------------------------------------------


def _finish(prediction: Prediction[Path], task: _Task) -> Tagged | UntaggedPicture[Path]:
    """Choose the tags of a picture, and write them beside it if that is wanted."""
    probabilities = prediction.probabilities
    passed = passing(probabilities[None], task.vocabulary, task.criterion)[0]
    tags = select(probabilities, passed, task.vocabulary, task.wish)
    sidecar = None
    if task.sidecars is not None:
        sidecar = prediction.picture.with_suffix(task.sidecars.suffix)
        problem = _write_sidecar(sidecar, tags, task.sidecars)
        if problem is not None:
            return UntaggedPicture(prediction.picture, problem)
    return Tagged(
        path=prediction.picture,
        tags=tags,
        vocabulary=task.vocabulary,
        ratings=tuple(ratings(probabilities, task.vocabulary)),
        sidecar=sidecar,
    )


def _write_sidecar(sidecar: Path, tags: tuple[ScoredTag, ...], config: SidecarConfig) -> Problem | None:
    try:
        is_kept = config.existing is Existing.APPEND and sidecar.exists()
        existing = sidecar.read_text(encoding="utf-8-sig") if is_kept else ""
    except (OSError, UnicodeDecodeError) as exc:
        return Problem("sidecar", f"its {sidecar.name} is there and cannot be read as UTF-8 text ({exc})")
    text = caption([tag.name for tag in tags], config.style, existing=existing)
    publish_bytes(sidecar, f"{text}\n".encode())
    return None
