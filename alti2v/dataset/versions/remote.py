"""Transfer of a dataset's tables between a URL and the local work folder of the process that writes it.

The URL is authoritative: the work folder is brought up to date when a transaction begins. A version exists from
the moment when its manifest is behind the URL. Its other tables are uploaded before under temporary names, so
that the next build, on any machine, can finish an interrupted publication.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from alti2v.dataset.manifest import Manifest
from alti2v.dataset.versions.publish import remove_unplanned
from alti2v.errors import UsageError
from alti2v.storage.directory import DESCRIPTION_FILES, DirectoryKind
from alti2v.storage.layout import (
    DESCRIPTIONS,
    MANIFEST_FILE,
    OUTCOMES_FILE,
    REMOTE_FILE,
    REMOVED_FILE,
    STAGED_DIR,
    SURVEY_FILE,
    TAGS_FILE,
    WORK_DIR,
)
from alti2v.storage.location import local_copy, put, put_once, remove, sizes_in
from alti2v.storage.publish import make_directory, publish_json, read_json
from alti2v.storage.remote import Remote, download, upload

_TABLES = (TAGS_FILE, OUTCOMES_FILE, SURVEY_FILE, REMOVED_FILE)
_STAGED = f"{WORK_DIR}/{STAGED_DIR}"


def claim_work(folder: Path, url: str) -> None:
    """Mark a local folder as the work folder of a dataset behind a URL.

    Raises:
        UsageError: It belongs to another dataset, or holds something else.
        StorageError: It cannot be created.
    """
    marker = folder / REMOTE_FILE
    if marker.exists():
        other = read_json(marker)["url"]
        if other != url:
            raise UsageError(f"--work {folder} is the work folder of {other}: give another folder")
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--work {folder} is neither empty nor a work folder: give a new folder")
    make_directory(folder)
    publish_json(marker, {"url": url})


def fetch_version(remote: Remote, folder: Path) -> None:
    """Download the tables of a dataset, if there is one, after finishing an interrupted publication.

    Raises:
        UsageError: The URL holds something else.
        StorageError: It cannot be read or written.
    """
    remote_files = sizes_in(remote)
    if MANIFEST_FILE not in remote_files:
        _check_free(remote, remote_files)
        # Fail now, not after a day's work, if the URL cannot be written.
        upload(remote, folder / REMOTE_FILE, f"{WORK_DIR}/{REMOTE_FILE}")
        for name in (*_TABLES, *DESCRIPTIONS, MANIFEST_FILE):
            (folder / name).unlink(missing_ok=True)
        return
    with local_copy(remote, MANIFEST_FILE) as path:
        manifest = path.read_bytes()
    _finish_interrupted(remote, manifest)
    local_manifest = folder / MANIFEST_FILE
    if not local_manifest.exists() or local_manifest.read_bytes() != manifest:
        local_manifest.unlink(missing_ok=True)  # until the tables of the new version are complete
        remote_files = sizes_in(remote)
        for name in (*_TABLES, *DESCRIPTIONS):
            if name in remote_files:
                download(remote, name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
        download(remote, MANIFEST_FILE, local_manifest)


def send_descriptions(remote: Remote, folder: Path) -> None:
    """Upload missing descriptions; a kill right after the manifest may have prevented it."""
    remote_files = sizes_in(remote)
    _send(remote, folder, [name for name in DESCRIPTIONS if name not in remote_files], "")


def send_version(remote: Remote, folder: Path, manifest: Manifest) -> None:
    """Publish the version in the work folder; its shards are uploaded already.

    Raises:
        StorageError: A write failed; the next build resumes or finishes the publication.
    """
    tables = [name for name in (*_TABLES, *DESCRIPTIONS) if (folder / name).exists()]
    if MANIFEST_FILE not in sizes_in(remote):
        _send(remote, folder, [name for name in tables if name not in DESCRIPTIONS], "")
        put_once(folder / MANIFEST_FILE, remote, MANIFEST_FILE)
        # After the manifest, as in `publish.publish_version`.
        _send(remote, folder, [name for name in tables if name in DESCRIPTIONS], "")
    else:
        _send(remote, folder, [*tables, MANIFEST_FILE], f"{_STAGED}/")  # the manifest last
        put(folder / MANIFEST_FILE, remote, MANIFEST_FILE)
        _send(remote, folder, tables, "")
    remove_unplanned(remote, manifest.shards)


def clear_work(remote: Remote) -> None:
    """Remove the working files of builds behind the URL."""
    for folder in (_STAGED, WORK_DIR):
        remove(remote, [f"{folder}/{name}" for name in sizes_in(remote, folder)])


def _send(remote: Remote, folder: Path, names: Iterable[str], prefix: str) -> None:
    for name in names:
        upload(remote, folder / name, f"{prefix}{name}")


def _finish_interrupted(remote: Remote, manifest: bytes) -> None:
    staged = sizes_in(remote, _STAGED)
    if MANIFEST_FILE in staged:
        with local_copy(remote, f"{_STAGED}/{MANIFEST_FILE}") as path:
            is_published = path.read_bytes() == manifest
        if is_published:
            for name in staged:
                with local_copy(remote, f"{_STAGED}/{name}") as path:
                    upload(remote, path, name)
    remove(remote, [f"{_STAGED}/{name}" for name in staged])


def _check_free(remote: Remote, names: Iterable[str]) -> None:
    for kind, file in DESCRIPTION_FILES.items():
        if kind is not DirectoryKind.DATASET and file in names:
            raise UsageError(f"{remote.url} is a {kind}, not a dataset: give another URL")
    foreign = sorted(set(names) - set(_TABLES))
    if foreign:
        raise UsageError(f"{remote.url} contains {foreign[0]} but no manifest: give the URL of an empty folder")
