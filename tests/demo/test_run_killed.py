"""The whole demo: killed at any moment and started again, it ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alti2v.demo.config import DemoConfig
from alti2v.demo.run import run_demo
from alti2v.errors import UsageError
from alti2v.storage.publish import publish_json

COUNTS = ("posts_listed", "files_stored", "train_samples", "validation_samples", "test_samples", "tags")
KILLS = 8


def start(out: Path) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "alti2v",
        "demo",
        "--out",
        str(out),
        "--posts",
        "100",
        "--epochs",
        "1",
        "--json",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(out: Path) -> dict[str, object]:
    process = start(out)
    printed, messages = process.communicate(timeout=300)

    assert process.returncode == 0, messages
    return dict(json.loads(printed))


@pytest.mark.slow
def test_f31_a_demo_killed_again_and_again_ends_with_the_same_counts(tmp_path: Path) -> None:
    """After SIGKILL at random moments, the same command ends with the counts of an uninterrupted run."""
    whole = finish(tmp_path / "whole")
    moments = random.Random(2017)
    killed = 0
    for _ in range(KILLS):
        process = start(tmp_path / "killed")
        try:
            process.communicate(timeout=moments.uniform(0.3, float(str(whole["seconds"]))))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            killed += 1
    resumed = finish(tmp_path / "killed")

    assert killed
    assert {name: resumed[name] for name in COUNTS} == {name: whole[name] for name in COUNTS}
    assert Path(str(resumed["report"])).stat().st_size > 10_000


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    """A demo never writes among other files, nor into a demo of another size."""
    foreign, other = tmp_path / "foreign", tmp_path / "other"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine", encoding="utf-8")
    other.mkdir()
    publish_json(other / "demo.json", {"posts": 200, "port": 0})

    with pytest.raises(UsageError, match="contains no demo"):
        run_demo(DemoConfig(out=foreign))
    with pytest.raises(UsageError, match="a demo with 200 posts, not 100"):
        run_demo(DemoConfig(out=other, posts=100))
    with pytest.raises(UsageError, match="is a file"):
        run_demo(DemoConfig(out=foreign / "thesis.txt"))
    with pytest.raises(UsageError, match="at least 100"):
        DemoConfig(out=foreign, posts=99)
