"""Soft labels of a training: estimated by heads that have not seen the picture, used in all epochs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alti2v.arrays import Float32Array
from alti2v.dataset.manifest import Shard, read_manifest, read_metadata
from alti2v.errors import DamagedError, UsageError
from alti2v.model.data.pipeline import training_batches
from alti2v.model.data.soft_labels import read_soft_labels
from alti2v.model.recipes import MODERN, RECIPES
from alti2v.model.saved_model import load_model
from alti2v.model.train import TrainConfig, plan, train
from alti2v.model.training import frozen_head, loop, soft_labels
from alti2v.model.training.cost.budget import Rates, plan_for_budget
from alti2v.model.training.cost.estimate import Measurements
from alti2v.model.training.features.batches import feature_batches
from alti2v.model.training.settings import samples_of
from alti2v.records import Progress
from tests.model.helpers.tiny_dataset import write_squares
from tests.model.helpers.tiny_train import write_weights

pytestmark = [pytest.mark.tf, pytest.mark.usefixtures("narrow_vgg16")]


@pytest.fixture(scope="module", autouse=True)
def small_recipe() -> Iterator[None]:
    """A small head, and batches for a few pictures."""
    tiny = replace(MODERN, features=16, weight_decay=0.0, batch_size=8, epochs=1, train_from="block5_conv1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "modern", tiny)
        patch.setattr(frozen_head, "_MOST_EPOCHS", 5)
        patch.setattr(frozen_head, "HEAD_BATCH_SIZE", 8)
        patch.setattr(frozen_head, "_LEARNING_RATE", 0.02)
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
    folder = tmp_path_factory.mktemp("run") / "run"
    train(config(dataset, folder, weights=weights))
    return folder


def config(dataset: Path, run: Path, **fields: Any) -> TrainConfig:
    return TrainConfig(
        **{"dataset": dataset, "run": run, "precision": "float32", "soft_labels": True, **fields}
    )


def shards_of(dataset: Path) -> tuple[Shard, ...]:
    return read_manifest(dataset).split("train")


def dense(run: Path, shard: Shard) -> Float32Array:
    """Soft labels of a shard, (N, 6)."""
    soft = read_soft_labels(run / "soft_labels", shard, None, tags=6)
    labels = np.zeros((shard.samples, 7), np.float32)
    np.put_along_axis(labels, soft.tags, soft.probabilities, axis=1)
    return labels[:, :6]


def weights_of(run: Path) -> list[np.ndarray[Any, Any]]:
    weights: list[np.ndarray[Any, Any]] = load_model(run).network.get_weights()
    return weights


def test_only_absent_tags_have_soft_labels(dataset: Path, run: Path) -> None:
    """A tag that the picture carries has none, and nearly all others have a probability inside (0, 1)."""
    for shard in shards_of(dataset):
        soft = dense(run, shard)
        labels = read_metadata(dataset, shard, ("labels",))["labels"].to_pylist()
        for row, carried in zip(soft, labels, strict=True):
            assert not row[carried].any()
            assert 0 < np.delete(row, carried).mean() < 1


def test_a_head_has_not_seen_the_pictures_that_it_judges(
    dataset: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of a fold are never among those that its head learns from, and every row is in one fold."""
    learned: list[list[np.ndarray[Any, Any]]] = []
    fit_head = frozen_head.fit_head

    def noted(model: Any, job: Any, *, epochs: int, only: Any) -> Any:
        learned.append([only(shard) for shard in shards_of(dataset)])
        return fit_head(model, job, epochs=epochs, only=only)

    monkeypatch.setattr(soft_labels, "fit_head", noted)
    monkeypatch.setattr(loop, "train_frozen_head", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(config(dataset, tmp_path / "run", weights=weights))
    unseen = ~np.array([np.concatenate(masks) for masks in learned])

    assert unseen.shape == (3, 24)
    assert unseen.sum(axis=0).tolist() == [1] * 24
    assert unseen.sum(axis=1).min() >= 3


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({}, {"folds", "head start", "pictures"}),
        ({"cache_features": True}, {"folds", "head start", "features"}),
        ({"train_from": "head", "cache_features": True}, {"folds", "features"}),
    ],
)
def test_everything_but_the_folds_aims_at_them(
    dataset: Path, weights: str, tmp_path: Path, fields: dict[str, Any], kinds: set[str]
) -> None:
    """With soft labels of 1 everywhere, all labels of a training are 1, except those of the folds' heads."""
    certain, seen = np.ones((24, 6), np.float32), dict[str, set[float]]()

    def noted(kind: str, make: Any) -> Any:
        def batches(*args: Any, **given: Any) -> Any:
            made = make(*args, **given)
            lowest = min(float(labels.numpy().min()) for _, labels in made)
            seen.setdefault("folds" if given.get("only") else kind, set()).add(lowest)
            return made

        return batches

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            soft_labels, "_soft_labels_of", lambda _job, shard, _heads: iter([certain[: shard.samples]])
        )
        patch.setattr(frozen_head, "feature_batches", noted("head start", feature_batches))
        patch.setattr(loop, "feature_batches", noted("features", feature_batches))
        patch.setattr(loop, "training_batches", noted("pictures", training_batches))
        train(config(dataset, tmp_path / "run", weights=weights, **fields))

    assert seen == {kind: {0.0 if kind == "folds" else 1.0} for kind in kinds}


def test_a_kill_changes_nothing(dataset: Path, weights: str, run: Path, tmp_path: Path) -> None:
    """Killed while the heads learn, the same command ends with the same soft labels and the same bits."""

    class Killed(BaseException):
        pass

    def die(progress: Progress) -> None:
        if progress.stage == "soft labels" and progress.done == 4:
            raise Killed

    with pytest.raises(Killed):
        train(config(dataset, tmp_path / "killed", weights=weights), progress=die)
    train(config(dataset, tmp_path / "killed", weights=weights))

    for shard in shards_of(dataset):
        np.testing.assert_array_equal(dense(run, shard), dense(tmp_path / "killed", shard))
    for ours, theirs in zip(weights_of(run), weights_of(tmp_path / "killed"), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_shard_is_judged_in_parts(
    dataset: Path, weights: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rows are judged at once, each gets its own probabilities."""
    monkeypatch.setattr(soft_labels, "_ROWS_AT_ONCE", 5)
    train(config(dataset, tmp_path / "run", weights=weights))
    for shard in shards_of(dataset):
        np.testing.assert_allclose(dense(tmp_path / "run", shard), dense(run, shard), atol=1e-5)


def test_lost_soft_labels_are_one_line(dataset: Path, weights: str, tmp_path: Path) -> None:
    """A training that continues does not fall back to the labels of the dataset."""
    train(config(dataset, tmp_path / "run", weights=weights))
    for file in (tmp_path / "run" / "soft_labels").iterdir():
        file.unlink()
    with pytest.raises(DamagedError, match=r"soft_labels/train-.* is missing: .*train into another folder"):
        train(config(dataset, tmp_path / "run", weights=weights, epochs=2))


def test_a_run_keeps_its_choice(dataset: Path, weights: str, run: Path) -> None:
    """Left out, the option stays as the run began; the opposite is refused."""
    assert train(config(dataset, run, weights=weights, soft_labels=None)).epochs == 1
    with pytest.raises(UsageError, match="was started with --soft-labels"):
        train(config(dataset, run, weights=weights, soft_labels=False))


@pytest.mark.parametrize("train_pictures", [1, 2, 3])
def test_a_few_pictures_are_enough(weights: str, tmp_path: Path, train_pictures: int) -> None:
    """Two pictures are in different folds, in one shard or in two; one is refused in one line."""
    for shard_samples in (1, 16):
        few = write_squares(
            tmp_path / f"dataset-{shard_samples}", train=train_pictures, shard_samples=shard_samples
        )
        folder = tmp_path / f"run-{shard_samples}"
        if train_pictures == 1:
            with pytest.raises(UsageError, match="--soft-labels needs two training pictures or more"):
                train(config(few, folder, weights=weights))
        else:
            train(config(few, folder, weights=weights))
            assert sum(shard.samples for shard in shards_of(few)) == len(
                np.concatenate([dense(folder, shard) for shard in shards_of(few)])
            )


def test_features_of_another_shard_are_computed_again(
    dataset: Path, weights: str, run: Path, tmp_path: Path
) -> None:
    """Files that were swapped are not used, before the labels are estimated from them."""

    class Killed(BaseException):
        pass

    def die(progress: Progress) -> None:
        if progress.stage == "soft labels":
            raise Killed

    with pytest.raises(Killed):
        train(config(dataset, tmp_path / "run", weights=weights), progress=die)
    first, second = (tmp_path / "run" / "features" / f"{shard.name}.parquet" for shard in shards_of(dataset))
    whole = second.read_bytes()
    for content in (first.read_bytes(), b"", (dataset / shards_of(dataset)[1].name.metadata).read_bytes()):
        second.write_bytes(content)
        with pytest.raises(Killed):
            train(config(dataset, tmp_path / "run", weights=weights), progress=die)
        assert second.read_bytes() == whole


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"weights": "none"}, "--soft-labels needs pretrained weights"),
        ({"recipe": "seed"}, "needs a pooled head, and recipe seed flattens"),
    ],
)
def test_where_there_are_no_features(
    dataset: Path, weights: str, tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    """Refused in one line, before anything is written."""
    with pytest.raises(UsageError, match=words):
        train(config(dataset, tmp_path / "run", **{"weights": weights, **fields}))
    assert not (tmp_path / "run").exists()


def test_a_plan_counts_the_heads(dataset: Path, weights: str, tmp_path: Path) -> None:
    """Three heads of two passes over two thirds of the pictures take as long as four passes over all."""
    without, soft = (samples_of(read_manifest(dataset), soft_labels=one) for one in (False, True))
    rates = Rates(
        input=1e6,
        forward=1e3,
        head=10.0,
        training=1e3,
        shares={"block1_conv1": 1.0},
        stores_maps=False,
        is_cpu=True,
    )
    budgets = [plan_for_budget(rates, one, seconds=60, most_epochs=2) for one in (without, soft)]
    instant = Measurements(
        input_rate=lambda _batches: 1e6,
        step_rate=lambda _step, *_arrays: 10.0,
        is_cpu=lambda: True,
    )
    seconds = [
        plan(config(dataset, tmp_path / "run", weights=weights, soft_labels=one), measurements=instant).seconds
        for one in (False, True)
    ]

    assert soft.fold_passes == 4
    assert budgets[1].head_s - budgets[0].head_s == pytest.approx(4 * 24 / 10)
    assert seconds[1] - seconds[0] == pytest.approx(4 * 24 / 10, abs=0.2)
