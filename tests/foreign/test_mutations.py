"""Files of every kind of folder, damaged in every place: a line and exit status 2 or 4, never a traceback."""

from __future__ import annotations

import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from alti2v.errors import Alti2vError
from tests.foreign.helpers.commands import READING, exit_status
from tests.foreign.helpers.mutations import mutations
from tests.model.helpers.foreign_taggers import FAMILIES
from tests.model.helpers.tiny_wd import write_picture

Command = Callable[[Path], int]  # a folder -> exit status
EVERY = [101, pytest.param(1, marks=pytest.mark.slow)]  # `make proof` tries all, `make test` every 101st
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Mutations of one folder.

    Attributes:
        folder: The folder, sound.
        names: Patterns of the files to damage.
        commands: What is run on each damaged folder.
        allowed: Exit statuses.
    """

    folder: Path
    commands: Sequence[Command]
    names: Sequence[str] = ("*",)
    allowed: frozenset[int] = frozenset({0, 2, 4})


def tried(trial: Trial, where: Path, *, every: int = 1) -> Counter[int]:
    """Run the commands on a copy of the folder with each mutation; count the statuses.

    Raises:
        AssertionError: A command ended otherwise; the message names some.
    """
    folder = where / trial.folder.name
    shutil.copytree(trial.folder, folder)
    seen, wrong = Counter[int](), []
    for number, mutation in enumerate(mutations(trial.folder, trial.names)):
        if number % every:
            continue
        target = folder / mutation.file
        kept = target.read_bytes()
        target.write_bytes(mutation.content)
        for index, command in enumerate(trial.commands):
            try:
                status = command(folder)
            except Exception:  # noqa: BLE001 - whatever would be a traceback
                wrong.append(f"{mutation.file}, {mutation.what}: command {index}: {traceback.format_exc()}")
                continue
            seen[status] += 1
            if status not in trial.allowed:
                wrong.append(f"{mutation.file}, {mutation.what}: command {index}: status {status}")
        if target.exists():
            target.write_bytes(kept)
        else:  # a command that repairs may have removed it
            shutil.copy(trial.folder / mutation.file, target)
    assert not wrong, f"{len(wrong)} of {seen.total()}:\n" + "\n".join(wrong[:_SHOWN])
    return seen


def run(*arguments: object) -> Command:
    """Return a command that is run on a folder."""
    return lambda folder: exit_status(*arguments, folder)


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("store", ("*.json", "*.parquet", "*.sqlite", "*.tar")),
        ("dataset", ("manifest.json", "*.parquet")),
        ("dataset", ("train-00000-*.json", "train-00000-*.tar", "train-00000-*.idx")),
    ],
)
def test_stores_and_datasets(
    original: Path, tmp_path: Path, kind: str, names: tuple[str, ...], every: int
) -> None:
    """Mutations of every value of descriptions, and of bits and lengths of tables, tar files and ledger."""
    commands = [run(*command) for command in READING[kind]]

    seen = tried(Trial(folder=original / kind, names=names, commands=commands), tmp_path, every=every)

    assert seen.total() > 0


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("family", FAMILIES)
def test_taggers(tmp_path: Path, family: str, every: int) -> None:
    """Every family of folders: its tables and descriptions, and bits of its network."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
    folder = tmp_path / "sound" / family
    folder.mkdir(parents=True)
    FAMILIES[family].write(folder)
    (folder / "thresholds.json").write_text(THRESHOLDS)
    picture = write_picture(tmp_path / "red.png", "red")

    def tag(damaged: Path) -> int:
        return exit_status("tag", damaged, picture)

    seen = tried(Trial(folder=folder, commands=[tag]), tmp_path, every=every)

    assert seen.total() > 0


THRESHOLDS = (
    """{"kind": "thresholds", "version": 1, "fallback": 0.5, "images": 3, "rules": {"f1": {"solo": 0.4}}}"""
)


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("form", ["wd_v3", "cl"])
def test_checks_of_exported_folders(tmp_path: Path, form: str, every: int) -> None:
    """The checker lists breaches; it never trips over one."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[export]'")
    folder = tmp_path / "sound" / form
    folder.mkdir(parents=True)
    FAMILIES[form].write(folder)

    assert (
        tried(
            Trial(folder=folder, commands=[run("export", "--check")], allowed=frozenset({0, 1, 2, 4})),
            tmp_path,
            every=every,
        ).total()
        > 0
    )


@pytest.mark.parametrize("every", EVERY)
def test_vectors_and_their_index(tmp_path: Path, every: int) -> None:
    """Bits of the table, and every value of the description of the index."""
    pytest.importorskip("faiss", reason="faiss is not installed: pip install 'alti2v[search]'")
    folder = _vectors(tmp_path / "sound" / "vectors")

    def search(damaged: Path) -> int:
        index = damaged / "index"
        status = exit_status("search", damaged / "v.parquet", "--tags", "all", "--index", index, "--count", 3)
        if (index / "index.json").read_bytes() != (folder / "index" / "index.json").read_bytes():
            shutil.rmtree(index)  # built again, or damaged
            shutil.copytree(folder / "index", index)
        return status

    trial = Trial(folder=folder, names=("v.parquet", "index.json", "pictures.parquet"), commands=[search])

    assert tried(trial, tmp_path, every=every).total() > 0


def _vectors(folder: Path) -> Path:
    import numpy as np

    from alti2v.vectors.config import Form
    from alti2v.vectors.index_build import build_index
    from alti2v.vectors.vector_file import Origin, Rows, write_rows

    folder.mkdir(parents=True)
    numbers = np.random.default_rng(1).random((40, 16)).astype(np.float16)
    origin = Origin(model="m", model_sha256="0", form=Form.FLOAT16, width=16)
    write_rows(folder / "v.parquet", origin, Rows([f"p{i}" for i in range(40)], [["all"]] * 40, numbers))
    build_index(folder / "v.parquet", folder / "index")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, narrow_vgg16: None) -> Path:
    """A folder with a `dataset`, and a `run` on it as a training leaves it."""
    from alti2v.model.train import TrainConfig, train
    from tests.model.helpers.tiny_dataset import write_squares

    folder = tmp_path_factory.mktemp("trained")
    dataset = write_squares(folder / "dataset", train=12, validation=6, test=6)
    train(TrainConfig(dataset=dataset, run=folder / "run", recipe="scratch", epochs=1, batch_size=6))
    write_picture(folder / "red.png", "red")
    return folder


def _planned(folder: Path, dataset: Path) -> int:
    from alti2v.model.train import TrainConfig, plan
    from alti2v.model.training.cost.estimate import Measurements

    quick = Measurements(input_rate=lambda _: 1.0, step_rate=lambda *_: 1.0, is_cpu=lambda: True)
    try:
        plan(TrainConfig(dataset=dataset, run=folder, recipe="scratch"), measurements=quick)
    except Alti2vError as exc:
        return exc.exit_status
    return 0


@pytest.mark.tf
@pytest.mark.slow
def test_runs(trained: Path, tmp_path: Path) -> None:
    """Every value of the settings and of the model's description, table and thresholds; bits of its weights."""

    def tag(damaged: Path) -> int:
        return exit_status("tag", damaged, trained / "red.png")

    def plan(damaged: Path) -> int:
        return _planned(damaged, trained / "dataset")

    model = ("model.json", "tags.csv", "thresholds.json", "*.h5")
    seen = tried(Trial(folder=trained / "run", names=model, commands=[tag]), tmp_path / "a")
    seen += tried(
        Trial(folder=trained / "run", names=("config.json", "model.json"), commands=[plan]),
        tmp_path / "b",
    )

    assert seen.total() > 0


@pytest.mark.tf
@pytest.mark.slow
def test_reports_and_datasets_of_a_training(trained: Path, tmp_path: Path) -> None:
    """The log that a report draws, and the dataset that a model is evaluated on and trained with."""

    def evaluate(damaged: Path) -> int:
        return exit_status("eval", damaged, "--dataset", trained / "dataset", "--out", tmp_path / "report")

    def on(damaged: Path) -> int:
        return exit_status("eval", trained / "run", "--dataset", damaged, "--out", tmp_path / "report")

    def plan(damaged: Path) -> int:
        return _planned(tmp_path / "new", damaged)

    # A split without pictures is a reason of its own, with status 1.
    allowed = frozenset({0, 1, 2, 4})
    seen = tried(Trial(folder=trained / "run", names=("log.csv",), commands=[evaluate]), tmp_path / "a")
    dataset = Trial(folder=trained / "dataset", names=("test-*.parquet",), commands=[on], allowed=allowed)
    seen += tried(dataset, tmp_path / "b")
    names = ("manifest.json", "tags.parquet")
    planned = Trial(folder=trained / "dataset", names=names, commands=[plan], allowed=allowed)
    seen += tried(planned, tmp_path / "c")

    assert seen.total() > 0
