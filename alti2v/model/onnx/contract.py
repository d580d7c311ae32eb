"""What programs of others expect of a tagger's folder: names, shapes, categories. Pure data, no I/O.

The contract of the WD taggers is written nowhere; it is what these readers do, each of which was read, and most
of them run: SmilingWolf's space (app.py), kohya-ss/sd-scripts (finetune/tag_images_by_wd14_tagger.py),
ComfyUI-WD14-Tagger, taggui, the webui extensions of toriato and picobyte, wd14-tagger-standalone, and imgutils
(imgutils/tagging/wd14.py). Where they differ, only what all of them take is in here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from alti2v.records import Category

# kohya-ss/sd-scripts: `IMAGE_SIZE = 448`, whatever the model says; all others read the side from the model.
WD_SIDE_PX = 448
RATINGS = ("general", "sensitive", "questionable", "explicit")
REPORT_FILE = "export_report.json"
CARD_FILE = "README.md"
# Of ONNX 1.10, July 2021 (onnx.helper.VERSION_TABLE): old installations read it as well as today's.
OPSET, IR_VERSION = 15, 8
# Protocol buffers end at 2 GiB, and no client fetches a second file with weights.
MAX_BYTES = 2**31 - 1


class Format(StrEnum):
    """Who the folder is for."""

    WD = "wd"  # every reader of WD taggers
    WD_EMBEDDING = "wd-embedding"  # imgutils, which wants the picture's vector as a second output
    CL = "cl"  # kohya's second form, the only one that has copyrights, artists and metadata
    ONNX = "onnx"  # alti2v and your own programs: nothing renamed, left out or resized


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What one format prescribes.

    Attributes:
        model_file: name of the ONNX file.
        labels_file: name of the table that says what the outputs mean.
        side_px: of the square pictures; None for the network's own.
        channels_first: (B, 3, S, S) instead of (B, S, S, 3).
        bgr: blue comes first.
        dtype: of the pictures.
        low, high: the values of black and white.
        input: name of the only input.
        outputs: names of the outputs, in order. The first has one column per label.
        logits: the first output is before the sigmoid.
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
    outputs: tuple[str, ...] = ("output",)
    logits: bool = False

    def shape(self, side_px: int) -> tuple[int, int, int]:
        """The shape of one picture of this side."""
        return (3, side_px, side_px) if self.channels_first else (side_px, side_px, 3)


CONTRACTS: Mapping[Format, Contract] = {
    Format.WD: Contract(),
    # imgutils unpacks (prediction, embedding) by position, so there are exactly two.
    Format.WD_EMBEDDING: Contract(outputs=("output", "embedding")),
    Format.CL: Contract(
        model_file="model_optimized.onnx",
        labels_file="tag_mapping.json",
        channels_first=True,
        low=-1.0,
        high=1.0,
        logits=True,
    ),
    Format.ONNX: Contract(
        labels_file="tags.csv",
        side_px=None,
        bgr=False,
        dtype="uint8",  # no client can divide by 255 by mistake, and a quarter of the bytes
        input="images",
        outputs=("probabilities", "features"),
    ),
}

ONNX_FILE = CONTRACTS[Format.WD].model_file

# selected_tags.csv -----------------------------------------------------------------------------

WD_COLUMNS = ("tag_id", "name", "category", "count")
WD_RATING_CATEGORY = "9"  # Danbooru has no such category: the WD taggers invented it, and these ids
WD_RATING_IDS = (9999999, 9999998, 9999997, 9999996)
WD_GENERAL_CATEGORY = "0"
WD_CHARACTER_CATEGORY = "4"
WD_CATEGORY_NAMES: Mapping[str, str] = {
    WD_RATING_CATEGORY: "rating",
    WD_GENERAL_CATEGORY: "general",
    WD_CHARACTER_CATEGORY: "character",
}
# A row that nothing ever predicts, for vocabularies without characters: see `labels.wd_labels`.
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

# tags.csv --------------------------------------------------------------------------------------

NATIVE_COLUMNS = ("index", "name", "category", "count")

# Names -----------------------------------------------------------------------------------------

# What pandas.read_csv turns into a missing value by default (pandas, io/text_csv, "na_values"), in lower case.
# Four of the readers use it, and then fail on a float where a name should be.
_NOT_A_NAME = frozenset(
    {"", "#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "-nan", "1.#ind", "1.#qnan"}
    | {"<na>", "n/a", "na", "null", "nan", "none"}
)


def reads_as_missing(name: str) -> bool:
    """Whether pandas takes this name for a missing value."""
    return name.strip().lower() in _NOT_A_NAME


def fault_of(name: str) -> str:
    """Say why a name would harm a reader; "" if it would not."""
    if reads_as_missing(name):
        return "reads as a missing value"
    if "," in name:
        return "has a comma, which ends a tag in every caption file"
    if any(letter.isspace() or not letter.isprintable() for letter in name):
        return "has white space or control characters"
    return ""
