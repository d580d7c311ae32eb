"""Any ONNX tagger, described by hand in a `model.json` beside it; docs/MODELS.md documents the fields.

Every fault is a `ValueError` that names the field: the network may be sound.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from alti2v.errors import UsageError
from alti2v.model.loading.description import (
    ModelDescription,
    ModelInput,
    ModelOutput,
    ModelThresholds,
    is_channels_first,
    side_of,
)
from alti2v.model.loading.families.cl import mapping_table
from alti2v.model.loading.families.stages import PreparationStages, read_stages
from alti2v.model.loading.graph import (
    MASK_TYPE,
    NUMBER_TYPES,
    PICTURE_TYPES,
    Graph,
    GraphTensor,
    is_picture,
    named_tensors,
)
from alti2v.model.loading.tables import (
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
_TABLES = (".txt", ".csv", ".json")
# What imgutils' stages may have (imgutils/preprocess/pillow.py); of these, antialias and max_size are defaults.
_OF_STAGE = frozenset(
    {"type", "size", "interpolation", "background_color", "mean", "std", "antialias", "max_size"}
)


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
    """Content of a model.json that somebody has written for a folder.

    Attributes:
        labels: File with the tags, or the tags themselves.
        input: Input of the network.
        output: Outputs of the network.
        model_file: ONNX file; "" for the only one in the folder.
        thresholds: One number, or one for each category.
        kind: "tagger", or absent.
    """

    labels: str | tuple[str, ...]
    input: HandInput
    output: HandOutput = field(default_factory=HandOutput)
    model_file: str = ""
    thresholds: float | dict[str, float] | None = None
    kind: str = "tagger"


def described_by_hand(content: bytes) -> HandDescription:
    """Read model.json.

    Raises:
        ValueError: It is not a model.json that describes a tagger.
    """
    document = read_document(content, FILE)
    try:
        if not isinstance(document, dict):
            raise ValueError(f"{document!r:.60} is not an object")  # noqa: TRY004 - a fault of the file
        parts = {
            name: _part(kind, document[name], name)
            for name, kind in (("input", HandInput), ("output", HandOutput))
            if name in document
        }
        hand = from_json(HandDescription, document, **parts)
        if hand.kind != "tagger":
            raise ValueError(f"kind has the value {hand.kind!r:.40}")
    except ValueError as exc:
        raise ValueError(
            f"{FILE} does not describe a tagger ({exc}): see docs/MODELS.md for its fields"
        ) from exc
    return hand


def is_of_a_run(content: bytes) -> bool:
    """Return whether this is the model.json of a RUN."""
    document = read_document(content, FILE)
    return isinstance(document, dict) and document.get("kind") == "model"


def named_model(content: bytes, names: Collection[str]) -> str | None:
    """Return the name of the ONNX file that a model.json chooses among the folder's files; None if it does not.

    Raises:
        ValueError: There is no such file, or it is no model.json.
    """
    name = described_by_hand(content).model_file
    if name and name not in names:
        raise ValueError(f"{FILE}, model_file: there is no {name!r:.80} beside it")
    return name or None


def table_by_hand(files: Mapping[str, bytes]) -> TaggerTags:
    """Read the table that a model.json names."""
    return _labels(files, described_by_hand(files[FILE]))


def read_by_hand(
    files: Mapping[str, bytes], table: TaggerTags, graph: Graph, model_file: str
) -> ModelDescription:
    """Describe a tagger as its model.json says."""
    hand = described_by_hand(files[FILE])
    return ModelDescription(
        family="described by hand",
        model_file=model_file,
        input=_input(graph, hand.input),
        output=_output(graph, hand.output, tags=len(table.vocabulary)),
        vocabulary=table.vocabulary,
        thresholds=_thresholds(hand, table),
        copyright_of=table.copyright_of,
        notes=table.notes,
    )


def _part(kind: type[Any], document: object, name: str) -> Any:  # noqa: ANN401 - of that type
    """Read an inner object, with its name in messages."""
    try:
        return from_json(kind, document)
    except ValueError as exc:
        raise ValueError(f"{name}: {exc}") from exc


@contextmanager
def _blamed(name: str) -> Iterator[None]:
    """Add the name of the faulty field to an error."""
    try:
        yield
    except (UsageError, ValueError) as exc:
        reason = str(exc).removeprefix(FILE).removesuffix(": get it again").strip()
        raise ValueError(f"{FILE}, {name}: {reason}") from exc


def _input(graph: Graph, takes: HandInput) -> ModelInput:
    with _blamed("input.stages"):
        stages = _stages(takes)
    with _blamed("input.name"):
        tensor = graph.input(takes.name)
        if not is_picture(tensor):
            raise ValueError(f"{tensor} does not take pictures such as (N, 3, S, S) float32")
    with _blamed("input.order"):
        if takes.order not in (None, *_ORDERS):
            raise ValueError(f"{takes.order!r:.40} is not one of {', '.join(_ORDERS)}")
        first = is_channels_first(tensor) if takes.order is None else takes.order == "NCHW"
        size = side_of(tensor, channels_first=first, otherwise=stages.framing.size)
    with _blamed("input.stages"):
        if size != stages.framing.size:
            raise ValueError(f"they make pictures of {stages.framing.size} px for a model that takes {size}")
    with _blamed("input.channels"):
        if takes.channels not in _CHANNELS:
            raise ValueError(f"{takes.channels!r:.40} is not one of {', '.join(_CHANNELS)}")
    with _blamed("input.padding_mask"):
        _require_mask(graph, takes.padding_mask, tensor)
    is_bgr = takes.channels == "BGR"
    with _blamed("input.scale"):
        if takes.scale is not None and takes.scale <= 0:
            raise ValueError(f"{takes.scale:g} is not above 0")
        if PICTURE_TYPES[tensor.type] == "uint8" and (takes.scale not in (None, 1) or stages.is_normalised):
            raise ValueError(f"{tensor} takes whole pixels: leave out input.scale and the stage normalize")
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


def _stages(takes: HandInput) -> PreparationStages:
    for stage in takes.stages:
        if unknown := stage.keys() - _OF_STAGE:
            raise ValueError(f"{sorted(unknown)[0]!r:.60} is unknown")
    return read_stages(list(takes.stages), FILE)


def _require_mask(graph: Graph, name: str | None, pictures: GraphTensor) -> None:
    if name is None:
        return
    mask = _named(graph.inputs, name, "input")
    if mask.type != MASK_TYPE or len(mask.shape) != 3 or mask.name == pictures.name:
        raise ValueError(f"{mask} does not take a mask such as (N, S, S) bool")


def _output(graph: Graph, gives: HandOutput, *, tags: int) -> ModelOutput:
    with _blamed("output.tags"):
        found = graph.outputs[0] if gives.tags is None else _named(graph.outputs, gives.tags, "output")
        _require_numbers(found)
        if found.shape[1] not in (None, tags):
            raise ValueError(f"{found} has {found.shape[1]} columns for {tags} labels")
    with _blamed("output.vectors"):
        vectors = None if gives.vectors is None else _named(graph.outputs, gives.vectors, "output")
        if vectors is not None:
            _require_numbers(vectors)
    return ModelOutput(
        tags=found.name,
        logits=gives.logits,
        vectors=None if vectors is None else vectors.name,
        features=None if vectors is None else vectors.shape[1],
    )


def _named(tensors: Collection[GraphTensor], name: str, what: str) -> GraphTensor:
    found = next((one for one in tensors if one.name == name), None)
    if found is None:
        raise ValueError(f"the model has no {what} {name!r:.80}, only {named_tensors(tensors)}")
    return found


def _require_numbers(tensor: GraphTensor) -> None:
    if tensor.type not in NUMBER_TYPES or len(tensor.shape) != 2:
        raise ValueError(f"{tensor} does not give rows of numbers such as (N, T) float32")


def _turned(numbers: tuple[float, float, float]) -> tuple[float, float, float]:
    return numbers[2], numbers[1], numbers[0]


def _labels(files: Mapping[str, bytes], hand: HandDescription) -> TaggerTags:
    if not isinstance(hand.labels, str):
        with _blamed("labels"):
            return make_tag_table(
                hand.labels, ["general"] * len(hand.labels), FILE, category_of=CATEGORY_OF_WORD
            )
    with _blamed("labels"):
        if not hand.labels.endswith(_TABLES):
            raise ValueError(f"{hand.labels!r:.80} does not end in {', '.join(_TABLES)}")
        if hand.labels not in files or hand.labels == FILE:
            raise ValueError(f"there is no {hand.labels!r:.80} beside it")
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
    with _blamed("thresholds"):
        for category, value in by_category.items():
            if category not in table.vocabulary.members:
                raise ValueError(f"no tag is of the category {category!r:.40}")
            probability(value, FILE)
        overall = probability(given, FILE) if isinstance(given, int | float) else None
    return ModelThresholds(
        overall=overall,
        by_category=by_category,
        overall_source=FILE,
        category_source=FILE,
    )
