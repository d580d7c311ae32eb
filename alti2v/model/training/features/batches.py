"""Batches of stored features, from which the layers that learn are trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alti2v.arrays import BoolArray, Int64Array
from alti2v.dataset.manifest import Shard
from alti2v.model import backend
from alti2v.model.data.pipeline import drop_padding, multi_hot, ready
from alti2v.model.data.shard_rows import read_columns, read_rows
from alti2v.model.data.shards import SHARDS_IN_FLIGHT, ReadFailure, epoch_order, row_order
from alti2v.model.data.soft_labels import read_soft_labels, softened
from alti2v.model.evaluation.frozen_head import FEATURES_COLUMN
from alti2v.model.recipes import HEAD_ONLY
from alti2v.model.training.features.files import feature_file
from alti2v.model.training.job import Job

_ADVICE = "remove it, and run the same command again"


def feature_batches(
    job: Job,
    *,
    epoch: int,
    first: str = HEAD_ONLY,
    batch_size: int | None = None,
    skip_batches: int = 0,
    only: Callable[[Shard], BoolArray] | None = None,
    failure: ReadFailure,
) -> Any:  # noqa: ANN401 - tf.data.Dataset
    """Make batches as `training_batches` does, with features in place of pictures, and without augmentation.

    Args:
        job: The training.
        epoch: Number of the epoch, from 0.
        first: Layer in front of which the network is cut, or `HEAD_ONLY`.
        batch_size: Samples in a batch; None for the recipe's.
        skip_batches: Number of batches to skip at the start of the epoch.
        only: Mask of the rows of a shard to use, with the labels of the dataset; None for all of them, with the
            recipe's soft labels.
        failure: Holder for an exception of this program inside the graph (`read_errors.reading_errors`).

    Returns:
        tf.data.Dataset of (features (B, N), labels (B, T) float32), of known length.
    """
    tf = backend.tf
    shards = job.manifest.split("train")
    order = epoch_order(job.settings.seed, epoch, len(shards))
    tags = len(job.tags)
    file = feature_file(job, shards[0], first)
    width = read_columns(file, shards[0], _is_known, advice=_ADVICE).field(FEATURES_COLUMN).type.list_size
    dtype = tf.float32 if first == HEAD_ONLY else tf.float16
    if dtype == tf.float16:
        backend.first_float16()

    soft_labels = job.soft_labels if only is None else None

    def rows(number: np.int64) -> tuple[npt.NDArray[Any], ...]:
        shard = shards[int(number)]
        order = row_order(job.settings.seed, epoch, shard.name.number, shard.samples)
        order = order if only is None else order[only(shard)[order]]
        columns = _read(job, shard, first, order)
        if soft_labels is None:
            return columns
        soft = read_soft_labels(soft_labels, shard, order, tags=tags)
        return *columns, soft.tags, soft.probabilities

    types = [dtype, tf.int64, tf.int64] + ([] if soft_labels is None else [tf.int64, tf.float32])

    def samples(number: Any) -> Any:  # noqa: ANN401 - tensors
        features, values, starts, *soft = tf.numpy_function(failure.hold(rows), [number], types)
        features.set_shape([None, width])
        values.set_shape([None])
        starts.set_shape([None])
        for column in soft:
            column.set_shape([None, None])

        def sample(row: Any, start: Any, end: Any, *soft: Any) -> tuple[Any, Any]:  # noqa: ANN401 - tensors
            labels = multi_hot(values[start:end], tags=tags)
            return row, softened(labels, *soft) if soft else labels

        data = tf.data.Dataset.from_tensor_slices((features, starts[:-1], starts[1:], *soft))
        return data.map(sample)

    data = tf.data.Dataset.from_tensor_slices(np.asarray(order, np.int64))
    data = data.interleave(samples, cycle_length=SHARDS_IN_FLIGHT, block_length=1)
    size = batch_size or job.recipe.batch_size
    data = data.skip(skip_batches * size).batch(size)
    data = data.map(lambda features, labels: (features, tf.cast(drop_padding(labels), tf.float32)))
    count = job.train_samples if only is None else sum(int(only(shard).sum()) for shard in shards)
    data = data.apply(tf.data.experimental.assert_cardinality(-(-count // size) - skip_batches))
    return ready(data)


def read_features(job: Job, shard: Shard, first: str = HEAD_ONLY) -> pa.Table:
    """Read the features and label indices of a shard.

    Raises:
        DamagedError: The file is missing, damaged or of another shard.
    """
    return read_rows(feature_file(job, shard, first), shard, _is_known, advice=_ADVICE)


def _is_known(schema: pa.Schema) -> bool:
    if schema.names != [FEATURES_COLUMN, "labels"]:
        return False
    features, labels = schema.types
    return bool(pa.types.is_fixed_size_list(features) and labels == pa.list_(pa.int32()))


def features_of(table: pa.Table) -> npt.NDArray[Any]:
    """Return the features of a table of `read_features`: (N, F) float32 or float16."""
    column = table.column(FEATURES_COLUMN).combine_chunks()
    features: npt.NDArray[Any] = column.flatten().to_numpy()
    return features.reshape(len(table), column.type.list_size)


def _read(
    job: Job, shard: Shard, first: str, order: Int64Array
) -> tuple[npt.NDArray[Any], Int64Array, Int64Array]:
    """Read the features (N, F), the label indices of all rows in one (L,), and their offsets (N + 1,)."""
    table = read_features(job, shard, first).take(order)
    features = features_of(table)
    labels = table.column("labels").combine_chunks()
    starts = np.concatenate([[0], np.cumsum(np.diff(labels.offsets.to_numpy()), dtype=np.int64)])
    return features, labels.flatten().to_numpy().astype(np.int64), starts
