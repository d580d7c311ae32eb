"""Contracts of exported folders: names, shapes and categories that readers expect. Pure data, no I/O.

The contract of the WD taggers is not written down; it is what these readers do (their code was read, and most
of them were run): SmilingWolf's space (app.py), kohya-ss/sd-scripts (finetune/tag_images_by_wd14_tagger.py),
ComfyUI-WD14-Tagger, taggui, the webui extensions of toriato and picobyte, wd14-tagger-standalone, and imgutils
(imgutils/tagging/wd14.py). Where they differ, the contract holds only what all of them accept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from alti2v.model.options.choices import Format
from alti2v.records import CATEGORY_CODES, Category

# kohya-ss/sd-scripts: `IMAGE_SIZE = 448`, whatever the model says; all others read the size from the model.
WD_SIDE_PX = 448
RATINGS = ("general", "sensitive", "questionable", "explicit")
PRODUCER = "alti2v"  # in the ONNX file
REPORT_FILE = "export_report.json"
CARD_FILE = "README.md"
# From ONNX 1.10, July 2021 (onnx.helper.VERSION_TABLE), so that old installations can read it.
OPSET, IR_VERSION = 15, 8
MOST_SIDE_PX = 4096  # taggers take 224 to 1024
# Protocol buffers are limited to 2 GiB, and no client downloads a second file with weights.
MAX_BYTES = 2**31 - 1


class OutputRole(StrEnum):
    """Content of an output."""

    PROBABILITIES = "probabilities"
    LOGITS = "logits"  # of the same tags, before the sigmoid
    FEATURES = "features"  # the picture's vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """Requirements of one format.

    Attributes:
        model_file: Name of the ONNX file.
        labels_file: Name of the table of the outputs' tags.
        side_px: Side of the square pictures; None for the network's own.
        channels_first: True for pictures (B, 3, S, S), False for (B, S, S, 3).
        bgr: True if the channels are blue, green, red.
        dtype: Type of the pixels.
        low, high: Pixel values of black and white.
        input: Name of the only input.
        outputs: Name -> role of the outputs, in order.
        finds_by_name: True if clients find outputs by their names, False if by their places.
        halves_colour: True if the graph halves the resolution of colours, as JPEGs do.
    """

    model_file: str = "model.onnx"
    labels_file: str = "selected_tags.csv"
    side_px: int | None = WD_SIDE_PX
    channels_first: bool = False
    bgr: bool = True
    dtype: str = "float32"
    low: float = 0.0
    high: float = 255.0
    input: str = "input"
    outputs: Mapping[str, OutputRole] = field(default_factory=lambda: {"output": OutputRole.PROBABILITIES})
    finds_by_name: bool = False
    halves_colour: bool = False

    @property
    def side_axis(self) -> int:
        """Axis of the input that has the side of the pictures."""
        return 2 if self.channels_first else 1

    @property
    def logits(self) -> bool:
        """True if no output is after the sigmoid."""
        return OutputRole.PROBABILITIES not in self.outputs.values()

    @property
    def tags(self) -> int:
        """Position of the output with the tags."""
        return list(self.outputs.values()).index(OutputRole.LOGITS if self.logits else OutputRole.PROBABILITIES)

    def shape(self, side_px: int) -> tuple[int, int, int]:
        """Return the shape of one picture with this side."""
        return (3, side_px, side_px) if self.channels_first else (side_px, side_px, 3)


CONTRACTS: Mapping[Format, Contract] = {
    Format.WD: Contract(),
    # imgutils unpacks (prediction, embedding) by position, so there are exactly two.
    Format.WD_EMBEDDING: Contract(
        outputs={"output": OutputRole.PROBABILITIES, "embedding": OutputRole.FEATURES}
    ),
    Format.CL: Contract(
        model_file="model_optimized.onnx",
        labels_file="tag_mapping.json",
        channels_first=True,
        low=-1.0,
        high=1.0,
        outputs={"output": OutputRole.LOGITS},
    ),
    # imgutils/generic/multilabel_timm.py feeds "input" and asks for outputs by these names.
    Format.DEEPGHS: Contract(
        side_px=None,
        channels_first=True,
        bgr=False,
        low=-1.0,
        high=1.0,
        outputs={
            "embedding": OutputRole.FEATURES,
            "logits": OutputRole.LOGITS,
            "prediction": OutputRole.PROBABILITIES,
        },
        finds_by_name=True,
    ),
    Format.ONNX: Contract(
        labels_file="tags.csv",
        side_px=None,
        bgr=False,
        dtype="uint8",  # a quarter of the bytes, and no client can divide by 255 by mistake
        input="images",
        outputs={"probabilities": OutputRole.PROBABILITIES, "features": OutputRole.FEATURES},
    ),
}

# selected_tags.csv -----------------------------------------------------------------------------

WD_COLUMNS = ("tag_id", "name", "category", "count")
WD_RATING_CATEGORY = "9"  # not a category of Danbooru; the WD taggers invented it and these ids
WD_RATING_IDS = (9999999, 9999998, 9999997, 9999996)
WD_GENERAL_CATEGORY = "0"
WD_CHARACTER_CATEGORY = "4"
WD_CATEGORY_NAMES: Mapping[str, str] = {
    WD_RATING_CATEGORY: "rating",
    WD_GENERAL_CATEGORY: "general",
    WD_CHARACTER_CATEGORY: "character",
}
# Row that is never predicted, for vocabularies without characters; see `labels.wd_labels`.
PLACEHOLDER = "no_character"

# tag_mapping.json ------------------------------------------------------------------------------

CL_RATING = "Rating"
CL_CATEGORIES: Mapping[Category, str] = {
    Category.GENERAL: "General",
    Category.UNKNOWN: "General",
    Category.CHARACTER: "Character",
    Category.COPYRIGHT: "Copyright",
    Category.ARTIST: "Artist",
    Category.META: "Meta",
}
CL_ALL_CATEGORIES = frozenset({*CL_CATEGORIES.values(), CL_RATING, "Quality", "Model"})

# Files of imgutils' generic form ---------------------------------------------------------------

DEEPGHS_COLUMNS = ("id", "tag_id", "name", "category", "count", "best_threshold")
DEEPGHS_UNKNOWN_CATEGORY = "99"  # no number of Danbooru; categories.json names it
DEEPGHS_CATEGORIES: Mapping[str, str] = {
    **{str(code): category.value for category, code in CATEGORY_CODES.items()},
    DEEPGHS_UNKNOWN_CATEGORY: Category.UNKNOWN.value,
}
PREPROCESS_FILE = "preprocess.json"
CATEGORIES_FILE = "categories.json"
CATEGORY_THRESHOLDS_FILE = "thresholds.csv"

# tags.csv --------------------------------------------------------------------------------------

NATIVE_COLUMNS = ("index", "name", "category", "count")

# Names -----------------------------------------------------------------------------------------

# What pandas.read_csv turns into a missing value by default (pandas, io/text_csv, "na_values"), in lower case.
# Four of the readers use it, and then fail on a float in place of a name.
_NOT_A_NAME = frozenset(
    {"", "#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "-nan", "1.#ind", "1.#qnan"}
    | {"<na>", "n/a", "na", "null", "nan", "none"}
)


def reads_as_missing(name: str) -> bool:
    """Return whether pandas reads this name as a missing value."""
    return name.strip().lower() in _NOT_A_NAME


def fault_of(name: str) -> str:
    """Return the reason why a name would break a reader; "" if it would not."""
    if reads_as_missing(name):
        return "reads as a missing value"
    if "," in name:
        return "has a comma, which separates tags in caption files"
    if any(letter.isspace() or not letter.isprintable() for letter in name):
        return "has white space or control characters"
    return ""
