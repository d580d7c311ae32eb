"""The head on the frozen backbone as a baseline: its file in a run, and its probabilities for a split.

The features of the splits were stored when the head was trained, so that the backbone's first weights are not
needed any more.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from alti2v.arrays import Float32Array, Uint8Array, sigmoid
from alti2v.dataset.manifest import Manifest, Shard
from alti2v.errors import DamagedError, first_line
from alti2v.model.evaluation.histograms import Histograms, add_predictions, empty_histograms, pool
from alti2v.model.evaluation.metrics import Scores, equal_precision_recall_threshold, score_tags, summarise
from alti2v.model.evaluation.predict import CommonTags
from alti2v.storage.layout import FEATURES_DIR, FROZEN_HEAD_FILE
from alti2v.storage.publish import publish

FEATURES_COLUMN = "features"
_ROWS = 1_000  # read at a time, of pooled features
# What zipfile and NumPy raise for damaged files, as in `training.checkpoints`.
_DAMAGE = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenHead:
    """Weights of a head: pooled output of the backbone -> features -> logits.

    Attributes:
        features_kernel: (C, F) float32.
        features_bias: (F,) float32.
        logits_kernel: (F, T) float32.
        logits_bias: (T,) float32.
    """

    features_kernel: Float32Array
    features_bias: Float32Array
    logits_kernel: Float32Array
    logits_bias: Float32Array

    def __post_init__(self) -> None:
        (channels, features), tags = self.features_kernel.shape, len(self.logits_bias)
        shapes = ((channels, features), (features,), (features, tags), (tags,))
        for field, shape in zip(fields(self), shapes, strict=True):
            array = getattr(self, field.name)
            if array.shape != shape or array.dtype != np.float32:
                raise ValueError(f"{field.name} is {array.dtype} {array.shape}, not float32 {shape}")

    def probabilities(self, pooled: Float32Array) -> Float32Array:
        """Compute the probabilities (B, T) float32 of pooled outputs of the backbone (B, C)."""
        features = np.maximum(pooled @ self.features_kernel + self.features_bias, 0)
        return sigmoid(features @ self.logits_kernel + self.logits_bias)


def write_frozen_head(run: Path, head: FrozenHead) -> None:
    """Publish the head in a run.

    Raises:
        StorageError: The disk refuses.
    """

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **{field.name: getattr(head, field.name) for field in fields(head)})

    publish(run / FROZEN_HEAD_FILE, write)


def read_frozen_head(run: Path, *, tags: int) -> FrozenHead | None:
    """Read the head of a run; None if it has none.

    Args:
        run: Directory of the run.
        tags: Number of tags that it must have.

    Raises:
        DamagedError: The file is damaged.
    """
    path = run / FROZEN_HEAD_FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            head = FrozenHead(**{field.name: archive[field.name] for field in fields(FrozenHead)})
        if len(head.logits_bias) != tags:
            raise ValueError(f"{len(head.logits_bias)} tags, not {tags}")
    except _DAMAGE as exc:
        raise DamagedError(
            f"{path} is damaged ({first_line(exc):.150}): remove it, and evaluate again"
        ) from exc
    return head


def score_frozen_head(
    run: Path, head: FrozenHead, manifest: Manifest, common: CommonTags, *, split: str, min_positives: int
) -> Scores:
    """Score the head on a split of its own dataset, at its own threshold on the validation split.

    Args:
        run: Directory of the run, with the features of the dataset.
        head: Its head.
        manifest: Manifest of the dataset of the training.
        common: The tags to score.
        split: One of `SPLITS`.
        min_positives: Positive pictures that a tag needs to count in the mean average precision.

    Raises:
        DamagedError: The features of a shard are missing or damaged.
    """
    found = _count(run, head, manifest.split(split), common)
    tuned = _count(run, head, manifest.split("validation"), common) if manifest.samples("validation") else found
    threshold = equal_precision_recall_threshold(pool(tuned))
    return summarise(found, score_tags(found, threshold=threshold), min_positives=min_positives)


def _count(run: Path, head: FrozenHead, shards: Sequence[Shard], common: CommonTags) -> Histograms:
    histograms = empty_histograms(len(common.tags))
    channels, tags = len(head.features_kernel), len(head.logits_bias)
    for shard in shards:
        file = run / FEATURES_DIR / f"{shard.name}.parquet"
        try:
            for pooled, labels in stored_features(file, rows=shard.samples, width=channels, tags=tags):
                predicted = head.probabilities(pooled)[:, common.outputs]
                add_predictions(histograms, predicted, labels[:, common.labels])
        except DamagedError as exc:
            raise DamagedError(
                f"{exc}: remove {run / FROZEN_HEAD_FILE}, and evaluate again without the frozen head"
            ) from exc
    return histograms


def stored_features(
    file: Path, *, rows: int, width: int | None = None, tags: int, batch_size: int = _ROWS
) -> Iterator[tuple[npt.NDArray[np.floating], Uint8Array]]:
    """Read the stored features (N, C) and the labels (N, T) of a shard, at most `batch_size` rows at a time.

    Raises:
        DamagedError: The file is missing or damaged, or has another number of rows or of features.
    """
    read = 0
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as stored:
            for part in stored.iter_batches(batch_size, columns=[FEATURES_COLUMN, "labels"]):
                features = part.column(FEATURES_COLUMN).flatten().to_numpy().reshape(len(part), width or -1)
                lists = part.column("labels")
                counts = np.diff(lists.offsets.to_numpy())
                labels = np.zeros((len(part), tags), np.uint8)
                labels[np.repeat(np.arange(len(part)), counts), lists.flatten().to_numpy()] = 1
                read += len(part)
                yield features, labels
        if read != rows:
            raise ValueError(f"{read} rows, not {rows}")
    except (OSError, KeyError, IndexError, ValueError, pa.ArrowException) as exc:
        raise DamagedError(f"{file} is missing or damaged ({first_line(exc):.150})") from exc
