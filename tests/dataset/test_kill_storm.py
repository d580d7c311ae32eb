"""kill -9 at every marked point of the publication and at random moments gives the same bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from alti2v.dataset.check.verify import verify_dataset
from alti2v.dataset.manifest import read_manifest
from tests.dataset.helpers.building import build, digests
from tests.dataset.helpers.tiny_store import tiny_posts, write_store

pytestmark = pytest.mark.slow

# Dies at the first point where no earlier run has died; forked each time, so that importing costs once.
POINTS = """
    import os, shutil, signal, sys
    from pathlib import Path
    from alti2v.dataset.build import build_shards
    from alti2v.dataset.config import BuildConfig
    from alti2v.pictures.decoder_process import Decoder
    from alti2v.storage.publish import TEMPORARY_PREFIX

    log = Path(sys.argv[3])
    def marked(function, name):
        def call(subject, *args, **kwargs):
            path = Path(os.readlink(f"/proc/self/fd/{subject}")) if isinstance(subject, int) else Path(subject)
            point = f"{name} {path.name.replace(str(os.getpid()), 'PID')}"
            if point not in log.read_text().splitlines():
                with log.open("a") as file:
                    file.write(point + "\\n")
                os.kill(os.getpid(), signal.SIGKILL)
            return function(subject, *args, **kwargs)
        return call

    while (pid := os.fork()):
        _, status = os.waitpid(pid, 0)
        if status != signal.SIGKILL:
            sys.exit(os.waitstatus_to_exitcode(status))
    os.fsync, os.link, Path.replace, Path.unlink = (
        marked(function, name)
        for function, name in (
            (os.fsync, "fsync"), (os.link, "link"), (Path.replace, "replace"), (Path.unlink, "unlink")
        )
    )
    shutil.rmtree = marked(shutil.rmtree, "rmtree")
    build_shards(BuildConfig(store=Path(sys.argv[1]), dataset=Path(sys.argv[2]), size=32, test=6, validation=4,
                             shard_samples=9, workers=1))
"""


def test_every_point_of_the_publication(tmp_path: Path) -> None:
    """Before each fsync, link, rename and removal of each file and folder, one after the other."""
    store = write_store(tmp_path / "store", tiny_posts(16), posts_per_tar=8)
    build(store, tmp_path / "whole")
    log = tmp_path / "points"
    log.touch()
    command = [sys.executable, "-c", textwrap.dedent(POINTS), str(store), str(tmp_path / "killed"), str(log)]
    subprocess.run(command, check=True)

    points = log.read_text().splitlines()
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")
    assert len(points) == len(set(points))
    for published in digests(tmp_path / "whole"):
        assert any(point.startswith("replace") and Path(published).name in point for point in points), published


RANDOM = """
    import sys
    from pathlib import Path
    from alti2v.dataset import build
    from alti2v.dataset.images import appearance
    from alti2v.storage import disk_table
    appearance._CHUNK_PICTURES = 8
    disk_table._BATCH_ROWS, disk_table._RUN_ROWS, disk_table._RUN_BATCH_ROWS = 16, 32, 4
    disk_table._PART_ROWS = 4
    build._PLANNED_AT_ONCE = 20
    if __name__ == "__main__":
        store, dataset, workers = sys.argv[1:]
        print("ready", flush=True)
        build.build_shards(build.BuildConfig(store=Path(store), dataset=Path(dataset), workers=int(workers),
                                             size=32, test=6, validation=4, shard_samples=9))
        print("done", flush=True)
"""
KILLS = 50


def test_fifty_kills_at_random_moments(tmp_path: Path) -> None:
    """Kill the whole build, its first process, or any process below it; with one, two and three workers."""
    rng = random.Random(20260801)
    store = write_store(tmp_path / "store", tiny_posts(120))
    build(store, tmp_path / "whole")
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(RANDOM))
    kills = finished = 0
    while kills < KILLS or not finished:
        target = tmp_path / f"killed-{finished}"
        command = [sys.executable, str(program), str(store), str(target), str(rng.randint(1, 3))]
        with (
            (tmp_path / "errors").open("w+") as errors,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
        ):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            while process.poll() is None and kills < KILLS:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=rng.uniform(0, 2))
                kills += kill_some(process.pid, rng)
            output = process.stdout.read()
            errors.seek(0)
            said = errors.read()
        if (target / "manifest.json").exists():
            assert verify_dataset(target).findings == ()
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(("tmp", "."))]  # nameless
        if output == "done\n":
            assert digests(target) == digests(tmp_path / "whole")
            finished += 1
        else:
            # After three killed workers in a row, the build gives up with a message.
            assert process.returncode == -signal.SIGKILL or "killed repeatedly" in said, said

    assert kills == KILLS


def kill_some(pid: int, rng: random.Random) -> int:
    """Kill a process, one below it, or all of them; return whether there was anything to kill."""
    processes = [pid, *descendants(pid)]
    victims = rng.choice([processes, processes[:1], [rng.choice(processes)], [rng.choice(processes)]])
    killed = 0
    for victim in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            killed = 1
    return killed


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    return found


# Runs commands, each in a fork that has imported everything, with the tables on disk in many small parts.
COMMANDS = """
    import json, os, sys
    from alti2v.cli import main
    from alti2v.dataset import build, remove, stats
    from alti2v.dataset.check import repair, samples, verify
    from alti2v.dataset.explore import duplicate_groups
    from alti2v.dataset.images import appearance
    from alti2v.dataset.plan import near_duplicates, near_hashes
    from alti2v.storage import disk_table
    appearance._CHUNK_PICTURES = 8
    disk_table._BATCH_ROWS, disk_table._RUN_ROWS, disk_table._RUN_BATCH_ROWS = 16, 32, 4
    disk_table._PART_ROWS = 4
    build._PLANNED_AT_ONCE = 20
    near_duplicates._COMPARED_AT_ONCE, near_hashes._ROWS_AT_ONCE, near_hashes._PAIRS_AT_ONCE = 3, 4, 5
    remove._ROWS_AT_ONCE = samples._ROWS_AT_ONCE = duplicate_groups._ROWS_AT_ONCE = 3
    if __name__ == "__main__":
        for line in sys.stdin:
            child = os.fork()
            if child == 0:
                os.dup2(2, 1)
                main(json.loads(line))
            print(child, flush=True)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
KILLS_PER_COMMAND = 12


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """A function that runs a command, and kills some of its processes after a time; it returns the status."""
    program = tmp_path / "commands.py"
    program.write_text(textwrap.dedent(COMMANDS))
    with (
        (tmp_path / "said").open("w") as said,
        subprocess.Popen(
            [sys.executable, str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as warm,
    ):
        assert warm.stdin is not None
        assert warm.stdout is not None
        asks, answers = warm.stdin, warm.stdout

        def run(*arguments: object, kill_after_s: float | None = None, rng: random.Random | None = None) -> int:
            asks.write(json.dumps([str(argument) for argument in arguments]) + "\n")
            asks.flush()
            pid = int(answers.readline())
            if kill_after_s is not None and rng is not None:
                time.sleep(kill_after_s)
                kill_some(pid, rng)
            return int(answers.readline())

        yield run
        asks.close()


@pytest.mark.parametrize("job", ["grow", "new plan", "remove", "repair", "verify", "stats"])
def test_kills_of_commands_with_a_dataset(tmp_path: Path, command: Callable[..., int], job: str) -> None:
    """However often a command is killed, it leaves whole versions, and the last run the same bytes."""
    rng = random.Random(job)
    store, grown = (write_store(tmp_path / str(posts), tiny_posts(posts)) for posts in (60, 90))
    build(store, tmp_path / "dataset")
    (tmp_path / "ids").write_text("\n".join(map(str, [3, 7, 20, 21, 22, 58])))
    if job == "repair":
        damaged = sorted((tmp_path / "dataset/data").glob("*.tar"))[:2]
        damaged[0].unlink()
        damaged[1].write_bytes(damaged[1].read_bytes()[:2000])
    small = ("--size", 32, "--test", 6, "--validation", 4, "--shard-samples", 9, "--workers", 2)
    arguments = {
        "grow": ("build-shards", grown, "DATASET", *small),
        "new plan": ("build-shards", grown, "DATASET", *small, "--new-plan"),
        "remove": ("remove", "DATASET", "--ids", tmp_path / "ids"),
        "repair": ("verify", "DATASET", "--repair", store),
        "verify": ("verify", "DATASET", "--deep"),
        "stats": ("stats", "DATASET", "--html", "DATASET.html"),
    }[job]

    def run(target: Path, **kill: object) -> int:
        return command(*(str(each).replace("DATASET", str(target)) for each in arguments), **kill)

    def check(target: Path) -> None:
        assert verify_dataset(target).findings == ()
        if job == "new plan":  # after a kill that follows its publication, it makes a further version
            assert splits(target) == splits(whole)
        else:
            assert digests(target) == digests(whole)

    whole = Path(shutil.copytree(tmp_path / "dataset", tmp_path / "whole"))
    begun_s = time.monotonic()
    assert run(whole) == 0, (tmp_path / "said").read_text()
    lasts_s = time.monotonic() - begun_s
    target = tmp_path / "killed"
    for _ in range(KILLS_PER_COMMAND):
        if not target.exists():
            shutil.copytree(tmp_path / "dataset", target)
        status = run(target, kill_after_s=rng.uniform(0, lasts_s), rng=rng)
        said = (tmp_path / "said").read_text()
        # After three killed workers in a row, a build gives up with a message.
        assert status in (0, -signal.SIGKILL) or "killed repeatedly" in said, said
        for shard in read_manifest(target).shards:
            file = target / shard.name.data
            assert job == "repair" or hashlib.sha256(file.read_bytes()).hexdigest() == shard.sha256, shard.name
        assert not [*target.rglob("tmp*")]  # nameless
        if status == 0:
            check(target)
            shutil.rmtree(target)
    if target.exists():
        assert run(target) == 0, (tmp_path / "said").read_text()
        check(target)


def splits(dataset: Path) -> dict[int, str]:
    """Return the split of each picture of a dataset."""
    rows = pq.read_table(dataset / "outcomes.parquet", columns=["id", "shard"]).to_pylist()
    return {row["id"]: row["shard"].partition("-")[0] for row in rows if row["shard"]}
