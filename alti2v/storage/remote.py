"""Object stores and other file systems behind a URL; objects appear whole or not at all.

All access goes through fsspec, so every URL that it knows works: s3://, gs://, az://, sftp://, memory:// ...
Each file system finds credentials and endpoints by itself (S3 in the AWS environment variables and files), and
fsspec's configuration sets the rest, such as timeouts
(https://filesystem-spec.readthedocs.io/en/latest/features.html#configuration).
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alti2v.errors import Alti2vError, DamagedError, RemoteReadError, StorageError, UsageError
from alti2v.records import Span
from alti2v.storage.publish import publish, taken, temporary_name

# Here a PUT publishes the whole object; elsewhere a temporary file is renamed.
_ATOMIC_PUT = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "memory"})
# The only kinds of URL that are opened. fsspec knows more, some of which read other URLs from a file and even
# run templates in it (reference://), and chains of them (`::`).
_SCHEMES = _ATOMIC_PUT | {"http", "https", "sftp", "ssh", "ftp", "webdav", "hdfs", "hf"}
_EXTRAS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_CHUNK = 1 << 20
# s3fs sends objects of 100 MB and more in parts of 50 MB, and by default holds ten parts in memory.
_S3_OPTIONS: Mapping[str, Any] = {"max_concurrency": 2}
_MD5_DIGITS = 32
PAUSES_S = (1.0, 4.0, 16.0)  # between the tries of one request


@dataclass(frozen=True, slots=True)
class Remote:
    """A folder behind a URL.

    Attributes:
        url: URL without a slash at the end.
        filesystem: File system of fsspec.
        root: Path of the folder in that file system.
        pauses_s: Seconds to wait before each further try of a failed request.
        sleep: Function that waits.
    """

    url: str
    filesystem: Any
    root: str
    pauses_s: tuple[float, ...] = PAUSES_S
    sleep: Callable[[float], None] = time.sleep


def is_url(text: str) -> bool:
    """Return whether a text is a URL and not a local path."""
    return "://" in text and not text.startswith("file://")


def open_remote(url: str) -> Remote:
    """Prepare access to a folder without sending a request.

    Raises:
        UsageError: The kind of URL is unknown, or its driver is not installed.
    """
    scheme = url.partition("://")[0]
    if scheme not in _SCHEMES or "::" in url:
        raise UsageError(f"{url} is not a URL that alti2v can open: give one of {', '.join(sorted(_SCHEMES))}")
    import fsspec  # it loads slowly, and most stores are local

    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except ImportError as exc:
        driver = _EXTRAS.get(scheme)
        how = f"pip install {driver}" if driver else str(exc)
        raise UsageError(f"{scheme}:// needs a driver that is not installed: {how}") from exc
    except ValueError as exc:
        raise UsageError(f"{url}: {exc}: give a path or a URL such as s3://bucket/folder") from exc
    return Remote(url=url.rstrip("/"), filesystem=filesystem, root=root.rstrip("/"), pauses_s=PAUSES_S)


def upload(remote: Remote, local: Path, name: str) -> None:
    """Upload a local file, replacing an object of that name; readers see the old or the new object whole.

    The size of the object is checked afterwards, and its MD5 if the store reports one (S3: the ETag of an
    object that was sent in one part, https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html).

    Raises:
        StorageError: All tries failed.
    """
    _retried(remote, lambda: _put(remote, local, name), f"{remote.url}/{name}", _unwritten)


def upload_once(remote: Remote, local: Path, name: str) -> None:
    """Upload a local file unless an object of that name exists.

    S3 refuses to replace an object (`If-None-Match: *`,
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html), and so does Google Cloud
    Storage. Elsewhere fsspec checks first, so two simultaneous uploads may both write.

    Raises:
        StorageError: An object with other bytes exists, and is kept; or all tries failed.
    """

    def put() -> None:
        try:
            _put(remote, local, name, once=True)
        except Exception as exc:
            # Drivers report "exists" in various ways; the object may be ours if only the response was lost.
            if size_of(remote, name) is None:
                raise
            if not _has_content(remote, local, name):
                raise StorageError(taken(f"{remote.url}/{name}")) from exc

    _retried(remote, put, f"{remote.url}/{name}", _unwritten)


def delete(remote: Remote, names: Iterable[str]) -> None:
    """Remove objects, ignoring missing ones.

    Raises:
        StorageError: The file system refuses.
    """
    paths = [f"{remote.root}/{name}" for name in names]
    try:
        if _has_atomic_put(remote) and paths:
            with contextlib.suppress(FileNotFoundError):  # all of them are missing
                remote.filesystem.rm(paths)
        else:
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    remote.filesystem.rm_file(path)
        remote.filesystem.invalidate_cache()
    except Exception as exc:
        raise StorageError(f"cannot remove from {remote.url}: {_in_words(exc)}: run again later") from exc


def ranges(
    remote: Remote,
    wanted: Sequence[tuple[str, Span]],
) -> Sequence[bytes]:
    """Read ranges of objects in parallel; a range that passes the end of its object is short.

    Raises:
        DamagedError: An object is missing.
        StorageError: All tries failed, or the server does not support byte ranges.
    """
    found: list[bytes] = []

    def read() -> None:
        try:
            found[:] = remote.filesystem.cat_ranges(
                [f"{remote.root}/{name}" for name, _ in wanted],
                [span.offset for _, span in wanted],
                [span.offset + span.size for _, span in wanted],
                on_error="raise",
            )
        except FileNotFoundError as exc:
            raise DamagedError(missing(f"{remote.url}: {_in_words(exc)}")) from exc
        for (name, span), content in zip(wanted, found, strict=True):
            if len(content) > span.size:
                raise StorageError(
                    f"{remote.url}/{name}: the server ignores byte ranges and sends whole files: "
                    "use one that supports ranges"
                )

    _retried(remote, read, remote.url, _unread)
    return found


def missing(what: Path | str) -> str:
    """Write the message for a file of a store that a table refers to and that does not exist."""
    return f"{what} is missing, but the tables refer to it: run `alti2v verify --repair` on its store"


def download(remote: Remote, name: str, local: Path) -> None:
    """Download the object of a name below the folder; the local file appears whole or not at all.

    Raises:
        StorageError: The object is missing or cannot be read, or the file cannot be written.
    """

    def write(temporary: Path) -> None:
        _retried(
            remote,
            lambda: remote.filesystem.get_file(f"{remote.root}/{name}", str(temporary)),
            f"{remote.url}/{name}",
            _unread,
        )

    publish(local, write)


def size_of(remote: Remote, name: str) -> int | None:
    """Return the size of one object in bytes, without listing its folder; None if it does not exist.

    Raises:
        StorageError: It cannot be read, or the server does not report a size.
    """
    try:
        remote.filesystem.invalidate_cache()
        return int(remote.filesystem.info(f"{remote.root}/{name}")["size"])
    except FileNotFoundError as exc:
        # fsspec also reports "not found" when a host does not respond.
        if isinstance(exc.__cause__, OSError):
            raise _unread(f"{remote.url}/{name}", exc.__cause__) from exc
        return None
    except Exception as exc:
        raise _unread(f"{remote.url}/{name}", exc) from exc


def has_folders(remote: Remote) -> bool:
    """Return whether folders can be listed; web servers cannot."""
    return {"http", "https"}.isdisjoint(_protocols(remote))


def sizes(remote: Remote, folder: str) -> Mapping[str, int]:
    """Map the names of the objects directly in a folder to their sizes in bytes.

    Raises:
        StorageError: The folder cannot be read.
    """
    return {name: int(found["size"]) for name, found in _listed(remote, folder).items()}


def versions(remote: Remote, folder: str) -> Mapping[str, object]:
    """Map the names of the objects directly in a folder to values that change when the object does.

    Raises:
        StorageError: The folder cannot be read.
    """
    return {
        name: [str(found.get(fact)) for fact in ("size", "ETag", "etag", "LastModified", "mtime")]
        for name, found in _listed(remote, folder).items()
    }


def _listed(remote: Remote, folder: str) -> Mapping[str, Mapping[str, Any]]:
    path = f"{remote.root}/{folder}".rstrip("/")
    try:
        remote.filesystem.invalidate_cache()
        found = remote.filesystem.ls(path, detail=True)
    except FileNotFoundError:
        return {}
    except Exception as exc:
        raise _unread(f"{remote.url}/{folder}", exc) from exc
    return {entry["name"].rpartition("/")[2]: entry for entry in found if entry["type"] == "file"}


def _unread(what: str, exc: BaseException) -> RemoteReadError:
    advice = "check the address and your access to it" if _is_final(exc) else "run again later"
    return RemoteReadError(f"cannot read {what}: {_in_words(exc)}: {advice}")


def _unwritten(what: str, exc: BaseException) -> StorageError:
    return StorageError(f"cannot write {what}: {_in_words(exc)}: run again later")


def _is_final(exc: BaseException) -> bool:
    """Return whether another try would fail, too: a missing object, or a refusal such as the status 410.

    408, 425 and 429 ask for another try (RFC 9110, 8470 and 6585).
    """
    if isinstance(exc, FileNotFoundError):
        return not isinstance(exc.__cause__, OSError)  # fsspec also says so if a host does not respond
    status = getattr(exc, "status", None)
    return isinstance(status, int) and 400 <= status < 500 and status not in (408, 425, 429)


def _retried(
    remote: Remote,
    act: Callable[[], Any],
    what: str,
    error: Callable[[str, BaseException], StorageError],
) -> None:
    for pause in (*remote.pauses_s, None):
        try:
            act()
        except Alti2vError:
            raise
        except Exception as exc:
            # Every driver has its own exceptions, so all are treated alike; a missing object is not retried.
            if pause is None or isinstance(exc, FileNotFoundError) or _is_final(exc):
                raise error(what, exc) from exc
            remote.sleep(pause)
        else:
            return


def _put(remote: Remote, local: Path, name: str, *, once: bool = False) -> None:
    filesystem, target = remote.filesystem, f"{remote.root}/{name}"
    if _has_atomic_put(remote):
        options: dict[str, Any] = {"mode": "create"} if once else {}
        if _is_s3(remote):
            options |= _S3_OPTIONS
        filesystem.put_file(str(local), target, **options)
    else:
        if once and filesystem.exists(target):
            raise FileExistsError(target)
        folder, _, last = target.rpartition("/")
        temporary = f"{folder}/{temporary_name(last)}"
        filesystem.makedirs(folder, exist_ok=True)
        filesystem.put_file(str(local), temporary)
        filesystem.mv(temporary, target)
    if not _is_same(remote, local, name):
        raise OSError("the object differs from the file that was sent")


def _has_atomic_put(remote: Remote) -> bool:
    return not _ATOMIC_PUT.isdisjoint(_protocols(remote))


def _is_s3(remote: Remote) -> bool:
    return "s3" in _protocols(remote)


def _protocols(remote: Remote) -> tuple[str, ...]:
    protocol: str | tuple[str, ...] = remote.filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else protocol


def _is_same(remote: Remote, local: Path, name: str) -> bool:
    """Return whether an object has the size of a file and, if the store reports it, its MD5."""
    remote.filesystem.invalidate_cache()
    found = remote.filesystem.info(f"{remote.root}/{name}")
    etag = str(found.get("ETag", "")).strip('"')
    return found["size"] == local.stat().st_size and (len(etag) != _MD5_DIGITS or etag == _md5(local))


def _has_content(remote: Remote, local: Path, name: str) -> bool:
    """Return whether an object has the bytes of a file, by reading it."""
    if not _is_same(remote, local, name):
        return False
    with remote.filesystem.open(f"{remote.root}/{name}", "rb") as there, local.open("rb") as here:
        while chunk := here.read(_CHUNK):
            if there.read(len(chunk)) != chunk:
                return False
    return True


def _md5(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _in_words(exc: BaseException) -> str:
    return (" ".join(str(exc).split()) or type(exc).__name__)[:200]
