"""Files with soft labels: how probable it is that a training picture shows a tag that it does not carry.

There is one Parquet file per shard, with its rows in the shard's order. It replaces no label that is there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alti2v.arrays import Float32Array, Int64Array
from alti2v.dataset.manifest import Shard
from alti2v.errors import DamagedError
from alti2v.model import backend
from alti2v.model.data.shard_rows import padded, read_rows, with_shard
from alti2v.storage.publish import publish

# Less probable tags are left out: with 5,000 tags nearly all of them.
LEAST_PROBABILITY = 0.01
_SCHEMA = pa.schema([("tags", pa.list_(pa.int32())), ("probabilities", pa.list_(pa.float32()))])


@dataclass(frozen=True, slots=True)
class SoftLabels:
    """Soft labels of N pictures, of at most L tags each.

    Attributes:
        tags: (N, L) int64, indices of tags; shorter rows are padded with the number of tags.
        probabilities: (N, L) float32, in [0, 1]; 0 for padding.
    """

    tags: Int64Array
    probabilities: Float32Array


def soft_labels_file(folder: Path, shard: Shard) -> Path:
    """Return the file with the soft labels of a shard."""
    return folder / f"{shard.name}.parquet"


def write_soft_labels(folder: Path, shard: Shard, batches: Iterator[Float32Array]) -> None:
    """Write the soft labels of a shard, and replace the file as a whole.

    Args:
        folder: Folder of the files.
        shard: The shard.
        batches: (N, T) probabilities of consecutive rows; 0 for the tags that a picture carries.

    Raises:
        StorageError: The file cannot be written.
    """
    publish(soft_labels_file(folder, shard), functools.partial(_write, shard=shard, batches=batches))


def _write(path: Path, *, shard: Shard, batches: Iterator[Float32Array]) -> None:
    schema = with_shard(_SCHEMA, shard)
    with pq.ParquetWriter(path, schema, write_page_checksum=True) as writer:
        for probabilities in batches:
            rows, tags = np.nonzero(probabilities >= LEAST_PROBABILITY)
            offsets = np.searchsorted(rows, np.arange(len(probabilities) + 1)).astype(np.int32)
            columns = (tags.astype(np.int32), probabilities[rows, tags].astype(np.float32))
            lists = [pa.ListArray.from_arrays(offsets, pa.array(values)) for values in columns]
            writer.write_table(pa.Table.from_arrays(lists, schema=schema))


def read_soft_labels(folder: Path, shard: Shard, rows: Int64Array | None, *, tags: int) -> SoftLabels:
    """Read the soft labels of a shard.

    Args:
        folder: Folder of the files.
        shard: The shard.
        rows: Numbers and order of the rows; None for all of them in their order.
        tags: Number of tags, which pads rows.

    Raises:
        DamagedError: The file is missing, damaged or of another shard.
    """
    file, advice = soft_labels_file(folder, shard), "restore it, or train into another folder"
    table = read_rows(file, shard, _SCHEMA.equals, advice=advice)
    table = table if rows is None else table.take(rows)
    indices, probabilities = (table.column(name).combine_chunks() for name in _SCHEMA.names)
    flat_indices, flat = indices.flatten().to_numpy(), probabilities.flatten().to_numpy()
    is_valid = (
        np.array_equal(np.diff(indices.offsets.to_numpy()), np.diff(probabilities.offsets.to_numpy()))
        and bool(((flat_indices >= 0) & (flat_indices < tags)).all())
        and bool(((flat >= 0) & (flat <= 1)).all())  # False for NaN
    )
    if not is_valid:
        raise DamagedError(f"{file} has a tag or a probability that cannot be: {advice}")
    return SoftLabels(
        tags=padded(indices, with_=tags, dtype=np.int64),
        probabilities=padded(probabilities, with_=0, dtype=np.float32),
    )


def softened(labels: Any, tags: Any, probabilities: Any) -> Any:  # noqa: ANN401 - tensors
    """Add the soft labels of a picture to its labels.

    Args:
        labels: (T + 1,) uint8, from `pipeline.multi_hot`.
        tags: (L,) int64, a row of `SoftLabels`.
        probabilities: (L,) float32, likewise.

    Returns:
        (T + 1,) float32.
    """
    tf = backend.tf
    soft = tf.raw_ops.SparseToDense(
        sparse_indices=tags,
        output_shape=tf.shape(labels, out_type=tf.int64),
        sparse_values=probabilities,
        default_value=tf.constant(0.0),
        validate_indices=False,  # padding occurs more than once
    )
    return tf.maximum(tf.cast(labels, tf.float32), soft)
