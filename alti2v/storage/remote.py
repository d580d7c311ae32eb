"""Object stores and other file systems behind a URL: whole objects, there completely or not at all.

Everything goes through fsspec, so whatever it knows will do: s3://, gs://, az://, sftp://, memory:// ... Keys
and endpoints come from where each file system looks for them by itself (for S3 the AWS environment variables
and files), and fsspec's own configuration sets the rest, such as timeouts
(https://filesystem-spec.readthedocs.io/en/latest/features.html#configuration).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alti2v.errors import StorageError, UsageError
from alti2v.storage.publish import TEMPORARY_PREFIX, publish

# A PUT makes the object appear at once; elsewhere the name has to be given afterwards.
_AT_ONCE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "memory"})
_EXTRAS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_CHUNK = 1 << 20
_MD5_DIGITS = 32
# What drivers raise when the other side fails: OSError and its kin, and botocore's own tree for S3.
_PAUSES_S = (1.0, 4.0, 16.0)


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
    pauses_s: tuple[float, ...] = _PAUSES_S,
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
        return int(remote.filesystem.info(f"{remote.root}/{name}")["size"])
    except FileNotFoundError:
        return None
    except Exception as exc:
        raise StorageError(f"cannot read {remote.url}/{name}: {_in_words(exc)}: run again later") from exc


def sizes(remote: Remote, folder: str) -> Mapping[str, int]:
    """The objects directly in a folder: name relative to it -> bytes.

    Raises:
        StorageError: it cannot be read.
    """
    path = f"{remote.root}/{folder}".rstrip("/")
    try:
        remote.filesystem.invalidate_cache()
        found = remote.filesystem.ls(path, detail=True)
    except FileNotFoundError:
        return {}
    except Exception as exc:
        raise StorageError(f"cannot read {remote.url}/{folder}: {_in_words(exc)}: run again later") from exc
    return {entry["name"].rpartition("/")[2]: int(entry["size"]) for entry in found if entry["type"] == "file"}


def _tried(
    act: Callable[[], Any], failed: str, pauses_s: tuple[float, ...], sleep: Callable[[float], None]
) -> None:
    for pause in (*pauses_s, None):
        try:
            act()
        except Exception as exc:
            # Each driver has exceptions of its own; all that matters here is that it is not done.
            if pause is None or isinstance(exc, FileNotFoundError):
                raise StorageError(f"{failed}: {_in_words(exc)}: run again later") from exc
            sleep(pause)
        else:
            return


def _put(remote: Remote, local: Path, name: str) -> None:
    filesystem, target = remote.filesystem, f"{remote.root}/{name}"
    protocols = filesystem.protocol if isinstance(filesystem.protocol, tuple) else (filesystem.protocol,)
    if _AT_ONCE.isdisjoint(protocols):
        folder, _, last = target.rpartition("/")
        temporary = f"{folder}/{TEMPORARY_PREFIX}{last}"
        filesystem.makedirs(folder, exist_ok=True)
        filesystem.put_file(str(local), temporary)
        filesystem.mv(temporary, target)
    else:
        filesystem.put_file(str(local), target)
    filesystem.invalidate_cache()
    found = filesystem.info(target)
    size = local.stat().st_size
    if found["size"] != size:
        raise OSError(f"{found['size']} bytes arrived instead of {size}")
    told = str(found.get("ETag", "")).strip('"')
    if len(told) == _MD5_DIGITS and told != _md5(local):
        raise OSError("other bytes arrived than were sent")


def _md5(file: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _in_words(exc: BaseException) -> str:
    return (" ".join(str(exc).split()) or type(exc).__name__)[:200]
