"""Unusable answers of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alti2v.errors import DamagedError
from alti2v.model.taggers.description import ModelDescription, ModelInput, ModelOutput
from alti2v.model.taggers.graph import Graph, GraphTensor
from alti2v.model.taggers.session import OnnxSession, forward_of
from alti2v.model.vocabulary import make_vocabulary
from alti2v.pictures.recipe import ImageRecipe


class CollapsingSession:
    """A network that reduces the axis of the batch and answers one row."""

    def run(self, _: Any, __: Any) -> list[np.ndarray]:
        return [np.full((1, 2), 0.5, np.float32)]


def test_one_row_for_several_pictures_is_one_line() -> None:
    """The rows of an answer are counted before they are given to pictures."""
    description = ModelDescription(
        family="wd",
        model_file="model.onnx",
        input=ModelInput(
            tensor=GraphTensor("input", "tensor(float)", (None, 8, 8, 3)), preparation=ImageRecipe(size=8)
        ),
        output=ModelOutput(tags="output"),
        vocabulary=make_vocabulary([("red", "general"), ("blue", "general")]),
    )
    session = OnnxSession(session=CollapsingSession(), graph=Graph((), ()), device="CPU")
    forward = forward_of(session, description, Path("folder"))
    assert forward(np.zeros((1, 8, 8, 3), np.uint8))[0].shape == (1, 2)
    with pytest.raises(DamagedError, match=r"model\.onnx answers 1 rows for 3 pictures"):
        forward(np.zeros((3, 8, 8, 3), np.uint8))
