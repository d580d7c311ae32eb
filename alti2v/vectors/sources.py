"""Pictures to embed: files as `alti2v tag` finds them, or the pictures of a dataset."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

from alti2v.dataset.explore.file_names import file_names
from alti2v.dataset.manifest import Shard, read_manifest, read_metadata
from alti2v.errors import Alti2vError, UsageError
from alti2v.model.tagging.inputs import count_pictures, find_pictures
from alti2v.model.tagging.preprocess import Source, Square
from alti2v.records import Span
from alti2v.storage.directory import DirectoryKind, kind_of, missing_file
from alti2v.storage.tar import read_span


def dataset_among(inputs: Sequence[str]) -> Path | None:
    """Return the dataset among the inputs; None if they are files.

    Raises:
        UsageError: There are a dataset and other inputs.
    """
    datasets = [Path(name) for name in inputs if kind_of(Path(name)) is DirectoryKind.DATASET]
    if datasets and len(inputs) > 1:
        raise UsageError(f"{datasets[0]} is a dataset: give it alone, because its keys would mix with paths")
    return datasets[0] if datasets else None


def count_sources(inputs: Sequence[str]) -> int | None:
    """Count the pictures; None if standard input lists some.

    Raises:
        UsageError: An input does not exist, or there is no picture.
    """
    dataset = dataset_among(inputs)
    if dataset is None:
        return count_pictures(inputs)
    return read_manifest(dataset).total


def path_key(path: Path) -> str:
    """Return a path as text for a table: as it is, or if it is not UTF-8 as an absolute `file://` URI."""
    try:
        return os.fsencode(path).decode()
    except UnicodeDecodeError:
        return Path(os.path.abspath(path)).as_uri()  # noqa: PTH100 - links stay


def path_of_key(key: str) -> Path:
    """Return the path of a `path_key`."""
    uri = "file://"
    name = unquote_to_bytes(key.removeprefix(uri)) if key.startswith(uri) else key.encode()
    return Path(os.fsdecode(name))


def find_sources(
    inputs: Sequence[str], listed: Iterable[str] = (), *, unread: Counter[str] | None = None
) -> Iterator[tuple[str, Source]]:
    """Stream keys and locations of pictures: paths, or the pictures of a dataset in order.

    Args:
        inputs: Files as in `inputs.find_pictures`, or one dataset.
        listed: Paths to use for "-".
        unread: Counts, by suffix, the pictures whose format is not read.

    Raises:
        DamagedError: A table of the dataset is missing.
    """
    dataset = dataset_among(inputs)
    if dataset is None:
        # Absolute, so that a search finds the pictures from any working directory.
        for path, source in find_pictures(inputs, listed, unread=unread):
            yield path_key(Path(os.path.abspath(path))), source  # noqa: PTH100 - links stay
        return
    for shard in read_manifest(dataset).shards:
        yield from _in_shard(dataset, shard)


def dataset_pictures(dataset: Path, keys: Iterable[str]) -> dict[str, bytes]:
    """Read the JPEGs of some pictures of a dataset by key; unknown keys are left out."""
    wanted, found = set(keys), dict[str, bytes]()
    for shard in read_manifest(dataset).shards:
        spans = {key: span for key, span in _spans(dataset, shard) if key in wanted}
        if spans:
            with (dataset / shard.name.data).open("rb") as tar:
                found |= {key: read_span(tar, span) for key, span in spans.items()}
        if len(found) == len(wanted):
            break
    return found


def picture_names(dataset: str, keys: Iterable[str]) -> dict[str, str]:
    """Return the file names of imported pictures of a dataset by key; those with a board's number are left out.

    Empty if the pictures are files (`dataset` is ""), or the dataset is no longer there or unreadable.
    """
    if not dataset:
        return {}
    folder, by_id = path_of_key(dataset), {int(key): key for key in keys}
    try:
        shards = (shard.name for shard in read_manifest(folder).shards)
        return {by_id[post_id]: name for post_id, name in file_names(folder, shards, by_id).items()}
    except (Alti2vError, OSError):
        return {}


def _in_shard(dataset: Path, shard: Shard) -> Iterator[tuple[str, Square]]:
    try:
        with (dataset / shard.name.data).open("rb") as tar:
            for key, span in _spans(dataset, shard):
                yield key, Square(read_span(tar, span))
    except FileNotFoundError as exc:
        raise missing_file(dataset, shard.name.data) from exc


def _spans(dataset: Path, shard: Shard) -> Iterator[tuple[str, Span]]:
    for row in read_metadata(dataset, shard, ("id", "key", "offset", "size")).to_pylist():
        yield row["key"], Span(offset=row["offset"], size=row["size"])
