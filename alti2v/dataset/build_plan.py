"""The plan of a build in three steps: look at the new pictures, decide which to use, assign them to shards.

Only the first step decodes pictures. What exists once per picture is an array of numbers, or on disk.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from alti2v.arrays import Int64Array
from alti2v.dataset.images.appearance import (
    AppearanceIndex,
    Preparation,
    appearance_index,
    comparable,
    empty_index,
    index_rows,
    known_rows,
    prepare,
    report_changed,
)
from alti2v.dataset.images.prepare import appearance_recipe
from alti2v.dataset.plan.components import related_groups
from alti2v.dataset.plan.filters import PREFIX
from alti2v.dataset.plan.outcomes import DROPPED, NONE_REMOVED, Outcomes, first_outcomes
from alti2v.dataset.plan.planner import Candidates, ExistingPictures, Plan, PlanOptions, make_plan
from alti2v.dataset.plan.posts import StorePosts
from alti2v.dataset.plan.split import NOWHERE, check_sizes
from alti2v.dataset.plan.split_by import UNKNOWN_MOMENT, SplitFacts
from alti2v.dataset.plan.vocabulary import CATEGORIES, blocks
from alti2v.dataset.versions.previous import History, existing_pictures, related_pairs, replaced_ids
from alti2v.errors import DataError
from alti2v.numerals import counted
from alti2v.records import Category, Progress
from alti2v.storage.disk_table import DiskTable
from alti2v.storage.table import give_back_memory

_NO_IDS = np.empty(0, np.int64)
_LEFT_OUT = f"{DROPPED} {PREFIX}"  # of the names of outcomes that are due to a filter


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInputs:
    """Everything that a plan depends on.

    Attributes:
        options: Options that determine the content of the dataset.
        posts: Posts of the store.
        history: Current version of the dataset; None if there is none.
        is_growth: True if the shards of the current version are kept.
        is_imported: True if the store was imported: its ids say nothing about time.
        preparation: Where and with which recipe to prepare pictures.
    """

    options: PlanOptions
    posts: StorePosts
    history: History | None
    is_growth: bool
    is_imported: bool
    preparation: Preparation

    @property
    def kept(self) -> History | None:
        """Current version if its shards are kept, else None."""
        return self.history if self.is_growth else None

    @property
    def version(self) -> int:
        """Number of the version to build."""
        return 1 if self.history is None else self.history.manifest.edition + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPictures:
    """Pictures without a shard, and their appearance.

    Attributes:
        rows: Rows of the posts, ascending.
        index: The appearance index: these pictures, and those in shards.
        prepared: Prepared pictures, see `appearance.prepare`, ascending by id; earlier builds have prepared the
            others.
        related: Related group of every post of the store.
        existing: Pictures in shards; None for a new dataset.
        outcomes: Outcomes as far as the tables of the store tell.
    """

    rows: Int64Array
    index: AppearanceIndex
    prepared: DiskTable
    related: Int64Array
    existing: ExistingPictures | None
    outcomes: Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class UsablePictures:
    """Pictures to assign.

    Attributes:
        candidates: Usable pictures without a shard.
        existing: Pictures in shards; None for a new dataset.
        index: New content of survey.parquet.
        prepared: See `NewPictures`.
        outcomes: Outcomes after unusable pictures were dropped.
    """

    candidates: Candidates
    existing: ExistingPictures | None
    index: AppearanceIndex
    prepared: DiskTable
    outcomes: Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBuild:
    """A plan, and the tables that go with it.

    Attributes:
        rows: Rows of the posts, one per candidate.
        prepared: See `NewPictures`.
        index: New content of survey.parquet.
        outcomes: Final outcomes of all posts.
    """

    plan: Plan
    rows: Int64Array
    prepared: DiskTable
    index: AppearanceIndex
    outcomes: Outcomes


def plan_build(inputs: BuildInputs) -> PlannedBuild:
    """Plan a new dataset, or the next version of one.

    Raises:
        UsageError: Test and validation leave nothing to train on.
        DataError: There are no usable pictures, or no tags.
        DamagedError: The store or the dataset is damaged.
    """
    return assign_pictures(inputs, choose_usable(inputs, look_at_new(inputs)))


def look_at_new(inputs: BuildInputs) -> NewPictures:
    """Decode every picture that no earlier build has decoded, and record its appearance."""
    posts, kept = inputs.posts, inputs.kept
    known = _known_index(inputs)
    outcomes = first_outcomes(
        posts,
        existing=_NO_IDS if kept is None else kept.ids,
        replaced=_NO_IDS if kept is None else replaced_ids(known, posts, kept.ids),
        removed=NONE_REMOVED if inputs.history is None else inputs.history.gone,
    )
    _check_usable(inputs, outcomes)
    if kept is None:
        existing, rows = None, outcomes.usable
        related = related_groups(posts.ids, related_pairs(posts, outcomes))
    else:
        existing, related = existing_pictures(replace(kept, index=known), posts, outcomes)
        rows = outcomes.usable[~np.isin(posts.ids[outcomes.usable], existing.ids)]
    known_row, is_known = known_rows(known, posts, rows)
    prepared = prepare(inputs.preparation, posts, rows[~is_known])
    report_changed(inputs.preparation, prepared)
    stays = np.zeros(len(known.ids), np.bool_)
    stays[known_row[is_known]] = True
    if existing is not None:
        stays |= np.isin(known.ids, existing.ids)
    index = appearance_index(
        itertools.chain(known.parts(stays), index_rows(posts, prepared)),
        appearance_recipe(inputs.options.image),
        inputs.preparation.scratch,
    )
    return NewPictures(
        rows=rows, index=index, prepared=prepared, related=related, existing=existing, outcomes=outcomes
    )


def choose_usable(inputs: BuildInputs, new: NewPictures) -> UsablePictures:
    """Drop the pictures that cannot be used."""
    posts = inputs.posts
    at = np.searchsorted(new.index.ids, posts.ids[new.rows])
    reason, reasons = new.index.reasons()
    is_usable = reason[at] == 0
    lost = at[~is_usable]
    outcomes = new.outcomes.dropped(new.rows[~is_usable], (reasons[code] for code in reason[lost].tolist()))
    _check_usable(inputs, outcomes)
    rows = new.rows[is_usable]
    return UsablePictures(
        candidates=Candidates(
            ids=posts.ids[rows],
            related=new.related[rows],
            appearances=new.index.appearances(at[is_usable]),
            tags=posts.tags,
            rows=rows,
            table=posts.table,
        ),
        existing=new.existing,
        index=new.index,
        prepared=new.prepared,
        outcomes=outcomes,
    )


def assign_pictures(inputs: BuildInputs, usable: UsablePictures) -> PlannedBuild:
    """Assign pictures to splits and shards, and choose the vocabulary."""
    give_back_memory()
    plan = make_plan(
        usable.candidates,
        inputs.options,
        store_digest=inputs.posts.digest,
        existing=usable.existing,
        edition=inputs.version,
        facts=_split_facts(inputs, usable),
    )
    rows = usable.candidates.rows
    left_out = rows[plan.side == NOWHERE]
    by_date = inputs.options.split == "date"
    reason = "newer_than_held_out" if by_date else "alike_held_out"
    if by_date and usable.existing is not None and len(left_out):
        pictures = counted(len(left_out), "new picture is", "new pictures are")
        said = f"{pictures} not older than test and validation: --new-plan splits anew"
        inputs.preparation.progress(
            Progress(stage="preparing", done=0, total=None, unit="pictures", milestone=said)
        )
    return PlannedBuild(
        plan=plan,
        rows=rows,
        prepared=usable.prepared,
        index=usable.index,
        outcomes=usable.outcomes.dropped(left_out, itertools.repeat(reason, len(left_out))),
    )


def _split_facts(inputs: BuildInputs, usable: UsablePictures) -> SplitFacts | None:
    """Return artists and dates of the existing pictures that the store still has, and of the candidates."""
    if inputs.options.split not in ("artist", "date"):
        return None
    posts, rows = inputs.posts, usable.candidates.rows
    if usable.existing is not None:
        row = np.minimum(np.searchsorted(posts.ids, usable.existing.ids), len(posts.ids) - 1)
        is_there = posts.ids[row] == usable.existing.ids
        rows = np.concatenate([np.where(is_there, row, -1), rows])
    owners, artists = _artists(posts, rows)
    return SplitFacts(owners=owners, artists=artists, moments=_moments(posts, rows, usable.existing))


def _moments(posts: StorePosts, rows: Int64Array, existing: ExistingPictures | None) -> Int64Array:
    """Return the dates of pictures, or their ids if a picture that is in the dataset already has no date.

    Some boards list no dates, but number posts in the order of creation.

    Args:
        posts: Posts of the store.
        rows: (n,) rows in `posts`, those of existing pictures first; -1 for pictures that the store has lost.
        existing: Pictures in shards; None for a new dataset.
    """
    dates = np.where(rows >= 0, posts.numbers("created_at")[rows], 0)
    decisive = slice(None) if existing is None else slice(len(existing.ids))
    if dates[decisive][rows[decisive] >= 0].all():
        return np.where(dates == 0, UNKNOWN_MOMENT, dates)
    if existing is None:
        return posts.ids[rows]
    return np.concatenate([existing.ids, posts.ids[rows[len(existing.ids) :]]])


def _artists(posts: StorePosts, rows: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return pairs of a position in `rows` and an artist of that post; rows of -1 have none."""
    is_artist = posts.table.categories == CATEGORIES.index(Category.ARTIST)
    owners, artists = [_NO_IDS], [_NO_IDS]
    positions = np.flatnonzero(rows >= 0)
    for some in blocks(len(positions)):
        tags = posts.tags.take(rows[positions[some]])
        has = is_artist[tags.codes]
        owners.append(np.repeat(positions[some], tags.lengths)[has])
        artists.append(tags.codes[has].astype(np.int64))
    return np.concatenate(owners), np.concatenate(artists)


def _known_index(inputs: BuildInputs) -> AppearanceIndex:
    if inputs.history is None:
        return empty_index(inputs.preparation.scratch)
    needed = _NO_IDS if inputs.kept is None else inputs.kept.ids
    return comparable(inputs.history.index, needed, inputs.preparation, inputs.posts)


def _check_usable(inputs: BuildInputs, outcomes: Outcomes) -> None:
    """Check that a new dataset gets pictures; a version of one may add none."""
    if inputs.is_growth:
        return
    usable = len(outcomes.usable)
    if not usable:
        counts = outcomes.counts()
        kinds = ", ".join(f"{count:,} {_in_words(kind)}" for kind, count in counts.items())
        is_filtered = any(kind.startswith(_LEFT_OUT) for kind in counts)
        more = "import more" if inputs.is_imported else "crawl more"
        advice = f"give weaker filters, or {more}" if is_filtered else more
        raise DataError(f"{inputs.preparation.store} has no usable picture ({kinds}): {advice}")
    if inputs.options.split == "date" and inputs.is_imported:
        _check_dates(inputs.posts, outcomes.usable)
    if inputs.options.split != "id-modulo":
        check_sizes(usable, test=inputs.options.test, validation=inputs.options.validation)


def _in_words(kind: str) -> str:
    """Describe an outcome of `Outcomes.counts`, with the option where a filter left the posts out."""
    if not kind.startswith(_LEFT_OUT):
        return kind.replace("_", " ")
    return f"left out by --{kind.removeprefix(_LEFT_OUT).replace('_', '-')}"


def _check_dates(posts: StorePosts, rows: Int64Array) -> None:
    """Check that all pictures of an imported store have dates, because its ids cannot stand in for them."""
    undated = int(np.count_nonzero(posts.numbers("created_at")[rows] == 0))
    if undated:
        then = (
            "add --since 1970-01-01 to leave these out" if undated < len(rows) else "leave out --split-by date"
        )
        raise DataError(
            "--split-by date needs times of creation, and this imported store has none for "
            f"{undated:,} of {len(rows):,} pictures: {then}"
        )
