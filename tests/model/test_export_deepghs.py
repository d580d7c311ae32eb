"""Exports for imgutils' generic reader: read as that reader does, the tags are those of the run."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alti2v.model.evaluation.thresholds import TunedThresholds, write_thresholds
from alti2v.model.export import export
from alti2v.model.options.export import ExportConfig
from alti2v.model.tagging.tagger import load_tagger
from tests.model.helpers.tiny_run import TAGS, write_run

ort: Any = pytest.importorskip("onnxruntime", reason="pip install 'alti2v[export]'")
pytest.importorskip("onnx", reason="pip install 'alti2v[export]'")
pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with tuned thresholds."""
    folder = write_run(tmp_path_factory.mktemp("deepghs"))
    rules = {"f1": {"solo": 0.25, "miku": 0.75}}
    write_thresholds(folder / "model", TunedThresholds(rules=rules, fallback=0.4, images=9))
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run as a folder of this form."""
    out = tmp_path_factory.mktemp("out") / "deepghs"
    export(ExportConfig(run=run, out=out, format="deepghs"))
    return out


def prepared(image: Image.Image, stages: list[dict[str, Any]]) -> Any:
    """Do what imgutils' `create_pillow_transforms` does with these stages."""
    pad, to_tensor, normalize = stages
    assert [stage["type"] for stage in stages] == ["pad_to_size", "maybe_to_tensor", "normalize"]
    assert to_tensor.keys() == {"type"}
    width, height = pad["size"]
    ratio = min(width / image.width, height / image.height)
    resampling = Image.Resampling[pad["interpolation"].upper()]
    small = image.resize((round(image.width * ratio), round(image.height * ratio)), resampling)
    canvas = Image.new("RGB", (width, height), pad["background_color"])
    canvas.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
    values = np.asarray(canvas).transpose(2, 0, 1).astype(np.float32) / 255
    mean, std = (np.array(normalize[name], np.float32).reshape(3, 1, 1) for name in ("mean", "std"))
    return (values - mean) / std


def test_imgutils_reader_gives_the_tags_of_the_run(run: Path, exported: Path, tmp_path: Path) -> None:
    """Outputs by name, categories by number, thresholds of tags: all that its `predict` uses."""
    smooth = np.random.default_rng(0).integers(0, 256, (5, 3, 3), dtype=np.uint8)
    image = Image.fromarray(smooth).resize((300, 500), Image.Resampling.BICUBIC)
    image.save(tmp_path / "picture.png")
    stages = json.loads((exported / "preprocess.json").read_text())
    assert stages["test"] == stages["val"]
    session = ort.InferenceSession(str(exported / "model.onnx"), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    values = dict(zip(names, session.run(names, {"input": prepared(image, stages["test"])[None]}), strict=True))
    rows = list(csv.DictReader(io.StringIO((exported / "selected_tags.csv").read_text())))
    categories = {
        str(row["category"]): row["name"] for row in json.loads((exported / "categories.json").read_text())
    }
    tagger = load_tagger(run)
    by_run = tagger.estimate_specific_tags([tmp_path / "picture.png"], [tag.name for tag in TAGS])[0]

    assert set(names) == {"embedding", "logits", "prediction"}
    assert 1 / (1 + np.exp(-values["logits"])) == pytest.approx(values["prediction"], abs=1e-6)
    assert [row["name"] for row in rows] == [tag.name for tag in TAGS]
    assert [categories[row["category"]] for row in rows] == [tag.category.value for tag in TAGS]
    found = dict(zip((row["name"] for row in rows), values["prediction"][0].tolist(), strict=True))
    assert found == pytest.approx(by_run, abs=0.02)  # the JPEG of the training's pictures is not in between
    limits = {row["name"]: float(row["best_threshold"]) for row in rows}
    assert limits == {tag.name: {"solo": 0.25, "miku": 0.75}.get(tag.name, 0.25) for tag in TAGS}


def test_this_program_reads_it_as_any_other_folder_of_the_form(run: Path, exported: Path) -> None:
    """Family, categories, thresholds and vectors."""
    tagger = load_tagger(exported)

    assert tagger.description.family == "deepghs"
    assert tagger.vocabulary.names == tuple(tag.name for tag in TAGS)
    assert tagger.vocabulary.categories == tuple(tag.category.value for tag in TAGS)
    assert tagger.features == load_tagger(run).features == 24
    assert tagger.own_thresholds()[:2] == pytest.approx([0.25, 0.75])
