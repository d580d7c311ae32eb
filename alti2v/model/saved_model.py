"""A trained tagger as a folder: description, weights, tags.

The description says how to build the network, and the weights file holds numbers only, so loading a stranger's
folder does not run their code. Whole-model files (.keras, .h5, TensorFlow's SavedModel, pickles) are refused.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alti2v.errors import DamagedError, UsageError, first_line
from alti2v.model.network.backbones import application
from alti2v.model.network.build import LEVELS, Architecture, build_network
from alti2v.model.network.weights_file import weight_shapes
from alti2v.model.recipes import Head
from alti2v.model.trained_on import located, recorded
from alti2v.records import Category, Tag
from alti2v.storage.directory import DirectoryKind, described_kind, require_plain_files
from alti2v.storage.documents import csv_rows, from_json, read_text_file, require_version
from alti2v.storage.layout import FORMAT_VERSION, MODEL_DIR, MODEL_FILE, MODEL_TAGS_FILE, WEIGHTS_FILE
from alti2v.storage.publish import make_directory, publish, publish_bytes, publish_json, read_json

_KIND = "model"
_OF_FILE = ("kind", "version", "architecture")  # of model.json; the other names are fields of `SavedModel`
_MOST_SIDE_PX = 4096
_COLUMNS = ("index", "name", "category", "count")


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedModel:
    """A trained tagger, ready to use.

    Attributes:
        network: Network (keras.Model), (B, S, S, 3) uint8 or float32, RGB in [0, 255] ->
            {"probabilities": (B, T) float32, "features": (B, F) float32}.
        architecture: Architecture of `network`.
        tags: Output i is tags[i].
        dataset: Directory of the dataset that it was trained on; "" if unknown.
        plan_hash: Hash of that dataset's plan.
        train_samples: Number of training samples; `tags[i].count` of them carry tag i.
        recipe: Name of the recipe.
        threshold: Threshold at which precision equals recall on the validation split; None if unknown.
        training: Figures of the training, for display.
    """

    network: Any
    architecture: Architecture
    tags: tuple[Tag, ...]
    dataset: str
    plan_hash: str
    train_samples: int
    recipe: str
    threshold: float | None = None
    training: Mapping[str, bool | int | float | str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold {self.threshold} is outside [0, 1]")
        if self.train_samples < 0:
            raise ValueError(f"train_samples {self.train_samples} is below 0")

    @property
    def size(self) -> int:
        """Side of the pictures, px."""
        return self.architecture.size


def save_model(path: Path, model: SavedModel) -> None:
    """Write the folder of a model. The description comes last, so a folder that has one is complete.

    Raises:
        StorageError: The file system refuses.
    """
    make_directory(path)
    publish_bytes(path / MODEL_TAGS_FILE, _tags_csv(model.tags))
    # Keras requires a name that ends in .weights.h5, which the temporary name does.
    publish(path / WEIGHTS_FILE, lambda temporary: model.network.save_weights(str(temporary)))
    publish_json(
        path / MODEL_FILE,
        {
            "kind": _KIND,
            "version": FORMAT_VERSION,
            "architecture": asdict(model.architecture),
            "dataset": recorded(model.dataset, path.parent) if model.dataset else "",
            "plan_hash": model.plan_hash,
            "train_samples": model.train_samples,
            "recipe": model.recipe,
            "threshold": model.threshold,
            "training": dict(model.training),
        },
    )


def load_model(path: Path, *, precision: str = "float32") -> SavedModel:
    """Load a tagger from the directory of a run, or from the model folder inside it.

    Args:
        path: Directory of the run or of its model.
        precision: Number format that layers compute in, one of `network.build.PRECISIONS`. Weights and
            probabilities are float32 in any case; features have that format.

    Raises:
        UsageError: There is no trained model.
        VersionError: Another format version wrote it.
        DamagedError: A file is missing, or does not fit the others.
    """
    folder = path / MODEL_DIR if (path / MODEL_DIR).is_dir() else path
    if not (folder / MODEL_FILE).is_file():
        raise UsageError(_no_model_message(path))
    require_plain_files(path)
    require_plain_files(folder)
    description = _description(folder / MODEL_FILE)
    tags = _read_tags(folder / MODEL_TAGS_FILE)
    try:
        architecture = _architecture(description)
        _check(architecture, tags, folder)
        facts = {name: value for name, value in description.items() if name not in _OF_FILE}
        return from_json(
            SavedModel,
            {**facts, "network": None, "architecture": None, "tags": None, "dataset": None},
            dataset=_dataset_of(description, folder),
            network=_load_network(architecture, folder / WEIGHTS_FILE, precision),
            architecture=architecture,
            tags=tags,
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise DamagedError(f"{folder / MODEL_FILE} is incomplete ({exc}): train again") from exc


def read_training(path: Path) -> Mapping[str, Any] | None:
    """Read the figures of a finished training; None if the run is not finished. Loads no network."""
    file = path / MODEL_DIR / MODEL_FILE
    if not file.is_file():
        return None
    training = _description(file).get("training")
    if not isinstance(training, dict):
        raise DamagedError(f"{file} has no figures of its training: train again")
    return training


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedOn:
    """Dataset of a training.

    Attributes:
        dataset: Its directory.
        plan_hash: Hash of its plan.
    """

    dataset: Path
    plan_hash: str


def read_trained_on(path: Path) -> TrainedOn:
    """Read which dataset a finished run, or the model folder inside it, was trained on; loads no network.

    Raises:
        UsageError: There is no trained model.
        DamagedError: The description is incomplete.
    """
    folder = path / MODEL_DIR if (path / MODEL_DIR).is_dir() else path
    if not (folder / MODEL_FILE).is_file():
        raise UsageError(_no_model_message(path))
    require_plain_files(path)
    description = _description(folder / MODEL_FILE)
    try:
        dataset, plan_hash = _dataset_of(description, folder), description["plan_hash"]
        if not isinstance(plan_hash, str):
            raise ValueError(f"plan_hash {plan_hash!r:.60}")  # noqa: TRY004 - a fault of the file
    except (KeyError, ValueError) as exc:
        raise DamagedError(f"{folder / MODEL_FILE} does not say what it was trained on: train again") from exc
    return TrainedOn(dataset=Path(dataset), plan_hash=plan_hash)


def _dataset_of(description: Mapping[str, Any], folder: Path) -> str:
    return located(description["dataset"], folder.absolute().parent)


def read_architecture(path: Path) -> Architecture:
    """Read the architecture of a finished run; loads no network.

    Raises:
        UsageError: There is no trained model.
        DamagedError: The description is incomplete.
    """
    file = path / MODEL_DIR / MODEL_FILE
    if not file.is_file():
        raise UsageError(_no_model_message(path))
    require_plain_files(path)
    try:
        return _architecture(_description(file))
    except (KeyError, TypeError, ValueError) as exc:
        raise DamagedError(f"{file} is incomplete ({exc}): train again") from exc


def _architecture(description: Mapping[str, Any]) -> Architecture:
    fields = description["architecture"]
    return from_json(Architecture, fields, head=Head(fields["head"]))


def _description(file: Path) -> dict[str, Any]:
    description = read_json(file)
    if not isinstance(description, dict) or description.get("kind") != _KIND:
        raise UsageError(f"{file} does not describe a model of alti2v: give the folder of a RUN")
    require_version(file, description.get("version"))
    return description


def _no_model_message(path: Path) -> str:
    if not path.exists():
        return f"{path} does not exist: give the folder of a RUN"
    if path.is_file():
        return f"{path} is a file, and foreign model files are not loaded because they can run code: give a RUN"
    if described_kind(path) is DirectoryKind.RUN:
        return f"{path} holds no finished model yet: run `alti2v train` again until it has finished"
    return f"{path} holds no model of alti2v: give the folder of a RUN"


def _check(architecture: Architecture, tags: Sequence[Tag], folder: Path) -> None:
    try:
        application(architecture.backbone)
    except UsageError as exc:
        raise ValueError(f"an architecture that this program does not build: {architecture}") from exc
    if (
        not 1 <= architecture.size <= _MOST_SIDE_PX
        or architecture.features < 1
        or not 0 <= architecture.dropout < 1
        or (architecture.head is Head.LEVELS and architecture.backbone not in LEVELS)
    ):
        raise ValueError(f"an architecture that this program does not build: {architecture}")
    if len(tags) != architecture.tags:
        raise DamagedError(f"{folder}: {len(tags)} tags for {architecture.tags} outputs: train again")


def _load_network(architecture: Architecture, weights: Path, precision: str) -> Any:  # noqa: ANN401 - keras.Model
    if not weights.is_file():
        raise DamagedError(f"{weights} is missing: train again")
    try:  # before the network is built: it may claim more numbers than fit into memory
        shapes = weight_shapes(weights)
    except (OSError, ValueError) as exc:
        raise DamagedError(f"{weights} is not a weights file of Keras ({exc!s:.150}): train again") from exc
    if (architecture.features, architecture.tags) not in shapes or not any(
        len(shape) == 2 and shape[1] == architecture.features for shape in shapes
    ):
        raise DamagedError(
            f"{weights} does not fit its description (a layer of {architecture.features} features): train again"
        )
    try:
        tagger = build_network(architecture, precision=precision).tagger
    except UsageError as exc:  # a size that its backbone does not support
        raise ValueError(f"an architecture that this program does not build: {architecture}") from exc
    try:
        with warnings.catch_warnings():
            # Keras loads what fits of a foreign file and only warns about the rest.
            warnings.simplefilter("error", UserWarning)
            tagger.load_weights(str(weights))
    except (OSError, ValueError, KeyError, UserWarning) as exc:
        raise DamagedError(
            f"{weights} does not fit its description ({first_line(exc):.150}): train again"
        ) from exc
    return tagger


def _tags_csv(tags: Sequence[Tag]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((index, tag.name, tag.category.value, tag.count) for index, tag in enumerate(tags))
    return text.getvalue().encode()


def read_model_tags(path: Path) -> tuple[Tag, ...]:
    """Read the tags of a finished run, or of the model folder inside it; loads no network.

    Raises:
        DamagedError: There is no table of tags, or it is damaged.
    """
    return _read_tags((path / MODEL_DIR if (path / MODEL_DIR).is_dir() else path) / MODEL_TAGS_FILE)


def _read_tags(file: Path) -> tuple[Tag, ...]:
    try:
        rows = csv_rows(read_text_file(file))
        if [int(row["index"]) for row in rows] != list(range(len(rows))):
            raise ValueError("the index column is not 0, 1, 2, ...")
        return tuple(
            Tag(name=row["name"], category=Category(row["category"]), count=int(row["count"])) for row in rows
        )
    except FileNotFoundError as exc:
        raise DamagedError(f"{file} is missing: train again") from exc
    except (KeyError, TypeError, ValueError) as exc:
        raise DamagedError(f"{file} is not the table of a model's tags ({exc}): train again") from exc
