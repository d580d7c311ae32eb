"""Exports of a run: the contents of the folder, refusals, and completeness of a folder with a model."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement

from alti2v.errors import DamagedError, StorageError, UsageError
from alti2v.model import export as module
from alti2v.model.evaluation.thresholds import TunedThresholds, read_thresholds, write_thresholds
from alti2v.model.export import export
from alti2v.model.onnx.check_folder import check_folder
from alti2v.model.options.export import ExportConfig
from alti2v.model.saved_model import load_model, save_model
from alti2v.model.tagging.preprocess import source_of
from alti2v.model.tagging.tagger import Prediction, load_tagger, predictions
from alti2v.records import Category
from alti2v.storage.layout import EVALUATION_DIR, METRICS_FILE, MODEL_DIR
from alti2v.storage.publish import publish_bytes
from tests.model.helpers.tiny_dataset import square, write_dataset
from tests.model.helpers.tiny_run import TAGS, TRAINED, write_run

pytestmark = [pytest.mark.tf, pytest.mark.usefixtures("narrow_vgg16")]

SCORES = {
    "tags": 12,
    "mean_ap": 0.7312,
    "f1": 0.61,
    "macro_f1": None,
    "squared_error": 0.0021,
    "calibration_error": 0.04,
}
METRICS: dict[str, Any] = {
    "split": "test",
    "images": 150,
    "threshold": 0.3,
    "threshold_source": "found on the 100 pictures of the validation split",
    "intervals_95": {"mean_ap": {"low": 0.71, "high": 0.75}, "f1": {"low": 0.6, "high": 0.62}},
    "groups": [
        {"kind": "all", "name": "all", "model": SCORES, "baseline": {**SCORES, "mean_ap": 0.25}},
        {"kind": "category", "name": "character", "model": {**SCORES, "tags": 2}, "baseline": SCORES},
        {"kind": "category", "name": "general", "model": {**SCORES, "tags": 3}, "baseline": SCORES},
    ],
    "notes": ["These figures are made up."],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_run(tmp_path_factory.mktemp("exported"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load each run once and compare nothing: for tests that export often and look at other things."""
    monkeypatch.setattr(module, "load_model", functools.cache(load_model))
    monkeypatch.setattr(module, "largest_difference", lambda *_: 0.0)


@pytest.fixture(scope="module")
def exported(run: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The WD folder of the run, and the report about it. Not to be changed."""
    out = tmp_path_factory.mktemp("out") / "wd"
    return export(ExportConfig(run=run, out=out))


def test_what_lies_in_the_folder(exported: Any) -> None:
    """Model, table, card and report, and nothing else; the report agrees with the files."""
    assert {path.name for path in exported.out.iterdir()} == {
        "model.onnx",
        "selected_tags.csv",
        "README.md",
        "export_report.json",
    }
    assert exported.bytes == exported.model.stat().st_size
    assert exported.outputs == {"rating": 4, "general": 8, "character": 2}
    assert (exported.moved, exported.renamed, exported.left_out) == (2, 3, 2)
    assert 0 < exported.largest_difference < 1e-5
    assert exported.labels.read_text().splitlines()[1] == f"9999999,general,9,{TRAINED}"


def test_report_for_programs(exported: Any) -> None:
    """export_report.json names every renamed and left out tag; no path of this machine is in it."""
    report = json.loads((exported.out / "export_report.json").read_text())

    assert {change["tag"]: change["became"] for change in report["changes"]}["null"] == "null_(tag)"
    assert len(report["changes"]) == 7
    assert [rating["count"] for rating in report["rating_constants"]] == [TRAINED, 0, 0, 0]
    assert report["threshold"] == 0.25
    assert "/" not in json.dumps(report["run"])


def test_card_without_an_evaluation(exported: Any) -> None:
    """The card of a run without an evaluation says so, and a YAML reader accepts its metadata."""
    text = (exported.out / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])

    assert front["pipeline_tag"] == "image-classification"
    assert front["license"] == "other"
    assert "model-index" not in front
    assert "Not evaluated yet" in text
    assert "--repo_id OWNER/NAME --character_threshold 1.1`" in text
    assert "They say nothing about a picture" in text
    assert f"| general | {TRAINED} | 0.700000 |" in text
    assert r"null as null\_\(tag\)" in text


@pytest.mark.usefixtures("quick")
def test_card_with_the_evaluations_figures(run: Any, tmp_path: Path) -> None:
    """The figures of RUN/eval/metrics.json stand in card and metadata, with baseline and interval."""
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / EVALUATION_DIR).mkdir()
    (copy / EVALUATION_DIR / METRICS_FILE).write_text(json.dumps(METRICS))
    config = ExportConfig(run=copy, out=tmp_path / "out", format="onnx", license="cc0-1.0")
    text = export(config).card.read_text()
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "cc0-1.0"
    (result,) = yaml.safe_load(text.split("---\n")[1])["model-index"][0]["results"]

    assert "| mean average precision | 0.7312 | 0.710 to 0.750 | 0.2500 |" in text
    assert "| macro F1 | – | – | – |" in text
    assert "| character | 2 | 0.7312 | 0.6100 | – |" in text
    assert "- These figures are made up." in text
    assert {metric["name"]: metric["value"] for metric in result["metrics"]} == {
        "mean average precision": 0.7312,
        "micro F1": 0.61,
    }
    assert result["task"]["type"] == "image-classification"
    assert set(result["dataset"]) == {"type", "name", "split"}
    assert "constant" not in text  # the native form has no ratings


@pytest.mark.usefixtures("quick")
def test_card_without_a_mean_over_few_tags(run: Any, tmp_path: Path) -> None:
    """The card shows no mean average precision, in the text or in its metadata, where the report shows none."""
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / EVALUATION_DIR).mkdir()
    groups = [{**group, "map": None, "map_baseline": None} for group in METRICS["groups"]]
    (copy / EVALUATION_DIR / METRICS_FILE).write_text(json.dumps({**METRICS, "groups": groups}))
    text = export(
        ExportConfig(run=copy, out=tmp_path / "out", format="onnx", license="cc0-1.0")
    ).card.read_text()

    assert "mean average precision" not in text
    assert "| character | 2 | – | 0.6100 | – |" in text
    assert "| micro F1 |" in text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("format_", ["wd-embedding", "cl", "onnx"])
def test_every_other_format_keeps_its_contract(run: Any, tmp_path: Path, format_: Any) -> None:
    """Each export is recognised as its own format, without a breach."""
    report = export(ExportConfig(run=run, out=tmp_path / "out", format=format_))
    checked = check_folder(tmp_path / "out")

    assert (checked.format, checked.breaches) == (format_, ())
    assert checked.labels == sum(report.outputs.values())


@pytest.mark.usefixtures("quick")
def test_exporting_again_gives_the_same_bytes(exported: Any, run: Any, tmp_path: Path) -> None:
    """A second export, also over a first one with another model, ends in the same files."""
    out = tmp_path / "out"
    export(ExportConfig(run=run, out=out, copyrights="nothing", ratings="uniform"))
    assert (out / "model.onnx").read_bytes() != exported.model.read_bytes()
    export(ExportConfig(run=run, out=out))

    for name in ("model.onnx", "selected_tags.csv", "README.md"):
        assert (out / name).read_bytes() == (exported.out / name).read_bytes()


@pytest.mark.usefixtures("quick")
def test_tuned_thresholds_come_along_under_the_new_names(run: Any, tmp_path: Path) -> None:
    """thresholds.json names the tags as the table does; an export without one leaves no older one behind."""
    copy, out = shutil.copytree(run, tmp_path / "run"), tmp_path / "out"
    tuned = TunedThresholds(rules={"f1": {"null": 0.1, "solo": 0.2, "kei": 0.3}}, fallback=0.4, images=9)
    write_thresholds(copy / MODEL_DIR, tuned)
    export(ExportConfig(run=copy, out=out))
    assert read_thresholds(out) == replace(tuned, rules={"f1": {"null_(tag)": 0.1, "solo": 0.2}})
    export(ExportConfig(run=run, out=out))

    assert read_thresholds(out) is None


@pytest.mark.usefixtures("quick")
def test_a_killed_export_leaves_no_model(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever writing stops, a model is only beside its own table; the same command then finishes."""
    out = tmp_path / "out"
    export(ExportConfig(run=run, out=out, ratings="uniform"))

    def dies(path: Any, content: Any) -> None:
        if path.name == "README.md":
            raise KeyboardInterrupt
        publish_bytes(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(module, "publish_bytes", dies)
        with pytest.raises(KeyboardInterrupt):
            export(ExportConfig(run=run, out=out, copyrights="nothing"))
    assert not (out / "model.onnx").exists()
    export(ExportConfig(run=run, out=out, copyrights="nothing"))

    assert check_folder(out).breaches == ()


@pytest.mark.usefixtures("quick")
def test_out_that_is_something_else_is_refused(run: Any, tmp_path: Path) -> None:
    """A file, a folder with other things, the run itself, an export of another format; nothing is touched."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    export(ExportConfig(run=run, out=tmp_path / "onnx", format="onnx"))
    for out, words in (
        (tmp_path / "file", "is a file"),
        (tmp_path / "other", "not empty and not an export"),
        (run, "not empty and not an export"),
        (tmp_path / "onnx", "is an export of format onnx"),
    ):
        with pytest.raises(UsageError, match=words):
            export(ExportConfig(run=run, out=out))

    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["mine.txt"]


@pytest.mark.usefixtures("quick")
def test_a_clone_of_an_empty_repository_is_no_obstacle(run: Any, tmp_path: Path) -> None:
    """Hidden files, such as those of git, do not make a folder somebody else's."""
    (tmp_path / ".gitattributes").write_text("*.onnx filter=lfs\n")
    export(ExportConfig(run=run, out=tmp_path))

    assert check_folder(tmp_path).breaches == ()


def test_a_folder_that_cannot_be_written(run: Any, tmp_path: Path) -> None:
    """A path below a file is refused by the disk in one line."""
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        export(ExportConfig(run=run, out=tmp_path / "file" / "out"))


@pytest.mark.usefixtures("quick")
def test_the_dataset_of_the_ratings(run: Any, tmp_path: Path) -> None:
    """A dataset that moved is asked for, another one refused; without it there are uniform ratings."""
    moved = shutil.copytree(run.parent / "dataset", tmp_path / "moved")
    copy = tmp_path / "run"
    save_model(copy / MODEL_DIR, replace(load_model(run), dataset=str(tmp_path / "gone")))
    with pytest.raises(UsageError, match=r"gone, which .* is missing.*--dataset"):
        export(ExportConfig(run=copy, out=tmp_path / "out"))
    other = write_dataset(tmp_path / "other", {"train": [square(7, size=32)]}, size=32)
    with pytest.raises(UsageError, match="is not the dataset"):
        export(ExportConfig(run=copy, out=tmp_path / "out", dataset=other))
    assert not (tmp_path / "out").exists()
    found = export(ExportConfig(run=copy, out=tmp_path / "out", dataset=moved))
    uniform = export(ExportConfig(run=copy, out=tmp_path / "out", ratings="uniform"))

    assert found.ratings[0].count == TRAINED
    assert {rating.probability for rating in uniform.ratings} == {0.25}
    assert "All are equal, because the numbers of pictures are not known" in uniform.card.read_text()


@pytest.mark.usefixtures("quick")
def test_a_vocabulary_without_characters_needs_a_decision(tmp_path: Path) -> None:
    """The WD formats refuse it and say what helps; the placeholder and the other formats do."""
    tags = tuple(tag for tag in TAGS if tag.category is not Category.CHARACTER)
    run = write_run(tmp_path, tags=tags)
    with pytest.raises(UsageError, match=r"has no character tag.*--placeholder-character"):
        export(ExportConfig(run=run, out=tmp_path / "out"))
    report = export(ExportConfig(run=run, out=tmp_path / "out", placeholder_character=True))

    assert report.outputs["character"] == 1
    assert "is not a tag: its output is always near 0" in report.card.read_text()
    assert export(ExportConfig(run=run, out=tmp_path / "cl", format="cl")).outputs["general"] == 7


@pytest.mark.usefixtures("quick")
def test_a_vocabulary_without_general_tags_is_refused(tmp_path: Path) -> None:
    """There is no placeholder for that."""
    run = write_run(tmp_path, tags=tuple(tag for tag in TAGS if tag.category is Category.CHARACTER))
    with pytest.raises(UsageError, match="has no general tag"):
        export(ExportConfig(run=run, out=tmp_path / "out"))


def test_weights_that_are_no_numbers_are_not_exported(run: Any, tmp_path: Path) -> None:
    """A run that diverged is refused before anything is written."""
    bundle = load_model(run)
    kernel = bundle.network.get_layer("logits").kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    save_model(tmp_path / "run" / MODEL_DIR, bundle)
    with pytest.raises(DamagedError, match="differ by nan"):
        export(ExportConfig(run=tmp_path / "run", out=tmp_path / "out"))

    assert not (tmp_path / "out").exists()


def test_a_run_without_a_model(tmp_path: Path) -> None:
    """An unfinished or missing run is named."""
    with pytest.raises(UsageError, match="does not exist"):
        export(ExportConfig(run=tmp_path / "run", out=tmp_path / "out"))


def test_it_works_where_tensorflow_is_not_installed(exported: Any, tmp_path: Path) -> None:
    """In an environment of ONNX Runtime and its dependencies alone, the folder loads and passes its check."""
    site = tmp_path / "site"
    site.mkdir()
    wanted, seen = ["onnx", "onnxruntime"], set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        distribution = importlib.metadata.distribution(name)
        for top in {Path(str(file)).parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            link = site / top
            if not link.exists():
                link.symlink_to(Path(str(distribution.locate_file(top))).resolve())
        required = map(Requirement, distribution.requires or ())
        wanted += [item.name for item in required if item.marker is None or item.marker.evaluate({"extra": ""})]
    (site / "alti2v").symlink_to(Path(module.__file__).parents[1])
    code = (
        "import sys, importlib.util; sys.path.insert(0, sys.argv[1])\n"
        "assert not any(map(importlib.util.find_spec, ('tensorflow', 'keras', 'PIL', 'pyarrow', 'click')))\n"
        "from pathlib import Path; from alti2v.model.onnx.check_folder import check_folder\n"
        "print(check_folder(Path(sys.argv[2])).breaches)"
    )
    finished = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, site, exported.out],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert finished.stderr == ""
    assert finished.stdout == "()\n"
    assert re.fullmatch(r"[\w.-]+", exported.out.name)


def test_kohyas_second_form_tags_like_the_wd_form_and_with_more_categories(run: Any, tmp_path: Path) -> None:
    """The same picture, the same probabilities; artists and copyrights only in the second form."""
    picture = np.random.default_rng(0).integers(0, 256, (70, 50, 3), dtype=np.uint8)
    said = {}
    for format_ in ("wd", "cl"):
        export(ExportConfig(run=run, out=tmp_path / format_, format=format_))
        tagger = load_tagger(tmp_path / format_)
        (found,) = predictions(tagger, [("x", source_of(picture))])
        assert isinstance(found, Prediction)
        said[format_] = {
            (name, category): float(value)
            for name, category, value in zip(
                tagger.vocabulary.names, tagger.vocabulary.categories, found.probabilities, strict=True
            )
        }

    shared = said["wd"].keys() & said["cl"].keys()
    assert len(shared) > 8
    assert all(said["wd"][key] == pytest.approx(said["cl"][key], abs=1e-5) for key in shared)
    assert {category for _, category in said["cl"]} >= {"artist", "copyright", "meta"}
    assert "artist" not in {category for _, category in said["wd"]}


def test_a_tag_mapping_that_is_none_is_named(tmp_path: Path) -> None:
    """Kohya's second form with holes in its numbers."""
    (tmp_path / "model_optimized.onnx").write_bytes(b"")
    (tmp_path / "tag_mapping.json").write_text('{"1": {"tag": "solo", "category": "General"}}')
    with pytest.raises(DamagedError, match=r"tag_mapping.json is not the table of a tagger's tags"):
        load_tagger(tmp_path)
