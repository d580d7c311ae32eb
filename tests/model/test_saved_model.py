"""The folder of a model: it is read as written, and foreign or damaged files are refused."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alti2v.errors import DamagedError, UsageError, VersionError
from alti2v.model import backend
from alti2v.model.network.build import Architecture, build_network
from alti2v.model.recipes import Head
from alti2v.model.saved_model import SavedModel, load_model, read_trained_on, save_model
from alti2v.records import Category, Tag

pytestmark = pytest.mark.tf
TAGS = (
    Tag(name="1girl", category=Category.GENERAL, count=90),
    Tag(name='a,"b"\nc', category=Category.GENERAL, count=3),
    Tag(name="雪_(初音)", category=Category.CHARACTER, count=2),
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model, and the folder that it was saved to."""
    architecture = Architecture(size=32, tags=3, head=Head.FLATTENED, features=4, dropout=0.1, pixel_scale=0.5)
    model = SavedModel(
        network=build_network(architecture, seed=5).tagger,
        architecture=architecture,
        tags=TAGS,
        dataset="somewhere",
        plan_hash="abc",
        train_samples=100,
        recipe="seed",
        threshold=0.25,
        training={"loss": 1.5},
    )
    run = tmp_path_factory.mktemp("model") / "run"
    save_model(run / "model", model)
    return model, run


@pytest.fixture
def folder(saved: Any, tmp_path: Path) -> Any:
    """A copy to damage."""
    shutil.copytree(saved[1] / "model", tmp_path / "model")
    return tmp_path / "model"


def change(file: Any, **fields: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


@pytest.mark.parametrize("part", ["", "model"])
def test_round_trip(saved: Any, part: Any) -> None:
    """Loading a run, or the model folder in it, restores every field and the same predictions."""
    model, run = saved
    loaded = load_model(run / part)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)

    for name in (
        "architecture",
        "tags",
        "dataset",
        "plan_hash",
        "train_samples",
        "recipe",
        "threshold",
        "training",
    ):
        assert getattr(loaded, name) == getattr(model, name)
    assert loaded.size == 32
    for name, expected in model.network.predict_on_batch(images).items():
        np.testing.assert_array_equal(loaded.network.predict_on_batch(images)[name], expected)


def test_tags_are_a_table_for_others(saved: Any) -> None:
    """tags.csv is plain CSV with a header, in the order of the outputs."""
    with (saved[1] / "model" / "tags.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert [(row["name"], row["category"]) for row in rows] == [(tag.name, tag.category) for tag in TAGS]


def test_folder_holds_numbers_only(saved: Any) -> None:
    """The folder holds no pickle and no whole Keras model."""
    assert sorted(path.name for path in (saved[1] / "model").iterdir()) == [
        "model.json",
        "model.weights.h5",
        "tags.csv",
    ]


def test_nothing_there(tmp_path: Path) -> None:
    """A path that does not exist, or holds something else, is refused with the reason."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "config.json").write_text('{"kind": "run"}')
    for name, message in (
        ("no", "does not exist"),
        ("empty", "holds no model"),
        ("unfinished", "no finished model"),
    ):
        with pytest.raises(UsageError, match=message):
            load_model(tmp_path / name)


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.pkl"])
def test_model_files_of_others_are_refused(tmp_path: Path, name: Any) -> None:
    """A whole-model file, which can run code, is refused without being read."""
    (tmp_path / name).write_bytes(b"whatever")

    with pytest.raises(UsageError, match="can run code"):
        load_model(tmp_path / name)


def test_description_of_something_else(folder: Path) -> None:
    """A foreign model.json is refused."""
    change(folder / "model.json", kind="other")

    with pytest.raises(UsageError, match="does not describe a model"):
        load_model(folder)


def test_newer_version(folder: Path) -> None:
    """A model of a newer format version is refused."""
    change(folder / "model.json", version=99)

    with pytest.raises(VersionError, match="version 99"):
        load_model(folder)


@pytest.mark.parametrize("name", ["model.weights.h5", "tags.csv"])
def test_missing_part(folder: Path, name: Any) -> None:
    """A missing file is named."""
    (folder / name).unlink()

    with pytest.raises(DamagedError, match=f"{name} is missing"):
        load_model(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.json", b"{"),
        ("model.json", b'{"kind": "model", "version": 1}'),
        ("tags.csv", b"index,name\n0,a\n"),
        ("tags.csv", b"\xff\xfe"),
        ("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(100)),
        ("model.weights.h5", b""),
    ],
)
def test_damaged_part(folder: Path, name: Any, content: Any) -> None:
    """A damaged file is named, in one line."""
    (folder / name).write_bytes(content)

    with pytest.raises(DamagedError, match=name) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network(folder: Path) -> None:
    """Weights that do not fit are refused instead of being loaded partially."""
    keras = backend.keras
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(folder / "model.weights.h5")

    with pytest.raises(DamagedError, match="does not fit"):
        load_model(folder)


def test_tags_that_do_not_fit(folder: Path) -> None:
    """A number of tags that differs from the outputs is refused."""
    lines = (folder / "tags.csv").read_bytes().splitlines(keepends=True)
    (folder / "tags.csv").write_bytes(lines[0] + lines[1])

    with pytest.raises(DamagedError, match="1 tags for 3 outputs"):
        load_model(folder)


def test_a_run_finds_its_dataset_wherever_it_is_moved(
    saved: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another working folder, after a move of both, and after a move of the run alone."""
    for folder in ("work/dataset", "work/runs", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    save_model(Path("runs/run/model"), replace(saved[0], dataset="dataset"))

    def found(run: str) -> Path:
        loaded = Path(load_model(Path(run)).dataset)
        assert read_trained_on(Path(run) / "model").dataset == loaded
        return loaded

    assert found("runs/run") == Path("dataset")  # as it was typed
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert found("../work/runs/run") == tmp_path / "work" / "dataset"
    shutil.copytree(tmp_path / "work" / "runs" / "run", "run")
    assert found("run") == tmp_path / "work" / "dataset"
    (tmp_path / "work").rename(tmp_path / "moved")
    assert found("../moved/runs/run") == tmp_path / "moved" / "dataset"


@pytest.mark.parametrize(
    ("record", "expected"),
    [("data/set", "data/set"), (["../gone", "/nowhere"], "/nowhere"), (["a"], None), ([1, 2], None), (7, None)],
)
def test_a_recorded_dataset_is_a_name(folder: Any, record: object, expected: str | None) -> None:
    """Runs of earlier versions have a path as it was typed; what is no record is damage."""
    change(folder / "model.json", dataset=record)
    if expected is not None:
        assert load_model(folder).dataset == expected
        return
    with pytest.raises(DamagedError, match="train again"):
        load_model(folder)
    with pytest.raises(DamagedError, match="does not say what it was trained on"):
        read_trained_on(folder)
