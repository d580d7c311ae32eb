"""The one call that the command and the demo make, on a real network and real shards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alti2v.model.data.pipeline import evaluation_batches
from alti2v.model.options.evaluation import EvalConfig
from alti2v.model.saved_model import save_model
from alti2v.records import Category, Tag
from alti2v.report.evaluation import write_evaluation
from alti2v.storage.layout import MODEL_DIR
from tests.model.helpers.tiny_dataset import COLOURS, write_squares
from tests.model.helpers.tiny_run import random_model

pytestmark = pytest.mark.tf


def test_a_run_is_judged_with_its_own_network_and_shards(tmp_path: Path) -> None:
    """The squared error in metrics.json is that of the network's answers to the pictures in the shards."""
    dataset, run = write_squares(tmp_path / "dataset", validation=9, test=14), tmp_path / "run"
    tags = tuple(Tag(name=name, category=Category.GENERAL, count=10) for name in sorted(COLOURS))
    model = replace(random_model(tags=tags, dataset=dataset), train_samples=40)
    run.mkdir()
    save_model(run / MODEL_DIR, model)

    report = write_evaluation(EvalConfig(run=run, precision="float32", batch_size=4))

    (batch,) = evaluation_batches(dataset, split="test", batch_size=14)
    answers = np.asarray(model.network(batch.images)["probabilities"])
    document = json.loads(report.metrics.read_text())
    assert report.images == document["images"] == 14
    assert report.mse == pytest.approx(np.square(answers - batch.labels).mean(), rel=1e-4)
    assert report.mse_baseline == pytest.approx(np.square(0.25 - batch.labels).mean())
    assert report.report == run / "eval" / "report.html"
    assert "9 pictures of the validation split" in document["threshold_source"]
