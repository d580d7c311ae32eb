"""Fixtures of the crawl's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.crawl.scripted_board import ScriptedBoard

Board = Callable[..., ScriptedBoard]


@pytest.fixture
def board() -> Iterator[Board]:
    """Start scripted boards; they end with the test."""
    running: list[ScriptedBoard] = []

    def start(**wishes: Any) -> ScriptedBoard:
        wishes.setdefault("ids", list(range(1, 120, 2)))
        running.append(ScriptedBoard(**wishes).__enter__())
        return running[-1]

    yield start
    for each in running:
        each.__exit__()
