"""OppaiOracle 1.x: pictures on grey, with a second input that marks the grey.

The mask is True in the padding. The first two outputs, <PAD> and <UNK>, are not tags.
"""

from __future__ import annotations

from collections.abc import Mapping

from alti2v.model.loading.description import ModelDescription, ModelInput, side_of
from alti2v.model.loading.families.stages import channels, colour, deviations
from alti2v.model.loading.families.wd import TABLE, output_of
from alti2v.model.loading.graph import MASK_TYPE, Graph
from alti2v.model.loading.tables import TaggerTags, read_document, read_tag_csv
from alti2v.pictures.framing import MAX_SIDE_PX, Framing, letterbox

PREPROCESSING = "preprocessing.json"


def oppai_oracle_table(files: Mapping[str, bytes]) -> TaggerTags:
    """Read the table of an OppaiOracle."""
    return read_tag_csv(files[TABLE], TABLE, name_columns=("name", "tag"))


def read_oppai_oracle(
    files: Mapping[str, bytes], table: TaggerTags, graph: Graph, model_file: str
) -> ModelDescription:
    """Describe an OppaiOracle."""
    document = read_document(files[PREPROCESSING], PREPROCESSING)
    size = document.get("image_size") if isinstance(document, dict) else None
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= MAX_SIDE_PX:
        raise ValueError(f"{PREPROCESSING} has the image_size {size!r:.40}")
    tensor = graph.input(None)
    if side_of(tensor, channels_first=True, otherwise=size) != size:
        raise ValueError(f"{PREPROCESSING} makes pictures of {size} px for a model that takes {tensor}")
    mask = next((one.name for one in graph.inputs if one.type == MASK_TYPE), None)
    padding = colour(document.get("pad_color", 114), PREPROCESSING)
    return ModelDescription(
        family="OppaiOracle",
        model_file=model_file,
        input=ModelInput(
            tensor=tensor,
            preparation=Framing(
                steps=(letterbox(size, resampling="lanczos", colour=padding),), with_mask=mask is not None
            ),
            channels_first=True,
            scale=1 / 255,
            mean=channels(document.get("normalize_mean", 0.5), PREPROCESSING),
            std=deviations(document.get("normalize_std", 0.5), PREPROCESSING),
            mask=mask,
        ),
        output=output_of(graph, graph.output("probabilities").name, vectors="embedding"),
        vocabulary=table.vocabulary,
        notes=table.notes,
    )
