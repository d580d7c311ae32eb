"""Evaluation of a run: thresholds from validation, tags by name, padding ignored, a baseline for each score."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn import metrics as reference

import alti2v
from alti2v.dataset.manifest import Manifest, Shard, write_manifest, write_vocabulary
from alti2v.dataset.versions.lineage import plan_hash_without
from alti2v.errors import DataError, UsageError
from alti2v.model import evaluate as module
from alti2v.model.data.pipeline import Batch
from alti2v.model.evaluate import evaluate
from alti2v.model.evaluation import predict
from alti2v.model.evaluation.histograms import THRESHOLDS, bin_probabilities
from alti2v.model.options.evaluation import EvalConfig
from alti2v.pictures.recipe import ImageRecipe
from alti2v.records import Category, Progress, Tag
from alti2v.storage.columns import REMOVED
from alti2v.storage.layout import ShardName
from alti2v.storage.table import write_table

SIZE = 8
TRAINED = 400
SPLITS = {"validation": 90, "test": 130}
TAGS = tuple(
    Tag(name=f"tag_{index}", category=category, count=count)
    for index, (category, count) in enumerate(
        [
            (Category.GENERAL, 200),
            (Category.GENERAL, 120),
            (Category.CHARACTER, 60),
            (Category.COPYRIGHT, 40),
            (Category.GENERAL, 9),
        ]
    )
)


def labels_of(split: str) -> np.ndarray:
    rates = np.array([tag.count / TRAINED for tag in TAGS])
    rng = np.random.default_rng(len(split))
    return (rng.random((SPLITS[split], len(TAGS))) < rates).astype(np.uint8)


def probabilities_of(split: str) -> np.ndarray:
    labels = labels_of(split)
    logits = np.random.default_rng(len(split) + 1).normal(-1.5, 1, labels.shape) + 2 * labels
    probabilities: np.ndarray = 1 / (1 + np.exp(-logits))
    return probabilities.astype(np.float32)


def pictures_of(split: str) -> np.ndarray:
    """Pictures whose first pixel encodes their row and split."""
    images = np.zeros((SPLITS[split], SIZE, SIZE, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(SPLITS[split])
    images[:, 0, 0, 1] = list(SPLITS).index(split)
    return images


class Network:
    """A network that looks its answer up by the first pixel."""

    name = "lookup"

    def predict_on_batch(self, images: np.ndarray) -> dict[str, np.ndarray]:
        answers = [probabilities_of(list(SPLITS)[split])[row] for row, split in images[:, 0, 0, :2].astype(int)]
        return {"probabilities": np.stack(answers)}


@dataclasses.dataclass
class World:
    """A dataset on disk without its shards, with stand-ins for the network and the shards."""

    dataset: Path
    run: Path
    model: SimpleNamespace
    columns: list[int]


def describe(
    dataset: Path, splits: dict[str, int], *, plan: str = "plan", size: int = SIZE, edition: int = 1
) -> None:
    dataset.mkdir(exist_ok=True)
    shards = tuple(
        Shard(name=ShardName(split, 0, 1), samples=samples, bytes=1, sha256="0" * 64, rows_sha256="0" * 64)
        for split, samples in splits.items()
    )
    manifest = Manifest(
        plan_hash=plan,
        image=ImageRecipe(size=size),
        shards=shards,
        split_rule="by hand",
        outcomes={},
        made_with={},
        edition=edition,
    )
    write_manifest(dataset, manifest)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    (run / "model" / "model.weights.h5").write_bytes(b"weights")
    (run / "log.csv").write_text("epoch,loss,val_map\n1,9.5,\n2,7.25,0.5\n")
    model = SimpleNamespace(
        network=Network(),
        size=SIZE,
        tags=TAGS,
        dataset=str(tmp_path / "dataset"),
        plan_hash="plan",
        train_samples=TRAINED,
        recipe="modern",
        threshold=0.25,
        training={"epochs": 2},
    )
    world = World(tmp_path / "dataset", run, model, list(range(len(TAGS))))
    describe(world.dataset, {"train": TRAINED, **SPLITS})
    write_vocabulary(world.dataset, TAGS)

    def batches(dataset: Path, *, split: str, batch_size: int) -> Iterator[Batch]:
        images, labels = pictures_of(split), labels_of(split)[:, world.columns]
        ids = 1000 + np.arange(len(images))
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            count = len(ids[rows])
            missing = batch_size - count
            yield Batch(
                images=np.concatenate([images[rows], np.zeros((missing, SIZE, SIZE, 3), np.uint8)]),
                # Padding that would show if it were counted.
                labels=np.concatenate([labels[rows], np.ones((missing, labels.shape[1]), np.uint8)]),
                ids=np.concatenate([ids[rows], np.zeros(missing, np.int64)]),
                count=count,
            )

    monkeypatch.setattr(module, "load_model", lambda path, precision: world.model)
    monkeypatch.setattr(predict, "evaluation_batches", batches)
    return world


def test_the_figures_are_those_of_the_split_at_the_validation_threshold(world: World) -> None:
    """The threshold makes precision and recall equal on validation; F1, mAP and MSE are the test split's."""
    found = evaluate(EvalConfig(run=world.run))

    threshold = np.float32(found.result.thresholds.model)
    on_validation = probabilities_of("validation") >= threshold
    labels, scores = labels_of("test"), probabilities_of("test")
    ranked = labels.sum(axis=0) >= found.result.min_positives
    model = found.result.overall.model
    assert on_validation.sum() == pytest.approx(labels_of("validation").sum(), abs=2)
    assert model.f1 == pytest.approx(reference.f1_score(labels, scores >= threshold, average="micro"))
    assert model.squared_error == pytest.approx(np.square(scores.astype(float) - labels).mean())
    assert model.tags_ranked == ranked.sum()
    rounded = THRESHOLDS[bin_probabilities(scores)]
    assert model.mean_ap == pytest.approx(
        reference.average_precision_score(labels[:, ranked], rounded[:, ranked], average="macro")
    )
    assert found.result.thresholds.images == SPLITS["validation"]
    assert found.result.intervals is not None
    interval = found.result.intervals.mean_ap
    assert interval is not None
    assert model.mean_ap is not None
    assert interval.low < model.mean_ap < interval.high


def test_the_baseline_knows_the_training_frequencies_alone(world: World) -> None:
    """The baseline's average precision is a tag's share of test pictures, its error that of the frequency."""
    found = evaluate(EvalConfig(run=world.run))

    labels = labels_of("test")
    frequencies = np.array([tag.count / TRAINED for tag in TAGS])
    np.testing.assert_allclose(found.result.baseline_scores.average_precision, labels.mean(axis=0))
    baseline = np.square(frequencies - labels).mean()
    assert found.result.overall.baseline.squared_error == pytest.approx(baseline)
    assert found.result.overall.skill == pytest.approx(1 - found.result.overall.model.squared_error / baseline)


def test_groups_are_categories_and_decades_of_training_counts(world: World) -> None:
    """Each tag is in one category and one decade, and the groups' tags add up."""
    found = evaluate(EvalConfig(run=world.run))

    assert [group.name for group in found.result.of_kind("category")] == [
        "general",
        "copyright",
        "character",
    ]
    assert [group.name for group in found.result.of_kind("frequency")] == [
        "100 to 999",
        "10 to 99",
        "1 to 9",
    ]
    for kind in ("category", "frequency"):
        assert sum(group.model.tags for group in found.result.of_kind(kind)) == len(TAGS)
        assert (
            sum(group.model.positives for group in found.result.of_kind(kind))
            == found.result.overall.model.positives
        )


@pytest.mark.parametrize("batch_size", [1, 32, 500])
def test_the_batch_size_changes_nothing(world: World, batch_size: int) -> None:
    """Results do not depend on the batch size: padding is never counted, shown or suggested."""
    expected = evaluate(EvalConfig(run=world.run, batch_size=13))
    found = evaluate(EvalConfig(run=world.run, batch_size=batch_size))

    assert found.result.images == SPLITS["test"]
    assert found.result.pictures == expected.result.pictures
    assert found.result.suggestions == expected.result.suggestions
    assert dataclasses.asdict(found.result.overall.model) == pytest.approx(
        dataclasses.asdict(expected.result.overall.model)
    )
    for name in ("mean_ap", "f1", "macro_f1", "skill"):
        interval, same = (getattr(which.result.intervals, name) for which in (found, expected))
        assert (interval.low, interval.high) == pytest.approx((same.low, same.high))


def test_tags_of_another_dataset_are_matched_by_name(world: World, tmp_path: Path) -> None:
    """Another order of tags changes only the notes; a missing tag is left out with a note."""
    other = tmp_path / "other"
    describe(other, SPLITS, plan="another")
    world.columns = [4, 2, 0, 1]  # without tag_3
    write_vocabulary(other, tuple(TAGS[i] for i in world.columns))

    found = evaluate(EvalConfig(run=world.run, dataset=other))
    world.columns = list(range(len(TAGS)))
    expected = evaluate(EvalConfig(run=world.run))
    assert [tag.name for tag in found.tags] == ["tag_0", "tag_1", "tag_2", "tag_4"]
    np.testing.assert_allclose(
        found.result.tag_scores.average_precision,
        expected.result.tag_scores.average_precision[[0, 1, 2, 4]],
    )
    assert any("1 of the model's tags" in note for note in found.notes)
    assert any("not the dataset of the training" in note for note in found.notes)


def test_removed_pictures_are_no_other_dataset(world: World) -> None:
    """After a removal the note says what changed, and that held-out pictures are still held out."""
    rows = [{"id": 7, "edition": 2, "source_md5": None}]
    write_table(world.dataset / "removed.parquet", REMOVED, rows)
    describe(world.dataset, SPLITS, plan=plan_hash_without("plan", [7]), edition=2)
    found = evaluate(EvalConfig(run=world.run))

    assert (
        "Since the training 1 post was removed from the dataset; nothing else changed. "
        "No picture of the test split was trained on."
    ) in found.notes


def test_without_a_validation_split_the_thresholds_are_the_models_own(world: World) -> None:
    """Without a validation split the threshold is the training's, else 0.5, with a note."""
    describe(world.dataset, {"train": TRAINED, "test": SPLITS["test"]})
    found = evaluate(EvalConfig(run=world.run))

    assert (found.result.thresholds.model, found.result.thresholds.images) == (0.25, 0)
    assert any("found when the model was trained" in note for note in found.notes)

    world.model.threshold = None
    found = evaluate(EvalConfig(run=world.run))
    assert found.result.thresholds.model == 0.5
    assert any("fixed, because there is no validation split" in note for note in found.notes)


def test_a_handful_of_pictures_still_has_a_figure(world: World) -> None:
    """If too few tags have the requested number of positives, one is enough, and the result records it."""
    found = evaluate(EvalConfig(run=world.run, min_positives=1000))

    assert found.result.min_positives == 1
    assert found.result.overall.model.tags_ranked == len(TAGS)
    assert any("with only 1 positive picture" in note for note in found.notes)
    assert any(f"mAP is the mean over only {len(TAGS)} tags" in note for note in found.notes)


def test_progress_counts_every_picture_of_both_splits(world: World) -> None:
    """Progress counts every picture of each split up to its total."""
    seen: list[Progress] = []
    evaluate(EvalConfig(run=world.run, batch_size=50), progress=seen.append)

    assert [(p.stage, p.done, p.total) for p in seen] == [
        *(("evaluating validation", done, 90) for done in (0, 50, 90)),
        *(("evaluating test", done, 130) for done in (0, 50, 100, 130)),
    ]


def test_the_training_log_is_read_as_far_as_it_holds_numbers(world: World) -> None:
    """Empty cells of the log are left out instead of being read as 0."""
    found = evaluate(EvalConfig(run=world.run))

    assert found.log == ({"epoch": 1, "loss": 9.5}, {"epoch": 2, "loss": 7.25, "val_map": 0.5})


def test_only_the_report_directory_is_written_to(world: World, tmp_path: Path) -> None:
    """Intermediate results are written to the report directory and removed; run and dataset are unchanged."""

    def files() -> list[str]:
        return sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*"))

    before = files()
    evaluate(EvalConfig(run=world.run, out=tmp_path / "out"))

    assert files() == sorted([*before, "out"])


def test_what_is_needed_to_repeat_it_is_said(world: World) -> None:
    """The provenance has the command, the hash of the weights, the plan of the dataset, and the versions."""
    made = evaluate(EvalConfig(run=world.run)).provenance

    assert made["command"] == f"alti2v eval {world.run} --dataset {world.dataset} --split test"
    assert made["weights"] == f"SHA-256 {hashlib.sha256(b'weights').hexdigest()}"
    assert made["plan of that dataset"] == "plan"
    assert f"alti2v {alti2v.__version__}" in made["made with"]


def test_predictions_that_are_no_numbers_are_named(world: World) -> None:
    """Outputs of a diverged network are refused with a message."""
    world.model.network = SimpleNamespace(
        predict_on_batch=lambda images: {"probabilities": np.full((len(images), 5), np.nan)}
    )
    with pytest.raises(DataError, match="are not probabilities"):
        evaluate(EvalConfig(run=world.run))


def test_bad_input_is_one_line_that_says_what_to_do(world: World, tmp_path: Path) -> None:
    """Unknown or empty splits, missing datasets, other picture sizes and other tags end in one line."""
    with pytest.raises(UsageError, match="'tset' is unknown: give one of train, validation, test"):
        EvalConfig(run=world.run, split="tset")
    with pytest.raises(UsageError, match="--batch-size 0 is out of range: give at least 1"):
        EvalConfig(run=world.run, batch_size=0)

    describe(world.dataset, {"train": TRAINED})
    with pytest.raises(DataError, match="has no test pictures: give another --split"):
        evaluate(EvalConfig(run=world.run))

    describe(world.dataset, SPLITS, size=16)
    with pytest.raises(UsageError, match="has pictures of 16 px, the model takes 8 px"):
        evaluate(EvalConfig(run=world.run))

    describe(world.dataset, SPLITS)
    write_vocabulary(world.dataset, (Tag(name="other", category=Category.GENERAL, count=1),))
    with pytest.raises(UsageError, match="no tag in common"):
        evaluate(EvalConfig(run=world.run))

    world.model.dataset = str(tmp_path / "gone")
    with pytest.raises(UsageError, match="does not exist: give --dataset"):
        evaluate(EvalConfig(run=world.run))
