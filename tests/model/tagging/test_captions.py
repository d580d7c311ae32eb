"""Captions: trainers read the intended tags, also after many runs over the same files."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alti2v.errors import UsageError
from alti2v.model.options.tagging import CaptionStyle
from alti2v.model.tagging.captions import (
    caption,
    csv_rows,
    is_face,
    json_object,
    read_caption,
    same_text,
    spell,
    text_lines,
)
from alti2v.model.tagging.selection import ScoredTag

# SmilingWolf's wd-tagger space, app.py: the names that keep their underscores there.
FACES = (
    *("0_0", "(o)_(o)", "+_+", "+_-", "._.", "<o>_<o>", "<|>_<|>", "=_=", ">_<", "3_3", "6_9"),
    *(">_o", "@_@", "^_^", "o_o", "u_u", "x_x", "|_|", "||_||"),
)
letters = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
tag_names = st.lists(letters, max_size=8, unique=True)
texts = letters.filter(lambda text: text.strip() and "\n" not in text)
styles = st.builds(
    CaptionStyle,
    separator=st.sampled_from([", ", ",", " | ", "; ", "\n", "\t"]),
    spaces=st.booleans(),
    escape=st.booleans(),
    replace=st.dictionaries(letters, texts, max_size=3),
    prepend=st.lists(texts, max_size=2).map(tuple),
    append=st.lists(texts, max_size=2).map(tuple),
    always_first=st.lists(letters, max_size=3).map(tuple),
)


@pytest.mark.parametrize("face", [*FACES, ";_;", "*_*", ":_:", "t_t", "\\o/"])
def test_faces_keep_their_underscores(face: Any) -> None:
    """Every face that other taggers list by name is one by rule, and stays as it is."""
    assert is_face(face)
    assert spell(face, CaptionStyle(spaces=True)) == face


@pytest.mark.parametrize(
    "tag", ["long_hair", "1girl", "x_arms", "k-on!", "re:zero", "looking_at_viewer", "2_girls"]
)
def test_words_are_no_faces(tag: Any) -> None:
    """A tag with a word in it gets its spaces."""
    assert not is_face(tag)
    assert "_" not in spell(tag, CaptionStyle(spaces=True))


def test_every_wish_at_once() -> None:
    """The whole order: texts in front, tags that come first, the others, texts behind; each spelt as wished."""
    style = CaptionStyle(
        spaces=True,
        escape=True,
        replace={"simple_background": "plain_paper"},
        prepend=("mychar", "masterpiece, best quality"),
        append=("by me",),
        always_first=("solo", "1girl", "2girls"),
    )
    tags = ["long_hair", "saber_(fate)", "1girl", "^_^", "solo", "simple_background"]

    assert caption(tags, style) == (
        "mychar, masterpiece, best quality, solo, 1girl, long hair, saber \\(fate\\), ^_^, plain_paper, by me"
    )


def test_existing_captions_stay_and_grow() -> None:
    """Existing text stays in place; a tag that occurs in another spelling is not added again."""
    style = CaptionStyle(spaces=True, escape=True, prepend=("mychar",))
    existing = "a photo of her, Long Hair,saber_(fate)\nsecond line"

    assert caption(["long_hair", "1girl", "saber_(fate)"], style, existing=existing) == (
        "mychar, a photo of her, Long Hair, saber_(fate), second line, 1girl"
    )


@given(tags=tag_names, style=styles, existing=st.text(max_size=40))
def test_appending_again_changes_nothing(tags: Any, style: Any, existing: Any) -> None:
    """A run over captions that it has written itself leaves every byte as it is."""
    once = caption(tags, style, existing=existing)

    assert caption(tags, style, existing=once) == once


@given(tags=tag_names, style=styles, existing=st.text(max_size=40))
def test_nothing_is_lost_and_nothing_twice(tags: Any, style: Any, existing: Any) -> None:
    """Each text of the old caption, each tag and each text of the style is in the new one, once."""
    written = [same_text(text) for text in read_caption(caption(tags, style, existing=existing), style)]
    spelt = [spell(tag, style) for tag in tags]
    wanted = {
        same_text(part)
        for text in (existing, *spelt, *style.prepend, *style.append)
        for part in read_caption(text, style)
    }

    assert set(written) == wanted
    assert len(written) == len(set(written))


@given(
    tags=st.lists(
        st.from_regex(r"[a-z0-9_()^]{1,10}", fullmatch=True).filter(same_text), max_size=8, unique_by=same_text
    )
)
def test_captions_read_back_as_tags(tags: Any) -> None:
    """Spaces and escapes can be undone: no tag is confused with another."""
    style = CaptionStyle(spaces=True, escape=True)
    back = [same_text(text) for text in read_caption(caption(tags, style), style)]

    assert back == [same_text(tag) for tag in tags]


def test_a_separator_inside_a_tag_becomes_a_space() -> None:
    """One tag never reads as two."""
    assert read_caption(caption(["a,b", "c"], CaptionStyle()), CaptionStyle()) == ["a b", "c"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"separator": ""},
        {"separator": "_"},
        {"separator": " and "},
        {"separator": "("},
        {"separator": " ", "spaces": True},
        {"prepend": (" ",)},
        {"append": ("two\nlines",)},
        {"replace": {"a": ""}},
    ],
)
def test_styles_that_make_no_caption_are_refused(wrong: Any) -> None:
    """Styles whose captions could not be read back are refused before any file is written."""
    with pytest.raises(UsageError):
        CaptionStyle(**wrong)


TAGS = (ScoredTag("1girl", "general", 0.98, 0), ScoredTag('say_"hi",_ok', "general", 0.5, 1))


def test_json_objects_hold_everything() -> None:
    """One object; empty categories are there, so that readers need no special case."""
    value = json_object("ä.jpg", {"general": TAGS, "character": []}, [("general", 0.9)])

    assert json.loads(json.dumps(value)) == {
        "path": "ä.jpg",
        "tags": {"general": {"1girl": 0.98, 'say_"hi",_ok': 0.5}, "character": {}},
        "rating": {"general": 0.9},
    }


def test_csv_rows_survive_commas_and_quotes() -> None:
    """Each tag is a row, and special characters of CSV are quoted."""
    rows = list(csv.reader(csv_rows("a,b.jpg", TAGS)))

    assert rows == [["a,b.jpg", "general", "1girl", "0.98"], ["a,b.jpg", "general", 'say_"hi",_ok', "0.5"]]
    assert csv_rows("x", ()) == []


def test_text_is_for_people() -> None:
    """Path, then a line for each category that has tags; a picture without any says so."""
    assert text_lines("x.jpg", {"general": TAGS[:1], "character": []}) == ["x.jpg", "  general    1girl 0.98"]
    assert text_lines("x.jpg", {"general": []}) == ["x.jpg", "  no tag"]
