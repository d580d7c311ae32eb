"""Our exports in the format `onnx`: pixels as the network was trained on them, nothing renamed."""

from __future__ import annotations

from collections.abc import Mapping

from alti2v.model.loading.description import ModelDescription, ModelInput, side_of
from alti2v.model.loading.families.wd import output_of
from alti2v.model.loading.graph import Graph
from alti2v.model.loading.tables import TaggerTags, read_tag_csv
from alti2v.pictures.recipe import ImageRecipe

TABLE = "tags.csv"


def native_table(files: Mapping[str, bytes]) -> TaggerTags:
    """Read the table of one of our exports."""
    return read_tag_csv(files[TABLE], TABLE)


def read_native(_: Mapping[str, bytes], table: TaggerTags, graph: Graph, model_file: str) -> ModelDescription:
    """Describe one of our exports."""
    tensor = graph.input(None)
    size = side_of(tensor, channels_first=False, otherwise=ImageRecipe().size)
    return ModelDescription(
        family="alti2v",
        model_file=model_file,
        input=ModelInput(
            tensor=tensor,
            preparation=ImageRecipe(size=size),
        ),
        output=output_of(graph, graph.outputs[0].name),
        vocabulary=table.vocabulary,
        notes=table.notes,
    )
