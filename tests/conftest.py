"""What every room of the test suite shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers.s3_server import S3Server, s3_server

# On a machine that has other things to do, a draw may take a second; that says nothing of the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An S3 server with one bucket."""
    with s3_server(monkeypatch) as server:
        yield server


@pytest.fixture(scope="module")
def narrow_vgg16() -> Iterator[None]:
    """Every VGG16 of the module is a narrow one."""
    from tests.model.helpers.narrow_vgg import put_narrow_vgg16

    with pytest.MonkeyPatch.context() as patch:
        put_narrow_vgg16(patch)
        yield
