"""build-shards: a store becomes a dataset.

Prepare every picture once, plan, write shards and tables, then publish the manifest. Each step leaves files
that are whole or absent, so the same command after a kill does what is missing; a run with other options
before the manifest exists reuses what it can. The only module of this stage that starts processes.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import alti2v
from alti2v.dataset.card import dataset_card
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.duplicates import THUMBNAIL_SIDE_PX, Looks, families
from alti2v.dataset.engines import Engine, local_engine
from alti2v.dataset.manifest import (
    Manifest,
    Shard,
    read_manifest,
    read_vocabulary,
    write_manifest,
    write_vocabulary,
)
from alti2v.dataset.plan import Candidates, Plan, make_plan, options_hash
from alti2v.dataset.posts import STORED, Outcomes, Posts, first_outcomes, load_posts, outcome_table
from alti2v.dataset.prepare import PREPARED, Chunk, chunk_bounds, prepare_chunk
from alti2v.dataset.shards import (
    SHARD_PLAN,
    ShardSpec,
    build_shard,
    read_receipt,
    shard_plan,
)
from alti2v.dataset.split import SPLIT_RULE, check_sizes
from alti2v.errors import DataError, UsageError
from alti2v.records import Progress, ProgressHook, ignore_progress
from alti2v.storage.directory import Kind, claim_directory, exclusive
from alti2v.storage.layout import (
    CARD_FILE,
    DATA_DIR,
    HASH_COLUMNS,
    INDEX_DIR,
    METADATA_DIR,
    OUTCOMES,
    OUTCOMES_FILE,
    TAGS_FILE,
    THUMBNAIL_COLUMN,
)
from alti2v.storage.publish import make_directory, publish_bytes, sweep_temporary_files
from alti2v.storage.store import open_store
from alti2v.storage.table import read_table, write_arrow_table

WORK_DIR = ".build"
_LOCK_FILE = "lock"
# About 2 s of work, and 4 MB: little is lost to a kill, and progress moves.
_CHUNK_PICTURES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What was built.

    Attributes:
        train, validation, test: pictures in each split.
        tags: size of the vocabulary.
        shards: number of tar files.
        bytes: of all tar files.
        outcomes: posts by outcome; their sum is the number of posts in the store.
        alike: pictures that share a group, and therefore a side, with another picture.
        rare: tags of `--keep` that frequency alone would not have chosen, with their training pictures; one
            with 0 could not be kept.
    """

    dataset: Path
    train: int
    validation: int
    test: int
    tags: int
    shards: int
    bytes: int
    outcomes: Mapping[str, int]
    alike: int
    rare: Mapping[str, int]
    plan_hash: str
    seconds: float


def build_shards(config: BuildConfig, *, progress: ProgressHook = ignore_progress) -> BuildReport:
    """Build a dataset, or go on with one; return at once if this very dataset is there already.

    Raises:
        UsageError: the store is none, the dataset's folder is something else or was built otherwise or is
            in use, or test and validation leave nothing to train on.
        DataError: the store has no tables yet, no usable pictures, or no tags.
        DamagedError: the store is damaged.
        StorageError: the dataset's folder refuses a write; run the same command again to go on.
    """
    begun_s = time.monotonic()
    options = config.options
    with open_store(config.store) as store:
        posts = load_posts(store, ratings=config.ratings)
    claim_directory(config.dataset, Kind.DATASET)
    request = options_hash(options, store_digest=posts.digest)
    manifest = _finished(config.dataset, request)
    work = config.dataset / WORK_DIR
    if manifest is None or work.exists():
        for folder in (WORK_DIR, DATA_DIR, INDEX_DIR, METADATA_DIR):
            make_directory(config.dataset / folder)
        with exclusive(work, _LOCK_FILE):
            manifest = _finished(config.dataset, request)
            if manifest is None:
                with local_engine(config.workers or len(os.sched_getaffinity(0))) as engine:
                    manifest = _build(config, posts, request, store.description, engine, progress)
            shutil.rmtree(work)
    return _report(config.dataset, manifest, seconds=time.monotonic() - begun_s)


def _finished(dataset: Path, request: str) -> Manifest | None:
    """The manifest, if the folder holds all shards of the dataset that is asked for."""
    if not claim_directory(dataset, Kind.DATASET):
        return None
    manifest = read_manifest(dataset)
    if manifest.request_hash != request:
        raise UsageError(
            f"{dataset} was built with other options, or before the store changed: choose another folder"
        )
    tables = (dataset / name for name in (TAGS_FILE, OUTCOMES_FILE, CARD_FILE))
    files = (dataset / file for shard in manifest.shards for file in _shard_files(shard))
    is_whole = all(path.exists() for path in (*tables, *files)) and all(
        (dataset / shard.name.data).stat().st_size == shard.bytes for shard in manifest.shards
    )
    return manifest if is_whole else None


def _shard_files(shard: Shard) -> tuple[str, str, str, str]:
    return shard.name.data, shard.name.index, shard.name.dali_index, shard.name.metadata


def _build(
    config: BuildConfig,
    posts: Posts,
    request: str,
    store: Mapping[str, object],
    engine: Engine,
    progress: ProgressHook,
) -> Manifest:
    dataset = config.dataset
    for folder in (dataset, *(dataset / name for name in (WORK_DIR, DATA_DIR, INDEX_DIR, METADATA_DIR))):
        sweep_temporary_files(folder)
    outcomes = first_outcomes(posts)
    _check_usable(config, outcomes)
    made_with = _made_with()
    prepared = _prepare(config, posts, outcomes.usable, made_with, engine, progress)
    reasons = np.array(prepared.column("reason").to_pylist(), np.object_)
    outcomes = outcomes.dropped(outcomes.usable[reasons != ""], reasons[reasons != ""])
    prepared = prepared.filter(pa.array(reasons == ""))
    _check_usable(config, outcomes)

    rows = outcomes.usable
    plan = make_plan(_candidates(posts, outcomes, prepared), config.options, store_digest=posts.digest)
    # A shard that other versions made has other bytes, though its plan is the same.
    shard_hash = f"{plan.hash} {sorted(made_with.items())}"
    specs = [
        ShardSpec(dataset=dataset, work=dataset / WORK_DIR, name=shard.name, plan_hash=shard_hash)
        for shard in plan.shards
    ]
    _write_shard_plans(config, specs, plan, posts, rows, prepared)
    shards = _write_shards(specs, len(rows), engine, progress)
    _remove_unplanned(dataset, shards)

    manifest = Manifest(
        plan_hash=plan.hash,
        image=config.options.image,
        shards=shards,
        split_rule=SPLIT_RULE,
        outcomes=outcomes.counts(),
        made_with=made_with,
        request_hash=request,
        alike=plan.alike,
        rare=plan.vocabulary.rare,
    )
    shard_of = {int(posts.ids[row]): str(shard.name) for shard in plan.shards for row in rows[shard.rows]}
    write_arrow_table(dataset / OUTCOMES_FILE, OUTCOMES, outcome_table(posts, outcomes, shard_of))
    write_vocabulary(dataset, plan.vocabulary.tags)
    write_manifest(dataset, manifest)
    # After the manifest: a folder with a README and nothing else that says what it is, is somebody else's.
    publish_bytes(dataset / CARD_FILE, dataset_card(manifest, plan.vocabulary.tags, store).encode())
    return manifest


def _check_usable(config: BuildConfig, outcomes: Outcomes) -> None:
    usable = len(outcomes.usable)
    if not usable:
        kinds = ", ".join(f"{count} {kind}" for kind, count in outcomes.counts().items())
        raise DataError(f"{config.store} has no usable picture ({kinds}): crawl more")
    check_sizes(usable, test=config.test, validation=config.validation)


def _made_with() -> dict[str, str]:
    import PIL
    import webdataset
    from PIL import features

    return {
        "alti2v": alti2v.__version__,
        "libjpeg": features.version("libjpeg_turbo") or features.version("jpg") or "unknown",
        "pillow": PIL.__version__,
        "pyarrow": pa.__version__,
        "webdataset": webdataset.__version__,
    }


def _prepare(
    config: BuildConfig,
    posts: Posts,
    rows: npt.NDArray[np.int64],
    made_with: Mapping[str, str],
    engine: Engine,
    progress: ProgressHook,
) -> pa.Table:
    """Prepare the pictures of some posts.

    Returns:
        The columns of `prepare.PREPARED`, and `chunk`, one row per post in the order of `rows`.
    """
    ids, tars, offsets, sizes = (posts.numbers(name)[rows] for name in ("id", "tar", "offset", "size"))
    order = np.lexsort((offsets, tars))
    pictures = np.stack([ids, offsets, sizes], axis=1)[order]
    chunks = [
        Chunk(
            work=config.dataset / WORK_DIR,
            store=config.store,
            tar=int(tars[order[first]]),
            pictures=tuple(map(tuple, pictures[first:last].tolist())),
            recipe=config.options.image,
            made_with=repr(sorted(made_with.items())),
        )
        for first, last in chunk_bounds(tars[order], at_most=_CHUNK_PICTURES)
    ]
    missing = [chunk for chunk in chunks if not chunk.table.exists()]
    done = len(rows) - sum(len(chunk.pictures) for chunk in missing)
    dropped: Counter[str] = Counter()

    def show() -> None:
        counts = {f"dropped {reason}": count for reason, count in sorted(dropped.items())}
        progress(Progress(stage="preparing", done=done, total=len(rows), unit="pictures", counts=counts))

    show()
    for chunk, reasons in engine(prepare_chunk, missing):
        done += len(chunk.pictures)
        dropped.update(reasons)
        show()
    tables = []
    for chunk in chunks:
        table = read_table(chunk.table, PREPARED)
        tables.append(table.append_column("chunk", pa.array([chunk.name] * table.num_rows)))
    prepared = pa.concat_tables(tables).combine_chunks()
    return prepared.take(pa.array(np.argsort(prepared.column("id").to_numpy(), kind="stable")))


def _candidates(posts: Posts, outcomes: Outcomes, prepared: pa.Table) -> Candidates:
    rows = outcomes.usable
    ids, parents, originals = posts.ids, posts.numbers("parent_id"), outcomes.duplicate_of
    links = (
        np.concatenate([ids[parents > 0], ids[originals > 0]]),
        np.concatenate([parents[parents > 0], originals[originals > 0]]),
    )
    return Candidates(
        ids=ids[rows],
        family=families(ids, links)[rows],
        looks=_looks(prepared),
        tags=posts.tags.take(rows),
        table=posts.table,
    )


def _looks(prepared: pa.Table) -> Looks:
    hashes = [prepared.column(column.name).to_numpy().view(np.uint64) for column in HASH_COLUMNS]
    pixels = b"".join(prepared.column(THUMBNAIL_COLUMN.name).to_pylist())
    side = THUMBNAIL_SIDE_PX
    return Looks(
        hashes=np.stack(hashes, axis=1),
        thumbnails=np.frombuffer(pixels, np.uint8).reshape(-1, side, side),
    )


def _write_shard_plans(
    config: BuildConfig,
    specs: list[ShardSpec],
    plan: Plan,
    posts: Posts,
    rows: npt.NDArray[np.int64],
    prepared: pa.Table,
) -> None:
    for spec, shard in zip(specs, plan.shards, strict=True):
        if read_receipt(spec) is None:
            table = shard_plan(
                posts,
                rows[shard.rows],
                plan.labels.take(shard.rows),
                plan.group[shard.rows],
                prepared.take(pa.array(shard.rows)),
                config.options.image,
            )
            write_arrow_table(spec.plan_file, SHARD_PLAN, table)


def _write_shards(
    specs: list[ShardSpec], total: int, engine: Engine, progress: ProgressHook
) -> tuple[Shard, ...]:
    done = 0
    shards = []
    for _, shard in engine(build_shard, specs):
        shards.append(shard)
        done += shard.samples
        progress(Progress(stage="writing", done=done, total=total, unit="pictures"))
    order = {spec.name: position for position, spec in enumerate(specs)}
    return tuple(sorted(shards, key=lambda shard: order[shard.name]))


def _remove_unplanned(dataset: Path, shards: tuple[Shard, ...]) -> None:
    """Remove what an unfinished build with other options left; no manifest has ever named it."""
    planned = {dataset / file for shard in shards for file in _shard_files(shard)}
    for folder in (DATA_DIR, INDEX_DIR, METADATA_DIR):
        for path in (dataset / folder).iterdir():
            if path not in planned:
                path.unlink()


def _report(dataset: Path, manifest: Manifest, *, seconds: float) -> BuildReport:
    report = BuildReport(
        dataset=dataset,
        train=manifest.samples("train"),
        validation=manifest.samples("validation"),
        test=manifest.samples("test"),
        tags=len(read_vocabulary(dataset)),
        shards=len(manifest.shards),
        bytes=sum(shard.bytes for shard in manifest.shards),
        outcomes=manifest.outcomes,
        alike=manifest.alike,
        rare=manifest.rare,
        plan_hash=manifest.plan_hash,
        seconds=round(seconds, 3),
    )
    assert report.train + report.validation + report.test == manifest.outcomes[STORED]
    return report
