"""A dataset behind a URL, seen by the one process that plans it: tables come here, editions go there.

Workers put shards there themselves. Here lies a local work folder with the tables of the dataset; what is
behind the URL is the truth, and the folder follows it when a build begins. An edition exists from the moment
that its manifest is there. Its other tables are sent before under other names, so that whoever builds next,
from any machine, can finish what was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from alti2v.dataset.manifest import Manifest
from alti2v.dataset.versions.publish import DESCRIPTIONS, STAGED_DIR, WORK_DIR, remove_unplanned
from alti2v.errors import UsageError
from alti2v.storage.directory import DESCRIPTION_FILES, DirectoryKind
from alti2v.storage.layout import (
    MANIFEST_FILE,
    OUTCOMES_FILE,
    REMOTE_FILE,
    REMOVED_FILE,
    SURVEY_FILE,
    TAGS_FILE,
)
from alti2v.storage.location import local_copy, put, put_once, remove, sizes_in
from alti2v.storage.publish import make_directory, publish_json, read_json
from alti2v.storage.remote import Remote, download, upload

_TABLES = (TAGS_FILE, OUTCOMES_FILE, SURVEY_FILE, REMOVED_FILE)
_STAGED = f"{WORK_DIR}/{STAGED_DIR}"


def claim_work(folder: Path, url: str) -> None:
    """Make a local folder the work folder of a dataset behind a URL.

    Raises:
        UsageError: it is that of another one, or holds something else.
        StorageError: it cannot be created.
    """
    marker = folder / REMOTE_FILE
    if marker.exists():
        other = read_json(marker)["url"]
        if other != url:
            raise UsageError(f"--work {folder} is the work folder of {other}: give another one")
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--work {folder} is not empty and no work folder: give a new one")
    make_directory(folder)
    publish_json(marker, {"url": url})


def fetch_edition(remote: Remote, folder: Path) -> bool:
    """Bring the tables of a dataset into its work folder, after finishing what was interrupted there.

    Returns:
        Whether there is a dataset.

    Raises:
        UsageError: something else is behind the URL.
        StorageError: it cannot be read or written.
    """
    there = sizes_in(remote)
    if MANIFEST_FILE not in there:
        _check_free(remote, there)
        # Where nothing can be written, that is better known before a day's work.
        upload(remote, folder / REMOTE_FILE, f"{WORK_DIR}/{REMOTE_FILE}")
        for name in (*_TABLES, *DESCRIPTIONS, MANIFEST_FILE):
            (folder / name).unlink(missing_ok=True)
        return False
    with local_copy(remote, MANIFEST_FILE) as path:
        manifest = path.read_bytes()
    _finish_interrupted(remote, manifest)
    here = folder / MANIFEST_FILE
    if not here.exists() or here.read_bytes() != manifest:
        here.unlink(missing_ok=True)  # until the tables are those of the new one
        there = sizes_in(remote)
        for name in (*_TABLES, *DESCRIPTIONS):
            if name in there:
                download(remote, name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
        download(remote, MANIFEST_FILE, here)
    return True


def send_descriptions(remote: Remote, folder: Path) -> None:
    """Publish the card and its like where they are missing: after a kill right behind the manifest."""
    there = sizes_in(remote)
    _send(remote, folder, [name for name in DESCRIPTIONS if name not in there], "")


def send_edition(remote: Remote, folder: Path, manifest: Manifest) -> None:
    """Publish the edition whose tables lie in the work folder; its shards are there already.

    Raises:
        StorageError: it cannot be written; the next build goes on, or finishes it.
    """
    tables = [name for name in (*_TABLES, *DESCRIPTIONS) if (folder / name).exists()]
    if MANIFEST_FILE not in sizes_in(remote):
        _send(remote, folder, [name for name in tables if name not in DESCRIPTIONS], "")
        put_once(folder / MANIFEST_FILE, remote, MANIFEST_FILE)
        # After the manifest, as `edition.publish_edition` has it.
        _send(remote, folder, [name for name in tables if name in DESCRIPTIONS], "")
    else:
        _send(remote, folder, [*tables, MANIFEST_FILE], f"{_STAGED}/")  # the manifest last
        put(folder / MANIFEST_FILE, remote, MANIFEST_FILE)
        _send(remote, folder, tables, "")
    remove_unplanned(remote, manifest.shards)


def clear_work(remote: Remote) -> None:
    """Remove what builds leave behind the URL beside the dataset."""
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


def _check_free(remote: Remote, there: Iterable[str]) -> None:
    for kind, file in DESCRIPTION_FILES.items():
        if kind is not DirectoryKind.DATASET and file in there:
            raise UsageError(f"{remote.url} is a {kind}, not a dataset: give another URL")
    foreign = sorted(set(there) - set(_TABLES))
    if foreign:
        raise UsageError(f"{remote.url} has {foreign[0]} and no manifest: give the URL of an empty folder")
