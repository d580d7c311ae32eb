"""verify --repair STORE: make damaged shards again. Starts processes, as `build.py` does."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from alti2v.dataset.check.repair import repair_shard
from alti2v.dataset.engines.local import local_engine
from alti2v.dataset.images.survey import SurveyRun, made_with
from alti2v.dataset.plan.posts import load_posts
from alti2v.dataset.versions.previous import read_history
from alti2v.dataset.versions.publish import writing
from alti2v.records import ProgressHook, Verification, ignore_progress
from alti2v.storage.layout import TAGS_FILE
from alti2v.storage.store import open_store


def restore_shards(
    dataset: Path, store: Path, found: Verification, *, progress: ProgressHook = ignore_progress
) -> None:
    """Make damaged shards again from the store; a shard whose bytes it cannot give stays as it is.

    Raises:
        UsageError: one of the directories is something else, or the dataset is in use.
        DamagedError: a table of the dataset, or the store, is damaged.
    """
    damaged = {finding.where for finding in found.findings if not finding.repaired}
    history = read_history(dataset)
    ratings = bool(history.manifest.options.get("vocabulary", {}).get("ratings", False))
    with open_store(store) as opened:
        posts = load_posts(opened, ratings=ratings)
    with writing(dataset) as work, local_engine(len(os.sched_getaffinity(0))) as engine:
        history = read_history(dataset)
        preparation = SurveyRun(
            store=store,
            work=work,
            recipe=history.manifest.image,
            made_with=made_with(),
            engine=engine,
            progress=progress,
        )
        for shard in history.manifest.shards:
            if damaged & set(shard.name.files):
                ways = [True] if shard.name.metadata not in damaged else []
                # Labels that a wrong vocabulary gives would take the place of right ones.
                ways += [False] if TAGS_FILE not in damaged else []
                for is_sound in ways:
                    if repair_shard(
                        dataset, dataset, history, shard, posts, preparation, is_metadata_sound=is_sound
                    ):
                        break
        shutil.rmtree(work)
