"""From shards to batches: one linear tf.data chain, without Python in the path of a sample.

A shard is read whole, and its pictures are cut out of it inside the graph at the offsets of its metadata
table; Python runs once per shard. Order and augmentation are pure functions of (seed, epoch, shard, picture),
so a killed run finds its place again by counting, and nothing of the pipeline has to be saved.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alti2v.dataset.check.checksums import check_shards
from alti2v.dataset.manifest import ORIGINAL, Shard, read_manifest, read_vocabulary
from alti2v.dataset.shard_cache import hold
from alti2v.errors import DamagedError, DataError, UsageError
from alti2v.model import backend
from alti2v.model.data.augment import augmented, mixed, mixing_share, names_a_side, seed_of
from alti2v.model.recipes import NO_AUGMENTATION, Augmentation
from alti2v.storage.layout import METADATA
from alti2v.storage.table import read_table

if TYPE_CHECKING:
    import numpy.typing as npt

# Shards whose samples are mixed. Each is in memory as a whole, two more are being read or wait, and the last
# pictures of one are still being decoded: with 10,000 samples of 25 kB that is at most 7 x 250 MB, whatever the
# number of shards.
SHARDS_IN_FLIGHT = 4
_READ_AT_ONCE = 2  # an epoch begins when the first four are there
SHARDS_IN_MEMORY = SHARDS_IN_FLIGHT + _READ_AT_ONCE + 1
# Samples that are prepared at a time, more than there are cores, and batches that wait to be asked for.
AT_ONCE, _READY = max(64, os.cpu_count() or 1), 4
# When pictures do not decode: how many are looked for, how many a message names, how many are read at a time.
_MOST_BROKEN, _NAMED, _LOOKED_AT = 100, 8, 256


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples in the order of the dataset.

    Attributes:
        images: (B, S, S, 3) uint8, RGB.
        labels: (B, T) uint8, 1 where the picture carries the tag.
        ids: (B,) int64, the board's post numbers.
        count: how many rows are samples; those after are padding, all zero.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    ids: npt.NDArray[np.int64]
    count: int


def training_batches(  # noqa: PLR0913 - an epoch, a place in it, and what is done to its samples
    dataset: Path,
    *,
    split: str = "train",
    batch_size: int,
    seed: int,
    epoch: int = 0,
    skip_batches: int = 0,
    augmentation: Augmentation = NO_AUGMENTATION,
    part: tuple[int, int] | None = None,
) -> Any:  # noqa: ANN401 - tf.data.Dataset
    """One epoch, every sample exactly once, in an order that depends on (seed, epoch) alone.

    Args:
        dataset: directory of a dataset.
        split: which part of it.
        batch_size: samples in a batch; the last one has what is left.
        seed: of order and augmentation.
        epoch: counted from 0.
        skip_batches: how many batches of the epoch to leave out at its start. Their shards are read, their
            pictures are not decoded.
        augmentation: what to change at random.
        part: (index, count): only this process' equal part of every batch. The last batch is filled up with
            black pictures, and a third tensor says how much each sample counts: (B,) float32, 0 for those, and
            for the others what makes the mean over the batch one over the samples.

    Returns:
        tf.data.Dataset of (images (B, S, S, 3) uint8 RGB, labels (B, T) float32), of known length.

    Raises:
        DamagedError: a shard is missing or has another size.
        DataError: the split is empty.
    """
    tf = backend.tf
    size, tags, shards = _open(dataset, split)
    samples_left = max(0, sum(shard.samples for shard in shards) - skip_batches * batch_size)

    data = _in_order(dataset, shards, tags=tags, seed=seed, epoch=epoch)
    # Where a killed run stopped; before anything is decoded.
    data = data.skip(skip_batches * batch_size)
    last_batch = samples_left % batch_size or batch_size
    if part is not None:
        none = tf.constant(0, tf.int64)
        nobody = tf.data.Dataset.from_tensors(((none - 1, none, none, tf.zeros([0], tf.int64)), b""))
        data = data.concatenate(nobody.repeat(batch_size - last_batch))
        data = data.enumerate().shard(part[1], part[0])
    names = tuple(tag.name for tag in read_vocabulary(dataset))
    keeps_its_side = tf.constant([*names_a_side(names), False])  # the last one is padding
    base = seed_of(seed, epoch)

    def prepare(row: Any, content: Any) -> tuple[Any, ...]:  # noqa: ANN401 - tensors
        id_, offset, length, indices = row
        image = _decode(tf.strings.substr(content, offset, length), size=size)
        labels = multi_hot(indices, tags=tags)
        if augmentation != NO_AUGMENTATION:
            may_flip = tf.logical_not(tf.reduce_any(tf.gather(keeps_its_side, indices)))
            image = augmented(image, id_, what=augmentation, seed=base, may_flip=may_flip)
        share = mixing_share(id_, alpha=augmentation.mixup, seed=base) if augmentation.mixup else 1.0
        return image, labels, share, 1.0

    def prepare_part(number: Any, sample: tuple[Any, Any]) -> Any:  # noqa: ANN401 - tensors
        is_last = number >= samples_left - last_batch
        weight = tf.where(is_last, tf.constant(batch_size / last_batch, tf.float32), 1.0)
        return tf.cond(
            sample[0][0] < 0,
            lambda: (tf.zeros((size, size, 3), tf.uint8), tf.zeros((tags + 1,), tf.uint8), 1.0, 0.0),
            lambda: (*prepare(*sample)[:3], weight),
        )

    def finish(images: Any, labels: Any, shares: Any, weights: Any) -> tuple[Any, ...]:  # noqa: ANN401 - tensors
        labels = floats(labels)
        if augmentation.mixup:
            count = tf.math.count_nonzero(weights, dtype=tf.int32)
            images, labels = mixed(images, labels, shares, count)
        return (images, labels) if part is None else (images, labels, weights)

    data = data.map(prepare if part is None else prepare_part, num_parallel_calls=AT_ONCE)
    data = data.batch(batch_size // (1 if part is None else part[1]))
    data = data.map(finish)
    data = data.apply(tf.data.experimental.assert_cardinality(-(-samples_left // batch_size)))
    return ready(data)


def ready(batches: Any) -> Any:  # noqa: ANN401 - tf.data.Dataset
    """The same batches, some of them made before they are asked for."""
    options = backend.tf.data.Options()
    # To choose these numbers itself, tf.data notes the time of every step of every sample: 5 % of decoding it.
    options.autotune.enabled = False
    return batches.prefetch(_READY).with_options(options)


def epoch_order(seed: int, epoch: int, shards: int) -> npt.NDArray[np.int64]:
    """The order of the shards in an epoch: their numbers, (N,)."""
    return np.random.default_rng([seed, epoch]).permutation(shards)


def row_order(seed: int, epoch: int, shard: int, rows: int) -> npt.NDArray[np.int64]:
    """The order of a shard's rows in an epoch: their numbers, (N,)."""
    return np.random.default_rng([seed, epoch, shard]).permutation(rows)


def pictures_of(
    dataset: Path, shard: Shard, *, batch_size: int
) -> Iterator[tuple[npt.NDArray[np.uint8], list[list[int]]]]:
    """Pictures (B, S, S, 3) and label indices of a shard in the order of its rows; the last batch is smaller.

    Raises:
        DamagedError: a picture does not decode.
    """
    tf = backend.tf
    size = read_manifest(dataset).image.size
    tags = len(read_vocabulary(dataset))
    data = _whole_shards(dataset, [shard], tags=tags).flat_map(_samples_of)
    data = data.map(
        lambda row, content: (_decode(tf.strings.substr(content, row[1], row[2]), size=size), row[3]),
        num_parallel_calls=AT_ONCE,
    )
    data = ready(data.batch(batch_size))
    with reading_errors(dataset, split=shard.name.split):
        for images, rows in data.as_numpy_iterator():
            yield images, [row[row < tags].tolist() for row in rows]


def ids_of_batch(
    dataset: Path, *, split: str = "train", batch_size: int, seed: int, epoch: int, batch: int
) -> tuple[int, ...]:
    """The board's post numbers of the samples that `training_batches` gives as batch `batch` of an epoch."""
    data = _in_order(dataset, _open(dataset, split)[2], tags=0, seed=seed, epoch=epoch)
    data = data.skip(batch * batch_size).take(batch_size).map(lambda row, _content: row[0])
    return tuple(int(id_) for id_ in data.as_numpy_iterator())


def evaluation_batches(dataset: Path, *, split: str, batch_size: int) -> Iterator[Batch]:
    """A split once, in the order of its shards and rows; every batch has `batch_size` rows.

    Raises:
        DamagedError: a shard is missing or has another size, or a picture does not decode.
        DataError: the split is empty.
    """
    tf = backend.tf
    size, tags, shards = _open(dataset, split)

    data = _whole_shards(dataset, shards, tags=tags)
    data = data.flat_map(_samples_of)
    data = data.map(
        lambda row, content: (
            row[0],
            _decode(tf.strings.substr(content, row[1], row[2]), size=size),
            multi_hot(row[3], tags=tags),
        ),
        num_parallel_calls=AT_ONCE,
    )
    data = ready(data.batch(batch_size))
    with reading_errors(dataset, split=split):
        for ids, images, labels in data.as_numpy_iterator():
            yield Batch(
                images=_pad(images, batch_size),
                labels=_pad(labels[:, :tags], batch_size),
                ids=_pad(ids, batch_size),
                count=len(ids),
            )


@contextlib.contextmanager
def reading_errors(dataset: Path, *, split: str) -> Iterator[None]:
    """Translate what the graph says about damaged bytes into a DamagedError of one line.

    Raises:
        DamagedError: a picture does not decode or has another size, or a file cannot be read.
    """
    errors = backend.tf.errors
    try:
        yield
    except (errors.InvalidArgumentError, errors.NotFoundError, errors.UnknownError) as exc:
        # An exception of `_rows` comes through the graph as text.
        ours = re.search(r"(?:Damaged|Version|Storage)Error: (.+)", str(exc))
        if ours is not None:
            raise DamagedError(ours[1]) from exc
        reason = next((line for line in str(exc).splitlines() if line.strip()), "no reason given").strip()
        broken, count = broken_pictures(dataset, split=split)
        if not broken:
            raise DamagedError(
                f"{dataset}: a picture cannot be read ({reason:.200}): run `alti2v verify {dataset} --deep`"
            ) from exc
        named = ", ".join(map(str, broken[:_NAMED])) + (" ..." if len(broken) > _NAMED else "")
        raise DamagedError(
            f"{dataset}: {len(broken)} of {count:,} {split} pictures cannot be read: {named}; take them out "
            f"with `alti2v remove {dataset} --ids FILE`, or see `alti2v verify {dataset} --deep`"
        ) from exc


def broken_pictures(dataset: Path, *, split: str, most: int = _MOST_BROKEN) -> tuple[tuple[int, ...], int]:
    """Look for pictures of a split that do not decode, or are not of the dataset's size.

    Args:
        dataset: directory of a dataset.
        split: which part of it.
        most: after how many of them to stop.

    Returns:
        The board's post numbers of those found, and how many pictures were looked at.
    """
    tf = backend.tf
    size, tags, shards = _open(dataset, split)

    def whole(id_: Any, content: Any) -> tuple[int, bool]:  # noqa: ANN401 - tensors
        try:
            _decode(content, size=size)
        except (tf.errors.InvalidArgumentError, ValueError):
            return int(id_), False
        return int(id_), True

    broken, count = [], 0
    data = _whole_shards(dataset, shards, tags=tags).flat_map(_samples_of)
    data = data.map(lambda row, content: (row[0], tf.strings.substr(content, row[1], row[2])))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for batch in data.batch(_LOOKED_AT):
            for id_, is_whole in threads.map(whole, *batch):
                count += 1
                if not is_whole:
                    broken.append(id_)
            if len(broken) >= most:
                break
    return tuple(broken), count


def _open(dataset: Path, split: str) -> tuple[int, int, tuple[Shard, ...]]:
    """Side in px, number of tags, and the checked shards of a split."""
    manifest = read_manifest(dataset)
    if manifest.image.fit != "letterbox":  # what `tag` and the exports do with pictures
        raise UsageError(
            f"{dataset} has pictures fitted by {manifest.image.fit}, and models take letterbox: "
            "build it with --fit letterbox"
        )
    if manifest.image.format != "JPEG":  # what the graph decodes
        kept = manifest.image.format == ORIGINAL
        stored, option = (
            ("as they came", "--keep-original") if kept else (f"as {manifest.image.format}", "--format")
        )
        raise UsageError(
            f"{dataset} has pictures stored {stored}, and models read JPEG: build it without {option}"
        )
    shards = manifest.split(split)
    if not manifest.samples(split):
        raise DataError(f"{dataset} has no {split} samples: build it with a {split} split")
    check_shards(dataset, shards)
    return manifest.image.size, len(read_vocabulary(dataset)), shards


def _in_order(dataset: Path, shards: Sequence[Shard], *, tags: int, seed: int, epoch: int) -> Any:  # noqa: ANN401
    """tf.data.Dataset of what `_samples_of` gives: an epoch's samples in its order."""
    in_order = _spread([shards[number] for number in epoch_order(seed, epoch, len(shards))])

    def rows(place: int) -> npt.NDArray[np.int64]:
        shard, part = in_order[place]
        return row_order(seed, epoch, shard.name.number, shard.samples)[part]

    data = _whole_shards(dataset, [shard for shard, _ in in_order], tags=tags, rows=rows)
    # Some of them at a time, each already in an order of its own: that mixes as well as a shuffle buffer of all
    # their pictures, needs no second copy of them, and has no state to save.
    return data.interleave(_samples_of, cycle_length=SHARDS_IN_FLIGHT, block_length=1)


def _spread(shards: Sequence[Shard]) -> list[tuple[Shard, slice]]:
    """The same shards, all but some of the first ones in one part, so that their ends do not meet.

    Those that begin together would end together, and so would their successors; a GPU would have to wait until
    all of them are read. So the first ones begin with a quarter, a half and three quarters of their rows; what
    is left of these comes last.
    """
    wholes = [(shard, slice(None)) for shard in shards]
    if len(shards) <= SHARDS_IN_FLIGHT:
        return wholes
    early = shards[: SHARDS_IN_FLIGHT - 1]
    cuts = [shard.samples * place // SHARDS_IN_FLIGHT for place, shard in enumerate(early, 1)]
    begins = [(shard, slice(cut)) for shard, cut in zip(early, cuts, strict=True)]
    rests = [(shard, slice(cut, None)) for shard, cut in zip(early, cuts, strict=True)]
    return [*begins, *wholes[len(early) :], *rests]


def _whole_shards(
    dataset: Path,
    shards: Sequence[Shard],
    *,
    tags: int,
    rows: Callable[[int], npt.NDArray[np.int64]] | None = None,
) -> Any:  # noqa: ANN401
    """tf.data.Dataset of (content, ids, offsets, sizes, labels), an element per shard; see `_rows`.

    `rows` tells the numbers of those that are wanted of each, in the wanted order; all where not given.
    """
    tf = backend.tf
    paths = [str(dataset / shard.name.data) for shard in shards]

    def columns_of(place: np.int64) -> tuple[npt.NDArray[np.int64], ...]:
        shard = shards[int(place)]
        hold(dataset, shard)
        return _rows(dataset / shard.name.metadata, None if rows is None else rows(int(place)), tags=tags)

    def columns(place: Any, path: Any) -> tuple[Any, ...]:  # noqa: ANN401 - tensors
        *columns, labels = tf.numpy_function(columns_of, [place], [tf.int64] * 4, stateful=False)
        for column in columns:
            column.set_shape([None])
        labels.set_shape([None, None])
        return path, *columns, labels

    def read(path: Any, *columns: Any) -> tuple[Any, ...]:  # noqa: ANN401 - tensors
        return tf.io.read_file(path), *columns

    data = tf.data.Dataset.from_tensor_slices((np.arange(len(shards)), paths))
    # The tables first, and one by one: then a shard is here, if it comes from elsewhere.
    data = data.map(columns, num_parallel_calls=1)
    return data.map(read, num_parallel_calls=_READ_AT_ONCE)  # ahead of who asks


def _rows(table: Path, wanted: npt.NDArray[np.int64] | None, *, tags: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Read the columns that training needs: ids, offsets, sizes (N,), and label indices (N, L).

    Rows with fewer than L labels are filled up with `tags`, which is no tag's index.
    """
    rows = read_table(table, METADATA, columns=("id", "offset", "size", "labels"))
    if wanted is not None:
        rows = rows.take(wanted)
    labels = rows.column("labels").combine_chunks()
    lengths = np.diff(labels.offsets.to_numpy())
    indices = np.full((len(rows), lengths.max(initial=0)), tags, np.int64)
    indices[np.arange(indices.shape[1]) < lengths[:, np.newaxis]] = labels.flatten().to_numpy()
    columns = [rows.column(name).to_numpy() for name in ("id", "offset", "size")]
    return *columns, indices


def _samples_of(content: Any, ids: Any, offsets: Any, sizes: Any, labels: Any) -> Any:  # noqa: ANN401
    """tf.data.Dataset of ((id, offset, size, label indices), content): the samples of one shard.

    All of them share the shard's bytes, and nothing runs per sample: a picture is cut out where it is decoded,
    by all cores at once.
    """
    tf = backend.tf
    rows = tf.data.Dataset.from_tensor_slices((ids, offsets, sizes, labels))
    return tf.data.Dataset.zip(rows, tf.data.Dataset.from_tensors(content).repeat())


def _decode(content: Any, *, size: int) -> Any:  # noqa: ANN401 - tensors
    """Image (S, S, 3) uint8, RGB."""
    tf = backend.tf
    # The accurate DCT is what Pillow uses: a file that is tagged later looks like one that was trained on.
    image = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(image, (size, size, 3))


def multi_hot(indices: Any, *, tags: int) -> Any:  # noqa: ANN401 - tensors
    """Labels (T + 1,) uint8, 1 at the indices; the last one is of those that are padding.

    One op for a sample: to cut the last one off and to make floats is cheaper for a batch at once, by `floats`.
    """
    tf = backend.tf
    return tf.raw_ops.SparseToDense(
        sparse_indices=indices,
        output_shape=tf.constant([tags + 1], tf.int64),
        sparse_values=tf.constant(1, tf.uint8),
        default_value=tf.constant(0, tf.uint8),
        validate_indices=False,  # padding comes more than once
    )


def floats(labels: Any) -> Any:  # noqa: ANN401 - tensors
    """What is learnt of labels (B, T + 1) as `multi_hot` gives them: (B, T) float32."""
    return backend.tf.cast(labels[:, :-1], backend.tf.float32)


def _pad(rows: npt.NDArray[Any], batch_size: int) -> npt.NDArray[Any]:
    missing = batch_size - len(rows)
    if not missing:
        return rows
    return np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)])
