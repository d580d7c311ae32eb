"""The local engine: every task once, bounded memory, and no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from alti2v.dataset.engines import local_engine
from alti2v.errors import DataError


def squared(number: int) -> int:
    return number * number


def failing(number: int) -> int:
    if number == 3:
        raise DataError("3 is not wanted")
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done_once(workers: int) -> None:
    """Results come with their tasks, each exactly once, also from two calls in a row."""
    with local_engine(workers) as run:
        first = sorted(run(squared, range(20)))
        second = sorted(run(squared, []))

    assert first == [(number, number * number) for number in range(20)]
    assert second == []


def test_tasks_are_taken_as_they_are_needed() -> None:
    """A long list of tasks is not submitted at once, so that an error stops the work early."""
    taken = []

    def tasks() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    with pytest.raises(DataError, match="3 is not wanted"), local_engine(2) as run:
        list(run(failing, tasks()))

    assert len(taken) < 500


ORPHANS = """
    import sys
    from alti2v.dataset.engines import local_engine
    from tests.dataset.test_engine_processes import own_pid
    if __name__ == "__main__":
        with local_engine(2) as run:
            print(len({pid for _, pid in run(own_pid, range(8))}), flush=True)
            sys.stdin.read()
"""


def own_pid(_: int) -> int:
    return os.getpid()


def test_killed_parents_leave_no_workers() -> None:
    """After kill -9 of the main process its workers end by themselves."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(ORPHANS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        workers = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
        # The workers hold the other end of the pipe, too: it closes when the last of them has ended.
        rest, _ = parent.communicate(timeout=20)

    assert workers >= 1
    assert rest == ""
