"""Folders behind URLs: against a real S3 server whose responses fail, hang or lie on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from alti2v.errors import RemoteReadError, StorageError, UsageError
from alti2v.storage.remote import Remote, download, is_url, open_remote, size_of, sizes, upload
from tests.helpers.s3_server import BUCKET, S3Server


@pytest.fixture
def remote(s3: S3Server) -> Any:
    return open_remote(f"s3://{BUCKET}/a/store")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(range(256)) * 40)
    return path


def test_what_was_uploaded_is_there(s3: S3Server, remote: Any, file: Path) -> None:
    """Complete, under its name, and listed with its size; a second upload replaces it."""
    upload(remote, file, "images/one.tar")
    upload(remote, file, "two.json")

    assert sizes(remote, "images") == {"one.tar": 10240}
    assert sizes(remote, "") == {"two.json": 10240}
    assert s3.content("a/store/images/one.tar") == file.read_bytes()

    file.write_bytes(b"other")
    upload(remote, file, "two.json")
    assert s3.content("a/store/two.json") == b"other"


@pytest.mark.parametrize("fault", ["500", "hang", "reset"])
def test_a_put_that_fails_is_tried_again(s3: S3Server, remote: Any, file: Path, fault: str) -> None:
    """After an error, silence or a broken connection, the next try uploads the whole object."""
    s3.fail_puts(fault, times=2)
    upload(replace(remote, pauses_s=(0, 0, 0)), file, "one.tar")

    assert s3.content("a/store/one.tar") == file.read_bytes()
    assert not s3.faults_left


def test_bytes_that_changed_on_the_way_are_noticed(s3: S3Server, remote: Any, file: Path) -> None:
    """The store's checksum is compared with ours; a damaged object is uploaded again."""
    s3.fail_puts("garble", times=1)
    upload(replace(remote, pauses_s=(0,)), file, "one.tar")

    assert s3.content("a/store/one.tar") == file.read_bytes()
    assert s3.puts("a/store/one.tar") == 3  # ours, the one that garbles it, ours again


def test_a_store_that_keeps_failing_is_named(s3: S3Server, remote: Any, file: Path) -> None:
    """One line: what, where, what to do; the pauses are the configured ones."""
    s3.fail_puts("500", times=1000)
    pauses: list[float] = []
    with pytest.raises(StorageError, match=r"cannot write s3://bucket/a/store/one.tar: .*: run again") as found:
        upload(replace(remote, pauses_s=(1, 4), sleep=pauses.append), file, "one.tar")

    assert pauses == [1, 4]
    assert "\n" not in str(found.value)


def test_a_file_system_without_atomic_puts_gets_the_name_last(tmp_path: Path, file: Path) -> None:
    """There, the bytes are written under another name first."""
    local = fsspec.filesystem("local")
    remote = Remote(url="sftp://host/folder", filesystem=local, root=f"{tmp_path}/folder")
    upload(remote, file, "images/one.tar")

    assert [path.name for path in (tmp_path / "folder" / "images").iterdir()] == ["one.tar"]


def test_bad_urls_are_one_line() -> None:
    """An unknown kind of URL."""
    with pytest.raises(UsageError, match="quux"):
        open_remote("quux://bucket/folder")
    assert is_url("s3://bucket")
    assert not is_url("a/path")


@pytest.mark.parametrize(
    ("status", "tries", "advice"),
    [(410, 1, "check the address"), (503, 3, "run again later"), (429, 3, "run again later")],
)
def test_a_server_that_does_not_deliver_is_status_3(
    tmp_path: Path, status: int, tries: int, advice: str
) -> None:
    """A refusal that waiting does not change is met once; all else is tried again, and the advice fits."""
    asked: list[str] = []

    class RefusedError(Exception):
        def __init__(self) -> None:
            super().__init__("refused")
            self.status = status

    class Refusing:
        def get_file(self, source: str, _: str) -> None:
            asked.append(source)
            raise RefusedError

        def invalidate_cache(self) -> None:
            """Keep nothing."""

        def info(self, _: str) -> None:
            raise RefusedError

    remote = Remote(url="x://y", filesystem=Refusing(), root="y", pauses_s=(0, 0))
    acts: list[Callable[[], object]] = [
        lambda: download(remote, "a", tmp_path / "a"),
        lambda: size_of(remote, "a"),
    ]
    for act in acts:
        with pytest.raises(RemoteReadError, match=f"cannot read x://y/a: refused: {advice}") as found:
            act()
        assert found.value.exit_status == 3
    assert len(asked) == tries
