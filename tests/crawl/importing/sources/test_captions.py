"""Tags of text sidecars, in the forms that trainers, taggers and hydrus write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alti2v.crawl.importing.sources.captions import read_caption, split_tags
from alti2v.records import Category


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1girl, long hair, solo", ["1girl", "long hair", "solo"]),
        ("1girl\nlong hair\nsolo\n", ["1girl", "long hair", "solo"]),
        ("1girl,\nlong hair,", ["1girl", "long hair"]),
        ("1girl long_hair solo", ["1girl", "long_hair", "solo"]),
        ("long hair", ["long hair"]),
        ("long hair\n", ["long hair"]),
        ("\r\n , ,", []),
        ("", []),
    ],
)
def test_splitting(text: str, expected: list[str]) -> None:
    """Commas, else line ends, else the spaces of a board's tags separate tags."""
    assert split_tags(text) == expected


def test_namespaces_and_ratings() -> None:
    """Prefixes that name a category give it; other colons belong to the tag; a rating is none."""
    groups, rating = read_caption(
        "creator:Some One, series:x, character:y_(z), :d, re:zero, rating:explicit, a \\(b\\)"
    )

    assert groups == {
        Category.ARTIST: ["Some_One"],
        Category.COPYRIGHT: ["x"],
        Category.CHARACTER: ["y_(z)"],
        Category.UNKNOWN: [":d", "re:zero", "a_(b)"],
    }
    assert rating == "explicit"


@given(st.text())
def test_any_text_gives_plain_tags(text: str) -> None:
    """Whatever a sidecar holds, no tag has white space, a control character or no letter."""
    groups, _ = read_caption(text)

    for name in (name for names in groups.values() for name in names):
        assert name
        assert len(name.split()) == 1
        assert all(letter.isprintable() or ord(letter) > 127 for letter in name)
