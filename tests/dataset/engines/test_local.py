"""The local engine: every task runs once, memory is bounded, and no process is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alti2v.dataset.engines.local import local_engine
from alti2v.errors import Alti2vError, DataError
from tests.dataset.helpers.engine_tasks import failing, squared


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done_once(workers: int) -> None:
    """Results arrive with their tasks, each exactly once, in two calls in a row."""
    with local_engine(workers) as run:
        first = sorted(run(squared, range(20)))
        second = sorted(run(squared, range(0)))

    assert first == [(number, number * number) for number in range(20)]
    assert second == []


def test_tasks_are_taken_as_they_are_needed() -> None:
    """Tasks of a long list are submitted gradually, so that an error stops the work early."""
    taken = []

    def tasks() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    with pytest.raises(DataError, match="3 is not wanted"), local_engine(2) as run:
        list(run(failing, tasks()))

    assert len(taken) < 500


def dying(folder: Path) -> int:
    """Kill the calling process twice, then succeed."""
    deaths = len(list(folder.iterdir()))
    if deaths < 2:
        (folder / str(deaths)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return deaths


def dead(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_workers_are_replaced(tmp_path: Path) -> None:
    """Their tasks run again in new workers, and no task is lost or duplicated."""
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    with local_engine(2) as run:
        # One task at a time, because a third death in a row before any task ends would stop the run.
        finished = [result for folder in folders for result in run(dying, [folder])]
        rest = sorted(run(squared, range(5)))

    assert finished == [(folder, 2) for folder in folders]
    assert rest == [(number, number * number) for number in range(5)]


def test_workers_that_always_die_end_the_work() -> None:
    """A task that kills every worker ends the run with an error."""
    with pytest.raises(Alti2vError, match="killed repeatedly"), local_engine(2) as run:
        list(run(dead, range(3)))


ORPHANS = """
    import sys
    from alti2v.dataset.engines.local import local_engine
    from tests.dataset.helpers.engine_tasks import own_pid
    if __name__ == "__main__":
        with local_engine(2) as run:
            print(len({pid for _, pid in run(own_pid, range(8))}), flush=True)
            sys.stdin.read()
"""


def test_killed_parents_leave_no_workers() -> None:
    """After kill -9 of the main process, its workers end by themselves."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(ORPHANS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        workers = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
        # The workers also hold the other end of the pipe: it closes when the last of them ends.
        rest, _ = parent.communicate(timeout=20)

    assert workers >= 1
    assert rest == ""


def test_an_interrupt_does_not_wait_for_running_tasks() -> None:
    """Ctrl-C ends a build although its workers decode pictures that take minutes."""

    def interrupted() -> None:
        with local_engine(2) as engine:
            for _ in engine(time.sleep, [0.0, 300.0, 300.0, 300.0]):
                raise KeyboardInterrupt

    begun_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert time.monotonic() - begun_s < 60
