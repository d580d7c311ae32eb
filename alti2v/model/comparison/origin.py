"""Origin of a model: the plan of its training dataset, and the weights of its run; an export names both."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from alti2v.dataset.manifest import read_manifest
from alti2v.errors import Alti2vError
from alti2v.model.loading.fingerprint import model_hash
from alti2v.model.onnx.contract import REPORT_FILE
from alti2v.model.saved_model import read_trained_on
from alti2v.storage.publish import read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOrigin:
    """Origin of a model: its training dataset and its weights.

    Attributes:
        plan_hash: Hash of the plan of the dataset that it was trained on; "" if unknown.
        dataset: Directory of that dataset; None if unknown.
        weights: SHA-256 of the run's weights; "" if unknown.
    """

    plan_hash: str = ""
    dataset: Path | None = None
    weights: str = ""


def origin_of(path: Path, *, is_run: bool) -> ModelOrigin:
    """Read the origin of a model: a run knows its dataset, an export only the plan of the dataset.

    Raises:
        UsageError: It is a run that is not finished.
        DamagedError: A description is damaged.
    """
    if is_run:
        trained = read_trained_on(path)
        return ModelOrigin(plan_hash=trained.plan_hash, dataset=trained.dataset, weights=model_hash(path))
    report = (path if path.is_dir() else path.parent) / REPORT_FILE
    value = read_json(report) if report.is_file() else None
    if not isinstance(value, dict) or value.get("kind") != "export":
        return ModelOrigin()
    plan_hash, weights = (value.get(name) for name in ("plan_hash", "weights_sha256"))
    return ModelOrigin(
        plan_hash=plan_hash if isinstance(plan_hash, str) else "",
        weights=weights if isinstance(weights, str) else "",
    )


def with_dataset(origin: ModelOrigin, datasets: Collection[Path]) -> ModelOrigin:
    """Find the dataset of an export's plan among the datasets of the comparison."""
    if not origin.plan_hash or origin.dataset is not None:
        return origin
    return replace(origin, dataset=next((one for one in datasets if _plan_of(one) == origin.plan_hash), None))


def _plan_of(dataset: Path) -> str | None:
    try:
        return read_manifest(dataset).plan_hash
    except (Alti2vError, OSError):
        return None
