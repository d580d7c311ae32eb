"""Batches for training, evaluation and feature extraction: each one linear tf.data chain.

No Python runs per sample. Order and augmentation are pure functions of (seed, epoch, shard, picture), so an
interrupted run finds its place again by counting, and no state of the pipeline has to be saved.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.arrays import Int64Array, Uint8Array
from alti2v.dataset.manifest import Shard
from alti2v.model import backend
from alti2v.model.data.changes import changes_of, drawn, mixed_labels, names_a_side, seed_of
from alti2v.model.data.read_errors import reading_errors
from alti2v.model.data.shards import (
    ReadFailure,
    SplitSource,
    decode_picture,
    open_source,
    samples_in_epoch_order,
    samples_in_order,
)
from alti2v.model.data.soft_labels import softened
from alti2v.model.recipes import NO_AUGMENTATION, Augmentation

# Samples that are prepared at a time, more than there are cores; and batches that are kept ready.
AT_ONCE, _READY = max(64, os.cpu_count() or 1), 4


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive samples in the order of the dataset.

    Attributes:
        images: (B, S, S, 3) uint8, RGB.
        labels: (B, T) uint8, 1 where the picture carries the tag.
        ids: (B,) int64, post numbers.
        count: Number of rows that are samples; the rows after them are padding, all zero.
    """

    images: Uint8Array
    labels: Uint8Array
    ids: Int64Array
    count: int


def training_batches(  # noqa: PLR0913 - an epoch, a position in it, and what happens to its samples
    dataset: Path,
    *,
    split: str = "train",
    batch_size: int,
    seed: int,
    epoch: int = 0,
    skip_batches: int = 0,
    augmentation: Augmentation = NO_AUGMENTATION,
    soft_labels: Path | None = None,
    part: tuple[int, int] | None = None,
    failure: ReadFailure | None = None,
) -> Any:  # noqa: ANN401 - tf.data.Dataset
    """Make the batches of one epoch: every sample exactly once, in an order given by (seed, epoch) alone.

    Args:
        dataset: Directory of a dataset.
        split: Split to read.
        batch_size: Samples in a batch; the last batch holds the remainder.
        seed: Seed of order and augmentation.
        epoch: Number of the epoch, from 0.
        skip_batches: Number of batches to skip at the start of the epoch. Their shards are read, but their
            pictures are not decoded.
        augmentation: Random changes to the pictures. They are drawn here, but applied in the training step, by
            `network.augment.augmented`.
        soft_labels: Folder with soft labels of the split; None for none.
        part: (index, count), to read only this process' equal part of every batch. The last batch is then
            padded with black pictures, and a third tensor weighs the samples: (B,) float32, 0 for padding, and
            otherwise scaled so that the mean over the batch is the mean over its samples.
        failure: Holder for an exception of this program inside the graph (`read_errors.reading_errors`).

    Returns:
        tf.data.Dataset of (images (B, S, S, 3) uint8 RGB, labels (B, T) float32), of known length. With an
        augmentation, (images, changes (B, len(PictureChange)) float32) takes the place of the images.

    Raises:
        DamagedError: A shard is missing or has the wrong size.
        DataError: The split is empty.
    """
    source = open_source(dataset, split, soft_labels=soft_labels)
    index, count = part or (0, 1)
    remaining = max(0, source.samples - skip_batches * batch_size)
    batches = -(-remaining // batch_size)

    data = samples_in_epoch_order(source, seed=seed, epoch=epoch, failure=failure or ReadFailure())
    # To where the run stopped, and to the samples of this process; both before anything is decoded.
    data = data.skip(skip_batches * batch_size)
    data = data.shard(count, index) if part else data
    data = data.map(_preparation(source, augmentation, seed=seed_of(seed, epoch)), num_parallel_calls=AT_ONCE)
    data = _padded(data, batches * batch_size // count - len(range(index, remaining, count))) if part else data
    data = data.batch(batch_size // count)
    first_row = index * (batch_size // count)
    data = data.map(
        functools.partial(_finish, augmentation=augmentation, size=source.size, first_row=first_row)
    )
    data = data.apply(backend.tf.data.experimental.assert_cardinality(batches))
    if part:
        last_batch = remaining - (batches - 1) * batch_size
        data = _weighted(data, batches, last=batch_size / last_batch)
    else:
        data = data.map(lambda images, labels, _: (images, labels))
    return ready(data)


def _preparation(source: SplitSource, augmentation: Augmentation, *, seed: int) -> Any:  # noqa: ANN401
    """Make the function from an encoded sample to (image, labels, random numbers, may be mirrored, 1.0)."""
    tf = backend.tf
    names_side = tf.constant([*names_a_side([tag.name for tag in source.tags]), False])  # the last is padding

    def prepare(row: Any, content: Any) -> tuple[Any, ...]:  # noqa: ANN401 - tensors
        id_, _, _, indices, *soft = row
        image = decode_picture(row, content, source=source)
        labels = multi_hot(indices, tags=len(source.tags))
        if soft:
            labels = softened(labels, *soft)
        if augmentation == NO_AUGMENTATION:
            return image, labels, 0.0, False, 1.0
        may_mirror = tf.logical_not(tf.reduce_any(tf.gather(names_side, indices)))
        return image, labels, drawn(id_, seed=seed, alpha=augmentation.mixup), may_mirror, 1.0

    return prepare


def _finish(  # noqa: PLR0913 - the parts of a batch
    images: Any,  # noqa: ANN401 - tensors
    labels: Any,  # noqa: ANN401
    draws: Any,  # noqa: ANN401
    may_mirror: Any,  # noqa: ANN401
    is_sample: Any,  # noqa: ANN401
    *,
    augmentation: Augmentation,
    size: int,
    first_row: int,
) -> tuple[Any, ...]:
    """Make a batch of its samples: pictures, with their changes if there are any; labels (B, T); is_sample."""
    tf = backend.tf
    labels = tf.cast(drop_padding(labels), tf.float32)
    if augmentation == NO_AUGMENTATION:
        return images, labels, is_sample
    changes = changes_of(draws, may_mirror, is_sample, what=augmentation, size=size, first_row=first_row)
    if augmentation.mixup:
        labels = mixed_labels(labels, changes, first_row=first_row)
    return (images, changes), labels, is_sample


def _padded(samples: Any, count: int) -> Any:  # noqa: ANN401 - tf.data.Dataset
    """Append `count` black pictures without labels, which are no samples."""
    tf = backend.tf
    black = tuple(tf.zeros(spec.shape, spec.dtype) for spec in samples.element_spec)
    return samples.concatenate(tf.data.Dataset.from_tensors(black).repeat(count))


def _weighted(data: Any, batches: int, *, last: float) -> Any:  # noqa: ANN401 - tf.data.Dataset
    """Give the samples of the last batch the weight `last`, all others 1, and padding 0."""
    tf = backend.tf

    def weigh(number: Any, batch: tuple[Any, ...]) -> tuple[Any, ...]:  # noqa: ANN401 - tensors
        images, labels, is_sample = batch
        return images, labels, is_sample * tf.where(number == batches - 1, tf.constant(last, tf.float32), 1.0)

    return data.enumerate().map(weigh)


def evaluation_batches(dataset: Path, *, split: str, batch_size: int) -> Iterator[Batch]:
    """Read a split once, in the order of its shards and rows; every batch has `batch_size` rows.

    Raises:
        DamagedError: A shard is missing or has the wrong size, or a picture does not decode.
        DataError: The split is empty.
    """
    source, failure = open_source(dataset, split), ReadFailure()

    def prepare(row: Any, content: Any) -> tuple[Any, ...]:  # noqa: ANN401 - tensors
        image = decode_picture(row, content, source=source)
        return row[0], image, multi_hot(row[3], tags=len(source.tags))

    data = samples_in_order(source, source.shards, failure=failure)
    data = data.map(prepare, num_parallel_calls=AT_ONCE)
    data = data.batch(batch_size)
    data = data.map(lambda ids, images, labels: (ids, images, drop_padding(labels)))
    with reading_errors(dataset, split=split, failure=failure):
        for ids, images, labels in ready(data).as_numpy_iterator():
            yield Batch(
                images=_pad(images, batch_size),
                labels=_pad(labels, batch_size),
                ids=_pad(ids, batch_size),
                count=len(ids),
            )


def shard_pictures(source: SplitSource, shard: Shard, *, batch_size: int) -> Iterator[Uint8Array]:
    """Read the pictures of a shard in the order of its rows: (B, S, S, 3) uint8; the last batch is smaller.

    Raises:
        DamagedError: A picture does not decode.
    """
    failure = ReadFailure()
    data = samples_in_order(source, [shard], failure=failure)
    data = data.map(
        lambda row, content: decode_picture(row, content, source=source), num_parallel_calls=AT_ONCE
    )
    with reading_errors(source.dataset, split=source.split, failure=failure):
        yield from ready(data.batch(batch_size)).as_numpy_iterator()


def ids_of_batch(
    dataset: Path, *, split: str = "train", batch_size: int, seed: int, epoch: int, batch: int
) -> tuple[int, ...]:
    """Return the post numbers of the samples that `training_batches` yields as batch `batch` of an epoch."""
    source = open_source(dataset, split)
    data = samples_in_epoch_order(source, seed=seed, epoch=epoch, failure=ReadFailure())
    data = data.skip(batch * batch_size).take(batch_size).map(lambda row, _content: row[0])
    return tuple(int(id_) for id_ in data.as_numpy_iterator())


def ready(batches: Any) -> Any:  # noqa: ANN401 - tf.data.Dataset
    """Make a chain of batches ready to be read: a few are prefetched, and tf.data tunes nothing itself."""
    options = backend.tf.data.Options()
    # To choose these numbers itself, tf.data times every step of every sample, which costs 5 % of decoding it.
    options.autotune.enabled = False
    return batches.prefetch(_READY).with_options(options)


def multi_hot(indices: Any, *, tags: int) -> Any:  # noqa: ANN401 - tensors
    """Make labels (T + 1,) uint8 of label indices; the last element belongs to padding (`drop_padding`)."""
    tf = backend.tf
    # One op per sample; dropping the last element and casting are cheaper on a whole batch.
    return tf.raw_ops.SparseToDense(
        sparse_indices=indices,
        output_shape=tf.constant([tags + 1], tf.int64),
        sparse_values=tf.constant(1, tf.uint8),
        default_value=tf.constant(0, tf.uint8),
        validate_indices=False,  # padding occurs more than once
    )


def drop_padding(labels: Any) -> Any:  # noqa: ANN401 - tensors
    """Drop the column of padding from a batch of `multi_hot` labels: (B, T + 1) to (B, T)."""
    return labels[:, :-1]


def _pad(rows: npt.NDArray[Any], batch_size: int) -> npt.NDArray[Any]:
    missing = batch_size - len(rows)
    if not missing:
        return rows
    return np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)])
