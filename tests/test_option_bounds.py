"""Bounds of options."""

from __future__ import annotations

import math

import pytest

from alti2v.errors import UsageError
from alti2v.option_bounds import require_between, require_choice


@pytest.mark.parametrize(
    ("value", "high", "allowed"), [(0, None, "at least 1"), (65, 64, "1 to 64"), (math.nan, None, "at least 1")]
)
def test_number_outside_its_bounds_is_refused(value: float, high: float | None, allowed: str) -> None:
    """The message names the option, the value and the bounds."""
    with pytest.raises(UsageError, match=f"--x {value} is out of range: give {allowed}$"):
        require_between("--x", value, 1, high)


@pytest.mark.parametrize("value", [None, 1, 64])
def test_bounds_are_included(value: float | None) -> None:
    """The bounds themselves pass, and so does an option that is not given."""
    require_between("--x", value, 1, 64)


def test_unknown_word_is_refused() -> None:
    """The message lists the allowed words."""
    require_choice("--split", None, ("train", "test"))
    require_choice("--split", "test", ("train", "test"))
    with pytest.raises(UsageError, match="--split 'tset' is unknown: give one of train, test"):
        require_choice("--split", "tset", ("train", "test"))
