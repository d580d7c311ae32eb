"""Batches of stored features, from which the layers that learn are trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from alti2v.arrays import Int64Array
from alti2v.dataset.manifest import Shard
from alti2v.errors import DamagedError, first_line
from alti2v.model import backend
from alti2v.model.data.pipeline import drop_padding, multi_hot, ready
from alti2v.model.data.shards import SHARDS_IN_FLIGHT, ReadFailure, epoch_order, row_order
from alti2v.model.evaluation.frozen_head import FEATURES_COLUMN
from alti2v.model.recipes import HEAD_ONLY
from alti2v.model.training.features.files import feature_file
from alti2v.model.training.job import Job


def feature_batches(
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
    width = _width(feature_file(job, shards[0], first))
    dtype = tf.float32 if first == HEAD_ONLY else tf.float16
    if dtype == tf.float16:
        backend.first_float16()

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


def _read(job: Job, shard: Shard, first: str, *, epoch: int) -> tuple[npt.NDArray[Any], Int64Array, Int64Array]:
    """Read the features (N, F), the label indices of all rows in one (L,), and their offsets (N + 1,)."""
    file = feature_file(job, shard, first)
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


def _width(file: Path) -> int:
    schema = pq.read_schema(file)
    return int(schema.field(FEATURES_COLUMN).type.list_size)
