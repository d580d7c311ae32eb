"""What the tests of datasets share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.dataset.helpers.killed_calls import calls_killed


@pytest.fixture(scope="session")
def kill() -> Iterator[Callable[..., bool]]:
    """Makes a build or a removal in a process of its own, and kills it at a point; see `calls_killed`."""
    with calls_killed() as kill:
        yield kill
