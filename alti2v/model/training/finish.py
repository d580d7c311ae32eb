"""The end of a training: the model folder with its thresholds, and the figures for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alti2v.model.evaluation.thresholds import tune, write_thresholds
from alti2v.model.network.build import Network
from alti2v.model.saved_model import SavedModel, save_model
from alti2v.model.training.checkpoints import Position
from alti2v.model.training.job import Job
from alti2v.model.training.validation import Validation
from alti2v.storage.layout import MODEL_DIR
from alti2v.storage.publish import make_directory


def write_model(job: Job, network: Network, position: Position, validation: Validation | None) -> None:
    """Write the network as it is now, with thresholds tuned on the validation split.

    Raises:
        StorageError: The file system refuses.
    """
    training = figures(job, position, validation, parameters=network.logits.count_params())
    make_directory(job.run / MODEL_DIR)
    if validation is not None:
        names = [tag.name for tag in job.tags]
        write_thresholds(job.run / MODEL_DIR, tune(validation.histograms, names, fallback=validation.threshold))
    save_model(
        job.run / MODEL_DIR,
        SavedModel(
            network=network.tagger,
            architecture=network.architecture,
            tags=job.tags,
            dataset=str(job.dataset),
            plan_hash=job.manifest.plan_hash,
            train_samples=job.train_samples,
            recipe=job.settings.recipe_name,
            threshold=training["threshold"],
            training=training,
        ),
    )


def figures(
    job: Job, position: Position, validation: Validation | None, *, parameters: int
) -> Mapping[str, Any]:
    """Return the figures of a training: fields of `TrainReport`, and the patience that it ran under."""
    epochs = len(position.log)
    return {
        "parameters": parameters,
        "precision": job.settings.precision,
        "epochs": epochs,
        "steps": position.step,
        "stopped_early": epochs < job.recipe.epochs,
        "patience": job.patience,
        "train_samples": job.train_samples,
        "tags": len(job.tags),
        "loss": position.log[-1]["loss"],
        "best_epoch": epochs if position.best_map is None else position.best_epoch,
        "is_averaged": position.is_averaged,
        "validation_map": None if validation is None else validation.mean_ap,
        "validation_micro_f1": None if validation is None else validation.micro_f1,
        "threshold": None if validation is None else validation.threshold,
        "seconds": round(position.seconds, 1),
        "samples_per_s": round(epochs * job.train_samples / max(position.train_seconds, 1e-9), 1),
        "input_wait": round(position.input_seconds / max(position.train_seconds, 1e-9), 4),
    }
