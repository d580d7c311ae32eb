"""What a build has around it: the posts of its store, the engine that runs its work, the place of its dataset.

Each may be on this machine or elsewhere; the build itself need not know.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from alti2v.dataset.config import BuildConfig
from alti2v.dataset.engines.dask import dask_engine
from alti2v.dataset.engines.local import Engine, local_engine
from alti2v.dataset.images.survey import made_with
from alti2v.dataset.plan.posts import StorePosts, load_posts
from alti2v.dataset.versions.publish import WORK_DIR
from alti2v.dataset.versions.remote import clear_work, fetch_edition, send_descriptions
from alti2v.storage.directory import DirectoryKind, claim_directory
from alti2v.storage.location import Address, below, staging
from alti2v.storage.remote import Remote, open_remote
from alti2v.storage.store import fetch_tables, open_store


def posts_of(config: BuildConfig) -> tuple[StorePosts, Mapping[str, object]]:
    """The posts of the store, and what store.json says.

    Raises:
        UsageError: the store is none.
        DataError: it has no tables yet, or they change all the time.
        DamagedError: they are damaged.
        StorageError: they cannot be read.
    """
    with contextlib.ExitStack() as stack:
        folder = config.store
        if isinstance(folder, str):
            copy = stack.enter_context(staging(folder, "store"))
            fetch_tables(open_remote(folder), copy)
            folder = copy
        store = stack.enter_context(open_store(folder))
        return load_posts(store, ratings=config.ratings), store.description


def engine_of(config: BuildConfig) -> contextlib.AbstractContextManager[Engine]:
    """The engine that the user chose."""
    workers = config.workers or len(os.sched_getaffinity(0))
    if config.engine == "dask":
        return dask_engine(config.scheduler, workers, made_with)
    return local_engine(workers)


def shared_work(config: BuildConfig, work: Path) -> Address:
    """Where the engine's workers leave what is not finished."""
    # On other machines they share nothing with this one but what lies behind URLs.
    is_elsewhere = config.engine == "dask" and config.url is not None
    return below(config.address, WORK_DIR) if is_elsewhere else work


def take_up(place: Path | Remote, dataset: Path) -> bool:
    """Begin to write a dataset; say whether it exists already.

    Args:
        place: where it is.
        dataset: the same, or the work folder of a dataset behind a URL, where its tables are then.

    Raises:
        UsageError: there is something else.
        StorageError: it cannot be read or written.
    """
    if isinstance(place, Remote):
        return fetch_edition(place, dataset)
    return claim_directory(dataset, DirectoryKind.DATASET)


def lay_down(place: Path | Remote, work: Path) -> None:
    """End writing a dataset that is whole: remove what is only for builds that go on."""
    if isinstance(place, Remote):
        send_descriptions(place, work.parent)
        clear_work(place)
    shutil.rmtree(work)
