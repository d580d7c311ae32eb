"""TensorFlow says nothing that its user cannot act on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.tf
def test_the_first_float16_of_a_process_is_silent() -> None:
    """OneDNN's line on processors with float16 does not reach the terminal; without `first_float16` it does."""
    code = (
        "from alti2v.model import backend; tf = backend.tf; backend.first_float16();"
        "tf.cast(tf.ones(4, tf.float16), tf.float32)"
    )
    usual = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=usual)
    assert found.stderr == ""
