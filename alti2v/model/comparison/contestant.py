"""Models of a comparison, opened and named, each with the dataset that it is evaluated on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from alti2v.errors import UsageError
from alti2v.model.comparison.origin import ModelOrigin, origin_of, with_dataset
from alti2v.model.loading.folder import recognised, refused
from alti2v.model.loading.hub import fetch_model, is_hub_name
from alti2v.model.tagging.tagger import Tagger, load_tagger
from alti2v.storage.directory import DirectoryKind, described_kind
from alti2v.storage.layout import MODEL_DIR, MODEL_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A model to compare.

    Attributes:
        model: Path or name of the model, as given; with its commit if it is on the hub.
        name: Name for display, which no other model of the comparison has.
        tagger: Loaded model.
        is_run: True for a run of this program.
        origin: Dataset that it was trained on, if it is known, and weights.
        dataset: Directory of the dataset that it is evaluated on.
    """

    model: str
    name: str
    tagger: Tagger
    is_run: bool
    origin: ModelOrigin
    dataset: Path


def is_run(model: Path | str) -> bool:
    """Return whether a model is a run of this program, finished or not, or the saved model in it."""
    path = Path(model)
    if is_hub_name(model) or recognised(path) is not None:
        return False
    is_finished = any((folder / MODEL_FILE).is_file() for folder in (path / MODEL_DIR, path))
    return is_finished or described_kind(path) is DirectoryKind.RUN


def open_contestants(
    models: Sequence[Path | str], dataset: Path | None, *, precision: str
) -> tuple[Contestant, ...]:
    """Load the models.

    Args:
        models: Paths and names of models.
        dataset: Directory of a dataset for all; None for each run's own, and for the others the first run's.
        precision: Number format that the layers of runs compute in, or "auto": float32 beside models that are
            no runs, so that rounding makes no difference between a run and its export.

    Raises:
        UsageError: A folder holds no model, a model is given twice, or there is no dataset for it.
        DamagedError: A model is damaged.
        RemoteError: The hub does not answer.
    """
    located = [_located(model) for model in models]
    are_runs = [is_run(path) for path, _ in located]
    for (path, _), is_of_run in zip(located, are_runs, strict=True):
        if not is_of_run and recognised(path) is None:
            raise UsageError(refused(path))
    _refuse_repeated([path.resolve() for path, _ in located], models)
    origins = [origin_of(path, is_run=one) for (path, _), one in zip(located, are_runs, strict=True)]
    datasets = [_dataset_of(model, found, dataset) for model, found in zip(models, origins, strict=True)]
    first = next((one for one in datasets if one is not None), None)
    if first is None:
        raise UsageError(f"{models[0]} does not say which dataset it was trained on: give --dataset")
    if precision == "auto" and not all(are_runs):
        precision = "float32"
    at_hand = list(dict.fromkeys([first, *(one.dataset for one in origins if one.dataset is not None)]))
    found = [
        Contestant(
            model=given,
            name=_short_name(model),
            tagger=load_tagger(path, precision=precision),
            is_run=of_run,
            origin=with_dataset(origin, at_hand),
            dataset=of_model or first,
        )
        for model, (path, given), of_run, origin, of_model in zip(
            models, located, are_runs, origins, datasets, strict=True
        )
    ]
    counts = Counter(one.name for one in found)
    return tuple(one if counts[one.name] == 1 else replace(one, name=one.model) for one in found)


def _located(model: Path | str) -> tuple[Path, str]:
    """Return the path of a model, and its name with the commit if it is on the hub."""
    if not is_hub_name(model):
        return Path(model), str(model)
    found = fetch_model(str(model))
    return found.path, found.pinned


def _refuse_repeated(paths: Sequence[Path], models: Sequence[Path | str]) -> None:
    for number, path in enumerate(paths):
        if path in paths[:number]:
            raise UsageError(f"{models[number]} is given twice: give each model once")


def _dataset_of(model: Path | str, origin: ModelOrigin, dataset: Path | None) -> Path | None:
    if dataset is not None or origin.dataset is None:
        return dataset
    if not origin.dataset.is_dir():
        raise UsageError(f"{origin.dataset}, which {model} was trained on, does not exist: give --dataset")
    return origin.dataset


def _short_name(model: Path | str) -> str:
    """Return the last part of a path, or of a name on the hub without its revision."""
    if is_hub_name(model):
        return str(model).partition("@")[0].rstrip("/").rpartition("/")[2]
    return Path(model).resolve().name
