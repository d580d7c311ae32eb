"""The outputs of a tagger: their names and categories, and how a name finds one. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alti2v.errors import UsageError
from alti2v.records import Category

RATING = "rating"  # the WD taggers' category 9: rows that exclude each other, of which the best is shown

# In the order in which they are shown; those that name subjects first, as illustration2vec lists them.
CATEGORIES = (
    *(Category.GENERAL.value, Category.CHARACTER.value, Category.COPYRIGHT.value),
    *(Category.ARTIST.value, Category.META.value, Category.UNKNOWN.value, RATING),
)

_SUGGESTIONS = 3


@dataclass(frozen=True, slots=True)
class OutputTags:
    """The outputs of a tagger.

    Attributes:
        names: output i is names[i].
        categories: output i is of categories[i], one of `CATEGORIES`.
        members: category -> its outputs, ascending; only categories that occur, in the order of `CATEGORIES`.
        index: name -> output. Of equal names the first counts, and a rating only where nothing else is
            called that.
    """

    names: tuple[str, ...]
    categories: tuple[str, ...]
    members: Mapping[str, npt.NDArray[np.int64]]
    index: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.names)


def make_vocabulary(outputs: Iterable[tuple[str, str]]) -> OutputTags:
    """Make a vocabulary of (name, category) pairs in the order of the outputs."""
    pairs = tuple(outputs)
    members = {
        category: np.flatnonzero([found == category for _, found in pairs]).astype(np.int64)
        for category in CATEGORIES
    }
    preferred_last = sorted(range(len(pairs)), key=lambda i: (pairs[i][1] != RATING, -i))
    return OutputTags(
        names=tuple(name for name, _ in pairs),
        categories=tuple(category for _, category in pairs),
        members={category: found for category, found in members.items() if len(found)},
        index={pairs[i][0]: i for i in preferred_last},
    )


def find_tag(vocabulary: OutputTags, name: str) -> int:
    """Find a tag by its name, written with underscores or with spaces.

    Raises:
        UsageError: the model does not know it; the message offers the nearest names.
    """
    wanted = name.strip()
    for spelling in (wanted, wanted.replace(" ", "_"), wanted.replace(" ", "_").lower()):
        if spelling in vocabulary.index:
            return vocabulary.index[spelling]
    near = difflib.get_close_matches(spelling, vocabulary.index, n=_SUGGESTIONS)
    advice = f"did you mean {' or '.join(near)}?" if near else "see the model's tags.csv for those it knows"
    raise UsageError(f"the model knows no tag {wanted!r}: {advice}")


def find_tags(vocabulary: OutputTags, values: Iterable[str]) -> tuple[int, ...]:
    """Find tags; a value is one name, or several with commas between them.

    Raises:
        UsageError: the model does not know one of them.
    """
    found: dict[int, None] = {}
    for value in values:
        names = [value] if value in vocabulary.index else value.split(",")
        found |= dict.fromkeys(find_tag(vocabulary, name) for name in names if name.strip())
    return tuple(found)
