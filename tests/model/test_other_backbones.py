"""VGG16 is a choice: other networks train, resume, are evaluated, tag and are exported."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alti2v.model.evaluate import evaluate
from alti2v.model.export import export
from alti2v.model.onnx.parity import TOLERANCE
from alti2v.model.options.evaluation import EvalConfig
from alti2v.model.options.export import ExportConfig
from alti2v.model.recipes import RECIPES
from alti2v.model.saved_model import load_model
from alti2v.model.tagging.tagger import load_tagger
from alti2v.model.train import train
from tests.model.helpers.tiny_dataset import write_squares
from tests.model.helpers.tiny_train import TINY, config

pytestmark = [pytest.mark.tf, pytest.mark.slow]


@pytest.mark.parametrize("backbone", ["resnet50v2", "efficientnetv2s", "convnexttiny"])
def test_another_backbone_goes_the_whole_way(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is interrupted equals one that is not; the exported network tags as the run does."""
    recipe = replace(TINY["modern"], train_from="head", weights="none", frozen_epochs=0)
    monkeypatch.setitem(RECIPES, "modern", recipe)
    dataset = write_squares(tmp_path / "dataset", train=40)
    options: dict[str, Any] = {"backbone": backbone, "precision": "float32"}

    def stop(progress: Any) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    train(config(dataset, tmp_path / "whole", **options))
    with pytest.raises(KeyboardInterrupt):
        train(config(dataset, tmp_path / "run", **options), progress=stop)
    assert train(config(dataset, tmp_path / "run", **options)).resumed_from_step > 0
    for ours, theirs in zip(*(_weights(tmp_path / name) for name in ("run", "whole")), strict=True):
        np.testing.assert_array_equal(ours, theirs)

    assert evaluate(EvalConfig(run=tmp_path / "run")).result.images > 0
    exported = export(ExportConfig(run=tmp_path / "run", out=tmp_path / "onnx", format="onnx"))
    assert exported.largest_difference <= TOLERANCE
    shutil.rmtree(tmp_path / "dataset")  # an exported folder needs nothing else
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    ours, theirs = (
        load_tagger(tmp_path / name).estimate_top_tags([picture], n_tag=3)[0] for name in ("run", "onnx")
    )
    assert [name for name, _ in ours["general"]] == [name for name, _ in theirs["general"]]


def _weights(run: Path) -> list[Any]:
    return list(load_model(run).network.get_weights())
