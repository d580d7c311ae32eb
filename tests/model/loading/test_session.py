"""Unusable answers of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alti2v.errors import DamagedError
from alti2v.model.loading.description import ModelDescription, ModelInput, ModelOutput
from alti2v.model.loading.folder import open_tagger
from alti2v.model.loading.graph import Graph, GraphTensor
from alti2v.model.loading.session import OnnxSession, fed, forward_of
from alti2v.model.vocabulary import make_vocabulary
from alti2v.pictures.recipe import ImageRecipe
from tests.model.helpers.foreign_taggers import FAMILIES


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


def test_vectors_of_a_length_that_is_not_declared_are_found(tmp_path: Path) -> None:
    """An open length is that of the answer; vectors of another number of pictures are one line."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")
    FAMILIES["wd_embedding"].write(tmp_path)
    model = onnx.load(str(tmp_path / "model.onnx"))
    declared = next(one for one in model.graph.output if one.name == "embedding")
    declared.type.tensor_type.shape.dim[1].dim_param = "length"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([True, False, True]), "kept"))
    producer = next(node for node in model.graph.node if node.output[0] == "embedding")
    producer.output[0] = "fixed"
    chosen = onnx.helper.make_node("Compress", ["fixed", "kept"], ["embedding"], axis=1)
    model.graph.node.append(chosen)
    onnx.save(model, str(tmp_path / "model.onnx"))
    assert open_tagger(tmp_path).description.output.features == 2

    chosen.attribute[0].i = 0
    model.graph.node[-1].CopyFrom(chosen)
    onnx.save(model, str(tmp_path / "model.onnx"))
    images = np.zeros((3, 448, 448, 3), np.uint8)
    with pytest.raises(DamagedError, match=r"answers vectors of shape \(2, 3\) for 3 pictures"):
        open_tagger(tmp_path).forward(images)


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("bgr", [False, True])
@pytest.mark.parametrize(
    ("scale", "mean", "std"),
    [
        (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)
@pytest.mark.parametrize("dtype", ["tensor(float)", "tensor(float16)", "tensor(uint8)"])
def test_networks_are_fed_the_described_numbers(
    channels_first: bool, bgr: bool, scale: float, mean: Any, std: Any, dtype: str
) -> None:
    """Each number is pixel * (scale / std) - mean / std in float32, to the bit, in the right order."""
    shape = (None, 3, 6, 6) if channels_first else (None, 6, 6, 3)
    takes = ModelInput(
        tensor=GraphTensor("input", dtype, shape),
        preparation=ImageRecipe(size=6),
        channels_first=channels_first,
        bgr=bgr,
        scale=scale,
        mean=mean,
        std=std,
    )
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 4), np.uint8)
    expected: Any = images[..., 2::-1] if bgr else images[..., :3]
    if dtype != "tensor(uint8)":
        factor, offset = np.float32(scale) / np.float32(std), np.float32(mean) / np.float32(std)
        expected = (expected.astype(np.float32) * factor - offset).astype(takes.dtype)
    expected = expected.transpose(0, 3, 1, 2) if channels_first else expected
    given = fed(images, takes)

    assert given.dtype == expected.dtype
    assert given.flags.c_contiguous
    assert np.array_equal(given, expected)
