"""Tables of labels: whatever the vocabulary, what is written is what every reader takes."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alti2v.model.onnx.check_labels import check_labels
from alti2v.model.onnx.contract import PLACEHOLDER, RATINGS, fault_of
from alti2v.model.onnx.labels import (
    Change,
    cl_labels,
    native_labels,
    rating_constants,
    selected_tags_csv,
    tag_mapping_json,
    wd_labels,
)
from alti2v.model.options.choices import Format
from alti2v.records import Category, Tag
from tests.model.helpers.tiny_run import TAGS

RATED = rating_constants({"general": 5, "explicit": 1})

vocabularies = st.lists(
    st.builds(
        Tag,
        name=st.one_of(
            st.text(max_size=6), st.sampled_from(["null", "NaN", "a,b", ",", "general", "x", "x_(tag)"])
        ),
        category=st.sampled_from(Category),
        count=st.integers(0, 10**7),
    ),
    max_size=20,
    unique_by=lambda tag: tag.name,
)


def test_golden_wd_table() -> None:
    """The bytes of the WD table: ratings, generals, copyrights and the unknown as general, characters."""
    assert selected_tags_csv(wd_labels(TAGS, RATED).rows).decode() == (
        "tag_id,name,category,count\n"
        "9999999,general,9,5\n"
        "9999998,sensitive,9,0\n"
        "9999997,questionable,9,0\n"
        "9999996,explicit,9,1\n"
        "4,1girl,0,950\n"
        "0,solo,0,900\n"
        "8,^_^,0,100\n"
        "6,null_(tag),0,30\n"
        "7,yes_my_lord,0,20\n"
        "11,explicit_(tag),0,5\n"
        "2,vocaloid,0,90\n"
        '9,"say_""hi""",0,10\n'
        "10,rin_(kagamine),4,85\n"
        "1,miku,4,80\n"
    )


def test_golden_wd_changes() -> None:
    """Every difference between table and vocabulary is reported, with the reason."""
    assert set(wd_labels(TAGS, RATED).changes) == {
        Change("null", "null_(tag)", "reads as a missing value"),
        Change("yes,_my_lord", "yes_my_lord", "has a comma, which separates tags in caption files"),
        Change("explicit", "explicit_(tag)", "is the name of another row"),
        Change("vocaloid", "vocaloid", "copyright tags count as general in this format"),
        Change('say_"hi"', 'say_"hi"', "unknown tags count as general in this format"),
        Change("highres", None, "meta tags do not exist in this format"),
        Change("kei", None, "artist tags do not exist in this format"),
    }


def test_copyrights_can_be_left_out() -> None:
    """Without copyrights the table has none, and says so."""
    labels = wd_labels(TAGS, RATED, with_copyrights=False)

    assert "vocaloid" not in {row.name for row in labels.rows}
    assert Change("vocaloid", None, "copyright tags do not exist in this format") in labels.changes


def test_names_that_collide_after_mending() -> None:
    """A repaired name gets a qualifier where it is taken; where that is taken too, the tag is left out."""
    tags = [
        Tag(name=name, category=Category.GENERAL, count=count)
        for name, count in (("ab", 9), ("ab_(tag)", 8), ("a,b", 7), ("c,d", 6), ("cd", 5), (",", 4))
    ]
    labels = wd_labels(tags, RATED)

    assert [row.name for row in labels.rows[4:]] == ["ab", "ab_(tag)", "cd_(tag)", "cd"]
    assert {change.tag: change.became for change in labels.changes} == {
        "a,b": None,
        "c,d": "cd_(tag)",
        ",": None,
    }


def test_placeholder_comes_only_where_it_is_needed() -> None:
    """The placeholder is the last row of a table without characters, and constant; elsewhere there is none."""
    without = tuple(tag for tag in TAGS if tag.category is not Category.CHARACTER)
    last = wd_labels(without, RATED, placeholder=True).rows[-1]

    assert (last.name, last.category, last.output, last.id) == (PLACEHOLDER, "4", None, len(without))
    assert last.log_odds < -15
    assert wd_labels(TAGS, RATED, placeholder=True).rows == wd_labels(TAGS, RATED).rows


def test_cl_table_keeps_every_category() -> None:
    """Kohya's second form has a place for each tag; numbers run from 0 without a gap."""
    labels = cl_labels(TAGS, RATED)
    mapping = json.loads(tag_mapping_json(labels.rows))

    assert [mapping[str(i)]["tag"] for i in range(4)] == list(RATINGS)
    assert len(mapping) == len(TAGS) + 4
    assert {
        ("vocaloid", "Copyright"),
        ("kei", "Artist"),
        ("highres", "Meta"),
        ("miku", "Character"),
        ('say_"hi"', "General"),
        ("explicit", "Rating"),
        ("explicit_(tag)", "General"),
    } <= {(entry["tag"], entry["category"]) for entry in mapping.values()}


def test_native_table_is_the_vocabulary() -> None:
    """The native form renames, moves and leaves out nothing."""
    labels = native_labels(TAGS)

    assert [(row.id, row.name, row.category, row.count, row.output) for row in labels.rows] == [
        (i, tag.name, tag.category.value, tag.count, i) for i, tag in enumerate(TAGS)
    ]
    assert labels.changes == ()


@settings(deadline=None)
@given(vocabularies)
def test_any_vocabulary_makes_a_wd_table_without_breach(tags: Any) -> None:
    """Hostile names, names of ratings, names that collide after mending: the checker finds nothing."""
    extra = (
        Tag(name="a_general", category=Category.GENERAL, count=1),
        Tag(name="a_character", category=Category.CHARACTER, count=1),
    )
    vocabulary = (*tags, *extra)
    labels = wd_labels(vocabulary, RATED)

    assert check_labels(selected_tags_csv(labels.rows), Format.WD).breaches == ()
    assert_nothing_is_lost(vocabulary, labels)


@settings(deadline=None)
@given(vocabularies)
def test_any_vocabulary_makes_a_cl_table_without_breach(tags: Any) -> None:
    """The same for kohya's second form."""
    labels = cl_labels(tags, RATED)

    assert check_labels(tag_mapping_json(labels.rows), Format.CL).breaches == ()
    assert_nothing_is_lost(tags, labels)


def assert_nothing_is_lost(tags: Any, labels: Any) -> None:
    """Each tag has exactly one row, or a change that says why it has none; each row has its tag's count."""
    outputs = [row.output for row in labels.rows if row.output is not None]
    left_out = {change.tag for change in labels.changes if change.became is None}

    assert len(set(outputs)) == len(outputs)
    assert {tag.name for tag in tags} - {tags[output].name for output in outputs} == left_out
    assert all(row.count == tags[row.output].count for row in labels.rows if row.output is not None)
    renamed = {change.tag: change.became for change in labels.changes}
    for row in labels.rows:
        if row.output is not None and tags[row.output].name != row.name:
            assert renamed[tags[row.output].name] == row.name


@settings(deadline=None)
@given(vocabularies)
def test_pandas_reads_back_what_was_written(tags: Any) -> None:
    """No name is turned into a missing value, which is how four of the readers read the table."""
    rows = wd_labels(tags, RATED).rows
    frame = pandas.read_csv(io.BytesIO(selected_tags_csv(rows)))

    assert [row.name for row in rows] == [str(name) for name in frame["name"]]
    assert not frame["name"].isna().any()


def test_csv_reader_reads_back_what_was_written() -> None:
    """The standard library's reader, which the others use, sees the same names."""
    rows = wd_labels(TAGS, RATED).rows
    read = list(csv.DictReader(io.StringIO(selected_tags_csv(rows).decode())))

    assert [row["name"] for row in read] == [row.name for row in rows]


def test_names_that_pandas_takes_for_missing_are_known() -> None:
    """The list covers the default of the pandas that is installed."""
    from pandas._libs.parsers import STR_NA_VALUES

    assert [name for name in STR_NA_VALUES if not fault_of(name)] == []


@pytest.mark.parametrize(
    ("counts", "probabilities"),
    [
        ({}, (0.25, 0.25, 0.25, 0.25)),
        ({"general": 6}, (0.7, 0.1, 0.1, 0.1)),
        ({"general": 2, "sensitive": 4, "": 100, "safe": 7}, (0.3, 0.5, 0.1, 0.1)),
    ],
)
def test_rating_constants(counts: Any, probabilities: Any) -> None:
    """Laplace's rule over the four ratings; pictures without a rating, or with an unknown one, do not count."""
    assert tuple(rating.probability for rating in rating_constants(counts)) == pytest.approx(probabilities)
