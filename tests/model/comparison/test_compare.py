"""Comparison of two runs: the same pictures, the common tags, and no pictures that either was trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from alti2v.cli import main
from alti2v.dataset.manifest import read_manifest
from alti2v.errors import DataError, UsageError
from alti2v.model.compare import compare
from alti2v.model.data.pipeline import evaluation_batches
from alti2v.model.evaluate import evaluate
from alti2v.model.options.evaluation import CompareConfig, EvalConfig
from alti2v.model.saved_model import load_model, save_model
from alti2v.records import Category, Tag
from alti2v.report.comparison import write_comparison
from alti2v.storage.layout import MODEL_DIR
from tests.model.helpers.tiny_dataset import COLOURS, square, write_dataset
from tests.model.helpers.tiny_run import random_model

pytestmark = [pytest.mark.tf, pytest.mark.usefixtures("narrow_vgg16")]
NAMES = tuple(sorted(COLOURS))


def dataset(path: Path, *, size: int = 32, test: range = range(24, 64), train: range = range(16)) -> Path:
    splits = {"train": train, "validation": range(16, 24), "test": test}
    return write_dataset(
        path, {name: [square(i, size=size) for i in numbers] for name, numbers in splits.items()}, size=size
    )


def run(path: Path, data: Path, *, names: tuple[str, ...] = NAMES, size: int = 32, seed: int = 1) -> Path:
    """A run that looks as if trained on `data`; each seed gives another network."""
    tags = tuple(Tag(name=name, category=Category.GENERAL, count=5) for name in names)
    model = random_model(size=size, tags=tags, dataset=data)
    kernel = model.network.get_layer("logits").kernel
    kernel.assign(np.random.default_rng(seed).normal(0, 0.5, kernel.shape))
    save_model(path / MODEL_DIR, replace(model, plan_hash=read_manifest(data).plan_hash))
    return path


def test_both_are_scored_on_the_same_pictures_with_the_common_tags(tmp_path: Path) -> None:
    """The figures of each run are those of its own evaluation, over the common tags."""
    data = dataset(tmp_path / "data")
    common = ("white", "red", "blue")  # in another order and with another neighbour in the second model
    first = run(tmp_path / "first", data, names=("black", *common))
    second = run(tmp_path / "second", data, names=(*reversed(common), "yellow"), seed=2)
    found = compare(CompareConfig(models=(first, second), min_positives=3), out=tmp_path / "out")

    assert [tag.name for tag in found.tags] == list(common)
    assert found.images == 40
    assert any("not compared: 1 of first and 1 of second" in note for note in found.notes)
    assert any("mAP is the mean over only 3 tags: " in note for note in found.notes)
    assert any("with only 3 positive pictures" in note for note in found.notes)
    for path, model in zip((first, second), found.models, strict=True):
        values = model.paired.average_precision
        alone = evaluate(EvalConfig(run=path, min_positives=3))
        ours = {tag.name: value for tag, value in zip(found.tags, values, strict=True)}
        theirs = {
            tag.name: value
            for tag, value in zip(alone.tags, alone.result.tag_scores.average_precision, strict=True)
        }
        assert ours == {name: pytest.approx(theirs[name]) for name in common}

    few = compare(CompareConfig(models=(first, second), min_positives=1000), out=tmp_path / "few")
    assert few.min_positives == 1, "as in the evaluation of one run, a few pictures give a figure, too"
    assert few.models[0].overall.scores.headline_ap is not None


def test_datasets_of_other_sizes_and_orders_are_matched_by_post(tmp_path: Path) -> None:
    """A run at 48 px is compared with one at 32 px whose dataset has the same pictures in another order."""
    small = dataset(tmp_path / "small")
    large = write_dataset(
        tmp_path / "large",
        {
            "train": [square(i, size=48) for i in range(16)],
            "validation": [square(i, size=48) for i in range(16, 24)],
            "test": [square(i, size=48) for i in reversed(range(24, 60))],
        },
        size=48,
    )
    first, second = run(tmp_path / "a", small), run(tmp_path / "b", large, size=48)
    found = compare(CompareConfig(models=(first, second), min_positives=1), out=tmp_path / "out")

    assert found.images == 36
    assert any("4 pictures of the test split left out: not in all datasets" in note for note in found.notes)
    (batch,) = evaluation_batches(large, split="test", batch_size=36)
    said = load_model(second).network.predict_on_batch(batch.images)["probabilities"]
    expected = average_precision_score(batch.labels, np.asarray(said), average=None)
    np.testing.assert_allclose(
        found.models[1].paired.average_precision, expected, atol=0.02
    )  # binned there, not here


def test_pictures_that_one_of_them_was_trained_on_are_left_out(tmp_path: Path) -> None:
    """Test pictures of the first run that the second was trained on are left out, with a note."""
    ours = dataset(tmp_path / "ours")
    theirs = dataset(tmp_path / "theirs", train=range(24, 34), test=range(34, 64))
    first, second = run(tmp_path / "a", ours), run(tmp_path / "b", theirs, seed=2)
    found = compare(CompareConfig(models=(first, second), dataset=ours, min_positives=1), out=tmp_path / "out")

    assert found.images == 30
    assert any("10 pictures left out: one of the models was trained on them" in n for n in found.notes)

    everything = dataset(tmp_path / "everything", train=range(24, 64), test=range(64, 66))
    third = run(tmp_path / "c", everything)
    with pytest.raises(DataError, match="no picture is left"):
        compare(CompareConfig(models=(first, third), dataset=ours), out=tmp_path / "out")


def test_a_run_whose_dataset_is_gone_is_compared_with_a_note(tmp_path: Path) -> None:
    """If a run's dataset is gone, a note says that pictures it has seen cannot be left out."""
    data = dataset(tmp_path / "data")
    gone = dataset(tmp_path / "gone")
    first, second = run(tmp_path / "a", data), run(tmp_path / "b", gone, seed=2)
    gone.rename(tmp_path / "elsewhere")
    found = compare(CompareConfig(models=(first, second), dataset=data), out=tmp_path / "out")

    assert any("no longer at" in note for note in found.notes)


def test_the_command_says_which_is_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`alti2v eval RUN OTHER` writes its three files and one JSON object."""
    data = dataset(tmp_path / "data")
    first, second = run(tmp_path / "a", data), run(tmp_path / "b", data, seed=2)
    with pytest.raises(SystemExit) as exit_:
        main(["eval", str(first), str(second), "--json"])
    answer = json.loads(capsys.readouterr().out)

    assert not exit_.value.code
    assert answer["images"] == 40
    assert sorted(file.name for file in (first / "eval" / "against-b").iterdir()) == [
        "comparison.html",
        "comparison.json",
        "per_tag.csv",
    ]


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    """No common tag, another size, an unknown split, a missing run or an empty folder end in one line."""
    data = dataset(tmp_path / "data")
    first = run(tmp_path / "a", data, names=("red", "blue"))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="the models have no tag in common"):
        write_comparison(CompareConfig(models=(first, run(tmp_path / "b", data, names=("white", "black")))))
    with pytest.raises(UsageError, match="has pictures of 32 px, the model takes 48 px"):
        write_comparison(CompareConfig(models=(first, run(tmp_path / "c", data, size=48))))
    with pytest.raises(UsageError, match="'tset' is unknown"):
        CompareConfig(models=(first,), split="tset")
    with pytest.raises(UsageError, match="nods does not exist: give the folder of a model"):
        compare(CompareConfig(models=(tmp_path / "nods",)), out=tmp_path / "out")
    with pytest.raises(UsageError, match="holds no model of alti2v"):
        compare(CompareConfig(models=(empty,)), out=tmp_path / "out")
    with pytest.raises(UsageError, match="does not exist"):
        write_comparison(CompareConfig(models=(first, tmp_path / "nobody")))
