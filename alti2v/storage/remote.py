"""Object stores and other file systems behind a URL: whole objects, there completely or not at all.

Everything goes through fsspec, so whatever it knows will do: s3://, gs://, az://, sftp://, memory:// ... Keys
and endpoints come from where each file system looks for them by itself (for S3 the AWS environment variables
and files), and fsspec's own configuration sets the rest, such as timeouts
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

from alti2v.errors import Alti2vError, DamagedError, StorageError, UsageError
from alti2v.records import Span
from alti2v.storage.publish import publish, taken, temporary_name

# A PUT makes the object appear at once; elsewhere the name has to be given afterwards.
_AT_ONCE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "memory"})
_EXTRAS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_CHUNK = 1 << 20
# s3fs sends objects of 100 MB and more in parts of 50 MB and holds ten of them in memory if it may.
_S3_OPTIONS: Mapping[str, Any] = {"max_concurrency": 2}
_MD5_DIGITS = 32
PAUSES_S = (1.0, 4.0, 16.0)
"""How long to wait before each further try."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A folder behind a URL.

    Attributes:
        url: without a slash at the end.
        filesystem: fsspec's.
        root: the folder in the file system's own form.
    """

    url: str
    filesystem: Any
    root: str


def is_url(text: str) -> bool:
    """Whether this names a folder behind a URL and not a local path."""
    return "://" in text and not text.startswith("file://")


def open_remote(url: str) -> Remote:
    """Prepare a folder for use; sends nothing.

    Raises:
        UsageError: nobody knows this kind of URL, or its driver is not installed.
    """
    import fsspec  # its drivers load slowly, and most stores are local

    scheme = url.partition("://")[0]
    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except ImportError as exc:
        driver = _EXTRAS.get(scheme)
        how = f"pip install {driver}" if driver else str(exc)
        raise UsageError(f"{scheme}:// needs a driver that is not installed: {how}") from exc
    except ValueError as exc:
        raise UsageError(f"{url}: {exc}: give a path or a URL such as s3://bucket/folder") from exc
    return Remote(url=url.rstrip("/"), filesystem=filesystem, root=root.rstrip("/"))


def upload(
    remote: Remote,
    local: Path,
    name: str,
    *,
    pauses_s: tuple[float, ...] = PAUSES_S,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Put a local file there under a name, replacing what is there; a reader sees the old or the new whole.

    What arrived is compared in size, and by MD5 where the store tells one (S3: the ETag of an object that
    came in one piece, https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html).

    Args:
        remote: the folder.
        local: the file.
        name: relative to the folder.
        pauses_s: how long to wait before each further try.
        sleep: waits.

    Raises:
        StorageError: it did not arrive, after all tries.
    """
    _tried(lambda: _put(remote, local, name), f"cannot write {remote.url}/{name}", pauses_s, sleep)


def upload_once(
    remote: Remote,
    local: Path,
    name: str,
    *,
    pauses_s: tuple[float, ...] = PAUSES_S,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Put a local file there under a name, unless there is an object of that name.

    S3 refuses to replace (`If-None-Match: *`,
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html), and so does Google's store.
    Elsewhere fsspec looks first, so two that come at the same moment may both write.

    Raises:
        StorageError: what is there has other bytes, and stays; or it did not arrive, after all tries.
    """

    def put() -> None:
        try:
            _put(remote, local, name, once=True)
        except Exception as exc:
            # Drivers say "there is one" in words of their own; it may be ours, when only the answer got lost.
            if size_of(remote, name) is None:
                raise
            if not _has_content(remote, local, name):
                raise StorageError(taken(f"{remote.url}/{name}")) from exc

    _tried(put, f"cannot write {remote.url}/{name}", pauses_s, sleep)


def delete(remote: Remote, names: Iterable[str]) -> None:
    """Remove objects; one that is not there is removed already.

    Raises:
        StorageError: the other side refuses.
    """
    paths = [f"{remote.root}/{name}" for name in names]
    try:
        if _is_at_once(remote) and paths:
            with contextlib.suppress(FileNotFoundError):  # none of them is there
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
    *,
    pauses_s: tuple[float, ...] = PAUSES_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Sequence[bytes]:
    """Read ranges of objects, all at once; what lies behind an object's end is missing from its range.

    Raises:
        DamagedError: an object is not there.
        StorageError: one cannot be read, after all tries; or the server does not answer byte ranges.
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
                    f"{remote.url}/{name}: the server sends whole files where parts are wanted: "
                    "use one that answers byte ranges"
                )

    _tried(read, f"cannot read {remote.url}", pauses_s, sleep)
    return found


def missing(what: Path | str) -> str:
    """What to say of a file that a table names and that is not there."""
    return f"{what} is missing, but the tables name it: run `alti2v verify --repair` where it belongs"


def download(
    remote: Remote,
    name: str,
    local: Path,
    *,
    pauses_s: tuple[float, ...] = (),
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Bring an object here, whole or not at all.

    Args:
        remote: the folder.
        name: relative to the folder.
        local: the file.
        pauses_s: how long to wait before each further try; what is not there is not tried again.
        sleep: waits.

    Raises:
        StorageError: it is not there, or cannot be read, or written here.
    """

    def write(temporary: Path) -> None:
        _tried(
            lambda: remote.filesystem.get_file(f"{remote.root}/{name}", str(temporary)),
            f"cannot read {remote.url}/{name}",
            pauses_s,
            sleep,
        )

    publish(local, write)


def size_of(remote: Remote, name: str) -> int | None:
    """The bytes of one object, where folders cannot be listed; None if it is not there.

    Raises:
        StorageError: it cannot be read, or the other side does not say.
    """
    try:
        remote.filesystem.invalidate_cache()
        return int(remote.filesystem.info(f"{remote.root}/{name}")["size"])
    except FileNotFoundError as exc:
        # fsspec calls it "not found", too, when a host does not answer.
        if isinstance(exc.__cause__, OSError):
            raise StorageError(
                f"cannot read {remote.url}/{name}: {_in_words(exc.__cause__)}: run again later"
            ) from exc
        return None
    except Exception as exc:
        raise StorageError(f"cannot read {remote.url}/{name}: {_in_words(exc)}: run again later") from exc


def has_folders(remote: Remote) -> bool:
    """Whether one can ask which objects are there: web servers do not say."""
    return {"http", "https"}.isdisjoint(_protocols(remote))


def sizes(remote: Remote, folder: str) -> Mapping[str, int]:
    """The objects directly in a folder, of a store that has folders: name relative to it -> bytes.

    Raises:
        StorageError: it cannot be read.
    """
    return {name: int(found["size"]) for name, found in _listed(remote, folder).items()}


def versions(remote: Remote, folder: str) -> Mapping[str, object]:
    """The objects directly in a folder: name relative to it -> something that changes when the object does.

    Raises:
        StorageError: it cannot be read.
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
        raise StorageError(f"cannot read {remote.url}/{folder}: {_in_words(exc)}: run again later") from exc
    return {entry["name"].rpartition("/")[2]: entry for entry in found if entry["type"] == "file"}


def _tried(
    act: Callable[[], Any], failed: str, pauses_s: tuple[float, ...], sleep: Callable[[float], None]
) -> None:
    for pause in (*pauses_s, None):
        try:
            act()
        except Alti2vError:
            raise
        except Exception as exc:
            # Each driver has exceptions of its own; all that matters here is that it is not done.
            if pause is None or isinstance(exc, FileNotFoundError):
                raise StorageError(f"{failed}: {_in_words(exc)}: run again later") from exc
            sleep(pause)
        else:
            return


def _put(remote: Remote, local: Path, name: str, *, once: bool = False) -> None:
    filesystem, target = remote.filesystem, f"{remote.root}/{name}"
    if _is_at_once(remote):
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
        raise OSError("other bytes arrived than were sent")


def _is_at_once(remote: Remote) -> bool:
    return not _AT_ONCE.isdisjoint(_protocols(remote))


def _is_s3(remote: Remote) -> bool:
    return "s3" in _protocols(remote)


def _protocols(remote: Remote) -> tuple[str, ...]:
    protocol: str | tuple[str, ...] = remote.filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else protocol


def _is_same(remote: Remote, local: Path, name: str) -> bool:
    """Whether an object has the size of a file and, where the store tells it, its MD5."""
    remote.filesystem.invalidate_cache()
    found = remote.filesystem.info(f"{remote.root}/{name}")
    told = str(found.get("ETag", "")).strip('"')
    return found["size"] == local.stat().st_size and (len(told) != _MD5_DIGITS or told == _md5(local))


def _has_content(remote: Remote, local: Path, name: str) -> bool:
    """Whether an object has the bytes of a file, whatever its store tells."""
    if not _is_same(remote, local, name):
        return False
    with remote.filesystem.open(f"{remote.root}/{name}", "rb") as there, local.open("rb") as here:
        while chunk := here.read(_CHUNK):
            if there.read(len(chunk)) != chunk:
                return False
    return True


def _md5(file: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _in_words(exc: BaseException) -> str:
    return (" ".join(str(exc).split()) or type(exc).__name__)[:200]
