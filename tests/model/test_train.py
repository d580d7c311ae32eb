"""Training resumes bit-exactly at the step where it stopped, and refuses what it must; on a narrow network."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from alti2v.dataset.manifest import read_manifest, read_vocabulary, write_manifest
from alti2v.dataset.versions.lineage import plan_hash_without
from alti2v.errors import (
    DamagedError,
    DataError,
    HungUpError,
    StorageError,
    TerminatedError,
    UsageError,
    VersionError,
)
from alti2v.model.recipes import RECIPES
from alti2v.model.saved_model import load_model
from alti2v.model.train import train
from alti2v.model.training.job import RECIPE_OPTIONS
from alti2v.model.training.validation import too_few_to_choose
from alti2v.records import Progress
from alti2v.storage.columns import REMOVED
from alti2v.storage.directory import exclusive, names_in
from alti2v.storage.table import write_table
from tests.model.helpers.tiny_dataset import square, write_dataset, write_squares
from tests.model.helpers.tiny_train import BATCH, TINY, TRAIN, config

pytestmark = [pytest.mark.tf, pytest.mark.usefixtures("narrow_vgg16")]
STEPS_PER_EPOCH = 3
TIMES = ("samples_per_s", "input_wait", "seconds")


class KilledError(Exception):
    """Replaces anything that ends a process between two steps."""


@pytest.fixture(scope="module", autouse=True)
def tiny_recipes() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        for name, recipe in TINY.items():
            patch.setitem(RECIPES, name, recipe)
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_squares(tmp_path_factory.mktemp("train") / "dataset", train=TRAIN)


@pytest.fixture(scope="module")
def reference(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The uninterrupted run, which all interrupted ones must equal; its report and its progress.

    Only the progress hook moves the clock: 8 s after each step of the first epoch, then 2 s after each.
    """
    run, heard, now_s = tmp_path_factory.mktemp("reference") / "run", [], [0.0]

    def hear(progress: Any) -> None:
        heard.append(progress)
        now_s[0] += 8 if progress.counts.get("epoch") == "1/2" else 2

    report = train(config(dataset, run, checkpoint_s=1e9), progress=hear, clock=lambda: now_s[0])
    return run, report, heard


def ending_at(step: Any, error: Any) -> Any:
    """A progress hook that raises once `step` is done."""

    def hook(progress: Any) -> None:
        if progress.stage == "training" and progress.done == step:
            raise error

    return hook


def weights(run: Any) -> Any:
    return load_model(run).network.get_weights()


def log(run: Any) -> Any:
    with (run / "log.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def assert_equal_runs(run: Any, expected: Any) -> None:
    assert log(run) == log(expected)
    assert all(np.array_equal(a, b) for a, b in zip(weights(run), weights(expected), strict=True))


def test_progress_counts_every_step(reference: Any) -> None:
    """Progress is reported once for every step, in order, with the loss and the speed."""
    training = [progress for progress in reference[2] if progress.stage == "training"]
    steps = [progress for progress in training if not progress.milestone]
    assert [progress.done for progress in steps] == list(range(1, 7))
    assert {(progress.total, progress.unit) for progress in training} == {(6, "steps")}
    assert list(steps[-1].counts) == ["epoch", "loss", "pictures/s"]
    assert steps[-1].counts["epoch"] == "2/2"


def test_an_epochs_speed_is_its_own(reference: Any) -> None:
    """The log gives each epoch's own speed; the report gives the speed over all epochs.

    After an epoch's last step the clock moves outside of training, so two of its three steps take time.
    """
    with (reference[0] / "log.csv").open(newline="") as file:
        assert [float(row["samples_per_s"]) for row in csv.DictReader(file)] == [TRAIN / 16, TRAIN / 4]
    assert reference[1].samples_per_s == 2 * TRAIN / 20


def test_a_run_that_was_killed_in_its_first_step_begins_anew(
    dataset: Path, tmp_path: Path, begun: Any, reference: Any
) -> None:
    """A step without a checkpoint is repeated, and ends with the same weights and log."""
    run = shutil.copytree(begun, tmp_path / "run")

    assert train(config(dataset, run)).resumed_from_step == 0
    assert_equal_runs(run, reference[0])


@pytest.fixture(scope="module")
def killed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run that was killed by kill -9 after its fifth step, in the middle of the second epoch."""
    run = tmp_path_factory.mktemp("killed") / "run"
    program = f"""
import os, signal
from pathlib import Path
from pytest import MonkeyPatch
from alti2v.model.recipes import RECIPES
from alti2v.model.train import train
from alti2v.model.training.job import RECIPE_OPTIONS
from alti2v.records import Progress
from tests.model.helpers.narrow_vgg import put_narrow_vgg16
from tests.model.helpers.tiny_train import TINY, config
RECIPES.update(TINY)
put_narrow_vgg16(MonkeyPatch())
def hook(progress):
    if progress.done == 5:
        os.kill(os.getpid(), signal.SIGKILL)
train(config(Path({str(dataset)!r}), Path({str(run)!r})), progress=hook)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert ended.stderr == b""  # nor does TensorFlow spill anything onto the terminal
    return run


def test_resume_after_a_real_kill(dataset: Path, tmp_path: Path, killed: Any, reference: Any) -> None:
    """kill -9 in the middle of a training loses nothing that a checkpoint held."""
    run = shutil.copytree(killed, tmp_path / "run")
    heard: list[Progress] = []

    assert train(config(dataset, run), progress=heard.append).resumed_from_step == 4
    assert "resuming after step 4 of 6" in [progress.milestone for progress in heard]
    assert_equal_runs(run, reference[0])


def test_damaged_checkpoint_is_passed_over(
    dataset: Path, tmp_path: Path, killed: Any, reference: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """If the newest checkpoint is damaged, the one before it is used, with a warning and the same result.

    That one is from the end of an epoch.
    """
    run = shutil.copytree(killed, tmp_path / "run")
    newest = max((run / "checkpoints").glob("step-*.npz"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    newest.write_bytes(content)

    assert train(config(dataset, run)).resumed_from_step == STEPS_PER_EPOCH
    assert newest.name in caplog.text
    assert_equal_runs(run, reference[0])


def test_interrupt_saves_first(dataset: Path, tmp_path: Path, reference: Any) -> None:
    """Ctrl-C writes a checkpoint of the current step, even if the last one is recent.

    While one step is counted, the next one is already running; it is completed first.
    """
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(config(dataset, run, checkpoint_s=1e9), progress=ending_at(2, KeyboardInterrupt()))

    assert train(config(dataset, run, checkpoint_s=1e9)).resumed_from_step == 3
    assert_equal_runs(run, reference[0])


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, TerminatedError), (signal.SIGHUP, HungUpError)])
def test_batch_systems_and_closed_terminals_leave_a_checkpoint(
    dataset: Path, tmp_path: Path, reference: Any, number: signal.Signals, error: type[KeyboardInterrupt]
) -> None:
    """SIGTERM and SIGHUP in the middle of a step act after it, and write a checkpoint as Ctrl-C does."""
    run = tmp_path / "run"

    def hook(progress: Progress) -> None:
        if progress.done == 2:
            os.kill(os.getpid(), number)

    with pytest.raises(error):
        train(config(dataset, run, checkpoint_s=1e9), progress=hook)

    assert train(config(dataset, run, checkpoint_s=1e9)).resumed_from_step == 3
    assert_equal_runs(run, reference[0])


def test_finished_run_is_only_reported(dataset: Path, reference: Any) -> None:
    """A finished run is not trained again, and gives the same report."""
    run, first, _ = reference
    heard: list[Progress] = []
    again = train(config(dataset, run), progress=heard.append)

    assert again == replace(first, resumed_from_step=first.steps)
    assert ["is finished" in one.milestone for one in heard] == [True]


def test_more_epochs_go_on(dataset: Path, tmp_path: Path, reference: Any) -> None:
    """A finished run continues if it is given more epochs, and keeps their number when it is omitted."""
    run = shutil.copytree(reference[0], tmp_path / "run")
    report = train(config(dataset, run, epochs=3))

    assert (report.resumed_from_step, report.steps) == (2 * STEPS_PER_EPOCH, 3 * STEPS_PER_EPOCH)
    assert [row["epoch"] for row in log(run)] == ["1", "2", "3"]
    assert train(config(dataset, run)).epochs == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"recipe": "seed"}, "was started with --recipe modern, not seed: give the same"),
        ({"batch_size": 8}, "--batch-size 16, not 8"),
        ({"seed": 1}, "--seed 0, not 1"),
        ({"epochs": 1}, "--epochs 2"),
        ({"learning_rate": 0.5}, "--learning-rate 0.001, not 0.5"),
        ({"train_from": "block1_conv1"}, "--train-from block5_conv3, not block1_conv1"),
        ({"weights": "imagenet"}, "--weights none, not imagenet"),
    ],
)
def test_other_settings_are_refused(
    dataset: Path, tmp_path: Path, begun: Any, fields: Any, message: Any
) -> None:
    """A run is not continued with other settings than it was started with; the message names the option."""
    with pytest.raises(UsageError, match=message):
        train(config(dataset, begun, **fields))


@pytest.fixture(scope="module")
def begun(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run that was started with two epochs, and killed after its first step."""
    run = tmp_path_factory.mktemp("begun") / "run"
    with pytest.raises(KilledError):
        train(config(dataset, run), progress=ending_at(1, KilledError()))
    return run


def test_run_of_another_dataset_is_refused(tmp_path: Path, begun: Any) -> None:
    """A run is not continued on another dataset."""
    other = write_squares(tmp_path / "other", train=20)

    with pytest.raises(UsageError, match="trained on another dataset"):
        train(config(other, begun))


def test_a_run_from_before_a_removal_is_named_as_one(tmp_path: Path, begun: Any) -> None:
    """Its dataset is the same one, in a later version."""
    dataset = write_squares(tmp_path / "dataset")
    write_table(dataset / "removed.parquet", REMOVED, [{"id": 7, "edition": 2, "source_md5": None}])
    manifest = read_manifest(dataset)
    later = replace(manifest, edition=2, plan_hash=plan_hash_without(manifest.plan_hash, [7]))
    write_manifest(dataset, later)
    run = tmp_path / "run"
    shutil.copytree(begun, run)
    settings = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(settings | {"plan_hash": manifest.plan_hash}))

    with pytest.raises(UsageError, match=r"trained before 1 post was removed from .*, which is now version 2"):
        train(config(dataset, run))


def test_a_run_from_before_a_growth_is_named_as_one(tmp_path: Path, begun: Any) -> None:
    """The shards of its training are still there, beside those of a later version."""
    dataset = write_squares(tmp_path / "dataset")
    manifest = read_manifest(dataset)
    added = tuple(replace(shard, name=replace(shard.name, edition=2)) for shard in manifest.split("train")[:1])
    later = replace(manifest, edition=2, plan_hash="later", shards=(*manifest.shards, *added))
    write_manifest(dataset, later)

    with pytest.raises(
        UsageError, match=r"trained before 16 pictures were added to .*, which is now version 2"
    ):
        train(config(dataset, begun))


def test_a_run_of_an_earlier_version_is_continued(dataset: Path, tmp_path: Path, begun: Any) -> None:
    """It has the options a second time, outside its recipe, where they win; and its dataset as one path."""
    run = shutil.copytree(begun, tmp_path / "run")
    settings = json.loads((run / "config.json").read_text())
    recipe = settings["recipe_settings"]
    assert not settings.keys() & RECIPE_OPTIONS  # a new run has them once
    earlier = {name: recipe[name] for name in RECIPE_OPTIONS}
    recipe |= {"batch_size": 3, "epochs": 30}
    (run / "config.json").write_text(json.dumps(settings | earlier | {"dataset": "gone"}))
    assert train(config(dataset, run)).epochs == 2


def test_run_in_use_is_refused(dataset: Path, begun: Any) -> None:
    """Two trainings never write into one run."""
    with exclusive(begun, "train.lock"), pytest.raises(UsageError, match="in use"):
        train(config(dataset, begun))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"recipe": "best"}, "--recipe 'best'"),
        ({"epochs": 0}, "--epochs 0"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"seed": -1}, "--seed -1"),
        ({"learning_rate": 0.0}, "--learning-rate 0"),
        ({"learning_rate": float("nan")}, "--learning-rate nan"),
        ({"train_from": "block6"}, "--train-from 'block6'"),
        (
            {"train_from": "foo_conv1", "backbone": "VGG16"},
            "--train-from 'foo_conv1' is unknown: give one of block1",
        ),
        ({"weights": ""}, "--weights is empty"),
        ({"validate_every": 0}, "validate_every 0"),
        ({"checkpoint_s": -1.0}, "checkpoint_s -1"),
    ],
)
def test_bad_options_are_named(dataset: Path, tmp_path: Path, fields: Any, message: Any) -> None:
    """An option out of range is refused with its name and value, before anything is read."""
    with pytest.raises(UsageError, match=re.escape(message)):
        config(dataset, tmp_path / "run", **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weights": "imagnet"}, "--weights imagnet does not exist"),
        ({"start": Path("no-such-run")}, "no-such-run does not exist"),
        ({"backbone": "vgg17"}, "--backbone vgg17"),
        ({"cache_features": True, "frozen_epochs": 0}, "--cache-features needs frozen layers"),
    ],
)
def test_a_refused_start_leaves_no_folder(dataset: Path, tmp_path: Path, fields: Any, message: Any) -> None:
    """Options that no training can begin with are refused before the folder of the run is made."""
    with pytest.raises(UsageError, match=re.escape(message)):
        train(config(dataset, tmp_path / "run", **fields))

    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"backbone": "vgg19", "train_from": "block9_conv1"},
            "no layer block9_conv1: give --train-from block",
        ),
        ({"budget": 1e-9}, "--budget 1e-09 is too short"),
        ({"weights": "other.weights.h5"}, "does not hold the weights of VGG16"),
    ],
)
@pytest.mark.parametrize("is_there", [False, True])
def test_what_is_refused_late_leaves_nothing_either(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: Any, message: Any, is_there: bool
) -> None:
    """Layers, time and weights are checked under the run's lock; an empty folder stays as it was."""
    monkeypatch.chdir(tmp_path)
    with h5py.File("other.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = np.zeros((3, 3), np.float32)
    run = tmp_path / "run"
    if is_there:
        run.mkdir()
    with pytest.raises(UsageError, match=re.escape(message)):
        train(config(dataset, run, **fields))

    assert names_in(run) == (frozenset() if is_there else None)


def test_run_must_not_be_a_dataset(dataset: Path, tmp_path: Path) -> None:
    """Training never writes into a dataset."""
    with pytest.raises(UsageError, match="is a dataset, not a run"):
        train(config(dataset, dataset))


def test_dataset_must_be_one(tmp_path: Path) -> None:
    """A directory that is not a dataset is named."""
    with pytest.raises(UsageError, match="give the folder of a dataset"):
        train(config(tmp_path, tmp_path / "run"))


def test_dataset_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    """A dataset of a newer format version is refused, and no run is created."""
    dataset = write_squares(tmp_path / "dataset", train=4)
    manifest = dataset / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": 99}))

    with pytest.raises(VersionError, match="version 99"):
        train(config(dataset, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_missing_shard_is_named_before_training(tmp_path: Path) -> None:
    """A missing shard is named before the first step, and the directory does not become a run."""
    dataset = write_squares(tmp_path / "dataset", train=TRAIN)
    gone = dataset / read_manifest(dataset).split("validation")[0].name.data
    gone.unlink()

    with pytest.raises(DamagedError, match=re.escape(str(gone))):
        train(config(dataset, tmp_path / "run"))
    assert not (tmp_path / "run" / "config.json").exists()


def test_nothing_to_train_on(tmp_path: Path) -> None:
    """A dataset without training samples or tags, or with pictures too small, is refused with the reason."""
    only_test = write_dataset(tmp_path / "test", {"test": [square(0, size=32)]}, size=32)
    no_tags = write_dataset(tmp_path / "tags", {"train": [square(0, size=32)]}, size=32, tags=())
    small = write_dataset(tmp_path / "small", {"train": [square(0, size=16)]}, size=16)

    for dataset, message in ((only_test, "no training pictures"), (no_tags, "no tags"), (small, "needs 32")):
        with pytest.raises(DataError, match=message):
            train(config(dataset, tmp_path / "run"))


def test_a_validation_too_small_to_choose_is_noted(dataset: Path, reference: Any) -> None:
    """The notice gives the size of the split, and how many tags have enough pictures there."""
    lines = [progress.milestone for progress in reference[2] if "validation picture" in progress.milestone]
    tags = read_vocabulary(dataset)

    assert ["12 validation pictures" in line and "about 0 tags of 6" in line for line in lines] == [True]
    assert too_few_to_choose(tags, train=TRAIN, validation=TRAIN) == ""
    assert too_few_to_choose(tags, train=TRAIN, validation=0) == ""


def test_dataset_without_validation(tmp_path: Path) -> None:
    """Training works without a validation split, but gives no threshold."""
    dataset = write_squares(tmp_path / "dataset", train=BATCH, validation=0)
    report = train(config(dataset, tmp_path / "run", epochs=1))

    assert (report.validation_map, report.threshold) == (None, None)
    assert load_model(tmp_path / "run").threshold is None


def test_diverging_loss_stops_the_run(dataset: Path, tmp_path: Path) -> None:
    """A loss that is not a number ends the run with advice, and is never saved in a checkpoint."""
    run = tmp_path / "run"
    with pytest.raises(DataError, match="learning rate below 1e\\+30"):
        train(config(dataset, run, learning_rate=1e30))

    assert not (run / "model").exists()


def test_unwritable_run_is_said(dataset: Path, tmp_path: Path) -> None:
    """A run that cannot be written ends in one line."""
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="cannot write"):
        train(config(dataset, tmp_path / "file" / "run"))
