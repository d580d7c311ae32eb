"""The whole pipeline in one command: a stand-in board in a separate process, then the stages on it.

Each stage is the library call of its command, and continues where a killed demo stopped.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alti2v.child_processes import child_environment
from alti2v.crawl.crawler import CrawlConfig, crawl_board
from alti2v.dataset.build import build_shards
from alti2v.dataset.config import BuildConfig
from alti2v.demo.config import DemoConfig
from alti2v.errors import Alti2vError, RemoteError, UsageError
from alti2v.model.options.evaluation import EvalConfig
from alti2v.model.train import TrainConfig, train
from alti2v.records import ProgressHook, ignore_progress
from alti2v.report.evaluation import write_evaluation
from alti2v.storage.directory import exclusive
from alti2v.storage.publish import make_directory, publish_json, read_json

_DEMO_FILE = "demo.json"
_DEMO_LOCK = ".lock"
# The board is our own and on this machine, so it needs no politeness.
_LOOPBACK_RATE = 10_000.0
_LOOPBACK_CONNECTIONS = 8
# From scratch, VGG16 learns 100 tags to test mAP 0.75; at 32 px to 0.73 (docs/BENCHMARKS.md).
_SIZE = 64
_TOP_TAGS = 100
_TEST_SHARE = 0.15
_VALIDATION_SHARE = 0.10
_SHARD_SAMPLES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """Counts, metrics and paths of a finished demo; `seconds` is the wall-clock time of this call.

    The mean average precision is None if too few tags have enough test pictures.
    """

    posts_listed: int
    files_stored: int
    train_samples: int
    validation_samples: int
    test_samples: int
    tags: int
    test_map: float | None
    test_map_baseline: float | None
    test_micro_f1: float
    seconds: float
    store: Path
    dataset: Path
    run: Path
    report: Path


def run_demo(config: DemoConfig, *, progress: ProgressHook = ignore_progress) -> DemoReport:
    """Crawl a stand-in board, build shards, train VGG16, evaluate on the test split, write the report.

    Raises:
        UsageError: `out` contains something else, or a demo with another number of posts.
        Alti2vError: A stage failed; the same call continues there.
    """
    begun_s = time.monotonic()
    out = config.out
    _claim(out, config.posts)
    with exclusive(out, _DEMO_LOCK):
        with _board(out, config.posts) as url:
            crawled = crawl_board(_crawl_config(config, url), progress=progress)
        if not crawled.complete:
            raise RemoteError(f"the crawl of the stand-in board is incomplete: {crawled.missing}")
        built = build_shards(_build_config(config), progress=progress)
        train(_train_config(config), progress=progress)
        evaluated = write_evaluation(EvalConfig(run=out / "run", out=out / "report"), progress=progress)
    return DemoReport(
        posts_listed=crawled.listed,
        files_stored=crawled.stored,
        train_samples=built.train,
        validation_samples=built.validation,
        test_samples=built.test,
        tags=built.tags,
        test_map=evaluated.map,
        test_map_baseline=evaluated.map_baseline,
        test_micro_f1=evaluated.micro_f1,
        seconds=round(time.monotonic() - begun_s, 1),
        store=out / "store",
        dataset=out / "dataset",
        run=out / "run",
        report=evaluated.report,
    )


def _crawl_config(config: DemoConfig, url: str) -> CrawlConfig:
    return CrawlConfig(
        store=config.out / "store",
        board=url,
        rate=_LOOPBACK_RATE,
        api_rate=_LOOPBACK_RATE,
        connections=_LOOPBACK_CONNECTIONS,
        allow_private=True,
        proxies=False,
    )


def _build_config(config: DemoConfig) -> BuildConfig:
    return BuildConfig(
        store=config.out / "store",
        dataset=config.out / "dataset",
        size=_SIZE,
        top_tags=_TOP_TAGS,
        test=round(_TEST_SHARE * config.posts),
        validation=round(_VALIDATION_SHARE * config.posts),
        shard_samples=_SHARD_SAMPLES,
    )


def _train_config(config: DemoConfig) -> TrainConfig:
    return TrainConfig(
        dataset=config.out / "dataset",
        run=config.out / "run",
        recipe="scratch",
        weights="none",
        epochs=config.epochs,
        validate_every=5,
        checkpoint_s=60.0,
    )


def _claim(out: Path, posts: int) -> None:
    """Make `out` the folder of a demo, or check that it is one with the same number of posts."""
    file = out / _DEMO_FILE
    if file.exists():
        existing = read_json(file)["posts"]
        if existing != posts:
            raise UsageError(f"{out} contains a demo with {existing} posts, not {posts}: give another --out")
        return
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: give a folder as --out")
    if out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise UsageError(f"{out} is not empty and contains no demo: give another --out")
    make_directory(out)
    publish_json(file, {"posts": posts, "port": 0})


@contextlib.contextmanager
def _board(out: Path, posts: int) -> Iterator[str]:
    """Serve the stand-in board from a separate process for the duration of the block; yield its URL.

    In a separate process, drawing does not compete with the crawler for the interpreter. A store belongs to
    one board, which its URL identifies, so every run uses the port of the first. The board's standard input is
    a pipe from this process, so that it stops when this process ends, even by SIGKILL.

    Raises:
        Alti2vError: The board does not start, for example because its port is in use.
    """
    file = out / _DEMO_FILE
    port = read_json(file)["port"]
    command = [
        sys.executable,
        "-P",
        "-m",
        "alti2v",
        "board",
        "--until-eof",
        "--posts",
        str(posts),
        "--port",
        str(port),
    ]
    with (
        (out / "board.log").open("wb") as log,
        subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=child_environment(),
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            process.wait()
            reason = (out / "board.log").read_text(encoding="utf-8").strip().splitlines()
            raise Alti2vError(f"the stand-in board did not start: {reason[-1] if reason else 'see board.log'}")
        if port == 0:
            publish_json(file, {"posts": posts, "port": int(url.rsplit(":", 1)[1].strip("/"))})
        try:
            yield url
        finally:
            process.stdin.close()
            process.wait()
