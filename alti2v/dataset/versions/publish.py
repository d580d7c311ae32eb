"""Publication of a version in a local folder; it happens at the moment when the manifest is replaced.

New shards have new names, so readers of the old version keep their shards until the manifest is replaced.
Tables keep their names: they are staged first and moved into place after the manifest, and the next program
that locks the dataset finishes an interrupted move. A first version has no readers, so its tables come first.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from alti2v.dataset.manifest import (
    Manifest,
    Shard,
    is_shard_file,
    read_manifest,
    write_manifest,
    write_vocabulary,
)
from alti2v.dataset.write.croissant import croissant
from alti2v.dataset.write.dataset_card import dataset_card
from alti2v.records import Tag
from alti2v.storage.columns import OUTCOMES, REMOVED, SURVEY, Table
from alti2v.storage.layout import (
    CARD_FILE,
    DATA_DIR,
    DESCRIPTIONS,
    INDEX_DIR,
    MANIFEST_FILE,
    METADATA_DIR,
    OUTCOMES_FILE,
    REMOVED_FILE,
    STAGED_DIR,
    SURVEY_FILE,
    TAGS_FILE,
    WORK_DIR,
)
from alti2v.storage.location import remove, sizes_in
from alti2v.storage.publish import fsync_directory, json_bytes, make_directory, publish_bytes, storage_errors
from alti2v.storage.remote import Remote
from alti2v.storage.table import write_parts

_TABLES: Mapping[str, Table] = {OUTCOMES_FILE: OUTCOMES, SURVEY_FILE: SURVEY, REMOVED_FILE: REMOVED}
_STAGED = frozenset({TAGS_FILE, *_TABLES, *DESCRIPTIONS})


def is_interrupted(location: Path | Remote) -> bool:
    """Return whether a version is being published, or was when its program was killed."""
    return bool(sizes_in(location, f"{WORK_DIR}/{STAGED_DIR}"))


def publish_version(
    dataset: Path, manifest: Manifest, tags: tuple[Tag, ...], tables: Mapping[str, Iterable[pa.Table]]
) -> None:
    """Publish a version whose shards are in place, see `DatasetWriter.publish`."""
    if not (dataset / MANIFEST_FILE).exists():
        _write_tables(dataset, tags, tables)
        write_manifest(dataset, manifest)
        # After the manifest: a folder with a README and no description file belongs to somebody else.
        publish_descriptions(dataset, manifest, tags)
        return
    staged = dataset / WORK_DIR / STAGED_DIR
    make_directory(staged)
    _write_tables(staged, tags, tables)
    publish_descriptions(staged, manifest, tags)
    write_manifest(staged, manifest)  # last: with it the staged version is complete
    publish_bytes(dataset / MANIFEST_FILE, (staged / MANIFEST_FILE).read_bytes())
    _complete(dataset, staged, manifest.shards)


def publish_descriptions(
    folder: Path, manifest: Manifest, tags: Sequence[Tag], *, files: Iterable[str] = DESCRIPTIONS
) -> None:
    """Write the dataset card and the Croissant metadata."""
    for file in files:
        if file == CARD_FILE:
            content = dataset_card(manifest, tags, manifest.source).encode()
        else:
            content = json_bytes(croissant(manifest, tags))
        publish_bytes(folder / file, content)


def missing_descriptions(dataset: Path) -> list[str]:
    """Return the missing ones among card and Croissant metadata; existing ones may have been edited."""
    return [file for file in DESCRIPTIONS if not (dataset / file).exists()]


def remove_unplanned(location: Path | Remote, shards: Iterable[Shard]) -> None:
    """Remove the files of all other shards; no manifest lists them. Files with other names are kept."""
    planned = {file for shard in shards for file in shard.name.files}
    remove(location, [file for file in _shard_files(location) if file not in planned and is_shard_file(file)])


def is_whole(dataset: Path, manifest: Manifest) -> bool:
    """Return whether a dataset has all its files, and its shards have the sizes in the manifest."""
    tables = (dataset / name for name in (TAGS_FILE, OUTCOMES_FILE, *DESCRIPTIONS))
    return all(path.exists() for path in tables) and not incomplete(dataset, manifest.shards)


def incomplete(location: Path | Remote, shards: Iterable[Shard]) -> list[Shard]:
    """Return the shards that lack a file or whose tar file has another size."""
    found = _shard_files(location)
    return [
        shard
        for shard in shards
        if not found.keys() >= set(shard.name.files) or found[shard.name.data] != shard.bytes
    ]


def _shard_files(location: Path | Remote) -> Mapping[str, int]:
    return {
        f"{folder}/{name}": size
        for folder in (DATA_DIR, INDEX_DIR, METADATA_DIR)
        for name, size in sizes_in(location, folder).items()
    }


def _write_tables(folder: Path, tags: tuple[Tag, ...], tables: Mapping[str, Iterable[pa.Table]]) -> None:
    for file, parts in tables.items():
        write_parts(folder / file, _TABLES[file], parts)
    write_vocabulary(folder, tags)


def finish_interrupted(dataset: Path) -> None:
    """Finish a publication that was interrupted after the manifest was replaced; discard an earlier one."""
    staged = dataset / WORK_DIR / STAGED_DIR
    if not staged.exists():
        return
    manifest, published = staged / MANIFEST_FILE, dataset / MANIFEST_FILE
    if manifest.exists() and manifest.read_bytes() == published.read_bytes():
        _complete(dataset, staged, read_manifest(dataset).shards)
    else:
        shutil.rmtree(staged)  # the manifest was not replaced


def _complete(dataset: Path, staged: Path, shards: tuple[Shard, ...]) -> None:
    for path in sorted(staged.iterdir()):
        if path.name in _STAGED:
            with storage_errors(dataset / path.name):
                path.replace(dataset / path.name)
    fsync_directory(dataset)
    remove_unplanned(dataset, shards)
    shutil.rmtree(staged)
