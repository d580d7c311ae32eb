"""ML-Danbooru in ONNX: general tags alone, pictures stretched to 448 px, red, green, blue, 0 to 1; logits.

Facts from imgutils/tagging/mldanbooru.py, whose threshold is 0.7.
"""

from __future__ import annotations

from collections.abc import Mapping

from alti2v.model.loading.description import ModelDescription, ModelInput, ModelThresholds, side_of
from alti2v.model.loading.families.wd import output_of
from alti2v.model.loading.graph import Graph
from alti2v.model.loading.tables import TaggerTags, read_tag_csv
from alti2v.pictures.framing import Framing, FramingStep, StepKind

TABLE = "*tags.csv"
_SIDE_PX = 448
_THRESHOLD = 0.7


def ml_danbooru_table(files: Mapping[str, bytes]) -> TaggerTags:
    """Read the table of an ML-Danbooru."""
    file = next(name for name in files if name.endswith("tags.csv"))
    return read_tag_csv(files[file], file, name_columns=("name", "tag"))


def read_ml_danbooru(
    _: Mapping[str, bytes], table: TaggerTags, graph: Graph, model_file: str
) -> ModelDescription:
    """Describe an ML-Danbooru."""
    tensor = graph.input(None)
    side = side_of(tensor, channels_first=True, otherwise=_SIDE_PX)
    stretched = FramingStep(kind=StepKind.STRETCH, width=side, height=side, resampling="bilinear")
    return ModelDescription(
        family="ML-Danbooru",
        model_file=model_file,
        input=ModelInput(
            tensor=tensor,
            preparation=Framing(steps=(stretched,)),
            channels_first=True,
            scale=1 / 255,
        ),
        output=output_of(graph, graph.outputs[0].name, logits=True, vectors="embedding"),
        vocabulary=table.vocabulary,
        thresholds=ModelThresholds(overall=_THRESHOLD, overall_source="imgutils' default for ML-Danbooru"),
        notes=table.notes,
    )
