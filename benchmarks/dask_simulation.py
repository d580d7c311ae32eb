"""Simulation of a Dask build with many workers, to measure the scheduler and the main process.

The scheduler is a process of its own, and so are all workers together: 64 of one thread each, as 64 machines
with one core would show themselves. The main process sends what a build sends, chunks of 256 pictures, through
the engine of the build; a worker sleeps as long as preparing them takes (docs/BENCHMARKS.md: 8.7 ms a picture
for JPEGs with grain). The first line is the share of the time that 64 workers would need at best; the second
how many tasks a second pass if they take no time at all. Run:

    python benchmarks/dask_simulation.py [--workers 64] [--tasks-each 20]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.dataset.engines.dask import dask_engine
from alti2v.dataset.images.prepare import Chunk, made_with
from alti2v.pictures.recipe import ImageRecipe
from benchmarks.support.processes import cpu_s, peak_rss_mb

_ROOT = sys.path[0]
_PICTURES = 256
_PICTURE_S = 0.0087
_PATIENCE_S = 120.0


def main() -> None:
    """Simulate, print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--tasks-each", type=int, default=20)
    parser.add_argument("--serve", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        asyncio.run(_serve(options.serve, options.workers))
        return
    result: dict[str, float] = {"workers": options.workers, "task_s": round(_PICTURES * _PICTURE_S, 2)}
    with tempfile.TemporaryDirectory() as folder:
        address_file = Path(folder) / "scheduler.json"
        command = ["dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        command = [sys.executable, "-m", *command, "--scheduler-file", str(address_file)]
        environment = {**os.environ, "PYTHONPATH": _ROOT}
        with _process(command, folder, environment) as scheduler:
            while not address_file.exists() or not address_file.read_text():
                time.sleep(0.1)
            address = json.loads(address_file.read_text())["address"]
            serve = [sys.executable, __file__, "--workers", str(options.workers), "--serve", address]
            with _process(serve, folder, environment) as workers:
                try:
                    _wait_for(address, options.workers)
                    tasks = options.workers * options.tasks_each
                    result |= _measured(address, options.workers, tasks, _sleeping, scheduler.pid)
                    ideal_s = options.tasks_each * _PICTURES * _PICTURE_S
                    result["efficiency"] = round(ideal_s / result.pop("seconds"), 3)
                    empty = _measured(address, options.workers, tasks, _idle, scheduler.pid)
                    result["empty_tasks_per_s"] = round(tasks / empty["seconds"], 1)
                finally:
                    workers.terminate()
                    scheduler.terminate()
    for name, value in result.items():
        print(f"{name:28} {value}")
    print(json.dumps(result))


def _process(command: list[str], folder: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)


async def _serve(address: str, workers: int) -> None:
    import distributed

    started = await asyncio.gather(
        *(
            distributed.Worker(address, nthreads=1, host="127.0.0.1", dashboard=False, name=str(number))
            for number in range(workers)
        )
    )
    await asyncio.gather(*(worker.finished() for worker in started))


def _wait_for(address: str, workers: int) -> None:
    import distributed

    with distributed.Client(address, set_as_default=False) as client:
        client.wait_for_workers(workers)


def _measured(address: str, workers: int, tasks: int, function: object, scheduler: int) -> dict[str, float]:
    main_s, scheduler_s = time.process_time(), cpu_s(scheduler)
    with dask_engine(address, workers, made_with, patience_s=_PATIENCE_S) as engine:
        list(engine(function, _chunks(workers)))  # type: ignore[arg-type]  # imports
        begun_s = time.perf_counter()
        assert len(list(engine(function, _chunks(tasks)))) == tasks  # type: ignore[arg-type]
        seconds = time.perf_counter() - begun_s
    return {
        "tasks": tasks,
        "seconds": seconds,
        "main_ms_a_task": round(1e3 * (time.process_time() - main_s) / (tasks + workers), 2),
        "scheduler_ms_a_task": round(1e3 * (cpu_s(scheduler) - scheduler_s) / (tasks + workers), 2),
        "main_mb": round(peak_rss_mb()),
        "scheduler_mb": round(peak_rss_mb(scheduler)),
    }


def _chunks(count: int) -> Iterator[Chunk]:
    for number in range(count):
        pictures = tuple(
            (number * _PICTURES + at, at * 400_000, 386_000, f"{at:032x}") for at in range(_PICTURES)
        )
        yield Chunk(
            work=Path("work"), store=Path("store"), tar=0, pictures=pictures, recipe=ImageRecipe(), made_with=""
        )


def _sleeping(chunk: Chunk) -> Counter[str]:
    time.sleep(len(chunk.pictures) * _PICTURE_S)
    return Counter()


def _idle(chunk: Chunk) -> Counter[str]:
    return Counter(chunk.name[:0])


if __name__ == "__main__":
    main()
