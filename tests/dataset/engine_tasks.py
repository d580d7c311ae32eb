"""Functions that the tests run on engines: importable by every worker."""

from __future__ import annotations

from alti2v.errors import DataError


def squared(number: int) -> int:
    return number * number


def failing(number: int) -> int:
    if number == 3:
        raise DataError("3 is not wanted")
    return number
