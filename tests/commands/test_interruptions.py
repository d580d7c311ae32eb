"""Ctrl-C ends every command within two seconds, inside its longest step, and leaves no process behind.

For `tag`, `embed` and slow pictures see test_many_items.py, for `crawl` test_crawl_interrupted.py, for `serve`
test_page_http.py.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alti2v.dataset.manifest import read_manifest
from alti2v.records import Category, Tag
from alti2v.storage.layout import MODEL_DIR
from alti2v.vectors.config import Form
from alti2v.vectors.vector_file import Origin, Rows, write_rows
from tests.dataset.helpers.tiny_store import TinyPost, encoded, write_store
from tests.helpers.patience import limit_s
from tests.pictures.helpers.files import with_many_scans

pytestmark = [pytest.mark.slow, pytest.mark.tf]

ACCEPTING = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from alti2v.cli import main; main()"
)


def interrupted(*arguments: str | Path, when: Callable[[int], bool]) -> str:
    """Run a command, send Ctrl-C to its group once a condition holds for its id; return its messages."""
    process = subprocess.Popen(
        [sys.executable, "-c", ACCEPTING, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        for _ in itertools.count():
            assert process.poll() is None, process.communicate()
            if when(process.pid):
                break
            time.sleep(0.05)
        begun_s = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        took_s = time.monotonic() - begun_s
        assert took_s < limit_s(2), took_s
        assert process.returncode == 130, errors
        assert "interrupted" in errors.splitlines()[-1]
        assert "Traceback" not in errors
        assert group(process.pid) == []
        return errors
    finally:
        process.kill()
        process.wait()


def group(leader: int) -> list[str]:
    """Return the command lines of the processes of a session, without those that are ending."""
    found = subprocess.run(
        ["ps", "-s", str(leader), "-o", "args", "--no-headers"], capture_output=True, text=True, check=False
    )
    return [line for line in found.stdout.splitlines() if not line.startswith("[")]


def family_ticks(pid: int) -> int:
    """Return the processor time of a process and of those that it has started, in clock ticks."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12]) + sum(family_ticks(int(child)) for child in children)


def has_computed(seconds: float) -> Callable[[int], bool]:
    """Return the condition that a process and its children have used some processor time."""
    ticks = seconds * os.sysconf("SC_CLK_TCK")
    return lambda pid: family_ticks(pid) > ticks


@pytest.fixture(scope="module")
def slow() -> bytes:
    """A JPEG that takes minutes to decode."""
    flat = encoded(Image.new("RGB", (4000, 4000), "teal"), progressive=True, optimize=True)
    return with_many_scans(flat, 3000)


def test_build_shards(tmp_path: Path, slow: bytes) -> None:
    """Pictures that take minutes are being decoded by both workers."""
    store = write_store(
        tmp_path / "store",
        [TinyPost(id=number + 1, content=slow + number.to_bytes(2)) for number in range(60)],
    )
    interrupted(
        *("build-shards", store, tmp_path / "dataset", "--workers", "2", "--test", "0", "--validation", "0"),
        when=has_computed(6),
    )


def test_import(tmp_path: Path) -> None:
    """AVIF pictures are being decoded, because the format has no checksums."""
    noise = np.random.default_rng(1).integers(0, 256, (1500, 1500, 3), np.uint8)
    picture = encoded(Image.fromarray(noise), "AVIF", speed=10)
    for number in range(200):
        (tmp_path / f"{number}.avif").write_bytes(picture)
        (tmp_path / f"{number}.txt").write_text("1girl")
    interrupted("import", tmp_path / "store", tmp_path, when=has_computed(3))


def test_search(tmp_path: Path) -> None:
    """The cells of an index are being trained."""
    numbers = np.random.default_rng(1).normal(size=(120_000, 512)).astype(np.float16)
    origin = Origin(model="model", model_sha256="0" * 64, form=Form.FLOAT16, width=512)
    keys = [f"p{number}" for number in range(len(numbers))]
    vectors = tmp_path / "v.parquet"
    write_rows(vectors, origin, Rows(keys, [["solo"]] * len(keys), numbers))
    interrupted("search", vectors, "--tags", "solo", when=has_computed(4))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RUN with VGG16 at 224 px and its dataset: one step takes many seconds."""
    from alti2v.model.saved_model import save_model
    from tests.model.helpers.tiny_dataset import COLOURS, square, write_dataset
    from tests.model.helpers.tiny_run import random_model

    folder = tmp_path_factory.mktemp("large")
    splits = {
        split: [square(number + 1000 * first, size=224) for number in range(128)]
        for first, split in enumerate(("train", "validation", "test"))
    }
    dataset = write_dataset(folder / "dataset", splits, size=224, shard_samples=64)
    tags = tuple(Tag(name=name, category=Category.GENERAL, count=9) for name in sorted(COLOURS))
    model = random_model(size=224, tags=tags, dataset=dataset)
    save_model(folder / "run" / MODEL_DIR, replace(model, plan_hash=read_manifest(dataset).plan_hash))
    for number in range(128):
        (folder / f"{number}.jpg").write_bytes(square(number, size=224).jpeg)
    return folder / "run"


def test_eval(run: Path, tmp_path: Path) -> None:
    """A batch of a large network is being computed."""
    interrupted("eval", run, "--out", tmp_path / "report", when=has_computed(25))


def test_tag(run: Path) -> None:
    """As above."""
    interrupted("tag", run, run.parent, when=has_computed(15))


def test_train(tmp_path: Path, run: Path) -> None:
    """A training saves after its step, so the time is that of a step of its network: here a short one."""
    from tests.model.helpers.tiny_dataset import square, write_dataset

    splits = {split: [square(number, size=32) for number in range(64)] for split in ("train", "validation")}
    dataset = write_dataset(tmp_path / "dataset", splits, size=32)
    training = tmp_path / "run"
    options = ("--recipe", "scratch", "--epochs", "1000", "--batch-size", "8")
    interrupted("train", dataset, training, *options, when=lambda _: (training / "log.csv").exists())

    assert any((training / "checkpoints").iterdir())
