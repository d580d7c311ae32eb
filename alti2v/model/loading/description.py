"""Description of a tagger: its input, its outputs, and their meaning. Pure data.

Each family of folders has a reader that makes one (`families`); no other module knows the families.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from alti2v.arrays import Float32Array
from alti2v.errors import UsageError
from alti2v.model.loading.graph import NUMBER_TYPES, PICTURE_TYPES, Graph, GraphTensor, named_tensors
from alti2v.model.vocabulary import OutputTags
from alti2v.pictures.framing import Framing
from alti2v.pictures.recipe import ImageRecipe

_MOST_VALUE = 65_504.0  # the largest number of float16; in all published models values are below 256
MOST_BATCH = 1024  # the graph may be anybody's
Channels = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInput:
    """Input of a tagger: each value is (pixel * scale - mean) / std, with pixels from 0 to 255.

    Attributes:
        tensor: Input of the graph, as the file declares it.
        preparation: Steps that make any picture a square; an `ImageRecipe` for a network that this program
            trained.
        channels_first: True for (B, 3, S, S), False for (B, S, S, 3).
        bgr: True if the channels are blue, green, red.
        scale: Factor of the pixels: 1, or 1 / 255.
        mean, std: Mean and standard deviation of each channel, in the order in which channels are fed.
        mask: Name of the input that takes (B, S, S) bool, True in the padding; None without one.
        at_once: Number of pictures that the answers are limited to, whatever the input declares; None if they
            are not.
    """

    tensor: GraphTensor
    preparation: Framing | ImageRecipe
    channels_first: bool = False
    bgr: bool = False
    scale: float = 1.0
    mean: Channels = (0.0, 0.0, 0.0)
    std: Channels = (1.0, 1.0, 1.0)
    mask: str | None = None
    at_once: int | None = None

    def __post_init__(self) -> None:
        if self.batch is not None and not 1 <= self.batch <= MOST_BATCH:
            raise ValueError(f"the model takes batches of {self.batch:,} pictures")
        if not math.isfinite(self.scale) or not all(std > 0 for std in self.std):
            raise ValueError(f"pixels cannot be multiplied by {self.scale:g} and divided by {self.std}")
        most = max(
            max(abs(mean), abs(255 * self.scale - mean)) / std
            for mean, std in zip(self.mean, self.std, strict=True)
        )
        if not most <= _MOST_VALUE:
            raise ValueError(
                f"pixels become numbers up to {most:.3g} by the scale {self.scale:g}, mean {self.mean} and std "
                f"{self.std}, and networks take {_MOST_VALUE:,.0f} at most: correct them"
            )

    @property
    def size(self) -> int:
        """Side of the pictures, px."""
        return self.preparation.size

    @property
    def name(self) -> str:
        """Name of the input in the graph."""
        return self.tensor.name

    @property
    def dtype(self) -> str:
        """Type of the values: "float32", "float16" or "uint8"."""
        return PICTURE_TYPES[self.tensor.type]

    @property
    def batch(self) -> int | None:
        """Number of pictures that the graph requires; None for any number."""
        return self.at_once if self.tensor.shape[0] is None else self.tensor.shape[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutput:
    """Outputs of a tagger.

    Attributes:
        tags: Name of the output with a column for each tag.
        logits: True if its values come before the sigmoid.
        vectors: Name of the output with the picture's vector; None if there is none.
        features: Length of a vector; None if there is none, or the graph does not say.
    """

    tags: str
    logits: bool = False
    vectors: str | None = None
    features: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelThresholds:
    """Thresholds that come with a model: a tag passes if its probability is at least that.

    Attributes:
        overall: Threshold of tags without another one; None if the model does not say.
        by_category: Category -> threshold.
        by_tag: (T,) float32, NaN for a tag without one; None if no tag has one.
        overall_source, category_source, tag_source: Origins of these three, for display: "best_threshold in
            selected_tags.csv".
    """

    overall: float | None = None
    by_category: Mapping[str, float] = field(default_factory=dict)
    by_tag: Float32Array | None = None
    overall_source: str = ""
    category_source: str = ""
    tag_source: str = ""

    @property
    def source(self) -> str:
        """Origin of the thresholds of tags and categories, or else of the one for all; "" if there is none."""
        parts = [self.tag_source] if self.by_tag is not None else []
        parts += [self.category_source] if self.by_category else []
        return " and ".join(dict.fromkeys(parts)) or ("" if self.overall is None else self.overall_source)

    def of(self, vocabulary: OutputTags, *, otherwise: float) -> Float32Array:
        """Return the threshold of every output, (T,); `otherwise` where the model has none."""
        found = np.full(len(vocabulary), otherwise if self.overall is None else self.overall, np.float32)
        for category, threshold in self.by_category.items():
            found[vocabulary.members.get(category, [])] = threshold
        return found if self.by_tag is None else np.where(np.isnan(self.by_tag), found, self.by_tag)

    def sources(self, vocabulary: OutputTags) -> list[str]:
        """Return the origin of the threshold of every output, as `of` takes them."""
        otherwise = "the default" if self.overall is None else self.overall_source
        found = [
            self.category_source if category in self.by_category else otherwise
            for category in vocabulary.categories
        ]
        if self.by_tag is not None:
            for output in np.flatnonzero(~np.isnan(self.by_tag)).tolist():
                found[output] = self.tag_source
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """Description of a tagger: how it is fed, and what its outputs mean.

    Attributes:
        family: Family of the folder, for display.
        model_file: File of the network, relative to the folder.
        input: Input of the network.
        output: Outputs of the network.
        vocabulary: Names and categories of the T outputs.
        thresholds: Thresholds that come with the model.
        copyright_of: Character -> copyrights that it belongs to; empty if the model does not say.
        notes: Remarks about the folder for the user, one line each.
    """

    family: str
    model_file: str
    input: ModelInput
    output: ModelOutput
    vocabulary: OutputTags
    thresholds: ModelThresholds = field(default_factory=ModelThresholds)
    copyright_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def side_of(tensor: GraphTensor, *, channels_first: bool, otherwise: int) -> int:
    """Return the side of the pictures that an input declares; `otherwise` if it leaves it open.

    Raises:
        UsageError: The input does not take square pictures.
    """
    shape = tensor.shape
    sides = shape[2:] if channels_first else shape[1:3]
    channels = shape[1 if channels_first else 3] if len(shape) == 4 else 0
    if len(shape) != 4 or channels not in (3, None) or tensor.type not in PICTURE_TYPES or len(set(sides)) != 1:
        wanted = "(N, 3, S, S)" if channels_first else "(N, S, S, 3)"
        raise UsageError(
            f"the model takes {tensor} instead of pictures such as {wanted} float32: it is a model of another "
            "kind"
        )
    return sides[0] or otherwise


def is_channels_first(tensor: GraphTensor) -> bool:
    """Return whether the second length of an input is that of the channels."""
    return len(tensor.shape) == 4 and tensor.shape[1] == 3 and tensor.shape[3] != 3


def require_inputs(graph: Graph, takes: ModelInput) -> None:
    """Require that every input of the network is fed.

    Raises:
        UsageError: The network takes more.
    """
    unfed = [one for one in graph.inputs if one.name not in (takes.name, takes.mask)]
    if unfed:
        raise UsageError(
            f"the model also takes {named_tensors(unfed)}, which nothing describes: it is a model of "
            "another kind, or a model.json has to name it (docs/MODELS.md)"
        )


def require_outputs(graph: Graph, output: ModelOutput, tags: int, table: str) -> None:
    """Require outputs of numbers, and as many columns as the table has rows.

    Raises:
        UsageError: An output holds texts or whole numbers.
        ValueError: The output has another number of columns.
    """
    for name in filter(None, (output.tags, output.vectors)):
        if graph.output(name).type not in NUMBER_TYPES:
            raise UsageError(
                f"the model gives {graph.output(name)} instead of numbers such as (N, {tags}) float32: it is a "
                "model of another kind"
            )
    shape = graph.output(output.tags).shape
    if len(shape) != 2:
        raise ValueError(
            f"the model gives {graph.output(output.tags)} instead of a row for each picture, (N, {tags}): it "
            "is a model of another kind"
        )
    if shape[1] not in (None, tags):
        raise ValueError(f"{table} has {tags} rows for {shape[1]} outputs: it belongs to another model")
