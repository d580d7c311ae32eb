"""Tags that models and a dataset have in common, in any spelling. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alti2v.arrays import Int64Array
from alti2v.model.options.choices import RATING
from alti2v.model.vocabulary import IGNORED, OutputTags
from alti2v.records import Tag, composed


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedTags:
    """The tags that all models and a dataset have in common, in the order of the first model.

    Attributes:
        tags: The T tags, as in the dataset.
        labels: (T,) int64, their indices among the dataset's labels.
        outputs: (T,) int64 for each model, their indices among its outputs.
        known: For each model, number of the dataset's tags that it knows.
        respelt: For each model, number of tags in common that it has under another spelling or name.
    """

    tags: tuple[Tag, ...]
    labels: Int64Array
    outputs: tuple[Int64Array, ...]
    known: tuple[int, ...]
    respelt: tuple[int, ...]


def shared_tags(
    tags: Sequence[Tag], vocabularies: Sequence[OutputTags], aliases: Mapping[str, str]
) -> SharedTags:
    """Match the tags of a dataset with those of each model.

    Args:
        tags: Tags of the dataset.
        vocabularies: Outputs of each model.
        aliases: Other name -> name, both in NFC with underscores; empty if none is known.
    """
    names = [tag.name for tag in tags]
    plain_aliases = {_plain(alias): _plain(name) for alias, name in aliases.items()}
    found = np.stack([_outputs_of(names, vocabulary, plain_aliases) for vocabulary in vocabularies])
    common = np.flatnonzero((found >= 0).all(axis=0))
    labels = common[np.argsort(found[0, common], kind="stable")]
    return SharedTags(
        tags=tuple(tags[label] for label in labels),
        labels=labels,
        outputs=tuple(row[labels] for row in found),
        known=tuple(int((row >= 0).sum()) for row in found),
        respelt=tuple(
            sum(
                composed(vocabulary.names[output]) != composed(names[label])
                for output, label in zip(row[labels], labels, strict=True)
            )
            for row, vocabulary in zip(found, vocabularies, strict=True)
        ),
    )


def tags_without_ratings(vocabulary: OutputTags) -> int:
    """Return the number of outputs that are tags, without ratings and padding."""
    return sum(category not in (IGNORED, RATING) for category in vocabulary.categories)


def _outputs_of(names: Sequence[str], vocabulary: OutputTags, aliases: Mapping[str, str]) -> Int64Array:
    """Return the output of each name, (L,), and -1 if there is none; no output is used for two names.

    The same spelling is tried first, then another one (upper case, spaces), then the aliases of a tag.
    """

    def real_name(name: str) -> str:
        plain = _plain(name)
        return aliases.get(plain, plain)

    found = np.full(len(names), -1, np.int64)
    free = {
        i: name for i, name in enumerate(vocabulary.names) if vocabulary.categories[i] not in (IGNORED, RATING)
    }
    for spelling in (composed, real_name):
        output_of = {spelling(name): i for i, name in reversed(free.items())}
        for label in np.flatnonzero(found < 0).tolist():
            output = output_of.pop(spelling(names[label]), None)
            if output is not None:
                found[label] = output
                del free[output]
    return found


def _plain(name: str) -> str:
    """Return a name in lower case, with underscores, in NFC."""
    return composed(composed(name).strip().replace(" ", "_").lower())
