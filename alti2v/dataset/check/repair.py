"""Making lost and damaged shards again from the store, to the byte, or not at all.

What a shard holds is told by its metadata if they can be read, else by the outcomes and the store's tables; the
pictures are prepared again. Only a shard with the very bytes that the manifest promises takes its place.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alti2v.dataset.images.survey import SurveyRun, prepare
from alti2v.dataset.manifest import Shard
from alti2v.dataset.plan.near_duplicates import groups
from alti2v.dataset.plan.posts import StorePosts, first_outcomes
from alti2v.dataset.plan.split import shuffled
from alti2v.dataset.plan.vocabulary import grown_vocabulary, labels_of
from alti2v.dataset.versions.previous import History, read_history, settle
from alti2v.dataset.versions.publish import WORK_DIR, incomplete, missing_descriptions, publish_descriptions
from alti2v.dataset.write.shard import PLACE_COLUMNS, ShardSpec, build_shard, shard_plan, write_plan
from alti2v.errors import DamagedError
from alti2v.storage.layout import METADATA
from alti2v.storage.location import Address, local_copy, open_place, put, remove
from alti2v.storage.publish import make_directory
from alti2v.storage.remote import Remote
from alti2v.storage.table import read_table

_FOLDER = "repair"


def repair_dataset(dataset: Path, place: Path | Remote, posts: StorePosts, preparation: SurveyRun) -> None:
    """Make the shards again that lack a file or are cut, and the card if it is missing.

    Args:
        dataset: a folder with the tables of the dataset.
        place: where its shards belong.
        posts: of the store.
        preparation: how pictures are prepared.

    Raises:
        DamagedError: the store cannot give a shard's bytes any more.
    """
    history = read_history(dataset)
    for shard in incomplete(place, history.manifest.shards):
        if not repair_shard(dataset, place, history, shard, posts, preparation):
            raise DamagedError(
                f"{dataset}: the store does not have the pictures of {shard.name} any more: "
                "restore the shard from a copy, or build with --new-plan"
            )
    publish_descriptions(dataset, history.manifest, history.tags, files=missing_descriptions(dataset))


def repair_shard(
    dataset: Path,
    place: Path | Remote,
    history: History,
    shard: Shard,
    posts: StorePosts,
    preparation: SurveyRun,
    *,
    is_metadata_sound: bool = True,
) -> bool:
    """Make one shard again from the store; only inside `edition.writing`.

    Args:
        dataset: a folder with the tables of the dataset.
        place: where the shard belongs.
        history: of the dataset.
        shard: to make.
        posts: of the store.
        preparation: how pictures are prepared.
        is_metadata_sound: whether to go by its metadata, if they can be read.

    Returns:
        Whether the shard has its bytes back; if not, nothing has changed.
    """
    ids = _ids(history, shard)
    rows = np.minimum(np.searchsorted(posts.ids, ids), len(posts.ids) - 1)
    if not np.array_equal(posts.ids[rows], ids) or (posts.numbers("size")[rows] == 0).any():
        return False
    prepared = prepare(preparation, posts, np.sort(rows))
    prepared = prepared.take(pa.array(np.searchsorted(prepared.column("id").to_numpy(), ids)))
    plan = _from_metadata(place, shard, ids) if is_metadata_sound else None
    if plan is None:
        plan = _from_store(history, posts, rows, prepared, preparation)
    else:
        for name in PLACE_COLUMNS:
            plan = plan.append_column(name, prepared.column(name))
        if plan.column("sha256").to_pylist() != prepared.column("sha256").to_pylist():
            return False
    return _replace(dataset, place, shard, plan, preparation.work)


def _ids(history: History, shard: Shard) -> npt.NDArray[np.int64]:
    """The pictures of a shard, in its order."""
    ids = np.array(sorted(i for i, name in history.shard_of.items() if name == str(shard.name)), np.int64)
    return ids[shuffled(ids)]


def _from_metadata(place: Path | Remote, shard: Shard, ids: npt.NDArray[np.int64]) -> pa.Table | None:
    try:
        with local_copy(place, shard.name.metadata) as path:
            rows = read_table(path, METADATA)
    except (DamagedError, FileNotFoundError):
        return None
    return rows.drop_columns(["offset"]) if np.array_equal(rows.column("id").to_numpy(), ids) else None


def _from_store(
    history: History,
    posts: StorePosts,
    rows: npt.NDArray[np.int64],
    prepared: pa.Table,
    preparation: SurveyRun,
) -> pa.Table:
    outcomes = first_outcomes(posts, settled=np.array(sorted(history.shard_of), np.int64), removed=history.gone)
    settled, _ = settle(history, posts, outcomes)
    group = groups(settled.ids, settled.family, settled.looks)[np.searchsorted(settled.ids, posts.ids[rows])]
    counts = posts.tags.counts(rows, tags=len(posts.table.names))
    labels = labels_of(posts.tags, rows, grown_vocabulary(history.tags, counts, posts.table))
    return shard_plan(posts, rows, labels, group, prepared, preparation.recipe)


def _replace(dataset: Path, place: Path | Remote, shard: Shard, plan: pa.Table, work: Address) -> bool:
    staged = dataset / WORK_DIR / _FOLDER
    for file in shard.name.files:
        make_directory((staged / file).parent)
    spec = ShardSpec(dataset=staged, work=work, name=shard.name, plan_hash=f"repair {shard.sha256}")
    write_plan(spec, plan)
    is_same = build_shard(spec) == shard
    if is_same:
        # The tar last: while it is missing or cut, the shard counts as incomplete.
        for file in reversed(shard.name.files):
            put(staged / file, place, file)
    remove(open_place(work), [spec.receipt_file, spec.plan_file])
    shutil.rmtree(staged)
    return is_same
