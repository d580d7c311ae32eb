"""Tar files in plain USTAR: open ones that grow by appending, and sealed shards.

Every member has the same metadata (mtime 0, mode 0444, no owner), so equal content gives equal bytes. A sealed
shard has the bytes of `webdataset.TarWriter`, written in a tenth of the time; tests compare both with tarfile.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import mmap
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from alti2v.errors import DamagedError
from alti2v.records import Span
from alti2v.storage.publish import fsync_directory, storage_errors

BLOCK = 512  # POSIX.1-2017 pax, "ustar Interchange Format": headers and bodies are padded to this
END_MARKER = 2 * BLOCK  # ibid.: two zero blocks end an archive; size in bytes
_RECORD = 20 * BLOCK  # ibid.: an archive is padded to records of 20 blocks
_MODE = 0o0444
_NAME_BYTES = 100
_WRITE_BYTES = 8 * 1024 * 1024  # appended bytes that share a system call
_WRITE_PARTS = 512  # POSIX allows at least 16 in one call, Linux 1,024
_SIZE_DIGITS = 11  # octal: 8 GiB


@dataclass(frozen=True, slots=True)
class Member:
    """A named span of bytes in a tar file."""

    name: str
    span: Span


def header(name: str, size: int) -> bytes:
    """Return the 512-byte USTAR header of a member with a short ASCII name, see `layout.member_key`."""
    # Headers differ in two fields and the checksum, for which tarfile takes 60 us (POSIX.1-2017 pax, "ustar
    # Interchange Format": name at 0, size at 124, chksum at 148).
    frame, frame_sum = _header_frame()
    first, length = name.encode("ascii").ljust(_NAME_BYTES, b"\0"), b"%011o" % size
    if len(first) != _NAME_BYTES or len(length) != _SIZE_DIGITS:
        raise ValueError(f"{name!r} of {size} bytes does not fit into a USTAR header")
    checksum = b"%06o\0 " % (frame_sum + sum(first) + sum(length))
    return b"".join((first, frame[100:124], length, frame[135:148], checksum, frame[156:]))


@functools.cache
def _header_frame() -> tuple[bytes, int]:
    """Return a header without name and size, and its share of the checksum."""
    info = tarfile.TarInfo("")
    info.mode = _MODE
    frame = info.tobuf(tarfile.USTAR_FORMAT)
    return frame, sum(frame[:124]) + sum(frame[135:148]) + 8 * ord(" ") + sum(frame[156:])


def padded(size: int) -> int:
    """Bytes that a body of `size` bytes takes up in a tar file."""
    return -(-size // BLOCK) * BLOCK


class OpenTar:
    """A tar file that grows: members appended after the last `sync` may be lost, earlier ones are not.

    Appended members wait in memory, at most 8 MiB plus one member, to share a system call. Opening the file
    cuts it back to `committed` bytes, the length in the caller's ledger, which removes what a killed process
    left after that point.

    Raises:
        DamagedError: The file is shorter than `committed`.
        StorageError: The file system refuses a write; the file is cut back to the members before it, and
            waiting members are dropped.
    """

    def __init__(self, path: Path, *, committed: int) -> None:
        self._path = path
        self._size: int = 0
        self._waiting: list[bytes | memoryview] = []
        self._written: int = 0  # bytes in the file
        with storage_errors(path):
            is_new = not os.path.lexists(path)
            self._file: io.FileIO = io.FileIO(path, "r+" if not is_new else "x+", opener=_open_no_link)
            if is_new:
                fsync_directory(path.parent)
            try:
                length = self._file.seek(0, os.SEEK_END)
                if length < committed:
                    raise DamagedError(
                        f"{path} has {length} bytes, but {committed} were committed: "
                        "run `alti2v verify --repair`"
                    )
                self._cut(committed)
            except BaseException:
                self._file.close()
                raise

    @property
    def size(self) -> int:
        """Length in bytes; the value of `committed` after a `sync`."""
        return self._size

    def append(self, name: str, content: bytes | memoryview) -> Span:
        """Append one member, which is durable after the next `sync`; until then, `content` must not change."""
        start = self._size
        self._waiting += header(name, len(content)), content, bytes(padded(len(content)) - len(content))
        self._size = start + BLOCK + padded(len(content))
        if self._size - self._written >= _WRITE_BYTES or len(self._waiting) >= _WRITE_PARTS:
            self._write()
        return Span(offset=start + BLOCK, size=len(content))

    def sync(self) -> None:
        """Make all appended members survive a power cut."""
        self._write()
        with storage_errors(self._path):
            os.fsync(self._file.fileno())
        # Written pages are not read soon, so they are dropped from the page cache. The last, incomplete page
        # stays, because the next append would have to read it again.
        with contextlib.suppress(OSError):
            whole = self._written // mmap.PAGESIZE * mmap.PAGESIZE
            os.posix_fadvise(self._file.fileno(), 0, whole, os.POSIX_FADV_DONTNEED)

    def seal(self) -> None:
        """Write the end-of-archive marker, sync and close; the file is a complete tar afterwards."""
        self._waiting.append(bytes(END_MARKER))
        self.sync()
        self.close()

    def close(self) -> None:
        """Close without sealing; the file can be opened again."""
        try:
            if not self._file.closed:
                self._write()
        finally:
            self._file.close()

    def _write(self) -> None:
        """Write the waiting members in as few system calls as possible, which release the GIL."""
        parts, self._waiting = self._waiting, []
        with storage_errors(self._path):
            try:
                write_parts(self._file.fileno(), parts)
            except OSError:
                self._cut(self._written)
                raise
        self._written = self._size

    def _cut(self, size: int) -> None:
        self._file.truncate(size)
        self._file.seek(size)
        self._size = self._written = size


def write_parts(file: int, parts: Sequence[bytes | memoryview]) -> None:
    """Write parts one after the other to a file descriptor, in as few system calls as possible.

    Raises:
        OSError: The file system refuses; some bytes may have been written.
    """
    left = [memoryview(part) for part in parts if part]
    while left:
        written = os.writev(file, left[:_WRITE_PARTS])
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:  # fewer than requested, e.g. on a nearly full disk
            left[0] = left[0][written:]


def write_shard(path: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> list[Member]:
    """Write a sealed shard: for each (key, {suffix: content}) the members `key.suffix`, suffixes sorted.

    Returns:
        The members in the order of the file.
    """
    found: list[Member] = []
    offset = 0
    with path.open("wb") as file:
        for key, contents in samples:
            for suffix in sorted(contents):
                name, content = f"{key}.{suffix}", contents[suffix]
                size = len(content)
                file.write(header(name, size))
                file.write(content)
                file.write(bytes(padded(size) - size))
                found.append(Member(name, Span(offset=offset + BLOCK, size=size)))
                offset += BLOCK + padded(size)
        length = offset + END_MARKER
        file.write(bytes(-(-length // _RECORD) * _RECORD - offset))
    return found


def members(path: Path) -> Iterator[Member]:
    """Iterate over the members of a tar file, sealed or open, reading headers only.

    Raises:
        DamagedError: A header has a wrong checksum, or a body is cut off.
    """
    length = path.stat().st_size
    try:
        with tarfile.open(path, "r:", errorlevel=2) as tar:
            for info in tar:
                if info.offset_data + info.size > length:
                    raise DamagedError(f"{path}: {info.name} is cut off")
                yield Member(info.name, Span(offset=info.offset_data, size=info.size))
    except tarfile.TarError as exc:
        if length == 0:
            return  # an open tar without members
        raise DamagedError(f"{path} is not a whole tar file: {exc}") from exc


def read_span(file: BinaryIO, span: Span) -> bytes:
    """Read the bytes of one member from an open file.

    Raises:
        DamagedError: The file ends before the span does.
    """
    file.seek(span.offset)
    content = file.read(span.size)
    if len(content) != span.size:
        raise DamagedError(f"{file.name} ends inside the member at {span.offset}")
    return content


def json_index(
    path: Path,
    shard_members: Sequence[Member],
    known: Mapping[str, str] | None = None,
    *,
    sides: Mapping[str, tuple[int, int]] | None = None,
) -> dict[str, Any]:
    """Build the index that hfutils and others use to fetch single members by HTTP range.

    Format: hfutils documentation, "hfutils.index.make": file size, git blob SHA-1, SHA-256, and per member name
    its offset, size and SHA-256.

    Args:
        path: The tar file.
        shard_members: Its members.
        known: SHA-256 of members by name, used without computing them.
        sides: Width and height of pictures by name, px, which webshart's index has as well; None to leave
            them out.
    """
    size, known = path.stat().st_size, known or {}
    git_hash, sha256 = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        files = {
            member.name: {
                "offset": member.span.offset,
                "size": member.span.size,
                "sha256": known.get(member.name) or hashlib.sha256(read_span(file, member.span)).hexdigest(),
            }
            | _shape(member.name, sides or {})
            for member in shard_members
        }
        file.seek(0)
        while chunk := file.read(1 << 18):
            git_hash.update(chunk)
            sha256.update(chunk)
    return {"filesize": size, "hash": git_hash.hexdigest(), "hash_lfs": sha256.hexdigest(), "files": files}


def _shape(name: str, sides: Mapping[str, tuple[int, int]]) -> dict[str, int | float]:
    if name not in sides:
        return {}
    width, height = sides[name]
    return {"width": width, "height": height, "aspect": round(width / height, 4)}


def dali_index(shard_members: Sequence[Member]) -> str:
    """Build the index that NVIDIA DALI's webdataset reader takes.

    Format v1.2 (DALI, tools/wds2idx.py): a line with the version and the number of samples, then per sample a
    line of `suffix offset size name` for each of its members.
    """
    lines: dict[str, list[str]] = {}
    for member in shard_members:
        key, _, suffix = member.name.partition(".")
        line = lines.setdefault(key, [])
        line.append(f"{suffix} {member.span.offset} {member.span.size} {member.name}")
    return "\n".join([f"v1.2 {len(lines)}", *(" ".join(line) for line in lines.values())]) + "\n"


def _open_no_link(path: str, flags: int) -> int:
    # The file is cut back when it is opened: never one elsewhere, to which somebody's store may link.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
