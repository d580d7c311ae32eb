"""Shards to encoded samples: the reading half of the input pipeline.

A shard is read whole, and its pictures are cut out of it inside the graph at the offsets of its metadata
table; Python runs once per shard. The order of the samples is a pure function of (seed, epoch, shard).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.arrays import Int64Array
from alti2v.dataset.check.checksums import check_shards
from alti2v.dataset.manifest import Shard, check_labels, read_manifest, read_metadata, read_vocabulary
from alti2v.dataset.shard_cache import hold
from alti2v.errors import Alti2vError, DataError, UsageError
from alti2v.model import backend
from alti2v.model.data.shard_rows import padded
from alti2v.model.data.soft_labels import read_soft_labels
from alti2v.pictures.recipe import ORIGINAL, OWN_SHAPE_FITS
from alti2v.records import Tag

# Shards whose samples are mixed. Each is in memory as a whole, two more are being read or are waiting, and
# the last pictures of one are still being decoded: with 10,000 samples of 25 kB that is at most 7 x 250 MB,
# for any number of shards.
SHARDS_IN_FLIGHT = 4
_READS_AHEAD = 2  # an epoch begins when the first four have been read
SHARDS_IN_MEMORY = SHARDS_IN_FLIGHT + _READS_AHEAD + 1


@dataclass(frozen=True, slots=True)
class SplitSource:
    """A split that can be read.

    Attributes:
        dataset: Directory of the dataset.
        split: Name of the split.
        size: Side of the squares that a model takes, px.
        is_square: True if the pictures are such squares; False to letterbox them.
        tags: Vocabulary of the dataset.
        shards: Shards of the split, checked for existence and size.
        soft_labels: Folder with soft labels of its pictures; None for none.
    """

    dataset: Path
    split: str
    size: int
    tags: tuple[Tag, ...]
    shards: tuple[Shard, ...]
    is_square: bool = True
    soft_labels: Path | None = None

    @property
    def samples(self) -> int:
        """Number of samples."""
        return sum(shard.samples for shard in self.shards)


class ReadFailure:
    """Holder of an exception that was raised inside the graph, where TensorFlow would turn it into text."""

    def __init__(self) -> None:
        """Start without an exception."""
        self.error: Alti2vError | None = None

    def hold(self, read: Callable[[np.int64], tuple[Any, ...]]) -> Callable[[np.int64], tuple[Any, ...]]:
        """Wrap a function for `tf.numpy_function` so that its exception is held."""

        def guarded(number: np.int64) -> tuple[Any, ...]:
            try:
                return read(number)
            except Alti2vError as exc:
                self.error = exc
                raise

        return guarded


def open_source(dataset: Path, split: str, *, soft_labels: Path | None = None) -> SplitSource:
    """Open a split of a dataset that models can read.

    Raises:
        UsageError: The pictures are not letterboxed or are not JPEGs.
        DamagedError: A shard is missing or has the wrong size.
        DataError: The split is empty.
    """
    manifest = read_manifest(dataset)
    # What tagging and the exports do with pictures, or what can become it.
    if manifest.image.fit not in ("letterbox", *OWN_SHAPE_FITS):
        raise UsageError(
            f"{dataset} has pictures fitted by {manifest.image.fit}, and models take letterbox: "
            "build it with --fit letterbox"
        )
    if manifest.image.format != "JPEG":  # what the graph decodes
        is_original = manifest.image.format == ORIGINAL
        stored, option = (
            ("as they came", "--keep-original") if is_original else (f"as {manifest.image.format}", "--format")
        )
        raise UsageError(
            f"{dataset} has pictures stored {stored}, and models read JPEG: build it without {option}"
        )
    shards = manifest.split(split)
    if not manifest.samples(split):
        raise DataError(f"{dataset} has no {split} pictures: build it with a {split} split")
    check_shards(dataset, shards)
    return SplitSource(
        dataset=dataset,
        split=split,
        size=manifest.image.size,
        tags=read_vocabulary(dataset),
        shards=shards,
        is_square=not manifest.image.keeps_shape,
        soft_labels=soft_labels,
    )


# Order ------------------------------------------------------------------------------------------


def epoch_order(seed: int, epoch: int, shards: int) -> Int64Array:
    """Return the order of the shards in an epoch: their numbers, (N,)."""
    return np.random.default_rng([seed, epoch]).permutation(shards)


def row_order(seed: int, epoch: int, shard: int, rows: int) -> Int64Array:
    """Return the order of a shard's rows in an epoch: their numbers, (N,)."""
    return np.random.default_rng([seed, epoch, shard]).permutation(rows)


def _staggered(shards: Sequence[Shard]) -> list[tuple[Shard, slice]]:
    """Cut some of the first shards in two, so that shards read in parallel do not end at the same time.

    Otherwise their successors would also begin and end together, and a GPU would wait until all of them are
    read. The first shards begin with a quarter, a half and three quarters of their rows; the rest of each
    comes last.
    """
    wholes = [(shard, slice(None)) for shard in shards]
    if len(shards) <= SHARDS_IN_FLIGHT:
        return wholes
    first = shards[: SHARDS_IN_FLIGHT - 1]
    cuts = [shard.samples * place // SHARDS_IN_FLIGHT for place, shard in enumerate(first, 1)]
    begins = [(shard, slice(cut)) for shard, cut in zip(first, cuts, strict=True)]
    rests = [(shard, slice(cut, None)) for shard, cut in zip(first, cuts, strict=True)]
    return [*begins, *wholes[len(first) :], *rests]


# Samples: tf.data.Dataset of ((id, offset, size, label indices), content of the shard); with soft labels, the
# row ends with (indices of tags, probabilities). ---------------------------------------------------


def samples_in_epoch_order(source: SplitSource, *, seed: int, epoch: int, failure: ReadFailure) -> Any:  # noqa: ANN401
    """tf.data.Dataset of the split's encoded samples in the order of an epoch."""
    order = _staggered([source.shards[number] for number in epoch_order(seed, epoch, len(source.shards))])

    def rows(place: int) -> Int64Array:
        shard, part = order[place]
        return row_order(seed, epoch, shard.name.number, shard.samples)[part]

    data = _whole_shards(source, [shard for shard, _ in order], rows=rows, failure=failure)
    # A few shards at a time, each already in random order: this mixes as well as a shuffle buffer of all their
    # pictures, needs no second copy of them, and has no state to save.
    return data.interleave(_samples_of, cycle_length=SHARDS_IN_FLIGHT, block_length=1)


def samples_in_order(source: SplitSource, shards: Sequence[Shard], *, failure: ReadFailure) -> Any:  # noqa: ANN401
    """tf.data.Dataset of the encoded samples of some shards, in the order of their rows."""
    return _whole_shards(source, shards, rows=None, failure=failure).flat_map(_samples_of)


def _whole_shards(
    source: SplitSource,
    shards: Sequence[Shard],
    *,
    rows: Callable[[int], Int64Array] | None,
    failure: ReadFailure,
) -> Any:  # noqa: ANN401
    """tf.data.Dataset of (content, ids, offsets, sizes, labels, ...), one element per shard; see `_columns`.

    `rows` returns the numbers and the order of a shard's rows; None for all of them in their order.
    """
    tf = backend.tf
    dataset = source.dataset
    paths = [str(dataset / shard.name.data) for shard in shards]

    types = [tf.int64] * 4 + ([] if source.soft_labels is None else [tf.int64, tf.float32])

    def read_columns(place: np.int64) -> tuple[npt.NDArray[Any], ...]:
        shard = shards[int(place)]
        hold(dataset, shard)
        chosen = None if rows is None else rows(int(place))
        columns = _columns(dataset, shard, chosen, tags=len(source.tags))
        if source.soft_labels is None:
            return columns
        soft = read_soft_labels(source.soft_labels, shard, chosen, tags=len(source.tags))
        return *columns, soft.tags, soft.probabilities

    def columns(place: Any, path: Any) -> tuple[Any, ...]:  # noqa: ANN401 - tensors
        read = failure.hold(read_columns)
        columns = tf.numpy_function(read, [place], types, stateful=False)
        for number, column in enumerate(columns):
            column.set_shape([None] if number < 3 else [None, None])
        return path, *columns

    def read(path: Any, *columns: Any) -> tuple[Any, ...]:  # noqa: ANN401 - tensors
        return tf.io.read_file(path), *columns

    data = tf.data.Dataset.from_tensor_slices((np.arange(len(shards)), paths))
    # The tables first, one by one: this also downloads the shard if it is remote.
    data = data.map(columns, num_parallel_calls=1)
    return data.map(read, num_parallel_calls=_READS_AHEAD)


def _columns(dataset: Path, shard: Shard, rows: Int64Array | None, *, tags: int) -> tuple[Int64Array, ...]:
    """Read the columns that training needs: ids, offsets, sizes (N,), and label indices (N, L).

    Rows with fewer than L labels are padded with `tags`, which is no tag's index.

    Raises:
        DamagedError: The table is not of this shard, or a number is outside its bounds.
    """
    columns = read_metadata(dataset, shard, ("id", "offset", "size", "labels"))
    check_labels(dataset / shard.name.metadata, columns, tags=tags)
    if rows is not None:
        columns = columns.take(rows)
    labels = columns.column("labels").combine_chunks()
    indices = padded(labels, with_=tags, dtype=np.int64)
    return *(columns.column(name).to_numpy() for name in ("id", "offset", "size")), indices


def _samples_of(content: Any, *columns: Any) -> Any:  # noqa: ANN401 - tensors -> tf.data.Dataset
    """tf.data.Dataset of the samples of one shard.

    All of them share the shard's bytes, and nothing runs per sample: a picture is cut out where it is decoded,
    on all cores in parallel.
    """
    tf = backend.tf
    rows = tf.data.Dataset.from_tensor_slices(columns)
    return tf.data.Dataset.zip(rows, tf.data.Dataset.from_tensors(content).repeat())


def decode_picture(row: Any, content: Any, *, source: SplitSource) -> Any:  # noqa: ANN401 - tensors
    """Cut the picture of a row out of its shard and decode it: (S, S, 3) uint8, RGB."""
    _, offset, length, *_ = row
    return decode_jpeg(backend.tf.strings.substr(content, offset, length), source=source)


def decode_jpeg(content: Any, *, source: SplitSource) -> Any:  # noqa: ANN401 - tensors
    """Decode a picture of the dataset: (S, S, 3) uint8, RGB; letterbox it if it has its own shape."""
    tf = backend.tf
    # The accurate DCT is Pillow's, so that a picture that is tagged later looks like one that was trained on.
    image = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
    image = image if source.is_square else letterboxed(image, size=source.size)
    return tf.ensure_shape(image, (source.size, source.size, 3))


def letterboxed(image: Any, *, size: int) -> Any:  # noqa: ANN401 - tensors
    """Resize a picture, (H, W, 3) uint8, to fill a white square: (S, S, 3) uint8, as `pictures.square` does."""
    tf = backend.tf
    sides = tf.shape(image)[:2]
    scale = size / tf.reduce_max(sides)
    target = tf.maximum(tf.cast(tf.round(tf.cast(sides, tf.float64) * scale), tf.int32), 1)

    def resized() -> Any:  # noqa: ANN401 - tensor
        floats = tf.image.resize(image, target, method="bicubic", antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(floats), 0, 255), tf.uint8)

    image = tf.cond(tf.reduce_all(target == sides), lambda: image, resized)
    above, left = (size - target[0]) // 2, (size - target[1]) // 2
    borders = [[above, size - target[0] - above], [left, size - target[1] - left], [0, 0]]
    return tf.pad(image, borders, constant_values=tf.constant(255, tf.uint8))
