"""Tar files: appended members survive, uncommitted ones are gone, all readers agree."""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webdataset import TarWriter

from alti2v.errors import DamagedError, StorageError
from alti2v.records import Span
from alti2v.storage.layout import member_key
from alti2v.storage.tar import (
    BLOCK,
    Member,
    OpenTar,
    dali_index,
    header,
    json_index,
    members,
    read_span,
    write_shard,
)

CONTENTS = st.lists(st.binary(max_size=2 * BLOCK), max_size=6)
SIZES = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5000]


def filled(path: Path, contents: list[bytes]) -> list[Span]:
    tar = OpenTar(path, committed=0)
    spans = [tar.append(f"{member_key(number)}.jpg", content) for number, content in enumerate(contents)]
    tar.sync()
    tar.close()
    return spans


@settings(max_examples=40, deadline=None)
@given(contents=CONTENTS)
def test_what_is_appended_is_read_back(contents: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each span holds its bytes, in the open tar and in the sealed one, and `members` finds the same spans."""
    path = tmp_path_factory.mktemp("tar") / "a.tar"
    spans = filled(path, contents)
    open_members = list(members(path))
    tar = OpenTar(path, committed=path.stat().st_size)
    tar.seal()

    with path.open("rb") as file:
        assert contents == [read_span(file, span) for span in spans]
    expected = [Member(f"{member_key(n)}.jpg", span) for n, span in enumerate(spans)]
    assert expected == open_members
    assert expected == list(members(path))


def test_a_sealed_tar_is_a_tar_for_everybody(tmp_path: Path) -> None:
    """Python's tarfile and the tar program list and extract the members."""
    path = tmp_path / "a.tar"
    contents = [os.urandom(size) for size in SIZES]
    filled(path, contents)
    OpenTar(path, committed=path.stat().st_size).seal()

    with tarfile.open(path) as tar:
        read = [tar.extractfile(info) for info in tar]
        assert contents == [file.read() for file in read if file is not None]
    listed = subprocess.run(["tar", "tf", str(path)], capture_output=True, check=True, text=True).stdout
    assert [f"{member_key(n)}.jpg" for n in range(len(SIZES))] == listed.split()


@settings(max_examples=20, deadline=None)
@given(contents=CONTENTS)
def test_a_shard_has_the_bytes_that_webdataset_gives_it(
    contents: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """For any samples, TarWriter writes the same file, end and padding included."""
    folder = tmp_path_factory.mktemp("tar")
    samples = [
        (member_key(number), {"json": b"{}", "jpg": content}) for number, content in enumerate(contents * 3)
    ]
    write_shard(folder / "ours.tar", samples)
    with TarWriter(str(folder / "theirs.tar"), user="", group="", mode=0o444, mtime=0, encoder=False) as writer:
        for key, files in samples:
            writer.write({"__key__": key, **files})

    assert (folder / "ours.tar").read_bytes() == (folder / "theirs.tar").read_bytes()


def test_the_open_tar_and_the_shard_writer_agree_on_every_byte(tmp_path: Path) -> None:
    """Up to the end-of-archive marker, an open tar has the bytes of a shard."""
    samples = [
        (member_key(number), {"jpg": os.urandom(size), "json": b"{}"}) for number, size in enumerate(SIZES)
    ]
    shard_members = write_shard(tmp_path / "shard.tar", samples)
    tar = OpenTar(tmp_path / "open.tar", committed=0)
    spans = [
        tar.append(f"{key}.{suffix}", files[suffix]) for key, files in samples for suffix in ("jpg", "json")
    ]
    tar.close()

    appended = (tmp_path / "open.tar").read_bytes()
    assert (tmp_path / "shard.tar").read_bytes()[: len(appended)] == appended
    assert [member.span for member in shard_members] == spans
    assert list(members(tmp_path / "shard.tar")) == shard_members


def test_golden_shard(tmp_path: Path) -> None:
    """The bytes of a shard are fixed: plain USTAR headers without owner and time."""
    write_shard(tmp_path / "a.tar", [("000000000007", {"json": b"{}", "jpg": b"pixels"})])

    assert hashlib.sha256((tmp_path / "a.tar").read_bytes()).hexdigest() == (
        "0c19fd9d3012b0d5ff5df789ee9af10bf8e67b744411dd8eef0d9a5e19feef16"
    )
    assert (tmp_path / "a.tar").stat().st_size == 10_240


def test_opening_cuts_back_to_what_was_committed(tmp_path: Path) -> None:
    """Bytes after the committed length, whole members included, are gone after a restart."""
    path = tmp_path / "a.tar"
    tar = OpenTar(path, committed=0)
    kept = tar.append("000000000001.jpg", b"kept")
    committed = tar.size
    tar.append("000000000002.jpg", b"lost")
    tar.close()
    with path.open("ab") as file:
        file.write(b"half a header")

    tar = OpenTar(path, committed=committed)
    after = tar.append("000000000003.jpg", b"next")
    tar.close()

    assert [Member("000000000001.jpg", kept), Member("000000000003.jpg", after)] == list(members(path))
    assert after.offset == committed + BLOCK


def test_a_tar_shorter_than_committed_is_damaged(tmp_path: Path) -> None:
    """Missing committed bytes are always an error."""
    path = tmp_path / "a.tar"
    filled(path, [b"x" * 1000])

    with pytest.raises(DamagedError, match=r"has 1536 bytes, but 4096 were committed"):
        OpenTar(path, committed=4096)
    assert path.stat().st_size == 1536


def test_a_full_disk_leaves_whole_members_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk fills up inside a member, the tar is cut back to the last whole one, and can continue."""
    path = tmp_path / "a.tar"
    tar = OpenTar(path, committed=0)
    first = tar.append("000000000001.jpg", b"first")
    tar.sync()
    budget = BLOCK + 100

    def nearly_full(file: int, parts: list[bytes]) -> int:
        nonlocal budget
        if not budget:
            raise OSError(28, "No space left on device")
        written = os.write(file, b"".join(parts)[: min(budget, 300)])  # a short write is not an error
        budget -= written
        return written

    monkeypatch.setattr(os, "writev", nearly_full)
    tar.append("000000000002.jpg", b"x" * 5000)
    with pytest.raises(StorageError, match="the disk is full: make room"):
        tar.sync()
    budget = 1 << 20
    second = tar.append("000000000003.jpg", b"second")
    tar.close()

    assert [Member("000000000001.jpg", first), Member("000000000003.jpg", second)] == list(members(path))


def test_what_is_on_the_disk_gives_its_memory_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole pages, and only after they are synced; a file system without the advice does no harm."""
    told: list[tuple[int, int, bool]] = []
    synced: list[int] = []
    fsync = os.fsync

    def sync(file: int) -> None:
        fsync(file)
        synced.append(os.fstat(file).st_size)

    def advise(file: int, offset: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_DONTNEED
        told.append((offset, length, synced[-1] == os.fstat(file).st_size))
        raise OSError(errno.ENOSYS, "not here")

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "posix_fadvise", advise)
    tar = OpenTar(tmp_path / "images.tar", committed=0)
    tar.append("0.jpg", b"x" * (3 * mmap.PAGESIZE))
    tar.sync()
    tar.close()

    assert told == [(0, 3 * mmap.PAGESIZE, True)]


def test_what_waits_in_memory_is_bounded(tmp_path: Path) -> None:
    """Enough waiting bytes are written without a `sync`."""
    path = tmp_path / "a.tar"
    tar = OpenTar(path, committed=0)
    for number in range(9):
        tar.append(f"{member_key(number)}.jpg", bytes(1 << 20))
    by_size = path.stat().st_size
    for number in range(1000):
        tar.append(f"{member_key(number)}.json", b"{}")
    by_number = path.stat().st_size
    tar.close()

    assert by_size >= 8 << 20
    assert by_number > by_size
    assert path.stat().st_size == tar.size


def test_a_cut_tar_is_damaged(tmp_path: Path) -> None:
    """A truncated body and a broken header are named; nothing is returned as if it were complete."""
    path = tmp_path / "a.tar"
    spans = filled(path, [b"a" * 700, b"b" * 700])
    whole = path.read_bytes()

    path.write_bytes(whole[: spans[1].offset + 10])
    with pytest.raises(DamagedError, match="cut off"):
        list(members(path))
    with path.open("rb") as file, pytest.raises(DamagedError, match="ends inside the member"):
        read_span(file, spans[1])
    path.write_bytes(b"\x07" * len(whole))
    with pytest.raises(DamagedError, match="not a whole tar file"):
        list(members(path))


def test_an_open_tar_without_members_is_empty(tmp_path: Path) -> None:
    """A new tar file has no members, and is not an error."""
    OpenTar(tmp_path / "a.tar", committed=0).close()

    assert list(members(tmp_path / "a.tar")) == []


def test_json_index_names_every_member(tmp_path: Path) -> None:
    """The index has the fields that hfutils reads: sizes, the git blob hash, SHA-256 of file and members,
    offsets.
    """
    path = tmp_path / "a.tar"
    shard_members = write_shard(path, [("000000000001", {"jpg": b"abc", "json": b"{}"})])
    content = path.read_bytes()
    git = subprocess.run(
        ["git", "hash-object", str(path)], capture_output=True, check=True, text=True
    ).stdout.strip()

    index = json_index(path, shard_members)

    assert index["filesize"] == len(content)
    assert index["hash"] == git
    assert index["hash_lfs"] == hashlib.sha256(content).hexdigest()
    assert list(index["files"]) == ["000000000001.jpg", "000000000001.json"]
    for name, entry in index["files"].items():
        member = content[entry["offset"] : entry["offset"] + entry["size"]]
        assert entry["sha256"] == hashlib.sha256(member).hexdigest(), name
    assert json.loads(json.dumps(index)) == index
    assert json_index(path, shard_members, {"000000000001.jpg": "known"})["files"] == {
        **index["files"],
        "000000000001.jpg": {**index["files"]["000000000001.jpg"], "sha256": "known"},
    }


def test_golden_dali_index() -> None:
    """One line per sample: suffix, offset, size and name of each member, under `v1.2 <samples>`."""
    found = [
        Member("1.jpg", Span(offset=512, size=3)),
        Member("1.json", Span(offset=1536, size=2)),
        Member("2.jpg", Span(offset=2560, size=4)),
    ]

    assert dali_index(found) == "v1.2 2\njpg 512 3 1.jpg json 1536 2 1.json\njpg 2560 4 2.jpg\n"
    assert dali_index([]) == "v1.2 0\n"


@given(name=st.from_regex(r"[0-9]{1,12}\.[a-z]{1,5}", fullmatch=True), size=st.integers(0, 8**11 - 1))
def test_headers_are_those_of_tarfile(name: str, size: int) -> None:
    """Byte for byte, for every size that USTAR can represent."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o444

    assert header(name, size) == info.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(("name", "size"), [("1.jpg", 8**11), ("n" * 101, 1)])
def test_what_does_not_fit_into_a_header_is_refused(name: str, size: int) -> None:
    """Never a header with another meaning."""
    with pytest.raises(ValueError, match="does not fit"):
        header(name, size)
