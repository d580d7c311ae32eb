"""Aliases, implications and copyrights, applied to the tags of a picture. Pure.

As on Danbooru (help:tag_aliases, help:tag_implications), an alias is another name of a tag, and a tag implies
others: cat_ears implies animal_ears.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from alti2v.arrays import Float32Array
from alti2v.dataset.plan.tag_aliases import TagRelations, closure, resolved
from alti2v.model.options.choices import RATING, Implications
from alti2v.model.tagging.selection import RelatingFunction, ScoredTag, decimal
from alti2v.model.vocabulary import IGNORED, OutputTags, make_vocabulary
from alti2v.records import Category


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedRelations:
    """Relations, ready to be applied.

    Attributes:
        aliases: Other name -> name.
        implied: Tag -> all tags that follow from it.
        mode: Treatment of implied tags.
        category_of: Tag -> category, for tags that the model does not know.
        copyright_of: Character -> copyrights to add.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    implied: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mode: Implications = Implications.OFF
    category_of: Mapping[str, str] = field(default_factory=dict)
    copyright_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def applied(
    relations: TagRelations,
    mode: Implications,
    *,
    category_of: Mapping[str, str],
    copyright_of: Mapping[str, tuple[str, ...]],
) -> AppliedRelations:
    """Resolve chains of aliases and implications."""
    aliases = resolved(relations.aliases)
    pairs = [
        (aliases.get(first, first), aliases.get(second, second)) for first, second in relations.implications
    ]
    return AppliedRelations(
        aliases=aliases,
        implied=closure(pairs),
        mode=mode,
        category_of=category_of,
        copyright_of={
            aliases.get(character, character): tuple(aliases.get(one, one) for one in copyrights)
            for character, copyrights in copyright_of.items()
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TagNames:
    """Names by which options may call tags: those of the model, and those that relations print.

    Attributes:
        known: The model's T outputs, followed by tags that relations alone print: new names, implied tags,
            copyrights.
        printed: Name that is printed for each of them.
        outputs: T, the number of the model's outputs.
    """

    known: OutputTags
    printed: tuple[str, ...]
    outputs: int

    def outputs_of(self, found: int) -> tuple[int, ...]:
        """Return the outputs that are called by a name: its own, and those that are printed under it."""
        own = (found,) if found < self.outputs else ()
        name = self.known.names[found]
        renamed = (i for i in range(self.outputs) if self.printed[i] == name and i != found)
        return (*own, *renamed)


def tag_names_with(relations: AppliedRelations | None, vocabulary: OutputTags) -> TagNames:
    """Collect the names by which options may call tags."""
    applied_ones = relations or AppliedRelations()
    aliases = applied_ones.aliases
    printed = tuple(
        name if category in (IGNORED, RATING) else aliases.get(name, name)
        for name, category in zip(vocabulary.names, vocabulary.categories, strict=True)
    )
    found = dict.fromkeys(printed)
    found |= {one: None for name in tuple(found) for one in applied_ones.copyright_of.get(name, ())}
    if applied_ones.mode is Implications.ADD:
        found |= {one: None for name in tuple(found) for one in applied_ones.implied.get(name, ())}
    of_model = frozenset(vocabulary.names)
    more = tuple(name for name in found if name not in of_model)
    pairs = zip(vocabulary.names, vocabulary.categories, strict=True)
    return TagNames(
        known=make_vocabulary(
            [*pairs, *((name, Category.UNKNOWN.value) for name in more)], file=vocabulary.file
        ),
        printed=(*printed, *more),
        outputs=len(vocabulary),
    )


def relate_with(relations: AppliedRelations, vocabulary: OutputTags) -> RelatingFunction:
    """Make the function that applies relations to the tags of a picture.

    Tags that are not wanted count for what follows from them, but drop no others.
    """
    outputs = [
        (index, name)
        for index, name in enumerate(vocabulary.names)
        if vocabulary.categories[index] not in (IGNORED, RATING)
    ]
    return _Relater(
        relations,
        vocabulary,
        of_name={name: index for index, name in outputs},
        of_new_name={relations.aliases.get(name, name): index for index, name in reversed(outputs)},
    ).relate


@dataclass(frozen=True, slots=True)
class _Relater:
    """Relations, applied to the tags of one model.

    Attributes:
        of_name: Name of a tag -> output of the model.
        of_new_name: Name under which a tag is printed -> output of the model; of several, the first.
    """

    relations: AppliedRelations
    vocabulary: OutputTags
    of_name: Mapping[str, int]
    of_new_name: Mapping[str, int]

    def relate(
        self, tags: Sequence[ScoredTag], probabilities: Float32Array, is_wanted: Callable[[ScoredTag], bool]
    ) -> list[ScoredTag]:
        """Return the wanted ones of the passing tags and of those that follow from them."""
        copyright_of, implied, mode = self.relations.copyright_of, self.relations.implied, self.relations.mode
        found = _once(map(self._renamed, tags))
        copyrights = (
            self._scored(name, tag, probabilities, Category.COPYRIGHT.value)
            for tag in found
            for name in copyright_of.get(tag.name, ())
        )
        found = _once([*found, *copyrights])
        if mode is Implications.ADD:
            following = (
                self._scored(name, tag, probabilities, tag.category)
                for tag in found
                for name in implied.get(tag.name, ())
            )
            found = _once([*found, *following])
        wanted = list(filter(is_wanted, found))
        return _without_implied(wanted, implied) if mode is Implications.DROP else wanted

    def _renamed(self, tag: ScoredTag) -> ScoredTag:
        """Resolve an alias; the category is that of the new name."""
        name = self.relations.aliases.get(tag.name, tag.name)
        if name == tag.name:
            return tag
        category = self._category_of(name, tag.category)
        return replace(tag, name=name, category=category, index=self.of_name.get(name, tag.index))

    def _scored(self, name: str, because: ScoredTag, probabilities: Float32Array, otherwise: str) -> ScoredTag:
        """Make a tag that follows from another one; it gets at least the same probability."""
        index = self.of_name.get(name, self.of_new_name.get(name))
        if index is None:
            category = self._category_of(name, otherwise)
            return ScoredTag(name, category, because.probability, len(self.vocabulary))
        category = self._category_of(name, self.vocabulary.categories[index])
        return ScoredTag(name, category, max(decimal(probabilities[index]), because.probability), index)

    def _category_of(self, name: str, otherwise: str) -> str:
        """Return the category of a tag: its own in the model, else that of the store, else another one."""
        if name in self.of_name:
            return self.vocabulary.categories[self.of_name[name]]
        return self.relations.category_of.get(name, otherwise)


def _once(tags: Iterable[ScoredTag]) -> list[ScoredTag]:
    """Of tags with the same name, keep the most probable one, at the position of the first."""
    found: dict[str, ScoredTag] = {}
    for tag in tags:
        known = found.get(tag.name)
        if known is None or known.probability < tag.probability:
            found[tag.name] = tag
    return list(found.values())


def _without_implied(tags: Sequence[ScoredTag], implied: Mapping[str, tuple[str, ...]]) -> list[ScoredTag]:
    """Leave out tags that others imply; of tags that imply each other, the first stays."""
    kept: list[ScoredTag] = []
    for number, tag in enumerate(tags):
        said_by_earlier = any(tag.name in implied.get(other.name, ()) for other in tags[:number])
        said_by_later = any(
            tag.name in implied.get(other.name, ()) and other.name not in implied.get(tag.name, ())
            for other in tags[number + 1 :]
        )
        if not said_by_earlier and not said_by_later:
            kept.append(tag)
    return kept
