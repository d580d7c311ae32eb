"""Epochs on pictures of half the side: the same layers, exact after a kill, and planned for a short time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alti2v.errors import UsageError
from alti2v.model.evaluate import evaluate
from alti2v.model.network.augment import halving_model
from alti2v.model.network.build import Architecture, build_network
from alti2v.model.options.evaluation import EvalConfig
from alti2v.model.recipes import RECIPES, SCRATCH, Augmentation, Head
from alti2v.model.saved_model import load_model
from alti2v.model.train import TrainConfig, train
from alti2v.model.training import loop
from alti2v.model.training.compiled_model import prepare
from alti2v.model.training.cost.budget import Rates, Samples, plan_for_budget
from alti2v.model.training.job import Phase
from alti2v.records import Progress
from tests.model.helpers.tiny_dataset import write_squares

pytestmark = [pytest.mark.tf, pytest.mark.usefixtures("narrow_vgg16")]


@pytest.fixture(scope="module", autouse=True)
def small_recipe() -> Iterator[None]:
    """A small head, and batches for a few pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "scratch", replace(SCRATCH, features=16, batch_size=8, epochs=2))
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("squares") / "dataset", size=64, train=24)


def config(dataset: Path, run: Path, **fields: Any) -> TrainConfig:
    return TrainConfig(
        **{
            "dataset": dataset,
            "run": run,
            "recipe": "scratch",
            "precision": "float32",
            "small_epochs": 1,
            "checkpoint_s": 0,
            **fields,
        }
    )


@pytest.mark.parametrize("head", [Head.LEVELS, Head.POOLED])
@pytest.mark.parametrize("size", [64, 65])
def test_a_network_of_half_the_size_with_the_same_layers(head: Head, size: int) -> None:
    """It computes what a network of half the size with these weights computes from averaged pictures."""
    network, half = (
        build_network(Architecture(size=side, tags=5, head=head, features=8, dropout=0.0), seed=seed)
        for side, seed in ((size, 0), (size // 2, 1))
    )
    half.logits.set_weights(network.logits.get_weights())
    model = halving_model(network)
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    even = images[:, : size // 2 * 2, : size // 2 * 2].astype(np.float32)
    averaged = even.reshape(3, size // 2, 2, size // 2, 2, 3).mean(axis=(2, 4))

    ours = [id(variable) for variable in model.trainable_variables]
    assert ours == [id(variable) for variable in network.logits.trainable_variables]
    np.testing.assert_allclose(
        model.predict_on_batch(images), half.logits.predict_on_batch(averaged), rtol=1e-4, atol=1e-5
    )


def test_the_first_epochs_are_small(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The phases follow each other, the second with a lower rate; the result is an ordinary run."""
    phases: list[Phase] = []

    def noted(job: Any, network: Any, phase: Phase) -> Any:
        phases.append(phase)
        return prepare(job, network, phase)

    monkeypatch.setattr(loop, "prepare", noted)
    report = train(config(dataset, tmp_path / "run", epochs=3, learning_rate=1e-3, frozen_epochs=0))
    found = evaluate(EvalConfig(run=tmp_path / "run", min_positives=1))

    assert [(phase.first_epoch, phase.end_epoch, phase.is_small) for phase in phases] == [
        (0, 1, True),
        (1, 3, False),
    ]
    assert [phase.learning_rate for phase in phases] == pytest.approx([1e-3, 4e-4])
    assert report.epochs == 3
    assert [row["epoch"] for row in found.log] == [1, 2, 3]


@pytest.mark.parametrize("step", [2, 3, 4])  # inside the small epoch, at its end, after it
@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(flip=True, shift=0.1)])
def test_a_kill_changes_nothing(dataset: Path, tmp_path: Path, step: int, augmentation: Augmentation) -> None:
    """Interrupted anywhere, the same command ends with the same bits."""

    class Killed(BaseException):
        pass

    def die(progress: Progress) -> None:
        if progress.stage == "training" and progress.done == step:
            raise Killed

    train(config(dataset, tmp_path / "whole", augmentation=augmentation))
    with pytest.raises(Killed):
        train(config(dataset, tmp_path / "killed", augmentation=augmentation), progress=die)
    assert train(config(dataset, tmp_path / "killed", augmentation=augmentation)).resumed_from_step > 0

    whole, killed = (load_model(tmp_path / name).network.get_weights() for name in ("whole", "killed"))
    for ours, theirs in zip(whole, killed, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("size", "fields", "words"),
    [
        (32, {}, "--small-epochs needs pictures of 64 px or more"),
        (64, {"recipe": "seed", "weights": "none"}, "needs a pooled head, and recipe seed flattens"),
        (64, {"train_from": "head"}, "and --train-from is head"),
        (64, {"train_from": "block5_conv1", "cache_features": True}, "and --cache-features replaces them"),
    ],
)
def test_where_pictures_cannot_be_small(tmp_path: Path, size: int, fields: dict[str, Any], words: str) -> None:
    """Refused in one line, before anything is written."""
    dataset = write_squares(tmp_path / "dataset", size=size, train=8)
    with pytest.raises(UsageError, match=words):
        train(config(dataset, tmp_path / "run", **fields))
    assert not (tmp_path / "run").exists()


RATES = Rates(
    input=2_000.0,
    forward=80.0,
    head=None,
    training=21.0,
    shares={"block1_conv1": 1.0, "block5_conv1": 0.1},
    stores_maps=False,
    is_cpu=True,
    halves=True,
)
SAMPLES = Samples(train=5_294, validation=500, all=6_694, head_passes=20)


@pytest.mark.parametrize(
    ("minutes", "halves", "expected"),
    [
        (10.0, True, (3, 2)),  # 2 whole epochs would fit
        (10.0, False, (2, 0)),
        (60.0, True, (9, 0)),  # there is time enough for whole pictures
    ],
)
def test_a_short_time_begins_with_small_pictures(
    minutes: float, halves: bool, expected: tuple[int, int]
) -> None:
    """From random weights, a network in a hurry sees more pictures of half the side."""
    found = plan_for_budget(replace(RATES, halves=halves), SAMPLES, seconds=60 * minutes, most_epochs=9)
    assert (found.epochs, found.small_epochs) == expected
    assert ("the first 2 on pictures of half the side" in str(found)) is bool(expected[1])


@given(minutes=st.floats(6, 300), training=st.floats(10, 200), most_epochs=st.integers(1, 30))
def test_a_plan_with_small_pictures_fits(minutes: float, training: float, most_epochs: int) -> None:
    """It takes no longer than the time, ends with a whole epoch, and keeps to the most epochs."""
    rates = replace(RATES, training=training, forward=4 * training)
    if 60 * minutes * 0.95 - 16 < 5_294 / training + 5_294 / 2_000 + 500 / (4 * training) + 1:
        return  # refused: no whole epoch fits
    found = plan_for_budget(rates, SAMPLES, seconds=60 * minutes, most_epochs=most_epochs)
    assert found.seconds <= 60 * minutes
    assert found.small_epochs < found.epochs <= most_epochs
