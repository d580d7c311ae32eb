"""Builds and removals in their own processes that are killed with SIGKILL at a chosen point.

The processes are forked from one that has imported everything, because importing takes longer than a call.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

_PROGRAM = """
import json, os, signal, sys, traceback
from pathlib import Path
import numpy as np
from alti2v.dataset import build, config, remove
from alti2v.dataset.write import shard
from alti2v.dataset.versions import publish
from alti2v.pictures import decoder_process
from alti2v.dataset.images import appearance

POINTS = {
    "fsync": (os, "fsync"), "rename": (Path, "replace"), "unlink": (Path, "unlink"),
    "rmtree": (publish.shutil, "rmtree"), "manifest": (publish, "write_manifest"),
    "picture": (decoder_process.Decoder, "run"), "sample": (shard, "sample_json"),
}

def dying(real, countdown):
    left = [countdown]
    def call(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return call

def run(point, countdown, dataset, store=None, ids=(), chunk_pictures=None):
    setattr(*POINTS[point], dying(getattr(*POINTS[point]), countdown))
    if chunk_pictures is not None:
        appearance._CHUNK_PICTURES = chunk_pictures
    if store is None:
        remove.remove_pictures(Path(dataset), np.array(ids))
    else:
        build.build_shards(config.BuildConfig(store=Path(store), dataset=Path(dataset), size=32, test=6,
                                              validation=4, shard_samples=9, workers=1))

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            run(**json.loads(line))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextlib.contextmanager
def calls_killed() -> Iterator[Callable[..., bool]]:
    """Yield a function that makes one call, kills it, and returns whether the process died.

    Its arguments are `point` ("fsync", "rename", "unlink", "rmtree", "manifest", "picture" or "sample"),
    `countdown` (the number of the occurrence to die at, from 1) and `dataset`; for a build also `store` and
    optionally `chunk_pictures`, for a removal `ids`.
    """
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as warm,
    ):

        def kill(**task: Any) -> bool:
            assert warm.stdin is not None
            assert warm.stdout is not None
            warm.stdin.write(json.dumps(task) + "\n")
            warm.stdin.flush()
            status = warm.stdout.readline().strip()
            said.seek(0)
            assert status in ("0", str(-signal.SIGKILL)), said.read()
            return status != "0"

        yield kill
