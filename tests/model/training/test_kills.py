"""Training survives kill -9 at any point, again and again, and Ctrl-C at a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.model.helpers.tiny_dataset import write_squares

pytestmark = [pytest.mark.tf, pytest.mark.slow]
_KILLS = 20
_PROGRAM = """
import hashlib, sys
from dataclasses import replace
from pathlib import Path
from alti2v.model.recipes import Augmentation
from alti2v.model.saved_model import load_model
from alti2v.model.recipes import MODERN, RECIPES
from alti2v.model.train import TrainConfig, train
RECIPES["modern"] = replace(
    MODERN,
    features=16,
    dropout=0.2,
    train_from="block5_conv3",
    batch_size=4,
    epochs=12,
    augmentation=Augmentation(shift=0.05, mixup=0.8),
)
dataset, run, checkpoint_s = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
train(
    TrainConfig(dataset=dataset, run=run, weights="none", checkpoint_s=checkpoint_s, validate_every=4),
    progress=lambda progress: print(progress.done, flush=True),
)
weights = load_model(run).network.get_weights()
print("weights", hashlib.sha256(b"".join(array.tobytes() for array in weights)).hexdigest())
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_squares(tmp_path_factory.mktemp("kills") / "dataset", train=20, validation=8)


def _start(dataset: Path, run: Any, *, checkpoint_s: Any) -> Any:
    command = [sys.executable, "-c", _PROGRAM, str(dataset), str(run), str(checkpoint_s)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_twenty_kills_leave_the_weights_of_an_uninterrupted_run(dataset: Path, tmp_path: Path) -> None:
    """A run that is killed twenty times, between and within random steps, ends with the same bits."""
    undisturbed = _start(dataset, tmp_path / "undisturbed", checkpoint_s=1e9)
    expected = undisturbed.communicate()[0].splitlines()[-1]
    assert expected.startswith("weights")

    rng, kills, last = random.Random(1), 0, ""
    while not last.startswith("weights"):
        is_last = kills == _KILLS
        process = _start(dataset, tmp_path / "killed", checkpoint_s=1e9 if is_last else 0)
        steps = 10**9 if is_last else rng.randint(1, 4)
        for seen, line in enumerate(process.stdout, start=1):
            last = line.strip()
            if seen >= steps:
                process.send_signal(signal.SIGKILL)  # while it takes the next step, or writes its checkpoint
                kills += 1
                break
        process.stdout.close()
        assert process.wait() in (0, -signal.SIGKILL)

    assert kills == _KILLS
    assert last == expected


@pytest.mark.parametrize(("is_closed", "status"), [(False, 130), (True, 129)])
def test_ctrl_c_at_a_terminal_and_closing_it_leave_a_checkpoint(
    dataset: Path, tmp_path: Path, is_closed: bool, status: int
) -> None:
    """Ctrl-C ends in one line that says how to resume; a closed terminal shows nothing; both save."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "alti2v", "train", str(dataset), str(run), "--weights", "none"]
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*command, "--train-from", "head", "--epochs", "400", "--batch-size", "4"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    )
    os.close(follower)
    shown = b""
    while b"epoch 2/400" not in shown:
        shown += os.read(leader, 4096)
    if not is_closed:
        os.write(leader, b"\x03")
        with contextlib.suppress(OSError):  # the terminal is gone with the process
            while True:
                shown += os.read(leader, 4096)
    os.close(leader)

    assert process.wait(timeout=60) == status
    assert is_closed or b"run the same command again to resume" in shown
    assert b"Traceback" not in shown
    newest = max((run / "checkpoints").glob("step-*.npz"))
    assert int(newest.stem.partition("-")[2]) >= 5
