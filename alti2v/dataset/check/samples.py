"""What is wrong with a sample, asked by `verify`: its picture, its JSON, and the row of the shard's table."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from alti2v.dataset.check.labels import TAGS_COLUMNS
from alti2v.dataset.manifest import ORIGINAL, ImageRecipe
from alti2v.dataset.write.shard import SAMPLE_FIELDS, sample_fields
from alti2v.storage.layout import IMAGE_SUFFIX_OF_FORMAT, POST_JSON_SUFFIX

COLUMNS_IN_SHARD = (
    *("id", "key", "sha256", "width", "height", "source_width", "source_height", "source_md5"),
    *("score", "created_at", "rating", "source", "url"),
    *TAGS_COLUMNS,
)


def fields_of(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """The JSON of a sample; nothing if it cannot be read."""
    try:
        fields = json.loads(sample.get(POST_JSON_SUFFIX, b""))
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def row_faults(key: str, picture: bytes, fields: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[str]:
    """Say how the row of a sample, with `COLUMNS_IN_SHARD`, differs from what the shard holds.

    Args:
        key: of the sample in the shard.
        picture: the bytes there.
        fields: its JSON there.
        row: of the table.
    """
    if key != row["key"]:
        yield f"{key} stands where the metadata have {row['key']}"
        return
    if hashlib.sha256(picture).hexdigest() != row["sha256"]:
        yield f"{key}: the picture is not that of the metadata"
    expected = sample_fields(row)
    if other := [name for name in expected if name in fields and fields[name] != expected[name]]:
        yield f"{key}: the JSON in the shard has another {', '.join(other)}"


def json_faults(key: str, fields: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong with the JSON of a sample whatever stands in the table."""
    if not fields:
        yield f"{key}: the JSON cannot be read"
    elif list(fields) != list(SAMPLE_FIELDS):
        yield f"{key}: the JSON has other keys than docs/FORMAT.md"


def picture_faults(picture: bytes, row: Mapping[str, Any], recipe: ImageRecipe) -> Iterator[str]:
    """Decode a picture, and say how it is not what the row and the recipe say."""
    formats = tuple(IMAGE_SUFFIX_OF_FORMAT) if recipe.format == ORIGINAL else (recipe.format,)
    try:
        with Image.open(io.BytesIO(picture), formats=formats) as image:
            image.load()
            found = (image.mode, image.size)
    except Exception as exc:  # noqa: BLE001 - decoders fed with hostile bytes raise nearly anything
        yield f"{row['key']}: the picture does not decode ({exc})"
        return
    mode = found[0] if recipe.format == ORIGINAL else "RGB"
    if found != (mode, (row["width"], row["height"])):
        wanted = f"{mode} {row['width']} x {row['height']}"
        yield f"{row['key']}: the picture is {found[0]} {found[1]}, not {wanted}"
