"""Publication is all or nothing, whatever happens between the first byte and the last."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from alti2v.errors import DamagedError, StorageError
from alti2v.storage import publish as publication
from alti2v.storage.publish import (
    make_directory,
    publish,
    publish_bytes,
    publish_json,
    publish_once,
    read_json,
    sweep_temporary_files,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_published_file_replaces_the_old_one(tmp_path: Path) -> None:
    """After publication, only the new file exists."""
    publish_bytes(tmp_path / "a", b"old")
    publish_bytes(tmp_path / "a", b"new")

    assert (tmp_path / "a").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("links", [True, False])
def test_a_name_is_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """The same bytes a second time are accepted, other bytes are refused and named; also without hard links."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    for number, content in enumerate([b"first", b"first", b"other"]):
        (tmp_path / f"made-{number}").write_bytes(content)
    publish_once(tmp_path / "made-0", tmp_path / "a")
    publish_once(tmp_path / "made-1", tmp_path / "a")
    with pytest.raises(StorageError, match="a has other bytes than this build makes: another build"):
        publish_once(tmp_path / "made-2", tmp_path / "a")

    assert (tmp_path / "a").read_bytes() == b"first"


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    """An exception half way through leaves the old bytes, and no temporary file."""
    publish_bytes(tmp_path / "a", b"old")

    def fail(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path / "a", fail)

    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("number", "advice"),
    [(28, "the disk is full: make room"), (30, "the file system is read-only"), (13, "permission denied")],
)
def test_f35_a_refusing_disk_is_one_clear_line(tmp_path: Path, number: int, advice: str) -> None:
    """Full disk, read-only file system, missing permission: the path, and what to do."""

    def refuse(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(StorageError, match=f"cannot write .*/a: {advice}") as caught:
        publish(tmp_path / "a", refuse)

    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_a_really_full_disk_keeps_the_old_file() -> None:
    """On a full device, the write fails with a StorageError, and no file appears."""
    with pytest.raises(StorageError, match="the disk is full"), publication.storage_errors(Path("/dev/full")):
        Path("/dev/full").write_bytes(b"x")


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    """A path that leads through a file is refused with a message."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StorageError, match=r"a file of that name exists|a part of the path is a file"):
        make_directory(tmp_path / "file")
    with pytest.raises(StorageError, match="a part of the path is a file"):
        make_directory(tmp_path / "file" / "below")


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from alti2v.storage import publish as p

    point, path = sys.argv[1], Path(sys.argv[2])
    die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    if point == "writing":
        p.publish(path, lambda t: (t.write_bytes(b"half"), die()))
    elif point == "fsync":
        p.os.fsync = die
    elif point == "rename":
        p.Path.replace = die
    elif point == "directory":
        p.fsync_directory = die
    p.publish_bytes(path, b"new whole content")
"""


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ("writing", b"old"),
        ("fsync", b"old"),
        ("rename", b"old"),
        ("directory", b"new whole content"),
        ("never", b"new whole content"),
    ],
)
def test_kill_9_at_every_step_leaves_a_whole_file(tmp_path: Path, point: str, expected: bytes) -> None:
    """Before the rename, the old file remains; after it, the new one is complete; leftovers are removed."""
    path = tmp_path / "a"
    publish_bytes(path, b"old")

    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), point, str(path)], check=False, timeout=60
    )

    assert killed.returncode == (0 if point == "never" else -signal.SIGKILL)
    assert path.read_bytes() == expected
    sweep_temporary_files(tmp_path)
    assert names(tmp_path) == ["a"]


def test_json_is_equal_bytes_for_equal_values(tmp_path: Path) -> None:
    """Keys are sorted, text is readable, and reading returns the same value."""
    publish_json(tmp_path / "a", {"b": "初音ミク", "a": [1, None]})
    publish_json(tmp_path / "b", {"a": [1, None], "b": "初音ミク"})

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_text() == '{\n "a": [\n  1,\n  null\n ],\n "b": "初音ミク"\n}\n'
    assert read_json(tmp_path / "a") == {"a": [1, None], "b": "初音ミク"}


def test_broken_json_is_damage(tmp_path: Path) -> None:
    """Invalid JSON is a DamagedError, a missing file a FileNotFoundError."""
    (tmp_path / "a").write_text("{")

    with pytest.raises(DamagedError, match="is not valid JSON"):
        read_json(tmp_path / "a")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none")
