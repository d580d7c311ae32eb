"""Tag files, and write sidecars: the orchestrator of `alti2v tag`.

Each result goes to the caller as soon as it is known; only counts are kept.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from alti2v.errors import DataError, UsageError
from alti2v.model.evaluation.thresholds import Rule
from alti2v.model.tagging.captions import CaptionStyle, caption
from alti2v.model.tagging.inputs import count_pictures, find_pictures
from alti2v.model.tagging.preprocess import Problem
from alti2v.model.tagging.selection import Criterion, ScoredTag, Selection, Sort, passing, ratings, select
from alti2v.model.tagging.tagger import (
    DEFAULT_BATCH_SIZE,
    Prediction,
    Tagger,
    UntaggedPicture,
    load_tagger,
    predictions,
)
from alti2v.model.vocabulary import CATEGORIES, OutputTags, find_tag, find_tags
from alti2v.option_bounds import require_between, require_choice
from alti2v.records import Progress, ProgressHook, ignore_progress
from alti2v.storage.publish import publish_bytes

# For models without a threshold of their own; the default of kohya-ss/sd-scripts and of SmilingWolf's space.
DEFAULT_THRESHOLD = 0.35


class Existing(StrEnum):
    """Action for a picture that already has a sidecar."""

    SKIP = "skip"
    APPEND = "append"  # keep its text, add new tags
    OVERWRITE = "overwrite"


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarConfig:
    """Options of the text files written beside pictures.

    Attributes:
        suffix: Suffix that replaces the picture's own.
        existing: Action for a picture that already has a sidecar.
        style: Spelling and order of the tags.
    """

    suffix: str = ".txt"
    existing: Existing = Existing.SKIP
    style: CaptionStyle = field(default_factory=CaptionStyle)

    def __post_init__(self) -> None:
        if not self.suffix.startswith(".") or len(self.suffix) < 2 or "/" in self.suffix:
            raise UsageError(f"--suffix {self.suffix!r} is not a suffix: give one such as .txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class TagConfig:
    """Options of `tag_files`. A tag passes if its probability is at least its threshold.

    Attributes:
        model: Model to load, see `tagger.load_tagger`.
        paths: Files, folders and patterns, see `inputs.find_pictures`.
        rule: Source of the thresholds.
        threshold: Threshold of the rule constant; None for the model's own, else `DEFAULT_THRESHOLD`.
        by_category: Category -> threshold that replaces `threshold`.
        by_tag: Tag -> threshold that replaces both.
        categories: Categories to keep; empty for all but the rating.
        exclude: Tags to leave out.
        top: Maximum number of tags of a picture; None for no limit.
        sort: Order of the tags.
        sidecars: Options of the sidecars; None to write none.
        batch_size: Pictures per forward pass.
        precision: Number format that the layers of a RUN compute in, see `tagger.load_tagger`.
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
    precision: str = "auto"

    def __post_init__(self) -> None:
        given = self.threshold is not None or self.by_category or self.by_tag
        if self.rule is not Rule.CONSTANT and given:
            raise UsageError(f"--threshold goes with --threshold-rule constant, not with {self.rule}: give one")
        require_between("--top", self.top, 1)
        require_between("--batch-size", self.batch_size, 1)
        for category in self.categories:
            require_choice("category", category, CATEGORIES)
        Criterion(threshold=self.threshold or 0.0, by_category=self.by_category)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """A picture and its tags.

    Attributes:
        path: File of the picture.
        tags: Tags in the requested order.
        vocabulary: Outputs of the model, for grouping.
        ratings: All ratings with their probabilities, the most probable first; empty if the model has none.
        sidecar: Sidecar that was written; None if none was.
    """

    path: Path
    tags: tuple[ScoredTag, ...]
    vocabulary: OutputTags
    ratings: tuple[tuple[str, float], ...]
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
        tags: Number of tags of all pictures together.
        seconds: Wall-clock time, including loading the model.
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
    """Tag files; a picture that cannot be tagged is shown and counted, and does not stop the others.

    Args:
        config: Options.
        show: Called with each result but skipped pictures, in order, after the sidecar is written.
        listed: Paths that "-" stands for.
        progress: Called after each picture.

    Raises:
        UsageError: A file, the model, a tag or a category does not exist, or the model has no thresholds for
            the rule.
        DamagedError: The model is damaged.
        DataError: There is no picture.
        StorageError: A sidecar cannot be written.
    """
    begun_s = time.monotonic()
    tally = _Tally(total=count_pictures(config.paths), hook=progress)
    if tally.total is None or _is_work_left(config):
        tagger = load_tagger(config.model, batch_size=config.batch_size, precision=config.precision)
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


# Planning ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Tally:
    """Running counts, reported as progress."""

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
    """Options with their names resolved in the model's vocabulary."""

    vocabulary: OutputTags
    criterion: Criterion
    selection: Selection
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
        selection=Selection(
            categories=frozenset(config.categories) or None,
            exclude=frozenset(find_tags(vocabulary, config.exclude)),
            top=config.top,
            sort=config.sort,
        ),
        sidecars=None if config.sidecars is None else _with_known_names(config.sidecars, vocabulary),
    )


def default_threshold(tagger: Tagger) -> float:
    """Return the model's own threshold, or `DEFAULT_THRESHOLD` if it has none."""
    return DEFAULT_THRESHOLD if tagger.threshold is None else tagger.threshold


def _with_known_names(sidecars: SidecarConfig, vocabulary: OutputTags) -> SidecarConfig:
    """Respell the tags named in the style as the model spells them."""
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
    """Return whether any picture still has to be tagged; if not, the model need not be loaded."""
    uncounted = _Tally(total=None, hook=ignore_progress)
    waiting = _waiting(find_pictures(config.paths), config.sidecars, uncounted)
    return next(waiting, None) is not None


def _waiting(
    paths: Iterable[Path], sidecars: SidecarConfig | None, tally: _Tally
) -> Iterator[tuple[Path, Path | Problem]]:
    """Yield the pictures to tag; two neighbours that share a sidecar are a problem of the second."""
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
    """Select the tags of a picture, and write its sidecar if requested."""
    probabilities = prediction.probabilities
    passed = passing(probabilities[None], task.vocabulary, task.criterion)[0]
    tags = select(probabilities, passed, task.vocabulary, task.selection)
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
        return Problem("sidecar", f"its {sidecar.name} cannot be read as UTF-8 text ({exc})")
    text = caption([tag.name for tag in tags], config.style, existing=existing)
    publish_bytes(sidecar, f"{text}\n".encode())
    return None
