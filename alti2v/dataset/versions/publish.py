"""Publishing an edition of a dataset: the manifest is the moment, the other tables follow.

New shards have new names, so readers of the old edition keep theirs until the manifest is replaced. The tables
whose names stay are staged first and moved into place after the manifest; if that is interrupted, the next
program that takes the dataset's lock finishes it. A first edition has no readers: there the tables come first.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from alti2v.dataset.manifest import Manifest, Shard, read_manifest, write_manifest, write_vocabulary
from alti2v.dataset.write.croissant import croissant
from alti2v.dataset.write.dataset_card import dataset_card
from alti2v.records import Tag
from alti2v.storage.directory import exclusive
from alti2v.storage.layout import (
    CARD_FILE,
    CROISSANT_FILE,
    DATA_DIR,
    INDEX_DIR,
    MANIFEST_FILE,
    METADATA_DIR,
    OUTCOMES,
    OUTCOMES_FILE,
    REMOVED,
    REMOVED_FILE,
    SURVEY,
    SURVEY_FILE,
    TAGS_FILE,
    Table,
)
from alti2v.storage.location import remove, sizes_in
from alti2v.storage.publish import (
    fsync_directory,
    json_bytes,
    make_directory,
    publish_bytes,
    storage_errors,
    sweep_temporary_files,
)
from alti2v.storage.remote import Remote
from alti2v.storage.table import write_arrow_table

WORK_DIR = ".build"
_LOCK_FILE = "lock"
STAGED_DIR = "next"
DESCRIPTIONS = (CARD_FILE, CROISSANT_FILE)
_TABLES: Mapping[str, Table] = {OUTCOMES_FILE: OUTCOMES, SURVEY_FILE: SURVEY, REMOVED_FILE: REMOVED}


@contextlib.contextmanager
def writing(dataset: Path) -> Iterator[Path]:
    """Be the only writer of a dataset for the length of the block, after finishing what was interrupted.

    Yields:
        The work folder; whoever is done for good removes it before the block ends.

    Raises:
        UsageError: another process writes.
    """
    work = dataset / WORK_DIR
    folders = [dataset / name for name in (WORK_DIR, DATA_DIR, INDEX_DIR, METADATA_DIR)]
    for folder in folders:
        make_directory(folder)
    with exclusive(work, _LOCK_FILE):
        for folder in (dataset, *folders):
            sweep_temporary_files(folder)
        _finish_interrupted(dataset)
        yield work


def is_interrupted(place: Path | Remote) -> bool:
    """Whether an edition is being published, or was when its program was killed."""
    return bool(sizes_in(place, f"{WORK_DIR}/{STAGED_DIR}"))


def publish_edition(
    dataset: Path, manifest: Manifest, tags: tuple[Tag, ...], tables: Mapping[str, pa.Table]
) -> None:
    """Publish an edition whose shards lie in their places already; only inside `writing`.

    Args:
        dataset: where.
        manifest: of the edition.
        tags: its vocabulary.
        tables: those of outcomes.parquet, survey.parquet and removed.parquet that change.

    Raises:
        StorageError: the dataset's folder refuses a write; what was published is as it was, or the next
            program finishes the edition.
    """
    if not (dataset / MANIFEST_FILE).exists():
        _write_tables(dataset, tags, tables)
        write_manifest(dataset, manifest)
        # After the manifest: a folder with a README and nothing that says what it is, is somebody else's.
        publish_descriptions(dataset, manifest, tags)
        return
    staged = dataset / WORK_DIR / STAGED_DIR
    make_directory(staged)
    _write_tables(staged, tags, tables)
    publish_descriptions(staged, manifest, tags)
    write_manifest(staged, manifest)  # last: with it the edition is complete
    publish_bytes(dataset / MANIFEST_FILE, (staged / MANIFEST_FILE).read_bytes())
    _complete(dataset, staged, manifest.shards)


def publish_descriptions(
    folder: Path, manifest: Manifest, tags: Sequence[Tag], *, files: Iterable[str] = DESCRIPTIONS
) -> None:
    """Write what tells people and programs about a dataset: the card, and the same as Croissant metadata."""
    for file in files:
        if file == CARD_FILE:
            content = dataset_card(manifest, tags, manifest.source).encode()
        else:
            content = json_bytes(croissant(manifest, tags))
        publish_bytes(folder / file, content)


def missing_descriptions(dataset: Path) -> list[str]:
    """Which of them a dataset lacks; one that is there may have been edited, and stays."""
    return [file for file in DESCRIPTIONS if not (dataset / file).exists()]


def remove_unplanned(place: Path | Remote, shards: Iterable[Shard]) -> None:
    """Remove the files of shards that are not among these: no manifest names them, or none does any more."""
    planned = {file for shard in shards for file in shard.name.files}
    remove(place, [file for file in _shard_files(place) if file not in planned])


def is_whole(dataset: Path, manifest: Manifest) -> bool:
    """Whether all files of a dataset are there, the shards with the sizes that the manifest says."""
    tables = (dataset / name for name in (TAGS_FILE, OUTCOMES_FILE, *DESCRIPTIONS))
    return all(path.exists() for path in tables) and not incomplete(dataset, manifest.shards)


def incomplete(place: Path | Remote, shards: Iterable[Shard]) -> list[Shard]:
    """Those of some shards that lack a file, or whose tar has another size than it should."""
    found = _shard_files(place)
    return [
        shard
        for shard in shards
        if not found.keys() >= set(shard.name.files) or found[shard.name.data] != shard.bytes
    ]


def _shard_files(place: Path | Remote) -> Mapping[str, int]:
    return {
        f"{folder}/{name}": size
        for folder in (DATA_DIR, INDEX_DIR, METADATA_DIR)
        for name, size in sizes_in(place, folder).items()
    }


def _write_tables(folder: Path, tags: tuple[Tag, ...], tables: Mapping[str, pa.Table]) -> None:
    for file, content in tables.items():
        write_arrow_table(folder / file, _TABLES[file], content)
    write_vocabulary(folder, tags)


def _finish_interrupted(dataset: Path) -> None:
    staged = dataset / WORK_DIR / STAGED_DIR
    if not staged.exists():
        return
    manifest, published = staged / MANIFEST_FILE, dataset / MANIFEST_FILE
    if manifest.exists() and manifest.read_bytes() == published.read_bytes():
        _complete(dataset, staged, read_manifest(dataset).shards)
    else:
        shutil.rmtree(staged)  # the edition was never published


def _complete(dataset: Path, staged: Path, shards: tuple[Shard, ...]) -> None:
    for path in sorted(staged.iterdir()):
        if path.name != MANIFEST_FILE:
            with storage_errors(dataset / path.name):
                path.replace(dataset / path.name)
    fsync_directory(dataset)
    remove_unplanned(dataset, shards)
    shutil.rmtree(staged)
