"""Functions that the tests run on engines; every worker can import them."""

from __future__ import annotations

import os

from alti2v.errors import DataError


def squared(number: int) -> int:
    return number * number


def failing(number: int) -> int:
    if number == 3:
        raise DataError("3 is not wanted")
    return number


def own_pid(_: int) -> int:
    return os.getpid()
