"""Numbers in messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alti2v.numerals import counted, duration, short_number, size


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (148.3, 2, "148"),
        (99.6, 2, "100"),
        (9.96, 2, "10"),
        (0.021, 2, "0.021"),
        (1e6, 6, "1,000,000"),
        (0, 3, "0"),
    ],
)
def test_figures_before_the_point_are_written_in_full(value: float, digits: int, text: str) -> None:
    """A rate of 148 is not 1.5e+02."""
    assert short_number(value, digits=digits) == text


@given(st.floats(1e-4, 1e12), st.integers(1, 8))
def test_no_number_has_an_exponent_and_all_are_right(value: float, digits: int) -> None:
    """The text is the number within half a unit of its last digit."""
    text = short_number(value, digits=digits)

    assert "e" not in text
    assert float(text.replace(",", "")) == pytest.approx(
        value, rel=0.5 * 10 ** (1 - digits) * 1.0001, abs=1e-16
    )


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [(0, "", "0 copys"), (1, "", "1 copy"), (1_000, "copies", "1,000 copies"), (1, "copies", "1 copy")],
)
def test_counts_have_the_fitting_form_of_the_name(number: int, words: str, text: str) -> None:
    """One thing has the singular, every other number the plural."""
    assert counted(number, "copy", words) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (18_420, "5 h 07 min"), (187_200, "2 d 4 h")],
)
def test_duration(seconds: float, text: str) -> None:
    """Durations read like a person would say them."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(512, "512 B"), (3_400, "3.4 kB"), (547e9, "547.0 GB"), (2.5e12, "2.5 TB")]
)
def test_size(count: float, text: str) -> None:
    """Sizes use powers of 1000, as disks are sold."""
    assert size(count) == text
