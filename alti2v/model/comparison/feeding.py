"""Pictures of a split for several models: each picture is read and decoded once, then prepared for each model.

A model gets the dataset's own picture unless it takes larger ones; then it gets the original from the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from alti2v.arrays import Int64Array, Uint8Array
from alti2v.dataset.check.checksums import check_shards
from alti2v.dataset.manifest import Manifest, Shard, check_labels, read_manifest, read_metadata
from alti2v.dataset.shard_cache import hold
from alti2v.errors import DamagedError
from alti2v.model.comparison.originals import Originals
from alti2v.model.tagging.preprocess import Preprocessing, decoded_ahead, decoding_threads, job_of
from alti2v.pictures.decode import Unusable
from alti2v.pictures.decoder_process import Decoder, process_decoders
from alti2v.pictures.jobs import FramedJob, PixelsJob, PreviewJob, SeveralPixelsJob
from alti2v.pictures.recipe import ORIGINAL
from alti2v.records import Span
from alti2v.storage.tar import read_span

_COLUMNS = ("id", "key", "offset", "size", "labels", "source_md5")
_BATCHES_AHEAD = 2
_PREVIEW_PX = 224
_Pixels = tuple[Uint8Array, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeding:
    """Feeding of some models with the pictures of a dataset.

    Attributes:
        dataset: Directory of the dataset.
        preparations: Preparation of pictures for each model.
        takes_original: True for each model that gets the original from the store.
        originals: Pictures of the store; None without a store.
    """

    dataset: Path
    preparations: tuple[Preprocessing, ...]
    takes_original: tuple[bool, ...]
    originals: Originals | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FedBatch:
    """Pictures for all models.

    Attributes:
        ids: (B,) int64, post numbers.
        labels: (B, L) uint8, 1 where the picture carries the tag of the dataset.
        pixels: For each model (B, S, S, 3 or 4) uint8; models that prepare pictures alike share them.
    """

    ids: Int64Array
    labels: Uint8Array
    pixels: tuple[Uint8Array, ...]


def feeding(dataset: Path, preparations: Sequence[Preprocessing], originals: Originals | None) -> Feeding:
    """Choose for each model between the pictures of a dataset and those of a store."""
    manifest = read_manifest(dataset)
    return Feeding(
        dataset=dataset,
        preparations=tuple(preparations),
        takes_original=tuple(
            originals is not None and is_smaller(manifest, preparation) for preparation in preparations
        ),
        originals=originals,
    )


def is_smaller(manifest: Manifest, preparation: Preprocessing) -> bool:
    """Return whether the pictures of a dataset are smaller than those that a model takes."""
    return manifest.image.format != ORIGINAL and manifest.image.size < preparation.size


def fed_batches(
    fed: Feeding, *, split: str, kept: Int64Array | None, tags: int, batch_size: int
) -> Iterator[FedBatch]:
    """Yield the pictures of a split in the dataset's order, prepared ahead of the models.

    Args:
        fed: Feeding of the models.
        split: Split of the dataset.
        kept: Posts to take, ascending; None for all.
        tags: L, number of the dataset's tags.
        batch_size: Pictures in a batch.

    Raises:
        DamagedError: A shard or its table is missing or damaged, or a picture of it does not decode.
    """
    prepare = _preparer(fed)
    threads = decoding_threads()
    waiting: list[tuple[_Sample, _Pixels]] = []
    samples = ((sample, sample) for sample in _samples(fed.dataset, split, kept, tags))
    for item in decoded_ahead(samples, prepare, ahead=_BATCHES_AHEAD * batch_size + threads, threads=threads):
        waiting.append(item)
        if len(waiting) == batch_size:
            yield _batch(waiting, tags)
            waiting = []
    if waiting:
        yield _batch(waiting, tags)


def ids_of(dataset: Path, splits: Sequence[str]) -> Int64Array:
    """Return the posts in some splits of a dataset, ascending."""
    columns = []
    for split in splits:
        for shard in read_manifest(dataset).split(split):
            hold(dataset, shard)
            columns.append(read_metadata(dataset, shard, ("id",))["id"].to_numpy())
    return np.sort(np.concatenate(columns)) if columns else np.array([], np.int64)


def previews(dataset: Path, split: str, wanted: Sequence[int]) -> dict[int, bytes]:
    """Make small JPEGs of some pictures of a split; one that cannot be decoded is left out."""
    found = {}
    job = PreviewJob(_PREVIEW_PX)
    with process_decoders().borrowed() as decoder:
        for sample in _samples(dataset, split, np.sort(np.array(wanted, np.int64)), tags=None):
            jpeg = decoder.run(job, sample.picture)
            if not isinstance(jpeg, Unusable):
                found[sample.id] = jpeg
    return found


# Reading ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sample:
    """A row of a shard, with its picture and the MD5 of the original."""

    id: int
    labels: Sequence[int]
    picture: bytes
    source_md5: str


def _samples(dataset: Path, split: str, kept: Int64Array | None, tags: int | None) -> Iterator[_Sample]:
    shards = read_manifest(dataset).split(split)
    check_shards(dataset, shards)
    for shard in shards:
        hold(dataset, shard)
        rows = _rows(dataset, shard, kept, tags)
        with (dataset / shard.name.data).open("rb") as tar:
            for row in rows:
                yield _Sample(
                    id=row["id"],
                    labels=row["labels"],
                    picture=read_span(tar, Span(offset=row["offset"], size=row["size"])),
                    source_md5=row["source_md5"],
                )


def _rows(
    dataset: Path, shard: Shard, kept: Int64Array | None, tags: int | None
) -> Sequence[Mapping[str, Any]]:
    table = read_metadata(dataset, shard, _COLUMNS)
    if tags is not None:
        check_labels(dataset / shard.name.metadata, table, tags=tags)
    if kept is not None:
        table = table.filter(np.isin(table["id"].to_numpy(), kept))
    rows: list[Mapping[str, Any]] = table.to_pylist()
    return rows


def _batch(items: Sequence[tuple[_Sample, _Pixels]], tags: int) -> FedBatch:
    labels = np.zeros((len(items), tags), np.uint8)
    for row, (sample, _) in enumerate(items):
        labels[row, sample.labels] = 1
    stacked: dict[tuple[int, ...], Uint8Array] = {}
    columns = []
    for column in zip(*(pixels for _, pixels in items), strict=True):
        same = tuple(map(id, column))  # models that prepare pictures alike have the same arrays
        if same not in stacked:
            stacked[same] = np.stack(column)
        columns.append(stacked[same])
    return FedBatch(
        ids=np.array([sample.id for sample, _ in items], np.int64), labels=labels, pixels=tuple(columns)
    )


# Preparing ----------------------------------------------------------------------------------------


def _preparer(fed: Feeding) -> Callable[[_Sample, Decoder], _Pixels]:
    """Make the function that prepares the pixels of a sample for each model."""
    jobs = [
        (is_original, job_of(preparation, is_square=not is_original))
        for preparation, is_original in zip(fed.preparations, fed.takes_original, strict=True)
    ]
    of_dataset = SeveralPixelsJob(tuple(dict.fromkeys(job for is_original, job in jobs if not is_original)))
    of_store = SeveralPixelsJob(tuple(dict.fromkeys(job for is_original, job in jobs if is_original)))
    instead = SeveralPixelsJob(
        tuple(replace(job, is_square=True) if isinstance(job, PixelsJob) else job for job in of_store.jobs)
    )

    def prepare(sample: _Sample, decoder: Decoder) -> _Pixels:
        found: dict[tuple[bool, PixelsJob | FramedJob], Uint8Array] = {}
        if of_dataset.jobs:
            found |= _named(of_dataset, _pixels(of_dataset, sample, decoder, fed.dataset), is_original=False)
        if of_store.jobs:
            made = _of_original(of_store, sample, decoder, fed.originals)
            if made is None:
                made = _pixels(instead, sample, decoder, fed.dataset)
            found |= _named(of_store, made, is_original=True)
        return tuple(found[one] for one in jobs)

    return prepare


def _named(
    several: SeveralPixelsJob, made: _Pixels, *, is_original: bool
) -> dict[tuple[bool, PixelsJob | FramedJob], Uint8Array]:
    return {(is_original, job): pixels for job, pixels in zip(several.jobs, made, strict=True)}


def _of_original(
    several: SeveralPixelsJob, sample: _Sample, decoder: Decoder, originals: Originals | None
) -> _Pixels | None:
    """Prepare the original of a sample; None if there is no usable one."""
    content = None if originals is None else originals.read(sample.id, sample.source_md5)
    if originals is None or content is None:
        return None
    made = decoder.run(several, content)
    if isinstance(made, Unusable):
        originals.missing.append("not decodable in the store")
        return None
    return made


def _pixels(several: SeveralPixelsJob, sample: _Sample, decoder: Decoder, dataset: Path) -> _Pixels:
    made = decoder.run(several, sample.picture)
    if isinstance(made, Unusable):
        raise DamagedError(
            f"{dataset}: the picture of post {sample.id} cannot be used ({made.reason}): "
            "run `alti2v verify` on its folder"
        )
    return made
