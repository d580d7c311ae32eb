"""The version of ONNX Runtime that runs models of others."""

import re

import pytest

from alti2v.errors import UsageError
from alti2v.model.onnx.runtime import require_safe


@pytest.mark.parametrize("version", ["1.24.1", "1.24.1.dev20260101", "1.30.0", "2.0"])
def test_versions_that_stay_in_the_folder_are_taken(version: str) -> None:
    """From 1.24.1 on external data outside a model's folder is refused by ONNX Runtime itself."""
    require_safe(version)


@pytest.mark.parametrize("version", ["1.23.2", "1.9.0", "1.24.0"])
def test_versions_that_read_outside_are_refused_in_a_line(version: str) -> None:
    """The message names the version and what to install."""
    with pytest.raises(UsageError, match=re.escape(f"onnxruntime {version} reads files outside")) as refused:
        require_safe(version)
    assert "pip install 'onnxruntime>=1.24.1'" in str(refused.value)
