"""Inputs and outputs that a graph declares."""

from __future__ import annotations

import pytest

from alti2v.errors import UsageError
from alti2v.model.loading.graph import Graph, GraphTensor


def test_an_input_of_another_name_is_told_with_those_that_exist() -> None:
    """The message names the wrong input and the right ones, not another kind of model."""
    graph = Graph((GraphTensor("images", "tensor(uint8)", (None, 64, 64, 3)),), ())
    assert graph.input("images") == graph.input(None)
    with pytest.raises(UsageError, match="no input 'pixel_values', only images"):
        graph.input("pixel_values")
