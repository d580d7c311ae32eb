"""Pictures of a comparison: those that are in the split of all datasets and new to all runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alti2v.arrays import Int64Array
from alti2v.dataset.manifest import read_manifest
from alti2v.errors import DataError
from alti2v.model.comparison.contestant import Contestant
from alti2v.model.comparison.feeding import ids_of
from alti2v.model.trained_on import change_since
from alti2v.numerals import counted


def fair_pictures(contestants: Sequence[Contestant], split: str) -> tuple[Int64Array, list[str]]:
    """Return the posts in the split of all datasets that no run was trained on, ascending; and notes."""
    datasets = list(dict.fromkeys(one.dataset for one in contestants))
    found = [ids_of(dataset, (split,)) for dataset in datasets]
    shared = found[0]
    for ids in found[1:]:
        shared = np.intersect1d(shared, ids)
    notes = []
    if len(shared) < (most := max(map(len, found))):
        notes.append(
            f"{counted(most - len(shared), 'picture')} of the {split} split left out: not in all datasets."
        )
    seen, seen_notes = _seen(contestants)
    notes += seen_notes
    fair = np.setdiff1d(shared, seen) if split == "test" else shared
    if len(fair) < len(shared):
        notes.append(
            f"{counted(len(shared) - len(fair), 'picture')} left out: one of the models was trained on them."
        )
    if split != "test" and any(one.origin.dataset is not None for one in contestants):
        notes.append(f"These are {split} pictures: the runs and their exports were trained or tuned on them.")
    elif split == "validation":
        notes.append("The thresholds were tuned on these same pictures: F1 is slightly too high.")
    if not len(fair):
        raise DataError("no picture is left to compare the models on: give another --dataset")
    return fair, notes


def _seen(contestants: Sequence[Contestant]) -> tuple[Int64Array, list[str]]:
    """Return the posts that runs were trained or tuned on, and notes about models with unknown pictures."""
    seen, notes = [np.array([], np.int64)], []
    for one in contestants:
        origin = one.origin
        if not origin.plan_hash:
            continue
        if origin.dataset is None:
            notes.append(
                f"{one.model}: its training dataset, with plan {origin.plan_hash:.12}, was not found, so "
                "pictures that it was trained on cannot be left out."
            )
        elif not _has_pictures_of(one, origin.dataset):
            notes.append(
                f"{one.model}: its training dataset is no longer at {origin.dataset}, so pictures that it was "
                "trained on cannot be left out."
            )
        else:
            seen.append(ids_of(origin.dataset, ("train", "validation")))
    if silent := [one.name for one in contestants if not one.origin.plan_hash]:
        notes.append(
            f"It is not known what {listed(silent)} {'was' if len(silent) == 1 else 'were'} trained on: "
            "perhaps on some of these pictures."
        )
    return np.unique(np.concatenate(seen)), notes


def _has_pictures_of(one: Contestant, dataset: Path) -> bool:
    """Return whether a dataset is that of a model's training, perhaps in a later version."""
    if not dataset.is_dir():
        return False
    manifest, plan_hash = read_manifest(dataset), one.origin.plan_hash
    is_same = manifest.plan_hash == plan_hash
    return is_same or change_since(dataset, manifest, plan_hash=plan_hash, run=Path(one.model)) is not None


def listed(names: Sequence[str]) -> str:
    """Join names for a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
