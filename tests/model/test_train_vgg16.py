"""Training of the real VGG16: it learns, and the plan reports its size. See also training/test_kills.py."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alti2v.model.recipes import MODERN, RECIPES, SEED
from alti2v.model.saved_model import load_model
from alti2v.model.train import TrainConfig, plan, train
from tests.model.helpers.tiny_dataset import write_squares

pytestmark = pytest.mark.tf
TRAIN, EPOCHS = 40, 3
STEPS_PER_EPOCH = 3
TINY = replace(
    MODERN,
    features=32,
    dropout=0.2,
    train_from="block5_conv3",
    learning_rate=1e-3,
    batch_size=16,
    epochs=EPOCHS,
)


@pytest.fixture(scope="module", autouse=True)
def tiny_recipes() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "modern", TINY)
        patch.setitem(RECIPES, "seed", replace(SEED, features=16, train_from="block5_conv3", epochs=1))
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_squares(tmp_path_factory.mktemp("vgg16") / "dataset", train=TRAIN)


@pytest.fixture(scope="module")
def reference(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An uninterrupted run, and its report."""
    run = tmp_path_factory.mktemp("reference") / "run"
    return run, train(config(dataset, run))


def config(dataset: Path, run: Any, **fields: Any) -> Any:
    return TrainConfig(**{"dataset": dataset, "run": run, "weights": "none", "checkpoint_s": 1e9, **fields})


def losses(run: Any) -> Any:
    with (run / "log.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_it_learns_and_reports(reference: Any) -> None:
    """A run ends with a falling loss, a consistent report, and a model that records its training."""
    run, report = reference
    model = load_model(run)

    assert losses(run)[-1] < losses(run)[0] - 0.05
    assert report.loss == pytest.approx(losses(run)[-1], rel=1e-4)
    assert (report.epochs, report.steps, report.resumed_from_step) == (EPOCHS, EPOCHS * STEPS_PER_EPOCH, 0)
    assert (report.train_samples, report.tags, report.recipe) == (TRAIN, 6, "modern")
    assert report.parameters == model.network.count_params()
    assert report.samples_per_s > 0
    assert 0 < report.validation_map <= 1
    assert (model.recipe, model.train_samples, model.size) == ("modern", TRAIN, 32)
    assert model.threshold == report.threshold
    assert sum(tag.count for tag in model.tags) > TRAIN


def test_seed_recipe_trains(dataset: Path, tmp_path: Path) -> None:
    """The original's recipe can be trained, and its loss is the mean over the tags."""
    report = train(config(dataset, tmp_path / "run", recipe="seed", batch_size=16))

    assert report.recipe == "seed"
    assert 0 < report.loss < 2


def test_a_plan_measures_and_writes_nothing(dataset: Path, tmp_path: Path) -> None:
    """A plan reports parameters, memory, steps, both speeds, the limiting part, and the time."""
    planned = plan(config(dataset, tmp_path / "run", train_from="head", frozen_epochs=0, batch_size=4))
    samples = TRAIN * planned.epochs

    assert not (tmp_path / "run").exists()
    assert (planned.steps, planned.epochs) == (30, EPOCHS)
    assert planned.parameters == 14_714_688 + 1280 * 32 + 32 + 32 * 6 + 6
    assert planned.learning == 1280 * 32 + 32 + 32 * 6 + 6
    assert planned.memory_bytes > 4 * planned.parameters
    rates = (planned.input_samples_per_s, planned.training_samples_per_s)
    assert planned.limited_by == ("input" if rates[0] < rates[1] else "training")
    assert planned.seconds > sum(samples / rate for rate in rates)  # and 12 pictures after each epoch
