"""The checker of tables: each thing that a reader stumbles over is one line, and nothing else is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alti2v.model.onnx.check_labels import check_labels
from alti2v.model.options.choices import Format

WD = """\
tag_id,name,category,count
9999999,general,9,807858
9999998,sensitive,9,3771700
9999997,questionable,9,769899
9999996,explicit,9,560281
470575,1girl,0,4225150
212816,solo,0,3515897
1821,vocaloid,0,500
1,hatsune_miku,4,95000
2,"a""b",4,3
"""


def test_a_table_as_the_wd_taggers_ship_it() -> None:
    """The real form, quotes and all, has no breach."""
    table = check_labels(WD.encode(), Format.WD)

    assert table.breaches == ()
    assert len(table.rows) == 9
    assert table.rows[-1]["name"] == 'a"b'


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("tag_id,name", "id,name", "begins with"),
        ("tag_id", "\ufefftag_id", "begins with"),
        ("\n", "\r\n", "carriage returns"),
        ("470575,1girl", "470575,x,1girl", "row 4 has not 4 cells"),
        ("9,807858", "9,many", "row 0 has a count that is no number"),
        ("470575", "-3", "row 4 has a tag_id that is no number"),
        ("470575", "212816", "tag_id '212816' occurs more than once"),
        ("9999998", "5", "tag_id of rows 0 to 3"),
        ("sensitive", "safe", "rows 0 to 3 are not general, sensitive"),
        ("1821,vocaloid,0", "1821,vocaloid,3", "row 6 has a category other than 9, 0 and 4"),
        ("212816,solo,0", "212816,solo,4", "order 9, 0, 4, 0, 4 instead of 9, 0, 4"),
        ('1,hatsune_miku,4,95000\n2,"a""b",4,3\n', "", "no row of category 4"),
        ("solo", "1girl", "name '1girl' occurs more than once"),
        ("solo", "nan", "name 'nan' reads as a missing value"),
        ("solo", '"so,lo"', "name 'so,lo' has a comma"),
        ("solo", "so lo", "name 'so lo' has white space"),
        ("solo", "", "name '' reads as a missing value"),
        ("general,9", "general,4", "rows 0 to 3"),
    ],
)
def test_each_breach_of_a_wd_table_is_named(old: Any, new: Any, words: Any) -> None:
    """One change, one line that names it."""
    table = check_labels(WD.replace(old, new).encode(), Format.WD)

    assert any(words in breach for breach in table.breaches), table.breaches
    assert all("\n" not in breach for breach in table.breaches)


def test_without_general_tags() -> None:
    """A table of ratings and characters alone is none."""
    lines = [line for line in WD.splitlines(keepends=True) if ",0," not in line]

    assert any("category 0" in breach for breach in check_labels("".join(lines).encode(), Format.WD).breaches)


@pytest.mark.parametrize("format_", [Format.WD, Format.CL, Format.ONNX])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"\x00" * 50, b"[]", b"{}x", b'"' * 7])
def test_what_is_no_table_is_one_breach(content: Any, format_: Any) -> None:
    """Anything else than a table ends in a line, not in an exception."""
    table = check_labels(content, format_)

    assert len(table.breaches) == 1
    assert table.rows == ()


CL = {
    "0": {"tag": "general", "category": "Rating"},
    "1": {"tag": "1girl", "category": "General"},
    "2": {"tag": "vocaloid", "category": "Copyright"},
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, None),
        ({"4": {"tag": "x", "category": "General"}}, "keys"),
        ({"3": {"tag": "x"}}, "entry 3 has no tag and category"),
        ({"3": ["x", "General"]}, "entry 3 has no tag and category"),
        ({"3": {"tag": "x", "category": "general"}}, "entry 3 has a category other than"),
        ({"3": {"tag": "1girl", "category": "Character"}}, "name '1girl' occurs more than once"),
        ({"0": {"tag": "x", "category": "General"}}, "no entry of category Rating"),
        ({"3": {"tag": "a,b", "category": "General"}}, "has a comma"),
    ],
)
def test_each_breach_of_a_cl_table_is_named(change: Any, words: Any) -> None:
    """The same for kohya's second form."""
    breaches = check_labels(json.dumps(CL | change).encode(), Format.CL).breaches

    assert breaches == () if words is None else words in breaches[0]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ('0,a,general,1\n1,"b,c",meta,0\n', None),
        ("1,a,general,1\n", "index column"),
        ("0,a,9,1\n", "category other than"),
        ("0,a,general,1\n1,a,meta,1\n", "more than once"),
        ("0,a,general,x\n", "count that is no number"),
    ],
)
def test_each_breach_of_a_native_table_is_named(rows: Any, words: Any) -> None:
    """Breaches of the native form, which allows any name."""
    breaches = check_labels(f"index,name,category,count\n{rows}".encode(), Format.ONNX).breaches

    assert breaches == () if words is None else words in breaches[0]
