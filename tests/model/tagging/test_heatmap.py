"""Heat-maps: the parts add up to the tag's log-odds, and every form of a model tells the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alti2v.errors import UsageError
from alti2v.model.export import export
from alti2v.model.options.export import ExportConfig
from alti2v.model.recipes import Head
from alti2v.model.tagging.heatmap import GapHead, Method, heat_map, occlusion
from alti2v.model.tagging.tagger import load_tagger
from tests.model.helpers.tiny_run import write_run
from tests.model.helpers.tiny_wd import TAGS, write_wd_folder

SIZE = 64  # two places along a side


@pytest.fixture(scope="module", params=[Head.POOLED, Head.LEVELS])
def run(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Any:
    return write_run(tmp_path_factory.mktemp("heat"), size=SIZE, head=request.param)


@pytest.fixture(scope="module")
def picture() -> Any:
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.tf
def test_parts_of_a_run_make_the_logit(run: Any, picture: Any) -> None:
    """Mean of the map, biases of the active units and the tag's own: exactly the network's log-odds."""
    from alti2v.model.saved_model import load_model

    tagger = load_tagger(run, precision="float32")
    network = load_model(run).network
    bias = np.asarray(network.get_layer("logits").bias)
    kernel = np.asarray(network.get_layer("logits").kernel)
    units = np.asarray(network.get_layer("features").bias)
    _, features = tagger.forward(picture[None])
    assert features is not None
    for output, name in enumerate(tagger.vocabulary.names):
        heat = tagger.heat_map(picture, name)
        rest = (units * (features[0] > 0)) @ kernel[:, output] + bias[output]
        odds = features[0] @ kernel[:, output] + bias[output]

        assert heat.method is Method.ACTIVATION
        assert heat.values.shape in ((2, 2), (8, 8))  # of block 5, or of block 3
        assert heat.values.std() > 0
        assert heat.values.mean() + rest == pytest.approx(odds, abs=1e-4)


@pytest.mark.tf
@pytest.mark.parametrize("format_", ["onnx", "wd", "cl"])
def test_export_tells_what_the_run_tells(run: Any, picture: Any, tmp_path: Path, format_: Any) -> None:
    """The map from the ONNX graph is the map from Keras; the WD form takes larger pictures, blue first."""
    out = tmp_path / format_
    export(ExportConfig(run=run, out=out, format=format_))
    # Smooth and grey: what the WD form's graph does to details and colours is no matter of the map.
    coarse = Image.fromarray(picture[:8, :8, 0])
    given, larger = (
        np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC).convert("RGB")) for side in (SIZE, 448)
    )
    of_run = load_tagger(run, precision="float32").heat_map(given, "miku")
    of_export = load_tagger(out).heat_map(larger if format_ != "onnx" else given, "miku")

    assert of_export.method is Method.ACTIVATION
    scale = 0 if format_ == "onnx" else 0.1 * np.abs(of_run.values).max()
    np.testing.assert_allclose(of_export.values, of_run.values, atol=1e-4 + scale)


def test_covering_tells_of_a_foreign_model(tmp_path: Path) -> None:
    """The model looks at the mean colour, so what covering a place does to it can be computed."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")
    tagger = load_tagger(write_wd_folder(tmp_path / "wd"))
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, :16] = (200, 0, 0)
    picture[:, 16:] = (0, 0, 200)
    heat = tagger.heat_map(picture, "red_eyes")

    covered = picture.astype(float)
    covered[6:14, 2:10] = (100, 0, 100)  # the third row's second place (4 px) and half a place around
    fall = (picture.mean(axis=(0, 1)) - covered.mean(axis=(0, 1)))[::-1] @ TAGS["red_eyes"][2]
    assert heat.method is Method.OCCLUSION
    assert heat.values.shape == (8, 8)
    assert heat.values[2, 1] == pytest.approx(fall, abs=1e-4)
    assert heat.values[:, :3].min() > 0 > heat.values[:, 5:].max()


def test_sure_answers_have_finite_odds() -> None:
    """Probabilities that float32 rounds to 0 and 1 make no infinity."""

    def forward(images: Any) -> Any:
        return (images[:, 0, 0, :1] > 0).astype(np.float32), None

    picture = np.zeros((16, 16, 3), np.uint8)
    picture[0, 0] = 255

    assert np.isfinite(occlusion(forward, picture, 0, batch_size=7)).all()


@pytest.mark.tf
def test_unknown_tag_is_refused(run: Any, picture: Any) -> None:
    """With the nearest names, as everywhere."""
    with pytest.raises(UsageError, match="did you mean miku"):
        load_tagger(run).heat_map(picture, "mikku")


def test_one_place_is_no_map() -> None:
    """A feature map of a single place would colour the whole picture: parts of it are covered instead."""
    ones = np.ones((1, 1), np.float32)
    head = GapHead(
        positions=lambda _: [ones[None]], features_kernel=ones, features_bias=ones[0], logits_kernel=ones
    )
    heat = heat_map(
        lambda images: (images[:, 0, 0, :1].astype(np.float32) / np.float32(255), None),
        head,
        np.full((16, 16, 3), 9, np.uint8),
        0,
        batch_size=8,
    )

    assert heat.method is Method.OCCLUSION
