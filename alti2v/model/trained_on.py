"""The dataset that a run was trained on: the folder in which it is now, and what has changed in it since."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from alti2v.numerals import counted
from alti2v.storage.layout import CHECKED_FILE

if TYPE_CHECKING:
    from alti2v.dataset.manifest import Manifest


def recorded(folder: str, run: Path) -> list[str]:
    """Return a folder as a run records it: relative to the run, and absolute.

    The first stays right when both are moved together, the second when the run alone is.
    """
    absolute = Path(folder).resolve()
    return [os.path.relpath(absolute, run.resolve()), str(absolute)]


def located(record: object, run: Path) -> str:
    """Return the folder that a run records; it is only a name, because somebody else may have written it.

    Runs of earlier versions record what the user typed, relative to the working folder of that time.

    Raises:
        ValueError: It is no such record.
    """
    if isinstance(record, str):
        return record
    if not isinstance(record, list) or len(record) != 2 or not all(isinstance(one, str) for one in record):
        raise ValueError(f"dataset has the value {record!r:.60}")
    beside, absolute = Path(os.path.normpath(run.resolve() / record[0])), Path(record[1])
    try:
        return _shortened(beside if beside.is_dir() else absolute)
    except OSError as exc:  # a name that is too long
        raise ValueError(f"dataset has the value {record!r:.60}") from exc


def _shortened(folder: Path) -> str:
    """Return a path relative to the working folder, if it is inside."""
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)


def change_since(dataset: Path, manifest: Manifest, *, plan_hash: str, run: Path) -> str | None:
    """Describe what has happened to a dataset since a run was trained on it, as "3 pictures were added to".

    Args:
        dataset: Its folder.
        manifest: Its manifest.
        plan_hash: Plan of the dataset that the run was trained on; not that of the manifest.
        run: Folder of the run.

    Returns:
        The words; None if it is another dataset, or if pictures were added and others removed.
    """
    # `tag` needs the functions above, but neither these nor pyarrow.
    from alti2v.dataset.check.checksums import remembered_shards
    from alti2v.dataset.versions.lineage import grown_since, removed_since

    removed = removed_since(dataset, manifest, plan_hash)
    if removed is not None:
        return f"{counted(removed, 'post was', 'posts were')} removed from"
    added = grown_since(manifest, remembered_shards(run / CHECKED_FILE))
    if added is not None:
        return f"{counted(added, 'picture was', 'pictures were')} added to"
    return None
