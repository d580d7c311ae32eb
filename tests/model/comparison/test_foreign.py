"""Taggers of others and runs on the same pictures: figures are those of plain numpy and Pillow."""

from __future__ import annotations

import functools
import io
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score

from alti2v.cli import main
from alti2v.dataset.build import build_shards
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.manifest import read_manifest, read_metadata, read_vocabulary
from alti2v.errors import DamagedError, UsageError
from alti2v.model.compare import compare
from alti2v.model.comparison.feeding import ids_of
from alti2v.model.comparison.originals import open_originals
from alti2v.model.comparison.result import Comparison
from alti2v.model.evaluation.histograms import THRESHOLDS, bin_probabilities
from alti2v.model.options.evaluation import CompareConfig
from alti2v.records import Span
from alti2v.report.comparison import write_comparison
from alti2v.report.comparison_page import render_comparison
from alti2v.storage.columns import TAG_ALIASES
from alti2v.storage.layout import images_tar
from alti2v.storage.table import write_table
from alti2v.storage.tar import read_span
from tests.dataset.helpers.tiny_store import CATEGORY_OF, TinyPost, drawing, encoded, write_store
from tests.model.helpers.foreign_taggers import FAMILIES, WIDE, by_hand, write_csv, write_network
from tests.model.helpers.hub_server import FakeHub, serving
from tests.report.helpers.browser import CHROMIUM, seen_in_browser

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")
TAGS = ("1girl", "solo", "long_hair", "smile", ">_<", "hatsune_miku")  # those that most families know
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class World:
    """A store of upright pictures, the dataset of small squares built from it, and folders of taggers."""

    store: Path
    dataset: Path
    taggers: Path

    def models(self, *names: str) -> tuple[Path, ...]:
        return tuple(self.taggers / name for name in names)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """56 pictures of 150 x 210 px as PNG; 30 of them for the test, 16 for validation; squares of 64 px."""
    path = tmp_path_factory.mktemp("world")
    write_store(path / "store", posts())
    build_shards(
        BuildConfig(store=path / "store", dataset=path / "dataset", size=64, test=30, validation=16, workers=1)
    )
    for name in ("wd_v3", "cl", "oppai_oracle", "pixai"):
        (path / "taggers" / name).mkdir(parents=True)
        FAMILIES[name].write(path / "taggers" / name)
    return World(store=path / "store", dataset=path / "dataset", taggers=path / "taggers")


@functools.cache
def posts(*, seed: int = 0) -> list[TinyPost]:
    random = np.random.default_rng(0)
    return [
        TinyPost(
            id=number,
            content=encoded(drawing(1000 * seed + number, width=150, height=210), "PNG"),
            suffix="png",
            tags=["1girl", *(tag for tag in CATEGORY_OF if random.random() < 0.4)],
        )
        for number in range(1, 57)
    ]


def pictures(world: World, split: str, *, originals: bool) -> Mapping[int, Image.Image]:
    """Pictures of a split by post: what is in the store, or the squares of the dataset."""
    wanted = set(ids_of(world.dataset, (split,)).tolist())
    found: dict[int, Image.Image] = {}
    if originals:
        contents = {post.id: post.content for post in posts() if post.id in wanted}
    else:
        contents = {}
        for shard in read_manifest(world.dataset).split(split):
            with (world.dataset / shard.name.data).open("rb") as tar:
                for row in read_metadata(world.dataset, shard).to_pylist():
                    contents[row["id"]] = read_span(tar, Span(offset=row["offset"], size=row["size"]))
    for number, content in contents.items():
        assert content is not None
        with Image.open(io.BytesIO(content)) as image:
            found[number] = image.convert("RGB")
    return found


@functools.cache
def expected(
    world: World, name: str, split: str, *, originals: bool, tags: tuple[str, ...] = TAGS
) -> tuple[Values, Values]:
    """Labels and probabilities of the tags, (N, T), by post; computed from the family's own preparation.

    The probabilities are rounded down to the edges of the bins, so that what is equal there is equal here.
    """
    family = FAMILIES[name]
    images = pictures(world, split, originals=originals)
    labels = {post.id: [tag in post.tags for tag in tags] for post in posts()}
    columns = [family.names.index(tag) for tag in tags]
    said = [by_hand(family, images[number], is_wide=name in WIDE)[columns] for number in sorted(images)]
    binned = THRESHOLDS[bin_probabilities(np.array(said))].astype(np.float64)
    return np.array([labels[number] for number in sorted(images)], np.float64), binned


def assert_as_by_hand(world: World, found: Comparison, names: Sequence[str], *, originals: bool) -> None:
    tags = tuple(tag.name for tag in found.tags)
    for number, name in enumerate(names):
        labels, said = expected(world, name, "test", originals=originals, tags=tags)
        aps = [average_precision_score(labels[:, t], said[:, t]) for t in range(len(tags))]
        np.testing.assert_allclose(found.models[number].paired.average_precision, aps, atol=0.02)
        model = found.models[number]
        assert model.overall.scores.mean_ap == pytest.approx(np.mean(aps), abs=0.01)
        passed = said >= np.float32(model.threshold)
        assert model.overall.scores.f1 == pytest.approx(f1_score(labels, passed, average="micro"), abs=0.02)
        assert model.overall.scores.squared_error == pytest.approx(np.square(said - labels).mean(), abs=0.005)


NAMES = ("wd_v3", "cl", "pixai")


@pytest.fixture(scope="module")
def judged(world: World, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Three families on the originals."""
    config = CompareConfig(
        models=world.models(*NAMES), dataset=world.dataset, store=world.store, min_positives=1, gallery=5
    )
    return compare(config, out=tmp_path_factory.mktemp("judged"))


def test_every_family_is_judged_on_the_originals_as_its_clients_see_them(
    world: World, judged: Comparison
) -> None:
    """With a store, pictures of 150 x 210 px reach each model in its own size, padding and channels."""
    assert judged.images == 30
    assert {tag.name for tag in judged.tags} == set(TAGS)
    assert [model.pictures for model in judged.models] == ["originals of the store"] * 3
    assert_as_by_hand(world, judged, NAMES, originals=True)


def test_originals_change_the_result_where_the_padding_counts(world: World, tmp_path: Path) -> None:
    """OppaiOracle gets a mask of the padding, which only the original shows."""
    config = CompareConfig(models=world.models("oppai_oracle", "cl"), dataset=world.dataset, min_positives=1)
    small = compare(config, out=tmp_path)
    large = compare(
        CompareConfig(models=config.models, dataset=world.dataset, store=world.store, min_positives=1),
        out=tmp_path,
    )

    assert_as_by_hand(world, small, ("oppai_oracle", "cl"), originals=False)
    assert_as_by_hand(world, large, ("oppai_oracle", "cl"), originals=True)
    gap = small.models[0].overall.scores.squared_error - large.models[0].overall.scores.squared_error
    assert abs(gap) > 0.01
    assert any("give --store" in note for note in small.notes)
    assert small.models[0].pictures == "the dataset's, 64 px"


def test_thresholds_are_tuned_alike_and_a_models_own_stand_beside(world: World, judged: Comparison) -> None:
    """The threshold predicts as many pairs as there are on validation; PixAI's own are those of its table."""
    tags = tuple(tag.name for tag in judged.tags)
    for name, model in zip(NAMES, judged.models, strict=True):
        labels, said = expected(world, name, "validation", originals=True, tags=tags)
        assert (said >= model.threshold).sum() == pytest.approx(labels.sum(), abs=4)

    own = judged.models[2].own
    assert own.source == "thresholds.csv"
    assert judged.models[0].own.source == "none comes with it: 0.35"
    labels, said = expected(world, "pixai", "test", originals=True, tags=tags)
    passed = said >= np.array([0.85 if tag == "hatsune_miku" else 0.3 for tag in tags])
    assert own.f1 == pytest.approx(f1_score(labels, passed, average="micro"), abs=0.02)
    assert own.macro_f1 == pytest.approx(f1_score(labels, passed, average="macro", zero_division=0), abs=0.02)


def test_without_a_validation_split_thresholds_are_not_tuned(world: World, tmp_path: Path) -> None:
    """A threshold tuned on the judged pictures would flatter: it is the model's own, or fixed."""
    dataset = tmp_path / "dataset"
    build_shards(BuildConfig(store=world.store, dataset=dataset, size=64, test=30, validation=0, workers=1))
    found = compare(CompareConfig(models=world.models("wd_v3", "cl"), dataset=dataset), out=tmp_path)

    assert [(one.threshold, one.threshold_source) for one in found.models] == [(0.5, "fixed")] * 2
    assert found.models[0].overall.calibrated is None


def test_pictures_on_which_they_differ_most_come_first(world: World, judged: Comparison) -> None:
    """The tags that some predict and others do not are counted, and the picture is shown."""
    tags = tuple(tag.name for tag in judged.tags)
    passes = [
        expected(world, name, "test", originals=True, tags=tags)[1] >= model.threshold
        for name, model in zip(NAMES, judged.models, strict=True)
    ]
    counts = (np.any(passes, axis=0) & ~np.all(passes, axis=0)).sum(axis=1)

    assert [one.disputed for one in judged.disputed] == pytest.approx(sorted(counts)[::-1][:5], abs=1)
    for one in judged.disputed:
        assert one.jpeg.startswith(b"\xff\xd8")
        assert all(len(set(tag.passes)) == 2 for tag in one.tags)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width_px", [500, 1200])
def test_pictures_and_columns_do_not_overlap(judged: Comparison, tmp_path: Path, width_px: int) -> None:
    """With three models every column of a picture's tags is beside the picture and inside its card."""
    probe = """{
    const cards = [...document.querySelectorAll("#disputes .card")];
    const box = (card, what) => card.querySelector(what).getBoundingClientRect();
    const result = document.createElement("pre");
    result.id = "seen";
    result.textContent = JSON.stringify({
      beside: cards.every((card) => box(card, "table").left >= box(card, "img").right),
      inside: cards.every((card) => box(card, "table").right <= card.getBoundingClientRect().right),
      cards: cards.length});
    document.body.append(result); }"""
    page = render_comparison(judged, generated_at=datetime(2026, 3, 1, tzinfo=UTC))

    assert seen_in_browser(page, tmp_path, probe, width_px=width_px) == {
        "beside": True,
        "inside": True,
        "cards": len(judged.disputed),
    }


def test_a_store_with_other_bytes_is_not_believed(world: World, tmp_path: Path) -> None:
    """Pictures whose MD5 is not that of the dataset's source are taken from the dataset, and counted."""
    kept = [
        ours if number % 8 == 0 else theirs
        for number, (ours, theirs) in enumerate(zip(posts(), posts(seed=1), strict=True))
    ]
    other = write_store(tmp_path / "other", kept[10:])
    models = world.models("oppai_oracle", "cl")
    believed = compare(
        CompareConfig(models=models, dataset=world.dataset, store=other, min_positives=1), out=tmp_path
    )
    plain = compare(CompareConfig(models=models, dataset=world.dataset, min_positives=1), out=tmp_path)

    assert any("not in the store: the dataset's pictures were used instead" in note for note in believed.notes)
    assert any("another picture in the store" in note for note in believed.notes)
    assert believed.models[1].overall.scores != plain.models[1].overall.scores


@pytest.mark.parametrize(
    ("harm", "status", "message"),
    [
        ("no tar", 4, r"images/images-000000\.tar is missing"),
        ("empty tar", 1, r"no picture could be used \(\d+ damaged in the store\)"),
        ("other bytes", 1, r"no picture could be used \(\d+ another picture in the store\)"),
        ("other posts", 2, r"has no picture of the dataset: give the store that it was built from"),
    ],
)
def test_a_store_that_gives_no_original_is_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str, status: int, message: str
) -> None:
    """Figures of small pictures do not pass for those of originals: one line, and the documented status."""
    if harm == "other posts":
        elsewhere = [replace(post, id=post.id + 1000) for post in posts()]
        store = write_store(tmp_path / "store", elsewhere)
    else:
        store = write_store(tmp_path / "store", posts(seed=int(harm == "other bytes")))
    for tar in (store / images_tar(0)).parent.glob("*.tar"):
        if harm == "no tar":
            tar.unlink()
        if harm == "empty tar":
            tar.write_bytes(bytes(10_240))
    arguments = ["eval", *map(str, world.models("cl")), "--dataset", str(world.dataset), "--store", str(store)]
    with pytest.raises(SystemExit) as ending:
        main([*arguments, "--out", str(tmp_path / "out")])
    printed = capsys.readouterr()

    assert (ending.value.code, printed.out) == (status, "")
    assert re.search(message, printed.err)
    assert printed.err.splitlines()[-1].startswith("alti2v: ")
    assert not (tmp_path / "out" / "comparison.json").exists()


def test_a_damaged_original_costs_one_picture_its_size(world: World, tmp_path: Path) -> None:
    """Bytes that are not those of the store's tables are not shown to any model; the others are."""
    store = shutil.copytree(world.store, tmp_path / "store")
    places = open_originals(store, ids_of(world.dataset, ("test",)))
    with (store / images_tar(int(places.tars[0]))).open("r+b") as tar:
        tar.seek(int(places.offsets[0]) + 100)
        tar.write(bytes(50))
    found = compare(
        CompareConfig(models=world.models("oppai_oracle"), dataset=world.dataset, store=store), out=tmp_path
    )

    assert "1 picture is damaged in the store: the dataset's pictures were used instead." in found.notes
    assert found.images == 30


def test_other_names_of_tags_are_matched_through_the_stores_aliases(world: World, tmp_path: Path) -> None:
    """Tables with old names, blanks and capitals are matched; tags that a model lacks are counted."""
    store = write_store(tmp_path / "store", posts())
    write_table(
        store / "tag_aliases.parquet", TAG_ALIASES, [{"antecedent": "long_locks", "consequent": "long_hair"}]
    )
    names = ("1GIRL", "Long Locks", "smile", "unheard_of")
    folder = tmp_path / "tagger"
    write_network(folder / "model.onnx", len(names), side=64, channels_first=False, is_wide=True)
    rows = [(i, name, 0, 1) for i, name in enumerate(names)]
    write_csv(folder / "selected_tags.csv", ("tag_id", "name", "category", "count"), rows)
    models = (folder, *world.models("cl"))
    found = compare(CompareConfig(models=models, dataset=world.dataset, store=store), out=tmp_path)
    without = compare(CompareConfig(models=models, dataset=world.dataset), out=tmp_path)

    assert [tag.name for tag in found.tags] == ["1girl", "long_hair", "smile"]
    assert [tag.name for tag in without.tags] == ["1girl", "smile"]
    assert (found.models[0].known, found.models[0].respelt) == (3, 2)
    assert found.dataset_tags == len(read_vocabulary(world.dataset))
    lost = f"Tags that not all models have were not compared: 1 of {folder.name} and 12 of cl."
    assert lost in found.notes


def test_bad_input_is_one_line(world: World, tmp_path: Path) -> None:
    """The same model twice, no dataset, no tag in common, NaN: each is one line that names the model."""
    wd, cl = world.models("wd_v3", "cl")
    with pytest.raises(UsageError, match="is given twice"):
        write_comparison(CompareConfig(models=(wd, cl, wd), dataset=world.dataset, out=tmp_path / "out"))
    with pytest.raises(UsageError, match="give --dataset"):
        write_comparison(CompareConfig(models=(wd, cl), out=tmp_path / "out"))
    stranger = tmp_path / "stranger"
    write_network(stranger / "model.onnx", 2, side=64, channels_first=False, is_wide=True)
    columns = ("tag_id", "name", "category", "count")
    write_csv(stranger / "selected_tags.csv", columns, [(0, "cat", 0, 1), (1, "dog", 0, 1)])
    with pytest.raises(UsageError, match="stranger have no tag in common"):
        write_comparison(CompareConfig(models=(wd, stranger), dataset=world.dataset, out=tmp_path / "out"))
    with pytest.raises(DamagedError, match=r"broken: model_optimized\.onnx gives NaN"):
        write_comparison(
            CompareConfig(models=(wd, broken(tmp_path / "broken")), dataset=world.dataset, out=tmp_path / "out")
        )


def broken(folder: Path) -> Path:
    """A cl_tagger whose numbers are lost."""
    import onnx

    folder.mkdir()
    FAMILIES["cl"].write(folder)
    model = onnx.load(str(folder / "model_optimized.onnx"))
    for constant in model.graph.initializer:
        if constant.name == "bias":
            lost = np.full(onnx.numpy_helper.to_array(constant).shape, np.nan, np.float32)
            constant.CopyFrom(onnx.numpy_helper.from_array(lost, "bias"))
    onnx.save(model, str(folder / "model_optimized.onnx"))
    return folder


def test_the_command_writes_one_page_with_a_column_for_each(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`alti2v eval` with three taggers of others writes three files that load nothing; one alone works, too."""
    models = [str(model) for model in world.models("wd_v3", "cl", "pixai")]
    options = ["--dataset", str(world.dataset), "--store", str(world.store), "--json"]
    for number, given in enumerate((models, models[:1])):
        out = tmp_path / f"out-{number}"
        with pytest.raises(SystemExit) as exit_:
            main(["eval", *given, *options, "--out", str(out)])
        answer = json.loads(capsys.readouterr().out)
        page = (out / "comparison.html").read_text()
        document = json.loads((out / "comparison.json").read_text())
        table = (out / "per_tag.csv").read_text().splitlines()

        assert not exit_.value.code
        assert answer["models"] == given
        assert all(Path(model).name in page for model in given)
        assert "http://" not in page.replace("http://www.w3.org", "")
        assert 'src="data:image/jpeg' in page or len(given) == 1
        assert [one["name"] for one in document["models"]] == [Path(model).name for model in given]
        assert {group["kind"] for group in document["models"][0]["groups"]} == {"all", "category", "frequency"}
        assert len(table) == 1 + answer["tags"]
        assert table[0].endswith(f"high_95_{len(given)}")
    assert not list(world.taggers.rglob("eval"))  # folders of others are only read


def test_a_name_on_the_hub_is_judged_as_its_commit(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model by name is fetched, shown by its short name, and recorded with the commit that was judged."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="pip install 'alti2v[hub]'")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    commit = "a" * 40
    with serving(FakeHub("somebody/tagger", {commit: world.taggers / "wd_v3"}, {"main": commit})) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        models: tuple[Path | str, ...] = ("hf:somebody/tagger", *world.models("cl"))
        found = compare(CompareConfig(models=models, dataset=world.dataset), out=tmp_path / "out")

    assert [one.name for one in found.models] == ["tagger", "cl"]
    assert found.models[0].model == f"hf:somebody/tagger@{commit}"


def test_the_printed_commit_is_the_judged_one(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hub is asked once for the commit, so a branch that moves meanwhile changes nothing."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="pip install 'alti2v[hub]'")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    commit = "a" * 40
    hub = FakeHub("somebody/tagger", {commit: world.taggers / "wd_v3"}, {"main": commit})
    arguments = ["eval", "hf:somebody/tagger", "--dataset", str(world.dataset), "--out", str(tmp_path / "out")]
    with serving(hub) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        with pytest.raises(SystemExit) as ending:
            main(arguments)
    printed = capsys.readouterr()

    assert not ending.value.code, printed.err
    assert f"is commit {commit}" in printed.err
    assert len([request for request in hub.requests if "/api/models/" in request]) == 1, hub.requests
    document = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert document["models"][0]["model"] == f"hf:somebody/tagger@{commit}"


@pytest.mark.tf
@pytest.mark.usefixtures("narrow_vgg16")
def test_a_run_is_judged_beside_taggers_of_others(world: World, tmp_path: Path) -> None:
    """The run gets the dataset's pictures, the others the originals; its figures are those of `evaluate`."""
    from alti2v.model.evaluate import evaluate
    from alti2v.model.options.evaluation import EvalConfig
    from alti2v.model.saved_model import save_model
    from alti2v.storage.layout import MODEL_DIR
    from tests.model.helpers.tiny_run import random_model

    tags = read_vocabulary(world.dataset)
    model = random_model(size=64, tags=tags, dataset=world.dataset)
    plan_hash = read_manifest(world.dataset).plan_hash
    save_model(tmp_path / "run" / MODEL_DIR, replace(model, plan_hash=plan_hash))
    models = (tmp_path / "run", *world.models("wd_v3", "cl"))
    found = compare(CompareConfig(models=models, store=world.store, min_positives=1), out=tmp_path)
    alone = evaluate(EvalConfig(run=tmp_path / "run", min_positives=1, precision="float32"))

    assert [one.pictures for one in found.models] == [
        "the dataset's, 64 px",
        "originals of the store",
        "originals of the store",
    ]
    place = {tag.name: index for index, tag in enumerate(alone.tags)}
    rows = [place[tag.name] for tag in found.tags]
    np.testing.assert_allclose(
        found.models[0].paired.average_precision, alone.result.tag_scores.average_precision[rows], atol=1e-6
    )
    assert any("It is not known what wd_v3 and cl were trained on" in note for note in found.notes)
    assert [one.figure for one in found.models[2].paired.differences if one.kind == "all"] == [
        *("mAP", "micro F1", "macro F1", "squared error")
    ]
