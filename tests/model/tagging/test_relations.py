"""Aliases, implications and copyrights of the tags of one picture."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alti2v.dataset.plan.tag_aliases import TagRelations
from alti2v.model.options.choices import Implications
from alti2v.model.tagging.relations import AppliedRelations, applied, relate_with, tag_names_with
from alti2v.model.tagging.selection import Criterion, ScoredTag, Selection, passing, select
from alti2v.model.vocabulary import make_vocabulary

VOCABULARY = make_vocabulary(
    [
        ("cat_ears", "general"),
        ("animal_ears", "general"),
        ("old_name", "general"),
        ("new_name", "general"),
        ("hatsune_miku", "character"),
        ("vocaloid", "copyright"),
    ]
)
RELATIONS = TagRelations(
    aliases=[("old_name", "new_name"), ("older", "old_name")],
    implications=[
        ("cat_ears", "animal_ears"),
        ("animal_ears", "kemonomimi_mode"),
        ("hatsune_miku", "vocaloid"),
        ("older", "long_ago"),
    ],
)


def always(_: ScoredTag) -> bool:
    """Every tag is wanted."""
    return True


def tags(
    probabilities: list[float],
    mode: str,
    *,
    copyright_of: dict[str, tuple[str, ...]] | None = None,
    selection: Selection | None = None,
) -> dict[str, float]:
    """Return tag -> probability of a picture, at the threshold 0.5."""
    relations = applied(
        RELATIONS,
        Implications(mode),
        category_of={"kemonomimi_mode": "general"},
        copyright_of=copyright_of or {},
    )
    row = np.array(probabilities, np.float32)
    passed = passing(row[None], VOCABULARY, Criterion(threshold=0.5))[0]
    chosen = selection or Selection()
    with_relations = Selection(
        categories=chosen.categories,
        exclude=chosen.exclude,
        top=chosen.top,
        relate=relate_with(relations, VOCABULARY),
    )
    return {tag.name: tag.probability for tag in select(row, passed, VOCABULARY, with_relations)}


def test_what_follows_is_added() -> None:
    """Directly and indirectly, known to the model or not, at least as probable as what it follows from."""
    found = tags([0.9, 0.2, 0.1, 0.1, 0.6, 0.55], "add")

    assert found == {
        "cat_ears": 0.9,
        "animal_ears": 0.9,
        "kemonomimi_mode": 0.9,
        "hatsune_miku": 0.6,
        "vocaloid": 0.6,
    }


def test_what_others_say_is_dropped() -> None:
    """As caption writers want it: only the most particular tags stay."""
    assert tags([0.9, 0.95, 0.1, 0.1, 0.6, 0.55], "drop") == {"cat_ears": 0.9, "hatsune_miku": 0.6}
    assert tags([0.4, 0.95, 0.1, 0.1, 0.1, 0.55], "drop") == {"animal_ears": 0.95, "vocaloid": 0.55}


def test_aliases_are_resolved_in_every_mode() -> None:
    """Two names of one tag are one tag, with the higher probability."""
    for mode in ("off", "drop"):
        assert tags([0.1, 0.1, 0.8, 0.7, 0.1, 0.1], mode) == {"new_name": 0.8}
    assert tags([0.1, 0.1, 0.8, 0.1, 0.1, 0.1], "add") == {"new_name": 0.8, "long_ago": 0.8}


def test_copyrights_of_characters_are_added() -> None:
    """From a table, whether the model knows the copyright or not."""
    found = tags([0.1, 0.1, 0.1, 0.1, 0.9, 0.3], "off", copyright_of={"hatsune_miku": ("vocaloid", "piapro")})

    assert found == {"hatsune_miku": 0.9, "vocaloid": 0.9, "piapro": 0.9}


def test_filters_hold_for_what_follows() -> None:
    """A category that is not wanted, an excluded tag, and a maximum number."""
    row = [0.9, 0.2, 0.1, 0.1, 0.6, 0.1]
    assert tags(row, "add", selection=Selection(categories=frozenset({"character"}))) == {"hatsune_miku": 0.6}
    assert "animal_ears" not in tags(row, "add", selection=Selection(exclude=frozenset({1})))
    assert len(tags(row, "add", selection=Selection(top=2))) == 2


NAMES = st.sampled_from("abcd")


@given(st.lists(st.tuples(NAMES, NAMES), max_size=6), st.sets(NAMES))
def test_dropping_loses_nothing(pairs: list[tuple[str, str]], given_tags: set[str]) -> None:
    """Whatever the table, cycles included: adding what follows from the rest gives the dropped ones back."""
    vocabulary = make_vocabulary((name, "general") for name in "abcd")
    relations = TagRelations(implications=pairs)
    options: dict[str, dict[str, str]] = {"category_of": {}}
    scored = [
        ScoredTag(name, "general", 0.9 - 0.1 * i, i) for i, name in enumerate("abcd") if name in given_tags
    ]
    drop, add = (
        relate_with(applied(relations, mode, copyright_of={}, **options), vocabulary)
        for mode in (Implications.DROP, Implications.ADD)
    )
    probabilities = np.full(4, 0.5, np.float32)

    dropped = drop(scored, probabilities, always)
    assert {tag.name for tag in add(dropped, probabilities, always)} >= given_tags


def test_without_relations_nothing_changes() -> None:
    """Empty tables leave the tags as they are."""
    relate = relate_with(AppliedRelations(), VOCABULARY)
    scored = [ScoredTag("cat_ears", "general", 0.9, 0)]

    assert relate(scored, np.zeros(6, np.float32), always) == scored


def test_an_alias_of_another_category_moves_the_tag() -> None:
    """The category is that of the model's own output, else of the store's table; a rating is no tag."""
    vocabulary = make_vocabulary(
        [("miku_(old)", "general"), ("hatsune_miku", "character"), ("safe", "general"), ("general", "rating")]
    )
    aliases = [("miku_(old)", "hatsune_miku"), ("safe", "general"), ("never", "seen")]
    relations = applied(
        TagRelations(aliases=aliases), Implications.OFF, category_of={"general": "meta"}, copyright_of={}
    )
    row = np.array([0.9, 0.2, 0.8, 0.7], np.float32)
    passed = passing(row[None], vocabulary, Criterion(threshold=0.5))[0]

    def found(*categories: str) -> list[tuple[str, str, float]]:
        chosen = Selection(categories=frozenset(categories) or None, relate=relate_with(relations, vocabulary))
        tags = select(row, passed, vocabulary, chosen)
        return [(tag.name, tag.category, tag.probability) for tag in tags]

    assert found() == [("hatsune_miku", "character", 0.9), ("general", "meta", 0.8)]
    assert found("character") == [("hatsune_miku", "character", 0.9)]
    assert found("general") == []


def test_a_category_gets_what_follows_from_others() -> None:
    """With only copyrights wanted, those of the characters count; tags that are not shown drop no others."""
    row = [0.9, 0.2, 0.1, 0.1, 0.6, 0.1]
    copyrights, general = (Selection(categories=frozenset({name})) for name in ("copyright", "general"))
    assert tags(row, "add", selection=copyrights) == {"vocaloid": 0.6}
    assert tags(row, "off", selection=copyrights, copyright_of={"hatsune_miku": ("vocaloid",)}) == {
        "vocaloid": 0.6
    }
    row = [0.9, 0.8, 0.1, 0.1, 0.6, 0.9]
    assert tags(row, "drop", selection=copyrights) == {"vocaloid": 0.9}
    assert tags(row, "drop", selection=general) == {"cat_ears": 0.9}


def test_names_of_a_large_model_are_collected_fast() -> None:
    """The names of 20,000 tags, as options may give them, take less than half a second."""
    vocabulary = make_vocabulary((f"tag_{number}", "general") for number in range(20_000))
    begun_s = time.process_time()
    names = tag_names_with(None, vocabulary)
    spent_s = time.process_time() - begun_s

    assert names.printed == vocabulary.names
    assert spent_s < 0.5
