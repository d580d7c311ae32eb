"""Predictions of a saved model for a split of a dataset, with tags matched by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alti2v.arrays import Float64Array, Int64Array
from alti2v.dataset.manifest import Manifest, read_manifest, read_vocabulary
from alti2v.errors import DataError, UsageError
from alti2v.model.data.pipeline import evaluation_batches
from alti2v.model.evaluation.scoring import Predictions
from alti2v.model.saved_model import SavedModel
from alti2v.records import Progress, ProgressHook, Tag, composed


@dataclass(frozen=True, slots=True)
class CommonTags:
    """The tags that a model and a dataset have in common, in the order of the model.

    Attributes:
        tags: The T common tags.
        outputs: (T,) int64, their indices among the model's outputs.
        labels: (T,) int64, their indices among the dataset's labels.
    """

    tags: tuple[Tag, ...]
    outputs: Int64Array
    labels: Int64Array


def dataset_of(model: SavedModel, run: Path, dataset: Path | None) -> Path:
    """Return the given dataset, or the one that the model was trained on.

    Raises:
        UsageError: The latter does not exist any more.
    """
    if dataset is not None:
        return dataset
    trained_on = Path(model.dataset)
    if not trained_on.is_dir():
        raise UsageError(f"{trained_on}, which {run} was trained on, does not exist: give --dataset")
    return trained_on


def open_split(dataset: Path, model: SavedModel, *, split: str) -> Manifest:
    """Read the manifest of a dataset, and check that the model can be evaluated on a split of it.

    Raises:
        UsageError: The pictures do not have the model's size.
        DataError: The split is empty.
    """
    manifest = read_manifest(dataset)
    if manifest.image.size != model.size:
        raise UsageError(
            f"{dataset} has pictures of {manifest.image.size} px, the model takes {model.size} px: "
            f"build it with --size {model.size}"
        )
    if not manifest.samples(split):
        raise DataError(
            f"{dataset} has no {split} pictures: give another --split or build it with a {split} split"
        )
    return manifest


def common_tags(tags: Sequence[Tag], dataset: Path) -> CommonTags:
    """Match the tags of a model and a dataset by name.

    Raises:
        UsageError: There is no common tag.
    """
    label_of = {composed(tag.name): label for label, tag in enumerate(read_vocabulary(dataset))}
    outputs = [output for output, tag in enumerate(tags) if composed(tag.name) in label_of]
    if not outputs:
        raise UsageError(f"{dataset} and the model have no tag in common: give another --dataset")
    return CommonTags(
        tags=tuple(tags[output] for output in outputs),
        outputs=np.array(outputs),
        labels=np.array([label_of[composed(tags[output].name)] for output in outputs]),
    )


def frequencies_of(tags: Sequence[Tag], *, train_samples: int) -> Float64Array:
    """Return the share of the training pictures that carry each tag, (T,): the baseline's probabilities."""
    return np.clip([tag.count / train_samples for tag in tags], 0.0, 1.0)


def predict(
    model: SavedModel,
    dataset: Path,
    common: CommonTags,
    *,
    split: str,
    batch_size: int,
    progress: ProgressHook,
) -> Iterator[Predictions]:
    """Predict the tags of every picture of a split, in the dataset's order; report each batch."""
    total, stage = read_manifest(dataset).samples(split), f"evaluating {split}"
    progress(Progress(stage=stage, done=0, total=total, unit="pictures"))
    done = 0
    for batch in evaluation_batches(dataset, split=split, batch_size=batch_size):
        probabilities = np.asarray(model.network.predict_on_batch(batch.images)["probabilities"], np.float32)
        rows = slice(batch.count)
        yield Predictions(
            images=batch.images[rows],
            labels=batch.labels[rows][:, common.labels],
            ids=batch.ids[rows],
            probabilities=probabilities[rows][:, common.outputs],
        )
        done += batch.count
        progress(Progress(stage=stage, done=done, total=total, unit="pictures"))
