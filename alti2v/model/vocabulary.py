"""Outputs of a tagger: names, categories and look-up by name. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from alti2v.arrays import Int64Array
from alti2v.errors import UsageError
from alti2v.model.options.choices import CATEGORIES, RATING
from alti2v.records import composed, nearest

IGNORED = ""  # category of outputs that are no tags, such as a model's padding


@dataclass(frozen=True, slots=True)
class OutputTags:
    """Outputs of a tagger.

    Attributes:
        names: Name of each output.
        categories: Category of each output, one of `CATEGORIES` or `IGNORED`.
        members: Category -> its outputs, ascending; only categories that occur, in the order of `CATEGORIES`.
        index: Name, as it is and composed (`records.composed`) -> output. Of equal names the first counts, and
            a rating only if no tag has its name.
        file: Path of the file that holds the tags, for messages; "" if there is none.
    """

    names: tuple[str, ...]
    categories: tuple[str, ...]
    members: Mapping[str, Int64Array]
    index: Mapping[str, int]
    file: str = ""

    def __len__(self) -> int:
        return len(self.names)


def make_vocabulary(outputs: Iterable[tuple[str, str]], *, file: str = "") -> OutputTags:
    """Make a vocabulary from (name, category) pairs in the order of the outputs, which a file holds."""
    pairs = tuple(outputs)
    of_category: dict[str, list[int]] = {category: [] for category in (*CATEGORIES, IGNORED)}
    for output, (_, category) in enumerate(pairs):
        of_category[category].append(output)
    preferred_last = sorted(range(len(pairs)), key=lambda i: (pairs[i][1] != RATING, -i))
    return OutputTags(
        names=tuple(name for name, _ in pairs),
        categories=tuple(category for _, category in pairs),
        members={name: np.array(of_category[name], np.int64) for name in CATEGORIES if of_category[name]},
        index={
            spelling(pairs[i][0]): i
            for spelling in (composed, str)  # the exact spelling counts more
            for i in preferred_last
            if pairs[i][1] != IGNORED
        },
        file=file,
    )


def find_tag(vocabulary: OutputTags, name: str, *, denial: str = "the model knows no") -> int:
    """Find a tag by its name, written with underscores or with spaces.

    Args:
        vocabulary: Tags to search.
        name: Name of the tag.
        denial: Beginning of the message for a name that is not among them, before "tag".

    Raises:
        UsageError: The model does not know it; the message suggests the nearest names.
    """
    wanted = name.strip()
    composed_name = composed(wanted)
    with_underscores = composed_name.replace(" ", "_")
    for spelling in (wanted, composed_name, with_underscores, with_underscores.lower()):
        if spelling in vocabulary.index:
            return vocabulary.index[spelling]
    otherwise = f"see {vocabulary.file} for all its tags" if vocabulary.file else "check its spelling"
    raise UsageError(f"{denial} tag {wanted!r}: {nearest(spelling, vocabulary.index, otherwise=otherwise)}")


def find_tags(
    vocabulary: OutputTags, values: Iterable[str], *, denial: str = "the model knows no"
) -> tuple[int, ...]:
    """Find tags; a value is one name, or several separated by commas.

    Args:
        vocabulary: Tags to search.
        values: Names of tags.
        denial: Beginning of the message for a name that is not among them, see `find_tag`.

    Raises:
        UsageError: The model does not know one of them.
    """
    found: dict[int, None] = {}
    for value in values:
        names = [value] if composed(value) in vocabulary.index else value.split(",")
        found |= dict.fromkeys(find_tag(vocabulary, name, denial=denial) for name in names if name.strip())
    return tuple(found)
