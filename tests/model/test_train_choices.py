"""Options of a training beyond its recipe: each has its documented effect, and earlier runs can be continued.

On a narrow network; test_train_vgg16.py trains a whole one.
"""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alti2v.errors import DamagedError, DataError, UsageError
from alti2v.model.data.pipeline import ids_of_batch
from alti2v.model.evaluation.thresholds import read_thresholds
from alti2v.model.network.build import build_network
from alti2v.model.recipes import MODERN, NO_AUGMENTATION, RECIPES, Head
from alti2v.model.saved_model import load_model, read_architecture
from alti2v.model.train import TrainConfig, plan, train
from alti2v.model.training.cost import memory
from alti2v.model.training.cost.estimate import Measurements, TrainingEstimate, rate_of_batches, rate_of_steps
from alti2v.model.training.cost.memory import container_memory
from tests.model.helpers.tiny_dataset import COLOURS, square, write_dataset, write_squares

pytestmark = [pytest.mark.tf, pytest.mark.usefixtures("narrow_vgg16")]
VALIDATION = ("val_loss", "val_map", "val_micro_f1")  # columns of the log
TINY = replace(
    MODERN,
    features=16,
    dropout=0.2,
    train_from="block5_conv3",
    frozen_epochs=0,
    learning_rate=1e-3,
    batch_size=8,
    epochs=2,
)


@pytest.fixture(scope="module", autouse=True)
def tiny_recipe() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "modern", TINY)
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_squares(tmp_path_factory.mktemp("choices") / "dataset", train=16, validation=12)


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A short training of the head alone, with events for TensorBoard."""
    folder = tmp_path_factory.mktemp("run") / "run"
    train(config(dataset, folder, train_from="head", tensorboard=True))
    return folder


@pytest.fixture(scope="module")
def half(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same training in float16, and its report."""
    folder = tmp_path_factory.mktemp("half") / "run"
    return folder, train(config(dataset, folder, train_from="head", precision="float16"))


@pytest.fixture(scope="module")
def cached(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same training on stored features, and its milestones."""
    folder, lines = tmp_path_factory.mktemp("cached") / "run", []
    train(cached_config(dataset, folder), progress=lambda progress: lines.append(progress.milestone))
    return folder, lines


def cached_config(dataset: Path, run: Any, **fields: Any) -> Any:
    return config(dataset, run, train_from="head", cache_features=True, augmentation=NO_AUGMENTATION, **fields)


def config(dataset: Path, run: Any, **fields: Any) -> Any:
    return TrainConfig(
        **{
            "dataset": dataset,
            "run": run,
            "weights": "none",
            "precision": "float32",
            "checkpoint_s": 1e9,
            **fields,
        }
    )


def weights(run: Any) -> Any:
    return load_model(run).network.get_weights()


def test_thresholds_of_every_tag_are_tuned(run: Any) -> None:
    """A finished run holds the thresholds that `alti2v tag` needs for its rules, tuned on validation."""
    tuned = read_thresholds(run / "model")

    assert tuned is not None
    assert set(tuned.rules) == {"f0.5", "f1", "f2"}
    assert set(tuned.rules["f1"]) <= set(COLOURS)  # those with enough of the 12 pictures
    assert tuned.images == 12
    assert tuned.fallback == load_model(run).threshold


def test_a_frozen_trunk_keeps_its_weights(dataset: Path, run: Any, tmp_path: Path) -> None:
    """With --train-from head only the head learns; after frozen epochs the backbone learns, too."""
    train(config(dataset, tmp_path / "run", frozen_epochs=1))
    frozen, thawed = (load_model(path).network for path in (run, tmp_path / "run"))

    def kernel(network: Any, layer: Any) -> Any:
        return np.asarray(network.get_layer(layer).kernel)

    assert np.array_equal(kernel(frozen, "block5_conv2"), kernel(thawed, "block5_conv2"))
    assert not np.array_equal(kernel(frozen, "block5_conv3"), kernel(thawed, "block5_conv3"))
    assert not np.array_equal(kernel(frozen, "features"), kernel(thawed, "features"))


def test_the_best_network_is_kept_and_exported(dataset: Path, tmp_path: Path) -> None:
    """Epochs that worsen the network end the run by patience, and the run exports the best network."""
    run = tmp_path / "run"
    spoiling = replace(TINY, learning_rate=1.0, clip_norm=None, cosine=False, epochs=9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "modern", spoiling)
        report = train(config(dataset, run, patience=2, train_from="head", keep=1))
        again = train(config(dataset, run, patience=2, train_from="head", keep=1))

    assert report.stopped_early
    assert report.epochs == report.best_epoch + 2
    assert again == replace(report, resumed_from_step=report.steps)
    assert [path.name for path in (run / "checkpoints").glob("step-*")] == [f"step-{report.steps:09d}.npz"]
    with np.load(run / "checkpoints" / "best.npz") as best:
        assert json.loads(best["arr_0"].tobytes())["epoch"] == report.best_epoch
        exported = load_model(run).network.get_layer("logits").kernel
        assert any(np.array_equal(best[name], exported) for name in best.files[1:])


def test_lost_numbers_name_their_pictures(dataset: Path, tmp_path: Path) -> None:
    """A loss that is not a number ends the run and names the batch's pictures; the last checkpoint is older."""
    run = tmp_path / "run"
    with pytest.raises(DataError, match="step 2, with the pictures") as caught:
        train(config(dataset, run, learning_rate=1e30))
    ids = ids_of_batch(dataset, batch_size=8, seed=0, epoch=0, batch=1)

    assert json.loads((run / "diverged.json").read_text()) == {"step": 2, "epoch": 1, "ids": list(ids)}
    assert str(ids[0]) in str(caught.value)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000000000.npz"]
    assert not (run / "model").exists()


def test_a_start_with_other_tags_carries_rows_over_by_name(dataset: Path, run: Any, tmp_path: Path) -> None:
    """From a run with another vocabulary, known tags keep their weights and new ones start at their odds."""
    samples = [square(number, size=32) for number in range(16)]
    other = write_dataset(tmp_path / "other", {"train": samples}, size=32, tags=("white", "new", "red"))
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "modern", replace(TINY, epochs=1, cosine=False, weight_decay=0.0))
        started = config(other, tmp_path / "run", start=run, learning_rate=1e-12, train_from="head")
        train(started, progress=lambda progress: lines.append(progress.milestone))
    assert any("2 of 3 tags by name" in line for line in lines)
    before, after = load_model(run), load_model(tmp_path / "run")
    rows = {tag.name: number for number, tag in enumerate(before.tags)}
    (kernel, bias), (new_kernel, new_bias) = (
        model.network.get_layer("logits").get_weights() for model in (before, after)
    )

    for number, name in ((0, "white"), (2, "red")):
        np.testing.assert_allclose(new_kernel[:, number], kernel[:, rows[name]], atol=1e-6)
        assert new_bias[number] == pytest.approx(bias[rows[name]], abs=1e-6)
    assert new_bias[1] == pytest.approx(np.log((1 / 18) / (17 / 18)), abs=1e-6)
    for layer in ("block5_conv3", "features"):
        expected = before.network.get_layer(layer).get_weights()
        for ours, theirs in zip(after.network.get_layer(layer).get_weights(), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_accumulated_gradients_equal_a_large_batch(dataset: Path, tmp_path: Path) -> None:
    """Two accumulated steps of 8 give the weights of one step of 16."""
    plain = replace(TINY, dropout=0.0, cosine=False, augmentation=NO_AUGMENTATION, epochs=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "modern", plain)
        train(config(dataset, tmp_path / "large", batch_size=16))
        train(config(dataset, tmp_path / "small", batch_size=8, accumulate=2))

    start = weights(tmp_path / "large")
    for large, small in zip(start, weights(tmp_path / "small"), strict=True):
        np.testing.assert_allclose(small, large, atol=2e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns_in_float32_where_it_counts(
    dataset: Path, tmp_path: Path, half: Any, precision: Any
) -> None:
    """Layers compute in half precision; weights, loss and the exported network are float32."""
    run, report = half
    if precision == "bfloat16":
        run = tmp_path / "run"
        report = train(config(dataset, run, precision=precision, train_from="head", epochs=1))

    assert report.precision == precision
    assert np.isfinite(report.loss)
    assert all(weight.dtype == np.float32 for weight in weights(run))
    assert json.loads((run / "config.json").read_text())["precision"] == precision


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_an_average_of_the_weights_is_what_is_exported(
    dataset: Path, tmp_path: Path, run: Any, half: Any, precision: Any
) -> None:
    """The exported head is the average, which lags behind the trained one; training itself is not affected.

    The trained head is bit-identical to that of a training without an average, also across epochs.
    """
    train(config(dataset, tmp_path / "average", ema=1.0, precision=precision, train_from="head"))
    plain = run if precision == "float32" else half[0]
    average = load_model(tmp_path / "average")
    start = np.asarray(build_network(average.architecture, seed=0).tagger.get_layer("logits").kernel)
    exported = np.asarray(average.network.get_layer("logits").kernel)

    def reached(run: Any) -> Any:
        with np.load(max((run / "checkpoints").glob("step-*"))) as checkpoint:
            arrays = (checkpoint[name] for name in checkpoint.files)
            return next(array for array in arrays if array.shape == start.shape)

    last = reached(tmp_path / "average")
    assert np.array_equal(last, reached(plain))
    assert 0 < np.abs(exported - start).max() < 0.6 * np.abs(last - start).max()


def test_a_plan_measures_every_phase_separately(dataset: Path, tmp_path: Path) -> None:
    """Each phase is priced as what it computes; stored features cost one pass over the pictures.

    Reading a picture takes 0.2 s, its way through the backbone 0.1 s, and each layer that learns 0.01 s. Every
    epoch is followed by a validation on 12 pictures.
    """

    def step_rate(step: Any, images: np.ndarray, *labels: np.ndarray) -> float:
        layers = len(step.__self__.trainable_variables) // 2 if labels else 0  # kernel and bias of each
        return 1 / ((0.1 if images.ndim == 4 else 0) + 0.01 * layers)

    measurements = Measurements(input_rate=lambda _: 1 / 0.2, step_rate=step_rate, is_cpu=lambda: True)

    def planned(**fields: Any) -> TrainingEstimate:
        fields = {"batch_size": 4, "epochs": 1_000, "augmentation": NO_AUGMENTATION, **fields}
        return plan(config(dataset, tmp_path / "run", **fields), measurements=measurements)

    pictures = planned(train_from="head")
    features = planned(train_from="head", cache_features=True)
    phases = planned(train_from="block1_conv1", frozen_epochs=999)

    validations = 12 * 1_000 * (0.2 + 0.1)
    assert pictures.seconds - validations == pytest.approx(16 * 1_000 * (0.2 + 0.1 + 0.02), abs=0.06)
    assert features.seconds == pytest.approx((16 + 12) * (0.2 + 0.1) + 16 * 1_000 * 0.02, abs=0.06)
    assert phases.seconds - validations == pytest.approx(
        16 * 1_000 * (0.2 + 0.1) + 16 * (999 * 0.02 + 0.15), abs=0.06
    )
    assert (features.training_samples_per_s, phases.training_samples_per_s) == (50, 4)
    assert features.learning == pictures.learning < phases.learning
    assert not (tmp_path / "run").exists()


def test_a_plan_names_the_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    """A damaged shard is one line and no traceback of TensorFlow."""
    source = write_squares(tmp_path / "dataset", train=16)
    shard = next((source / "data").glob("train-*.tar"))
    shard.chmod(0o644)
    shard.write_bytes(shard.read_bytes().replace(b"\xff\xd8\xff", b"\0\0\0"))

    with pytest.raises(DamagedError, match="16 of 16 train pictures cannot be read"):
        plan(config(source, tmp_path / "run", batch_size=4, epochs=1))


def test_rates_leave_out_the_first_batch() -> None:
    """A rate counts ten batches by the clock; the first one, which compiles and opens files, is left out."""
    now_s = [0.0]

    def step(batch: np.ndarray) -> None:
        now_s[0] += 0.5 if now_s[0] else 100

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for _ in range(3):
            step(np.zeros(4))
            yield np.zeros(4), np.zeros(4)

    assert rate_of_steps(step, np.zeros(4), clock=lambda: now_s[0]) == pytest.approx(8)
    assert rate_of_batches(_Repeatable(batches), clock=lambda: now_s[0]) == pytest.approx(8)


class _Repeatable:
    """An iterable that begins anew each time, like a tf.data.Dataset."""

    def __init__(self, make: Callable[[], Iterator[Any]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Any]:
        return self._make()


def test_the_memory_of_a_container_counts(tmp_path: Path) -> None:
    """A container's limit counts, less what is used, and files that can be dropped are free."""
    for name, value in (("max", "500000"), ("current", "450000"), ("stat", "anon 1\ninactive_file 100000\n")):
        (tmp_path / f"memory.{name}").write_text(value)

    assert container_memory(tmp_path) == 150_000
    (tmp_path / "memory.max").write_text("max")
    assert container_memory(tmp_path) is None


def test_too_little_memory_is_said_before_the_first_step(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little memory is refused with a batch size and accumulation that fit; no run is created."""
    monkeypatch.setattr(memory, "free_memory", lambda: 20_000_000)

    with pytest.raises(DataError, match=r"--batch-size (\d+) --accumulate (\d+)") as caught:
        train(config(dataset, tmp_path / "run", batch_size=512, train_from="block1_conv1"))
    advice = re.search(r"size (\d+) --accumulate (\d+)", str(caught.value))
    assert advice is not None
    size, steps = map(int, advice.groups())
    assert size < 512 <= size * steps
    assert not (tmp_path / "run" / "config.json").exists()


def test_the_memory_of_later_phases_is_checked_first(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory check covers the last phase, even if the first phase trains the head alone."""
    needed = plan(config(dataset, tmp_path / "run", train_from="block1_conv1")).memory_bytes
    monkeypatch.setattr(memory, "free_memory", lambda: needed - 1)

    with pytest.raises(DataError, match="training needs at least"):
        train(config(dataset, tmp_path / "run", train_from="block1_conv1", frozen_epochs=1))


def test_tensorboard_gets_curves_and_pictures(run: Any) -> None:
    """TensorBoard can read the scalars of every epoch, the precision-recall curve, and tagged pictures."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()

    assert {"loss", "val_map", "val_micro_f1", "micro/pr_curves", "pictures"} <= set(events.Tags()["tensors"])
    assert [event.step for event in events.Tensors("loss")] == [1, 2]
    assert {len(curve.tensor_proto.tensor_shape.dim) for curve in events.Tensors("micro/pr_curves")} == {2}
    assert len(events.Tensors("pictures")[0].tensor_proto.string_val) == 2 + 4


def test_cached_features_end_where_pictures_do(dataset: Path, tmp_path: Path, cached: Any) -> None:
    """A head on stored features gets the same weights and validation figures as on pictures."""
    run, lines = cached
    pictures = tmp_path / "pictures"
    train(config(dataset, pictures, train_from="head", augmentation=NO_AUGMENTATION))

    for ours, expected in zip(weights(run), weights(pictures), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)
    for ours, expected in zip(logged(run), logged(pictures), strict=True):
        assert [float(ours[name]) for name in VALIDATION] == pytest.approx(
            [float(expected[name]) for name in VALIDATION], rel=1e-4
        )
    assert any(line.startswith("features of 28 pictures: ") for line in lines)  # of both splits
    assert [path.suffix for path in (run / "features").iterdir()] == [".parquet"] * 2


def test_a_head_on_stored_features_is_validated_without_pictures(
    dataset: Path, tmp_path: Path, cached: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the features are stored, no epoch passes a picture through the network."""
    run = shutil.copytree(cached[0], tmp_path / "run")
    for name in ("validation.evaluation_batches", "features.files.shard_pictures", "loop.training_batches"):
        monkeypatch.setattr(f"alti2v.model.training.{name}", None)

    report = train(cached_config(dataset, run, epochs=3))

    assert report.validation_map is not None


@pytest.mark.parametrize("lost", ["validation", "train", "features"])
def test_a_run_of_which_only_the_end_is_left_computes_lost_features_again(
    dataset: Path, tmp_path: Path, cached: Any, lost: str
) -> None:
    """A run that was killed before its model was written ends the same without its stored features."""
    run = shutil.copytree(cached[0], tmp_path / "run")
    shutil.rmtree(run / "model")
    if lost == "features":
        shutil.rmtree(run / lost)
    else:
        next((run / "features").glob(f"{lost}-*")).unlink()

    train(cached_config(dataset, run))

    for ours, expected in zip(weights(run), weights(cached[0]), strict=True):
        np.testing.assert_array_equal(ours, expected)


def logged(run: Path) -> list[dict[str, str]]:
    """Rows of the training log."""
    return list(csv.DictReader((run / "log.csv").read_text().splitlines()))


@pytest.mark.parametrize("damage", ["none", "cut", "flipped"])
def test_damaged_features_are_repaired_or_named(
    dataset: Path, tmp_path: Path, cached: Any, damage: Any
) -> None:
    """Stored features are reused; a truncated file is computed again; a corrupted one is named."""
    run, lines = shutil.copytree(cached[0], tmp_path / "run"), []
    (file,) = (run / "features").glob("train-*")
    content = bytearray(file.read_bytes())
    longer = cached_config(dataset, run, epochs=3)
    if damage == "flipped":
        content[len(content) // 6] ^= 0xFF
        file.write_bytes(content)
        with pytest.raises(DamagedError, match=re.escape(f"{file} is damaged")) as caught:
            train(longer)
        assert "\n" not in str(caught.value)
        return
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])

    assert train(longer, progress=lambda progress: lines.append(progress.milestone)).epochs == 3
    is_there = any(line.startswith("features of 28 pictures are already stored") for line in lines)
    assert is_there == (damage == "none")
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("recipe", "weights", "is_noticed"), [("modern", "none", True), ("scratch", None, False)]
)
def test_a_recipe_without_its_weights_is_noticed(
    dataset: Path, tmp_path: Path, recipe: str, weights: str | None, is_noticed: bool
) -> None:
    """Modern without pretrained weights suggests scratch in one line; scratch uses none by default."""
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "scratch", replace(TINY, weights="none"))
        chosen = config(dataset, tmp_path / "run", recipe=recipe, weights=weights, epochs=1, train_from="head")
        train(chosen, progress=lambda progress: lines.append(progress.milestone))

    assert json.loads((tmp_path / "run" / "config.json").read_text())["weights"] == "none"
    assert any("--recipe scratch" in line for line in lines) == is_noticed
    assert RECIPES["scratch"].weights == "none"


@pytest.mark.parametrize(
    "fields",
    [
        *({"dropout": 1e10}, {"dropout": -1}, {"dropout": 1.0}, {"batch_size": 10**10}, {"features": 10**10}),
        *({"clip_norm": 0}, {"frozen_learning_rate": math.inf}, {"warm_up": 2}, {"weight_decay": math.nan}),
    ],
)
def test_a_recipe_has_no_numbers_that_cannot_be_trained_with(fields: dict[str, float]) -> None:
    """A run of somebody else may record any; Keras would answer with a traceback."""
    with pytest.raises(ValueError, match=next(iter(fields))):
        replace(MODERN, **fields)  # type: ignore[arg-type]


def test_more_samples_than_fit_into_a_shard_are_damage(dataset: Path, tmp_path: Path) -> None:
    """The manifest of somebody else may say any number, and an order of so many takes all memory."""
    damaged = shutil.copytree(dataset, tmp_path / "dataset")
    manifest = json.loads((damaged / "manifest.json").read_text())
    manifest["shards"][0]["samples"] = 10**10
    (damaged / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DamagedError, match=r"is too small for 10000000000 pictures: run .* --repair STORE"):
        plan(config(damaged, tmp_path / "run"))


def test_caching_features_needs_a_frozen_backbone(dataset: Path, tmp_path: Path) -> None:
    """--cache-features is refused if the backbone is never frozen."""
    with pytest.raises(UsageError, match="--train-from head, or --frozen-epochs"):
        train(config(dataset, tmp_path / "run", cache_features=True))


def test_a_run_goes_on_with_the_recipe_that_it_began_with(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later version of the program may have another recipe of that name; the run keeps its own."""
    monkeypatch.setitem(RECIPES, "modern", replace(TINY, head=Head.POOLED))
    train(config(dataset, tmp_path / "run", epochs=1))
    monkeypatch.setitem(RECIPES, "modern", TINY)
    report = train(config(dataset, tmp_path / "run", epochs=2))

    assert report.resumed_from_step == 2
    assert read_architecture(tmp_path / "run").head is Head.POOLED


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"train_from": "block9_conv1", "backbone": "vgg16"}, "block9_conv1' is unknown"),
        ({"learning_rate": float("inf")}, "learning_rate inf"),
        ({"budget": float("inf")}, "--budget inf"),
    ],
)
def test_values_that_are_none_are_refused_in_one_line(
    dataset: Path, tmp_path: Path, fields: Any, words: str
) -> None:
    """Layers of no VGG, and infinite times and rates."""
    with pytest.raises(UsageError, match=words):
        train(config(dataset, tmp_path / "run", **fields))
