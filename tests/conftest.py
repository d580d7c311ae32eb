"""Fixtures that the tests of several packages use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers.s3_server import S3Server, s3_server

# On a busy machine an example may take a second, which says nothing about the code.
settings.register_profile("no deadline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no deadline")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reach boards on this machine directly, whatever proxies the environment of the tests names."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Run an S3 server with one empty bucket."""
    with s3_server(monkeypatch) as server:
        yield server


@pytest.fixture(scope="module")
def narrow_vgg16() -> Iterator[None]:
    """Replace VGG16 by a narrow one in the whole module."""
    from tests.model.helpers.narrow_vgg import put_narrow_vgg16

    with pytest.MonkeyPatch.context() as patch:
        put_narrow_vgg16(patch)
        yield
