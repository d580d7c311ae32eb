"""build-shards: a store becomes a dataset, and a grown store a larger one.

Look at every new picture once, plan, write shards and tables, then publish an edition. Each step leaves files
that are whole or absent, so the same command after a kill does what is missing; a run with other options
before the manifest exists reuses what it can. Only this module and `restore.py` start processes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alti2v.dataset.build_context import engine_of, lay_down, posts_of, shared_work, take_up
from alti2v.dataset.check.repair import repair_dataset
from alti2v.dataset.config import BuildConfig, differences
from alti2v.dataset.engines.local import Engine
from alti2v.dataset.images.survey import (
    LOOK_COLUMNS,
    SurveyRun,
    by_id,
    check_blame,
    comparable,
    known_rows,
    looks_of,
    made_with,
    no_survey,
    of_recipe,
    prepare,
    surveyed,
)
from alti2v.dataset.manifest import Manifest, Shard, in_order, read_manifest, read_vocabulary, write_vocabulary
from alti2v.dataset.plan.near_duplicates import families
from alti2v.dataset.plan.planner import Candidates, Plan, PlanOptions, Settled, as_json, make_plan, options_hash
from alti2v.dataset.plan.posts import (
    NONE_REMOVED,
    Outcomes,
    StorePosts,
    count_outcomes,
    first_outcomes,
    outcome_table,
)
from alti2v.dataset.plan.split import ID_MODULO_RULE, NOWHERE, SPLIT_RULE, check_sizes
from alti2v.dataset.plan.vocabulary import Vocabulary
from alti2v.dataset.report import BuildReport, build_report
from alti2v.dataset.versions.previous import History, family_links, read_for_new_plan, read_history, settle
from alti2v.dataset.versions.publish import (
    WORK_DIR,
    incomplete,
    is_whole,
    publish_edition,
    remove_unplanned,
    writing,
)
from alti2v.dataset.versions.remote import claim_work, send_edition
from alti2v.dataset.write.shard import ShardSpec, build_shard, read_receipt, shard_plan, write_plan
from alti2v.errors import DataError, UsageError
from alti2v.records import Progress, ProgressHook, ignore_progress
from alti2v.storage.directory import DirectoryKind, claim_directory
from alti2v.storage.layout import OUTCOMES, OUTCOMES_FILE, SURVEY_FILE
from alti2v.storage.location import open_place, remove
from alti2v.storage.publish import make_directory
from alti2v.storage.remote import Remote
from alti2v.storage.table import give_back_memory, read_table, schema, write_arrow_table

PLAN_DIR = "plan"
_BESIDE_A_PICTURE = 2300  # bytes of a sample in a tar file: two headers, 1 kB of JSON, and what rounds them up
# Of store.json: which board was crawled, and for what.
_OF_THE_SOURCE = ("board", "tags", "files", "min_id", "max_id", "min_score", "exclude")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What the steps of a build need.

    Attributes:
        place: where shards belong.
        history: of the dataset; None if there is none yet.
        is_growth: whether what stands in the dataset stays.
    """

    config: BuildConfig
    options: PlanOptions
    place: Path | Remote
    posts: StorePosts
    source: Mapping[str, object]
    history: History | None
    is_growth: bool
    preparation: SurveyRun

    @property
    def edition(self) -> int:
        return 1 if self.history is None else self.history.manifest.edition + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    """A plan, and what it is about.

    Attributes:
        rows: of the store's posts, one per candidate.
        prepared: what lies in chunks.
        survey: of the new pictures and of those that stand already, in no order.
    """

    plan: Plan
    rows: npt.NDArray[np.int64]
    prepared: pa.Table
    survey: pa.Table
    outcomes: Outcomes


def build_shards(config: BuildConfig, *, progress: ProgressHook = ignore_progress) -> BuildReport:
    """Build a dataset, go on with one, or let one grow with its store; return at once if nothing is to be done.

    Raises:
        UsageError: the store is none, the dataset's folder is something else or was built otherwise or is
            in use, or test and validation leave nothing to train on.
        DataError: the store has no tables yet, no usable pictures, or no tags.
        DamagedError: the store is damaged.
        StorageError: the dataset's place refuses a write; run the same command again to go on.
        RemoteError: the Dask cluster does not answer, or went away.
    """
    begun_s = time.monotonic()
    options = config.options
    posts, source = posts_of(config)
    request = options_hash(options, store_digest=posts.digest)
    if config.url is not None:
        claim_work(config.dataset, config.url)
    elif claim_directory(config.dataset, DirectoryKind.DATASET) and not config.new_plan:
        _check_options(config, options)
        if not (config.dataset / WORK_DIR).exists() and _is_finished(config.dataset, request):
            return _report_finished(config, begun_s)
    with writing(config.dataset) as work, engine_of(config) as engine:
        place = open_place(config.address)
        is_dataset = take_up(place, config.dataset)
        if is_dataset and not config.new_plan:
            _check_options(config, options)
        preparation = _preparation(config, options, work, engine, progress)
        if is_dataset and not config.new_plan and read_manifest(config.dataset).request_hash == request:
            if not config.dry_run:
                repair_dataset(config.dataset, place, posts, preparation)
                lay_down(place, work)
            return _report_finished(config, begun_s)
        read = read_for_new_plan if config.new_plan else read_history
        job = _Job(
            config=config,
            options=options,
            posts=posts,
            source={name: source[name] for name in _OF_THE_SOURCE if name in source},
            place=place,
            history=read(config.dataset) if is_dataset else None,
            is_growth=is_dataset and not config.new_plan,
            preparation=preparation,
        )
        planned = _plan(job)
        manifest = _manifest(job, planned, request)
        specs = _save_plan(job, planned)
        if not config.dry_run:
            manifest = _publish(job, planned, manifest, specs)
            lay_down(place, work)
    return build_report(
        config.address,
        manifest,
        planned.plan.vocabulary.tags,
        saved=_plan_folder(config) if config.dry_run else None,
        seconds=time.monotonic() - begun_s,
    )


def _check_options(config: BuildConfig, options: PlanOptions) -> None:
    manifest = read_manifest(config.dataset)
    if other := differences(manifest.options, as_json(options)):
        raise UsageError(
            f"{config.address} was built with other options ({other}): give the same, choose another folder, "
            "or let --new-plan replace it"
        )


def _is_finished(dataset: Path, request: str) -> bool:
    """Whether the folder holds all files of the very dataset that is asked for."""
    manifest = read_manifest(dataset)
    return manifest.request_hash == request and is_whole(dataset, manifest)


def _preparation(
    config: BuildConfig, options: PlanOptions, work: Path, engine: Engine, progress: ProgressHook
) -> SurveyRun:
    return SurveyRun(
        store=config.store,
        work=shared_work(config, work),
        recipe=options.image,
        made_with=made_with(),
        engine=engine,
        progress=progress,
    )


def _plan(job: _Job) -> _Planned:
    """Look at what is new in the store, and decide what becomes of it."""
    posts, history = job.posts, job.history
    known = _usable_survey(job)
    outcomes = first_outcomes(
        posts,
        settled=_settled_ids(history) if job.is_growth else np.empty(0, np.int64),
        removed=NONE_REMOVED if history is None else history.gone,
    )
    if not job.is_growth:
        _check_usable(job, outcomes)
    settled: Settled | None = None
    if history is not None and job.is_growth:
        settled, family = settle(replace(history, survey=known), posts, outcomes)
        rows = outcomes.usable[~np.isin(posts.ids[outcomes.usable], settled.ids)]
    else:
        family, rows = families(posts.ids, family_links(posts, outcomes)), outcomes.usable
    place, is_known = known_rows(known, posts, rows)
    prepared = prepare(job.preparation, posts, rows[~is_known])
    new, prepared = surveyed(posts, rows[~is_known], prepared), prepared.drop_columns(LOOK_COLUMNS)
    seen = by_id([known.take(pa.array(place[is_known])), new])
    del new  # thumbnails of a whole board are 400 MB: from here on one copy of them has to do
    reasons = np.array(seen.column("reason").to_pylist(), np.object_)
    check_blame(job.preparation, posts, rows[(reasons != "") & ~is_known])
    outcomes = outcomes.dropped(rows[reasons != ""], reasons[reasons != ""])
    if not job.is_growth:
        _check_usable(job, outcomes)
    standing = known.filter(pa.array(np.isin(known.column("id").to_numpy(), _settled_ids(history))))
    unusable = seen.filter(pa.array(reasons != ""))
    rows, seen = rows[reasons == ""], seen.filter(pa.array(reasons == ""))
    survey = pa.concat_tables([standing, seen, unusable] if job.is_growth else [seen, unusable])
    candidates = Candidates(
        ids=posts.ids[rows],
        family=family[rows],
        looks=looks_of(seen),
        tags=posts.tags,
        rows=rows,
        table=posts.table,
    )
    give_back_memory()
    plan = make_plan(candidates, job.options, store_digest=posts.digest, settled=settled, edition=job.edition)
    left_out = rows[plan.side == NOWHERE]
    outcomes = outcomes.dropped(left_out, ["alike_held_out"] * len(left_out))
    return _Planned(
        plan=plan,
        rows=rows,
        prepared=prepared,
        survey=of_recipe(survey, job.options.image),
        outcomes=outcomes,
    )


def _settled_ids(history: History | None) -> npt.NDArray[np.int64]:
    return np.empty(0, np.int64) if history is None else np.array(sorted(history.shard_of), np.int64)


def _usable_survey(job: _Job) -> pa.Table:
    if job.history is None:
        return no_survey()
    needed = _settled_ids(job.history if job.is_growth else None)
    return comparable(job.history.survey, needed, job.preparation, job.posts)


def _check_usable(job: _Job, outcomes: Outcomes) -> None:
    usable = len(outcomes.usable)
    if not usable:
        kinds = ", ".join(f"{count} {kind}" for kind, count in outcomes.counts().items())
        raise DataError(f"{job.config.store} has no usable picture ({kinds}): crawl more")
    if job.options.split == "hash":
        check_sizes(usable, test=job.options.test, validation=job.options.validation)


def _manifest(job: _Job, planned: _Planned, request: str) -> Manifest:
    """The manifest of the edition; of the bytes of its new shards it says about how many there will be."""
    plan, history = planned.plan, job.history
    earlier = history.manifest.shards if history is not None and job.is_growth else ()
    sizes = planned.prepared.column("size").to_numpy()
    each = _BESIDE_A_PICTURE + (int(sizes[sizes > 0].mean()) if sizes.any() else 0)
    new = (
        Shard(name=shard.name, samples=len(shard.rows), bytes=len(shard.rows) * each, sha256="", rows_sha256="")
        for shard in plan.shards
    )
    return Manifest(
        plan_hash=plan.hash,
        image=job.options.image,
        shards=in_order((*earlier, *new)),
        split_rule=SPLIT_RULE if job.options.split == "hash" else ID_MODULO_RULE,
        outcomes=planned.outcomes.counts(),
        made_with=job.preparation.made_with,
        request_hash=request,
        groups=plan.groups,
        alike=plan.alike,
        astray=plan.astray,
        **_of_vocabulary(history.manifest if history is not None and job.is_growth else plan.vocabulary),
        edition=job.edition,
        options=as_json(job.options),
        source=job.source,
        command=job.config.command,
    )


def _of_vocabulary(chosen: Manifest | Vocabulary) -> dict[str, Any]:
    """What is told of the choice of tags: once chosen, a vocabulary stays."""
    return {"rare": chosen.rare, "left_out": chosen.left_out, "unmet": chosen.unmet}


def _plan_folder(config: BuildConfig) -> Path:
    return config.dataset / WORK_DIR / PLAN_DIR


def _save_plan(job: _Job, planned: _Planned) -> list[ShardSpec]:
    """Write down what is planned: vocabulary, outcomes, and a table for each shard that is to be written."""
    folder = _plan_folder(job.config)
    make_directory(folder)
    write_vocabulary(folder, planned.plan.vocabulary.tags)
    outcomes = outcome_table(job.posts, planned.outcomes, _shard_of(job, planned))
    write_arrow_table(folder / OUTCOMES_FILE, OUTCOMES, _all_outcomes(job, outcomes))
    return _write_shard_plans(job, planned)


def _shard_of(job: _Job, planned: _Planned) -> dict[int, str]:
    """The shard of each picture, those that stand included."""
    shard_of = dict(job.history.shard_of) if job.history is not None and job.is_growth else {}
    for shard in planned.plan.shards:
        shard_of |= dict.fromkeys(job.posts.ids[planned.rows[shard.rows]].tolist(), str(shard.name))
    return shard_of


def _publish(job: _Job, planned: _Planned, manifest: Manifest, specs: list[ShardSpec]) -> Manifest:
    dataset, plan = job.config.dataset, planned.plan
    _clear(job.place, specs)
    total = sum(len(shard.rows) for shard in plan.shards)
    written = {shard.name: shard for shard in _write_shards(specs, total, job.preparation)}
    manifest = replace(manifest, shards=tuple(written.get(shard.name, shard) for shard in manifest.shards))
    if job.history is None:
        remove_unplanned(job.place, manifest.shards)
    outcomes = read_table(_plan_folder(job.config) / OUTCOMES_FILE, OUTCOMES)
    tables = {OUTCOMES_FILE: outcomes, SURVEY_FILE: by_id([planned.survey])}
    manifest = replace(manifest, outcomes=count_outcomes(outcomes))
    publish_edition(dataset, manifest, plan.vocabulary.tags, tables)
    if isinstance(job.place, Remote):
        send_edition(job.place, dataset, manifest)
    return manifest


def _all_outcomes(job: _Job, table: pa.Table) -> pa.Table:
    """The outcomes of the store's posts, and of those that it has lost since the dataset was built."""
    table = table.cast(schema(OUTCOMES))
    if job.history is None or not job.is_growth:
        return table
    lost = ~np.isin(job.history.outcomes.column("id").to_numpy(), job.posts.ids)
    return pa.concat_tables([table, job.history.outcomes.filter(pa.array(lost))]).sort_by("id")


def _write_shard_plans(job: _Job, planned: _Planned) -> list[ShardSpec]:
    posts, plan, rows = job.posts, planned.plan, planned.rows
    # What was looked at for an earlier edition, and comes into this one, has left no prepared picture.
    missing = np.flatnonzero(
        (plan.side != NOWHERE) & ~np.isin(posts.ids[rows], planned.prepared.column("id").to_numpy())
    )
    more = prepare(job.preparation, posts, rows[missing]).drop_columns(LOOK_COLUMNS)
    prepared = by_id([planned.prepared, more])
    prepared_ids = prepared.column("id").to_numpy()
    # A shard that other versions made has other bytes, though its plan is the same.
    shard_hash = f"{plan.hash} {sorted(job.preparation.made_with.items())}"
    specs = []
    for shard in plan.shards:
        spec = ShardSpec(
            dataset=job.config.address, work=job.preparation.work, name=shard.name, plan_hash=shard_hash
        )
        specs.append(spec)
        if read_receipt(spec) is None:
            ids = posts.ids[rows[shard.rows]]
            table = shard_plan(
                posts,
                rows[shard.rows],
                plan.labels.take(shard.rows),
                plan.group[shard.rows],
                prepared.take(pa.array(np.searchsorted(prepared_ids, ids))),
                job.options.image,
            )
            write_plan(spec, table)
    return specs


def _clear(place: Path | Remote, specs: list[ShardSpec]) -> None:
    """Remove what killed builds, or builds to another plan, left of shards that are still to be built."""
    receipts = [receipt for spec in specs if (receipt := read_receipt(spec)) is not None]
    lacking = incomplete(place, receipts)
    built = {receipt.name for receipt in receipts if receipt not in lacking}
    unbuilt = [spec for spec in specs if spec.name not in built]
    for spec in unbuilt:
        remove(open_place(spec.work), [spec.receipt_file])
    remove(place, [file for spec in unbuilt for file in spec.name.files])


def _write_shards(specs: list[ShardSpec], total: int, preparation: SurveyRun) -> Iterator[Shard]:
    done = 0
    for _, shard in preparation.engine(build_shard, specs):
        done += shard.samples
        preparation.progress(Progress(stage="writing", done=done, total=total, unit="pictures"))
        yield shard


def _report_finished(config: BuildConfig, begun_s: float) -> BuildReport:
    manifest, tags = read_manifest(config.dataset), read_vocabulary(config.dataset)
    return build_report(config.address, manifest, tags, seconds=time.monotonic() - begun_s)
