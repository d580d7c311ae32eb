"""Choices of options, which the modules behind the options also use."""

from __future__ import annotations

from enum import StrEnum

from alti2v.records import Category

# The WD taggers' category 9: mutually exclusive outputs, of which the most probable one is shown
RATING = "rating"
# In the order of display; categories of subjects first, as in illustration2vec.
CATEGORIES = (
    *(Category.GENERAL.value, Category.CHARACTER.value, Category.COPYRIGHT.value),
    *(Category.ARTIST.value, Category.META.value, Category.UNKNOWN.value, RATING),
)
# VGG16's layers; the export writes these, too.
TRUNK_LAYERS = (
    *("block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2"),
    *("block3_conv1", "block3_conv2", "block3_conv3"),
    *("block4_conv1", "block4_conv2", "block4_conv3"),
    *("block5_conv1", "block5_conv2", "block5_conv3"),
)
# Number format -> its name in Keras
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
PRECISION_CHOICES = ("auto", *PRECISIONS)
# At 448 px a float32 picture takes 2.4 MB; a CPU gains nothing from batches of more than 16.
DEFAULT_BATCH_SIZE = 16


class Rule(StrEnum):
    """Source of the thresholds of tagging."""

    CONSTANT = "constant"  # one number, or one for each category
    F05 = "f0.5"  # each tag's own, with the best F0.5 on the validation split: favours precision
    F1 = "f1"
    F2 = "f2"  # favours recall
    MCUT = "mcut"  # each picture's own: at the widest gap between neighbouring probabilities


class Sort(StrEnum):
    """Order of a picture's tags."""

    SCORE = "score"
    ALPHABET = "alphabet"
    INDEX = "index"  # the model's own order


class Existing(StrEnum):
    """Action for a picture that already has a sidecar."""

    SKIP = "skip"
    APPEND = "append"  # keep its text, add new tags
    OVERWRITE = "overwrite"


class Implications(StrEnum):
    """Treatment of tags that others imply."""

    OFF = "off"
    ADD = "add"  # tags that follow from those of a picture
    DROP = "drop"  # tags that others of the picture say already, as caption writers want it


class Format(StrEnum):
    """Format of an exported folder, by its readers."""

    WD = "wd"  # all readers of WD taggers
    WD_EMBEDDING = "wd-embedding"  # imgutils, which needs the picture's vector as a second output
    CL = "cl"  # kohya's second format, the only one with copyright, artist and meta tags
    DEEPGHS = "deepghs"  # imgutils' generic reader; every category, a threshold for each tag, any size
    ONNX = "onnx"  # alti2v and your own programs; nothing is renamed, left out or resized
