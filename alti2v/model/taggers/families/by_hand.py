"""Any ONNX tagger, described by hand in a `model.json` beside it; docs/MODELS.md documents the fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alti2v.model.taggers.description import (
    ModelDescription,
    ModelInput,
    ModelThresholds,
    is_channels_first,
    side_of,
)
from alti2v.model.taggers.families.cl import mapping_table
from alti2v.model.taggers.families.stages import PreparationStages, read_stages
from alti2v.model.taggers.families.wd import output_of
from alti2v.model.taggers.graph import Graph
from alti2v.model.taggers.tables import (
    CATEGORY_OF_WORD,
    TaggerTags,
    make_tag_table,
    probability,
    read_document,
    read_tag_csv,
)
from alti2v.pictures.framing import Framing
from alti2v.storage.documents import from_json

FILE = "model.json"
_ORDERS, _CHANNELS = ("NHWC", "NCHW"), ("RGB", "BGR")


@dataclass(frozen=True, slots=True, kw_only=True)
class HandInput:
    """The object `input` of a model.json; see `ModelInput`."""

    stages: tuple[dict[str, Any], ...]
    name: str | None = None
    order: str | None = None
    channels: str = "RGB"
    scale: float | None = None
    padding_mask: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOutput:
    """The object `output` of a model.json; see `ModelOutput`."""

    tags: str | None = None
    logits: bool = False
    vectors: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandDescription:
    """A model.json.

    Attributes:
        labels: File with the tags, or the tags themselves.
        input: Input of the network.
        output: Outputs of the network.
        model_file: ONNX file; "" for the only one in the folder.
        thresholds: One number, or one for each category.
        kind: "tagger", or absent.
    """

    labels: str | tuple[str, ...]
    input: dict[str, Any]
    output: dict[str, Any] = field(default_factory=dict)
    model_file: str = ""
    thresholds: float | dict[str, float] | None = None
    kind: str = "tagger"


def described_by_hand(content: bytes) -> HandDescription:
    """Read model.json.

    Raises:
        ValueError: It is something else.
    """
    try:
        return from_json(HandDescription, read_document(content, FILE))
    except ValueError as exc:
        raise ValueError(
            f"{FILE} does not describe a tagger ({exc}): see docs/MODELS.md for its fields"
        ) from exc


def is_of_a_run(content: bytes) -> bool:
    """Return whether this is the model.json of a RUN."""
    document = read_document(content, FILE)
    return isinstance(document, dict) and document.get("kind") == "model"


def table_by_hand(files: Mapping[str, bytes]) -> TaggerTags:
    """Read the table that a model.json names."""
    return _labels(files, described_by_hand(files[FILE]))


def read_by_hand(
    files: Mapping[str, bytes], table: TaggerTags, graph: Graph, model_file: str
) -> ModelDescription:
    """Describe a tagger as its model.json says."""
    hand = described_by_hand(files[FILE])
    takes, gives = from_json(HandInput, hand.input), from_json(HandOutput, hand.output)
    stages = read_stages(list(takes.stages), FILE)
    return ModelDescription(
        family="described by hand",
        model_file=model_file,
        input=_input(graph, takes, stages),
        output=output_of(
            graph, gives.tags or graph.outputs[0].name, logits=gives.logits, vectors=gives.vectors or "-"
        ),
        vocabulary=table.vocabulary,
        thresholds=_thresholds(hand, table),
        copyright_of=table.copyright_of,
        notes=table.notes,
    )


def _input(graph: Graph, takes: HandInput, stages: PreparationStages) -> ModelInput:
    tensor = graph.input(takes.name)
    first = is_channels_first(tensor) if takes.order is None else takes.order == "NCHW"
    if takes.order not in (None, *_ORDERS) or takes.channels not in _CHANNELS:
        raise ValueError(f"{FILE} has the order {takes.order} and the channels {takes.channels}")
    size = side_of(tensor, channels_first=first, otherwise=stages.framing.size)
    if size != stages.framing.size:
        raise ValueError(f"{FILE} makes pictures of {stages.framing.size} px for a model that takes {size}")
    is_bgr = takes.channels == "BGR"
    return ModelInput(
        tensor=tensor,
        preparation=Framing(steps=stages.framing.steps, with_mask=takes.padding_mask is not None),
        channels_first=first,
        bgr=is_bgr,
        scale=1 / 255 if takes.scale is None else takes.scale,
        mean=_turned(stages.mean) if is_bgr else stages.mean,
        std=_turned(stages.std) if is_bgr else stages.std,
        mask=takes.padding_mask,
    )


def _turned(numbers: tuple[float, float, float]) -> tuple[float, float, float]:
    return numbers[2], numbers[1], numbers[0]


def _labels(files: Mapping[str, bytes], hand: HandDescription) -> TaggerTags:
    if not isinstance(hand.labels, str):
        return make_tag_table(hand.labels, ["general"] * len(hand.labels), FILE, category_of=CATEGORY_OF_WORD)
    if hand.labels not in files:
        raise ValueError(f"{FILE} names the labels {hand.labels!r:.80}, and there is no such file")
    content = files[hand.labels]
    if hand.labels.endswith(".json"):
        return mapping_table(read_document(content, hand.labels), hand.labels)
    if hand.labels.endswith(".csv"):
        return read_tag_csv(content, hand.labels, name_columns=("name", "tag"))
    names = content.decode("utf-8-sig").split("\n")
    names = [name.strip() for name in names if name.strip()]
    return make_tag_table(names, ["general"] * len(names), hand.labels, category_of=CATEGORY_OF_WORD)


def _thresholds(hand: HandDescription, table: TaggerTags) -> ModelThresholds:
    given = hand.thresholds
    by_category = given if isinstance(given, dict) else {}
    for category, value in by_category.items():
        if category not in table.vocabulary.members:
            raise ValueError(f"{FILE} has a threshold for {category!r:.40}, and no tag is of that category")
        probability(value, FILE)
    return ModelThresholds(
        overall=probability(given, FILE) if isinstance(given, int | float) else None,
        by_category=by_category,
        by_tag=table.thresholds,
        source=FILE if given is not None or table.thresholds is not None else "",
    )
