"""One store, and one dataset made of it, that the tests of foreign folders copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dataset.helpers.building import build
from tests.dataset.helpers.tiny_store import tiny_posts, write_store


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `store` and a `dataset`."""
    folder = tmp_path_factory.mktemp("original")
    write_store(folder / "store", tiny_posts(30))
    build(folder / "store", folder / "dataset")
    return folder
