"""Networks whose answer for a picture depends on the batch, and what the commands say about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from alti2v.model.loading.folder import open_tagger
from alti2v.model.loading.trial import batch_difference, batch_note
from tests.helpers.command import run
from tests.model.helpers.foreign_taggers import FAMILIES

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")


def mixing(folder: Path, *, keeps_rows: bool, rows: int | str = "N") -> Path:
    """A WD tagger that averages over its batch: into one row, or into as many rows as there are pictures."""
    FAMILIES["wd_v3"].write(folder)
    model = onnx.load(str(folder / "model.onnx"))
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["each" if name == output.name else name for name in node.output]
    mean = "mean" if keeps_rows else output.name
    model.graph.node.append(helper.make_node("ReduceMean", ["each"], ["average"], axes=[0], keepdims=1))
    if keeps_rows:
        model.graph.node.append(helper.make_node("Shape", ["each"], ["shape"]))
        model.graph.node.append(helper.make_node("Expand", ["average", "shape"], [output.name]))
    else:
        model.graph.node.append(helper.make_node("Identity", ["average"], [mean]))
    dimension = output.type.tensor_type.shape.dim[0]
    dimension.Clear()
    if isinstance(rows, int):
        dimension.dim_value = rows
    else:
        dimension.dim_param = rows
    onnx.save(model, str(folder / "model.onnx"))
    return folder


def test_a_batch_that_is_averaged_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As many rows as pictures, all alike: `model` says that it takes one at a time, the check too."""
    folder = mixing(tmp_path, keeps_rows=True)
    status, out, err = run(capsys, "model", str(folder), "--json")
    described = json.loads(out)
    assert (status, err) == (0, "")
    assert described["input"]["at_once"] == 1
    assert "give --batch-size 1" in described["notes"][0]

    status, out, err = run(capsys, "export", "--check", str(folder))
    assert (status, err.count("\n")) == (1, 1)
    assert "works with one picture at a time only" in err
    assert "it works here" not in err


def test_a_batch_that_becomes_one_row_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two pictures are tried, so a graph that answers one row for both is found when it is described."""
    folder = mixing(tmp_path, keeps_rows=True)
    model = onnx.load(str(folder / "model.onnx"))
    places = [onnx.numpy_helper.from_array(np.array([place]), name) for place, name in ((0, "from"), (1, "to"))]
    model.graph.initializer.extend(places)
    (output,) = model.graph.output
    model.graph.node.append(helper.make_node("Slice", [output.name, "from", "to"], ["first"]))
    output.name = "first"
    onnx.save(model, str(folder / "model.onnx"))
    for arguments in (("model", str(folder)), ("export", "--check", str(folder))):
        status, _, err = run(capsys, *arguments)
        assert (status, err.count("\n")) == (4, 1)
        assert "answers 1 rows for 2 pictures: give --batch-size 1" in err


def test_a_declared_number_of_rows_limits_the_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An output that declares one row gets one picture at a time, and its answers are those of the network."""
    one, plain = mixing(tmp_path / "one", keeps_rows=False, rows=1), tmp_path / "plain"
    FAMILIES["wd_v3"].write(plain)
    opened, expected = open_tagger(one), open_tagger(plain)
    assert batch_difference(opened.forward, opened.description.input) == 0
    status, out, _ = run(capsys, "model", str(one))
    assert status == 0
    assert "batches of 1, (" in out

    images: Any = np.random.default_rng(0).integers(0, 256, (3, 448, 448, 3)).astype(np.uint8)
    np.testing.assert_allclose(opened.forward(images)[0], expected.forward(images)[0], atol=1e-4)


@pytest.mark.parametrize("family", ["wd_v3", "wd_v14", "oppai_oracle", "camie"])
def test_sound_models_have_no_note(tmp_path: Path, family: str) -> None:
    """A picture beside another one gets the same probabilities as alone, for a fixed batch, too."""
    FAMILIES[family].write(tmp_path)
    opened = open_tagger(tmp_path)

    assert batch_note(batch_difference(opened.forward, opened.description.input)) is None
