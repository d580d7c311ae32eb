"""Environment of a build: the posts of the store, the engine and the work folder, each local or remote."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from alti2v.dataset.config import BuildConfig
from alti2v.dataset.engines.dask import dask_engine
from alti2v.dataset.engines.local import Engine, local_engine
from alti2v.dataset.images.prepare import made_with
from alti2v.dataset.plan.filters import Filters
from alti2v.dataset.plan.posts import StorePosts, load_posts
from alti2v.storage.layout import WORK_DIR
from alti2v.storage.location import Address, below, staging
from alti2v.storage.remote import open_remote
from alti2v.storage.store import fetch_tables, open_store


def posts_of(config: BuildConfig, filters: Filters) -> tuple[StorePosts, Mapping[str, object]]:
    """Load the posts of the store that pass the filters, and store.json.

    Raises:
        UsageError: There is no store.
        DataError: Its tables do not exist yet, or keep changing.
        DamagedError: They are damaged.
        StorageError: They cannot be read.
    """
    with contextlib.ExitStack() as stack:
        folder = config.store
        if isinstance(folder, str):
            copy = stack.enter_context(staging(folder, "store"))
            fetch_tables(open_remote(folder), copy)
            folder = copy
        store = stack.enter_context(open_store(folder))
        posts = load_posts(store, config.dataset, ratings=config.ratings, filters=filters)
        return posts, store.description


def engine_of(config: BuildConfig) -> contextlib.AbstractContextManager[Engine]:
    """Open the engine that the user chose."""
    workers = config.workers or len(os.sched_getaffinity(0))
    if config.engine == "dask":
        return dask_engine(config.scheduler, workers, made_with)
    return local_engine(workers)


def shared_work(config: BuildConfig, work: Path) -> Address:
    """Return the folder of unfinished files that all workers can reach."""
    # Workers on other machines share only URLs with this one.
    is_elsewhere = config.engine == "dask" and config.url is not None
    return below(config.address, WORK_DIR) if is_elsewhere else work
