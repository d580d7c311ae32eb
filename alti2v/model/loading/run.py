"""Description of a tagger that this program has trained. Pure, without Keras."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alti2v.model.loading.description import ModelDescription, ModelInput, ModelOutput, ModelThresholds
from alti2v.model.loading.graph import GraphTensor
from alti2v.model.vocabulary import make_vocabulary
from alti2v.pictures.recipe import ImageRecipe
from alti2v.records import Tag
from alti2v.storage.layout import MODEL_FILE, MODEL_TAGS_FILE, WEIGHTS_FILE


def describe_run(
    folder: Path, tags: Sequence[Tag], *, size: int, features: int, threshold: float | None
) -> ModelDescription:
    """Describe the network of a run.

    Args:
        folder: Folder of the network.
        tags: Tags in the order of the outputs.
        size: Side of the pictures, px.
        features: Length of a vector.
        threshold: Threshold at which precision equals recall on the validation split; None if unknown.
    """
    return ModelDescription(
        family="run of alti2v",
        model_file=WEIGHTS_FILE,
        input=ModelInput(
            tensor=GraphTensor("images", "tensor(float)", (None, size, size, 3)),
            preparation=ImageRecipe(size=size),
        ),
        output=ModelOutput(tags="probabilities", vectors="features", features=features),
        vocabulary=make_vocabulary(
            ((tag.name, tag.category.value) for tag in tags), file=str(folder / MODEL_TAGS_FILE)
        ),
        thresholds=ModelThresholds(overall=threshold, overall_source=MODEL_FILE),
    )
