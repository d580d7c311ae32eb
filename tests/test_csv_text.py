"""CSV for spreadsheets."""

from __future__ import annotations

import csv
import io

import pytest

from alti2v.csv_text import csv_row, csv_table


@pytest.mark.parametrize(
    "cell",
    [
        "=cmd|' /C calc'!A0",
        '=HYPERLINK("http://example.org")',
        "+SUM(1)*cmd|'/C calc'!A0",
        "-2+3+cmd|'/C calc'!A0",
        "@SUM(1+1)",
        "\t=SUM(1)",
        " =SUM(1)",
        "＝SUM（1）",
    ],
)
def test_no_cell_runs_as_a_formula(cell: str) -> None:
    """A name that a spreadsheet would run gets an apostrophe in front, which makes it text."""
    (row,) = csv.reader(io.StringIO(csv_row(["a", cell])))

    assert row == ["a", f"'{cell}"]


@pytest.mark.parametrize(
    "tag", ["=_=", "+_+", "@_@", "-_-", "saber_(fate)", "|_|", "null", ":=", 'say_"hi",_ok']
)
def test_tags_that_only_look_odd_stay_as_they_are(tag: str) -> None:
    """Tags that programs look up by name are not changed."""
    (row,) = csv.reader(io.StringIO(csv_row([tag, -0.5])))

    assert row == [tag, "-0.5"]


def test_a_table_has_one_line_for_each_row() -> None:
    """Rows end in a line feed; missing values are empty cells."""
    assert csv_table([("id", "tag"), (1, "ä"), (2, "")]) == "id,tag\n1,ä\n2,\n".encode()


def test_pandas_keeps_tags_that_look_like_missing_values() -> None:
    """pandas keeps such tags with the arguments in docs/READING.md; its defaults would lose three real ones."""
    pandas = pytest.importorskip("pandas")
    names = ["null", "NaN", "None", "N/A", "=_="]
    table = csv_table([("name", "f1"), *((name, 0.5) for name in names), ("solo", "")])
    read = pandas.read_csv(io.BytesIO(table), keep_default_na=False, na_values=[""])

    assert read["name"].tolist() == [*names, "solo"]
    assert read["f1"].isna().tolist() == [False] * len(names) + [True]
