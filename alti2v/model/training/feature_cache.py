"""Output of the frozen part of a backbone, computed once and stored in the run, from which the rest is trained.

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
from alti2v.errors import DamagedError, UsageError, first_line
from alti2v.model import backend
from alti2v.model.arrays import Int64Array
from alti2v.model.data.pipeline import drop_padding, multi_hot, ready, shard_pictures
from alti2v.model.data.shards import SHARDS_IN_FLIGHT, ReadFailure, epoch_order, open_source, row_order
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
    make_directory(_file(job, job.manifest.shards[0], first).parent)
    done, computed, size = 0, 0, 0
    total = sum(job.manifest.samples(split) for split in splits)
    sources = [open_source(job.dataset, split) for split in splits]
    for source, shard in [(one, shard) for one in sources for shard in one.shards]:
        file = _file(job, shard, first)
        if not _is_whole(file, rows=shard.samples):
            stored = None if maps is None else _file(job, shard, maps)
            if maps is not None and stored is not None and _is_whole(stored, rows=shard.samples):
                batches = _stored_numbers(stored, batch_size=job.recipe.batch_size)
                model = between(network, maps, first)
            else:
                batches = shard_pictures(source, shard, batch_size=job.recipe.batch_size)
                model = trunk
            labels = read_table(job.dataset / shard.name.metadata, METADATA, columns=["labels"])["labels"]
            computed += shard.samples
            dtype = np.float32 if first == HEAD_ONLY else np.float16
            publish(file, functools.partial(_write, trunk=model, batches=batches, labels=labels, dtype=dtype))
        done, size = done + shard.samples, size + file.stat().st_size
        progress(Progress(stage="features", done=done, total=total, unit="pictures"))
    return computed, size


def cached_batches(
    job: Job,
    *,
    epoch: int,
    first: str = HEAD_ONLY,
    batch_size: int | None = None,
    skip_batches: int = 0,
    failure: ReadFailure,
) -> Any:  # noqa: ANN401 - tf.data.Dataset
    """Make the batches of `training_batches` with features in place of pictures, and without augmentation.

    Args:
        job: The training.
        epoch: Number of the epoch, from 0.
        first: Layer in front of which the network is cut, or `HEAD_ONLY`.
        batch_size: Samples in a batch; None for the recipe's.
        skip_batches: Number of batches to skip at the start of the epoch.
        failure: Holder for an exception of this program inside the graph (`read_errors.reading_errors`).

    Returns:
        tf.data.Dataset of (features (B, N), labels (B, T) float32), of known length.
    """
    tf = backend.tf
    shards = job.manifest.split("train")
    order = epoch_order(job.settings.seed, epoch, len(shards))
    tags = len(job.tags)
    width = _width(_file(job, shards[0], first))
    dtype = tf.float32 if first == HEAD_ONLY else tf.float16

    rows = failure.hold(lambda number: _read(job, shards[int(number)], first, epoch=epoch))

    def samples(number: Any) -> Any:  # noqa: ANN401 - tensors
        features, values, starts = tf.numpy_function(rows, [number], [dtype, tf.int64, tf.int64])
        features.set_shape([None, width])
        values.set_shape([None])
        starts.set_shape([None])
        data = tf.data.Dataset.from_tensor_slices((features, starts[:-1], starts[1:]))
        return data.map(lambda row, start, end: (row, multi_hot(values[start:end], tags=tags)))

    data = tf.data.Dataset.from_tensor_slices(np.asarray(order, np.int64))
    data = data.interleave(samples, cycle_length=SHARDS_IN_FLIGHT, block_length=1)
    size = batch_size or job.recipe.batch_size
    data = data.skip(skip_batches * size).batch(size)
    data = data.map(lambda features, labels: (features, tf.cast(drop_padding(labels), tf.float32)))
    data = data.apply(tf.data.experimental.assert_cardinality(-(-job.train_samples // size) - skip_batches))
    return ready(data)


def _stored_numbers(file: Path, *, batch_size: int) -> Iterator[npt.NDArray[Any]]:
    with pq.ParquetFile(file, page_checksum_verification=True) as stored:
        for part in stored.iter_batches(batch_size, columns=[FEATURES_COLUMN]):
            yield part.column(0).flatten().to_numpy().reshape(len(part), -1)


def _write(
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
        writer = writer or pq.ParquetWriter(path, table.schema, write_page_checksum=True)
        writer.write_table(table)
        row += len(images)
    if writer is not None:
        writer.close()


def _read(job: Job, shard: Shard, first: str, *, epoch: int) -> tuple[npt.NDArray[Any], Int64Array, Int64Array]:
    """Read the features (N, F), the label indices of all rows in one (L,), and their offsets (N + 1,)."""
    file = _file(job, shard, first)
    try:
        table = pq.read_table(file, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as exc:
        raise DamagedError(
            f"{file} is damaged ({first_line(exc):.150}): remove it, and run the same command again"
        ) from exc
    order = row_order(job.settings.seed, epoch, shard.name.number, len(table))
    table = table.take(order)
    column = table.column(FEATURES_COLUMN).combine_chunks()
    features = column.flatten().to_numpy().reshape(len(table), -1)
    labels = table.column("labels").combine_chunks()
    starts = np.concatenate([[0], np.cumsum(np.diff(labels.offsets.to_numpy()), dtype=np.int64)])
    return features, labels.flatten().to_numpy().astype(np.int64), starts


def _is_whole(file: Path, *, rows: int) -> bool:
    try:
        return int(pq.read_metadata(file).num_rows) == rows
    except (OSError, pa.ArrowException):
        return False


def _file(job: Job, shard: Shard, first: str) -> Path:
    folder = job.run / FEATURES_DIR
    return (folder if first == HEAD_ONLY else folder / first) / f"{shard.name}.parquet"


def _width(file: Path) -> int:
    schema = pq.read_schema(file)
    return int(schema.field(FEATURES_COLUMN).type.list_size)
