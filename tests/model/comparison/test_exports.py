"""Exports of runs in a comparison: their training pictures are known, and rounding is no difference."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alti2v.dataset.manifest import read_manifest
from alti2v.model.compare import compare
from alti2v.model.comparison.contestant import Contestant
from alti2v.model.comparison.notes import picture_notes
from alti2v.model.comparison.origin import ModelOrigin
from alti2v.model.export import export
from alti2v.model.network import precision
from alti2v.model.options.evaluation import CompareConfig
from alti2v.model.options.export import ExportConfig
from alti2v.model.saved_model import save_model
from alti2v.records import Category, Tag
from alti2v.storage.layout import MODEL_DIR
from tests.model.helpers.tiny_dataset import COLOURS, square, write_dataset
from tests.model.helpers.tiny_run import random_model

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")
pytestmark = [pytest.mark.tf, pytest.mark.usefixtures("narrow_vgg16")]


def dataset(path: Path, *, train: range, test: range) -> Path:
    splits = {"train": train, "validation": range(16, 24), "test": test}
    return write_dataset(
        path, {name: [square(i, size=32) for i in numbers] for name, numbers in splits.items()}, size=32
    )


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A dataset, a run that looks as if trained on it, and the run's export: data, run, exported."""
    data = dataset(tmp_path / "data", train=range(24, 34), test=range(34, 64))
    tags = tuple(Tag(name=name, category=Category.GENERAL, count=5) for name in sorted(COLOURS))
    model = random_model(tags=tags, dataset=data)
    kernel = model.network.get_layer("logits").kernel
    kernel.assign(np.random.default_rng(1).normal(0, 0.5, kernel.shape))
    save_model(tmp_path / "run" / MODEL_DIR, replace(model, plan_hash=read_manifest(data).plan_hash))
    export(ExportConfig(run=tmp_path / "run", out=tmp_path / "exported", format="onnx"))
    return tmp_path


def test_an_export_knows_the_pictures_of_its_run(trained: Path) -> None:
    """On its dataset alone, on another one beside its run, and on another one alone: left out, or a note."""
    data, run, exported = (trained / name for name in ("data", "run", "exported"))
    other = dataset(trained / "other", train=range(16), test=range(24, 64))
    report = json.loads((exported / "export_report.json").read_text())
    assert str(trained) not in json.dumps(report)  # the plan and the weights, no path of this machine

    own = compare(CompareConfig(models=(exported,), dataset=data), out=trained / "out")
    assert own.images == 30
    assert own.models[0].training_is_known
    assert not any("trained on" in note for note in own.notes)
    beside = compare(CompareConfig(models=(exported, run), dataset=other), out=trained / "out")
    assert beside.images == 30
    assert any("10 pictures left out: one of the models" in note for note in beside.notes)
    alone = compare(CompareConfig(models=(exported,), dataset=other), out=trained / "out")
    assert alone.images == 40
    assert any("was not found, so pictures" in note for note in alone.notes)
    assert any(read_manifest(data).plan_hash[:12] in note for note in alone.notes)
    seen = compare(CompareConfig(models=(exported,), dataset=data, split="train"), out=trained / "out")
    assert any("were trained or tuned on them" in note for note in seen.notes)


def test_an_export_is_not_said_to_need_larger_pictures_than_its_run(tmp_path: Path) -> None:
    """An export in the wd format is the network of its run, and originals help it no more; they help others."""

    def model(name: str, size: int, weights: str) -> Contestant:
        tagger: Any = SimpleNamespace(preprocessing=SimpleNamespace(size=size))
        origin = ModelOrigin(weights=weights)
        return Contestant(
            model=name, name=name, tagger=tagger, is_run=name == "run", origin=origin, dataset=data
        )

    data = dataset(tmp_path / "data", train=range(24, 34), test=range(34, 64))
    notes = picture_notes([model("run", 32, "a"), model("wd", 448, "a"), model("other", 448, "")], None)

    assert [note.partition(" px of ")[0] for note in notes] == ["other takes larger pictures than the 32"]


def test_a_run_and_its_export_are_one_network(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where runs would compute in bfloat16, one beside its export does not; the page says what they are."""
    monkeypatch.setattr(precision, "gain_over_float32", lambda _: 2.0)
    run, exported = trained / "run", trained / "exported"
    found = compare(CompareConfig(models=(run, exported), min_positives=3), out=trained / "out")

    assert "run and exported are the same network" in " ".join(found.notes)
    assert "evaluated alone, a run is computed in bfloat16" in " ".join(found.notes)
    np.testing.assert_allclose(
        found.models[0].paired.average_precision, found.models[1].paired.average_precision, atol=1e-6
    )
    assert found.models[0].overall.scores.squared_error == pytest.approx(
        found.models[1].overall.scores.squared_error, abs=1e-6
    )
    rounded = compare(CompareConfig(models=(run, exported), precision="bfloat16"), out=trained / "out")
    assert "The runs were computed in bfloat16" in " ".join(rounded.notes)
