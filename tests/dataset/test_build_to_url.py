"""A dataset behind a URL, on a real S3 server, built by this machine or by a cluster that shares the bucket.

The bytes are those of a local build, whatever process dies, repeats work or is late.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dask
import distributed
import fsspec
import numpy as np
import pytest

from alti2v.cli import main
from alti2v.dataset.build import build_shards
from alti2v.dataset.check.verify import verify_dataset
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.engines.dask import cluster_here
from alti2v.dataset.manifest import read_manifest
from alti2v.dataset.remove import remove_pictures
from alti2v.dataset.shard_cache import CacheConfig, hold, open_dataset
from alti2v.dataset.stats import StatsConfig, dataset_stats
from alti2v.dataset.write.shard import ShardSpec, build_shard
from alti2v.errors import DamagedError, StorageError, UsageError
from alti2v.records import Progress
from alti2v.report.dataset import write_stats_page
from alti2v.storage.columns import METADATA
from alti2v.storage.layout import WORK_DIR, parse_shard_name
from alti2v.storage.location import put_once
from alti2v.storage.remote import Remote, download, open_remote, upload, upload_once
from alti2v.storage.table import read_table
from tests.dataset.helpers.building import build, digests
from tests.dataset.helpers.tiny_store import tiny_posts, write_store
from tests.helpers.s3_server import BUCKET, S3Server, s3_server

pytestmark = pytest.mark.usefixtures("s3")
URL = f"s3://{BUCKET}/sets/one"
PATIENT = {"connect_timeout": 20, "read_timeout": 20, "retries": {"max_attempts": 0}}
POSTS = 40
OPTIONS: dict[str, Any] = {"size": 32, "test": 6, "validation": 4, "shard_samples": 9}


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    """No pauses between tries, but long timeouts, because the server shares this process with the build."""
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as server:
        patch.setitem(fsspec.config.conf, "s3", {"endpoint_url": server.url, "config_kwargs": PATIENT})
        patch.setattr("alti2v.storage.remote.PAUSES_S", (0.0,))
        yield server


@pytest.fixture
def s3(server: S3Server) -> Iterator[S3Server]:
    """An S3 server with one empty bucket."""
    yield server
    server.clear()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("store"), tiny_posts(POSTS), posts_per_tar=10)


@pytest.fixture(scope="module")
def local(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dataset of a local build."""
    folder = tmp_path_factory.mktemp("local") / "dataset"
    build(store, folder)
    return folder


@pytest.fixture(scope="module")
def expected(local: Path) -> dict[str, str]:
    """Digests of the local dataset."""
    return digests(local)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store with twelve more posts."""
    return write_store(tmp_path_factory.mktemp("grown"), tiny_posts(POSTS + 12), posts_per_tar=10)


@pytest.fixture(scope="module")
def expected_grown(local: Path, grown: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of the local dataset after growing."""
    folder = shutil.copytree(local, tmp_path_factory.mktemp("grown-local") / "dataset")
    build(grown, folder)
    return digests(folder)


@pytest.fixture(scope="module")
def built(
    store: Path, server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, bytes]]:
    """Work folder of a build by this machine, and the objects that it uploaded."""
    work = tmp_path_factory.mktemp("built") / "work"
    build_shards(config(store, work, workers=1))
    objects = {key: server.content(key) for key in server.names()}
    server.clear()
    return work, objects


@pytest.fixture
def work(built: tuple[Path, dict[str, bytes]], s3: S3Server, tmp_path: Path) -> Path:
    """A copy of that folder, with the objects in the bucket."""
    folder, objects = built
    for key, content in objects.items():
        s3.client.put_object(Bucket=BUCKET, Key=key, Body=content)
    return shutil.copytree(folder, tmp_path / "work")


@pytest.fixture(scope="module")
def cluster(server: S3Server) -> Iterator[distributed.LocalCluster]:
    """Two worker processes that know the server and can import the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        yield from two_workers()


def two_workers() -> Iterator[distributed.LocalCluster]:
    with dask.config.set({"distributed.scheduler.allowed-failures": 3}), cluster_here(2) as cluster:
        yield cluster


def config(store: Path | str, work: Path, **options: Any) -> BuildConfig:
    return BuildConfig(store=store, dataset=work, url=URL, **(OPTIONS | options))


def there(s3: S3Server) -> dict[str, str]:
    """Return the digests of the objects behind the URL."""
    prefix = "sets/one/"
    return {
        key.removeprefix(prefix): hashlib.sha256(s3.content(key)).hexdigest()
        for key in s3.names()
        if key.startswith(prefix)
    }


def copy_of(s3: S3Server, folder: Path) -> Path:
    for key in s3.names():
        file = folder / key.removeprefix("sets/one/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(s3.content(key))
    return folder


def puts_of_shards(s3: S3Server) -> int:
    return sum(s3.puts(name) for name in s3.names() if "/data/" in name)


def test_this_machine_builds_behind_a_url(
    store: Path, tmp_path: Path, s3: S3Server, expected: dict[str, str]
) -> None:
    """Every file has the bytes of a local build and is uploaded once; a second run does nothing."""
    report = build_shards(config(store, tmp_path / "work", workers=1))
    puts = puts_of_shards(s3)
    again = build_shards(config(store, tmp_path / "another-work", workers=1))

    assert there(s3) == expected
    assert puts == puts_of_shards(s3) == report.shards
    assert (report.dataset, report.train, again.plan_hash) == (URL, 30, report.plan_hash)
    assert verify_dataset(copy_of(s3, tmp_path / "copy")).findings == ()


def test_a_store_behind_a_url(store: Path, tmp_path: Path, s3: S3Server, expected: dict[str, str]) -> None:
    """Workers read its tar files by ranges; the bytes are those of a build from the folder."""
    remote = open_remote(f"s3://{BUCKET}/store")
    for file in store.rglob("*"):
        if file.is_file():
            upload(remote, file, file.relative_to(store).as_posix())
    build_shards(BuildConfig(store=remote.url, dataset=tmp_path / "dataset", workers=1, **OPTIONS))

    assert digests(tmp_path / "dataset") == expected
    with pytest.raises(UsageError, match=r"s3://bucket/nothing is not a store: give the URL"):
        build_shards(BuildConfig(store=f"s3://{BUCKET}/nothing", dataset=tmp_path / "x", **OPTIONS))


@pytest.mark.usefixtures("work")
def test_it_is_read_from_there(tmp_path: Path) -> None:
    """`train` and `eval` can use the URL."""
    folder = open_dataset(URL, CacheConfig(cache=tmp_path / "cache"))
    shards = read_manifest(folder).shards
    for shard in shards:
        hold(folder, shard)

    assert len(list((folder / "data").glob("*.tar"))) == len(shards)


@pytest.mark.usefixtures("work")
def test_a_grown_store_adds_an_edition(
    grown: Path, tmp_path: Path, s3: S3Server, expected_grown: dict[str, str]
) -> None:
    """Old shards are not touched, even if another machine with an empty work folder continues."""
    before = there(s3)
    shards = {name for name in before if name.startswith("data/")}
    puts = {name: s3.puts(f"sets/one/{name}") for name in shards}
    build_shards(config(grown, tmp_path / "elsewhere", workers=1))

    assert there(s3) == expected_grown
    assert {name: s3.puts(f"sets/one/{name}") for name in shards} == puts


def test_a_lost_shard_is_made_again(store: Path, work: Path, s3: S3Server, expected: dict[str, str]) -> None:
    """The same command repairs missing and truncated files behind the URL."""
    lost = next(name for name in expected if name.startswith("data/train"))
    s3.client.delete_object(Bucket=BUCKET, Key=f"sets/one/{lost}")
    s3.client.delete_object(Bucket=BUCKET, Key="sets/one/README.md")
    build_shards(config(store, work, workers=1))

    assert there(s3) == expected


def test_a_cluster_builds_behind_a_url(
    store: Path, tmp_path: Path, s3: S3Server, cluster: distributed.LocalCluster, expected: dict[str, str]
) -> None:
    """Workers share only the bucket and the store; no working files remain."""
    remote = {"engine": "dask", "scheduler": cluster.scheduler_address}
    report = build_shards(config(store, tmp_path / "work", **remote))

    assert there(s3) == expected
    assert puts_of_shards(s3) == report.shards
    assert [path.name for path in (tmp_path / "work").rglob("*.pictures")] == []


def test_f50_a_worker_is_killed_in_the_middle_of_a_shard(
    store: Path, tmp_path: Path, s3: S3Server, cluster: distributed.LocalCluster, expected: dict[str, str]
) -> None:
    """Killed after its first upload, the shard is finished by another worker, and exists once."""
    die = tmp_path / "die"
    die.touch()
    cluster_client = distributed.Client(cluster.scheduler_address, set_as_default=False)
    with cluster_client as client:
        client.run(die_after_a_put, die)
        remote = {"engine": "dask", "scheduler": cluster.scheduler_address}
        report = build_shards(config(store, tmp_path / "work", **remote))

    assert not die.exists()
    assert there(s3) == expected
    assert puts_of_shards(s3) <= report.shards + 1  # the upload that found the file of the dead worker
    assert sum(report.outcomes.values()) == POSTS


def die_after_a_put(once: Path) -> None:
    """Kill the first worker that uploads a tar file."""

    def dying(file: Path, location: Path | Remote, name: str) -> None:
        put_once(file, location, name)
        if name.endswith(".tar"):
            try:
                once.unlink()
            except FileNotFoundError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    # Not undone: it has to last in the worker.
    pytest.MonkeyPatch().setattr("alti2v.dataset.write.shard.put_once", dying)


def planned_specs(s3: S3Server) -> list[ShardSpec]:
    """Return the tasks of an interrupted build, from its planned tables and a receipt behind the URL."""
    files = {Path(key).name: key for key in s3.names() if "/.build/" in key}
    receipt = json.loads(s3.content(next(key for name, key in files.items() if name.endswith(".receipt.json"))))
    return [
        ShardSpec(
            dataset=URL,
            work=f"{URL}/{WORK_DIR}",
            name=parse_shard_name(name.removesuffix(".plan.parquet")),
            plan_hash=receipt["plan_hash"],
        )
        for name in files
        if name.endswith(".plan.parquet")
    ]


def test_f52_duplicate_tasks_and_f53_a_straggler_change_nothing(
    store: Path, tmp_path: Path, s3: S3Server, cluster: distributed.LocalCluster, local: Path
) -> None:
    """The same task again, on both workers, before and after the manifest: equal bytes are accepted."""
    remote = {"engine": "dask", "scheduler": cluster.scheduler_address}

    def interrupt(progress: Progress) -> None:
        if progress.stage == "writing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_shards(config(store, tmp_path / "work", **remote), progress=interrupt)
    specs = planned_specs(s3)
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        twice = [client.submit(build_shard, spec, pure=False) for spec in specs for _ in range(2)]
        receipts = client.gather(twice)
    build_shards(config(store, tmp_path / "work", **remote))
    published = there(s3)
    # A straggler has read its plan and its pictures, and publishes after all others have finished.
    straggler = next(spec for spec in specs if spec.name.split == "train")
    upload_once(open_remote(URL), local / straggler.name.data, straggler.name.data)

    assert len(specs) > 1
    assert receipts[::2] == receipts[1::2]
    assert published == digests(local)
    assert there(s3) == digests(local)


@pytest.mark.usefixtures("work")
def test_f53_a_straggler_with_other_bytes_is_refused(
    tmp_path: Path, s3: S3Server, expected: dict[str, str]
) -> None:
    """A worker with an older plan is named, and published files are kept."""
    name = parse_shard_name(Path(next(n for n in expected if n.startswith("data/train"))).stem)
    (tmp_path / "stale").write_bytes(b"of another plan")
    with pytest.raises(
        StorageError, match=rf"{URL}/{name.data} has other bytes than this build makes: another"
    ):
        upload_once(open_remote(URL), tmp_path / "stale", name.data)

    assert there(s3) == expected


@pytest.mark.parametrize("fault", ["late", "500"])
def test_f41_an_answer_that_got_lost_is_no_conflict(
    store: Path, tmp_path: Path, s3: S3Server, expected: dict[str, str], fault: str
) -> None:
    """Uploads that fail, or succeed without a response, are retried; a shard with our bytes is ours."""
    s3.fail_puts(fault, times=1, after=2)  # the second file of the first shard
    build_shards(config(store, tmp_path / "work", workers=1))

    assert not s3.faults_left
    assert there(s3) == expected


DRIVER = """
    import os, signal, sys
    from pathlib import Path
    from alti2v.dataset.build import build_shards
    from alti2v.dataset.config import BuildConfig

    def main():
        store, work, url, address, when = sys.argv[1:]
        def die(progress):
            if progress.stage == when and progress.done:
                os.kill(os.getpid(), signal.SIGKILL)
        where = {"store": Path(store), "dataset": Path(work), "url": url}
        build_shards(BuildConfig(**where, engine="dask", scheduler=address, size=32, test=6, validation=4,
                                 shard_samples=9), progress=die)
    if __name__ == "__main__":
        main()
"""


def test_f51_the_driver_is_killed_and_started_again(
    store: Path, tmp_path: Path, s3: S3Server, cluster: distributed.LocalCluster, expected: dict[str, str]
) -> None:
    """Killed while preparing pictures and while writing shards; then another machine continues."""
    for when in ("preparing", "writing"):
        command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(DRIVER)]
        arguments = [store, tmp_path / "work", URL, cluster.scheduler_address, when]
        ended = subprocess.run([*command, *arguments], check=False, capture_output=True, timeout=60)
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    build_shards(config(store, tmp_path / "elsewhere", engine="dask", scheduler=cluster.scheduler_address))

    assert there(s3) == expected


@pytest.mark.parametrize("point", ["send", "manifest", "copies"])
def test_a_growing_edition_killed_while_it_is_sent(
    grown: Path,
    work: Path,
    tmp_path: Path,
    s3: S3Server,
    expected_grown: dict[str, str],
    point: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the manifest the old version is valid; after it, the next build finishes the new one."""
    old = there(s3)["manifest.json"]
    from alti2v.dataset.versions import remote

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if point == "send":
            patch.setattr(remote, "_send", stop)
        elif point == "manifest":
            patch.setattr(remote, "put", stop)
        else:
            send = remote._send
            patch.setattr(remote, "_send", lambda r, f, n, prefix: send(r, f, n, prefix) if prefix else stop())
        with pytest.raises(KeyboardInterrupt):
            build_shards(config(grown, work, workers=1))
    is_published = there(s3)["manifest.json"] != old
    build_shards(config(grown, tmp_path / "elsewhere", workers=1))

    assert is_published == (point == "copies")
    assert there(s3) == expected_grown


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([URL], 2, f"{URL} is a URL: give --work FOLDER for the plan"),
        (["{tmp}/dataset", "--work", "{tmp}/work"], 2, "is a local folder, which needs no --work"),
        ([URL, "--work", "{tmp}"], 2, "is neither empty nor a work folder: give a new folder"),
        (["s3://no-such-bucket/x", "--work", "{tmp}/work"], 1, "cannot write s3://no-such-bucket/x/"),
        (["quux://x/y", "--work", "{tmp}/work"], 2, "quux"),
    ],
)
def test_bad_places_are_one_line(
    store: Path,
    tmp_path: Path,
    s3: S3Server,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    says: str,
) -> None:
    """A wrong folder, a missing bucket, an unknown kind of URL: what, where, what to do."""
    (tmp_path / "something").touch()
    filled = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    options = ["--size", "32", "--test", "6", "--validation", "4", "--workers", "1"]
    with pytest.raises(SystemExit) as ended:
        main(["build-shards", str(store), *filled, *options])
    said = capsys.readouterr().err.strip().splitlines()

    assert ended.value.code == status
    assert says in said[-1]


def test_f41_an_unreachable_store_is_one_line(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server responds: reported before any picture is opened."""
    monkeypatch.setitem(
        fsspec.config.conf, "s3", {"endpoint_url": "http://127.0.0.1:9", "config_kwargs": PATIENT}
    )
    with pytest.raises(SystemExit) as ended:
        main(["build-shards", str(store), URL, "--work", str(tmp_path / "work"), "--workers", "1"])

    assert ended.value.code == 3
    assert f"cannot read {URL}/: " in (said := capsys.readouterr().err)
    assert said.count("\n") == 1


def test_another_dataset_needs_another_work_folder(store: Path, work: Path) -> None:
    """A work folder belongs to one URL."""
    other = BuildConfig(store=store, dataset=work, url=f"s3://{BUCKET}/two", **OPTIONS)
    with pytest.raises(UsageError, match=f"is the work folder of {URL}: give another folder"):
        build_shards(other)


def test_a_url_with_something_else_is_refused(store: Path, tmp_path: Path, s3: S3Server) -> None:
    """Nothing is mixed up, and nothing is removed."""
    s3.client.put_object(Bucket=BUCKET, Key="sets/one/store.json", Body=b"{}")
    with pytest.raises(UsageError, match=f"{URL} is a store, not a dataset"):
        build_shards(config(store, tmp_path / "work", workers=1))
    s3.client.delete_object(Bucket=BUCKET, Key="sets/one/store.json")
    s3.client.put_object(Bucket=BUCKET, Key="sets/one/photo.png", Body=b"")
    with pytest.raises(UsageError, match=r"contains photo.png but no manifest"):
        build_shards(config(store, tmp_path / "work", workers=1))

    assert s3.names() == ["sets/one/photo.png"]
    assert not (tmp_path / "work" / WORK_DIR / "next").exists()


def test_bytes_that_changed_behind_the_url_are_not_read(store: Path, tmp_path: Path, s3: S3Server) -> None:
    """If a tar file of the store has changed, its bytes are not taken for pictures: its posts are left out."""
    remote = open_remote(f"s3://{BUCKET}/store")
    for file in store.rglob("*"):
        if file.is_file():
            upload(remote, file, file.relative_to(store).as_posix())
    download(remote, "images/images-000000.tar", tmp_path / "tar")
    content = (tmp_path / "tar").read_bytes()
    (tmp_path / "tar").write_bytes(content[:1024] + content[2048:])
    upload(remote, tmp_path / "tar", "images/images-000000.tar")
    done = build_shards(BuildConfig(store=remote.url, dataset=tmp_path / "dataset", workers=1, **OPTIONS))

    assert done.outcomes == {"stored": POSTS - 10, "dropped damaged": 10}


def some_of(dataset: Path, shard: str) -> list[int]:
    """Return every second picture of a shard."""
    return sorted(read_table(dataset / f"metadata/{shard}.parquet", METADATA).column("id").to_pylist())[::2]


@pytest.mark.usefixtures("work")
def test_it_is_verified_there(s3: S3Server) -> None:
    """Shard by shard, each damaged file is named; nothing is repaired."""
    whole = verify_dataset(URL, deep=True)
    tar, index = (
        f"sets/one/{name}" for name in ("data/test-00000-of-00001.tar", "index/train-00000-of-00004.json")
    )
    content = bytearray(s3.content(tar))
    content[600] ^= 1
    s3.client.put_object(Bucket=BUCKET, Key=tar, Body=bytes(content))
    s3.client.delete_object(Bucket=BUCKET, Key=index)
    s3.client.put_object(Bucket=BUCKET, Key="sets/one/data/stray.tar", Body=b"")
    found = verify_dataset(URL)

    assert (whole.findings, whole.checked["samples"]) == ((), POSTS)
    assert sorted({finding.where for finding in found.findings}) == [
        "data/stray.tar",
        *(name.removeprefix("sets/one/") for name in (tar, index)),
    ]
    with pytest.raises(
        UsageError,
        match=f"{URL} is a URL, and only a local dataset can be repaired: verify it without --repair",
    ):
        verify_dataset(URL, repair=True)
    with pytest.raises(UsageError, match=f"{URL}/data is not a dataset: it has no manifest.json"):
        verify_dataset(f"{URL}/data")


@pytest.mark.usefixtures("work")
def test_a_damaged_table_is_named_by_its_url(s3: S3Server) -> None:
    """The message does not name the local copy."""
    s3.client.put_object(Bucket=BUCKET, Key="sets/one/tags.parquet", Body=b"PAR1")
    with pytest.raises(DamagedError, match=f"^{URL}/tags.parquet is damaged"):
        verify_dataset(URL)


@pytest.mark.usefixtures("work")
def test_it_is_looked_at_there(local: Path, tmp_path: Path) -> None:
    """`stats` gives the same counts and pictures as for the folder."""
    here, behind = (dataset_stats(StatsConfig(dataset=dataset, sheet=5)) for dataset in (local, URL))
    for stats, file in ((here, "here"), (behind, "there")):
        write_stats_page(stats, tmp_path / file, generated_at=datetime.fromtimestamp(0, UTC))

    assert replace(behind, dataset=local) == here
    assert (tmp_path / "there").read_text().replace("one", "dataset").count("data:image/jpeg") == (
        tmp_path / "here"
    ).read_text().count("data:image/jpeg")
    assert behind.name == "one"


@pytest.mark.usefixtures("work")
def test_pictures_are_removed_there(local: Path, tmp_path: Path, s3: S3Server) -> None:
    """Removal works as in a folder, with the same bytes; only changes are uploaded; interruptions resume."""
    leaving = np.array(sorted([*some_of(local, "train-00001-of-00004"), 999_999]))
    expected = shutil.copytree(local, tmp_path / "expected")
    report = remove_pictures(expected, leaving)
    before = {name: s3.puts(name) for name in s3.names()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alti2v.dataset.versions.transaction.send_version", interrupt)
        with pytest.raises(KeyboardInterrupt):
            remove_pictures(tmp_path / "elsewhere", leaving, url=URL)
    between = there(s3)
    found = remove_pictures(tmp_path / "work-2", leaving, url=URL)

    assert {name: digest for name, digest in between.items() if "-e2" not in name} == digests(local)
    assert there(s3) == digests(expected)
    assert found == replace(report, dataset=URL)
    assert all(s3.puts(name) == before[name] for name in s3.names() if "/data/" in name and "-e2" not in name)
    assert verify_dataset(URL, deep=True).findings == ()
    assert remove_pictures(tmp_path / "work-2", leaving, url=URL).removed == 0


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("s3")
def test_nothing_is_made_where_there_is_no_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is created, neither locally nor behind the URL; each refusal is one line."""
    (tmp_path / "ids").write_text("1\n")
    remove = ["remove", URL, "--ids", str(tmp_path / "ids")]
    for arguments in (remove, [*remove, "--work", str(tmp_path / "work")], ["stats", URL]):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)

    assert capsys.readouterr().err.splitlines() == [
        f"alti2v: {URL} is a URL: give --work FOLDER for its tables",
        f"alti2v: {URL} is not a dataset: give the URL of a dataset",
        f"alti2v: {URL} is not a dataset: it has no manifest.json: give the folder of a dataset",
    ]
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_the_memory_of_workers_is_flat(tmp_path: Path, s3: S3Server, cluster: distributed.LocalCluster) -> None:
    """With eight times the posts and shards, the peak stays the same, below 500 MB."""
    remote: dict[str, Any] = {"engine": "dask", "scheduler": cluster.scheduler_address, "shard_samples": 100}
    peaks = []
    for count in (300, 2400):
        store = write_store(tmp_path / f"store-{count}", tiny_posts(count), posts_per_tar=100)
        work, url = tmp_path / f"work-{count}", f"s3://{BUCKET}/of-{count}"
        build_shards(BuildConfig(store=store, dataset=work, url=url, **(OPTIONS | remote)))
        with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
            peaks.append(max(client.run(peak_mb).values()))

    assert peaks[1] < peaks[0] + 40
    assert peaks[1] < 500


def peak_mb() -> float:
    # Not getrusage, because a child's ru_maxrss starts at its parent's.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
