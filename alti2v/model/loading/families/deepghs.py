"""Models in the form of imgutils' generic reader: animetimm's dbv4, PixAI 0.9 in ONNX, our exports.

`preprocess.json` says how pictures are prepared, `categories.json` what the numbers of categories mean,
`thresholds.csv` a threshold for each category, and the column `best_threshold` one for each tag. Of the
outputs, `prediction` holds probabilities and `embedding` the vectors (imgutils/generic/multilabel_timm.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from alti2v.model.loading.description import ModelDescription, ModelInput, ModelThresholds, side_of
from alti2v.model.loading.families.stages import read_stages
from alti2v.model.loading.families.wd import TABLE, output_of
from alti2v.model.loading.graph import Graph
from alti2v.model.loading.tables import (
    CATEGORY_OF_NUMBER,
    CATEGORY_OF_WORD,
    TaggerTags,
    read_category_thresholds,
    read_document,
    read_tag_csv,
)

PREPROCESS = "preprocess.json"
CATEGORIES = "categories.json"
THRESHOLDS = "thresholds.csv"


def deepghs_table(files: Mapping[str, bytes]) -> TaggerTags:
    """Read the table of a model for imgutils' generic reader."""
    return read_tag_csv(files[TABLE], TABLE, category_of=_categories(files))


def read_deepghs(
    files: Mapping[str, bytes], table: TaggerTags, graph: Graph, model_file: str
) -> ModelDescription:
    """Describe a model that imgutils' generic reader takes."""
    document = read_document(files[PREPROCESS], PREPROCESS)
    stages = read_stages(_test_stages(document), PREPROCESS)
    tensor = graph.input(None)
    size = side_of(tensor, channels_first=True, otherwise=stages.framing.size)
    if size != stages.framing.size:
        raise ValueError(
            f"{PREPROCESS} makes pictures of {stages.framing.size} px for a model that takes {size}"
        )
    tags = graph.output("prediction", "output", "logits").name
    return ModelDescription(
        family="deepghs",
        model_file=model_file,
        input=ModelInput(
            tensor=tensor,
            preparation=stages.framing,
            channels_first=True,
            scale=1 / 255,
            mean=stages.mean,
            std=stages.std,
        ),
        output=output_of(graph, tags, logits=tags == "logits", vectors="embedding"),
        vocabulary=table.vocabulary,
        thresholds=_thresholds(files, table),
        copyright_of=table.copyright_of,
        notes=table.notes,
    )


def _test_stages(document: object) -> object:
    """Return the stages for use: imgutils calls them "test"; its copies of other models have "stages"."""
    if isinstance(document, dict):
        return next((document[name] for name in ("test", "stages", "val") if name in document), None)
    return document


def _categories(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return number -> category; categories.json goes before the boards' numbers."""
    if CATEGORIES not in files:
        return {**CATEGORY_OF_NUMBER}
    rows = read_document(files[CATEGORIES], CATEGORIES)
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("name"), str) and "category" in row for row in rows
    ):
        raise ValueError(f"{CATEGORIES} is not a list of categories with their names")
    return {**CATEGORY_OF_NUMBER} | {
        str(row["category"]): CATEGORY_OF_WORD[row["name"].lower()]
        for row in rows
        if row["name"].lower() in CATEGORY_OF_WORD
    }


def _thresholds(files: Mapping[str, bytes], table: TaggerTags) -> ModelThresholds:
    by_category = (
        read_category_thresholds(files[THRESHOLDS], THRESHOLDS, _categories(files))
        if THRESHOLDS in files
        else {}
    )
    return ModelThresholds(
        overall=0.4 if by_category or table.thresholds is not None else None,
        by_category=by_category,
        overall_source="imgutils' default",  # where a category has none
        category_source=THRESHOLDS,
    )
