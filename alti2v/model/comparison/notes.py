"""Notes for readers of a comparison: omissions, and limits of its figures. Pure except for manifests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from alti2v.dataset.manifest import read_manifest
from alti2v.model.comparison.contestant import Contestant
from alti2v.model.comparison.fair_pictures import listed
from alti2v.model.comparison.feeding import is_smaller
from alti2v.model.comparison.originals import Originals
from alti2v.model.comparison.result import ComparedModel
from alti2v.model.evaluation.bootstrap import Codes
from alti2v.model.evaluation.histograms import BINS
from alti2v.model.network.precision import choose_precision
from alti2v.numerals import counted

_FEW = 30  # pictures below which a bootstrap knows too little of others


def label_notes(codes: Sequence[Codes]) -> list[str]:
    """Note how many labels differ between the datasets of the models."""
    differing = sum(
        int(((codes[0][row] >= BINS) != (other[row] >= BINS)).sum())
        for other in codes[1:]
        for row in range(len(other))
    )
    if not differing:
        return []
    labels = counted(differing, "label differs", "labels differ")
    return [f"{labels} between the datasets: each run was compared with its own."]


def picture_notes(contestants: Sequence[Contestant], originals: Originals | None) -> list[str]:
    """Note where pictures were smaller than the models take, or missing.

    An export takes larger ones than its run, and is no better for it.
    """
    notes = []
    of_runs = {one.origin.weights for one in contestants if one.is_run}
    if originals is None:
        for dataset in dict.fromkeys(one.dataset for one in contestants):
            manifest = read_manifest(dataset)
            small = [
                one.name
                for one in contestants
                if one.dataset == dataset
                and one.origin.weights not in of_runs
                and is_smaller(manifest, one.tagger.preprocessing)
            ]
            if small:
                takes = "takes" if len(small) == 1 else "take"
                notes.append(
                    f"{listed(small)} {takes} larger pictures than the {manifest.image.size} px of {dataset}, "
                    "and may do better with the originals: give --store."
                )
    else:
        for reason, number in sorted(Counter(originals.missing).items()):
            pictures = counted(number, "picture is", "pictures are")
            notes.append(f"{pictures} {reason}: the dataset's pictures were used instead.")
    for dataset in dict.fromkeys(one.dataset for one in contestants):
        fit = read_manifest(dataset).image.fit
        if fit in ("crop", "squash") and originals is None:
            notes.append(f"The pictures of {dataset} were fitted by {fit}, and all models get those.")
    return notes


def size_notes(images: int) -> list[str]:
    """Note that the pictures are too few for intervals."""
    if images >= _FEW:
        return []
    pictures = counted(images, "picture")
    return [f"Only {pictures}: with fewer than {_FEW}, the intervals are too narrow to rely on."]


def network_notes(contestants: Sequence[Contestant], precision: str) -> list[str]:
    """Note which models are the same network, and number formats that only runs were computed in."""
    of_weights: dict[str, list[str]] = {}
    for one in contestants:
        if one.origin.weights:
            of_weights.setdefault(one.origin.weights, []).append(one.name)
    notes = [
        f"{listed(names)} are the same network: any difference comes from the preparation of the pictures and "
        "from rounding."
        for names in of_weights.values()
        if len(names) > 1
    ]
    are_runs = {one.is_run for one in contestants}
    if precision == "auto" and are_runs == {True, False} and choose_precision("auto") != "float32":
        notes.append(
            "The runs were computed in float32, as the other models; evaluated alone, a run is computed in "
            "bfloat16 on this machine, and its figures differ by rounding."
        )
    if precision not in ("auto", "float32") and False in are_runs:
        notes.append(
            f"The runs were computed in {precision}, the other models as their files say."
            if True in are_runs
            else f"--precision {precision} concerns runs only: these models were computed as their files say."
        )
    return notes


def tag_notes(models: Sequence[ComparedModel], common: int) -> list[str]:
    """Note how many tags of each model were not compared."""
    lost = [f"{one.tags - common:,} of {one.name}" for one in models if one.tags > common]
    return [f"Tags that not all models have were not compared: {listed(lost)}."] if lost else []
