"""Features of a frozen backbone, computed once and stored in the run, from which the head is trained.

There is one Parquet file per shard, with its rows in the shard's order.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alti2v.dataset.manifest import Shard
from alti2v.errors import DamagedError
from alti2v.model import backend
from alti2v.model.arrays import Float32Array, Int64Array, Uint8Array
from alti2v.model.data.pipeline import drop_padding, multi_hot, ready, shard_pictures
from alti2v.model.data.shards import SHARDS_IN_FLIGHT, ReadFailure, epoch_order, open_source, row_order
from alti2v.model.evaluation.frozen_head import FEATURES_COLUMN
from alti2v.model.network.build import Network
from alti2v.model.recipes import Head
from alti2v.model.training.job import Job
from alti2v.records import Progress, ProgressHook
from alti2v.storage.layout import FEATURES_DIR, METADATA
from alti2v.storage.publish import make_directory, publish
from alti2v.storage.table import read_table


@dataclass(frozen=True, slots=True)
class HeadOnly:
    """A network cut in two.

    Attributes:
        trunk: keras.Model, pictures -> (B, F), the frozen part.
        head: keras.Model, (B, F) -> logits, over the network's own layers; the part that learns.
    """

    trunk: Any
    head: Any


def cut(network: Network) -> HeadOnly:
    """Cut a network behind its backbone, after pooling or flattening."""
    keras = backend.keras
    layer = network.logits.get_layer("pool" if network.architecture.head is Head.POOLED else "flatten")
    trunk = keras.Model(network.logits.input, layer.output)
    head = keras.Model(layer.output, network.logits.output, name="alti2v_head")
    head.dtype_policy = network.logits.dtype_policy  # tells Keras whether to scale the loss
    return HeadOnly(trunk=trunk, head=head)


def compute_features(
    job: Job, network: Network, *, splits: Sequence[str] = ("train",), progress: ProgressHook
) -> tuple[int, int]:
    """Compute the features of every shard of the splits whose file is missing or incomplete.

    Returns:
        Number of pictures whose features this call computed, and the size of all files in bytes.

    Raises:
        DamagedError: A picture cannot be read.
        StorageError: The features cannot be written.
    """
    trunk = cut(network).trunk
    folder = job.run / FEATURES_DIR
    make_directory(folder)
    done, computed, size = 0, 0, 0
    total = sum(job.manifest.samples(split) for split in splits)
    sources = [open_source(job.dataset, split) for split in splits]
    for source, shard in [(one, shard) for one in sources for shard in one.shards]:
        file = folder / f"{shard.name}.parquet"
        if not _is_whole(file, rows=shard.samples):
            batches = shard_pictures(source, shard, batch_size=job.recipe.batch_size)
            labels = read_table(job.dataset / shard.name.metadata, METADATA, columns=["labels"])["labels"]
            computed += shard.samples
            publish(file, functools.partial(_write, trunk=trunk, batches=batches, labels=labels))
        done, size = done + shard.samples, size + file.stat().st_size
        progress(Progress(stage="features", done=done, total=total, unit="pictures"))
    return computed, size


def cached_batches(
    job: Job, *, epoch: int, batch_size: int | None = None, skip_batches: int = 0, failure: ReadFailure
) -> Any:  # noqa: ANN401 - tf.data.Dataset
    """Make the batches of `training_batches` with features in place of pictures, and without augmentation.

    Args:
        job: The training.
        epoch: Number of the epoch, from 0.
        batch_size: Samples in a batch; None for the recipe's.
        skip_batches: Number of batches to skip at the start of the epoch.
        failure: Holder for an exception of ours inside the graph (`read_errors.reading_errors`).

    Returns:
        tf.data.Dataset of (features (B, F) float32, labels (B, T) float32), of known length.
    """
    tf = backend.tf
    shards = job.manifest.split("train")
    order = epoch_order(job.settings.seed, epoch, len(shards))
    tags = len(job.tags)
    width = _width(job, shards[0])

    rows = failure.hold(lambda number: _read(job, shards[int(number)], epoch=epoch))

    def samples(number: Any) -> Any:  # noqa: ANN401 - tensors
        features, values, starts = tf.numpy_function(rows, [number], [tf.float32, tf.int64, tf.int64])
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


def _write(path: Path, *, trunk: Any, batches: Iterator[Uint8Array], labels: pa.ChunkedArray) -> None:  # noqa: ANN401
    """Write a shard's features and label indices, one row group per batch."""
    writer, row = None, 0
    for images in batches:
        features = np.asarray(trunk.predict_on_batch(images), np.float32)  # (B, F)
        column = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), features.shape[1])
        batch_labels = labels.slice(row, len(images)).cast(pa.list_(pa.int32()))
        table = pa.table({FEATURES_COLUMN: column, "labels": batch_labels})
        writer = writer or pq.ParquetWriter(path, table.schema, write_page_checksum=True)
        writer.write_table(table)
        row += len(images)
    if writer is not None:
        writer.close()


def _read(job: Job, shard: Shard, *, epoch: int) -> tuple[Float32Array, Int64Array, Int64Array]:
    """Read the features (N, F), the label indices of all rows in one (L,), and their offsets (N + 1,)."""
    file = job.run / FEATURES_DIR / f"{shard.name}.parquet"
    try:
        table = pq.read_table(file, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as exc:
        reason = next(iter(str(exc).splitlines()), "")
        raise DamagedError(
            f"{file} is damaged ({reason:.150}): remove it, and run the same command again"
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


def _width(job: Job, shard: Shard) -> int:
    schema = pq.read_schema(job.run / FEATURES_DIR / f"{shard.name}.parquet")
    return int(schema.field(FEATURES_COLUMN).type.list_size)
