"""Files with the output of the frozen part of a backbone, computed once for every picture.

There is one Parquet file per shard, with its rows in the shard's order. The output of the whole backbone is
pooled and float32; feature maps in front of a block that learns are float16.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from alti2v.dataset.manifest import Shard
from alti2v.errors import UsageError
from alti2v.model.data.pipeline import shard_pictures
from alti2v.model.data.shard_rows import is_whole, with_shard
from alti2v.model.data.shards import open_source
from alti2v.model.evaluation.frozen_head import FEATURES_COLUMN
from alti2v.model.network.backbones import PLAIN
from alti2v.model.network.build import Network
from alti2v.model.network.cut import between, cut
from alti2v.model.recipes import HEAD_ONLY
from alti2v.model.training.job import Job
from alti2v.records import Progress, ProgressHook
from alti2v.storage.columns import METADATA
from alti2v.storage.layout import FEATURES_DIR
from alti2v.storage.publish import make_directory, publish
from alti2v.storage.table import read_table

# Four shards are in memory at a time, and as many are being read.
_MOST_SHARD_BYTES = 1_000_000_000
_CHANNELS = (3, 64, 128, 256, 512)  # of the maps in front of VGG's five blocks


def require_storable(job: Job, first: str) -> None:
    """Check that the maps in front of a layer can be stored.

    Raises:
        UsageError: They cannot be stored.
    """
    if not is_storable(job, first):
        raise UsageError(
            f"--cache-features with --train-from {first} needs a VGG whose maps take at most "
            f"{_MOST_SHARD_BYTES / 1e9:g} GB for one shard: omit it, or build with a smaller --shard-samples"
        )


def is_storable(job: Job, first: str) -> bool:
    """Return whether the maps in front of a layer can be stored: a shard of them is read as a whole."""
    largest = max(shard.samples for shard in job.manifest.split("train"))
    return (
        job.recipe.backbone in PLAIN
        and largest * _map_bytes(job.manifest.image.size, first) <= _MOST_SHARD_BYTES
    )


def _map_bytes(size: int, first: str) -> int:
    """Bytes of the map of one picture in front of the first layer of a block of VGG, as it is stored."""
    block = int(first.removeprefix("block").partition("_")[0])
    side = size >> (block - 1)
    return 2 * side * side * _CHANNELS[block - 1]


def compute_features(
    job: Job,
    network: Network,
    *,
    first: str = HEAD_ONLY,
    maps: str | None = None,
    splits: Sequence[str] = ("train",),
    progress: ProgressHook,
) -> tuple[int, int]:
    """Compute the features of every shard of the splits whose file is missing or incomplete.

    Args:
        job: The training.
        network: Its network; the layers before `first` are frozen.
        first: Layer in front of which to cut, or `HEAD_ONLY`.
        maps: Layer in front of which stored maps may exist, to continue from; None for no such layer.
        splits: Splits whose features are needed.
        progress: Called after each shard.

    Returns:
        Number of pictures whose features this call computed, and the size of all files in bytes.

    Raises:
        DamagedError: A picture cannot be read.
        StorageError: The features cannot be written.
    """
    trunk = cut(network, first).trunk
    make_directory(feature_file(job, job.manifest.shards[0], first).parent)
    done, computed, size, batch_size = 0, 0, 0, job.recipe.batch_size
    total = sum(job.manifest.samples(split) for split in splits)
    sources = [open_source(job.dataset, split) for split in splits]
    for source, shard in [(one, shard) for one in sources for shard in one.shards]:
        file = feature_file(job, shard, first)
        if not is_whole(file, shard):
            if maps is not None and is_whole(stored := feature_file(job, shard, maps), shard):
                model, batches = between(network, maps, first), _stored_numbers(stored, batch_size=batch_size)
            else:
                model, batches = trunk, shard_pictures(source, shard, batch_size=batch_size)
            _publish_features(job, shard, first, model=model, batches=batches)
            computed += shard.samples
        done, size = done + shard.samples, size + file.stat().st_size
        progress(Progress(stage="features", done=done, total=total, unit="pictures"))
    return computed, size


def _stored_numbers(file: Path, *, batch_size: int) -> Iterator[npt.NDArray[Any]]:
    with pq.ParquetFile(file, page_checksum_verification=True) as stored:
        for part in stored.iter_batches(batch_size, columns=[FEATURES_COLUMN]):
            yield part.column(0).flatten().to_numpy().reshape(len(part), -1)


def _publish_features(
    job: Job,
    shard: Shard,
    first: str,
    *,
    model: Any,  # noqa: ANN401 - keras.Model
    batches: Iterator[npt.NDArray[Any]],
) -> None:
    labels = read_table(job.dataset / shard.name.metadata, METADATA, columns=["labels"])["labels"]
    dtype = np.float32 if first == HEAD_ONLY else np.float16
    publish(
        feature_file(job, shard, first),
        functools.partial(_write, shard, trunk=model, batches=batches, labels=labels, dtype=dtype),
    )


def _write(
    shard: Shard,
    path: Path,
    *,
    trunk: Any,  # noqa: ANN401 - keras.Model
    batches: Iterator[npt.NDArray[Any]],
    labels: pa.ChunkedArray,
    dtype: type[np.float32 | np.float16],
) -> None:
    """Write a shard's features and label indices, one row group per batch."""
    writer, row = None, 0
    for images in batches:
        features = np.asarray(trunk.predict_on_batch(images), np.float32)  # (B, N)
        features = features.astype(dtype)
        column = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), features.shape[1])
        batch_labels = labels.slice(row, len(images)).cast(pa.list_(pa.int32()))
        table = pa.table({FEATURES_COLUMN: column, "labels": batch_labels})
        schema = with_shard(table.schema, shard)
        writer = writer or pq.ParquetWriter(path, schema, write_page_checksum=True)
        writer.write_table(table.cast(schema))
        row += len(images)
    if writer is not None:
        writer.close()


def feature_file(job: Job, shard: Shard, first: str) -> Path:
    """Return the file with the output in front of a layer for the pictures of a shard."""
    folder = job.run / FEATURES_DIR
    return (folder if first == HEAD_ONLY else folder / first) / f"{shard.name}.parquet"
