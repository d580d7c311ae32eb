"""A network and a dataset become predictions: tags matched by name, padding cut off, progress told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alti2v.dataset.manifest import Manifest, read_manifest, read_vocabulary
from alti2v.errors import DataError, UsageError
from alti2v.model.data.pipeline import evaluation_batches
from alti2v.model.evaluation.scoring import Predictions
from alti2v.model.saved_model import SavedModel
from alti2v.records import Progress, ProgressHook, Tag


@dataclass(frozen=True, slots=True)
class CommonTags:
    """The tags that models and a dataset have in common, in the order of the first model.

    Attributes:
        tags: T of them.
        outputs: (M, T) int64, where they are among the outputs of each of the M models.
        labels: (T,) int64, where they are among the dataset's labels.
    """

    tags: tuple[Tag, ...]
    outputs: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]


def dataset_of(model: SavedModel, run: Path, dataset: Path | None) -> Path:
    """The dataset that was asked for, else the one that the model was trained on.

    Raises:
        UsageError: that one is not there.
    """
    found = dataset or Path(model.dataset)
    if dataset is None and not found.is_dir():
        raise UsageError(f"{found}, which {run} was trained on, is not there: give --dataset")
    return found


def open_split(dataset: Path, model: SavedModel, *, split: str) -> Manifest:
    """Read the manifest of a dataset that a model can look at.

    Raises:
        UsageError: its pictures have another size.
        DataError: the split is empty.
    """
    manifest = read_manifest(dataset)
    if manifest.image.size != model.size:
        raise UsageError(
            f"{dataset} has pictures of {manifest.image.size} px, the model takes {model.size} px: "
            f"build it with --size {model.size}"
        )
    if not manifest.samples(split):
        raise DataError(
            f"{dataset} has no {split} samples: give another --split or build it with a {split} split"
        )
    return manifest


def common_tags(models: Sequence[Sequence[Tag]], dataset: Path) -> CommonTags:
    """Match tags by name.

    Raises:
        UsageError: there is no common tag.
    """
    label_of = {tag.name: index for index, tag in enumerate(read_vocabulary(dataset))}
    output_of = [{tag.name: index for index, tag in enumerate(tags)} for tags in models]
    tags = tuple(tag for tag in models[0] if all(tag.name in places for places in (label_of, *output_of)))
    if not tags:
        models_ = "the model" if len(models) == 1 else "the models"
        raise UsageError(f"{dataset} and {models_} have no tag in common: give another --dataset")
    return CommonTags(
        tags=tags,
        outputs=np.array([[places[tag.name] for tag in tags] for places in output_of]),
        labels=np.array([label_of[tag.name] for tag in tags]),
    )


def predict(
    model: SavedModel,
    dataset: Path,
    common: CommonTags,
    *,
    index: int = 0,
    split: str,
    batch_size: int,
    progress: ProgressHook,
) -> Iterator[Predictions]:
    """Let the network look at every picture of a split, in the dataset's order.

    Args:
        model: the model.
        dataset: with pictures of the model's size.
        common: the tags to predict.
        index: row of the model in `common.outputs`.
        split: one of `SPLITS`.
        batch_size: pictures at a time.
        progress: told after each batch.
    """
    total, stage = read_manifest(dataset).samples(split), f"judging {split}"
    progress(Progress(stage=stage, done=0, total=total, unit="pictures"))
    done = 0
    for batch in evaluation_batches(dataset, split=split, batch_size=batch_size):
        found = np.asarray(model.network.predict_on_batch(batch.images)["probabilities"], np.float32)
        rows = slice(batch.count)
        yield Predictions(
            images=batch.images[rows],
            labels=batch.labels[rows][:, common.labels],
            ids=batch.ids[rows],
            probabilities=found[rows][:, common.outputs[index]],
        )
        done += batch.count
        progress(Progress(stage=stage, done=done, total=total, unit="pictures"))
