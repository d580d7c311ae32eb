"""Tags from text files beside pictures, as trainers and taggers write them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from alti2v.crawl.boards.gelbooru import RATINGS
from alti2v.crawl.boards.values import clean_tag
from alti2v.records import Category

# Prefixes that hydrus ("creator", "series") and others write before a tag.
_NAMESPACES: Mapping[str, Category] = {
    "general": Category.GENERAL,
    "artist": Category.ARTIST,
    "creator": Category.ARTIST,
    "copyright": Category.COPYRIGHT,
    "series": Category.COPYRIGHT,
    "character": Category.CHARACTER,
    "meta": Category.META,
    "medium": Category.META,
}
_ESCAPED = re.compile(r"\\([()\[\]])")  # Stable Diffusion's prompts give brackets a meaning
_MOST_LETTERS = 200  # a longer piece is a sentence, not a tag


def split_tags(text: str) -> list[str]:
    """Split the text of a sidecar into tags: at commas, or else at line ends, or else at spaces.

    A single line without a comma is split at its spaces only if a word in it has an underscore, as tags of
    boards have; otherwise it is one tag.
    """
    if "," in text:
        pieces = re.split(r"[,\r\n]", text)
    elif len(lines := text.split("\n")) > 1 and any(line.strip() for line in lines[1:]):
        pieces = lines
    else:
        pieces = text.split() if "_" in text else [text]
    return [piece.strip() for piece in pieces if piece.strip()]


def has_namespace(tag: str) -> bool:
    """Return whether a tag begins with the name of a category, or is a rating."""
    namespace, colon, _ = tag.partition(":")
    return bool(colon) and (namespace.lower() in _NAMESPACES or namespace.lower() == "rating")


def read_caption(text: str) -> tuple[dict[Category, list[str]], str]:
    """Return the tags by category, and the rating, of a sidecar."""
    return grouped(split_tags(text))


def grouped(pieces: Iterable[str]) -> tuple[dict[Category, list[str]], str]:
    """Return tags by category, and the rating, from texts such as `1girl` or `artist:name`."""
    groups: dict[Category, list[str]] = {}
    rating = ""
    for piece in pieces:
        namespace, colon, rest = piece.partition(":")
        word = namespace.strip().lower()
        if colon and word == "rating" and rest.strip().lower() in RATINGS:
            rating = RATINGS[rest.strip().lower()]
            continue
        category = _NAMESPACES.get(word) if colon and rest.strip() else None
        name = clean_tag(_ESCAPED.sub(r"\1", piece if category is None else rest))
        if name and len(name) <= _MOST_LETTERS:
            groups.setdefault(category or Category.UNKNOWN, []).append(name)
    return groups, rating
