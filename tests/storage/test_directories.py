"""A directory knows its kind, is never mixed with another, and has one writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alti2v.errors import DamagedError, StorageError, UsageError, VersionError
from alti2v.storage.directory import (
    DirectoryKind,
    claim_directory,
    exclusive,
    kind_of,
    read_description,
    write_description,
)
from alti2v.storage.layout import SPLITS, ShardName, images_tar, member_key, parse_shard_name, posts_table


def test_a_new_folder_is_made_and_an_own_one_is_found(tmp_path: Path) -> None:
    """Claiming creates parents, and tells a new folder from an existing one of that kind."""
    path = tmp_path / "a" / "b"

    assert claim_directory(path, DirectoryKind.STORE) is False
    assert claim_directory(path, DirectoryKind.STORE) is False
    write_description(path, DirectoryKind.STORE, {"board": "x"})
    assert claim_directory(path, DirectoryKind.STORE) is True
    assert kind_of(path) is DirectoryKind.STORE
    assert read_description(path, DirectoryKind.STORE)["board"] == "x"


def test_leftovers_of_a_killed_first_run_are_no_obstacle(tmp_path: Path) -> None:
    """A lock, empty folders and hidden files do not make a folder foreign."""
    for name in ("crawl.lock", "data", ".build", ".tmp-1-x"):
        (tmp_path / name).mkdir()

    assert claim_directory(tmp_path, DirectoryKind.DATASET) is False


def test_a_folder_that_is_something_else_is_refused(tmp_path: Path) -> None:
    """A file, a folder with foreign files, and a folder of another kind: one line each."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("x")
    (tmp_path / "run").mkdir()
    write_description(tmp_path / "run", DirectoryKind.RUN, {})

    with pytest.raises(UsageError, match="is a file: give a folder for the store"):
        claim_directory(tmp_path / "file", DirectoryKind.STORE)
    with pytest.raises(UsageError, match=r"is not empty and not a store: it has no store\.json: choose"):
        claim_directory(tmp_path / "photos", DirectoryKind.STORE)
    with pytest.raises(UsageError, match="is a run, not a store"):
        claim_directory(tmp_path / "run", DirectoryKind.STORE)
    with pytest.raises(StorageError, match="a part of the path is a file"):
        claim_directory(tmp_path / "file" / "below", DirectoryKind.STORE)


def test_reading_the_wrong_folder(tmp_path: Path) -> None:
    """A missing folder, a plain one and one of another kind are distinguished."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "run").mkdir()
    write_description(tmp_path / "run", DirectoryKind.RUN, {})

    with pytest.raises(UsageError, match="does not exist: give the folder of a dataset"):
        read_description(tmp_path / "none", DirectoryKind.DATASET)
    with pytest.raises(UsageError, match=r"is not a dataset: it has no manifest\.json: give the folder of"):
        read_description(tmp_path / "plain", DirectoryKind.DATASET)
    with pytest.raises(UsageError, match="is a run, not a dataset"):
        read_description(tmp_path / "run", DirectoryKind.DATASET)


@pytest.mark.parametrize("content", ["[]", "{}", '{"kind": "run"}', "{"])
def test_a_broken_description_is_damage(tmp_path: Path, content: str) -> None:
    """An invalid description is an error."""
    (tmp_path / "store.json").write_text(content)

    with pytest.raises(DamagedError):
        read_description(tmp_path, DirectoryKind.STORE)


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    """The message names the version."""
    (tmp_path / "manifest.json").write_text('{"kind": "dataset", "version": 2}')

    with pytest.raises(VersionError, match="has format version 2; this program reads 1"):
        read_description(tmp_path, DirectoryKind.DATASET)


HOLDER = """
import sys, time
from pathlib import Path
from alti2v.storage.directory import exclusive
with exclusive(Path(sys.argv[1]), "x.lock"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_refused_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    """The holder is named while it lives; after kill -9, the next process gets the lock immediately."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"in use by process {holder.pid}"), exclusive(tmp_path, "x.lock"):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()

    with exclusive(tmp_path, "x.lock"):
        assert (tmp_path / "x.lock").read_text() == f"{os.getpid()}\n"
    with exclusive(tmp_path, "x.lock"):
        pass


@given(st.integers(0, 10**12 - 1))
def test_keys_sort_like_ids_and_hold_no_dot(post_id: int) -> None:
    """A key contains its id, and has the same length for every id."""
    key = member_key(post_id)

    assert int(key) == post_id
    assert len(key) == 12
    assert "." not in key


@pytest.mark.parametrize("post_id", [-1, 10**12])
def test_ids_that_no_key_can_hold(post_id: int) -> None:
    """An id that is too long is refused, not truncated."""
    with pytest.raises(ValueError, match="outside"):
        member_key(post_id)


@given(st.sampled_from(SPLITS), st.integers(0, 10**6), st.integers(1, 10**6))
def test_shard_names_round_trip(split: str, number: int, more: int) -> None:
    """A shard's name contains split, number and total."""
    name = ShardName(split, number, number + more)

    assert parse_shard_name(str(name)) == name


@pytest.mark.parametrize(
    "name",
    ["", "train", "train-0-of-1", "train-00001-of-00001", "dev-00000-of-00001", "train-00000-of-00001.tar"],
)
def test_names_that_are_no_shard(name: str) -> None:
    """Wrong splits, numbers and forms are refused."""
    with pytest.raises(ValueError, match=r"shard|split"):
        parse_shard_name(name)


def test_golden_names() -> None:
    """Names that other programs rely on."""
    name = ShardName("train", 0, 150)

    assert [name.data, name.index, name.dali_index, name.metadata] == [
        "data/train-00000-of-00150.tar",
        "index/train-00000-of-00150.json",
        "index/train-00000-of-00150.idx",
        "metadata/train-00000-of-00150.parquet",
    ]
    assert images_tar(3) == "images/images-000003.tar"
    assert posts_table(12) == "posts/posts-000012.parquet"
