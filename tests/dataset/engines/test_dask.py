"""The Dask engine on a real cluster of two worker processes: every task is done, whatever dies."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import dask
import distributed
import pytest

from alti2v.cli import main
from alti2v.dataset.engines.dask import cluster_here, dask_engine
from alti2v.errors import Alti2vError, DataError, RemoteError, UsageError
from tests.dataset.helpers.building import build, digests
from tests.dataset.helpers.engine_tasks import failing, squared
from tests.dataset.helpers.tiny_store import tiny_posts, write_store


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    """Two worker processes with one thread each."""
    # Workers import this module by name.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        with dask.config.set({"distributed.scheduler.allowed-failures": 1}), cluster_here(2) as cluster:
            yield cluster


def versions() -> Mapping[str, str]:
    return {"program": "1"}


def own_versions() -> Mapping[str, str]:
    """Versions that differ in every process."""
    return {"program": str(os.getpid())}


def dying(folder: Path) -> int:
    """Kill the calling process once, then succeed."""
    if not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def dead(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def endless(_: int) -> None:
    threading.Event().wait(60)


def found_by_a_new_worker(folder: Path) -> tuple[bool, float]:
    """Whether imports ignore the current folder, and its patience in s, after the first one died."""
    dying(folder)
    return sys.flags.safe_path, dask.config.get("distributed.comm.timeouts.connect")


def test_a_worker_that_replaces_a_killed_one_is_safe_and_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module in the current folder does not run, a busy machine has time; this process is as before."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    with cluster_here(1) as cluster, dask_engine(cluster.scheduler_address, 1, versions) as run:
        assert list(run(found_by_a_new_worker, [tmp_path])) == [(tmp_path, (True, 300.0))]

    assert "PYTHONSAFEPATH" not in os.environ


def test_nobody_waits_for_workers_that_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no new process starts, Dask gives up its place for good, and the build ends with one line."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))

    async def fails(_: object) -> None:
        raise OSError("no scheduler within 30 s")

    with dask_engine(None, 1, versions) as run:
        monkeypatch.setattr("distributed.nanny.WorkerProcess.start", fails)
        with pytest.raises(Alti2vError, match="new ones do not start: run the same command again to resume"):
            list(run(dying, [tmp_path]))


def test_a_worker_that_ends_late_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask gives up waiting for a killed worker on a busy machine; the work is done."""
    close = distributed.LocalCluster.close

    def late(cluster: distributed.LocalCluster) -> None:
        close(cluster)
        raise TimeoutError

    with monkeypatch.context() as patch, cluster_here(0):
        patch.setattr(distributed.LocalCluster, "close", late)


def test_every_task_is_done_once(cluster: distributed.LocalCluster) -> None:
    """Results arrive with their tasks, each exactly once; few tasks are on the cluster at a time."""
    taken = []

    def tasks() -> Iterator[int]:
        for number in range(40):
            taken.append(number)
            yield number

    with dask_engine(cluster.scheduler_address, 1, versions) as run:
        first = next(results := iter(run(squared, tasks())))
        in_flight = len(taken)
        rest = list(results)
        nothing = list(run(squared, range(0)))

    assert sorted([first, *rest]) == [(number, number * number) for number in range(40)]
    assert in_flight <= 4
    assert nothing == []


def test_an_error_of_a_task_is_the_error_of_the_run(cluster: distributed.LocalCluster) -> None:
    """The exception is unchanged, and the remaining tasks are not run."""
    with (
        pytest.raises(DataError, match="3 is not wanted"),
        dask_engine(cluster.scheduler_address, 1, versions) as run,
    ):
        list(run(failing, range(1000)))


def test_f50_killed_workers_are_replaced(cluster: distributed.LocalCluster, tmp_path: Path) -> None:
    """The task of a killed worker runs again, and no other task is lost."""
    with dask_engine(cluster.scheduler_address, 1, versions) as run:
        [(_, pid)] = run(dying, [tmp_path])
        rest = sorted(run(squared, range(5)))

    assert pid != os.getpid()
    assert rest == [(number, number * number) for number in range(5)]


def test_a_task_that_kills_all_its_workers_ends_the_work(cluster: distributed.LocalCluster) -> None:
    """The run ends with an error instead of waiting forever."""
    with (
        pytest.raises(Alti2vError, match="killed repeatedly"),
        dask_engine(cluster.scheduler_address, 1, versions) as run,
    ):
        list(run(dead, range(1)))


def test_workers_with_other_programs_are_refused(cluster: distributed.LocalCluster) -> None:
    """Other versions might make other bytes."""
    with (
        pytest.raises(UsageError, match=r"has program .*, this machine .*, which .*: install the same"),
        dask_engine(cluster.scheduler_address, 1, own_versions) as run,
    ):
        list(run(squared, range(1)))


def test_a_dataset_made_by_a_cluster_is_the_same(tmp_path: Path) -> None:
    """Every file has the bytes of the local engine; the build starts its own cluster."""
    store = write_store(tmp_path / "store", tiny_posts(40), posts_per_tar=10)
    build(store, tmp_path / "local", workers=1)
    build(store, tmp_path / "dask", workers=2, engine="dask")

    assert digests(tmp_path / "dask") == digests(tmp_path / "local")


def test_an_unreachable_scheduler_is_named() -> None:
    """No process listens there, or a scheduler without workers does."""
    with (
        pytest.raises(RemoteError, match=r"no Dask scheduler responds at tcp://127.0.0.1:9: start one"),
        dask_engine("tcp://127.0.0.1:9", 1, versions, patience_s=0.2),
    ):
        pass
    with (
        cluster_here(0) as empty,
        pytest.raises(RemoteError, match=f"at {empty.scheduler_address} has no workers: start some"),
        dask_engine(empty.scheduler_address, 1, versions, patience_s=0.2),
    ):
        pass


def test_a_scheduler_that_goes_away_is_named() -> None:
    """The error says what to do."""
    with (
        cluster_here(1) as cluster,
        pytest.raises(RemoteError, match="was lost: run the same command again"),
        dask_engine(cluster.scheduler_address, 1, versions, patience_s=1) as run,
    ):
        [cluster.close() for _ in run(squared, range(100))]


def test_nobody_waits_for_a_scheduler_that_is_gone() -> None:
    """The run ends even while a task never does."""

    def one_and_the_end() -> Iterator[int]:
        threading.Timer(0.5, own.close).start()
        yield 1

    with (
        cluster_here(1) as own,
        pytest.raises(RemoteError, match="was lost: run the same command again"),
        dask_engine(own.scheduler_address, 1, versions, patience_s=1) as run,
    ):
        list(run(endless, one_and_the_end()))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--scheduler", "tcp://127.0.0.1:9"], "add --engine dask"),
        (["--engine", "dask", "--scheduler", "tcp://127.0.0.1:9", "--workers", "2"], "a cluster has its own"),
        (["--engine", "dask", "--scheduler", "nonsense"], "give an address such as tcp://host:8786"),
    ],
)
def test_options_that_contradict(
    options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and the exit status of a usage error."""
    store = write_store(tmp_path / "store", tiny_posts(4))
    with pytest.raises(SystemExit) as ended:
        main(["build-shards", str(store), str(tmp_path / "dataset"), *options])

    assert ended.value.code == 2
    gc.collect()  # a half-initialised client prints when it is collected
    assert says in (said := capsys.readouterr().err)
    assert said.count("\n") == 1


def test_without_dask_the_engine_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the package to install."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    store = write_store(tmp_path / "store", tiny_posts(4))
    with pytest.raises(SystemExit) as ended:
        main(["build-shards", str(store), str(tmp_path / "dataset"), "--engine", "dask"])

    assert ended.value.code == 2
    assert "pip install 'alti2v[dask]'" in capsys.readouterr().err
