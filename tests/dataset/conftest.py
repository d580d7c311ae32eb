"""Fixtures of the dataset tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.dataset.helpers.killed_calls import calls_killed


@pytest.fixture(scope="session")
def kill() -> Iterator[Callable[..., bool]]:
    """A function that runs a build or a removal in its own process and kills it; see `calls_killed`."""
    with calls_killed() as kill:
        yield kill
