"""Tags as text: captions for `.txt` files beside pictures, and the lines of the other formats. Pure.

Trainers of LoRAs read a caption file as a list of tags with a separator between them. The options follow
kohya-ss/sd-scripts, docs/wd14_tagger_README-en.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from alti2v.csv_text import csv_row
from alti2v.model.options.choices import RATING
from alti2v.model.options.tagging import CaptionStyle
from alti2v.model.tagging.selection import ScoredTag
from alti2v.model.tagging.used_thresholds import UsedThresholds
from alti2v.records import composed

_WORD = re.compile(r"[^\W_]{2}")
_PARENTHESIS = re.compile(r"([()])")
_ESCAPED_PARENTHESIS = re.compile(r"\\([()])")


def is_face(tag: str) -> bool:
    """Return whether a tag is a drawn face such as `^_^` or `(o)_(o)`: no two letters or digits in a row.

    Other taggers have a list of nineteen names (SmilingWolf's wd-tagger space, app.py, `kaomojis`). This rule
    includes all of them, and faces that are only in other vocabularies.
    """
    return _WORD.search(tag) is None


def spell(tag: str, style: CaptionStyle) -> str:
    """Write one tag: replaced, or with spaces and escapes. A separator inside it becomes a space."""
    if tag in style.replace:
        return style.replace[tag]
    text = tag.replace("_", " ") if style.spaces and not is_face(tag) else tag
    text = " ".join(text.replace(style.mark, " ").split())
    return _PARENTHESIS.sub(r"\\\1", text) if style.escape else text


def caption(tags: Sequence[str], style: CaptionStyle, *, existing: str = "") -> str:
    """Write a caption that contains every text once.

    Args:
        tags: Tags of the picture, in order.
        style: Spelling and order.
        existing: Present caption. It is kept, after the prepended texts, and new tags follow it; writing the
            same tags again changes nothing.
    """
    first = [tag for tag in style.always_first if tag in tags]
    ordered = [*first, *(tag for tag in tags if tag not in first)]
    texts = [*style.prepend, existing, *(spell(tag, style) for tag in ordered), *style.append]
    # Split and joined again: a text such as "masterpiece, best quality" is two when it is read back.
    return style.separator.join(_once(part for text in texts for part in read_caption(text, style)))


def read_caption(text: str, style: CaptionStyle) -> list[str]:
    """Split a caption at separators and line ends; blank parts are left out."""
    return [part.strip() for line in text.splitlines() for part in line.split(style.mark) if part.strip()]


def same_text(text: str) -> str:
    r"""Return a text that is equal for all spellings of a tag: `a_(b)`, `A (b)` and `a \(b\)`."""
    return " ".join(_ESCAPED_PARENTHESIS.sub(r"\1", composed(text)).replace("_", " ").split()).casefold()


def _once(texts: Iterable[str]) -> list[str]:
    kept: dict[str, str] = {}
    for text in texts:
        kept.setdefault(same_text(text), text)
    return list(kept.values())


# Records for standard output ---------------------------------------------------------------------

CSV_HEADER = "path,category,tag,probability"


def text_lines(
    path: str, groups: Mapping[str, Sequence[ScoredTag]], rating: ScoredTag | None = None
) -> list[str]:
    """Write the tags of one picture as text: its path, then a line for each category that has tags."""
    shown = {**{name: list(tags) for name, tags in groups.items()}, RATING: [rating] if rating else []}
    lines = [
        f"  {name:<9}  " + "  ".join(f"{tag.name} {tag.probability:.2f}" for tag in tags)
        for name, tags in shown.items()
        if tags
    ]
    return [path, *(lines or ["  no tag"])]


def json_object(
    path: str,
    groups: Mapping[str, Sequence[ScoredTag]],
    ratings: Sequence[tuple[str, float]] = (),
    thresholds: UsedThresholds | None = None,
) -> dict[str, object]:
    """Write one picture as a JSON object: {"path", "tags": {category: {tag: probability}}}.

    "rating" follows the tags if the model has ratings; "thresholds" says what they had to reach.
    """
    value: dict[str, object] = {
        "path": path,
        "tags": {name: {tag.name: tag.probability for tag in tags} for name, tags in groups.items()},
    }
    if ratings:
        value[RATING] = dict(ratings)
    if thresholds:
        value["thresholds"] = asdict(thresholds)
    return value


def csv_rows(path: str, tags: Iterable[ScoredTag]) -> list[str]:
    """Write one picture as rows of `CSV_HEADER`, one for each tag."""
    return [csv_row((path, tag.category, tag.name, tag.probability)) for tag in tags]
