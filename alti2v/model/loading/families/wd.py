"""WD taggers, v1.4 to v3, by SmilingWolf, and folders of the same form: our exports, idolsankaku, Z3D.

Pictures are centred on white, (N, S, S, 3), blue, green, red, 0 to 255. The first output holds probabilities in
the order of the table; a second one, as in imgutils' copies, holds the vectors.
"""

from __future__ import annotations

from collections.abc import Mapping

from alti2v.model.loading.description import (
    ModelDescription,
    ModelInput,
    ModelOutput,
    is_channels_first,
    side_of,
)
from alti2v.model.loading.graph import NUMBER_TYPES, Graph
from alti2v.model.loading.tables import CATEGORY_OF_NUMBER, E621_CATEGORY_OF_NUMBER, TaggerTags, read_tag_csv
from alti2v.pictures.framing import Framing, letterbox

TABLE = "selected_tags.csv"
E621_TABLE = "tags-selected.csv"  # Z3D's name
_SIDE_PX = 448  # where the graph leaves it open: that of all published models


def wd_table(files: Mapping[str, bytes]) -> TaggerTags:
    """Read the table of a WD tagger."""
    file = TABLE if TABLE in files else E621_TABLE
    return read_tag_csv(
        files[file],
        file,
        category_of=E621_CATEGORY_OF_NUMBER if file == E621_TABLE else CATEGORY_OF_NUMBER,
    )


def read_wd(_: Mapping[str, bytes], table: TaggerTags, graph: Graph, model_file: str) -> ModelDescription:
    """Describe a WD tagger."""
    tensor = graph.input(None)
    first = is_channels_first(tensor)
    side = side_of(tensor, channels_first=first, otherwise=_SIDE_PX)
    return ModelDescription(
        family="WD tagger",
        model_file=model_file,
        input=ModelInput(
            tensor=tensor,
            preparation=Framing(steps=(letterbox(side),)),
            channels_first=first,
            bgr=True,
        ),
        output=output_of(graph, graph.outputs[0].name),
        vocabulary=table.vocabulary,
        copyright_of=table.copyright_of,
        notes=table.notes,
    )


def output_of(graph: Graph, tags: str, *, logits: bool = False, vectors: str | None = None) -> ModelOutput:
    """Describe the outputs: that of the tags, and that of the vectors, by its name or as the second one."""
    others = [
        tensor
        for tensor in graph.outputs
        if tensor.name != tags and len(tensor.shape) == 2 and tensor.type in NUMBER_TYPES
    ]
    named = [tensor for tensor in others if tensor.name == vectors] if vectors else others[:1]
    return ModelOutput(
        tags=tags,
        logits=logits,
        vectors=named[0].name if named else None,
        features=named[0].shape[1] if named else None,
    )
