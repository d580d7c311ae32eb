"""A remote dataset is read like a local one, within a bounded cache, and damage is detected."""

from __future__ import annotations

import functools
import http.server
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from alti2v.cli import main
from alti2v.dataset.check.checksums import check_contents
from alti2v.dataset.manifest import read_manifest
from alti2v.dataset.shard_cache import CacheConfig, hold, open_dataset
from alti2v.errors import DamagedError, StorageError, UsageError
from alti2v.model.data.pipeline import evaluation_batches, training_batches
from alti2v.model.data.read_errors import reading_errors
from alti2v.model.data.shards import ReadFailure
from alti2v.model.recipes import MODERN, RECIPES
from alti2v.storage.columns import METADATA
from alti2v.storage.remote import Remote, download
from alti2v.storage.table import read_table, write_arrow_table
from tests.helpers.s3_server import BUCKET
from tests.model.helpers.tiny_dataset import write_squares

pytestmark = pytest.mark.tf
URL = f"s3://{BUCKET}/datasets/one"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A dataset with five training shards."""
    return write_squares(tmp_path_factory.mktemp("cache") / "dataset", train=40, shard_samples=8)


@pytest.fixture
def remote(s3: Any, local: Any) -> Any:
    """The same dataset behind a URL."""
    for file in local.rglob("*"):
        if file.is_file():
            put(s3, file.relative_to(local).as_posix(), file.read_bytes())
    return s3


def put(s3: Any, name: Any, content: Any) -> None:
    s3.client.put_object(Bucket=BUCKET, Key=f"datasets/one/{name}", Body=content)


def settings(tmp_path: Path, local: Any, shards: Any = 4) -> Any:
    largest = max(shard.bytes for shard in read_manifest(local).shards)
    return CacheConfig(cache=tmp_path / "cache", cache_gb=shards * largest / 1e9)


def epoch(dataset: Path, number: Any = 0) -> Any:
    failure = ReadFailure()
    with reading_errors(dataset, split="train", failure=failure):
        batches = training_batches(dataset, batch_size=16, seed=2, epoch=number, failure=failure)
        return [(images.tobytes(), labels.tobytes()) for images, labels in batches.as_numpy_iterator()]


def tars(dataset: Path) -> Any:
    return sorted(file.name for file in (dataset / "data").iterdir())


def test_batches_are_those_of_the_local_dataset(tmp_path: Path, local: Any, remote: Any) -> None:
    """Training and validation batches are bit-identical, and the cache never exceeds its bound."""
    config = settings(tmp_path, local)
    dataset = open_dataset(URL, config)
    for number in range(3):
        assert epoch(dataset, number) == epoch(local, number)
        held = sum(file.stat().st_size for file in (dataset / "data").iterdir())
        assert 0 < held <= round(config.cache_gb * 1e9)
    ours, expected = (
        list(evaluation_batches(each, split="validation", batch_size=5)) for each in (dataset, local)
    )
    assert [batch.ids.tolist() for batch in ours] == [batch.ids.tolist() for batch in expected]
    assert open_dataset(local) == local


def test_the_least_recently_used_shard_is_evicted(tmp_path: Path, local: Any, remote: Any) -> None:
    """Four shards fit; the fifth replaces the least recently used one."""
    dataset = open_dataset(URL, settings(tmp_path, local))
    shards = read_manifest(dataset).split("train")
    for number in (0, 1, 2, 3, 0, 4):
        hold(dataset, shards[number])

    assert "train-00001-of-00005.tar" not in tars(dataset)
    assert "train-00000-of-00005.tar" in tars(dataset)
    assert "train-00004-of-00005.tar" in tars(dataset)


@pytest.mark.parametrize(
    ("folder", "damage"),
    [
        ("data", "flipped"),
        ("data", "cut"),
        ("metadata", "flipped"),
        ("metadata", "gone"),
        ("metadata", "edited"),
    ],
)
def test_damage_in_the_cache_is_repaired(
    tmp_path: Path, local: Any, remote: Any, folder: str, damage: Any
) -> None:
    """A damaged file in the cache is downloaded again, and the batches are the same."""
    dataset = open_dataset(URL, settings(tmp_path, local, shards=9))
    before = epoch(dataset)
    victim = sorted((dataset / folder).glob("train-*"))[2]
    content = bytearray(victim.read_bytes())
    if damage == "flipped":
        content[-5 if folder == "metadata" else len(content) // 2] ^= 0xFF
    victim.write_bytes(content[:-700] if damage == "cut" else content)
    if damage == "gone":
        victim.unlink()
    if damage == "edited":  # a whole table, with labels of another picture
        rows = read_table(victim, METADATA)
        labels = pa.array(rows.column("labels").to_pylist()[::-1], rows.schema.field("labels").type)
        write_arrow_table(victim, METADATA, rows.drop_columns(["labels"]).append_column("labels", labels))

    assert epoch(dataset) == before
    assert victim.read_bytes() == (local / folder / victim.name).read_bytes()


def test_a_missing_shard_is_named_at_once(tmp_path: Path, local: Any, remote: Any) -> None:
    """A remote file that is missing or has another size is named before the training."""
    name = read_manifest(local).split("train")[3].name
    put(remote, name.data, (local / name.data).read_bytes()[:-512])
    with pytest.raises(DamagedError, match=rf"{URL}/{name.data} has \d+ bytes instead of"):
        open_dataset(URL, settings(tmp_path, local))

    remote.client.delete_object(Bucket=BUCKET, Key=f"datasets/one/{name.metadata}")
    with pytest.raises(DamagedError, match=f"{URL}/{name.data} has|{URL}/{name.metadata} is missing"):
        open_dataset(URL, settings(tmp_path, local))


def test_other_bytes_behind_the_url_are_never_read(tmp_path: Path, local: Any, remote: Any) -> None:
    """A remote shard of the right size with other bytes ends in one line, and is not kept."""
    shard = read_manifest(local).split("train")[1]
    put(remote, shard.name.data, bytes(shard.bytes))
    dataset = open_dataset(URL, settings(tmp_path, local))

    with pytest.raises(
        DamagedError, match=f"{shard.name.data} differs from the manifest .*{shard.sha256[:12]}"
    ):
        epoch(dataset)
    assert f"{shard.name}.tar" not in tars(dataset)


def test_a_bound_without_room_is_refused(tmp_path: Path, local: Any, remote: Any) -> None:
    """A cache that is too small for four shards is refused, with the size that they need."""
    with pytest.raises(UsageError, match="cannot hold 4 shards"):
        open_dataset(URL, settings(tmp_path, local, shards=3))
    with pytest.raises(UsageError, match="not above 0"):
        CacheConfig(cache_gb=0)


def test_no_dataset_there(tmp_path: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL without a dataset ends in one line."""
    monkeypatch.setattr("alti2v.storage.remote.PAUSES_S", (0.0,))
    with pytest.raises(StorageError, match=r"cannot read s3://bucket/nothing/manifest\.json"):
        open_dataset(f"s3://{BUCKET}/nothing", CacheConfig(cache=tmp_path / "cache"))


def test_downloads_are_tried_again(tmp_path: Path) -> None:
    """A failed download is retried after a pause; a missing file is not."""
    asked: list[str] = []
    slept: list[float] = []

    class Flaky:
        def get_file(self, source: Any, target: Any) -> None:
            asked.append(source)
            if len(asked) < 3:
                raise ConnectionError("reset")
            Path(target).write_bytes(b"there")

    remote = Remote(url="x://y", filesystem=Flaky(), root="y", pauses_s=(1.0, 2.0, 3.0), sleep=slept.append)
    download(remote, "a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"there"
    assert slept == [1.0, 2.0]

    class Gone:
        def get_file(self, source: Any, target: Any) -> None:
            raise FileNotFoundError(source)

    with pytest.raises(StorageError, match="cannot read x://y/a"):
        download(replace(remote, filesystem=Gone()), "a", tmp_path / "b")
    assert slept == [1.0, 2.0]
    assert not (tmp_path / "b").exists()


def test_web_servers_will_do(tmp_path: Path, local: Any) -> None:
    """A dataset can be read over plain HTTP; a missing shard is named when it is opened."""
    handler = functools.partial(_Quiet, directory=str(local))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            dataset = open_dataset(url, settings(tmp_path, local))
            assert epoch(dataset) == epoch(local)
            tar = local / read_manifest(local).split("train")[0].name.data
            tar.rename(tar.with_suffix(".away"))
            with pytest.raises(DamagedError, match=f"{tar.name} is missing"):
                open_dataset(url, settings(tmp_path, local))
            tar.with_suffix(".away").rename(tar)
        finally:
            server.shutdown()
            thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_train_and_eval_take_a_url(
    tmp_path: Path, local: Any, remote: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both commands accept a URL in place of a folder."""
    tiny = replace(MODERN, features=16, train_from="block5_conv3", batch_size=16, epochs=1)
    monkeypatch.setitem(RECIPES, "modern", tiny)
    cache = ["--cache", str(tmp_path / "cache")]
    commands = (
        ["train", URL, str(tmp_path / "run"), "--weights", "none", *cache],
        ["eval", str(tmp_path / "run"), "--dataset", URL, *cache],
    )
    for command in commands:
        with pytest.raises(SystemExit, match=r"^0$"):
            main(command)

    assert (tmp_path / "run" / "eval" / "metrics.json").is_file()


def test_other_bytes_are_named_before_training(tmp_path: Path) -> None:
    """A flipped bit in a local shard is named at the start; unchanged files are not read a second time."""
    dataset = write_squares(tmp_path / "dataset", train=20, shard_samples=8)
    shards = read_manifest(dataset).split("train")
    read = []
    hook = lambda progress: read.append(progress.done)  # noqa: E731
    check_contents(dataset, shards, remembered=tmp_path / "checked.json", progress=hook)
    assert len(read) == 3
    check_contents(dataset, shards, remembered=tmp_path / "checked.json", progress=hook)
    assert len(read) == 3

    tar = dataset / shards[1].name.data
    content = bytearray(tar.read_bytes())
    content[len(content) // 2] ^= 1
    tar.write_bytes(content)
    with pytest.raises(
        DamagedError, match=f"{tar.name} differs from the manifest .*instead of {shards[1].sha256[:12]}"
    ):
        check_contents(dataset, shards, remembered=tmp_path / "checked.json")
