"""Engine on the processes of this machine: one function over many tasks.

A task and its result are small frozen values; pictures never travel between processes. A function may run more
than once for a task, and must then publish the same bytes.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_sentinel
from pathlib import Path
from typing import Protocol, TypeVar

from alti2v.child_processes import SafeSpawnContext
from alti2v.errors import Alti2vError
from alti2v.signals import ignore_signals_of_the_group

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
_DEATHS = 3  # without a finished task in between


class Engine(Protocol):
    """Runs a function over tasks and yields (task, result) in the order of completion."""

    def __call__(
        self, function: Callable[[_Task], _Result], tasks: Iterable[_Task], /
    ) -> Iterator[tuple[_Task, _Result]]:
        """Run the function; an exception ends the iteration after the running tasks have ended."""


@contextlib.contextmanager
def local_engine(workers: int) -> Iterator[Engine]:
    """Open an engine on the processes of this machine; with one worker, everything runs in this process.

    Workers are spawned, not forked: a forked copy of a process with threads can hang. They end with this
    process, even if it is killed. If a worker is killed, all are replaced and their tasks run again.

    Raises:
        Alti2vError: Workers are killed repeatedly before they finish anything.
    """
    if workers == 1:
        yield _in_this_process
        return
    pool = _pool(workers)

    def run(function: Callable[[_Task], _Result], tasks: Iterable[_Task], /) -> Iterator[tuple[_Task, _Result]]:
        nonlocal pool
        remaining, deaths = iter(tasks), 0
        while True:
            unfinished: list[_Task] = []
            try:
                for finished in _completed(pool, function, remaining, unfinished, in_flight=2 * workers):
                    deaths = 0
                    yield finished
            except BrokenProcessPool as exc:
                deaths += 1
                if deaths == _DEATHS:
                    raise Alti2vError(
                        "worker processes were killed repeatedly, perhaps for lack of memory: "
                        "run the same command again with fewer --workers"
                    ) from exc
                pool.shutdown()
                pool, remaining = _pool(workers), itertools.chain(unfinished, remaining)
            else:
                return

    try:
        yield run
    except KeyboardInterrupt:
        # A task may take an hour, if its pictures are hostile; what a killed worker leaves is removed later.
        for process in list(pool._processes):
            _kill_family(process)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _kill_family(pid: int) -> None:
    """Kill a worker and its decoder, which would go on with its picture."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        for one in (pid, *map(int, children)):
            os.kill(one, signal.SIGKILL)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=SafeSpawnContext(), initializer=_die_with_parent)


def _in_this_process(
    function: Callable[[_Task], _Result], tasks: Iterable[_Task], /
) -> Iterator[tuple[_Task, _Result]]:
    for task in tasks:
        yield task, function(task)


def _completed(
    pool: ProcessPoolExecutor,
    function: Callable[[_Task], _Result],
    remaining: Iterator[_Task],
    unfinished: list[_Task],
    *,
    in_flight: int,
) -> Iterator[tuple[_Task, _Result]]:
    """Yield results as they arrive; `unfinished` always holds the tasks that were taken and not yielded."""
    # Submitting all tasks would keep a Future per task, and start work that an error makes useless.
    waiting: dict[Future[_Result], _Task] = {}
    while True:
        while len(waiting) < in_flight and (task := next(remaining, None)) is not None:
            unfinished.append(task)
            waiting[pool.submit(function, task)] = task
        if not waiting:
            return
        finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in finished:
            task, result = waiting.pop(future), future.result()
            unfinished.remove(task)
            yield task, result


def _die_with_parent() -> None:
    ignore_signals_of_the_group()
    threading.Thread(target=_exit_after_parent, daemon=True, name="parent-watch").start()


def _exit_after_parent() -> None:
    # A worker whose parent is killed would wait forever, because it holds the writing end of its own pipe.
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_sentinel([parent.sentinel])
        os._exit(1)
