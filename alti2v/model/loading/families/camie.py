"""Camie tagger, version 2: pictures in the middle of ImageNet's mean colour, 512 px, red, green, blue.

One JSON file holds the vocabulary and the size of the pictures. Of the two outputs with logits, the refined
predictions are those for which the card gives figures.
"""

from __future__ import annotations

from collections.abc import Mapping

from alti2v.model.loading.description import ModelDescription, ModelInput, side_of
from alti2v.model.loading.families.cl import mapping_table
from alti2v.model.loading.families.wd import output_of
from alti2v.model.loading.graph import Graph
from alti2v.model.loading.tables import TaggerTags, read_document
from alti2v.pictures.framing import MAX_SIDE_PX, Framing, letterbox
from alti2v.storage.documents import is_of

METADATA = "*metadata.json"
_SIDE_PX = 512
_PADDING = (
    124,
    116,
    104,
)  # ImageNet's mean of red, green and blue, rounded; from the model's own onnx_inference.py
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def camie_table(files: Mapping[str, bytes]) -> TaggerTags:
    """Read the table of a camie tagger."""
    file = next(name for name in files if name.endswith("metadata.json"))
    document = read_document(files[file], file)
    try:
        mapping = document["dataset_info"]["tag_mapping"]
    except (KeyError, TypeError) as exc:
        raise ValueError(f"{file} has no dataset_info with a tag_mapping: get it again") from exc
    return mapping_table(mapping, file)


def read_camie(
    files: Mapping[str, bytes], table: TaggerTags, graph: Graph, model_file: str
) -> ModelDescription:
    """Describe a camie tagger."""
    tensor = graph.input(None)
    file, said = _said_size(files)
    side = side_of(tensor, channels_first=True, otherwise=said or _SIDE_PX)
    if said not in (None, side):
        raise ValueError(f"{file} has the img_size {said} for a model that takes {tensor}")
    return ModelDescription(
        family="camie",
        model_file=model_file,
        input=ModelInput(
            tensor=tensor,
            preparation=Framing(steps=(letterbox(side, resampling="lanczos", colour=_PADDING),)),
            channels_first=True,
            scale=1 / 255,
            mean=_MEAN,
            std=_STD,
        ),
        output=output_of(
            graph,
            graph.output("refined_predictions", "initial_predictions").name,
            logits=True,
            vectors="embedding",
        ),
        vocabulary=table.vocabulary,
        notes=table.notes,
    )


def _said_size(files: Mapping[str, bytes]) -> tuple[str, int | None]:
    """Return the metadata file, and the side of pictures in its `model_info`, px; None if it has none."""
    file = next(name for name in files if name.endswith("metadata.json"))
    model_info = read_document(files[file], file).get("model_info")
    size = model_info.get("img_size") if isinstance(model_info, dict) else None
    if size is not None and not (is_of(size, int) and 0 < size <= MAX_SIDE_PX):
        raise ValueError(f"{file} has the img_size {size!r:.40}")
    return file, size
