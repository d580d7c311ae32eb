"""Orchestrator of `build-shards`: plan, write shards and tables, publish a version.

Each step leaves files that are complete or absent, so the same command after a kill does what is missing; a
run with other options before the manifest exists reuses what it can.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from alti2v.arrays import Int32Array
from alti2v.dataset.build_context import engine_of, posts_of, shared_work
from alti2v.dataset.build_plan import BuildInputs, PlannedBuild, plan_build
from alti2v.dataset.check.repair import repair_incomplete
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.engines.local import Engine
from alti2v.dataset.images.appearance import Preparation, prepare
from alti2v.dataset.images.prepare import made_with
from alti2v.dataset.manifest import Manifest, Shard, in_order, read_manifest, read_vocabulary, write_vocabulary
from alti2v.dataset.plan.outcomes import outcome_tables
from alti2v.dataset.plan.planner import PlannedShard, PlanOptions, as_json, options_hash
from alti2v.dataset.plan.posts import StorePosts, post_rows
from alti2v.dataset.plan.split import ID_MODULO_RULE, NOWHERE, SPLIT_RULE
from alti2v.dataset.plan.split_by import ARTIST_RULE, DATE_RULE
from alti2v.dataset.plan.vocabulary import Vocabulary
from alti2v.dataset.plan_options import differences, plan_options
from alti2v.dataset.planned_version import PlannedVersion, write_and_publish
from alti2v.dataset.report import BuildReport, build_report
from alti2v.dataset.versions.previous import read_history
from alti2v.dataset.versions.publish import is_whole
from alti2v.dataset.versions.transaction import DatasetWriter, open_for_writing
from alti2v.dataset.write.shard import (
    PREPARED_COLUMNS,
    PlannedSamples,
    ShardSpec,
    read_receipt,
    shard_plans,
    write_plan,
)
from alti2v.errors import UsageError
from alti2v.records import ProgressHook, Tag, ignore_progress
from alti2v.storage.columns import OUTCOMES
from alti2v.storage.directory import DirectoryKind, claim_directory
from alti2v.storage.disk_table import DiskTable, divided, sorted_disk_table
from alti2v.storage.layout import IMPORTED, OUTCOMES_FILE, PLAN_DIR, WORK_DIR
from alti2v.storage.publish import make_directory
from alti2v.storage.table import give_back_memory, write_parts

_RULES = {"hash": SPLIT_RULE, "id-modulo": ID_MODULO_RULE, "artist": ARTIST_RULE, "date": DATE_RULE}
_PLANNED_AT_ONCE = 100_000  # samples, about 150 MB while their tables are made
_TAR_OVERHEAD = 2300  # bytes per sample beside the picture: two headers, 1 kB of JSON, padding
# Fields of store.json that say what was crawled.
_SOURCE_FIELDS = ("board", "tags", "files", "min_id", "max_id", "min_score", "exclude")


_Group = Sequence[tuple[ShardSpec, PlannedShard]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """Request for a build.

    Attributes:
        posts: Posts of the store.
        source: Fields of store.json for the manifest.
        hash: SHA-256 of options and posts; the manifest of a finished build holds the same.
    """

    config: BuildConfig
    options: PlanOptions
    posts: StorePosts
    source: Mapping[str, object]
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Build:
    """A dataset as it is after the build.

    Attributes:
        saved: Folder of the plan if it was only planned.
    """

    manifest: Manifest
    tags: tuple[Tag, ...]
    saved: Path | None = None


def build_shards(config: BuildConfig, *, progress: ProgressHook = ignore_progress) -> BuildReport:
    """Build a dataset, resume a build, or add the new posts of the store; do nothing if it is up to date.

    Raises:
        UsageError: The store or the dataset is something else, the dataset is in use or has other options, or
            test and validation leave nothing to train on.
        DataError: The store has no tables yet, no usable pictures, or no tags.
        DamagedError: The store is damaged.
        StorageError: The dataset cannot be written; run the same command again to resume.
        RemoteError: The Dask cluster does not respond, or was lost.
    """
    begun_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        found = _planned(config, stack, progress)
        give_back_memory()
        if isinstance(found, PlannedVersion):
            found = _Build(manifest=write_and_publish(found), tags=found.tags)
    return build_report(
        config.address, found.manifest, found.tags, saved=found.saved, seconds=time.monotonic() - begun_s
    )


def _planned(
    config: BuildConfig, stack: contextlib.ExitStack, progress: ProgressHook
) -> PlannedVersion | _Build:
    """Plan a version, unless the dataset is up to date; dataset and engine are open until `stack` ends."""
    request = _request(config)
    built = _finished(request)
    if built is not None:
        return built
    writer = stack.enter_context(open_for_writing(config.dataset, config.url))
    engine = stack.enter_context(engine_of(config))
    return _plan(request, writer, engine, progress)


def _request(config: BuildConfig) -> _Request:
    options = plan_options(config)
    posts, store = posts_of(config, options.filters)
    return _Request(
        config=config,
        options=options,
        posts=posts,
        source={name: store[name] for name in _SOURCE_FIELDS if name in store},
        hash=options_hash(options, store_digest=posts.digest),
    )


def _finished(request: _Request) -> _Build | None:
    """Return the requested dataset if it is complete; a local one needs no lock for that."""
    config = request.config
    if config.url is not None or not claim_directory(config.dataset, DirectoryKind.DATASET) or config.new_plan:
        return None
    manifest = read_manifest(config.dataset)
    _check_options(request, manifest)
    is_unfinished = (config.dataset / WORK_DIR).exists()
    if is_unfinished or manifest.request_hash != request.hash or not is_whole(config.dataset, manifest):
        return None
    return _Build(manifest=manifest, tags=read_vocabulary(config.dataset))


def _check_options(request: _Request, manifest: Manifest) -> None:
    if other := differences(manifest.options, as_json(request.options)):
        raise UsageError(
            f"{request.config.address} was built with other options ({other}): use the same options, choose "
            "another folder, or replace the dataset with --new-plan"
        )


def _plan(
    request: _Request, writer: DatasetWriter, engine: Engine, progress: ProgressHook
) -> PlannedVersion | _Build:
    config, current = request.config, writer.manifest
    is_growth = current is not None and not config.new_plan
    preparation = Preparation(
        store=config.store,
        work=shared_work(config, writer.work),
        scratch=writer.work,
        recipe=request.options.image,
        made_with=made_with(),
        engine=engine,
        progress=progress,
    )
    if current is not None and is_growth:
        _check_options(request, current)
        if current.request_hash == request.hash:
            if not config.dry_run:
                repair_incomplete(writer, current, request.posts, preparation)
                writer.finish()
            return _Build(manifest=current, tags=read_vocabulary(writer.folder))
    inputs = BuildInputs(
        options=request.options,
        posts=request.posts,
        history=None if current is None else read_history(writer.folder, current, writer.work, binds=is_growth),
        is_growth=is_growth,
        is_imported=request.source.get("board") == IMPORTED,
        preparation=preparation,
    )
    planned = plan_build(inputs)
    manifest = _planned_manifest(request, inputs, planned)
    plan_folder = writer.work / PLAN_DIR
    specs = _save_plan(plan_folder, config, inputs, planned)
    tags = planned.plan.vocabulary.tags
    if config.dry_run:
        return _Build(manifest=manifest, tags=tags, saved=plan_folder)
    return PlannedVersion(
        writer=writer,
        preparation=preparation,
        manifest=manifest,
        tags=tags,
        specs=specs,
        survey=planned.index.parts(),
        is_first=inputs.history is None,
    )


def _planned_manifest(request: _Request, inputs: BuildInputs, planned: PlannedBuild) -> Manifest:
    """Write the manifest of the new version; the sizes of its new shards are estimates, their hashes empty."""
    plan, kept = planned.plan, inputs.kept
    sizes = planned.prepared.numbers("size")
    sample_bytes = _TAR_OVERHEAD + (int(sizes[sizes > 0].mean()) if sizes.any() else 0)
    new = (
        Shard(
            name=shard.name,
            samples=len(shard.rows),
            bytes=len(shard.rows) * sample_bytes,
            sha256="",
            rows_sha256="",
        )
        for shard in plan.shards
    )
    return Manifest(
        plan_hash=plan.hash,
        image=request.options.image,
        shards=in_order((*(kept.manifest.shards if kept is not None else ()), *new)),
        split_rule=_RULES[request.options.split],
        outcomes=planned.outcomes.counts(),
        made_with=inputs.preparation.made_with,
        # Pictures that the store has lost are missing: once it is repaired, the same request has more to do.
        request_hash="" if planned.prepared.numbers("has_changed").any() else request.hash,
        groups=plan.groups,
        alike=plan.alike,
        astray=plan.astray,
        **_vocabulary_facts(plan.vocabulary if kept is None else kept.manifest),
        edition=inputs.version,
        options=as_json(request.options),
        source=request.source,
        command=request.config.command,
    )


def _vocabulary_facts(chosen: Manifest | Vocabulary) -> dict[str, Any]:
    """Facts about the choice of tags, which is made once, for the first version."""
    return {"rare": chosen.rare, "left_out": chosen.left_out, "unmet": chosen.unmet}


def _save_plan(
    folder: Path, config: BuildConfig, inputs: BuildInputs, planned: PlannedBuild
) -> list[ShardSpec]:
    """Save vocabulary and outcomes, and a table for each shard that is not built yet."""
    make_directory(folder)
    write_vocabulary(folder, planned.plan.vocabulary.tags)
    write_parts(folder / OUTCOMES_FILE, OUTCOMES, _outcomes(inputs, planned))
    return _write_shard_plans(config, inputs, planned)


def _outcomes(inputs: BuildInputs, planned: PlannedBuild) -> Iterator[pa.Table]:
    """Yield the outcomes of all posts of the store, and of posts that it has lost since the current version."""
    parts = outcome_tables(inputs.posts, planned.outcomes, *_shards_of(inputs, planned))
    kept = inputs.kept
    if kept is None:
        yield from parts
        return
    ids = inputs.posts.ids
    lost = pa.concat_tables(
        part.filter(pa.array(~np.isin(part["id"].to_numpy(), ids))) for part in kept.outcomes()
    ).sort_by("id")
    lost_ids, first = lost["id"].to_numpy(), 0
    for part in parts:
        last = int(np.searchsorted(lost_ids, part["id"][-1].as_py()))
        yield pa.concat_tables([part, lost.slice(first, last - first)]).sort_by("id")
        first = last
    yield lost.slice(first)


def _shards_of(inputs: BuildInputs, planned: PlannedBuild) -> tuple[Int32Array, list[str]]:
    """Return the number of every post's shard in the new version, -1 for none, and the names of the shards."""
    shard = np.full(len(inputs.posts.ids), -1, np.int32)
    names: list[str] = []
    if inputs.kept is not None:
        pictures = inputs.kept.pictures
        names += pictures.names
        row = np.minimum(np.searchsorted(inputs.posts.ids, pictures.ids), len(shard) - 1)
        is_here = inputs.posts.ids[row] == pictures.ids
        shard[row[is_here]] = pictures.shard[is_here]
    for planned_shard in planned.plan.shards:
        shard[planned.rows[planned_shard.rows]] = len(names)
        names.append(str(planned_shard.name))
    return shard, names


def _write_shard_plans(config: BuildConfig, inputs: BuildInputs, planned: PlannedBuild) -> list[ShardSpec]:
    plan, preparation = planned.plan, inputs.preparation
    # A shard of the same plan has other bytes if other versions of the programs made it.
    shard_hash = f"{plan.hash} {sorted(preparation.made_with.items())}"
    specs = [
        ShardSpec(
            dataset=config.address,
            work=preparation.work,
            name=shard.name,
            plan_hash=shard_hash,
            keeps_shape=preparation.recipe.keeps_shape,
        )
        for shard in plan.shards
    ]
    pending = [
        (spec, shard) for spec, shard in zip(specs, plan.shards, strict=True) if read_receipt(spec) is None
    ]
    groups = list(_in_groups(pending))
    for together, (posts, prepared) in zip(groups, _divided(groups, inputs, planned), strict=True):
        order = np.concatenate([shard.rows for _, shard in together])
        at = np.argsort(np.argsort(planned.rows[order]))  # both tables are in ascending order of id
        tables = shard_plans(
            PlannedSamples(
                posts=post_rows(posts.take(at)),
                table=inputs.posts.table,
                vocabulary=plan.vocabulary,
                group=plan.group[order],
                prepared=prepared.take(at, PREPARED_COLUMNS),
            ),
            [len(shard.rows) for _, shard in together],
            inputs.options.image,
        )
        for (spec, _), table in zip(together, tables, strict=True):
            write_plan(spec, table)
    return specs


def _divided(
    groups: Sequence[_Group], inputs: BuildInputs, planned: PlannedBuild
) -> Iterator[tuple[DiskTable, DiskTable]]:
    """Divide posts and prepared pictures among groups of shards, in one pass over all of them."""
    into = np.full(len(inputs.posts.ids), -1, np.int32)
    for number, group in enumerate(groups):
        for _, shard in group:
            into[planned.rows[shard.rows]] = number
    scratch, prepared = inputs.preparation.scratch, _all_prepared(inputs, planned)
    rows = np.searchsorted(inputs.posts.ids, prepared.numbers("id"))
    yield from zip(
        inputs.posts.divided(into, scratch),
        divided(prepared, into[rows], scratch, PREPARED_COLUMNS),
        strict=True,
    )


def _in_groups(
    pending: _Group,
) -> Iterator[_Group]:
    """Cut shards into groups whose posts fit into memory."""
    group: list[tuple[ShardSpec, PlannedShard]] = []
    for spec, shard in pending:
        if group and sum(len(other.rows) for _, other in group) + len(shard.rows) > _PLANNED_AT_ONCE:
            yield group
            group = []
        group.append((spec, shard))
    if group:
        yield group


def _all_prepared(inputs: BuildInputs, planned: PlannedBuild) -> DiskTable:
    """Return the prepared pictures of all planned samples."""
    plan, posts, preparation = planned.plan, inputs.posts, inputs.preparation
    # A picture that is new in this version, but was looked at for an earlier one, has to be prepared again.
    is_missing = ~np.isin(posts.ids[planned.rows], planned.prepared.numbers("id"))
    missing = np.flatnonzero((plan.side != NOWHERE) & is_missing)
    if not len(missing):
        return planned.prepared
    more = prepare(preparation, posts, planned.rows[missing])
    parts = (part for table in (planned.prepared, more) for part in table.blocks())
    return sorted_disk_table(parts, more.schema, preparation.scratch)
