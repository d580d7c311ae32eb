"""Engine on a Dask cluster: one function over many tasks, on as many machines as the cluster has.

Only tasks and results travel, and both are small; a worker reads pictures from the store and writes shards to
the dataset itself. Dask runs a task again when its worker is lost, finished or not, and may run it twice at the
same time, so a function must publish the same bytes each time, and be harmless when it is late.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from alti2v.child_processes import safe_path
from alti2v.dataset.engines.local import Engine
from alti2v.errors import Alti2vError, RemoteError, UsageError

if TYPE_CHECKING:
    import distributed

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
_PATIENCE_S = 10.0
_CONNECT_S = 300.0
# Between two checks that the scheduler is alive; after every task, they would cost it as much as the task.
_CHECK_S = 0.5
_IN_FLIGHT = 2  # tasks per thread: one runs, one waits


@contextlib.contextmanager
def dask_engine(
    scheduler: str | None,
    workers: int,
    versions: Callable[[], Mapping[str, str]],
    *,
    patience_s: float = _PATIENCE_S,
) -> Iterator[Engine]:
    """Open an engine on a Dask cluster.

    Args:
        scheduler: Address of the scheduler, such as tcp://host:8786; None for a cluster of processes on this
            machine.
        workers: Number of these processes.
        versions: Function that returns the versions of the programs that the bytes depend on; workers with
            other versions are refused.
        patience_s: How long to wait for the scheduler, and for its first worker, s.

    Raises:
        UsageError: Dask is not installed, the address is malformed, or a worker has other versions.
        RemoteError: The scheduler does not respond, has no workers, or was lost.
        Alti2vError: One task kills its workers repeatedly.
    """
    try:
        import distributed  # noqa: F401 - is it installed?
    except ImportError as exc:
        raise UsageError(
            "--engine dask needs Dask, which is missing: pip install 'alti2v[dask]', or leave it out"
        ) from exc
    with contextlib.ExitStack() as stack:
        ours = None
        if scheduler is None:
            ours = stack.enter_context(cluster_here(workers))
            scheduler = str(ours.scheduler_address)
        client = stack.enter_context(_connected(scheduler, patience_s))

        def run(
            function: Callable[[_Task], _Result], tasks: Iterable[_Task], /
        ) -> Iterator[tuple[_Task, _Result]]:
            call = _Call(function=function, versions=versions, expected=dict(versions()))
            with _cluster_errors(scheduler):
                yield from _completed(client, call, iter(tasks), ours)

        yield run


@contextlib.contextmanager
def _cluster_errors(scheduler: str) -> Iterator[None]:
    """Translate failures of the cluster into ours."""
    import distributed

    try:
        yield
    except distributed.KilledWorker as exc:
        raise Alti2vError(
            "workers of the cluster were killed repeatedly, perhaps for lack of memory: "
            "give them more, then run the same command again"
        ) from exc
    except (distributed.CancelledError, distributed.comm.CommClosedError) as exc:
        raise RemoteError(
            f"the Dask scheduler at {scheduler} was lost: run the same command again to resume"
        ) from exc
    except ModuleNotFoundError as exc:
        raise UsageError(
            f"the workers of the cluster have no {exc.name}: install the same alti2v there"
        ) from exc


@contextlib.contextmanager
def cluster_here(workers: int) -> Iterator[distributed.LocalCluster]:
    """Run a cluster of processes on this machine that other machines cannot reach."""
    import dask
    import distributed

    # A new worker that does not reach the scheduler in time, 30 s by default, is given up for good.
    patience = dask.config.set({"distributed.comm.timeouts.connect": _CONNECT_S})
    with safe_path(), patience:  # as long as the cluster runs: a worker that is killed is replaced
        cluster = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            # Even without a dashboard it serves HTTP, on a port that several clusters would compete for.
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        )
        try:
            yield cluster
        finally:
            # Dask waits 5 s for a worker that it has killed, which may be too short on a busy machine.
            with contextlib.suppress(TimeoutError):
                cluster.close()


def _connected(scheduler: str, patience_s: float) -> distributed.Client:
    import distributed

    try:
        # A client with a malformed address waits for 20 s when it is collected, and prints a traceback.
        distributed.comm.get_address_host_port(scheduler)
    except ValueError as exc:
        raise UsageError(f"--scheduler {scheduler}: {exc}: give an address such as tcp://host:8786") from exc
    try:
        client = distributed.Client(scheduler, timeout=patience_s, set_as_default=False)
    except OSError as exc:
        raise RemoteError(
            f"no Dask scheduler responds at {scheduler}: start one with `dask scheduler`, or correct it"
        ) from exc
    try:
        client.wait_for_workers(1, timeout=patience_s)
    except TimeoutError as exc:
        client.close()
        raise RemoteError(
            f"the Dask scheduler at {scheduler} has no workers: start some with `dask worker {scheduler}`"
        ) from exc
    return client


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """The function as workers run it: refused if the versions of the programs differ."""

    function: Callable[[Any], Any]
    versions: Callable[[], Mapping[str, str]]
    expected: Mapping[str, str]

    def __call__(self, task: object) -> object:
        found = self.versions()
        for program, version in self.expected.items():
            if found.get(program) != version:
                raise UsageError(
                    f"the worker on {socket.gethostname()} has {program} {found.get(program)}, this machine "
                    f"{version}, which may give other bytes: install the same on all"
                )
        return self.function(task)


def _completed(
    client: distributed.Client,
    call: _Call,
    remaining: Iterator[_Task],
    ours: distributed.LocalCluster | None,
) -> Iterator[tuple[_Task, Any]]:
    import distributed

    waiting: dict[distributed.Future, _Task] = {}
    done = distributed.as_completed(loop=client.loop)
    threads, asked_s = 0, -math.inf
    try:
        while True:
            # Workers come and go, but asking after each task would cost the scheduler as much as the task.
            if not waiting or time.monotonic() - asked_s > _CHECK_S:
                threads, asked_s = _threads(client), time.monotonic()
            # At least one task, so that a lost scheduler is noticed.
            wanted = max(_IN_FLIGHT * threads, 1)
            for task in itertools.islice(remaining, max(wanted - len(waiting), 0)):
                future = client.submit(call, task, key=f"alti2v-{uuid.uuid4().hex}")
                waiting[future] = task
                done.add(future)
            if not waiting:
                return
            future = _next(client, done, ours)
            yield waiting.pop(future), future.result()
    finally:
        # Running tasks finish, which is harmless; waiting ones are cancelled.
        if client.status == "running":
            with contextlib.suppress(OSError):
                client.cancel(list(waiting))


def _next(
    client: distributed.Client, done: distributed.as_completed, ours: distributed.LocalCluster | None
) -> distributed.Future:
    import distributed

    ended = (distributed.Status.closed, distributed.Status.failed)
    # Its own __next__ waits forever if the client gives up its scheduler meanwhile.
    while not done.has_ready():
        if client.status == "closed":
            raise distributed.comm.CommClosedError
        # A nanny whose new worker does not start gives up, and the scheduler waits for others.
        if ours is not None and all(nanny.status in ended for nanny in ours.workers.values()):
            raise Alti2vError(
                "the worker processes on this machine were lost, and new ones do not start: "
                "run the same command again to resume"
            )
        with done.thread_condition:
            done.thread_condition.wait(_CHECK_S)
    return next(done)


def _threads(client: distributed.Client) -> int:
    import distributed

    try:
        return sum(client.nthreads().values())
    except OSError as exc:  # must not be confused with an exception of a task
        raise distributed.comm.CommClosedError from exc
