"""cl_tagger 1.0x, which kohya's sd-scripts read as their second format; also our exports in that format.

Pictures are centred on white, (N, 3, S, S), blue, green, red, v / 127.5 - 1; the output holds logits. The table
maps the number of an output to its tag and category, in one of two forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alti2v.model.loading.description import ModelDescription, ModelInput, side_of
from alti2v.model.loading.families.wd import output_of
from alti2v.model.loading.graph import Graph
from alti2v.model.loading.tables import CATEGORY_OF_WORD, TaggerTags, make_tag_table, ordered, read_document
from alti2v.pictures.framing import Framing, letterbox

TABLE = "tag_mapping.json"
_SIDE_PX = 448


def cl_table(files: Mapping[str, bytes]) -> TaggerTags:
    """Read the table of a cl_tagger."""
    return mapping_table(read_document(files[TABLE], TABLE), TABLE)


def read_cl(_: Mapping[str, bytes], table: TaggerTags, graph: Graph, model_file: str) -> ModelDescription:
    """Describe a cl_tagger."""
    tensor = graph.input(None)
    side = side_of(tensor, channels_first=True, otherwise=_SIDE_PX)
    return ModelDescription(
        family="cl_tagger",
        model_file=model_file,
        input=ModelInput(
            tensor=tensor,
            preparation=Framing(steps=(letterbox(side),)),
            channels_first=True,
            bgr=True,
            scale=1 / 255,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        ),
        output=output_of(graph, graph.outputs[0].name, logits=True),
        vocabulary=table.vocabulary,
        notes=table.notes,
    )


def mapping_table(document: Any, file: str) -> TaggerTags:  # noqa: ANN401 - JSON
    """Make a table of {"0": {"tag", "category"}, ...}, or {"idx_to_tag": {...}, "tag_to_category": {...}}.

    Raises:
        ValueError: It has neither form.
    """
    if not isinstance(document, dict):
        raise ValueError(  # noqa: TRY004 - a fault of the file
            f"{file} is not the table of a tagger's tags ({document!r:.40} is not an object): get it again"
        )
    try:
        if "idx_to_tag" in document:
            names = ordered(document["idx_to_tag"], file)
            words = [document["tag_to_category"].get(name) for name in names]
        else:
            rows = ordered(document, file)
            names, words = [row["tag"] for row in rows], [row["category"] for row in rows]
    except (AttributeError, KeyError, TypeError) as exc:
        raise ValueError(
            f"{file} is not the table of a tagger's tags (an output without tag and category): get it again"
        ) from exc
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{file} is not the table of a tagger's tags (a tag without a name): get it again")
    if not all(word is None or isinstance(word, str) for word in words):
        raise ValueError(
            f"{file} is not the table of a tagger's tags (a category that is not a word): get it again"
        )
    return make_tag_table(names, words, file, category_of=CATEGORY_OF_WORD)
