"""Repair of lost and damaged shards: each is rebuilt from the store, with the same bytes or not at all.

The pictures are prepared again. The other facts come from the shard's own metadata or, if those are lost, from
the tables of the store and the vocabulary of the dataset. A shard is replaced only if the result has the hash
in the manifest.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from alti2v.arrays import Int64Array
from alti2v.dataset.engines.local import local_engine
from alti2v.dataset.images.appearance import Preparation, prepare
from alti2v.dataset.images.prepare import made_with
from alti2v.dataset.manifest import Manifest, Shard, read_manifest
from alti2v.dataset.plan.near_duplicates import groups
from alti2v.dataset.plan.outcomes import first_outcomes
from alti2v.dataset.plan.posts import StorePosts, load_posts
from alti2v.dataset.plan.split import shuffled
from alti2v.dataset.plan.vocabulary import grown_vocabulary
from alti2v.dataset.versions.previous import History, existing_pictures, read_history, replaced_ids
from alti2v.dataset.versions.publish import incomplete, missing_descriptions, publish_descriptions
from alti2v.dataset.versions.transaction import DatasetWriter, open_for_writing
from alti2v.dataset.write.shard import (
    PLACE_COLUMNS,
    PlannedSamples,
    ShardSpec,
    build_shard,
    shard_plans,
    write_plan,
)
from alti2v.errors import DamagedError
from alti2v.records import ProgressHook, Verification, ignore_progress
from alti2v.storage.columns import METADATA
from alti2v.storage.layout import REPAIR_DIR, TAGS_FILE
from alti2v.storage.location import local_copy, open_location, put, remove
from alti2v.storage.publish import make_directory
from alti2v.storage.store import open_store
from alti2v.storage.table import read_table


@dataclass(frozen=True, slots=True, kw_only=True)
class _Repair:
    """A dataset under repair, and the store that it was built from."""

    writer: DatasetWriter
    history: History
    posts: StorePosts
    preparation: Preparation


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pictures:
    """The pictures of a shard in its order: post numbers, rows of the posts, prepared pictures."""

    ids: Int64Array
    rows: Int64Array
    prepared: pa.Table


def repair_incomplete(
    writer: DatasetWriter, manifest: Manifest, posts: StorePosts, preparation: Preparation
) -> None:
    """Rebuild the shards that lack a file or are cut off, and write missing descriptions.

    Raises:
        DamagedError: The store no longer has the pictures of a shard.
    """
    history = read_history(writer.folder, manifest, writer.work)
    repair = _Repair(writer=writer, history=history, posts=posts, preparation=preparation)
    for shard in incomplete(writer.location, manifest.shards):
        if not _repair_shard(repair, shard, damaged=frozenset()):
            raise DamagedError(
                f"{writer.folder}: the store no longer has the pictures of {shard.name}: "
                "restore the shard from a copy, or build with --new-plan"
            )
    missing = missing_descriptions(writer.folder)
    publish_descriptions(writer.folder, manifest, history.tags, files=missing)


def repair_damaged(
    dataset: Path, store: Path, verification: Verification, *, progress: ProgressHook = ignore_progress
) -> None:
    """Rebuild the shards that `verify_dataset` found damaged; others are left unchanged.

    A shard that the store cannot reproduce stays damaged.

    Raises:
        UsageError: One of the directories is something else, or the dataset is in use.
        DamagedError: A table of the dataset, or the store, is damaged.
    """
    damaged = {finding.where for finding in verification.findings if not finding.repaired}
    ratings = bool(read_manifest(dataset).options.get("vocabulary", {}).get("ratings", False))
    with open_store(store) as opened:
        posts = load_posts(opened, dataset, ratings=ratings)
    with open_for_writing(dataset) as writer, local_engine(len(os.sched_getaffinity(0))) as engine:
        manifest = read_manifest(dataset) if writer.manifest is None else writer.manifest
        preparation = Preparation(
            store=store,
            work=writer.work,
            scratch=writer.work,
            recipe=manifest.image,
            made_with=made_with(),
            engine=engine,
            progress=progress,
        )
        history = read_history(dataset, manifest, writer.work)
        repair = _Repair(writer=writer, history=history, posts=posts, preparation=preparation)
        for shard in manifest.shards:
            if damaged & set(shard.name.files):
                _repair_shard(repair, shard, damaged=damaged)
        writer.finish()


def _repair_shard(repair: _Repair, shard: Shard, *, damaged: Set[str]) -> bool:
    """Rebuild one shard.

    Args:
        repair: Dataset and store.
        shard: Shard to make.
        damaged: Files whose content must not be used.

    Returns:
        True if the shard has its bytes again; if not, nothing has changed.
    """
    pictures = _prepared_pictures(repair, shard)
    if pictures is None:
        return False
    return any(_replaced(repair, shard, plan) for plan in _plans(repair, shard, pictures, damaged))


def _plans(repair: _Repair, shard: Shard, pictures: _Pictures, damaged: Set[str]) -> Iterator[pa.Table]:
    """Yield the tables that the shard can be built from, the most reliable first."""
    if shard.name.metadata not in damaged:
        plan = _from_metadata(repair, shard, pictures)
        if plan is not None:
            yield plan
    # A damaged vocabulary would replace right labels with wrong ones.
    if TAGS_FILE not in damaged:
        yield _from_vocabulary(repair, pictures)


def _prepared_pictures(repair: _Repair, shard: Shard) -> _Pictures | None:
    """Prepare the pictures of a shard again; None if the store lacks one."""
    posts = repair.posts
    ids = repair.history.pictures.of(str(shard.name))
    ids = ids[shuffled(ids)]
    rows = np.minimum(np.searchsorted(posts.ids, ids), len(posts.ids) - 1)
    if not np.array_equal(posts.ids[rows], ids) or (posts.numbers("size")[rows] == 0).any():
        return None
    prepared = prepare(repair.preparation, posts, np.sort(rows))
    found = prepared.take(np.searchsorted(prepared.numbers("id"), ids))
    return _Pictures(ids=ids, rows=rows, prepared=found)


def _from_metadata(repair: _Repair, shard: Shard, pictures: _Pictures) -> pa.Table | None:
    """Plan the shard from its metadata; None if they are lost or belong to other pictures."""
    try:
        with local_copy(repair.writer.location, shard.name.metadata) as path:
            plan = read_table(path, METADATA).drop_columns(["offset"])
    except (DamagedError, FileNotFoundError):
        return None
    prepared = pictures.prepared
    is_same = np.array_equal(plan.column("id").to_numpy(), pictures.ids)
    if not is_same or plan.column("sha256").to_pylist() != prepared.column("sha256").to_pylist():
        return None
    for name in PLACE_COLUMNS:
        plan = plan.append_column(name, prepared.column(name))
    return plan


def _from_vocabulary(repair: _Repair, pictures: _Pictures) -> pa.Table:
    """Plan the shard from the store and the vocabulary."""
    history, posts, rows = repair.history, repair.posts, pictures.rows
    replaced = replaced_ids(history.index, posts, history.ids)
    outcomes = first_outcomes(posts, existing=history.ids, replaced=replaced, removed=history.gone)
    existing, _ = existing_pictures(history, posts, outcomes)
    group = groups(existing.ids, existing.related, existing.appearances)
    counts = posts.tags.counts(rows, tags=len(posts.table.names))
    samples = PlannedSamples(
        posts=posts.take(rows),
        table=posts.table,
        vocabulary=grown_vocabulary(history.tags, counts, posts.table),
        group=group[np.searchsorted(existing.ids, pictures.ids)],
        prepared=pictures.prepared,
    )
    return next(shard_plans(samples, [len(rows)], repair.preparation.recipe))


def _replaced(repair: _Repair, shard: Shard, plan: pa.Table) -> bool:
    """Build the shard from a plan; put it in place and return True if it has the bytes in the manifest."""
    work, staged = repair.preparation.work, repair.writer.work / REPAIR_DIR
    for file in shard.name.files:
        make_directory((staged / file).parent)
    spec = ShardSpec(
        dataset=staged,
        work=work,
        name=shard.name,
        plan_hash=f"repair {shard.sha256}",
        keeps_shape=repair.preparation.recipe.keeps_shape,
    )
    write_plan(spec, plan)
    is_same = build_shard(spec) == shard
    if is_same:
        # The tar last: until it is in place, the shard counts as incomplete.
        for file in reversed(shard.name.files):
            put(staged / file, repair.writer.location, file)
    remove(open_location(work), [spec.receipt_file, spec.plan_file])
    shutil.rmtree(staged)
    return is_same
