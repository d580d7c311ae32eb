"""The dataset that a run was trained on, as far as an export needs it: shares of ratings, and pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alti2v.dataset.manifest import Manifest, read_manifest, read_metadata
from alti2v.dataset.reading import read_samples
from alti2v.errors import Alti2vError, UsageError
from alti2v.model.saved_model import SavedModel
from alti2v.pictures.recipe import ORIGINAL
from alti2v.storage.store import read_originals

_COMPARED = 128  # pictures, at most


@dataclass(frozen=True, slots=True)
class TrainingDataset:
    """The dataset that a run was trained on."""

    folder: Path
    manifest: Manifest

    def ratings(self) -> Mapping[str, int]:
        """Count training pictures by rating.

        Raises:
            DamagedError: A table of the dataset is missing or damaged.
        """
        counts: Counter[str] = Counter()
        for shard in self.manifest.split("train"):
            rows = read_metadata(self.folder, shard, ("rating",))
            for row in rows.column("rating").value_counts().to_pylist():
                counts[row["values"]] += row["counts"]
        return counts

    def validation_pictures(self, store: Path | None) -> list[bytes]:
        """Read pictures of the validation split, spread evenly over it: originals, if a store is given."""
        if self.manifest.image.format == ORIGINAL:
            return []
        tables = [read_metadata(self.folder, shard, ("id",)) for shard in self.manifest.split("validation")]
        ids = [one for table in tables for one in table.column("id").to_pylist()]
        chosen = ids[:: -(-len(ids) // _COMPARED)] if ids else []
        if store is not None:
            return [content for _, content in read_originals(store, chosen)]
        return [sample.picture for sample in read_samples(self.folder, chosen)] if chosen else []


def find_training_dataset(
    saved: SavedModel, run: Path, *, given: Path | None, is_needed: bool
) -> TrainingDataset | None:
    """Find the dataset that a run was trained on; None if it is missing and not needed.

    Args:
        saved: The run's model.
        run: Folder of the run, for messages.
        given: Folder that the user names; None for the one that the model names.
        is_needed: True if an export cannot do without it.

    Raises:
        UsageError: It is missing, or another one, and needed.
        DamagedError: It is damaged.
    """
    folder = given or Path(saved.dataset)
    if not folder.is_dir() or not saved.dataset:
        if is_needed:
            raise UsageError(
                f"{folder}, which {run} was trained on, is missing, and its ratings are needed: "
                "give --dataset, or --ratings uniform"
            )
        return None
    try:
        manifest = read_manifest(folder)
    except Alti2vError:
        if is_needed or given is not None:
            raise
        return None
    if manifest.plan_hash == saved.plan_hash:
        return TrainingDataset(folder, manifest)
    if is_needed or given is not None:
        raise UsageError(f"{folder} is not the dataset that {run} was trained on: give that --dataset")
    return None
