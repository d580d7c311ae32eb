"""Aliases and implications of tags. Pure.

As on Danbooru (help:tag_aliases, help:tag_implications), an alias replaces a name and an implication adds a
tag. Both may be chained, and in tables that people edit both may form cycles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from alti2v.arrays import Int8Array, Int32Array
from alti2v.dataset.plan.vocabulary import CATEGORIES, StoreTagTable, TagLists, tag_lists
from alti2v.records import Category


@dataclass(frozen=True, slots=True)
class TagRelations:
    """Aliases and implications as pairs (antecedent, consequent)."""

    aliases: Iterable[tuple[str, str]] = field(default=())
    implications: Iterable[tuple[str, str]] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Widening:
    """Replacement of aliases and addition of implied tags, for tags as codes.

    Attributes:
        table: Tags that the new codes refer to, with the added names.
        new_code: (old tags,) new code of each old one.
        implied: Codes of the tags that each new tag implies.
    """

    table: StoreTagTable
    new_code: Int32Array
    implied: TagLists

    def applied(self, tags: TagLists) -> TagLists:
        """Return the tags of posts with the new names and the implied tags."""
        owners = np.repeat(np.arange(len(tags)), tags.lengths)
        codes = self.new_code[tags.codes]
        return tag_lists(
            np.concatenate([owners, np.repeat(owners, self.implied.lengths[codes])]),
            np.concatenate([codes, self.implied.take(codes.astype(np.int64)).codes]),
            len(tags),
        )


def widening(table: StoreTagTable, relations: TagRelations, known: Mapping[str, Category]) -> Widening:
    """Derive the replacement from the relations of a board.

    Args:
        table: Tags of the posts.
        relations: Aliases and implications of the board.
        known: Categories by tag, also of tags that no post has yet.
    """
    real_name = resolved(relations.aliases)
    implied = closure(
        (real_name.get(first, first), real_name.get(second, second)) for first, second in relations.implications
    )
    renamed = [real_name.get(name, name) for name in table.names]
    names = sorted({*renamed, *(more for name in renamed for more in implied.get(name, ()))})
    code = {name: number for number, name in enumerate(names)}
    new_code = np.array([code[name] for name in renamed], np.int32)
    pairs = [(code[name], code[more]) for name in names for more in implied.get(name, ())]
    ends = np.array(pairs, np.int64).reshape(-1, 2)
    return Widening(
        table=StoreTagTable(names, _categories(names, table, new_code, known), real_name),
        new_code=new_code,
        implied=tag_lists(ends[:, 0], ends[:, 1].astype(np.int32), len(names)),
    )


def resolved(aliases: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Map each alias to the name at the end of its chain; all names of a cycle map to the first in order.

    If a name has two consequents, the first in order counts.
    """
    step = dict(sorted(aliases, reverse=True))
    found: dict[str, str] = {}
    for start in sorted(step):
        path: dict[str, None] = {}
        name = start
        while name in step and name not in found and name not in path:
            path[name] = None
            name = step[name]
        if name in path:
            visited = list(path)
            name = min(visited[visited.index(name) :])
        found.update(dict.fromkeys(path, found.get(name, name)))
    return {antecedent: name for antecedent, name in found.items() if name != antecedent}


def closure(implications: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Map each tag to all tags that it implies, directly or indirectly, without itself; sorted."""
    direct: dict[str, set[str]] = {}
    for antecedent, consequent in implications:
        direct.setdefault(antecedent, set()).add(consequent)
    implied = {}
    for antecedent in direct:
        seen: set[str] = set()
        waiting = [antecedent]
        while waiting:
            new = direct.get(waiting.pop(), set()) - seen
            seen |= new
            waiting.extend(new)
        implied[antecedent] = tuple(sorted(seen - {antecedent}))
    return implied


def _categories(
    names: list[str], old: StoreTagTable, new_code: Int32Array, known: Mapping[str, Category]
) -> Int8Array:
    """Return the known category of each name, else the one on posts, of the name itself before its aliases."""
    position = {category: number for number, category in enumerate(CATEGORIES)}
    unknown = position[Category.UNKNOWN]
    known_categories = np.array([position[known.get(name, Category.UNKNOWN)] for name in names], np.int8)
    shown = np.full(len(names), unknown, np.int8)
    own = np.array([names[code] for code in new_code], np.object_) == np.array(old.names, np.object_)
    for is_own in (False, True):  # its own last, so that it overrides
        rows = np.flatnonzero((own == is_own) & (old.categories != unknown))
        shown[new_code[rows]] = old.categories[rows]
    return np.where(known_categories == unknown, shown, known_categories)
