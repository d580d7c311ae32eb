"""Child processes import what this process imports, and nothing from the current folder.

Python puts the current folder in front of the module path of `python -c` and of spawned workers. A `json.py` in
a folder that somebody downloaded would then run as soon as the command is started there.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from multiprocessing.context import SpawnContext, SpawnProcess

SAFE_PATH = "PYTHONSAFEPATH"  # https://docs.python.org/3/using/cmdline.html#envvar-PYTHONSAFEPATH


def child_environment() -> Mapping[str, str]:
    """Return the environment for a child process that ignores the current folder, as with `python -P`."""
    # An empty entry would mean the current folder.
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), SAFE_PATH: "1"}


@contextlib.contextmanager
def safe_path() -> Iterator[None]:
    """Let Python processes that are started within the block ignore the current folder.

    For functions that start processes without an `env` argument: the environment of this process is changed.
    """
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before


class _SafeProcess(SpawnProcess):
    def start(self) -> None:
        with safe_path():
            super().start()


class SafeSpawnContext(SpawnContext):
    """Context of `multiprocessing` that spawns workers which ignore the current folder."""

    Process = _SafeProcess
