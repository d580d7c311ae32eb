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

from alti2v.dataset.duplicates import groups
from alti2v.dataset.edition import incomplete, publish_descriptions, shard_files
from alti2v.dataset.history import History, read_history, settle
from alti2v.dataset.manifest import Shard
from alti2v.dataset.posts import Posts, first_outcomes
from alti2v.dataset.shards import SHARD_PLAN, ShardSpec, build_shard, shard_plan
from alti2v.dataset.split import shuffled
from alti2v.dataset.survey import Preparation, prepare
from alti2v.dataset.tags import grown_vocabulary, labels_of
from alti2v.errors import DamagedError
from alti2v.storage.layout import CARD_FILE, CROISSANT_FILE, METADATA
from alti2v.storage.publish import make_directory
from alti2v.storage.table import read_table, write_arrow_table

_FOLDER = "repair"


def repair_dataset(dataset: Path, posts: Posts, preparation: Preparation) -> None:
    """Make the shards again that lack a file or are cut, and the card if it is missing.

    Raises:
        DamagedError: the store cannot give a shard's bytes any more.
    """
    history = read_history(dataset)
    for shard in incomplete(dataset, history.manifest):
        if not repair_shard(dataset, history, shard, posts, preparation):
            raise DamagedError(
                f"{dataset}: the store does not have the pictures of {shard.name} any more: "
                "restore the shard from a copy, or build with --new-plan"
            )
    if not all((dataset / name).exists() for name in (CARD_FILE, CROISSANT_FILE)):
        publish_descriptions(dataset, history.manifest, history.tags)


def repair_shard(
    dataset: Path,
    history: History,
    shard: Shard,
    posts: Posts,
    preparation: Preparation,
    *,
    is_metadata_sound: bool = True,
) -> bool:
    """Make one shard again from the store; only inside `edition.writing`.

    Args:
        dataset: where it belongs.
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
    plan = _from_metadata(dataset, shard, ids) if is_metadata_sound else None
    if plan is None:
        plan = _from_store(history, posts, rows, prepared, preparation)
    else:
        for name in ("chunk", "chunk_offset"):
            plan = plan.append_column(name, prepared.column(name))
        if plan.column("sha256").to_pylist() != prepared.column("sha256").to_pylist():
            return False
    return _replace(dataset, shard, plan, preparation.work)


def _ids(history: History, shard: Shard) -> npt.NDArray[np.int64]:
    """The pictures of a shard, in its order."""
    ids = np.array(sorted(i for i, name in history.shard_of.items() if name == str(shard.name)), np.int64)
    return ids[shuffled(ids)]


def _from_metadata(dataset: Path, shard: Shard, ids: npt.NDArray[np.int64]) -> pa.Table | None:
    try:
        rows = read_table(dataset / shard.name.metadata, METADATA)
    except (DamagedError, FileNotFoundError):
        return None
    return rows.drop_columns(["offset"]) if np.array_equal(rows.column("id").to_numpy(), ids) else None


def _from_store(
    history: History,
    posts: Posts,
    rows: npt.NDArray[np.int64],
    prepared: pa.Table,
    preparation: Preparation,
) -> pa.Table:
    outcomes = first_outcomes(posts, settled=np.array(sorted(history.shard_of), np.int64), removed=history.gone)
    settled, _ = settle(history, posts, outcomes)
    group = groups(settled.ids, settled.family, settled.looks)[np.searchsorted(settled.ids, posts.ids[rows])]
    tags = posts.tags.take(rows)
    labels = labels_of(tags, grown_vocabulary(history.tags, tags, posts.table))
    return shard_plan(posts, rows, labels, group, prepared, preparation.recipe)


def _replace(dataset: Path, shard: Shard, plan: pa.Table, work: Path) -> bool:
    staged = work / _FOLDER
    for file in shard_files(shard):
        make_directory((staged / file).parent)
    spec = ShardSpec(dataset=staged, work=work, name=shard.name, plan_hash=f"repair {shard.sha256}")
    write_arrow_table(spec.plan_file, SHARD_PLAN, plan)
    is_same = build_shard(spec) == shard
    if is_same:
        # The tar last: while it is missing or cut, the shard counts as incomplete.
        for file in reversed(shard_files(shard)):
            (staged / file).replace(dataset / file)
    for path in (spec.receipt_file, spec.plan_file):
        path.unlink()
    shutil.rmtree(staged)
    return is_same
