"""Several processes: each reads its part of every batch, and together they train like one."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alti2v.errors import UsageError
from alti2v.model.data.pipeline import training_batches
from alti2v.model.network.augment import PictureChange
from alti2v.model.recipes import Augmentation
from alti2v.model.training.distributed import join_processes
from tests.model.helpers.tiny_dataset import Drawn, square, write_dataset, write_squares

pytestmark = pytest.mark.tf
_PROGRAM = """
import sys
from dataclasses import replace
from pathlib import Path
from alti2v.model.recipes import NO_AUGMENTATION
from alti2v.model.recipes import MODERN, RECIPES
from alti2v.model.train import TrainConfig, train
RECIPES["modern"] = replace(
    MODERN,
    features=16,
    train_from="block5_conv3",
    learning_rate=1e-3,
    batch_size=8,
    epochs=2,
    augmentation=NO_AUGMENTATION,
)
train(TrainConfig(dataset=Path(sys.argv[1]), run=Path(sys.argv[2]), weights="none", checkpoint_s=1e9))
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Twenty samples: the last of three batches of eight has four."""
    return write_squares(tmp_path_factory.mktemp("processes") / "dataset", train=20)


def test_mixing_leaves_padding_out(dataset: Path) -> None:
    """In a padded batch, only samples are blended with each other, in every part."""
    for index in range(2):
        *_, ((_, changes), labels, weights) = training_batches(
            dataset, batch_size=8, seed=3, part=(index, 2), augmentation=Augmentation(mixup=1.0)
        )
        assert weights.numpy().tolist() == [2, 2, 0, 0]
        first = 4 * index  # rows are counted over the batch of both
        assert changes.numpy()[:, PictureChange.PARTNER].tolist() == [first + 1, first, first + 2, first + 3]
        assert labels.numpy()[:2].sum(axis=1).min() >= 1
        assert not labels.numpy()[2:].any()


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("skipped", [0, 1])
def test_every_sample_is_read_by_one_reader(tmp_path: Path, count: Any, skipped: Any) -> None:
    """Over an epoch the processes read every sample once, also when a run resumes."""
    drawn = [square(number, size=32) for number in range(26)]
    tags = [f"picture_{number}" for number in range(26)]
    samples = [Drawn(id=one.id, jpeg=one.jpeg, tags=(tag,)) for one, tag in zip(drawn, tags, strict=True)]
    dataset = write_dataset(tmp_path / "dataset", {"train": samples}, size=32, tags=tags, shard_samples=5)

    def read(first: Any) -> Any:
        seen: Counter[int] = Counter()
        for index in range(count):
            for _, labels, weights in training_batches(
                dataset, batch_size=6, seed=1, epoch=2, skip_batches=first, part=(index, count)
            ):
                assert len(labels) == 6 // count
                seen.update(np.argmax(labels.numpy()[weights.numpy() > 0], axis=1).tolist())
        return seen

    whole = read(0)
    assert whole == Counter(range(26))
    begun: Counter[int] = Counter()
    for _, labels in training_batches(dataset, batch_size=6, seed=1, epoch=2).take(skipped):
        begun.update(np.argmax(labels.numpy(), axis=1).tolist())
    assert read(skipped) == whole - begun


@pytest.mark.parametrize("count", [1, 2, 4])
def test_parts_make_up_the_batches_exactly_once(dataset: Path, count: Any) -> None:
    """The parts of a batch together hold its samples once, and padding has weight 0."""
    whole = list(training_batches(dataset, batch_size=8, seed=3, epoch=1))
    parts = [
        list(training_batches(dataset, batch_size=8, seed=3, epoch=1, part=(index, count)))
        for index in range(count)
    ]

    assert {len(part) for part in parts} == {len(whole)}
    for number, (images, labels) in enumerate(whole):
        pieces = [[tensor.numpy() for tensor in part[number]] for part in parts]
        assert {len(piece[2]) for piece in pieces} == {8 // count}
        counted = np.concatenate([piece[2] for piece in pieces])
        seen = np.concatenate([piece[0] for piece in pieces])[counted > 0]
        assert sorted(image.tobytes() for image in seen) == sorted(image.tobytes() for image in images.numpy())
        assert np.concatenate([piece[1] for piece in pieces]).sum() == labels.numpy().sum()
        assert counted.mean() == pytest.approx(1)


def test_several_processes_need_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    """With TensorFlow, several processes are refused, and the message says what to set."""
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")

    with pytest.raises(UsageError, match="KERAS_BACKEND=jax"), join_processes():
        pass


@pytest.fixture(scope="module")
def alone(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The loss curve of one process with one device (JAX, CPU)."""
    run = tmp_path_factory.mktemp("alone") / "run"
    _finish(_start(dataset, run))
    return _log(run)


@pytest.mark.slow
def test_two_processes_train_as_one_does(dataset: Path, tmp_path: Path, alone: Any) -> None:
    """Two processes over gloo write the loss curve of one process with the same batches (JAX, CPU)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    processes = [
        _start(
            dataset,
            tmp_path / "processes",
            KERAS_DISTRIBUTION_JOB_ADDRESSES=address,
            KERAS_DISTRIBUTION_NUM_PROCESSES="2",
            KERAS_DISTRIBUTION_PROCESS_ID=str(number),
        )
        for number in range(2)
    ]
    _finish(*processes)

    _assert_same_curve(_log(tmp_path / "processes"), alone)


@pytest.mark.slow
def test_two_devices_train_as_one_does(dataset: Path, tmp_path: Path, alone: Any) -> None:
    """Two devices of one process, standing for two GPUs of one host, write the same curve, too."""
    _finish(_start(dataset, tmp_path / "run", XLA_FLAGS="--xla_force_host_platform_device_count=2"))

    _assert_same_curve(_log(tmp_path / "run"), alone)


def _assert_same_curve(rows: Any, expected_rows: Any) -> None:
    for ours, expected in zip(rows, expected_rows, strict=True):
        for column in ("loss", "val_loss", "val_map"):
            assert float(ours[column]) == pytest.approx(float(expected[column]), rel=1e-4)


def _start(dataset: Path, run: Any, **variables: Any) -> Any:
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", **variables}
    command = [sys.executable, "-c", _PROGRAM, str(dataset), str(run)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def _finish(*processes: Any) -> None:
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said


def _log(run: Any) -> Any:
    with (run / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))
