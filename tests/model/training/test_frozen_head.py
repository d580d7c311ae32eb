"""The head on the frozen backbone: training starts from it, the report shows it, a kill does not change it."""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alti2v.dataset.manifest import read_manifest, read_vocabulary
from alti2v.errors import DamagedError, UsageError
from alti2v.model import train as train_module
from alti2v.model.evaluate import evaluate
from alti2v.model.evaluation.frozen_head import FrozenHead, read_frozen_head, write_frozen_head
from alti2v.model.network.build import Architecture, build_network
from alti2v.model.options.evaluation import EvalConfig
from alti2v.model.recipes import MODERN, NO_AUGMENTATION, RECIPES, Head
from alti2v.model.saved_model import load_model
from alti2v.model.train import TrainConfig, plan, train
from alti2v.model.training import frozen_head, loop, validation
from alti2v.model.training.cost import estimate as estimate_module
from alti2v.model.training.cost.budget import Rates
from alti2v.model.training.cost.estimate import Measurements, measure_rates
from alti2v.model.training.features import files
from alti2v.model.training.frozen_head import head_epochs
from alti2v.model.training.initial_weights import mismatch
from alti2v.model.training.job import Job
from alti2v.model.training.settings import resolve_settings
from alti2v.records import Progress
from tests.model.helpers.tiny_dataset import write_squares
from tests.model.helpers.tiny_train import write_weights

pytestmark = [pytest.mark.tf, pytest.mark.usefixtures("narrow_vgg16")]


@pytest.fixture(scope="module", autouse=True)
def small_recipe() -> Iterator[None]:
    """A step that changes next to nothing, so that the network remains what it started from."""
    tiny = replace(MODERN, features=16, learning_rate=1e-12, weight_decay=0.0, batch_size=8, epochs=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "modern", tiny)
        patch.setattr(frozen_head, "_MOST_EPOCHS", 6)
        patch.setattr(frozen_head, "HEAD_BATCH_SIZE", 8)
        patch.setattr(frozen_head, "_LEARNING_RATE", 0.02)  # for 18 steps
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("squares") / "dataset", train=24, validation=12, test=20)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of pretrained weights: random, but not those of any training."""
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def run(dataset: Path, weights: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a head start."""
    folder = tmp_path_factory.mktemp("run") / "run"
    train(config(dataset, folder, weights=weights))
    return folder


def config(dataset: Path, run: Path, **fields: Any) -> TrainConfig:
    return TrainConfig(**{"dataset": dataset, "run": run, "precision": "float32", **fields})


def features_computed(lines: list[Progress]) -> list[int]:
    return [one.done for one in lines if one.stage == "features" and not one.milestone]


def test_training_starts_from_the_head_that_the_report_shows(run: Path) -> None:
    """The network before its first real step, the stored head and the report's baseline are the same tagger."""
    head = read_frozen_head(run, tags=6)
    network = load_model(run).network
    found = evaluate(EvalConfig(run=run, min_positives=1, precision="float32"))

    assert head is not None
    layers = [network.get_layer(name) for name in ("features", "logits")]
    for layer, kernel, bias in zip(
        layers, (head.features_kernel, head.logits_kernel), (head.features_bias, head.logits_bias), strict=True
    ):
        np.testing.assert_allclose(layer.kernel, kernel, atol=1e-6)
        np.testing.assert_allclose(layer.bias, bias, atol=1e-6)
    assert found.frozen_head is not None
    assert found.frozen_head.mean_ap == pytest.approx(found.result.overall.model.mean_ap, abs=1e-3)
    assert found.frozen_head.squared_error == pytest.approx(found.result.overall.model.squared_error, abs=1e-5)


@pytest.mark.parametrize(
    ("precisions", "best", "is_averaged"),
    [
        ((0.1, 0.2, 0.3, 0.4), 2, True),  # of the head start, of two epochs, of the average
        ((0.1, 0.3, 0.2, 0.3, 0.4), 1, True),  # the best epoch is validated again before the average
        ((0.1, 0.2, 0.3, 0.3), 2, False),
        ((0.3, 0.1, 0.2, 0.3, 0.4), 0, True),
        ((0.3, 0.1, 0.2, 0.3, 0.1), 0, False),
    ],
)
def test_the_average_with_the_head_start_is_kept_if_it_is_better(
    dataset: Path,
    weights: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precisions: tuple[float, ...],
    best: int,
    is_averaged: bool,
) -> None:
    """The exported network is the mean of the two networks, or the better one of them."""
    seen: list[list[np.ndarray[Any, Any]]] = []
    given = iter(precisions)

    def validated(job: Job, network: Any, **fields: Any) -> Any:
        seen.append([np.asarray(variable) for variable in network.logits.trainable_variables])
        found = validation.validate(job, network, **fields)
        assert found is not None
        score = next(given)
        return replace(found, mean_ap=score, score=score)

    monkeypatch.setattr(loop, "validate", validated)
    report = train(
        config(
            dataset, tmp_path / "run", weights=weights, learning_rate=1e-3, epochs=2, train_from="block5_conv1"
        )
    )
    kept = load_model(tmp_path / "run").network.get_layer("logits").kernel

    assert (report.best_epoch, report.is_averaged, report.validation_map) == (
        best,
        is_averaged,
        max(precisions),
    )
    start, last = seen[0][-2], seen[best or 2][-2]
    expected = (start + last) / 2 if is_averaged else seen[best][-2]
    np.testing.assert_allclose(kept, expected, rtol=1e-6)
    assert np.abs(last - start).max() > 1e-4


def test_a_training_that_only_becomes_worse_ends_with_its_head_start(
    dataset: Path, weights: str, tmp_path: Path
) -> None:
    """The network before the first epoch is validated, too, and kept if no epoch is better."""
    lines: list[Progress] = []
    report = train(
        config(dataset, tmp_path / "run", weights=weights, learning_rate=1e-2, epochs=2), progress=lines.append
    )
    head, network = read_frozen_head(tmp_path / "run", tags=6), load_model(tmp_path / "run").network

    assert head is not None
    assert report.best_epoch == 0
    assert report.validation_map is not None
    assert any(
        f"before the first epoch: validation mAP {report.validation_map:.4f}" in x.milestone for x in lines
    )
    np.testing.assert_array_equal(network.get_layer("logits").kernel, head.logits_kernel)
    rows = evaluate(EvalConfig(run=tmp_path / "run")).log
    assert [(row["epoch"], row["step"]) for row in rows] == [(0, 0), (1, 3), (2, 6)]
    assert rows[0]["val_map"] == pytest.approx(report.validation_map, rel=1e-5)
    assert "loss" not in rows[0]


@pytest.mark.slow
def test_the_head_has_learnt(dataset: Path, weights: str, run: Path, tmp_path: Path) -> None:
    """A head start removes squared error, which one step at a rate of next to nothing cannot."""
    train(config(dataset, tmp_path / "without", weights=weights, head_start=False, frozen_epochs=0))
    errors = [
        evaluate(EvalConfig(run=one)).result.overall.model.squared_error for one in (run, tmp_path / "without")
    ]

    assert errors[0] < 0.95 * errors[1]
    assert read_frozen_head(tmp_path / "without", tags=6) is None


def test_a_kill_during_the_head_start_changes_nothing(
    dataset: Path, weights: str, run: Path, tmp_path: Path
) -> None:
    """Killed behind the features, the same command keeps them and ends with the same bits."""

    class Killed(BaseException):
        pass

    def die(progress: Progress) -> None:
        if progress.stage == "head":
            raise Killed

    with pytest.raises(Killed):
        train(config(dataset, tmp_path / "killed", weights=weights), progress=die)
    stamps = {file: file.stat().st_mtime_ns for file in (tmp_path / "killed" / "features").iterdir()}
    train(config(dataset, tmp_path / "killed", weights=weights))

    assert len(stamps) == 5  # the shards of three splits
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps
    whole, killed = (load_model(one).network.get_weights() for one in (run, tmp_path / "killed"))
    for ours, theirs in zip(whole, killed, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"weights": "none"}, "--head-start needs pretrained weights"),
        ({"recipe": "seed"}, "needs a pooled head, and recipe seed flattens"),
        ({"train_from": "head"}, "and --train-from is head"),
    ],
)
def test_where_there_is_nothing_to_start_from(
    dataset: Path, weights: str, tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    """A head start that cannot be is refused in one line if it was asked for."""
    with pytest.raises(UsageError, match=words):
        train(config(dataset, tmp_path / "run", **{"weights": weights, "head_start": True, **fields}))


def test_random_weights_get_frozen_epochs_instead(dataset: Path, tmp_path: Path) -> None:
    """Without pretrained weights the recipe's head start is left out, its frozen epoch is not."""
    lines: list[Progress] = []
    train(config(dataset, tmp_path / "run", weights="none"), progress=lines.append)

    assert features_computed(lines) == []
    assert '"frozen_epochs": 1' in (tmp_path / "run" / "config.json").read_text()


@pytest.mark.parametrize(
    ("fields", "frozen"), [({}, 3), ({"frozen_epochs": 1}, 1), ({"learning_rate": 1e-4}, 1)]
)
def test_a_head_alone_learns_at_its_own_rate(
    dataset: Path, weights: str, tmp_path: Path, fields: dict[str, Any], frozen: int
) -> None:
    """With --train-from head all epochs have the learning rate of a new head, unless options say otherwise."""
    given = config(dataset, tmp_path / "run", weights=weights, train_from="head", epochs=3, **fields)
    settings = resolve_settings(given, read_manifest(dataset), devices=1)

    assert (settings.recipe.frozen_epochs, settings.recipe.head_start) == (frozen, False)


def test_damage_is_one_line(run: Path, tmp_path: Path) -> None:
    """A damaged head, or features that are gone, are named with what to do; other datasets get a note."""
    run = shutil.copytree(run, tmp_path / "run")
    other = write_squares(tmp_path / "other", train=24, validation=12, test=21)
    assert "not shown" in evaluate(EvalConfig(run=run, dataset=other)).notes[-1]
    (run / "features" / "test-00001-of-00002.parquet").unlink()
    with pytest.raises(
        DamagedError, match=r"test-00001-of-00002.parquet is missing or damaged .* evaluate again"
    ):
        evaluate(EvalConfig(run=run))
    (run / "frozen_head.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(DamagedError, match=r"frozen_head.npz is damaged .*remove it"):
        evaluate(EvalConfig(run=run))


def test_a_head_of_other_shapes_is_damage(tmp_path: Path) -> None:
    """Arrays that do not fit each other, or another number of tags, are refused before any product."""
    head = FrozenHead(
        features_kernel=np.ones((3, 2), np.float32),
        features_bias=np.zeros(2, np.float32),
        logits_kernel=np.ones((2, 4), np.float32),
        logits_bias=np.zeros(4, np.float32),
    )
    write_frozen_head(tmp_path, head)
    assert head.probabilities(np.full((1, 3), -1, np.float32)).tolist() == [[0.5] * 4]
    with pytest.raises(DamagedError, match="4 tags, not 5"):
        read_frozen_head(tmp_path, tags=5)
    with pytest.raises(ValueError, match="logits_kernel"):
        replace(head, logits_kernel=np.ones((3, 4), np.float32))


def test_large_datasets_get_fewer_passes() -> None:
    """As many passes over a small dataset as allowed, and always at least one."""
    assert [head_epochs(count) for count in (50, 5_294, 50_000, 1_500_000)] == [6, 6, 4, 1]


@pytest.mark.slow
def test_the_last_block_learns_from_stored_maps(dataset: Path, weights: str, tmp_path: Path) -> None:
    """From stored maps the last block learns what it learns from pictures; earlier blocks stay as they are."""
    fields = {"train_from": "block5_conv1", "augmentation": NO_AUGMENTATION, "learning_rate": 1e-3, "epochs": 2}
    lines: list[Progress] = []
    train(config(dataset, tmp_path / "pictures", weights=weights, **fields))
    stored = config(dataset, tmp_path / "maps", weights=weights, cache_features=True, **fields)
    train(stored, progress=lines.append)
    first = build_network(
        Architecture(size=32, tags=6, head=Head.POOLED, features=16, dropout=0.0), seed=77
    ).trunk
    by_pictures, by_maps = (load_model(tmp_path / name).network for name in ("pictures", "maps"))

    for layer in by_maps.layers:
        if layer.name in ("block4_conv3", "block5_conv3", "logits"):
            np.testing.assert_allclose(layer.kernel, by_pictures.get_layer(layer.name).kernel, atol=2e-3)
    np.testing.assert_array_equal(
        by_maps.get_layer("block4_conv3").kernel, first.get_layer("block4_conv3").kernel
    )
    changed = np.abs(by_maps.get_layer("block5_conv3").kernel - first.get_layer("block5_conv3").kernel).max()
    assert changed > 1e-3
    assert len(list((tmp_path / "maps" / "features" / "block5_conv1").iterdir())) == 2
    assert any("already stored" in one.milestone for one in lines)  # since the head start
    assert evaluate(EvalConfig(run=tmp_path / "maps", min_positives=1)).frozen_head is not None


def test_maps_that_are_too_large_are_refused(
    dataset: Path, weights: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """A shard of maps that would not fit into memory is refused, with advice, before anything is written."""
    monkeypatch.setattr(files, "_MOST_SHARD_BYTES", 10_000)
    with pytest.raises(UsageError, match=r"at most .* GB for one shard: .* smaller --shard-samples"):
        train(
            config(dataset, tmp_path / "run", weights=weights, train_from="block5_conv1", cache_features=True)
        )
    assert not (tmp_path / "run" / "config.json").exists()


def rates(**fields: Any) -> Rates:
    """A machine on which the head start of these datasets takes 0.1 s and an epoch of the whole network 1 s."""
    shares = {"block1_conv1": 1.0, "block5_conv1": 0.1}
    known = {
        "input": 1e6,
        "forward": 1_000.0,
        "head": 10_000.0,
        "training": 24.0,
        "shares": shares,
        "stores_maps": True,
    }
    return Rates(**{**known, "is_cpu": True, **fields})


@pytest.mark.parametrize(
    ("minutes", "training", "expected"),
    [(0.7, 6.5, ("block1_conv1", 6, True)), (0.7, 0.01, ("head", 6, False))],
)
def test_a_budget_is_planned_once(
    dataset: Path,
    weights: str,
    tmp_path: Path,
    monkeypatch: Any,
    minutes: float,
    training: float,
    expected: tuple[str, int, bool],
) -> None:
    """The plan is printed and kept by the run; where nothing else fits, it is the head alone."""
    monkeypatch.setitem(RECIPES, "modern", replace(RECIPES["modern"], epochs=30))
    monkeypatch.setattr(train_module, "measure_rates", lambda job, **_: rates(training=training))
    lines: list[Progress] = []
    options = config(dataset, tmp_path / "run", weights=weights, budget=minutes)
    planned: list[Progress] = []
    estimate = plan(options, progress=planned.append)
    assert not options.run.exists()
    train(options, progress=lines.append)
    settings = json.loads((tmp_path / "run" / "config.json").read_text())["recipe_settings"]

    assert (settings["train_from"], settings["epochs"], settings["head_start"]) == expected
    assert (estimate.train_from, estimate.epochs) == expected[:2]  # --plan shows the same
    said = [one.milestone for one in lines if one.stage == "plan"]
    assert said == [one.milestone for one in planned]  # --plan says the same
    assert estimate.seconds < 60 * minutes
    assert len(said) == 2
    assert "measuring this machine" in said[0]
    assert ("nothing else" in said[1]) is (expected[0] == "head")
    monkeypatch.delattr(train_module, "measure_rates")  # the run has its plan
    assert train(options).epochs == expected[1]
    # What the budget chose need not be repeated.
    assert train(replace(options, budget=None)).epochs == expected[1]


@pytest.mark.parametrize(("speed", "pictures"), [(1_000.0, 8), (1.0, 3), (0.1, None)])
def test_measuring_fits_into_its_time(
    dataset: Path, weights: str, tmp_path: Path, speed: float, pictures: int | None
) -> None:
    """A slow machine is measured with fewer pictures, a very slow one by its forward pass alone."""
    now_s, seen = [0.0], list[int]()

    def step_rate(step: Any, images: Any, *labels: Any) -> float:
        pictures = images[0] if isinstance(images, tuple) else images  # beside their random changes
        if pictures.ndim != 4:
            return 1e6  # features
        costs = 3 if labels else 1
        seen.extend([len(pictures)] if labels else [])
        now_s[0] += 3 * len(pictures) * costs / speed
        return speed / costs

    found = measure_rates(
        plan_settings(config(dataset, tmp_path / "run", weights=weights)),
        allowed_s=50,
        require_time=lambda rates: None,
        measurements=Measurements(input_rate=lambda _: 1e6, step_rate=step_rate, is_cpu=lambda: True),
        clock=lambda: now_s[0],
    )
    assert seen == ([] if pictures is None else [pictures])
    assert found.training == pytest.approx(speed / 3)
    assert now_s[0] <= (50 if pictures else 12 / speed)


def test_a_budget_without_time_for_the_head_is_refused_before_a_step_is_measured(
    dataset: Path, weights: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """The slowest part of measuring is left out, and the run's folder stays empty."""
    slow = Measurements(input_rate=lambda _: 0.1, step_rate=lambda *_: 0.1, is_cpu=lambda: True)
    monkeypatch.setattr(estimate_module, "prepare", None)
    monkeypatch.setattr(train_module, "measure_rates", functools.partial(measure_rates, measurements=slow))
    with pytest.raises(UsageError, match=r"--budget 1 is too short: .* the head on the frozen backbone alone"):
        plan(config(dataset, tmp_path / "run", weights=weights, budget=1))


@pytest.mark.slow
def test_rates_are_measured_on_this_machine(dataset: Path, weights: str, tmp_path: Path) -> None:
    """Every part has a rate, and the shares of the blocks fall from the whole backbone to its last block."""
    planned = plan_settings(config(dataset, tmp_path / "run", weights=weights))
    found = measure_rates(planned, allowed_s=60, require_time=lambda rates: None)

    assert min(found.input, found.forward, found.head or 0, found.training) > 0
    assert list(found.shares) == [f"block{number}_conv1" for number in range(1, 6)]
    assert list(found.shares.values()) == sorted(found.shares.values(), reverse=True)
    assert found.shares["block1_conv1"] == pytest.approx(1)
    assert not (tmp_path / "run").exists()


def plan_settings(options: TrainConfig) -> Job:
    """The job that `train` would make of the options."""
    manifest = read_manifest(options.dataset)
    return Job(
        run=options.run,
        settings=resolve_settings(options, manifest, devices=1),
        manifest=manifest,
        tags=read_vocabulary(options.dataset),
        validate_every=1,
        patience=None,
        checkpoint_s=1e9,
        keep=1,
    )


@pytest.mark.parametrize(
    ("recipe", "weights_", "words"),
    [
        ("modern", "none", "recipe modern is tuned for pretrained weights.*--recipe scratch"),
        ("scratch", "vgg16.weights.h5", "recipe scratch is tuned for random weights.*--recipe modern"),
        ("modern", "vgg16.weights.h5", "^$"),
        ("scratch", "none", "^$"),
    ],
)
def test_a_recipe_for_another_start_is_said(recipe: str, weights_: str, words: str, dataset: Path) -> None:
    """Whoever trains with a recipe that is made for another start reads so."""
    options = TrainConfig(
        dataset=dataset, run=Path("nowhere"), recipe=recipe, weights=weights_, precision="float32"
    )
    assert re.search(words, mismatch(resolve_settings(options, read_manifest(dataset), devices=1)))
