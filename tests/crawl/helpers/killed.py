"""Crawls in a process that is killed at a chosen call, and what a store then holds."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from alti2v.crawl.crawler import CrawlConfig
from tests.crawl.helpers import crawling
from tests.crawl.helpers.scripted_board import ScriptedBoard

POSTS = 150

# Sends a signal before or after the n-th call of a function: `module`, `owner` (a class, or ""), `name`, `when`
# (before or after), `calls` and `kind` (of the signal) are set before it.
SIGNAL_AT_CALL = """
import functools, importlib, os
target = importlib.import_module(module)
target = getattr(target, owner) if owner else target
real, left = getattr(target, name), int(calls)

@functools.wraps(real)
def counted(*args, **kwargs):
    global left
    left -= 1
    if left == 0 and when == "before":
        os.kill(os.getpid(), int(kind))
    result = real(*args, **kwargs)
    if left == 0 and when == "after":
        os.kill(os.getpid(), int(kind))
    return result

setattr(target, name, counted)
"""

# Runs a crawl, and lets a signal hit it before or after the n-th call of a function that touches the disk.
SCRIPT = (
    """
import os, signal, sys
from pathlib import Path
from alti2v.crawl.crawler import CrawlConfig, crawl_board

# A test suite started in the background inherits an ignored SIGINT, and Python would keep ignoring it.
signal.signal(signal.SIGINT, signal.default_int_handler)
url, store, module, owner, name, when, calls, kind = sys.argv[1:]
"""
    + SIGNAL_AT_CALL
    + """
try:
    fast = {"rate": float("inf"), "api_rate": float("inf")}
    where = {"store": Path(store), "url": os.environ.get("STORE_URL")}
    crawl_board(CrawlConfig(board=url, allow_private=True, shard_bytes=60_000, **where, **fast))
except KeyboardInterrupt:
    sys.exit(130)
"""
)


def interrupted(
    site: ScriptedBoard, store: Path, point: tuple[str, str, str, str, int], how: signal.Signals
) -> int:
    module, owner, name, when, calls = point
    arguments = [site.url, str(store), module, owner, name, when, str(calls), str(int(how))]
    return subprocess.run([sys.executable, "-c", SCRIPT, *arguments], check=False, timeout=60).returncode


def config(store: Path, site: ScriptedBoard, **wishes: Any) -> CrawlConfig:
    return crawling.config(store, site, shard_bytes=60_000, **wishes)


def content(store: Path) -> pd.DataFrame:
    """The post table without what the order of arrival decides."""
    rows = pd.read_parquet(store / "posts").set_index("id").sort_index()
    return rows.drop(columns=["tar", "offset"])
